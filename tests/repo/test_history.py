"""The states of a history: which commits are one, what each holds, and under which locks evidence ever stood."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.domain import canonical
from stages.domain.records import parse_line
from stages.repo.git import Git, object_id
from stages.repo.history import (
    DECISIONS,
    HINDSIGHT,
    RUNS,
    WORKSPACE,
    History,
    HistoryState,
)
from stages.repo.history_reader import history_at_head, read_history
from stages.repo.objects import GitAbsent
from stages.repo.past_files import (
    EvidenceLine,
    PastLock,
    evidence_of_record,
    parse_evidence_line,
    parse_past_lock,
)
from stages.repo.tree import WorkTree
from tests.repo.test_past_files import WHOLE, lock
from tests.support.repo import environment, reading_git

Files = dict[str, bytes | None]


def git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=root, env=environment(), capture_output=True, encoding="utf-8", check=True
    )
    return done.stdout.strip()


def write(root: Path, files: Files) -> None:
    for path, data in files.items():
        place = root / path
        if data is None:
            place.unlink()
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "study"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    return root


@pytest.fixture
def commit(root: Path) -> Callable[[Files], str]:
    """Commits changes of files; the id of the commit."""

    def make(files: Files) -> str:
        write(root, files)
        git(root, "add", "-A")
        git(root, "commit", "-q", "--allow-empty", "-m", "x")
        return git(root, "rev-parse", "HEAD")

    return make


def frozen(gate: str = "gate1", study: str = "s", **more: Any) -> tuple[bytes, str]:
    """A lock's bytes and its digest."""
    content = {"gate": gate, "study": study, **more}
    digest = canonical.sha256(content)
    return json.dumps({"frozen": content, "digest": digest}).encode() + b"\n", digest


def run(rung: str, digest: str, config: str = "a") -> bytes:
    value = {"status": "finished", "rung": rung, "lock": digest, "config": config, "host": "h", "seed": 1,
             "purpose": "candidate", "facts": {}}  # fmt: skip
    return canonical.dumps(value)


def decision(gate: str, digest: str) -> bytes:
    return canonical.dumps({"gate": gate, "lock": digest, "evidence": {"r": "s"}})


def read(root: Path, workspace: bool = False, rev: str = "HEAD") -> History:
    with reading_git(root) as repository:
        tree = WorkTree(root, repository) if workspace else None
        return read_history(repository, repository.resolve(rev), tree, {})


LOCK, DIGEST = frozen()
OTHER, OTHER_DIGEST = frozen(k=2)


def test_a_state_is_a_commit_that_changed_what_matters_and_what_it_holds(root: Path, commit: Callable[[Files], str]):
    commit({"README.md": b"x"})
    first = commit({"locks/gate1.yaml": LOCK, "locks/notes.txt": b"x", "params.yaml": b"a: 1\n"})
    commit({"README.md": b"y", "ledger/metrics.json": b"{}", "stages/run.py": b"x", "locks/gate0.yaml": LOCK})
    ran = commit({RUNS: run("rung1", DIGEST), DECISIONS: decision("gate1", DIGEST), HINDSIGHT: b"h\n"})
    commit({"README.md": b"z"})
    history = read(root)
    assert list(history.states) == [first, ran]
    assert (history.tips, history.cut, history.cut_after_evidence) == ((ran,), None, False)
    one, two = history.states.values()
    assert (one.parents, two.parents) == ((), (first,))
    assert one.oids == {"locks/gate1.yaml": object_id("blob", LOCK, first)}
    assert set(two.oids) == {"locks/gate1.yaml", RUNS, DECISIONS, HINDSIGHT}
    assert one.locks == two.locks == {"gate1": PastLock("gate1", DIGEST, {"gate": "gate1", "study": "s"})}
    assert (one.commitments, two.commitments) == (frozenset(), {("rung1", DIGEST)})
    assert (one.lines, two.lines) == (frozenset(), {run("rung1", DIGEST)})
    assert one.locks_so_far == two.locks_so_far == {("gate1", DIGEST)}
    assert (one.ledgers, two.ledgers) == ({}, {HINDSIGHT: frozenset({b"h\n"})})
    assert (one.title, one.locks["gate1"].study) == (f"commit {first[:12]}", "s")
    assert history.parsed_lines == {run("rung1", DIGEST): EvidenceLine(("rung1", DIGEST), "rung1/a/h/1", False)}


def test_a_commit_that_takes_all_away_is_a_state_and_locks_so_far_are_kept(root: Path, commit: Callable[[Files], str]):
    commit({"locks/gate1.yaml": LOCK})
    changed = commit({"locks/gate1.yaml": OTHER})
    gone = commit({"locks/gate1.yaml": None})
    states = read(root).states
    assert states[changed].locks_so_far == states[gone].locks_so_far == {("gate1", DIGEST), ("gate1", OTHER_DIGEST)}
    assert (states[gone].oids, states[gone].locks, states[gone].parents) == ({}, {}, (changed,))


def test_a_merge_stands_on_the_states_of_both_sides(root: Path, commit: Callable[[Files], str]):
    base = commit({"locks/gate1.yaml": LOCK})
    git(root, "checkout", "-q", "-b", "other")
    theirs = commit({RUNS: run("rung1", DIGEST, "b")})
    git(root, "checkout", "-q", "main")
    ours = commit({DECISIONS: decision("gate1", DIGEST)})
    git(root, "merge", "-q", "--no-edit", "other")
    merge = git(root, "rev-parse", "HEAD")
    history = read(root)
    assert set(history.states) == {base, theirs, ours, merge}
    assert history.states[merge].parents == (ours, theirs)
    assert history.parents(history.states[merge]) == [history.states[ours], history.states[theirs]]
    assert history.new_lines(history.states[merge]) == frozenset()
    assert history.precedes(history.states[base], history.states[merge])
    assert not history.precedes(history.states[theirs], history.states[ours])
    git(root, "checkout", "-q", "other")
    git(root, "merge", "-q", "--no-ff", "--no-edit", "-s", "ours", "main")
    assert read(root).tips == (git(root, "rev-parse", "HEAD"),), "one side has another content"
    git(root, "checkout", "-q", "-b", "third", base)
    commit({"README.md": b"x"})
    git(root, "merge", "-q", "--no-edit", "-s", "ours", base)
    assert read(root).tips == (base,)


def test_evidence_is_also_what_decisions_and_the_locks_of_dvc_speak_of(root: Path, commit: Callable[[Files], str]):
    trained, stopped = lock(run={"a": True}), lock(run={"a": False})
    head = commit(
        {
            RUNS: run("rung1", DIGEST),
            DECISIONS: decision("gate2", OTHER_DIGEST) + b"null\n",
            "stages/ladder/rung1/a/dvc.lock": trained,
            "stages/ladder/rung2/dvc.lock": trained,
            "stages/ladder/rung3/a/dvc.lock": trained,
            "stages/ladder/rung4/a/dvc.lock": stopped,
            "stages/rung5/dvc.lock": trained,
            "stages/rung6/a/dvc.lock": trained,
            "stages/ladder/rung7/a/b/dvc.lock": trained,
            "stages/rung0/dvc.lock": trained,
            "stages/ladder/rung8/A/dvc.lock": trained,
            "stages/ladder/rung9/a/dvc.yaml": trained,
        }
    )
    state = read(root).states[head]
    assert state.commitments == {("rung1", DIGEST), ("rung2", OTHER_DIGEST), ("rung3", ""), ("rung5", "")}
    assert set(state.oids) == {
        *(RUNS, DECISIONS, "stages/rung5/dvc.lock", "stages/ladder/rung2/dvc.lock"),
        *(f"stages/ladder/rung{n}/a/dvc.lock" for n in (1, 3, 4)),
    }


def test_links_and_folders_in_the_place_of_files_are_none(root: Path, commit: Callable[[Files], str]):
    (root / "locks").mkdir()
    (root / "ledger").symlink_to("elsewhere")
    head = commit({"locks/gate1.yaml/x": b"x", "locks/gate2.yaml": frozen("gate2")[0], "stages": b"x"})
    assert set(read(root).states[head].oids) == {"locks/gate2.yaml"}


def test_a_line_without_an_end_is_the_line_with_one(root: Path, commit: Callable[[Files], str]):
    line = run("rung1", DIGEST)
    first = commit({RUNS: line[:-1]})
    second = commit({RUNS: line})
    states = read(root).states
    assert states[first].lines == states[second].lines == {line}


@pytest.mark.parametrize("changed", [False, True])
def test_a_workspace_with_changes_is_a_state_on_top(root: Path, commit: Callable[[Files], str], changed: bool):
    head = commit({"locks/gate1.yaml": LOCK, RUNS: run("rung1", DIGEST), "x/ledger/runs.jsonl": b"{}\n"})
    if changed:
        write(root, {"locks/gate1.yaml": OTHER, "stages/ladder/rung1/a/dvc.lock": lock(run={"a": True})})
    (root / "locks" / "gate2.yaml").symlink_to("gate1.yaml")
    history = read(root, workspace=True)
    assert history.tips == ((WORKSPACE,) if changed else (head,))
    assert (WORKSPACE in history.states) is changed
    if changed:
        state = history.states[WORKSPACE]
        assert (state.title, state.parents) == ("the workspace", (head,))
        assert state.locks["gate1"].digest == OTHER_DIGEST
        assert state.lines == {run("rung1", DIGEST)}
        assert set(state.oids) == {
            *("locks/gate1.yaml", RUNS, "x/ledger/runs.jsonl", "stages/ladder/rung1/a/dvc.lock"),
        }


def test_before_the_first_commit_the_workspace_is_all_there_is(root: Path):
    with reading_git(root) as repository:
        assert read_history(repository, None, None, {}).states == {}
        assert read_history(repository, None, WorkTree(root, repository), {}).tips == ()
        write(root, {"locks/gate1.yaml": LOCK})
        history = read_history(repository, None, WorkTree(root, repository), {})
    assert (history.tips, history.states[WORKSPACE].parents) == ((WORKSPACE,), ())


def test_ledgers_of_other_folders_are_kept_by_their_path_from_the_study(root: Path, commit: Callable[[Files], str]):
    with_locks = commit(
        {"a/ledger/runs.jsonl": b"{}\n", "a/locks/gate1.yaml": LOCK, "b/c/ledger/hindsight.jsonl": b"1\n"}
    )
    with_params = commit({"d/params.yaml": b"x", "d/ledger/runs.jsonl": b"2\n", RUNS: b"3\n"})
    gone = commit({"d/ledger/runs.jsonl": None})
    history = read(root)
    assert history.states[with_locks].ledgers == {
        "a/ledger/runs.jsonl": {b"{}\n"},
        "b/c/ledger/hindsight.jsonl": {b"1\n"},
    }
    assert set(history.states[with_params].ledgers) == {
        *("a/ledger/runs.jsonl", "b/c/ledger/hindsight.jsonl", "d/ledger/runs.jsonl"),
    }
    assert "d/ledger/runs.jsonl" not in history.states[gone].ledgers
    assert history.studies_elsewhere == {"a/ledger/runs.jsonl", "d/ledger/runs.jsonl"}
    assert dict(history.new_ledger_lines(history.states[with_params])) == {
        RUNS: {b"3\n"}, "a/ledger/runs.jsonl": set(), "b/c/ledger/hindsight.jsonl": set(), "d/ledger/runs.jsonl": {b"2\n"},
    }  # fmt: skip
    inner = read(root / "a")
    assert set(inner.states[with_params].ledgers) == {
        *("../ledger/runs.jsonl", "../b/c/ledger/hindsight.jsonl", "../d/ledger/runs.jsonl"),
    }
    assert inner.states[with_params].lines == {b"{}\n"}


def test_a_ledger_elsewhere_that_is_too_large_is_read_where_it_is_a_studys(
    root: Path, commit: Callable[[Files], str], monkeypatch: pytest.MonkeyPatch
):
    from stages.repo import git as git_module

    head = commit({"a/ledger/runs.jsonl": b"12345\n", "locks/gate1.yaml": LOCK})
    study = commit({"a/params.yaml": b"x", "README.md": b"", "locks/gate1.yaml": OTHER})
    blob = Git.blob
    monkeypatch.setattr(Git, "blob", lambda self, oid, most=5: blob(self, oid, 5 if oid == large else 1 << 20))
    large = object_id("blob", b"12345\n", head)
    assert read(root, rev=head).states[head].ledgers == {"a/ledger/runs.jsonl": frozenset()}
    with pytest.raises(git_module.Unreadable, match="6 bytes, expected at most 5"):
        read(root, rev=study)


def test_a_folder_that_is_not_here_might_hold_a_ledger(root: Path, commit: Callable[[Files], str]):
    commit({"locks/gate1.yaml": LOCK, "notes/x": b"1"})
    oid = git(root, "rev-parse", "HEAD:notes")
    (root / ".git" / "objects" / oid[:2] / oid[2:]).unlink()
    with pytest.raises(GitAbsent) as error:
        read(root)
    assert error.value.reason == f"object {oid} is not in this repository"


def test_in_a_shallow_clone_the_edge_is_told_and_whether_evidence_stands_there(
    root: Path, tmp_path: Path, commit: Callable[[Files], str]
):
    commit({"locks/gate1.yaml": LOCK})
    commit({"README.md": b"x"})
    with_evidence = commit({RUNS: run("rung1", DIGEST)})
    head = commit({"README.md": b"y"})
    cuts = {}
    for depth in (1, 2, 3, 4):
        clone = tmp_path / f"depth{depth}"
        git(root, "clone", "-q", "--depth", str(depth), f"file://{root}", str(clone))
        history = read(clone)
        cuts[depth] = (history.cut, history.cut_after_evidence)
    assert cuts[1] == (head, True)
    assert cuts[2] == (with_evidence, True)
    assert cuts[3][0] is not None and cuts[3][1] is False
    assert cuts[4] == (None, False)


def test_the_history_at_head_is_that_of_the_repository_around_and_empty_outside_of_one(
    root: Path, commit: Callable[[Files], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    head = commit({"locks/gate1.yaml": LOCK})
    monkeypatch.chdir(root)
    assert list(history_at_head().states) == [head]
    monkeypatch.chdir(tmp_path)
    assert history_at_head() == History()


# --- what states say together ----------------------------------------------------------------------------


def past(gate: str, digest: str, study: str = "s") -> PastLock:
    return PastLock(gate, digest, {"study": study})


def state(commit_: str, *parents: str, locks: dict[str, PastLock] | None = None, **fields: Any) -> HistoryState:
    values: dict[str, Any] = {"commitments": frozenset(), "lines": frozenset(), "ledgers": {}} | fields
    return HistoryState(
        commit_, parents, {}, locks or {}, values["commitments"], values["lines"], frozenset(), values["ledgers"]
    )


def history_of(*states: HistoryState) -> History:
    return History({entry.commit: entry for entry in states})


def test_what_is_new_in_a_state_is_in_none_of_those_right_before_it():
    one = state("a", commitments=frozenset({("rung1", "x")}), lines=frozenset({b"1"}), ledgers={"l": frozenset({b"7"})})
    two = state("b", commitments=frozenset({("rung2", "y")}), lines=frozenset({b"2"}))
    three = state(
        *("c", "a", "b"),
        commitments=frozenset({("rung3", "z"), ("rung1", "x"), ("rung2", "y"), ("rung1", "w")}),
        lines=frozenset({b"1", b"2", b"3"}),
        ledgers={"l": frozenset({b"7", b"8"}), HINDSIGHT: frozenset({b"9"})},
    )
    history = history_of(one, two, three)
    assert history.new_commitments(three) == [("rung1", "w"), ("rung3", "z")]
    assert history.new_lines(three) == {b"3"}
    assert list(history.new_ledger_lines(three)) == [(RUNS, {b"3"}), ("l", {b"8"}), (HINDSIGHT, {b"9"})]
    assert {line: [entry.commit for entry in found] for line, found in history.states_of_lines.items()} == {
        b"1": ["a"], b"2": ["b"], b"3": ["c"], b"9": ["c"],
    }  # fmt: skip


def test_the_locks_of_a_history_are_all_that_ever_stood_the_earliest_first():
    x, y, z = past("gate1", "x"), past("gate1", "y"), past("gate2", "z")
    history = history_of(state("a", locks={"gate1": x}), state("b", "a", locks={"gate1": y, "gate2": z}))
    assert list(history.locks.items()) == [(("gate1", "x"), x), (("gate1", "y"), y), (("gate2", "z"), z)]


def test_locks_with_evidence_are_those_that_it_names_or_that_stood_right_before_it():
    x, y, z, w = past("gate1", "x"), past("gate1", "y", "t"), past("gate2", "z"), past("gate3", "w")
    history = history_of(
        state("a", locks={"gate1": x, "gate2": z}),
        state("b", "a", locks={"gate1": y, "gate3": w}, commitments=frozenset({("rung2", "")})),
        state(
            *("c", "b"),
            locks={"gate1": y},
            commitments=frozenset({("rung1", "y"), ("rung2", ""), ("rung9", "nowhere"), ("", "x"), ("", "")}),
        ),
        state("d", locks={"gate3": w}, commitments=frozenset({("rung3", "")})),
    )
    assert history.locks_with_evidence() == [z, y, w]
    assert history.locks_with_evidence_of("s") == {"gate2": [z], "gate3": [w]}
    assert history.locks_with_evidence_of("t") == {"gate1": [y]}
    assert history.locks_with_evidence_of("u") == {}


@pytest.mark.parametrize(
    ("data", "known"),
    [
        (LOCK, True),
        (LOCK.replace(b'"s"', b'"t"'), False),
        (b"frozen: {a: 1}\n", False),
        (b"frozen: 7\ndigest: x\n", False),
        (b"digest: x\n", False),
        (b"[1]\n", False),
        (b"frozen: {a: .nan}\ndigest: x\n", False),
        (b"\xff", False),
    ],
)
def test_a_lock_is_what_states_the_digest_of_its_content(data: bytes, known: bool):
    parsed = parse_past_lock(data, "gate7")
    assert parsed == (PastLock("gate7", DIGEST, {"gate": "gate1", "study": "s"}) if known else None)
    assert PastLock("gate1", "x", {}).study == ""


@pytest.mark.parametrize(
    ("changes", "evidence"),
    [
        ({}, EvidenceLine(("rung2", "a" * 64), "rung2/c/h/1", False)),
        ({"status": "failed", "facts": None}, EvidenceLine(("rung2", "a" * 64), "rung2/c/h/1", True)),
        ({"status": "failed"}, EvidenceLine(("rung2", "a" * 64), "rung2/c/h/1", False)),
        ({"status": "diverged", "facts": None}, EvidenceLine(("rung2", "a" * 64), "rung2/c/h/1", False)),
        ({"status": "stopped", "spec": None, "facts": None}, None),
    ],
)
def test_a_record_that_was_read_is_the_evidence_that_its_line_is(changes: Any, evidence: EvidenceLine | None):
    line = canonical.dumps(WHOLE | changes)
    assert evidence_of_record(parse_line(line, "place")) == parse_evidence_line(line) == evidence
