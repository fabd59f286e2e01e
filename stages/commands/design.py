"""Propose rung budgets, how many go on, seeds and thresholds that keep the best configuration within a cost.

    promotion design --from ledger/runs.jsonl --hours 0.5 --candidates 12 --keep-best 0.95
    promotion design --noise 0.001 --spread 0.01 --agreement 0.6 --budgets 120,43200 --hours 200 --out design.yaml

Found by simulation (`promotion simulate`), from recorded scores or from three numbers that you assume. Prints what it
assumes and the cheapest three designs, and writes the cheapest as commented `rungs` and `gates` of a params.yaml. What
the hours or the noise cannot support is refused, with what would do.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stages.commands.simulate import ProgressPrinter, read_samples
from stages.domain import files
from stages.domain.errors import Refused
from stages.terminal import add_columns, console, print_line, print_table

if TYPE_CHECKING:
    from stages.backtest.design import SearchResult, Wish
    from stages.backtest.model import Model

MAX_CANDIDATES = 2_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion design`."""
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="a ledger, or a CSV with --map")
    parser.add_argument("--map", type=Path, metavar="FILE", help="with a CSV: what its columns mean")
    parser.add_argument("--noise", type=float, metavar="SD", help="instead: seed deviation of one run")
    parser.add_argument("--spread", type=float, metavar="SD", help="with --noise: deviation between configurations")
    parser.add_argument(
        "--agreement", type=float, metavar="R", help="with --noise: correlation of first and last budget"
    )
    parser.add_argument("--hosts", type=int, default=2, metavar="N", help="with --noise: hosts (default: 2)")
    parser.add_argument("--budgets", metavar="FIRST,LAST", help="seconds; default: the recorded ones")
    parser.add_argument("--hours", type=float, required=True, metavar="H", help="device-hours, all hosts together")
    parser.add_argument("--candidates", type=int, default=12, metavar="N", help="configurations (default: 12)")
    parser.add_argument("--keep-best", type=float, default=0.95, metavar="P", help="probability (default: 0.95)")
    parser.add_argument(
        "--margin", type=float, metavar="M", help="also a verdict: comparator within M of the reference"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the simulation (default: 1)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the sections go; default: printed")


def _budgets(text: str | None, recorded: tuple[float, ...]) -> tuple[float, float]:
    if text is None:
        if not recorded:
            raise Refused("--budgets: missing, expected FIRST,LAST in seconds, since nothing recorded tells them")
        return recorded[0], recorded[-1]
    try:
        first, last = (float(part) for part in text.split(","))
    except ValueError:
        raise Refused(f"--budgets: found {text!r}, expected FIRST,LAST in seconds, such as 120,43200") from None
    if not 0 < first < last <= 30 * 86400:
        raise Refused(f"--budgets: found {text!r}, expected 0 < FIRST < LAST, at most 30 days")
    return first, last


def _model(arguments: argparse.Namespace) -> tuple[Model, tuple[float, float], list[str]]:
    """The model, the budgets, and what they assume as sentences."""
    from stages.backtest.design import assumed_model
    from stages.backtest.model import fit

    if (arguments.source is None) == (arguments.noise is None):
        raise Refused("expected either --from FILE or --noise SD (with --spread and --agreement)")
    if arguments.source is not None:
        samples = read_samples(arguments.source, arguments.map)
        model = fit(samples)
        first, last = _budgets(arguments.budgets, samples.budgets)
        lines = [
            f"curves like those of {arguments.source.as_posix()}: {len(samples.configs)} configurations on "
            f"{len(samples.hosts)} hosts at budgets from {samples.budgets[0]:g} to {samples.budgets[-1]:g} s"
        ]
        if first < samples.budgets[0] or last > samples.budgets[-1]:
            lines.append("budgets outside the recorded ones: the model is extended there, and nothing checks it")
        if samples.prefix:
            lines.append("recorded at prefixes of one long run, not in separate short runs")
        return model, (first, last), lines
    for name in ("spread", "agreement"):
        if getattr(arguments, name) is None:
            raise Refused(f"--{name}: missing, expected it with --noise")
    first, last = _budgets(arguments.budgets, ())
    if not (
        arguments.noise > 0 and arguments.spread > 0 and 0 < arguments.agreement < 1 and 1 <= arguments.hosts <= 32
    ):
        raise Refused("expected --noise and --spread above 0, --agreement between 0 and 1, --hosts from 1 to 32")
    model = assumed_model(arguments.noise, arguments.spread, arguments.agreement, first, last, arguments.hosts)
    return (
        model,
        (first, last),
        ["noise, spread and agreement as you say, the first two alike at every budget; hosts agree"],
    )


def _assumptions(model: Model, wish: Wish, lines: list[str]) -> list[str]:
    import numpy as np

    ends = np.array([wish.first, wish.last])
    noise, spread, agreement = model.noise(ends), model.spread(ends), model.correlation(ends)[0, 1]
    return [
        *lines,
        f"{wish.candidates} candidates drawn from that population, on {max(1, len(model.hosts))} hosts; no run crashes",
        f"seeds apart by {noise[0]:.2g} at {wish.first:g} s and {noise[1]:.2g} at {wish.last:g} s (s.d.)",
        f"configurations apart by {spread[0]:.2g} and {spread[1]:.2g}; both ends correlate by {agreement:.2f}",
        "fresh seeds at every rung, every run from its start; a device-hour is an hour of budget, without start-up",
    ]


def run(arguments: argparse.Namespace) -> int:
    """Search, print, and write."""
    from stages.backtest.design import Wish, search, to_yaml

    if not 2 <= arguments.candidates <= MAX_CANDIDATES:
        raise Refused(f"--candidates: found {arguments.candidates}, expected 2 to {MAX_CANDIDATES}")
    if not 0 < arguments.keep_best < 1 or not arguments.hours > 0 or arguments.seed < 0:
        raise Refused("expected --keep-best between 0 and 1, --hours above 0, --seed of at least 0")
    model, (first, last), lines = _model(arguments)
    wish = Wish(arguments.candidates, arguments.keep_best, arguments.hours, first, last, arguments.margin)
    _check_margin(model, wish)
    result = search(model, wish, arguments.seed, ProgressPrinter("design", "designs"))
    assumptions = _assumptions(model, wish, lines)
    if not result.within:
        raise Refused(_refusal(result, wish))
    _show(result, wish, assumptions)
    text = to_yaml(result.within[0], model, wish, assumptions)
    if arguments.out:
        files.write_whole(arguments.out, text.encode("utf-8"))
        print(f"wrote {arguments.out.as_posix()}: put its sections in the place of those of params.yaml")
    else:
        print(text, end="")
    return 0


def _refusal(result: SearchResult, wish: Wish) -> str:
    lines = [
        f"no design of {result.tried} keeps the best of {wish.candidates} with probability {wish.keep_best:g} within "
        f"{wish.hours:g} device-hours. What would:"
    ]
    if result.cheapest is not None:
        design = result.cheapest.design
        lines.append(
            f"  --hours {result.cheapest.hours * 1.01:.3g}: {len(design.budgets)} rungs, "
            f"{' -> '.join(f'{n:.3g}' for n in result.cheapest.entered)} candidates"
        )
    if result.best_affordable is not None:
        low = int(result.best_affordable.low * 100) / 100
        lines.append(f"  --keep-best {low:g}: the most that {wish.hours:g} device-hours buy")
    else:
        lines.append(
            "  more hours: these buy no ladder that ends at the last budget; or a smaller last budget (--budgets)"
        )
    return "\n".join([*lines, "  or fewer --candidates"])


def _check_margin(model: Model, wish: Wish) -> None:
    """Refuse a verdict that the noise of the last rung cannot support with any number of seeds that is tried."""
    import numpy as np

    from stages.backtest.design import MOST_SEEDS, seeds_for, smallest_margin, supports

    if wish.margin is None or (wish.margin > 0 and supports(model, wish, MOST_SEEDS)):
        return
    hosts = max(1, len(model.hosts))
    noise = float(model.noise(np.array([wish.last]))[0])
    seeds = seeds_for(wish.margin, noise, hosts) if wish.margin > 0 else None
    smallest = smallest_margin(noise, hosts, MOST_SEEDS) or 0.0
    what = (
        f"{seeds} seeds a host at the last rung" if seeds else "no number of seeds up to 64 a host, but quieter hosts"
    )
    raise Refused(
        f"--margin: found {wish.margin:g}, expected at least {smallest:.2g}: what {hosts} x {MOST_SEEDS} cells with a "
        f"seed deviation of {noise:.2g} can support; two equal configurations would pass less in fewer than 80 % of "
        f"studies. What would do: a larger margin, or {what}"
    )


def _show(result: SearchResult, wish: Wish, assumptions: list[str]) -> None:
    from rich.table import Table

    to = console()
    print_line(to, "This is a simulation, and no evidence of any study. It assumes:", style="bold")
    for line in assumptions:
        print_line(to, f"  {line}")
    share = f"{100 * wish.keep_best:g} %"
    title = f"The cheapest of {result.tried} designs that keep the best of {wish.candidates} in {share} (simulation)"
    table = Table(title=title, title_justify="left")
    add_columns(table, "budgets, s", "candidates", "seeds a host", "within")
    add_columns(
        table, "best reaches last", "at least (95 %)", "best chosen", "mean regret", "device-hours", justify="right"
    )
    for tried in result.within:
        gaps = [f"{rule.gap:.3g}" for gate in tried.design.gates for rule in gate.values() if hasattr(rule, "gap")]
        table.add_row(
            " / ".join(f"{budget:g}" for budget in tried.design.budgets),
            " / ".join(f"{many:.3g}" for many in tried.entered),
            " / ".join(map(str, tried.design.seeds)),
            " / ".join(gaps) or "-",
            f"{100 * tried.kept:.1f} %",
            f"{100 * tried.low:.1f} %",
            f"{100 * tried.chosen:.1f} %",
            f"{tried.regret:.2g}",
            f"{tried.hours:.3g}",
        )
    print_table(to, table)
