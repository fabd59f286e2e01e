"""Files that a command reads as they are: pinned by SHA-256, digested once, and never by a memory that does not fit."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from stages.domain import data_files, files
from stages.domain.corpus import DataFiles
from stages.domain.data_files import MEMORY, check_files, digest_files, find_root
from stages.domain.errors import Refused

TEXTS = {"b.txt": b"one\n", "a/b.txt": b"two two\n"}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def source(root: str = "data", **pins: str | None) -> DataFiles:
    """The files of TEXTS, with their digests, or with other ones."""
    digests = {path: digest(data) for path, data in TEXTS.items()} | pins
    entries = [{"path": path} | ({"sha256": value} if value else {}) for path, value in digests.items()]
    return DataFiles.model_validate({"kind": "files", "root": root, "files": entries})


@pytest.fixture
def study(tmp_path: Path) -> Path:
    for path, data in TEXTS.items():
        files.write_whole(tmp_path / "data" / path, data)
    return tmp_path


ROWS = [{"path": path, "sha256": digest(data), "bytes": len(data)} for path, data in TEXTS.items()]


def test_every_file_is_told_in_the_order_of_params_yaml(study):
    assert digest_files(source(), study) == ROWS
    assert check_files(source(), study) == ROWS
    assert check_files(source((study / "data").as_posix()), Path("elsewhere"), forget=True) == ROWS
    assert find_root(source("~/data"), study) == Path.home() / "data"


def test_a_file_is_digested_again_only_where_it_may_have_changed(study, monkeypatch):
    digest_files(source(), study)
    read: list[str] = []
    real = files.sha256_file
    monkeypatch.setattr(data_files.files, "sha256_file", lambda path: read.append(path.name) or real(path))
    assert digest_files(source(), study) == ROWS
    assert read == []
    path = study / "data" / "b.txt"
    path.write_bytes(b"ONE\n")
    os.utime(path, ns=(1, 1))  # of the same size, and older
    assert digest_files(source(), study)[0]["sha256"] == digest(b"ONE\n")
    assert read == ["b.txt"]


def test_who_does_not_trust_the_memory_does_without_it_and_leaves_none(study):
    digest_files(source(), study, forget=True)
    assert not (study / MEMORY).exists()
    digest_files(source(), study)
    memory = json.loads((study / MEMORY).read_text(encoding="utf-8"))
    files.write_whole(study / MEMORY, json.dumps(dict.fromkeys(memory, "f" * 64)).encode())
    assert {row["sha256"] for row in digest_files(source(), study)} == {"f" * 64}
    assert check_files(source(), study, forget=True) == ROWS


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff"])
def test_a_memory_that_is_none_is_made_anew(study, data):
    files.write_whole(study / MEMORY, data)
    assert digest_files(source(), study) == ROWS
    assert len(json.loads((study / MEMORY).read_text(encoding="utf-8"))) == 2


def test_a_missing_file_is_named_with_its_place(study):
    (study / "data" / "a" / "b.txt").unlink()
    place = re.escape((study / "data" / "a" / "b.txt").as_posix())
    with pytest.raises(
        Refused, match=rf"^params\.yaml: data\.source\.files\.1: there is no file {place}; put it there"
    ):
        digest_files(source(), study)


def test_files_without_a_digest_are_refused_with_what_to_write(study):
    with pytest.raises(Refused) as refused:
        check_files(source(**{"b.txt": None}), study)
    lines = [f"    - {{path: {row['path']}, sha256: {row['sha256']}}}" for row in ROWS]
    assert str(refused.value).split("\n")[1:] == ["    files:", *lines]


def test_a_changed_file_is_named_with_both_digests_and_the_place_of_its_pin(study):
    with pytest.raises(Refused) as refused:
        check_files(source(**{"a/b.txt": "0" * 64}), study)
    text = str(refused.value)
    assert text.startswith(
        f"{(study / 'data' / 'a' / 'b.txt').as_posix()} was changed: found sha256 {ROWS[1]['sha256']}, "
    )
    assert f"expected {'0' * 64} (params.yaml: data.source.files.1.sha256)" in text


def test_the_memory_is_a_line_a_file_in_the_order_of_their_paths(study):
    digest_files(source(), study)
    keys = {}
    for path, data in TEXTS.items():
        status = (study / "data" / path).stat()
        keys[f"{(study / 'data' / path).absolute().as_posix()}|{len(data)}|{status.st_mtime_ns}"] = digest(data)
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(keys[key])}" for key in sorted(keys))
    assert (study / MEMORY).read_text(encoding="utf-8") == f"{{\n{lines}\n}}\n"
