"""The page of a backtest: what `promotion backtest --json` wrote, as tables and figures that stand alone in a folder.

    promotion backtest CURVES.csv --map map.yaml --rules params.yaml --page DIR
    python -m report.backtest result.json DIR        (`-` reads the result from standard input)

No figure of it is of a study, and none changes a decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from report import tables
from report.figures import Figure, FigureSpec
from report.render import environment, render
from report.standalone import INDEX, main_of
from report.tables import Column, Table, TableRow
from stages.backtest.backtest_result import Backtest, GateFigures, loads
from stages.domain import formatting
from stages.domain.errors import main_guard

#: Rows of the table of configurations on the page; the files hold them all.
MOST_CONFIGS = 200


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 4)


def _source(result: Backtest) -> str:
    return f"{result.curves.name}, {result.rules.name}, {result.map.name}"


def _basis(result: Backtest) -> str:
    """What every table says of its figures, where the audit site names the clock."""
    seeds = "one run followed through its budgets" if result.resampling == "continued" else "fresh seeds at every rung"
    return f"{result.basis}; {formatting.plain(result.ladders)} resampled ladders, {seeds}"


def _table(
    result: Backtest, id_: str, title: str, columns: list[Column], cells: Sequence[Mapping[str, object]], note: str = ""
) -> Table:
    rows = [TableRow(f"{id_}.{n}", dict(row)) for n, row in enumerate(cells, start=1)]
    return Table(id_, title, columns, rows, _source(result), _basis(result), note=note)


def methods_table(result: Backtest) -> Table:
    """The rules and every baseline."""
    unit = result.final.unit
    columns = [
        Column("title", "Method"),
        Column("best_picked", "Best chosen, %", "number", digits=2),
        Column("best_lost", "Best lost, %", "number", "it was not run at the last rung", digits=2),
        Column("top3_lost", "Of the top 3 lost, %", "number", "at least one of them was not run there", digits=2),
        Column("regret", f"Mean regret, {unit}", "number", "how far the choice is behind the eventual best", digits=3),
        Column("regret_error", "± s.e.", "number", "Monte-Carlo error of the mean", digits=4),
        Column("regret_p90", "90th percentile", "number", digits=3),
        Column("cost_share", "Cost, %", "number", "of running everything at the last rung", digits=2),
        Column("finalists", "At the last rung", "number", digits=2),
        Column("nobody", "Nobody chosen, %", "number", digits=2),
    ]
    cells = [
        {
            "title": row.title,
            "best_picked": _percent(row.best_picked),
            "best_lost": _percent(row.best_lost),
            "top3_lost": _percent(row.top3_lost),
            "regret": row.regret.mean,
            "regret_error": row.regret.error,
            "regret_p90": row.regret.p90,
            "cost_share": _percent(row.cost_share),
            "finalists": row.finalists,
            "nobody": _percent(row.nobody),
        }
        for row in result.methods
    ]
    return _table(result, "methods", "The rules, and what the same curves give without them", columns, cells)


def gates_table(result: Backtest) -> Table:
    """What each gate did, and what the budget of its rung can tell."""
    rungs = {row.rung: row for row in result.rungs}
    columns = [
        Column("gate", "Gate"),
        Column("budget", f"Budget, {result.curves.budget_unit}"),
        Column("runs_each", "Runs each", "count"),
        Column("candidates", "Candidates", "number", digits=2),
        Column("promoted", "Go on", "number", digits=2),
        Column("best_dropped", "Best dropped, %", "number", "of all ladders; at the last gate: not chosen", digits=3),
        Column("best_dropped_error", "± s.e.", "number", "Monte-Carlo error", digits=3),
        Column("top3_dropped", "Of the top 3 dropped, %", "number", "at the last gate: none of them chosen", digits=2),
        Column("blocked", "Blocked, %", "number", digits=2),
        Column("cost_share", "Cost, %", "number", "of running everything at the last rung", digits=2),
        Column("tau_b", "Kendall's τ-b", "number", "means of all runs against the final order", digits=2),
        Column(
            "accuracy_all_runs", "Pairs right, all runs, %", "number", "decision accuracy as in DataDecide", digits=1
        ),
        Column("accuracy", "Pairs right, as drawn, %", "number", "with as many runs as the rung has", digits=1),
        Column("seed_sd", "Seed s.d.", "number", "median over configurations, in the unit of the rung", digits=5),
    ]
    cells = [
        {
            "gate": gate.gate,
            "budget": rungs[gate.rung].budget
            if isinstance(rungs[gate.rung].budget, str)
            else formatting.plain(rungs[gate.rung].budget),
            "runs_each": rungs[gate.rung].runs_each,
            "candidates": gate.candidates,
            "promoted": gate.promoted,
            "best_dropped": _percent(gate.best_dropped),
            "best_dropped_error": _percent(gate.best_dropped_error),
            "top3_dropped": _percent(gate.top3_dropped),
            "blocked": _percent(gate.blocked),
            "cost_share": _percent(gate.cost_share),
            "tau_b": rungs[gate.rung].tau_b,
            "accuracy_all_runs": _percent(rungs[gate.rung].accuracy_all_runs),
            "accuracy": _percent(rungs[gate.rung].accuracy),
            "seed_sd": rungs[gate.rung].seed_sd,
        }
        for gate in result.gates
    ]
    return _table(result, "gates", "What each gate drops, and what its budget can tell", columns, cells)


def rules_table(result: Backtest) -> Table:
    """Every rule: how often it held, or why it could not be evaluated."""
    columns = [
        Column("gate", "Gate"),
        Column("id", "Rule"),
        Column("text", "It says"),
        Column("effect", "Effect"),
        Column("holds", "Holds", "number", "candidates, hosts or verdicts a ladder", digits=3),
        Column("fails", "Does not", "number", digits=3),
        Column("unknown", "Cannot be told", "number", digits=3),
        Column("why_not", "Not evaluable on these curves", "text", "the gate is replayed as if the rule held"),
    ]
    cells = [
        {"gate": gate.gate, **rule.model_dump(include={"id", "effect", "holds", "fails", "unknown", "why_not"})}
        | {"text": formatting.typeset(rule.text)}
        for gate in result.gates
        for rule in gate.rules
    ]
    return _table(result, "rules", "How often each rule held", columns, cells)


def truth_table(result: Backtest) -> Table:
    """The configurations in their final order."""
    unit = result.final.unit
    columns = [
        Column("config", "Configuration"),
        Column("rank", "Rank", "count"),
        Column("final", f"Final value, {unit}", "number", digits=3),
        Column("seed_sd", "Seed s.d.", "number", digits=3),
        Column("runs", "Runs", "count"),
        Column("first_in_redraws", "First in redraws, %", "number", "of all its runs: how sure its place is", digits=2),
    ]
    shown = result.truth[:MOST_CONFIGS]
    cells = [{**row.model_dump(), "first_in_redraws": _percent(row.first_in_redraws)} for row in shown]
    note = f"The first {MOST_CONFIGS} of {len(result.truth)}." if len(shown) < len(result.truth) else ""
    return _table(result, "truth", "What the curves finally say", columns, cells, note)


def cost_figure(result: Backtest) -> Figure:
    """Regret against cost, a mark for each method."""
    rows = [row for row in result.methods if row.regret.mean is not None]
    order = sorted(rows, key=lambda row: (row.cost_share, row.regret.mean or 0, row.method))
    best = min(rows, key=lambda row: (row.regret.mean or 0, row.cost_share))
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "cliponaxis": False,
            "x": [_percent(row.cost_share)],
            "y": [row.regret.mean],
            "marker": {
                "color": "@c1" if row.method == "rules" else "@c0",
                "symbol": "diamond" if row.method == "rules" else "circle",
                "size": 13 if row.method == "rules" else 9,
            },
            "hovertemplate": formatting.html_text(row.title) + "<br>%{x:.2f} %% of the cost, %{y:.3f}<extra></extra>",
            "showlegend": False,
        }
        for row in order
    ]
    alt = (
        f"Mean regret in {result.final.unit} against the share of the cost of running everything, a mark for each "
        f"method ({result.basis}). Lowest regret: {best.title}. Down and to the left is better."
    )
    names = [
        {
            "x": _percent(row.cost_share),
            "y": row.regret.mean,
            "text": formatting.html_text(row.method),
            "textangle": -40,
            "xanchor": "left",
            "yanchor": "bottom",
            "showarrow": False,
            "font": {"color": "@c1" if row.method == "rules" else "@ink", "size": 11},
        }
        for row in order
    ]
    layout = {
        "xaxis": {"title": {"text": "cost, % of running everything"}, "range": [-4, 112]},
        "yaxis": {"title": {"text": formatting.html_text(f"mean regret, {result.final.unit}")}, "rangemode": "tozero"},
        "margin": {"l": 64, "r": 16, "t": 40, "b": 56},
        "annotations": names,
    }
    return Figure(
        "figure.cost", "What a choice costs and how far it is behind", alt, "methods", data, layout, height=440
    )


def gates_figure(result: Backtest) -> Figure:
    """By gate: how often the best and one of the top three is dropped, and how many pairs are ordered rightly."""

    def line(name: str, values: list[float | None], colour: str, dash: str, mark: str) -> FigureSpec:
        return {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": [gate.gate for gate in result.gates],
            "y": values,
            "line": {"color": colour, "dash": dash, "width": 2.5},
            "marker": {"color": colour, "symbol": mark, "size": 8},
            "hovertemplate": f"{name}, %{{x}}: %{{y:.2f}} %<extra></extra>",
            "showlegend": False,
        }

    accuracy = {row.rung: row.accuracy for row in result.rungs}
    shown = [
        line("best dropped", [_percent(gate.best_dropped) for gate in result.gates], "@c2", "solid", "square"),
        line(
            "one of the top 3 dropped", [_percent(g.top3_dropped) for g in result.gates], "@c4", "dash", "triangle-up"
        ),
        line("pairs ordered rightly", [_percent(accuracy[g.rung]) for g in result.gates], "@c1", "dot", "circle"),
    ]
    legend = (
        ("@c2", "solid", "square", "the eventual best is dropped"),
        ("@c4", "dash", "triangle-up", "at least one of the top three is dropped"),
        ("@c1", "dot", "circle", "pairs that the rung's runs order as in the end"),
    )
    layout = {
        "xaxis": {"title": {"text": "gate"}, "type": "category"},
        "yaxis": {"title": {"text": "% of ladders, or of pairs"}, "range": [-3, 103]},
        "margin": {"l": 56, "r": 16, "t": 16, "b": 48},
    }
    worst = max(result.gates, key=_most_dropped)
    alt = (
        f"By gate, the share of ladders in which the eventual best, or one of the top three, is dropped, and the share "
        f"of pairs that the rung orders as in the end ({result.basis}). The best is dropped most often at {worst.gate}:"
        f" {100 * worst.best_dropped:.2f} %."
    )
    return Figure("figure.gates", "What each gate drops", alt, "gates", shown, layout, height=380, legend=legend)


def _most_dropped(gate: GateFigures) -> float:
    return gate.best_dropped


def build_page(result: Backtest) -> dict[str, bytes]:
    """Every file of the page but the vendored ones, by name."""
    listed = [methods_table(result), gates_table(result), rules_table(result), truth_table(result)]
    context = {
        "title": f"Backtest of {result.rules.name} on {result.curves.name}",
        "result": result,
        "basis": _basis(result),
        "figures": {"cost": cost_figure(result), "gates": gates_figure(result)},
        "tables": {table.id: table for table in listed},
    }
    files = {INDEX: render(environment(), "backtest.html", INDEX, context), "result.json": result.dumps()}
    for table in listed:
        files[f"index.{table.id}.csv"] = tables.as_csv(table)
        files[f"index.{table.id}.json"] = tables.as_json(table, result.rules.name)
    return files


main = main_of("report.backtest", __doc__ or "", "backtest", lambda data, where: build_page(loads(data, where)))


if __name__ == "__main__":
    main_guard(main)
