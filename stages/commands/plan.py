"""What the study can cost, before anything runs.

    promotion plan
    promotion plan --workers 2            the wall time with this number of workers per host
    promotion plan --json

Reads params.yaml, and the telemetry of this study's runs if there are some. How many configurations a gate promotes is
known only afterwards; every figure is the upper bound that follows from the rules. The wall time includes the time of a
run beyond its budget (start of Python and of the runner, compilation, evaluation, DVC). It is measured if runs of the
host are here, else assumed, and the output says which.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from stages.domain import names
from stages.domain.errors import Refused
from stages.domain.formatting import count, duration, elapsed, spell, unit
from stages.domain.study import Study
from stages.dvcfiles import telemetry
from stages.study_check import load_checked
from stages.summary.accounting import UNRUN
from stages.summary.plan import Plan, plan
from stages.summary.wall_time import RunTimes, WallTime, describe, wall_time
from stages.terminal import add_columns, console, print_line, print_table

#: Telemetry of more runs than this tells nothing more.
MOST_MEASURED = 2_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion plan`."""
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="a host, side by side; default: 1")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print the plan."""
    if arguments.workers < 1:
        raise Refused(f"--workers: found {arguments.workers}, expected at least 1")
    study = load_checked()
    study_plan = plan(study)
    compiled = {name for name, host in study.hosts.items() if host.compile}
    runs = list(islice(read_run_times(study), MOST_MEASURED))
    wall = wall_time(study_plan, runs, arguments.workers, compiled)
    if arguments.json:
        print(json.dumps(study_plan.to_json() | {"wall_time": wall.model_dump()}, indent=1))
        return 0
    slots = _count_slots(study)
    dispatched = wall_time(study_plan, runs, slots, compiled) if slots > 1 else None
    show(study_plan, wall, dispatched)
    return 0


def _count_slots(study: Study) -> int:
    """How many runs of any host this machine trains side by side under `promotion dispatch`; 0 where it cannot."""
    from stages.hosts.workers import find_slots

    try:
        slots = find_slots(study, [], None)
    except Refused:
        return 0
    return min(sum(host in slot.hosts for slot in slots) for host in study.hosts)


def read_run_times(study: Study, root: Path = Path()) -> Iterator[RunTimes]:
    """What the telemetry of finished runs here says; what is absent or unreadable is left out."""
    for rung, declared in study.rungs.items():
        for path in sorted((root / names.TELEMETRY / rung).glob("*/*/*.json")):
            measured = telemetry.parse(path.read_bytes()) if path.stat().st_size <= telemetry.MAX_BYTES else {}
            training, process = measured.get("train_seconds"), measured.get("process_seconds")
            first = measured.get("first_steps_seconds", 0.0)  # a trainer of one's own tells of none
            if (
                measured.get("status") == "finished"
                and isinstance(training, int | float)
                and isinstance(process, int | float)
                and isinstance(first, int | float)
                and 0 <= first < training <= process
            ):
                yield RunTimes(path.parts[-2], declared.budget_seconds, training - first, process)


def show(study_plan: Plan, wall: WallTime, dispatched: WallTime | None) -> None:
    """Print a plan as a table and sentences, all in one unit. `dispatched`: with this machine's slots."""
    from rich.table import Table

    totals, last = study_plan.totals, list(study_plan.rungs)[-1]
    total = totals.hours + totals.floor_hours
    size, name = unit(total * 3600)

    def cost(hours: float) -> str:
        return spell(hours * 3600 / size)

    title = f"{study_plan.study}: at most, in device-{name} on the {study_plan.clock} clock"
    table = Table(title=title, title_justify="left")
    add_columns(table, "rung")
    heads = ("budget", "candidates", "cells", "runs", "A/A runs", "each host", "all hosts")
    add_columns(table, *heads, justify="right")
    for rung_name, rung in study_plan.rungs.items():
        figures = [rung.candidates, rung.cells, rung.runs, rung.floor_runs]
        costs = [next(iter(rung.hosts.values())), rung.hours + rung.floor_hours]
        table.add_row(rung_name, duration(rung.budget_seconds), *map(str, figures), *map(cost, costs))
    table.add_section()
    costs = [next(iter(totals.hosts.values())), total]
    table.add_row("total", "", "", "", str(totals.runs), str(totals.floor_runs), *map(cost, costs))
    to = console()
    print_table(to, table)
    parts = {"screening": totals.screening_hours, last: totals.last_rung_hours, "A/A runs": totals.floor_hours}
    summands = " + ".join(f"{part} {cost(hours)}" for part, hours in parts.items())
    print_line(to, f"{summands} = {cost(total)} device-{name}, on {' and '.join(totals.hosts)} alike")
    workers = count(wall.workers, "worker")
    alone, each = elapsed(wall.one_after_another), elapsed(wall.side_by_side)
    machines = f"; {each} with a machine for each host" if len(wall.hosts) > 1 else ""
    print_line(to, f"wall time, at most: {alone} on one machine{machines}; {workers} a host")
    if dispatched is not None:
        side_by_side = f"with {dispatched.workers} runs side by side on this machine"
        how = "`promotion dispatch`, which `make study` uses"
        print_line(to, f"  {elapsed(dispatched.one_after_another)} {side_by_side} ({how})")
    for line in describe(wall.hosts):
        print_line(to, f"  {line}")
    for unrun in study_plan.counterfactuals:
        candidates = f"all {unrun.candidates} of {unrun.from_rung}"
        print_line(to, f"had {candidates} gone straight to {last}: {cost(unrun.hours)} device-{name} there")
    print_line(to, UNRUN)
