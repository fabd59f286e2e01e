"""The data section of params.yaml: what is refused before any file is looked at."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.domain.corpus import Data, inside
from stages.domain.errors import Invalid
from stages.domain.schema import parse

TEXT = {"kind": "text", "separator": "blank-line"}


def section(source: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"source": source, "vocab_size": 2048, **rest}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("../secret.txt", "a path that stays inside its folder, without '..'"),
        ("data/../../secret.txt", "a path that stays inside its folder, without '..'"),
        ("/etc/passwd", "a path relative to the folder that holds it, not an absolute one"),
        ("C:/secret.txt", "a path relative to the folder that holds it, not an absolute one"),
        ("C:secret.txt", "a path relative to the folder that holds it, not an absolute one"),
        ("data\\text.txt", "a path written with '/' and without backslashes, also on Windows"),
        ("./data//text.txt", "the plain path of a file, such as 'data/text.txt'"),
        (".", "the plain path of a file, such as '.'"),
    ],
)
def test_a_path_that_could_leave_the_folder_is_refused(path: str, expected: str) -> None:
    with pytest.raises(Invalid) as error:
        parse(Data, section({**TEXT, "files": [{"path": path}]}), "params.yaml")
    assert str(error.value).endswith(f"files.0.path: found {path!r}, expected {expected}")


@given(st.lists(st.sampled_from(["..", ".", "", "a", "C:", "b.txt", "\\", "~"]), min_size=1).map("/".join))
def test_an_accepted_path_stays_inside_its_folder_on_every_system(path: str) -> None:
    try:
        inside(path)
    except ValueError:
        return
    root = Path("/folder")
    assert root in (root / path).parents
    windows = PureWindowsPath("C:/folder")
    assert windows in (windows / path).parents
    assert ".." not in (windows / path).parts


@pytest.mark.parametrize(
    "change",
    [
        {"vocab_size": 256},
        {"vocab_size": 65537},
        {"vocab_size": "2048"},
        {"val_per_mille": 0},
        {"locked_per_mille": 500},
        {"val_per_mille": 0.03},
        {"tokenizer_bytes": 2_000_000_001},
        {"min_split_tokens": 0},
        {"valid_per_mille": 30},
        {"source": {"kind": "pickle", "files": [{"path": "a"}]}},
        {"source": {**TEXT, "files": []}},
        {"source": {**TEXT, "files": [{"path": "a", "sha256": "short"}]}},
        {"source": {**TEXT, "separator": "comma", "files": [{"path": "a"}]}},
    ],
)
def test_a_value_outside_its_bounds_is_refused(change: dict[str, Any]) -> None:
    parse(Data, section({**TEXT, "files": [{"path": "a"}]}), "params.yaml")
    with pytest.raises(Invalid):
        parse(Data, {**section({**TEXT, "files": [{"path": "a"}]}), **change}, "params.yaml")


def test_a_file_that_stands_twice_is_refused() -> None:
    with pytest.raises(Invalid, match="expected each file once, but 'a' stands there more than once"):
        parse(Data, section({**TEXT, "files": [{"path": "a"}, {"path": "b"}, {"path": "a"}]}), "params.yaml")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a\\b", "a path written with '/' and without backslashes, also on Windows"),
        ("/a", "a path relative to the folder that holds it, not an absolute one"),
        ("C:a", "a path relative to the folder that holds it, not an absolute one"),
        ("a/../b", "a path that stays inside its folder, without '..'"),
        ("a//b", "the plain path of a file, such as 'a/b'"),
        (".", "the plain path of a file, such as '.'"),
        ("a\x07", "a path of printable characters"),
        ("a\u202eb", "a path of printable characters"),
    ],
)
def test_a_path_that_leaves_its_folder_or_hides_is_none(path, expected):
    with pytest.raises(ValueError) as error:
        inside(path)
    assert str(error.value) == expected


def test_a_plain_path_is_one():
    for path in ("a", "a/b.txt", "ä"):
        assert inside(path) == path


def test_only_data_that_a_command_reads_needs_no_vocabulary():
    source = {"kind": "files", "root": "x", "files": [{"path": "a", "sha256": "1" * 64}]}
    assert Data.model_validate({"source": source}).vocab_size == 0
    with pytest.raises(ValueError, match=r"data\.vocab_size: missing; the tokenizer learns so many tokens"):
        Data.model_validate({"source": {"kind": "text", "files": [{"path": "a"}]}})
