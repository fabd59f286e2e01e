"""What is read of all commits together takes bounded memory, however many commits a small pack unpacks to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.domain import canonical
from stages.domain.errors import Unreadable
from stages.repo import history_reader as module
from stages.repo.git import Git
from stages.repo.history import DECISIONS, RUNS
from tests.repo.test_history import Files, commit, git, read, root
from tests.repo.test_limits import write_object

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
    files = FIRST_FILE + module.PLACE_BYTES + module.TEXT_BYTES
    commitments, parents = module.COMMITMENT_BYTES + 2 * module.PLACE_BYTES, module.PLACE_BYTES
    most = 3 * (module.LINE_BYTES + 2) + 5 * module.PLACE_BYTES + commitments + parents + files
    monkeypatch.setattr(module, "MAX_KEPT", most)
    assert [len(state.lines) for state in read(root).states.values()] == [2, 3]
    oid, head = git(root, "rev-parse", f"HEAD:{RUNS}"), git(root, "rev-parse", "HEAD~1")
    at_commitments = parents + 1
    at_lines = at_commitments + module.PLACE_BYTES
    for spare, what in ((1, f"commit {head}"), (at_commitments, f"commit {head}"), (at_lines, f"object {oid}")):
        monkeypatch.setattr(module, "MAX_KEPT", most - spare)
        with pytest.raises(
            Unreadable, match=f"{what}: with it what is read of the history takes more than {most - spare} "
        ):
            read(root)


def test_a_ledger_of_something_else_than_a_study_that_is_too_large_takes_nothing_from_the_study(
    root: Path, commit: Callable[[Files], str], monkeypatch: pytest.MonkeyPatch
):
    large = b"".join(b"%d\n" % n for n in range(9))
    files = (3 + 2 * 3 + 1) * module.PLACE_BYTES + 4 * module.TEXT_BYTES  # one of another folder counts more
    own = 3 * (module.LINE_BYTES + module.PLACE_BYTES + 2) + module.COMMITMENT_BYTES + 2 * module.PLACE_BYTES
    monkeypatch.setattr(module, "MAX_KEPT", files + own)
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
    parents = 2 * module.PLACE_BYTES
    most = module.LOCK_FACTOR * sum(map(len, locks)) + (1 + 2 + 3) * module.PLACE_BYTES + parents + files
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


def test_the_files_of_each_commit_that_matter_count_and_no_others(
    root: Path, commit: Callable[[Files], str], monkeypatch: pytest.MonkeyPatch
):
    """A path and an id that many commits have count once, their place in each different folder of commits."""
    rung = "stages/ladder/rung1"
    files = {
        f"{rung}/a/dvc.lock": b"{}",
        f"{rung}/dvc.lock": b"{}",
        f"{rung}/a/b/dvc.lock": b"{}",
        f"{rung}/B/dvc.lock": b"",
    }
    commit({**files, f"{rung}/x": b"", "stages/ladder/x/dvc.lock": b"", "stages/ladder/x/a/dvc.lock": b""})
    commit({"stages/x": b""})
    commit({"README.md": b""})
    last = commit({"ledger/x": b"", "locks/x": b"", "stages/rung1/dvc.lock": b"1"})
    parents = 1
    places = (2 + 2 + 3 + parents) * module.PLACE_BYTES
    texts = (3 + 2) * module.TEXT_BYTES
    monkeypatch.setattr(module, "MAX_KEPT", places + texts)
    assert [sorted(state.oids) for state in read(root).states.values()] == [
        sorted([f"{rung}/a/dvc.lock", f"{rung}/dvc.lock"]),
        sorted([f"{rung}/a/dvc.lock", f"{rung}/dvc.lock", "stages/rung1/dvc.lock"]),
    ]
    monkeypatch.setattr(module, "MAX_KEPT", places + texts - 1)
    with pytest.raises(Unreadable, match=f"commit {last}: with it what is read of the history takes more"):
        read(root)


def test_the_states_that_a_merge_stands_on_count_where_its_parents_stand_on_different_ones(
    root: Path, commit: Callable[[Files], str], monkeypatch: pytest.MonkeyPatch
):
    commit({RUNS: b"1\n"})
    for branch in ("b", "c"):
        git(root, "checkout", "-q", "-b", branch, "main")
        commit({f"locks/{branch}": b"", RUNS: b"1\n2\n"})
    kept = []
    keep = module._Reader.keep
    monkeypatch.setattr(
        module._Reader, "keep", lambda self, what, size: (kept.append((what, size)), keep(self, what, size))
    )
    git(root, "merge", "-q", "--no-edit", "b")
    merge = git(root, "rev-parse", "HEAD")
    below = [commit({"README.md": b"%d" % n}) for n in range(2)]
    last = commit({RUNS: b"3\n"})
    history = read(root)
    assert len(history.states[last].parents) == 2
    assert (f"commit {merge}", 2 * module.PLACE_BYTES) in kept
    assert not {what for what, _ in kept} & {f"commit {each}" for each in below}, (
        "they stand on the same as their parents"
    )


def test_what_evidence_commits_to_counts_once_and_each_different_line_is_read_once(
    root: Path, commit: Callable[[Files], str], monkeypatch: pytest.MonkeyPatch
):
    parsed = []
    parse = module.parse_decision_commitment
    monkeypatch.setattr(module, "parse_decision_commitment", lambda data: (parsed.append(data), parse(data))[1])
    lines = [json.dumps({"gate": f"gate{n}", "lock": "0" * 64}).encode() + b"\n" for n in (1, 2)]
    commit({DECISIONS: lines[0] * 3 + b"{}\n" * 3})
    commit({"locks/gate1.yaml": b""})
    last = commit({DECISIONS: lines[0] + lines[1]})
    files = (1 + 2 + 2) * module.PLACE_BYTES + 5 * module.TEXT_BYTES
    commitments = (2 + 1) * module.COMMITMENT_BYTES + (2 + 2) * module.PLACE_BYTES  # gate1, gate2 and an unknown one
    parents = 2 * module.PLACE_BYTES
    monkeypatch.setattr(module, "MAX_KEPT", files + commitments + parents)
    first, second, third = read(root).states.values()
    assert first.commitments is second.commitments and len(third.commitments) == 2
    assert len(parsed) == 4
    commit({RUNS: b""})
    monkeypatch.setattr(module, "MAX_KEPT", 2 * (files + commitments + parents))
    parsed.clear()
    assert len(read(root).states) == 4 and len(parsed) == 4, "another ledger makes no other decisions"
    git(root, "reset", "-q", "--hard", last)
    monkeypatch.setattr(module, "MAX_KEPT", files + commitments + parents - 1)
    with pytest.raises(Unreadable, match=f"commit {last}: with it what is read of the history takes more"):
        read(root)


def test_lines_of_decisions_have_a_place_while_they_are_read(
    root: Path, commit: Callable[[Files], str], monkeypatch: pytest.MonkeyPatch
):
    commit({DECISIONS: b"".join(b"%d\n" % n for n in range(9))})
    most = FIRST_FILE + module.COMMITMENT_BYTES + 9 * (module.PLACE_BYTES + 2)
    monkeypatch.setattr(module, "MAX_KEPT", most)
    assert [len(state.commitments) for state in read(root).states.values()] == [1]
    monkeypatch.setattr(module, "MAX_KEPT", most - 1)
    with pytest.raises(Unreadable, match=f"object {git(root, 'rev-parse', f'HEAD:{DECISIONS}')}: with it"):
        read(root)


def test_ledgers_in_a_folder_that_stayed_as_it_was_are_not_looked_up_again(
    root: Path, commit: Callable[[Files], str], monkeypatch: pytest.MonkeyPatch
):
    asked = []
    top_entry = Git.top_entry
    monkeypatch.setattr(Git, "top_entry", lambda *words: (asked.append(words[2]), top_entry(*words))[1])
    path = "other/ledger/runs.jsonl"
    commit({"README.md": b"0"})
    commit({path: b"1\n"})
    for n in range(3):
        commit({"README.md": b"%d" % (n + 1)})
    last = commit({path: b"2\n"})
    commit({path: None})
    history = read(root)
    assert history.states[last].ledgers == {path: frozenset({b"2\n"})}
    assert len(history.states) == 3 and asked.count(path) == 2


def test_a_parent_that_a_commit_names_twice_counts_once(
    root: Path, commit: Callable[[Files], str], monkeypatch: pytest.MonkeyPatch
):
    first = commit({RUNS: b"1\n"})
    who = "a <b> 1700000000 +0000"
    text = f"tree {git(root, 'rev-parse', 'HEAD^{tree}')}\nparent {first}\nparent {first}\n"
    head = write_object(root, "commit", f"{text}author {who}\ncommitter {who}\n\nx\n".encode())
    git(root, "update-ref", "HEAD", head)
    joined = []
    join_tips = module._Reader.join_tips
    monkeypatch.setattr(module._Reader, "join_tips", lambda *words: (joined.append(words[2]), join_tips(*words))[1])
    assert list(read(root).states) == [first]
    assert joined == [[], [(first,)]]
