"""The ledgers of all commits together take bounded memory, however many commits a small pack unpacks to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stages.domain.errors import Unreadable
from stages.repo import history as module
from stages.repo.history import RUNS
from tests.repo.test_history import Files, commit, git, read, root

__all__ = ["commit", "root"]  # fixtures


def test_the_ledgers_of_all_commits_take_no_more_memory_than_a_limit(
    root: Path, commit: Callable[[Files], str], monkeypatch: pytest.MonkeyPatch
):
    """Each line counts once, however many commits hold it, and its place in each different ledger."""
    commit({RUNS: b"1\n2\n2\n"})
    commit({RUNS: b"1\n2\n3"})
    commit({"other": b"x"})
    most = 3 * (module.LINE_BYTES + 2) + 5 * module.PLACE_BYTES
    monkeypatch.setattr(module, "MAX_LEDGERS", most)
    assert [len(state.lines) for state in read(root).states.values()] == [2, 3]
    monkeypatch.setattr(module, "MAX_LEDGERS", most - 1)
    oid = git(root, "rev-parse", f"HEAD:{RUNS}")
    with pytest.raises(
        Unreadable, match=f"object {oid}: with it the ledgers of this history take more than {most - 1} "
    ):
        read(root)


def test_a_ledger_of_something_else_than_a_study_that_is_too_large_takes_nothing_from_the_study(
    root: Path, commit: Callable[[Files], str], monkeypatch: pytest.MonkeyPatch
):
    large = b"".join(b"%d\n" % n for n in range(9))
    monkeypatch.setattr(module, "MAX_LEDGERS", 8 * (module.LINE_BYTES + module.PLACE_BYTES + 2))
    first = commit({"other/ledger/runs.jsonl": large})
    last = commit({RUNS: b"a\nb\n3\n"})
    history = read(root)
    assert history.states[first].ledgers == {"other/ledger/runs.jsonl": frozenset()}
    assert history.states[last].lines == {b"a\n", b"b\n", b"3\n"}
    commit({"other/params.yaml": b"x", "other/ledger/runs.jsonl": large + b"9\n"})
    with pytest.raises(Unreadable, match="with it the ledgers of this history take more"):
        read(root)
