"""A merge conflict is called that wherever a file of ours is read, and nothing writes over it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.domain import canonical, conflicts, files, yamlio
from stages.domain.conflicts import find_conflict, is_marker, refuse_conflicts
from stages.domain.errors import Invalid
from stages.domain.records import parse_ledger
from stages.dvcfiles import lockfile

OURS, THEIRS = b"schema: '2.0'\n", b"schema: '1.0'\n"
CONFLICT = b"# a file\n<<<<<<< HEAD\n" + OURS + b"=======\n" + THEIRS + b">>>>>>> topic\n"
FLOW = b"k: [1,\n<<<<<<< HEAD\n2,\n=======\n3,\n>>>>>>> topic\n4]\n"
DIFF3 = CONFLICT.replace(b"=======", b"||||||| base\nx: 1\n=======")
CRLF = CONFLICT.replace(b"\n", b"\r\n")


@pytest.mark.parametrize("data", [CONFLICT, FLOW, DIFF3, CRLF, CONFLICT.replace(b"# a file\n", b"\n\n")])
def test_yaml_and_dvc_locks_name_the_line_of_a_conflict(data, tmp_path):
    line = data[: data.index(b"<<<<<<<")].count(b"\n") + 1
    assert find_conflict(data) == line
    path = tmp_path / "dvc.lock"
    path.write_bytes(data)
    for read in (
        lambda: yamlio.loads(data, path.as_posix()),
        lambda: lockfile.parse(data, path.as_posix()),
        lambda: lockfile.read(path),
        lambda: lockfile.write(path, "", {"corpus": "    cmd: x\n"}),
        lambda: lockfile.write(path, "", {}),
        lambda: files.write_whole(path, b"new\n"),
        lambda: refuse_conflicts([path]),
    ):
        with pytest.raises(Invalid, match=rf"dvc\.lock, line {line}: found a merge conflict") as caught:
            read()
        assert "git merge --abort" in str(caught.value)
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    "lines", [b"<<<<<<< HEAD", b"=======", b">>>>>>> topic", b"<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> x"]
)
def test_a_ledger_names_the_line_of_a_conflict(lines):
    with pytest.raises(Invalid, match=r"runs\.jsonl, line 1: .*found a merge conflict"):
        parse_ledger(lines + b"\n", "ledger/runs.jsonl")
    with pytest.raises(canonical.NotCanonical, match="found a merge conflict"):
        canonical.loads(lines)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"a: 1\n", b"# ======= a heading\na: 1\n", b"a: '<<<<<<< x'\n", b"a: |\n  <<<<<<< x\n  >>>>>>> y\n",
        b"<<<<<<< begun and never ended\n", b"<<<<<<<<\n>>>>>>>>\n",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_conflict_is_none(data, tmp_path):
    assert find_conflict(data) is None
    path = tmp_path / "params.yaml"
    path.write_bytes(data)
    files.write_whole(path, b"new\n")
    assert path.read_bytes() == b"new\n"


def test_a_file_that_is_none_of_ours_may_hold_markers(tmp_path):
    path = tmp_path / "page.html"
    path.write_bytes(CONFLICT)
    files.write_whole(path, b"new\n")
    refuse_conflicts([path, tmp_path / "none.yaml", Path("/")])


def test_a_file_larger_than_any_of_ours_is_not_searched(tmp_path, monkeypatch):
    path = tmp_path / "params.yaml"
    path.write_bytes(CONFLICT)
    monkeypatch.setattr(conflicts, "MAX_BYTES", len(CONFLICT))
    with pytest.raises(Invalid, match=r"params\.yaml, line 2: "):
        refuse_conflicts([tmp_path / "none.yaml", path])
    monkeypatch.setattr(conflicts, "MAX_BYTES", len(CONFLICT) - 1)
    refuse_conflicts([path])


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_a_conflict_is_found_at_its_line_whatever_stands_around_it(before, after):
    before = before.replace(b"<", b"") + b"\n" if before else b""
    data = before + b"<<<<<<< a\nx\n=======\ny\n>>>>>>> b\n" + after
    assert find_conflict(data) == before.count(b"\n") + 1
    assert is_marker(b"<<<<<<< a\n")
    assert not is_marker(b"{}\n")
