"""The page of a simulation: what `promotion simulate --json` wrote. Every table and figure says that it is simulation.

promotion simulate --from ledger/runs.jsonl --page DIR
python -m report.simulation result.json DIR        (`-` reads the result from standard input)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from report import tables
from report.figures import Figure
from report.render import environment, render
from report.standalone import INDEX, main_of
from report.tables import Column, Table, TableRow
from stages.backtest.simulation_result import Simulation, SizeFigures, loads
from stages.domain import formatting
from stages.domain.errors import main_guard

BASIS = "simulation, no evidence"
LEVELS = (50, 80, 95)
LOOKS = (("@c1", "circle"), ("@c2", "square"), ("@c3", "diamond"), ("@c4", "triangle-up"))


def _percent(share: float) -> float:
    return round(100 * share, 4)


def _table(
    result: Simulation, id_: str, title: str, columns: list[Column], cells: Sequence[Mapping[str, object]]
) -> Table:
    rows = [TableRow(f"{id_}.{n}", dict(row)) for n, row in enumerate(cells, start=1)]
    return Table(id_, f"{title} (simulation)", columns, rows, f"a model fitted to {result.source.name}", BASIS)


def fit_table(result: Simulation) -> Table:
    """The fit on configurations that it did not see."""
    columns = [
        Column("budget", "Budget"),
        Column("configs", "Configurations", "count"),
        Column("error", "Error", "number", "root mean square, each budget foretold from the earlier ones", digits=4),
        Column("naive", "Naive error", "number", "as far from the average as at the budget before", digits=4),
        *(Column(f"in{n}", f"Inside {n} %, %", "number", digits=0) for n in LEVELS),
    ]
    cells = [
        {"budget": formatting.plain(row.budget), "configs": row.configs, "error": row.error, "naive": row.naive}
        | {f"in{n}": _percent(share) for n, share in zip(LEVELS, row.coverage, strict=True)}
        for row in result.fit
    ]
    return _table(result, "fit", "The fit on configurations that it did not see", columns, cells)


def size_table(result: Simulation, size: SizeFigures) -> Table:
    """Every design at one number of configurations."""
    gates = range(1, len(result.budgets))
    columns = [
        Column("name", "Design"),
        Column("kept", "Best reaches the last rung, %", "number", digits=1),
        Column("chosen", "Best chosen, %", "number", digits=1),
        Column("chosen_error", "± s.e.", "number", "Monte-Carlo error", digits=1),
        *(Column(f"gate{n}", f"Gate {n}", "number", digits=1, group="best dropped, %") for n in gates),
        Column("top3_lost", "Of the top 3 lost, %", "number", digits=1),
        Column("regret", f"Mean regret, {result.unit}", "number", digits=5),
        Column("regret_error", "± s.e.", "number", digits=5),
        Column("last", "At the last rung", "number", digits=1),
        Column(
            "cost_share", "Cost, %", "number", "of one run of each configuration a host at the last budget", digits=1
        ),
    ]
    cells = [
        {
            "name": row.name,
            "kept": _percent(row.kept),
            "chosen": _percent(row.chosen),
            "chosen_error": _percent(row.chosen_error),
            "top3_lost": _percent(row.top3_lost),
            "regret": row.regret,
            "regret_error": row.regret_error,
            "last": row.entered[-1],
            "cost_share": _percent(row.cost_share),
        }
        | {f"gate{n}": _percent(row.dropped[n - 1]) for n in gates if n <= len(row.dropped)}
        for row in size.designs
    ]
    title = f"{formatting.plain(size.configs)} configurations, {formatting.plain(size.ladders)} ladders"
    return _table(result, f"configs{size.configs}", title, columns, cells)


def trade_figure(result: Simulation) -> Figure:
    """How often the best is dropped against cost: a mark for each design, a colour for each number of them."""
    data, legend = [], []
    for (colour, mark), size in zip(LOOKS, result.sizes, strict=False):
        rows = sorted(size.designs, key=lambda row: row.cost_share)
        name = f"{formatting.plain(size.configs)} configurations"
        legend.append((colour, "", mark, name))
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [_percent(row.cost_share) for row in rows],
                "y": [_percent(1 - row.kept) for row in rows],
                "text": [formatting.html_text(row.name) for row in rows],
                "marker": {"color": colour, "symbol": mark, "size": 9},
                "hovertemplate": f"{name}<br>%{{text}}<br>cost %{{x:.1f}} %, dropped %{{y:.1f}} %<extra></extra>",
                "showlegend": False,
            }
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
        "basis": BASIS,
        "figure": trade_figure(result),
        "fit": fit,
        "sizes": sizes,
        "model": [(key, value) for key, value in result.model.model_dump().items()],
    }
    files = {INDEX: render(environment(), "simulation.html", INDEX, context), "result.json": result.dumps()}
    for table in (fit, *sizes):
        files[f"index.{table.id}.csv"] = tables.as_csv(table)
        files[f"index.{table.id}.json"] = tables.as_json(table, result.source.name)
    return files


main = main_of("report.simulation", __doc__ or "", "simulation", lambda data, where: build_page(loads(data, where)))


if __name__ == "__main__":
    main_guard(main)
