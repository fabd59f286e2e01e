"""The ladder as it stands in this workspace: cells done, who was promoted, what blocks, what to do next.

    promotion status
    promotion status --json

How sure? and What next? are told where `dvc repro confidence` has written them. Reads files and changes none. `runs`
counts finished, diverged and failed runs of candidates under the present rules; a record that other rules made does not
count. In a clone without artifacts the table shows what the ledger holds, and says so; --json counts artifacts alone.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from stages.commands.next_step import find_next_step
from stages.confidence import hindsight_results, stored
from stages.domain.canonical import JsonObject
from stages.domain.decision import RuleOutcome, why_blocked
from stages.domain.errors import Invalid
from stages.domain.files import sha256_bytes
from stages.domain.foreign_text import one_line
from stages.domain.formatting import count, duration
from stages.domain.metric import metric_of
from stages.domain.study import Study, load
from stages.status import RungStatus, estimate_time_left, fill_from_ledger, list_training, read_status
from stages.terminal import add_columns, console, print_line, print_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

DIGITS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion status`."""
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print where the study stands."""
    study = load()
    rungs = read_status(study)
    if arguments.json:
        print(json.dumps(to_json(study, rungs), indent=1))
        return 0

    show(study, rungs, console())
    return 0


def to_json(study: Study, rungs: list[RungStatus]) -> JsonObject:
    """The content of --json."""
    why, command = find_next_step(study, rungs)
    left = estimate_time_left(study, rungs)
    return {
        "schema": 1,
        "study": study.study.name,
        "mode": study.study.mode,
        "clock": study.clock.kind,
        "from": study.study.from_.model_dump() if study.study.from_ else None,
        "rungs": [row.to_json() for row in rungs],
        "training_now": [{"run": run, "heard_seconds_ago": round(ago, 1)} for run, ago in list_training()],
        "time_left": asdict(left) if left else None,
        "next": {"why": why, "command": command},
    }


def show(study: Study, rungs: list[RungStatus], console: Console) -> None:
    """The ladder as a table, then what blocks, what trains and what to do."""
    from rich.table import Table
    from rich.text import Text

    title = f"{study.study.title} ({study.clock.kind} clock)"
    table = Table(title=title, title_justify="left", title_style="bold")
    add_columns(table, "rung")
    add_columns(table, "budget", justify="right")
    add_columns(table, "lock")
    add_columns(table, "candidates", "runs", "A/A", justify="right")
    table.add_column("gate")
    add_columns(table, "promoted")
    shown = fill_from_ledger(study, rungs)
    for row in shown:
        table.add_row(*_format_row(row))
    print_table(console, table)
    if shown != rungs:
        print_line(console, "from the ledger: the artifacts are not here")
    _print_notes(study, shown, console)
    if left := estimate_time_left(study, rungs):
        print_line(console, str(left))
    why, command = find_next_step(study, rungs)
    print_line(console, Text.assemble(f"next: {why}: ", (command, "bold")))


def _format_row(row: RungStatus) -> list[str | Text]:
    candidates = f"at most {row.most}" if row.candidates is None else str(len(row.candidates))
    runs = "" if row.declared is None else f"{row.done}/{row.declared}"
    floor = f"{row.floor_done}/{row.floor_declared}" if row.floor_declared else ""
    promoted = _format_promoted(row)
    return [
        row.rung,
        duration(row.budget_seconds),
        _format_lock(row),
        candidates,
        runs,
        floor,
        _format_outcome(row),
        promoted,
    ]


def _format_lock(row: RungStatus) -> Text:
    """The head of the lock's digest. Amended or changed since, it has the colour of the note that says so."""
    from rich.text import Text

    if row.lock is None:
        return Text("not frozen", "yellow")
    digest = row.lock.digest[:DIGITS]
    if row.changed:
        return Text(digest, "red")
    return Text(digest, "yellow" if row.lock.frozen.amendments else "")


def _format_outcome(row: RungStatus) -> Text:
    from rich.text import Text

    if _is_what_if(row) and row.outcome == "decided":
        return Text("what-if", "yellow")
    return Text(row.outcome, {"decided": "green", "blocked": "red"}.get(row.outcome, ""))


def _is_what_if(row: RungStatus) -> bool:
    return row.decision is not None and row.decision.mode != "frozen"


def _format_promoted(row: RungStatus) -> str:
    if row.decision is None:
        return ""
    promoted = row.decision.promoted
    if not promoted:
        last = row.lock is not None and row.lock.frozen.last and not row.decision.blocked
        return "verdicts" if row.decision.verdicts else "the last gate" if last else "nobody"
    everybody = len(promoted) == len(row.candidates or ())
    return f"all {len(promoted)}" if everybody else str(len(promoted))


def _print_notes(study: Study, rungs: list[RungStatus], console: Console) -> None:
    from rich.text import Text

    if origin := study.study.from_:
        print_line(console, f"goes on from {origin.gate} of {origin.study}, commit {origin.commit[:12]}")
    if study.study.mode != "frozen":
        what_if = "study.mode is exploratory: what the gates say now is a what-if and never evidence"
        print_line(console, what_if, style="yellow")
    for row in rungs:
        for note in _list_lock_notes(row):
            print_line(console, note)
        if _is_what_if(row):
            print_line(console, f"{row.gate} decided by rules that nobody froze: a what-if", style="yellow")
    for row in rungs:
        if row.decision and row.blocked_by:
            blocked = Text.assemble((f"{row.gate} is blocked", "red"), " and promotes nobody:")
            print_line(console, blocked)
            for line in why_blocked(row.decision):
                print_line(console, f"  {line}")
    for row in rungs:
        if row.decision and row.decision.promoted and _format_promoted(row).isdigit():
            print_line(console, f"{row.gate} promoted {', '.join(row.decision.promoted)}")
    for verdict in _list_verdicts(rungs):
        print_line(console, verdict)
    for run, ago in list_training():
        print_line(console, f"trains now: {run}, last heard of {ago:.0f} s ago")
    winner, metric = _find_winner(rungs), metric_of(study.runner).name
    if winner:
        mean = f", {metric} {winner[1]:.6f}"
        print_line(console, Text.assemble(f"lowest mean at {rungs[-1].rung}: ", (winner[0], "bold"), mean))
    for sentence in [*_list_confidence(rungs), *_list_hindsight(rungs)]:
        print_line(console, sentence)


def _list_confidence(rungs: list[RungStatus]) -> list[str]:
    """How sure? and What next? in a line each, as the stage wrote them of the ledger; nothing where it has not run."""
    try:
        result = stored.read(Path())
    except Invalid as error:
        return [f"How sure? {error}"]
    if result is None:
        return []
    decided = {row.gate: len(row.decision.candidates) for row in rungs if row.decision and row.decision.candidates}
    if decided and {gate: known.candidates for gate, known in result.gates.items()} != decided:
        return [
            f"How sure? {stored.RESULT.as_posix()} is of other decisions; `dvc repro confidence` brings it up to date"
        ]
    hanging = f" ({'; '.join(result.how_sure.hangs_on)})" if result.how_sure.hangs_on else ""
    return [f"How sure? {result.how_sure.short}{hanging}", f"What next? {result.what_next.text}"]


def _list_hindsight(rungs: list[RungStatus]) -> list[str]:
    """What was trained in hindsight says, in a line; nothing where nothing was."""
    decision = rungs[-1].decision
    try:
        result = hindsight_results.read(Path())
    except Invalid as error:
        return [f"Hindsight: {error}"]
    if result is None:
        return []
    if decision is None or result.decision != sha256_bytes(decision.to_bytes()):
        return [f"Hindsight: {hindsight_results.RESULT.as_posix()} is of another decision; `make hindsight`"]
    return [f"Hindsight: {result.text}"]


def _list_lock_notes(row: RungStatus) -> list[Text]:
    """What has become of a lock since it was first written."""
    from rich.text import Text

    def note(event: str, style: str, text: str) -> Text:
        return Text.assemble((f"{row.gate} was {event}", style), f": {one_line(text)}")

    notes = [note("frozen otherwise", "red", ", ".join(row.changed))] if row.changed else []
    amendments = row.lock.frozen.amendments if row.lock else []
    return notes + [note("amended", "yellow", amendment.reason) for amendment in amendments]


def _list_verdicts(rungs: list[RungStatus]) -> list[Text]:
    """The final statements of every gate that has some, with what was observed."""
    from rich.text import Text

    answers = {True: ("holds", "green"), False: ("fails", "red"), None: ("cannot be evaluated", "yellow")}
    lines = []
    for decision in (row.decision for row in rungs if row.decision):
        for rule in decision.rules:
            if rule.effect == "verdict":
                answer = answers[decision.verdicts[rule.id]]
                lines.append(Text.assemble(f"{decision.gate} {rule.id} ", answer, f": {_say_verdict(rule)}"))
    return lines


def _say_verdict(rule: RuleOutcome) -> str:
    """The statement with what was observed, which for a number of cells stands in the place of "every"."""
    text = one_line(rule.text).removesuffix(".")
    text = f"the {text.removeprefix('The ')}" if text.startswith("The ") else text
    finding = next((finding for finding in rule.results if finding.observed is not None), None)
    if finding is None:
        return text
    if rule.kind == "first_in_all_cells" and finding.threshold is not None and text.endswith(" in every cell"):
        cells = f" in {finding.observed:g} of {count(int(finding.threshold), 'cell')}"
        return text.removesuffix(" in every cell") + cells
    return f"{text} (observed {finding.observed:g})"


def _find_winner(rungs: list[RungStatus]) -> tuple[str, float] | None:
    decision = rungs[-1].decision
    if decision is None or decision.blocked or not decision.ranking:
        return None
    return decision.ranking[0].config, decision.ranking[0].mean
