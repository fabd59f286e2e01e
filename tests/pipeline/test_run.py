"""What a run reads of its configuration, and how it refuses what the stage `protocol` did not write."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages import run
from stages.domain import canonical, files, names
from stages.domain.errors import Invalid, Refused


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(data: bytes) -> None:
    files.write_whole(names.knobs_path("d1"), data)


def test_the_knobs_of_a_configuration_are_those_of_its_file() -> None:
    write(canonical.dumps({run.KNOBS_KEY: {"depth": 1}}))
    assert run.read_knobs("d1") == {"depth": 1}


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (None, Refused, "is missing"),
        (b"{", Invalid, "not JSON at line 1, column 2"),
        (b'{"a":NaN}', Invalid, "NaN is not a number that JSON has"),
        (b"[]\n", Invalid, f"found no {run.KNOBS_KEY}"),
        (b"{}\n", Invalid, f"found no {run.KNOBS_KEY}"),
    ],
)
def test_a_file_of_knobs_that_is_none_is_named_with_what_writes_it_anew(
    data: bytes | None, kind: type[Exception], words: str
) -> None:
    if data is not None:
        write(data)
    with pytest.raises(kind) as caught:
        run.read_knobs("d1")
    assert names.knobs_path("d1").as_posix() in str(caught.value)
    assert words in str(caught.value)
    assert "`dvc repro --force protocol` writes it anew" in str(caught.value)
