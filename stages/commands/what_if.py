"""Which outcomes other rules would have given the evidence in the ledger. Trains nothing and writes nothing.

    promotion what-if gate3.R12.k=5
    promotion what-if gate3.R8.gap=0.02 gate3.R8.of=reference
    promotion what-if gate4.R10=off roles.comparator=d1-ar32-b512-lr1 --json

A what-if is no evidence and changes no decision. It reads locks/ and ledger/runs.jsonl. A configuration that would go
on and was never trained at the next rung is unrun: later gates are judged without it. A budget, a seed, a host or a
knob would have made other evidence, which no what-if can know: they are refused.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence

from stages.confidence import what_if
from stages.confidence.gates import Fates
from stages.confidence.what_if import GateAnswer, NoAnswer
from stages.domain import locks, names, records
from stages.domain.locks import Lock

RUNS = names.LEDGER / "runs.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion what-if`."""
    parser.add_argument(
        "settings", nargs="+", metavar="SETTING", help="gateN.RM.FIELD=VALUE, gateN.RM=off or roles.ROLE=CONFIGURATION"
    )
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print the changed outcomes."""
    settings = what_if.parse(arguments.settings)
    frozen = read_locks()
    answers = what_if.answer(frozen, read_ledger(), settings)
    if arguments.json:
        print(json.dumps(what_if.to_json(answers, settings), indent=1))
    else:
        print("\n".join(lines(answers, list(frozen))))
    return 0


def read_locks() -> dict[str, Lock]:
    """The frozen gates of the workspace."""
    frozen: dict[str, Lock] = {}
    while (lock := locks.read(gate := f"gate{len(frozen) + 1}")) is not None:
        frozen[gate] = lock
    if not frozen:
        path = names.lock_path("gate1").as_posix()
        raise NoAnswer(f"{path} is missing: nothing is frozen, so there is nothing to depart from; `promotion freeze`")
    return frozen


def read_ledger() -> list[records.Record]:
    """The records of the ledger."""
    if not RUNS.is_file():
        raise NoAnswer(f"{RUNS.as_posix()} is missing: there is no evidence yet; `dvc repro` makes it")
    return [record for record, _ in records.parse_ledger(RUNS.read_bytes(), RUNS.as_posix())]


def lines(answers: Sequence[GateAnswer], gates: Sequence[str] = ()) -> Iterator[str]:
    """The answer as text: each gate from the first that is asked about on, who is unrun, and what it comes to.

    `gates`: all that are frozen. Those without an answer could not be judged.
    """
    asked: list[GateAnswer] = []
    for gate in answers:
        if gate.settings:
            yield f"{gate.gate} with {', '.join(gate.settings)}"
        if asked or gate.settings or gate.now is None:
            asked.append(gate)
            yield from _about(gate)
    missing = [gate for gate in gates if gate not in {answer.gate for answer in answers}]
    yield from (f"  {gate}: not judged, for the gate before was not" for gate in missing)
    judged = [gate for gate in asked if gate.now is not None]
    if not judged:
        yield "nothing that is asked about could be judged, so whether an outcome changes is not known"
    elif not any(gate.changes or gate.unrun for gate in asked):
        yield "no outcome changes at any gate" + " that was judged" * (len(judged) < len(asked) + len(missing))
    yield "a what-if: no evidence, and no decision is changed by it"


def _about(gate: GateAnswer) -> Iterator[str]:
    if gate.unrun:
        who = ", ".join(gate.unrun)
        rung = names.rung_of(gate.gate)
        yield f"  unrun: {who}; never trained at {rung}, so {gate.gate} and what follows is judged without"
    if gate.now is None:
        yield f"  {gate.gate}: not judged: {gate.note}"
    else:
        yield from list(_changes(gate)) or [f"  {gate.gate}: judged, no outcome changes"]


def _changes(gate: GateAnswer) -> Iterator[str]:
    for change in gate.changes:
        yield f"  {gate.gate}: {change.name}: {change.was} -> {change.now}"
    if gate.was is not None and gate.now is not None:
        yield from _entrants(gate, gate.was, gate.now)


def _entrants(gate: GateAnswer, was: Fates, now: Fates) -> Iterator[str]:
    """Candidates that this gate has in one case alone. A gate that promotes nobody judges them."""
    some = was.promoted or now.promoted
    for name in sorted({*now.candidates} - {*was.candidates}):
        yield f"  {gate.gate}: {name}: no candidate -> {now.word(name) if some else 'judged'}"
    for name in sorted({*was.candidates} - {*now.candidates}):
        yield f"  {gate.gate}: {name}: {was.word(name) if some else 'judged'} -> no candidate"
