"""What the study can cost, before anything runs.

    promotion plan
    promotion plan --json

Reads params.yaml alone. How many configurations a gate lets through is known only afterwards: the rules bound it, and
every figure here is that bound.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from stages.domain.study import load
from stages.summary.accounting import UNRUN
from stages.summary.plan import plan
from stages.summary.words import duration, spell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion plan`."""
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print the plan."""
    made = plan(load())
    if arguments.json:
        print(json.dumps(made, indent=1))
    else:
        show(made)
    return 0


def show(made: dict[str, Any]) -> None:
    """Print a plan as a table and sentences."""
    from rich.console import Console
    from rich.table import Table

    totals, last = made["totals"], list(made["rungs"])[-1]
    hosts = list(totals["hosts"])
    table = Table(title=f"{made['study']}: at most, in device-hours on the {made['clock']} clock", title_justify="left")
    table.add_column("rung")
    for head in ("budget", "candidates", "cells", "runs", "A/A runs", *hosts, "all hosts"):
        table.add_column(head, justify="right")
    for name, rung in made["rungs"].items():
        figures = [rung["candidates"], rung["cells"], rung["runs"], rung["floor_runs"]]
        cost = [*rung["hosts"].values(), rung["hours"] + rung["floor_hours"]]
        table.add_row(name, duration(rung["budget_seconds"]), *map(str, figures), *map(spell, cost))
    table.add_section()
    cost = [*totals["hosts"].values(), totals["hours"] + totals["floor_hours"]]
    table.add_row("total", "", "", "", str(totals["runs"]), str(totals["floor_runs"]), *map(spell, cost))
    console = Console(highlight=False)
    console.print(table)
    console.print(f"screening: {spell(totals['screening_hours'])} h; {last}: {spell(totals['last_rung_hours'])} h")
    for one in made["counterfactuals"]:
        who = f"all {one['candidates']} of {one['from_rung']}"
        console.print(f"had {who} gone straight to {last}: {spell(one['hours'])} h there")
    console.print(UNRUN, soft_wrap=True)
