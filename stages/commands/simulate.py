"""How rung sizes, replication and thresholds trade dropped winners against cost, on a model fitted to recorded scores.

    promotion simulate --from ledger/runs.jsonl
    promotion simulate --from ledger/runs.jsonl --rules params.yaml --configs 100,1000,100000 --ladders 1000 --json FILE
    promotion simulate --from CURVES.csv --map map.yaml

This is simulation and says so: no figure of it is evidence. The model, its fit on configurations that it did not see,
and what it rests on are printed first. docs/backtest.md describes it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from stages.commands.backtest import build_page
from stages.domain import files
from stages.domain.errors import Refused
from stages.terminal import add_columns, console, print_line, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from stages.backtest.mapping import Ruleset
    from stages.backtest.model import Model
    from stages.backtest.samples import Samples
    from stages.backtest.simulation import Design
    from stages.backtest.simulation_result import Simulation

MAX_CONFIGS, MAX_LADDERS = 1_000_000, 1_000_000
#: One factor at a time about the second entry: (eta, seeds a host, threshold in standard errors of a difference).
GRID = ((2, 1, 0), (3, 1, 0), (5, 1, 0), (10, 1, 0), (3, 2, 0), (3, 4, 0), (3, 1, 2), (3, 1, 4))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion simulate`."""
    parser.add_argument("--from", dest="source", required=True, type=Path, metavar="FILE", help="a ledger, or a CSV")
    parser.add_argument("--map", type=Path, metavar="FILE", help="with a CSV: what its columns mean")
    parser.add_argument("--rules", type=Path, metavar="FILE", help="also these rules, every k in proportion")
    parser.add_argument("--configs", default="100,1000", metavar="N,N", help="configurations (default: 100,1000)")
    parser.add_argument("--ladders", type=int, default=1000, metavar="N", help="ladders of each (default: 1000)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the simulation (default: 1)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the result as JSON")
    parser.add_argument("--page", metavar="DIR", type=Path, help="also write it as a page with tables and a figure")


def read_samples(source: Path, map_file: Path | None) -> Samples:
    """The scores that a model is fitted to: of a ledger, or of curves with their map."""
    from stages.backtest import curves, mapping, samples

    if source.suffix != ".csv":
        return samples.from_ledger(source)
    if map_file is None:
        raise Refused(f"{source.as_posix()}: a CSV needs --map, expected a map.yaml as for `promotion backtest`")
    curve_map = mapping.load_map(map_file)
    return samples.from_curves(curves.read_curves(source, curve_map, map_file.as_posix()), curve_map)


def numbers(text: str) -> list[int]:
    """The numbers of configurations that were asked for."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise Refused(f"--configs: found {text!r}, expected numbers such as 100,1000")
    values = [int(part) for part in parts]
    if not all(4 <= value <= MAX_CONFIGS for value in values):
        raise Refused(f"--configs: found {text!r}, expected numbers from 4 to {MAX_CONFIGS}")
    return values


def designs_of(model: Model, samples: Samples, rules: Ruleset | None, configs: int) -> list[Design]:
    """The rules that were asked for, then the grid."""
    from stages.backtest.simulation import halving_design, scaled_rules

    designs = []
    if rules is not None:
        budgets = list(rules.seconds.values()) if rules.seconds else list(samples.budgets)
        if len(budgets) != len(rules.rungs):
            raise Refused(
                f"--rules: found {len(rules.rungs)} rungs, expected {len(budgets)}: one for each recorded budget"
            )
        designs.append(scaled_rules(rules, budgets, rules.configs or len(samples.configs), configs))
    for eta, seeds, errors in GRID:
        name = f"1/{eta}, {seeds} seed{'s' if seeds > 1 else ''} a host"
        name += f", or within {errors} s.e." if errors else ""
        designs.append(
            halving_design(model, samples.budgets, configs, eta, [seeds] * len(samples.budgets), errors, name)
        )
    return designs


def run(arguments: argparse.Namespace) -> int:
    """Fit, simulate, print, and write what was asked for."""
    from stages.backtest import mapping
    from stages.backtest.engine import left_out
    from stages.backtest.model import fit, held_out
    from stages.backtest.simulation import simulate
    from stages.backtest.simulation_result import summarise

    counts = numbers(arguments.configs)
    if not 1 <= arguments.ladders <= MAX_LADDERS or arguments.seed < 0:
        raise Refused(f"--ladders: expected 1 to {MAX_LADDERS}, --seed: at least 0")
    samples = read_samples(arguments.source, arguments.map)
    rules = mapping.load_rules(arguments.rules) if arguments.rules else None
    model = fit(samples)
    sizes = []
    for configs in counts:
        designs = designs_of(model, samples, rules, configs)
        progress = ProgressPrinter(f"simulate {configs} configurations")
        sizes.append(
            (configs, designs, simulate(model, designs, configs, arguments.ladders, arguments.seed, progress=progress))
        )
    skipped: set[str] = set()
    for gate, kept in (rules.gates if rules else {}).items():
        has_floor = bool(rules and rules.sizes[gate.replace("gate", "rung")].floor_seeds >= 2)
        skipped |= {f"{kept[i].kind}: {why}" for i, why in left_out(kept, len(model.hosts), has_floor).items()}
    sha256 = files.sha256_file(arguments.source)
    result = summarise(samples, sha256, model, held_out(samples), sizes, arguments.seed, sorted(skipped))
    if arguments.json:
        files.write_whole(arguments.json, result.dumps())
    status = build_page("report.simulation", result.dumps(), arguments.page) if arguments.page else 0

    show(result, console())
    return status


class ProgressPrinter:
    """A line on stderr now and then, once it takes longer than a moment."""

    def __init__(self, what: str, unit: str = "ladders") -> None:
        self._what, self._unit, self._next = what, unit, time.monotonic() + 5.0

    def __call__(self, done: int, of: int) -> None:
        """Say how far it is."""
        if time.monotonic() >= self._next:
            print(f"{self._what}: {done} of {of} {self._unit}", file=sys.stderr, flush=True)
            self._next = time.monotonic() + 5.0


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def show_model(result: Simulation, to: Console) -> None:
    """The model and its fit on what it did not see."""
    from rich.table import Table

    m, last, unit = result.model, f"{result.budgets[-1]:g}", result.unit
    budgets = ", ".join(f"{budget:g}" for budget in result.budgets)
    lines = (
        result.statements[0],
        f"Fitted to {result.source.name}: {result.recorded_configs} configurations, budgets {budgets}.",
        f"Mean curve {m.offset:.4g} + {m.scale:.4g} (b/{last})^-{m.exponent:.3g}; at {last} configurations are apart "
        f"by {m.config_sd:.3g} and seeds by {m.noise_sd:.2g} {unit} (s.d.), smaller budgets: b^{m.config_slope:.2f} "
        f"and b^{m.noise_slope:.2f}; {m.kernel} correlation of length {m.length:.3g} in log budget.",
    )
    for line in lines:
        print_line(to, line)
    table = Table(title="The fit on configurations that it did not see (simulation)", title_justify="left")
    add_columns(table, "budget", "configurations", "error", "error of naive", justify="right")
    add_columns(table, "in 50 %", "in 80 %", "in 95 %", justify="right")
    for row in result.fit:
        covered = [_percent(share, 0) for share in row.coverage]
        table.add_row(f"{row.budget:g}", str(row.configs), f"{row.error:.4f}", f"{row.naive:.4f}", *covered)
    print_table(to, table)


def show(result: Simulation, to: Console) -> None:
    """The model, its fit, and a table for each number of configurations."""
    from rich.table import Table

    show_model(result, to)
    for size in result.sizes:
        title = f"{size.configs} configurations, {size.ladders} ladders (simulation)"
        table = Table(title=title, title_justify="left")
        add_columns(table, "design")
        add_columns(table, "reaches last", "chosen ± s.e.", "dropped at gates 1, 2, ...", justify="right")
        add_columns(table, "of top-3 lost", "mean regret", "at last", "cost share", justify="right")
        for row in size.designs:
            dropped = " / ".join(f"{100 * share:.1f}" for share in row.dropped[:-1])
            figures = [_percent(row.kept), f"{_percent(row.chosen)} ± {100 * row.chosen_error:.1f}", f"{dropped} %"]
            figures += [
                _percent(row.top3_lost),
                f"{row.regret:.5f}",
                f"{row.entered[-1]:.1f}",
                _percent(row.cost_share),
            ]
            table.add_row(row.name, *figures)
        print_table(to, table)
    for line in result.statements[1:]:
        print_line(to, line)
