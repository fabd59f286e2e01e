"""The page of a simulation: what `promotion simulate --json` wrote. Every table and figure says that it is simulation.

promotion simulate --from ledger/runs.jsonl --page DIR
python -m report.simulation result.json DIR        (`-` reads the result from standard input)
"""

from __future__ import annotations

from report.figures import Figure, scatter
from report.standalone import fill_numbered, main_of, percent, render_page, share_column
from report.tables import Column, Table
from stages.backtest.simulation_result import DesignFigures, Simulation, SizeFigures, loads
from stages.domain import formatting
from stages.domain.errors import main_guard

BASIS = "simulation, no evidence"
LEVELS = (50, 80, 95)
LOOKS = (("@c1", "circle"), ("@c2", "square"), ("@c3", "diamond"), ("@c4", "triangle-up"))


def _table(result: Simulation, id_: str, title: str) -> Table:
    return Table(id_, f"{title} (simulation)", f"a model fitted to {result.source.name}", clock=BASIS)


def fit_table(result: Simulation) -> Table:
    """The fit on configurations that it did not see."""

    def inside(place: int, level: int) -> Column:
        label = f"Inside {level} %, %"
        return Column(f"in{level}", label, "number", get=lambda row: percent(row.coverage[place]), digits=0)

    columns = [
        Column("budget", "Budget", get=lambda row: formatting.plain(row.budget)),
        Column("configs", "Configurations", "count"),
        Column("error", "Error", "number", "root mean square, each budget foretold from the earlier ones", digits=4),
        Column("naive", "Naive error", "number", "as far from the average as at the budget before", digits=4),
        *(inside(place, level) for place, level in enumerate(LEVELS)),
    ]
    return fill_numbered(_table(result, "fit", "The fit on configurations that it did not see"), columns, result.fit)


def size_table(result: Simulation, size: SizeFigures) -> Table:
    """Every design at one number of configurations."""
    columns = [
        Column("name", "Design"),
        share_column("kept", "Best reaches the last rung, %", digits=1),
        share_column("chosen", "Best chosen, %", digits=1),
        share_column("chosen_error", "± s.e.", "Monte-Carlo error", 1),
        *map(_dropped_column, range(1, len(result.budgets))),
        share_column("top3_lost", "Of the top 3 lost, %", digits=1),
        Column("regret", f"Mean regret, {result.unit}", "number", digits=5),
        Column("regret_error", "± s.e.", "number", digits=5),
        Column("last", "At the last rung", "number", get=lambda row: row.entered[-1], digits=1),
        share_column("cost_share", "Cost, %", "of one run of each configuration a host at the last budget", 1),
    ]
    title = f"{formatting.plain(size.configs)} configurations, {formatting.plain(size.ladders)} ladders"
    return fill_numbered(_table(result, f"configs{size.configs}", title), columns, size.designs)


def _dropped_column(gate: int) -> Column:
    """How often a gate dropped the best; a design with fewer gates has none."""

    def dropped(row: DesignFigures) -> float | None:
        return percent(row.dropped[gate - 1]) if gate <= len(row.dropped) else None

    return Column(f"gate{gate}", f"Gate {gate}", "number", group="best dropped, %", get=dropped, digits=1)


def trade_figure(result: Simulation) -> Figure:
    """How often the best is dropped against cost: a mark for each design, a colour for each number of them."""
    data, legend = [], []
    for (colour, mark), size in zip(LOOKS, result.sizes, strict=False):
        rows = sorted(size.designs, key=lambda row: row.cost_share)
        name = f"{formatting.plain(size.configs)} configurations"
        legend.append((colour, "", mark, name))
        data.append(
            scatter(
                "markers",
                [percent(row.cost_share) for row in rows],
                [percent(1 - row.kept) for row in rows],
                f"{name}<br>%{{text}}<br>cost %{{x:.1f}} %, dropped %{{y:.1f}} %",
                text=[formatting.html_text(row.name) for row in rows],
                marker={"color": colour, "symbol": mark, "size": 9},
            )
        )
    least = min(result.sizes[-1].designs, key=lambda row: (-row.kept, row.cost_share))
    alt = (
        "How often the best configuration is dropped before the last rung, against cost, a mark for each design "
        f"(simulation). With {formatting.plain(result.sizes[-1].configs)} configurations it is dropped least by: "
        f"{least.name}, {100 * (1 - least.kept):.1f} %."
    )
    layout = {
        "xaxis": {"title": {"text": "cost, % of one run each at the last budget"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "best dropped, % of ladders"}, "range": [-3, 103]},
        "margin": {"l": 60, "r": 16, "t": 16, "b": 56},
    }
    table = f"configs{result.sizes[0].configs}"
    title = "Dropped winners against cost (simulation)"
    return Figure("figure.trade", title, alt, table, data, layout, height=420, legend=tuple(legend))


def build_page(result: Simulation) -> dict[str, bytes]:
    """Every file of the page but the vendored ones, by name."""
    sizes = [size_table(result, size) for size in result.sizes]
    fit = fit_table(result)
    context = {
        "title": f"Simulation from {result.source.name}",
        "result": result,
        "brand": "Simulation",
        "basis": BASIS,
        "warning": "simulation",
        "standing": "Simulation: no evidence of any study.",
        "figure": trade_figure(result),
        "fit": fit,
        "sizes": sizes,
        "model": [(key, value) for key, value in result.model.model_dump().items()],
    }
    return render_page("simulation.html", context, (fit, *sizes), result.dumps(), result.source.name)


main = main_of("report.simulation", __doc__ or "", "simulation", lambda data, where: build_page(loads(data, where)))


if __name__ == "__main__":
    main_guard(main)
