"""The studies that the history of a repository holds, each at its last whole commit.

    read_past_studies(Path("."))

A commit is whole where the last gate is frozen, every gate has decided under its lock, and the ledger has a line for
every run. What a commit says of itself is read here and nothing of it is verified: `promotion verify --rev COMMIT`
does that.

Commits are read newest first, and of each study only those after its last whole one; a folder that did not change is
not read again.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.domain import names, yamlio
from stages.domain.canonical import JsonObject
from stages.domain.decision import Decision, parse_decision
from stages.domain.errors import Invalid
from stages.domain.runs import all_runs
from stages.domain.study import Study, parse_study
from stages.repo.git import Git, open_git
from stages.repo.history import DECISIONS, RUNS
from stages.repo.objects import FOLDER
from stages.repo.past_files import PastLock, parse_past_lock
from stages.repo.touching import list_touching, watch_paths

PARAMS = names.PARAMS.as_posix()
#: Of the commits that touched a study, so many of the newest are looked at.
MOST_COMMITS = 5_000
#: What a study's state is told by; each dvc.yaml and dvc.lock is committed with it or after it.
_STATE = ("locks", "ledger", PARAMS)
_LOCK_FILE = re.compile(r"(gate[1-9][0-9]?)\.yaml")


@dataclass(frozen=True)
class PastStudy:
    """A study at its last whole commit, or, where it never was whole, at the newest commit that held its locks.

    `seconds` is the committer's clock (since 1970), which nobody vouches for. `decisions` are those of the gates in
    order, and `missing` says what a study that is not whole lacks. `present`: params.yaml is this study's.
    """

    name: str
    title: str
    commit: str
    seconds: int
    decisions: tuple[Decision, ...]
    missing: str | None
    present: bool

    @property
    def whole(self) -> bool:
        """Whether every run is in the ledger and every gate has decided."""
        return self.missing is None

    @property
    def leader(self) -> str | None:
        """The lowest mean at the last rung, once its gate has decided and is not blocked; whether it wins is open."""
        last = self.decisions[-1] if self.whole else None
        return last.ranking[0].config if last and not last.blocked and last.ranking else None

    @property
    def path(self) -> str:
        """How many candidates each rung had: 12-12-9-4-3."""
        return "-".join(str(len(decision.candidates)) for decision in self.decisions)

    @property
    def verdicts(self) -> dict[str, bool | None]:
        """What the final rules of the last gate say, by id; None is one that cannot be evaluated."""
        return dict(self.decisions[-1].verdicts) if self.whole else {}

    def to_json(self) -> JsonObject:
        """The study as one JSON value."""
        facts = {key: getattr(self, key) for key in ("name", "title", "commit", "whole", "missing", "present", "path")}
        return facts | {"leader": self.leader, "verdicts": self.verdicts}


def read_past_studies(root: Path = Path()) -> tuple[PastStudy, ...]:
    """The studies of the history up to HEAD, the newest first; none outside git and before the first commit."""
    git = open_git(root)
    if git is None:
        return ()
    try:
        return tuple(_Reader(git, _present_name(root)).studies())
    finally:
        git.close()


def study_name(data: bytes | None) -> str:
    """The study.name in the bytes of a params.yaml of any version; empty where nothing says it."""
    try:
        about = yamlio.loads(data, PARAMS).get("study") if data is not None else None
    except Invalid:
        return ""
    return str(about.get("name", "")) if isinstance(about, dict) else ""


def _present_name(root: Path) -> str:
    path = root / names.PARAMS
    return study_name(path.read_bytes() if path.is_file() else None)


class _Reader:
    """Reads the commits of a repository as states of studies, each params.yaml once."""

    def __init__(self, git: Git, present: str) -> None:
        self._git, self._present = git, present
        self._studies: dict[bytes, Study | Invalid] = {}

    def studies(self) -> Iterable[PastStudy]:
        """Each study's newest state, replaced by its newest whole one where there is any."""
        newest: dict[str, PastStudy] = {}
        for commit in self._touching(self._git.head):
            locks = self._locks(commit)
            name = next(iter(locks.values())).study if locks else ""
            if not names.is_name(name, names.KEY) or (name in newest and newest[name].whole):
                continue
            past = self._read(commit, name, locks)
            if name not in newest or past.whole:
                newest[name] = past
        return newest.values()

    def _touching(self, head: str | None) -> Iterator[str]:
        """The commits that changed rules, evidence or the study, newest first, each state of these files once."""
        state_of = watch_paths(self._git, (*_STATE, "dvc.yaml", "dvc.lock"), ("dvc.yaml", "dvc.lock"))
        seen: set[tuple[str, ...]] = set()
        touching = list_touching(self._git, [head], state_of, simplified=True) if head else []
        for commit in touching[:MOST_COMMITS]:
            entries = (self._git.entry(commit, path) for path in _STATE)
            state = tuple(entry.oid if entry else "" for entry in entries)
            if state not in seen:
                seen.add(state)
                yield commit

    def _locks(self, commit: str) -> dict[str, PastLock]:
        """The locks of a commit by gate, in order; none where the first gate has none that can be read."""
        folder = self._git.entry(commit, "locks")
        files = self._git.folder(folder.oid) if folder and folder.mode == FOLDER else {}
        gates = {match[1]: entry for name, entry in files.items() if (match := _LOCK_FILE.fullmatch(name))}
        parsed = {
            gate: parse_past_lock(self._git.blob(gates[gate].oid), gate) for gate in sorted(gates, key=names.number_of)
        }
        return {gate: lock for gate, lock in parsed.items() if lock} if parsed.get("gate1") else {}

    def _read(self, commit: str, name: str, locks: dict[str, PastLock]) -> PastStudy:
        """A study as one commit holds it."""
        decisions: dict[str, Decision] = {}
        title = name
        try:
            study = self._study(commit)
            title = study.study.title
            decisions = self._decisions(commit, locks)
            missing = self._missing(commit, study, locks, decisions)
        except Invalid as error:
            missing = str(error).split("\n")[0]
        kept = tuple(decisions[gate] for gate in locks if gate in decisions)
        seconds = self._git.commit(commit).seconds
        return PastStudy(name, title, commit, seconds, kept, missing, name == self._present)

    def _blob(self, commit: str, path: str) -> bytes:
        entry = self._git.entry(commit, path)
        return self._git.blob(entry.oid) if entry and entry.mode != FOLDER else b""

    def _study(self, commit: str) -> Study:
        data = self._blob(commit, PARAMS)
        if data not in self._studies:
            try:
                self._studies[data] = parse_study(yamlio.loads(data, PARAMS), PARAMS)
            except Invalid as error:
                self._studies[data] = error
        study = self._studies[data]
        if isinstance(study, Invalid):
            raise study
        return study

    def _decisions(self, commit: str, locks: dict[str, PastLock]) -> dict[str, Decision]:
        """The decisions by gate that were made under the locks of a commit; `Invalid` while there are fewer."""
        lines = list(io.BytesIO(self._blob(commit, DECISIONS)))
        if len(lines) < len(locks):
            raise Invalid(f"{list(locks)[len(lines)]} has not decided")
        remedy = f"`promotion verify --rev {commit[:12]}` tells more"
        read = (parse_decision(line, f"{DECISIONS}, line {at}", remedy) for at, line in enumerate(lines, start=1))
        digests = {gate: lock.digest for gate, lock in locks.items()}
        return {
            decision.gate: decision
            for decision in read
            if decision.mode == "frozen" and decision.lock == digests.get(decision.gate)
        }

    def _missing(
        self, commit: str, study: Study, locks: dict[str, PastLock], decisions: dict[str, Decision]
    ) -> str | None:
        """What the study of a commit lacks, in words, or None where it is whole."""
        if study.study.name != locks["gate1"].study:
            return f"params.yaml is of {study.study.name}"
        if other := sorted(study.gates.keys() ^ locks.keys()):
            return f"{other[0]} is {'not frozen' if other[0] in study.gates else 'frozen, and params.yaml has none'}"
        if undecided := [gate for gate in locks if gate not in decisions]:
            return f"{undecided[0]} has not decided"
        runs, expected = self._blob(commit, RUNS).count(b"\n"), len(all_runs(study))
        return None if runs == expected else f"{runs} of {expected} runs are in the ledger"
