"""Replay frozen rules on learning curves that others produced, and say what the rules are worth there.

    promotion backtest studies/backtest/modded_nanogpt_track3.csv --map studies/backtest/map.yaml \\
        --rules studies/backtest/rules.yaml
    promotion backtest CURVES.csv --map map.yaml --rules params.yaml --ladders 1000000 --json result.json --page DIR

Seeds are resampled; for each gate it tells how often the eventual best is dropped, and for the rules and for what else
the same cost buys (random and greedy choice, successive halving, everything) the regret and the share of the cost of
running everything. docs/backtest.md says what map.yaml holds and how to read the figures. Nothing here changes a
decision.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stages.domain import files
from stages.domain.errors import Refused
from stages.terminal import add_columns, console, print_line, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from stages.backtest.backtest_result import Backtest

MAX_LADDERS = 100_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion backtest`."""
    parser.add_argument("curves", metavar="CURVES.csv", type=Path, help="learning curves, one measurement a row")
    parser.add_argument("--map", required=True, type=Path, metavar="FILE", help="what the columns mean")
    parser.add_argument("--rules", required=True, type=Path, metavar="FILE", help="a params.yaml, or a rules file")
    parser.add_argument("--ladders", type=int, default=100_000, metavar="N", help="resampled ladders (default: 100000)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the resampling (default: 1)")
    parser.add_argument("--continued", action="store_true", help="follow one run through its budgets: no fresh seeds")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the result as JSON")
    parser.add_argument("--page", metavar="DIR", type=Path, help="also write it as a page with tables and figures")


def run(arguments: argparse.Namespace) -> int:
    """Replay, print, and write what was asked for."""
    if not 1 <= arguments.ladders <= MAX_LADDERS:
        raise Refused(f"--ladders: found {arguments.ladders}, expected a number from 1 to {MAX_LADDERS}")
    if arguments.seed < 0:
        raise Refused(f"--seed: found {arguments.seed}, expected a whole number of at least 0")
    result = backtest(arguments)
    data = result.dumps()
    if arguments.json:
        files.write_whole(arguments.json, data)
    status = build_page("report.backtest", data, arguments.page) if arguments.page else 0

    show(result, console())
    return status


def backtest(arguments: argparse.Namespace) -> Backtest:
    """The result of a backtest, as `--json` writes it."""
    from stages.backtest import curves, figures, mapping, pools, replay

    map_path, rules_path = arguments.map.as_posix(), arguments.rules.as_posix()
    curve_map, rules = mapping.load_map(arguments.map), mapping.load_rules(arguments.rules)
    roles = mapping.check_pair(curve_map, rules, map_path, rules_path)
    recorded = curves.read_curves(arguments.curves, curve_map, map_path)
    mapping.check_roles(roles, rules, recorded.configs, map_path)
    figures.check_rules(rules, recorded, arguments.continued, rules_path)
    if arguments.continued and not curve_map.budget.prefix:
        raise Refused("--continued: the map says `prefix: false`, expected curves whose runs go on from rung to rung")
    arranged = pools.arrange(recorded, curve_map, rules, arguments.continued)
    tally = replay.replay(
        arranged, rules, roles, arguments.ladders, arguments.seed, arguments.continued, progress=_Progress()
    )
    options = figures.BacktestOptions(
        arguments.ladders,
        arguments.seed,
        arguments.continued,
        arguments.map.name,
        files.sha256_file(arguments.map),
        arguments.rules.name,
        files.sha256_file(arguments.rules),
    )
    return figures.summarise(recorded, curve_map, rules, arranged, tally, options)


def build_page(module: str, data: bytes, folder: Path) -> int:
    """Hand the result to the site generator, another package, which nothing imports; its exit status."""
    command = [sys.executable, "-m", module, "-", str(folder)]
    return subprocess.run(command, input=data, check=False).returncode


class _Progress:
    """A line on stderr now and then, once a replay takes longer than a moment."""

    def __init__(self) -> None:
        import time

        self._clock = time.monotonic
        self._next = self._clock() + 5.0

    def __call__(self, done: int, of: int) -> None:
        """Say how far it is."""
        if self._clock() >= self._next:
            print(f"backtest: {done} of {of} ladders", file=sys.stderr, flush=True)
            self._next = self._clock() + 5.0


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def show(result: Backtest, to: Console) -> None:
    """The result as tables and sentences."""
    from rich.table import Table
    from rich.text import Text

    curves, best, unit = result.curves, result.best, result.final.unit
    about = f"{curves.configs} configurations, {curves.runs} runs, {result.basis}; {result.ladders} ladders"
    head = (f"Backtest of {result.rules.name} on {curves.name}", "bold")
    print_line(to, Text.assemble(head, f": {about}"))
    print_line(to, f"What counts: {result.final.text}.")
    sure = f"first in {_percent(best.first_in_redraws)} of redraws of all its runs"
    print_line(to, f"The eventual best is {best.config}: {best.final:g} {unit}, {sure}.")

    table = Table(title=f"Gates ({result.basis})", title_justify="left")
    add_columns(table, "gate")
    add_columns(table, "budget", "candidates", "go on", "best dropped", "of top-3 dropped", "blocked", justify="right")
    add_columns(table, "tau-b, all runs", "pairs right, all runs", "pairs right, as drawn", justify="right")
    rungs = {row.rung: row for row in result.rungs}
    for gate in result.gates:
        rung = rungs[gate.rung]
        budget = rung.budget if isinstance(rung.budget, str) else f"{rung.budget:g}"
        figures = [f"{gate.candidates:.1f}", f"{gate.promoted:.1f}", _percent(gate.best_dropped)]
        figures += [_percent(gate.top3_dropped), _percent(gate.blocked)]
        accuracy = [_number(rung.tau_b, 2), _percent(rung.accuracy_all_runs), _percent(rung.accuracy)]
        table.add_row(gate.gate, budget, *figures, *accuracy)
    print_table(to, table)

    table = Table(title=f"The rules, and what else there is ({result.basis})", title_justify="left")
    table.add_column("method", no_wrap=True)
    add_columns(table, "best chosen", "best lost", "of top-3 lost", justify="right")
    add_columns(table, f"mean regret ({unit})", "90 % regret", "cost share", justify="right")
    for row in result.methods:
        figures = [_percent(row.best_picked), _percent(row.best_lost), _percent(row.top3_lost)]
        figures += [_number(row.regret.mean), _number(row.regret.p90), _percent(row.cost_share)]
        table.add_row(row.title, *figures)
    print_table(to, table)
    for gate in result.gates:
        for rule in gate.rules:
            if not rule.evaluated:
                reason = f"{gate.gate} {rule.id} ({rule.kind}): not evaluable: {rule.why_not}"
                print_line(to, f"{reason}; the gate is replayed as if it held")
    for line in result.statements:
        print_line(to, line)
