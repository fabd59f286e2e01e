"""The ladder as it stands in this workspace: cells done, who was promoted, what blocks, what to do next.

    promotion status
    promotion status --json

Reads files and changes none. `runs` counts finished, diverged and failed runs of candidates under the present rules; a
record that other rules made does not count.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from stages.domain.decision import why_blocked
from stages.domain.formatting import duration
from stages.domain.metric import metric_of
from stages.domain.study import Study, load
from stages.status import Standing, next_step, stand, training_now

if TYPE_CHECKING:
    from rich.console import Console

DIGITS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion status`."""
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print where the study stands."""
    study = load()
    rungs = stand(study)
    if arguments.json:
        print(json.dumps(to_json(study, rungs), indent=1))
        return 0
    from stages.terminal import console

    show(study, rungs, console())
    return 0


def to_json(study: Study, rungs: list[Standing]) -> dict[str, Any]:
    """The content of --json."""
    why, command = next_step(study, rungs)
    return {
        "schema": 1,
        "study": study.study.name,
        "mode": study.study.mode,
        "clock": study.clock.kind,
        "rungs": [one.to_json() for one in rungs],
        "training_now": [{"run": run, "heard_seconds_ago": round(ago, 1)} for run, ago in training_now()],
        "next": {"why": why, "command": command},
    }


def show(study: Study, rungs: list[Standing], console: Console) -> None:
    """The ladder as a table, then what blocks, what trains and what to do."""
    from rich.markup import escape
    from rich.table import Table

    from stages.terminal import add_columns, print_table

    title = f"{study.study.title} ({study.clock.kind} clock)"
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    add_columns(table, "rung")
    add_columns(table, "budget", justify="right")
    add_columns(table, "lock")
    add_columns(table, "candidates", "runs", "A/A", justify="right")
    table.add_column("gate")
    add_columns(table, "promoted")
    for one in rungs:
        table.add_row(*_row(one))
    print_table(console, table)
    _notes(study, rungs, console)


def _row(one: Standing) -> list[str]:
    who = f"at most {one.most}" if one.candidates is None else str(len(one.candidates))
    runs = "" if one.declared is None else f"{one.done}/{one.declared}"
    floor = f"{one.floor_done}/{one.floor_declared}" if one.floor_declared else ""
    promoted = _promoted(one)
    return [one.rung, duration(one.budget_seconds), _lock(one), who, runs, floor, _outcome(one), promoted]


def _lock(one: Standing) -> str:
    """The head of the lock's digest. Amended or changed since, it has the colour of the note that says so."""
    if one.lock is None:
        return "[yellow]not frozen[/]"
    told = one.lock.digest[:DIGITS]
    if one.changed:
        return f"[red]{told}[/]"
    return f"[yellow]{told}[/]" if one.lock.frozen.amendments else told


def _outcome(one: Standing) -> str:
    if _what_if(one) and one.outcome == "decided":
        return "[yellow]what-if[/]"
    style = {"decided": "green", "blocked": "red"}.get(one.outcome)
    return f"[{style}]{one.outcome}[/]" if style else one.outcome


def _what_if(one: Standing) -> bool:
    return one.decision is not None and one.decision.mode != "frozen"


def _promoted(one: Standing) -> str:
    if one.decision is None:
        return ""
    promoted = one.decision.promoted
    if not promoted:
        return "verdicts" if one.decision.verdicts else "nobody"
    everybody = len(promoted) == len(one.candidates or ())
    return f"all {len(promoted)}" if everybody else str(len(promoted))


def _notes(study: Study, rungs: list[Standing], console: Console) -> None:
    from rich.markup import escape

    if study.study.mode != "frozen":
        console.print("[yellow]study.mode is exploratory: what the gates say now is a what-if and never evidence[/]")
    for one in rungs:
        for line in _about_lock(one):
            console.print(line, soft_wrap=True)
        if _what_if(one):
            console.print(f"[yellow]{one.gate} decided by rules that nobody froze: a what-if[/]", soft_wrap=True)
    for one in rungs:
        if one.decision and one.blocked_by:
            console.print(f"[red]{one.gate} is blocked[/] and promotes nobody:", soft_wrap=True)
            for line in why_blocked(one.decision):
                console.print(f"  {escape(line)}", soft_wrap=True)
    for one in rungs:
        if one.decision and one.decision.promoted and _promoted(one).isdigit():
            console.print(f"{one.gate} promoted {', '.join(one.decision.promoted)}", soft_wrap=True)
    for verdict in _verdicts(rungs):
        console.print(verdict, soft_wrap=True)
    for run, ago in training_now():
        console.print(f"trains now: {run}, last heard of {ago:.0f} s ago", soft_wrap=True)
    winner, metric = _winner(rungs), metric_of(study.runner).name
    if winner:
        console.print(f"lowest mean at {rungs[-1].rung}: [bold]{winner[0]}[/], {metric} {winner[1]:.6f}")
    why, command = next_step(study, rungs)
    console.print(f"next: {why}: [bold]{command}[/]", soft_wrap=True)


def _about_lock(one: Standing) -> list[str]:
    """What has become of a lock since it was first written."""
    from rich.markup import escape

    told = [f"[red]{one.gate} was frozen otherwise[/]: {', '.join(one.changed)}"] if one.changed else []
    amendments = one.lock.frozen.amendments if one.lock else []
    return told + [f"[yellow]{one.gate} was amended[/]: {escape(made.reason)}" for made in amendments]


def _verdicts(rungs: list[Standing]) -> list[str]:
    """The final statements of every gate that has some, with what was observed."""
    said = {True: "[green]holds[/]", False: "[red]fails[/]", None: "[yellow]cannot be evaluated[/]"}
    lines = []
    for made in (one.decision for one in rungs if one.decision):
        for rule in made.rules:
            if rule.effect == "verdict":
                values = [finding.observed for finding in rule.results if finding.observed is not None]
                observed = f" (observed {values[0]:g})" if values else ""
                lines.append(f"{made.gate} {rule.id}: {rule.text} {said[made.verdicts[rule.id]]}{observed}")
    return lines


def _winner(rungs: list[Standing]) -> tuple[str, float] | None:
    made = rungs[-1].decision
    if made is None or made.blocked or not made.ranking:
        return None
    return made.ranking[0].config, made.ranking[0].mean
