"""The studies of a history: which there were, at which commit each was whole, and what its last gate said."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from stages import ledger
from stages.repo.past_studies import PastStudy, read_past_studies
from tests.support import synthetic
from tests.support.repo import environment


def git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=root, env=environment(), capture_output=True, encoding="utf-8", check=True
    )
    return done.stdout.strip()


def commit(root: Path, message: str) -> str:
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", message)
    return git(root, "rev-parse", "HEAD")


def named(name: str, **changes: Any) -> dict[str, Any]:
    value = synthetic.params(4, 1)
    value["study"] |= {"name": name, "title": f"The study {name}"}
    return value | changes


def build(root: Path, value: dict[str, Any], message: str) -> str:
    """Make a whole study of `value` in the repository and commit it."""
    for folder in ("locks", "artifacts", "ledger"):
        shutil.rmtree(root / folder, ignore_errors=True)
    synthetic.build(root, value)
    with chdir(root):
        ledger.main()
    return commit(root, message)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "study"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    (root / ".gitignore").write_bytes(b"/artifacts/\n")
    return root


def by_name(root: Path) -> dict[str, PastStudy]:
    return {past.name: past for past in read_past_studies(root)}


def test_each_study_is_told_at_its_last_whole_commit(root: Path):
    first = build(root, named("first"), "first")
    (root / "notes.md").write_bytes(b"a word\n")
    commit(root, "nothing of the study")
    second = build(root, named("second"), "second")
    studies = by_name(root)
    assert list(studies) == ["second", "first"]
    assert {name: past.commit for name, past in studies.items()} == {"second": second, "first": first}
    assert [name for name, past in studies.items() if past.present] == ["second"]
    past = studies["first"]
    assert (past.whole, past.title, past.path) == (True, "The study first", "4-4-4-3-2")
    assert past.leader == past.decisions[-1].ranking[0].config
    assert past.verdicts.keys() == {"R4", "R5", "R6"}


def test_a_newer_commit_that_only_built_again_is_taken_and_one_that_is_not_whole_is_not(root: Path):
    build(root, named("first"), "first")
    (root / "dvc.lock").write_bytes(b"schema: '2.0'\n")
    rebuilt = commit(root, "built again")
    decisions = root / "ledger" / "decisions.jsonl"
    lines = decisions.read_bytes().splitlines(keepends=True)
    decisions.write_bytes(b"".join(lines[:3]))
    commit(root, "the last gates taken back")
    assert by_name(root)["first"].commit == rebuilt


@pytest.mark.parametrize(
    ("path", "change", "missing"),
    [
        ("locks/gate5.yaml", None, "gate5 is not frozen"),
        ("ledger/decisions.jsonl", lambda data: data.rpartition(b"\n{")[0] + b"\n", "gate5 has not decided"),
        ("ledger/runs.jsonl", lambda data: data.partition(b"\n")[2], "45 of 46 runs are in the ledger"),
        ("params.yaml", lambda data: data.replace(b'"first"', b'"other"'), "params.yaml is of other"),
        ("params.yaml", lambda data: data.replace(b'"gates"', b'"doors"'), "params.yaml: gates: expected a value"),
        ("ledger/decisions.jsonl", lambda data: data.replace(b"{", b"{ ", 1), "ledger/decisions.jsonl, line 1: "),
    ],
)
def test_a_study_that_was_never_whole_says_what_it_lacks(root: Path, path: str, change: Any, missing: str):
    synthetic.build(root, named("first"))
    with chdir(root):
        ledger.main()
    file = root / path
    if change is None:
        file.unlink()
    else:
        file.write_bytes(change(file.read_bytes()))
    head = commit(root, "not whole")
    past = by_name(root)["first"]
    assert (past.commit, past.whole, past.leader, past.verdicts) == (head, False, None, {})
    assert past.missing is not None
    assert past.missing.startswith(missing)


def test_a_folder_without_history_has_no_studies(tmp_path: Path, root: Path):
    assert read_past_studies(tmp_path) == ()
    assert read_past_studies(root) == ()


def test_a_state_of_the_files_is_read_once_however_many_commits_hold_it(root: Path, monkeypatch: pytest.MonkeyPatch):
    build(root, named("first"), "first")
    for number in range(20):
        (root / "dvc.lock").write_bytes(f"# {number}\n".encode())
        commit(root, "built again")
    (root / "locks" / "gate5.yaml").unlink()
    commit(root, "not whole")
    from stages.repo import past_studies

    read: list[str] = []
    original = past_studies._Reader._read
    monkeypatch.setattr(
        past_studies._Reader, "_read", lambda self, commit, *rest: read.append(commit) or original(self, commit, *rest)
    )
    assert by_name(root)["first"].whole
    assert len(read) == 2


def test_what_a_study_lacks_is_told_by_the_first_thing(root: Path):
    build(root, named("one"), "whole")
    whole = by_name(root)["one"]
    assert (whole.missing, whole.leader, whole.path) == (None, whole.decisions[-1].ranking[0].config, "4-4-4-3-2")
    files = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and ".git" not in path.parts}

    def lacks(change: Callable[[], object]) -> str | None:
        git(root, "checkout", "-q", "--orphan", f"b{len(git(root, 'branch').splitlines())}")
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        change()
        commit(root, "less")
        return by_name(root)["one"].missing

    decisions, runs, params = root / "ledger/decisions.jsonl", root / "ledger/runs.jsonl", root / "params.yaml"

    def judged_by(lock: str) -> None:
        lines = decisions.read_bytes().splitlines(keepends=True)
        own = whole.decisions[1].lock.encode()
        decisions.write_bytes(b"".join([lines[0], lines[1].replace(own, lock.encode()), *lines[2:]]))

    assert lacks(lambda: None) is None
    assert lacks(lambda: judged_by("0" * 64)) == "gate2 has not decided"
    assert lacks(lambda: decisions.write_bytes(decisions.read_bytes().partition(b"\n")[0] + b"\n")) == (
        "gate2 has not decided"
    )
    lines = runs.read_bytes().splitlines(keepends=True)
    assert lacks(lambda: runs.write_bytes(b"".join(lines[1:]))) == (
        f"{len(lines) - 1} of {len(lines)} runs are in the ledger"
    )
    assert lacks(lambda: (root / "locks/gate5.yaml").unlink()) == "gate5 is not frozen"
    assert lacks(lambda: params.write_bytes(params.read_bytes().replace(b'"one"', b'"two"'))) == (
        "params.yaml is of two"
    )
