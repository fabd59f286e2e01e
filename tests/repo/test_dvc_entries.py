"""What git holds of dvc.lock files: a repetition is no change, and entries of runs in the ledger come back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest

from stages.domain import canonical, names
from stages.domain.study import Study, load
from stages.dvcfiles import lockfile
from stages.repo.dvc_entries import differs_by_repetition, find_committed_evidence, restore_entries
from stages.repo.git import Git
from tests.repo.test_past_studies import commit
from tests.support import dvclock, synthetic
from tests.support.repo import reading_git

RUNS = names.LEDGER / "runs.jsonl"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("entries") / "study"
    dvclock.build_study(root, synthetic.params(4, 1))
    return root


@pytest.fixture
def study(built: Path, tmp_path: Path) -> Iterator[Study]:
    """A finished and committed study, in which the test stands."""
    shutil.copytree(built, tmp_path / "study")
    with chdir(tmp_path / "study"):
        yield load()


@pytest.fixture
def git(study: Study) -> Iterator[Git]:
    with reading_git(Path()) as git:
        yield git


#: The dvc.lock of a configuration at a rung, and the run of it that tests take out.
LOCK, STAGE = Path("stages/ladder/rung2/d2-c001/dvc.lock"), "run@cpu-bf16-2000"


def take_out(*stages: str) -> bytes:
    """The lock's bytes before stages were taken out of it; the change is committed."""
    before = LOCK.read_bytes()
    head, entries = lockfile.read(LOCK)
    lockfile.write(LOCK, head, {name: text for name, text in entries.items() if name not in stages})
    commit(Path(), "entries taken out")
    return before


def test_in_a_whole_study_nothing_is_to_be_brought_back(study):
    before = {path: path.read_bytes() for path in Path("stages/ladder").rglob("dvc.lock")}
    assert restore_entries(study) == []
    assert {path: path.read_bytes() for path in Path("stages/ladder").rglob("dvc.lock")} == before


def test_an_entry_of_a_run_in_the_ledger_comes_back_as_it_was_and_in_its_place(study):
    before = take_out(STAGE)
    assert LOCK.read_bytes() != before
    assert restore_entries(study) == [f"{LOCK.as_posix()}: {STAGE}"]
    assert LOCK.read_bytes() == before
    assert restore_entries(study) == []


def test_a_lock_that_is_gone_comes_back_whole(study):
    before = LOCK.read_bytes()
    LOCK.unlink()
    commit(Path(), "the lock taken away")
    assert len(restore_entries(study)) == 2
    assert LOCK.read_bytes() == before


def test_an_entry_comes_back_from_any_commit_the_newest_first(study):
    head, entries = lockfile.split(take_out(*lockfile.read(LOCK)[1]).decode())
    newer = entries[STAGE].replace("size: ", "size: 1")
    lockfile.write(LOCK, head, {STAGE: newer})
    commit(Path(), "one of them, of other sizes")
    take_out(STAGE)
    assert len(restore_entries(study)) == 2
    assert lockfile.read(LOCK)[1] == entries | {STAGE: newer}


@pytest.mark.parametrize("change", ["record", "lock", "ledger", "git"])
def test_only_the_very_bytes_of_a_record_under_the_lock_of_today_bring_an_entry_back(study, change):
    take_out(STAGE)
    if change == "record":
        lines = RUNS.read_bytes().splitlines(keepends=True)
        values = [canonical.loads(line) for line in lines]
        of_it = [(v["rung"], v["config"], v["host"]) == ("rung2", "d2-c001", "cpu-bf16") for v in values]
        assert sum(of_it) == 1
        changed = [v | {"reason": "another"} if own else v for v, own in zip(values, of_it, strict=True)]
        RUNS.write_bytes(b"".join(map(canonical.dumps, changed)))
    elif change == "lock":
        names.lock_path("gate2").unlink()
    elif change == "ledger":
        RUNS.write_bytes(b"rubbish\n")
    else:
        shutil.rmtree(".git")
    assert restore_entries(study) == []


def replace_md5(folder: Path) -> None:
    """Give what the lock holds in a folder another digest."""
    lines = LOCK.read_text(encoding="utf-8").split("\n")
    for at, line in enumerate(lines):
        if f"path: {folder.as_posix()}" in line:
            place = next(n for n in range(at, at + 4) if "md5: " in lines[n])
            lines[place] = (
                lines[place].partition("md5: ")[0] + "md5: " + "f" * 32 + (".dir" if ".dir" in lines[place] else "")
            )
    LOCK.write_text("\n".join(lines), encoding="utf-8", newline="\n")


@pytest.mark.parametrize(
    ("folder", "repetition"),
    [(names.TRACES, True), (names.RECORDS, False), (names.PROTOCOL, False)],
)
def test_another_clock_is_a_repetition_and_another_record_or_input_is_a_change(git, folder, repetition):
    before = LOCK.read_bytes()
    assert not differs_by_repetition(git, LOCK), "nothing differs"
    replace_md5(folder)
    assert LOCK.read_bytes() != before, "the lock has something of that folder"
    assert differs_by_repetition(git, LOCK) is repetition


def test_a_lock_that_git_does_not_hold_or_that_cannot_be_read_is_no_repetition(git):
    other = LOCK.with_name("other.lock")
    shutil.copy(LOCK, other)
    assert not differs_by_repetition(git, other)
    LOCK.write_bytes(b"rubbish\n")
    assert not differs_by_repetition(git, LOCK)
    LOCK.unlink()
    assert not differs_by_repetition(git, LOCK)


def test_entries_whose_records_git_holds_are_committed_evidence_and_new_ones_are_not(git):
    gate = Path("stages/ladder/rung2/dvc.lock")
    changed = [LOCK.as_posix(), gate.as_posix(), "stages/ladder/rung9/dvc.lock", "params.yaml", RUNS.as_posix()]
    assert find_committed_evidence(git, changed) == [LOCK.as_posix()]
    replace_md5(names.TRACES)
    assert find_committed_evidence(git, changed) == [LOCK.as_posix()]
    replace_md5(names.RECORDS)
    assert find_committed_evidence(git, changed) == []
    LOCK.write_bytes(b"rubbish\n")
    assert find_committed_evidence(git, changed) == []
