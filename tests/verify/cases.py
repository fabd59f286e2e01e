"""Single checks on a small judged study without training: what the checks before them learnt, with one value changed.

case = learn(root)                      what the checks learn of the whole study, read once
problems = list(check(alter(case, Ledger(...))))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from stages.domain import canonical
from stages.domain.records import parse_line
from stages.repo.git import Git
from stages.repo.objects import FILE
from stages.repo.tree import WorkTree
from stages.verify.check import Case, CheckFailed, Options, Problem, Skip, perform
from stages.verify.ledger import Ledger, RecordLine
from stages.verify.locks import Locks
from stages.verify.sequence import SEQUENCE


class Overlay:
    """The files of a workspace with some of them changed or, with None, gone."""

    title = "the workspace"

    def __init__(self, root: Path, changed: Mapping[str, bytes | None]) -> None:
        self._tree, self._changed = WorkTree(root), changed

    def paths(self, folder: str = "") -> list[str]:
        inside = {path for path in self._changed if not folder or path.startswith(f"{folder}/")}
        kept = {*self._tree.paths(folder), *inside} - {path for path, data in self._changed.items() if data is None}
        return sorted(kept)

    def read(self, path: str) -> bytes | None:
        return self._changed[path] if path in self._changed else self._tree.read(path)

    def mode(self, path: str) -> Any:
        if path in self._changed:
            return None if self._changed[path] is None else FILE
        return self._tree.mode(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tree, name)


def learn(root: Path, git: Git | None = None) -> Case:
    """The workspace of a study with what its checks learnt."""
    case = Case(root, WorkTree(root), git, None, Options("artifacts"))
    for check in SEQUENCE:
        if check.depth == "git" and check.gives:
            with suppress(CheckFailed, Skip):
                perform(check, case)
    return case


def alter(case: Case, *values: object, without: tuple[type, ...] = (), **fields: Any) -> Case:
    """The same case with other values learnt, or some not, and other fields; `files` are changed files of its tree."""
    files = fields.pop("files", None)
    if files is not None:
        fields["tree"] = Overlay(case.root, files)
    learnt = {kind: value for kind, value in case._learnt.items() if kind not in without}
    return replace(case, notes=[], lines={}, _learnt=learnt | {type(value): value for value in values}, **fields)


def change_runs(case: Case, change: Callable[[dict[str, Any]], object], at: int | None = None) -> Ledger:
    """The ledger with one of its runs changed (the first by number is 0), or every one."""
    ledger = case.get(Ledger)
    runs = list(ledger.runs)
    for place, run in enumerate(runs):
        if at in (None, place):
            value = canonical.loads(run.data)
            change(value)
            data = canonical.dumps(value)
            runs[place] = RecordLine(run.line, parse_line(data, "a line"), data, run.file)
    return Ledger(tuple(runs), ledger.decisions, ledger.hindsight)


def change_lock(case: Case, gate: str, **frozen: Any) -> Locks:
    """The locks with other content in that of one gate, its digest left as it is."""
    by_gate = dict(case.get(Locks).by_gate)
    changed = by_gate[gate].frozen.model_copy(update=frozen)
    by_gate[gate] = by_gate[gate].model_copy(update={"frozen": changed})
    return Locks(by_gate)


def told(case: Case, line: int, pointer: str, found: str, expected: str, meaning: str) -> Problem:
    """A problem with a line of the ledger, whose meaning begins with the run that the untouched ledger has there."""
    run = case.get(Ledger).runs[line - 1].record.id
    return Problem("ledger/runs.jsonl", found, expected, f"{run}: {meaning}", line=line, pointer=pointer)
