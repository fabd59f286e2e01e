"""Reads the history of a study from git: commit by commit into states, each content once.

    read_history(git, git.head, None, {})
    history_at_head()

What the single files hold is read by `stages.repo.past_files`, which insists on no schema of today.
"""

from __future__ import annotations

import contextlib
import io
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from stages.domain import names
from stages.domain.errors import Invalid, Unreadable
from stages.repo.folders import NamedFiles
from stages.repo.git import Git, object_id, open_git
from stages.repo.history import DECISIONS, HINDSIGHT, RUNS, WORKSPACE, History, HistoryState
from stages.repo.objects import FOLDER, REPOSITORY, Commit, Entry
from stages.repo.past_files import (
    Commitment,
    EvidenceLine,
    PastLock,
    holds_trained_run,
    parse_decision_commitment,
    parse_past_lock,
)
from stages.repo.tree import Tree

#: A folder of ledgers; beside one at the top stands what is not in it.
_LEDGER = names.LEDGER.as_posix()
#: A folder of a rung in the earlier layout.
_RUNG = re.compile(r"rung[1-9][0-9]?")
_LOCK_PATH = re.compile(r"locks/(gate[1-9][0-9]?)\.yaml")
#: Those of a rung; in the earlier layout each rung had one, outside of stages/ladder/.
_DVC_LOCK_PATH = re.compile(r"stages/(?:ladder/)?(rung[1-9][0-9]?)/(?:[a-z0-9][a-z0-9_-]*/)?dvc\.lock")
#: What is kept of a history may take so much memory; about what a line takes beside its bytes, a place in a set of a
#: state, a byte of a lock, a path or an id, and what evidence commits to.
MAX_KEPT, LINE_BYTES, PLACE_BYTES, LOCK_FACTOR, TEXT_BYTES, COMMITMENT_BYTES = 256 << 20, 512, 64, 10, 200, 400


class _Reader:
    """Reads commits into states: each content once, and nothing of a commit that changed nothing."""

    def __init__(self, git: Git, history: History, ledgers: NamedFiles) -> None:
        self._git, self._history, self._ledgers = git, history, ledgers
        self._workspace: dict[str, bytes] = {}
        #: By its path from the root of the study, that from the top of the repository.
        self._elsewhere: dict[str, str] = {}
        #: The same by the folder at the top that they are in, and what a commit holds of them by it and its id.
        self._by_top: dict[str, dict[str, str]] = {}
        self._inside_top: dict[tuple[str, str], dict[str, str]] = {}
        #: By the folders that it is read from: most commits hold the same.
        self._oids: dict[tuple[object, ...], dict[str, str]] = {}
        self._texts: dict[str, str] = {}
        self._trained: dict[str, bool] = {}
        self._locks: dict[tuple[str, str], PastLock | None] = {}
        self._lines: dict[str, frozenset[bytes]] = {}
        #: Most lines stand in many commits, and are kept once.
        self._same = {line: line for line in history.parsed_lines}
        self._kept_bytes = 0
        self._commitments: dict[tuple[str, str], frozenset[Commitment]] = {}
        self._decisions: dict[str, set[Commitment]] = {}
        self._same_commitments: dict[Commitment, Commitment] = {}

    def find_elsewhere(self, commits: Mapping[str, Commit]) -> None:
        """Find the ledgers of other folders in any of some commits, which `commit_oids` then names.

        Such is that of a study before it was moved. The paths begin with `../` where they lie outside of the root.
        """
        ends = (f"/{RUNS}", f"/{HINDSIGHT}")
        own = {f"{self._git.prefix}{path}" for path in (RUNS, HINDSIGHT)}
        start = f"/{self._git.prefix}"
        for path in self._ledgers.paths(content.tree for content in commits.values()):
            if path not in own and f"/{path}".endswith(ends):
                self._elsewhere[posixpath.relpath(f"/{path}", start)] = path
        for path, place in self._elsewhere.items():
            self._by_top.setdefault(place.partition("/")[0], {})[path] = place

    def elsewhere_oids(self, commit: str) -> dict[str, str]:
        """The ids of the ledgers of other folders in a commit, by path."""
        oids: dict[str, str] = {}
        top = self._git.folder(self._git.commit(commit).tree) if self._elsewhere else {}
        for name, places in self._by_top.items():
            entry = top.get(name)
            if entry is None:
                continue
            key = name, entry.oid if name != _LEDGER else commit
            if key not in self._inside_top:
                self._inside_top[key] = dict(self._elsewhere_inside(commit, places))
            oids |= self._inside_top[key]
        return oids

    def _elsewhere_inside(self, commit: str, places: dict[str, str]) -> Iterator[tuple[str, str]]:
        """The same of those that lie in one folder at the top: most commits have it as the one before has."""
        for path, place in places.items():
            entry = self._git.top_entry(commit, place)
            if entry is None or entry.mode in (FOLDER, REPOSITORY):
                continue
            if path not in self._history.studies_elsewhere:
                folder = place.rpartition("ledger/")[0]
                beside = (self._git.top_entry(commit, f"{folder}{name}") for name in ("locks", names.PARAMS.as_posix()))
                if any(beside):
                    self._history.studies_elsewhere.add(path)
            self.keep(f"commit {commit}", PLACE_BYTES)
            yield self._text(commit, path), self._text(commit, entry.oid)

    def commit_oids(self, commit: str) -> dict[str, str]:
        """The ids of the files that matter, by path: locks, all ledgers, the dvc.lock of every rung."""
        tops = tuple(self._git.entry(commit, name) for name in ("locks", "ledger", "stages"))
        elsewhere = self.elsewhere_oids(commit)
        key = (*tops, *elsewhere.items())
        if key not in self._oids:
            oids = self._own_oids(tops) | elsewhere
            self.keep(f"commit {commit}", PLACE_BYTES * (len(oids) + 3 * len(elsewhere)))
            self._oids[key] = {self._text(commit, path): self._text(commit, oid) for path, oid in oids.items()}
        return self._oids[key]

    def _text(self, commit: str, text: str) -> str:
        """A path or an id, which many commits have, kept once."""
        if text not in self._texts:
            self.keep(f"commit {commit}", TEXT_BYTES)
            self._texts[text] = text
        return self._texts[text]

    def _own_oids(self, tops: Iterable[Entry | None]) -> dict[str, str]:
        locks, ledger, stages = map(self._inside, tops)
        oids = _mattering_files("locks", locks) | _mattering_files("ledger", ledger)
        for name, folder in stages.items():
            if _RUNG.fullmatch(name):
                oids |= _mattering_files(f"stages/{name}", self._inside(folder))
            elif name == names.LADDER.name:
                oids |= self._ladder_oids(folder)
        return oids

    def _ladder_oids(self, ladder: Entry) -> dict[str, str]:
        """Those of stages/ladder/, two folders deep."""
        oids: dict[str, str] = {}
        for rung, folder in self._inside(ladder).items():
            place, inside = f"{names.LADDER.as_posix()}/{rung}", self._inside(folder)
            oids |= _mattering_files(place, inside)
            for name, entry in inside.items():
                if _matters(f"{place}/{name}/dvc.lock"):
                    oids |= _mattering_files(f"{place}/{name}", self._inside(entry))
        return oids

    def _inside(self, entry: Entry | None) -> dict[str, Entry]:
        return self._git.folder(entry.oid) if entry and entry.mode == FOLDER else {}

    def workspace_oids(self, tree: Tree) -> dict[str, str]:
        """The same of files that no commit holds yet."""
        oids = {}
        for path in (path for folder in ("locks", "ledger", "stages") for path in tree.paths(folder) if _matters(path)):
            with contextlib.suppress(Invalid):  # V01 reports what is no file
                data = tree.read(path)
                if data is not None:
                    oids[path] = object_id("blob", data, self._git.head or "")
                    self._workspace[oids[path]] = data
        return oids

    def add_state(self, commit: str, parents: tuple[str, ...], oids: dict[str, str]) -> None:
        """Read a commit and add it to the history."""
        locks = {}
        for path, oid in oids.items():
            if (name := _LOCK_PATH.fullmatch(path)) and (lock := self._lock(oid, name[1])):
                locks[lock.gate] = lock
        lines = self._run_lines(oids[RUNS]) if RUNS in oids else frozenset()
        commitments = self._evidence(commit, oids.get(RUNS, ""), oids.get(DECISIONS, ""))
        for path, oid in oids.items():
            name = _DVC_LOCK_PATH.fullmatch(path)
            if name and name[1] not in {rung for rung, _ in commitments} and self._holds_trained_run(oid, path):
                commitments |= {(name[1], "")}
        locks_so_far = self._join_locks(commit, parents, {(gate, lock.digest) for gate, lock in locks.items()})
        self.keep(f"commit {commit}", PLACE_BYTES * len(parents))  # every check looks at each of them
        ledgers = {path: self._ledger_lines(path, oids[path]) for path in (HINDSIGHT, *self._elsewhere) if path in oids}
        state = HistoryState(commit, parents, oids, locks, commitments, lines, locks_so_far, ledgers)
        self._history.states[commit] = state

    def _join_locks(
        self, commit: str, parents: tuple[str, ...], own: set[tuple[str, str]]
    ) -> frozenset[tuple[str, str]]:
        """The locks that a commit or an ancestor held; where it brings none, those of its parent."""
        before = [self._history.states[parent].locks_so_far for parent in parents]
        if before and own <= before[0] and all(each is before[0] for each in before):
            return before[0]
        joined = frozenset(own.union(*before))
        self.keep(f"commit {commit}", PLACE_BYTES * len(joined))
        return joined

    def _holds_trained_run(self, oid: str, path: str) -> bool:
        if oid not in self._trained:
            self._trained[oid] = holds_trained_run(self._load(oid), path)
        return self._trained[oid]

    def _load(self, oid: str) -> bytes:
        return self._workspace[oid] if oid in self._workspace else self._git.blob(oid)

    def _lock(self, oid: str, gate: str) -> PastLock | None:
        if (oid, gate) not in self._locks:
            data = self._load(oid)
            self.keep(f"object {oid}", LOCK_FACTOR * len(data))
            self._locks[oid, gate] = parse_past_lock(data, gate)
        return self._locks[oid, gate]

    def keep(self, what: str, size: int) -> None:
        """Count so many bytes of memory as taken by what a commit holds."""
        self._require_room(what, size)
        self._kept_bytes += size

    def join_tips(self, commit: str, tips: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
        """The states that a commit stands on, from those that each of its parents does."""
        if tips and all(each == tips[0] for each in tips):
            return tips[0]
        joined = tuple(dict.fromkeys(state for each in tips for state in each))
        self.keep(f"commit {commit}", PLACE_BYTES * len(joined))
        return joined

    def _require_room(self, what: str, size: int) -> None:
        """`Unreadable` where so many bytes more are too many: a small pack unpacks to any size."""
        if self._kept_bytes + size > MAX_KEPT:
            raise Unreadable(
                f"{what}: with it what is read of the history takes more than {MAX_KEPT} bytes of memory, expected at "
                "most so many; `git log -- ledger locks` lists the commits that it is read from"
            )

    def _run_lines(self, oid: str) -> frozenset[bytes]:
        """The lines of a ledger; those of one that is refused are not kept."""
        if oid not in self._lines:
            fresh: dict[bytes, bytes] = {}
            lines: set[bytes] = set()
            taken = 0
            for line in io.BytesIO(self._load(oid)):
                if line in lines:
                    continue
                whole = line if line.endswith(b"\n") else line + b"\n"
                known = self._same.get(whole) or fresh.get(whole)
                if known is None:
                    known = fresh[whole] = whole
                    taken += LINE_BYTES + len(whole)
                if known not in lines:
                    lines.add(known)
                    taken += PLACE_BYTES
                self._require_room(f"object {oid}", taken)
            self._same |= fresh
            self._kept_bytes += taken
            self._lines[oid] = frozenset(lines)
        return self._lines[oid]

    def _ledger_lines(self, path: str, oid: str) -> frozenset[bytes]:
        """The lines of a ledger; of one that is too large none, if it is in a folder of something else than a study."""
        try:
            return self._run_lines(oid)
        except Unreadable:
            if path == HINDSIGHT or path in self._history.studies_elsewhere:
                raise
            return frozenset()

    def _evidence(self, commit: str, runs: str, decisions: str) -> frozenset[Commitment]:
        """What the ledger and the decisions of a commit, given by their ids, commit to."""
        if (runs, decisions) not in self._commitments:
            parsed = (self._history.line(line) for line in (self._run_lines(runs) if runs else ()))
            commitments = {self._commitment(commit, line.commitment) for line in parsed if line}
            commitments |= self._decided(commit, decisions) if decisions else set()
            self.keep(f"commit {commit}", PLACE_BYTES * len(commitments))
            self._commitments[runs, decisions] = frozenset(commitments)
        return self._commitments[runs, decisions]

    def _decided(self, commit: str, oid: str) -> set[Commitment]:
        """What the lines of decisions.jsonl commit to, each different line read once."""
        if oid not in self._decisions:
            seen: set[bytes] = set()
            decided: set[Commitment] = set()
            taken = 0
            for line in io.BytesIO(self._load(oid)):
                if line in seen:
                    continue
                seen.add(line)
                taken += PLACE_BYTES + len(line)
                self._require_room(f"object {oid}", taken)
                if commitment := parse_decision_commitment(line.rstrip(b"\n")):
                    decided.add(self._commitment(commit, commitment))
            self._decisions[oid] = decided
        return self._decisions[oid]

    def _commitment(self, commit: str, commitment: Commitment) -> Commitment:
        """A commitment, which many commits have, kept once."""
        if commitment not in self._same_commitments:
            self.keep(f"commit {commit}", COMMITMENT_BYTES)
            self._same_commitments[commitment] = commitment
        return self._same_commitments[commitment]


def find_ledgers(git: Git, commit: str | None) -> NamedFiles:
    """The ledgers in all folders up to a commit. Whoever reads the history of many commits keeps it."""
    ledgers = NamedFiles(git, (path.rpartition("/")[2] for path in (RUNS, HINDSIGHT)))
    if commit:
        ledgers.learn(commit)
    return ledgers


def _mattering_files(folder: str, inside: dict[str, Entry]) -> dict[str, str]:
    """The ids of the files that matter among those of a folder, by path."""
    files = ((f"{folder}/{name}", entry) for name, entry in inside.items() if entry.mode not in (FOLDER, REPOSITORY))
    return {path: entry.oid for path, entry in files if _matters(path)}


def _matters(path: str) -> bool:
    return path in (RUNS, DECISIONS, HINDSIGHT) or bool(_LOCK_PATH.fullmatch(path) or _DVC_LOCK_PATH.fullmatch(path))


def read_history(
    git: Git,
    commit: str | None,
    workspace: Tree | None,
    parsed_lines: dict[bytes, EvidenceLine | None],
    ledgers: NamedFiles | None = None,
) -> History:
    """The history up to a commit (None: there is none yet), and of a workspace on top of it where one is given.

    `parsed_lines` are lines of runs.jsonl that were parsed already, `ledgers` the search that is kept for all commits.
    """
    history = History(parsed_lines=parsed_lines)
    if ledgers is None:
        ledgers = find_ledgers(git, commit)
    reader = _Reader(git, history, ledgers)
    nearest: dict[str, tuple[str, ...]] = {}  # by commit, the states that it stands on
    oids: dict[str, dict[str, str]] = {}
    commits = git.ancestry(commit) if commit else {}
    reader.find_elsewhere(commits)
    for oid, content in commits.items():
        parents = [parent for parent in dict.fromkeys(content.parents) if parent in nearest]
        oids[oid] = reader.commit_oids(oid)
        below = reader.join_tips(oid, [nearest[parent] for parent in parents])
        if all(oids[oid] == oids[parent] for parent in parents) if parents else not oids[oid]:
            nearest[oid] = below
            continue
        reader.add_state(oid, below, oids[oid])
        nearest[oid] = (oid,)
    history.tips = nearest.get(commit or "", ())
    for oid in sorted(git.shallow & nearest.keys()):
        evidence = any(history.states[state].commitments for state in nearest[oid])
        if git.commit(oid).parents and (history.cut is None or evidence):
            history.cut, history.cut_after_evidence = oid, evidence
    if workspace is not None:
        present = reader.workspace_oids(workspace) | (reader.elsewhere_oids(commit) if commit else {})
        if present != oids.get(commit or "", {}):
            reader.add_state(WORKSPACE, history.tips, present)
            history.tips = (WORKSPACE,)
    return history


def history_at_head() -> History:
    """The history up to HEAD of the repository around the current folder; an empty one outside git."""
    git = open_git(Path(), required=True)
    if git is None:
        return History()
    try:
        return read_history(git, git.head, None, {})
    finally:
        git.close()
