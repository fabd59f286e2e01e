"""The page of a backtest: what `promotion backtest --json` wrote, as tables and figures that stand alone in a folder.

    promotion backtest CURVES.csv --map map.yaml --rules params.yaml --page DIR
    python -m report.backtest result.json DIR        (`-` reads the result from standard input)

No figure of it is of a study, and none changes a decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from report.figures import Figure, FigureSpec, scatter
from report.standalone import fill_numbered, main_of, percent, render_page, share_column
from report.tables import Column, Kind, Table
from stages.backtest.backtest_result import Backtest, MethodFigures, loads
from stages.domain import formatting
from stages.domain.errors import main_guard

#: Rows of the table of configurations on the page; the files hold them all.
MOST_CONFIGS = 200


def _basis(result: Backtest) -> str:
    """What every table says of its figures, where the audit site names the clock."""
    seeds = "one run followed through its budgets" if result.resampling == "continued" else "fresh seeds at every rung"
    return f"{result.basis}; {formatting.plain(result.ladders)} resampled ladders, {seeds}"


def _table(result: Backtest, id_: str, title: str, note: str = "") -> Table:
    source = f"{result.curves.name}, {result.rules.name}, {result.map.name}"
    return Table(id_, title, source, note, clock=_basis(result))


def methods_table(result: Backtest) -> Table:
    """The rules and every baseline."""
    behind = "how far the choice is behind the eventual best"
    columns = [
        Column("title", "Method"),
        share_column("best_picked", "Best chosen, %"),
        share_column("best_lost", "Best lost, %", "it was not run at the last rung"),
        share_column("top3_lost", "Of the top 3 lost, %", "at least one of them was not run there"),
        _regret_column("regret", f"Mean regret, {result.final.unit}", "mean", 3, behind),
        _regret_column("regret_error", "± s.e.", "error", 4, "Monte-Carlo error of the mean"),
        _regret_column("regret_p90", "90th percentile", "p90", 3),
        share_column("cost_share", "Cost, %", "of running everything at the last rung"),
        Column("finalists", "At the last rung", "number", digits=2),
        share_column("nobody", "No choice, %"),
    ]
    table = _table(result, "methods", "The rules, and what the same curves give without them")
    return fill_numbered(table, columns, result.methods)


def _regret_column(key: str, label: str, field: str, digits: int, hint: str = "") -> Column:
    return Column(key, label, "number", hint, get=lambda row: getattr(row.regret, field), digits=digits)


def gates_table(result: Backtest) -> Table:
    """What each gate did, and what the budget of its rung can tell."""
    rungs = {row.rung: row for row in result.rungs}

    def of_rung(key: str, label: str, kind: Kind = "text", show: Callable[[Any], object] = formatting.plain) -> Column:
        return Column(key, label, kind, get=lambda gate: show(getattr(rungs[gate.rung], key)))

    def number(key: str, label: str, hint: str, digits: int, show: Callable[[Any], object]) -> Column:
        return replace(of_rung(key, label, "number", show), hint=hint, digits=digits)

    columns = [
        Column("gate", "Gate"),
        of_rung("budget", f"Budget, {result.curves.budget_unit}"),
        of_rung("runs_each", "Runs each", "count", int),
        Column("candidates", "Candidates", "number", digits=2),
        Column("promoted", "Go on", "number", digits=2),
        share_column("best_dropped", "Best dropped, %", "of all ladders; at the last gate: not chosen", 3),
        share_column("best_dropped_error", "± s.e.", "Monte-Carlo error", 3),
        share_column("top3_dropped", "Of the top 3 dropped, %", "at the last gate: none of them chosen"),
        share_column("blocked", "Blocked, %"),
        share_column("cost_share", "Cost, %", "of running everything at the last rung"),
        number("tau_b", "Kendall's τ-b", "means of all runs against the final order", 2, _as_is),
        number("accuracy_all_runs", "Pairs right, all runs, %", "decision accuracy as in DataDecide", 1, percent),
        number("accuracy", "Pairs right, as drawn, %", "with as many runs as the rung has", 1, percent),
        number("seed_sd", "Seed s.d.", "median over configurations, in the unit of the rung", 5, _as_is),
    ]
    table = _table(result, "gates", "What each gate drops, and what its budget can tell")
    return fill_numbered(table, columns, result.gates)


def _as_is(value: object) -> object:
    return value


def rules_table(result: Backtest) -> Table:
    """Every rule: how often it held, or why it could not be evaluated."""

    def of_rule(key: str, label: str, kind: Kind = "text", hint: str = "") -> Column:
        digits = 3 if kind == "number" else None
        return Column(key, label, kind, hint, get=lambda row: getattr(row[1], key), digits=digits)

    columns = [
        Column("gate", "Gate", get=lambda row: row[0].gate),
        of_rule("id", "Rule"),
        Column("text", "It says", get=lambda row: formatting.typeset(row[1].text)),
        of_rule("effect", "Effect"),
        of_rule("holds", "Holds", "number", "candidates, hosts or verdicts a ladder"),
        of_rule("fails", "Does not", "number"),
        of_rule("unknown", "Cannot be told", "number"),
        of_rule("why_not", "Not evaluable on these curves", hint="the gate is replayed as if the rule held"),
    ]
    rows = [(gate, rule) for gate in result.gates for rule in gate.rules]
    return fill_numbered(_table(result, "rules", "How often each rule held"), columns, rows)


def truth_table(result: Backtest) -> Table:
    """The configurations in their final order."""
    columns = [
        Column("config", "Configuration"),
        Column("rank", "Rank", "count"),
        Column("final", f"Final value, {result.final.unit}", "number", digits=3),
        Column("seed_sd", "Seed s.d.", "number", digits=3),
        Column("runs", "Runs", "count"),
        share_column("first_in_redraws", "First in redraws, %", "of all its runs: how sure its place is"),
    ]
    shown = result.truth[:MOST_CONFIGS]
    note = f"The first {MOST_CONFIGS} of {len(result.truth)}." if len(shown) < len(result.truth) else ""
    return fill_numbered(_table(result, "truth", "What the curves finally say", note), columns, shown)


def cost_figure(result: Backtest) -> Figure:
    """Regret against cost, a mark for each method."""
    rows = [row for row in result.methods if row.regret.mean is not None]
    order = sorted(rows, key=lambda row: (row.cost_share, row.regret.mean or 0, row.method))
    best = min(rows, key=lambda row: (row.regret.mean or 0, row.cost_share))

    def mark(row: MethodFigures) -> FigureSpec:
        rules = row.method == "rules"
        looks = ("@c1", "diamond", 13) if rules else ("@c0", "circle", 9)
        hover = formatting.html_text(row.title) + "<br>%{x:.2f} %% of the cost, %{y:.3f}"
        marker = dict(zip(("color", "symbol", "size"), looks, strict=True))
        return scatter("markers", [percent(row.cost_share)], [row.regret.mean], hover, marker=marker, cliponaxis=False)

    data = [mark(row) for row in order]
    alt = (
        f"Mean regret in {result.final.unit} against the share of the cost of running everything, a mark for each "
        f"method ({result.basis}). Lowest regret: {best.title}. Down and to the left is better."
    )
    names = [
        {
            "x": percent(row.cost_share),
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
        gates = [gate.gate for gate in result.gates]
        look = {
            "line": {"color": colour, "dash": dash, "width": 2.5},
            "marker": {"color": colour, "symbol": mark, "size": 8},
        }
        return scatter("lines+markers", gates, values, f"{name}, %{{x}}: %{{y:.2f}} %", name=name, **look)

    accuracy = {row.rung: row.accuracy for row in result.rungs}
    shown = [
        line("best dropped", [percent(gate.best_dropped) for gate in result.gates], "@c2", "solid", "square"),
        line("one of the top 3 dropped", [percent(g.top3_dropped) for g in result.gates], "@c4", "dash", "triangle-up"),
        line("pairs ordered rightly", [percent(accuracy[g.rung]) for g in result.gates], "@c1", "dot", "circle"),
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
    worst = max(result.gates, key=lambda gate: gate.best_dropped)
    alt = (
        f"By gate, the share of ladders in which the eventual best, or one of the top three, is dropped, and the share "
        f"of pairs that the rung orders as in the end ({result.basis}). The best is dropped most often at {worst.gate}:"
        f" {100 * worst.best_dropped:.2f} %."
    )
    return Figure("figure.gates", "What each gate drops", alt, "gates", shown, layout, height=380, legend=legend)


def build_page(result: Backtest) -> dict[str, bytes]:
    """Every file of the page but the vendored ones, by name."""
    listed = [methods_table(result), gates_table(result), rules_table(result), truth_table(result)]
    context = {
        "title": f"Backtest of {result.rules.name} on {result.curves.name}",
        "result": result,
        "brand": "Backtest",
        "basis": result.basis,
        "warning": "prefix" if result.curves.prefix else "",
        "standing": "A backtest judges the rules; it is no evidence of any study and changes no decision.",
        "figures": {"cost": cost_figure(result), "gates": gates_figure(result)},
        "tables": {table.id: table for table in listed},
    }
    return render_page("backtest.html", context, listed, result.dumps(), result.rules.name)


main = main_of("report.backtest", __doc__ or "", "backtest", lambda data, where: build_page(loads(data, where)))


if __name__ == "__main__":
    main_guard(main)
