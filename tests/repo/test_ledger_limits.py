"""What is read of all commits together takes bounded memory, however many commits a small pack unpacks to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.domain import canonical
from stages.domain.errors import Unreadable
from stages.repo import history as module
from stages.repo.history import RUNS
from tests.repo.test_history import Files, commit, git, read, root

__all__ = ["commit", "root"]  # fixtures
#: What is kept of a file that matters: its place in a commit, its path and its id.
FIRST_FILE = module.PLACE_BYTES + 2 * module.TEXT_BYTES


def test_the_ledgers_of_all_commits_take_no_more_memory_than_a_limit(
    root: Path, commit: Callable[[Files], str], monkeypatch: pytest.MonkeyPatch
):
    """Each line counts once, however many commits hold it, and its place in each different ledger and in each state."""
    commit({RUNS: b"1\n2\n2\n"})
    commit({RUNS: b"1\n2\n3"})
    commit({"other": b"x"})
    most = 3 * (module.LINE_BYTES + 2) + 7 * module.PLACE_BYTES + FIRST_FILE + module.PLACE_BYTES + module.TEXT_BYTES
    monkeypatch.setattr(module, "MAX_KEPT", most)
    assert [len(state.lines) for state in read(root).states.values()] == [2, 3]
    oid, head = git(root, "rev-parse", f"HEAD:{RUNS}"), git(root, "rev-parse", "HEAD~1")
    for spare, what in ((1, f"commit {head}"), (module.PLACE_BYTES + 1, f"object {oid}")):
        monkeypatch.setattr(module, "MAX_KEPT", most - spare)
        with pytest.raises(
            Unreadable, match=f"{what}: with it what is read of the history takes more than {most - spare} "
        ):
            read(root)


def test_a_ledger_of_something_else_than_a_study_that_is_too_large_takes_nothing_from_the_study(
    root: Path, commit: Callable[[Files], str], monkeypatch: pytest.MonkeyPatch
):
    large = b"".join(b"%d\n" % n for n in range(9))
    files = 3 * module.PLACE_BYTES + 4 * module.TEXT_BYTES
    monkeypatch.setattr(module, "MAX_KEPT", 8 * (module.LINE_BYTES + module.PLACE_BYTES + 2) + files)
    first = commit({"other/ledger/runs.jsonl": large})
    last = commit({RUNS: b"a\nb\n3\n"})
    history = read(root)
    assert history.states[first].ledgers == {"other/ledger/runs.jsonl": frozenset()}
    assert history.states[last].lines == {b"a\n", b"b\n", b"3\n"}
    commit({"other/params.yaml": b"x", "other/ledger/runs.jsonl": large + b"9\n"})
    with pytest.raises(Unreadable, match="with it what is read of the history takes more"):
        read(root)


def test_the_locks_of_all_commits_count_once_each_and_so_do_those_that_stood_before(
    root: Path, commit: Callable[[Files], str], monkeypatch: pytest.MonkeyPatch
):
    locks = [json.dumps({"frozen": {"n": n}, "digest": canonical.sha256({"n": n})}).encode() for n in range(3)]
    for data in locks:
        commit({"locks/gate1.yaml": data})
    files = FIRST_FILE + 2 * (module.PLACE_BYTES + module.TEXT_BYTES)
    most = module.LOCK_FACTOR * sum(map(len, locks)) + (1 + 2 + 3) * module.PLACE_BYTES + files
    monkeypatch.setattr(module, "MAX_KEPT", most)
    assert len(read(root).locks) == 3
    monkeypatch.setattr(module, "MAX_KEPT", most - 1)
    with pytest.raises(
        Unreadable, match=f"commit {git(root, 'rev-parse', 'HEAD')}: with it what is read of the history"
    ):
        read(root)
    monkeypatch.setattr(module, "MAX_KEPT", FIRST_FILE + module.LOCK_FACTOR * len(locks[0]) - 1)
    with pytest.raises(Unreadable, match="object [0-9a-f]{40}: with it what is read of the history"):
        read(root)
