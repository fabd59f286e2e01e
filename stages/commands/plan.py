"""What the study can cost, before anything runs.

    promotion plan
    promotion plan --json

Reads params.yaml alone. How many configurations a gate lets through is known only afterwards: the rules bound it, and
every figure here is that bound.
"""

from __future__ import annotations

import argparse
import json

from stages.domain.formatting import duration, spell, unit
from stages.study_check import load_checked
from stages.summary.accounting import UNRUN
from stages.summary.plan import Plan, plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion plan`."""
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print the plan."""
    study_plan = plan(load_checked())
    if arguments.json:
        print(json.dumps(study_plan.to_json(), indent=1))
    else:
        show(study_plan)
    return 0


def show(study_plan: Plan) -> None:
    """Print a plan as a table and sentences, all in one unit."""
    from rich.table import Table

    from stages.terminal import add_columns, console, print_table

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
    to.print(f"{summands} = {cost(total)} device-{name}, on {' and '.join(totals.hosts)} alike", soft_wrap=True)
    for unrun in study_plan.counterfactuals:
        candidates = f"all {unrun.candidates} of {unrun.from_rung}"
        to.print(f"had {candidates} gone straight to {last}: {cost(unrun.hours)} device-{name} there", soft_wrap=True)
    to.print(UNRUN, soft_wrap=True)
