"""The promotion path, the main object of the site: as a figure of ranks and as a table that stands alone.

python -m pytest tests/report/test_figures.py
"""

from __future__ import annotations

from typing import Any

from report import figures, promotion_paths
from report.figures import Figure, Look, Stars
from report.load import Audit
from report.page import config_page, gate_page
from report.promotion_paths import Path, Step
from report.tables import Cell, Column, Row, Table
from stages.domain import formatting, names

#: Pixels that a figure needs for its margins and for the way from rung to rung, to name the lines on both sides.
MARGINS, STRIDE = 400, 60


def stars(audit: Audit) -> Stars:
    """The winner and the leader of the first rung."""
    return Stars(promotion_paths.winner(audit), promotion_paths.leader(audit, next(iter(audit.study.rungs))))


def _heads(audit: Audit, short: bool) -> list[str]:
    """The rungs along the axis: number, budget, candidates."""
    found = []
    for rung, many in promotion_paths.counts(audit):
        title = formatting.rung_title(rung)
        budget = formatting.seconds(audit.study.rungs[rung].budget_seconds)
        if short:
            told = formatting.DASH if many is None else formatting.plain(many)
            found.append(f"<b>{title.removeprefix('Rung ')}</b><br>{budget}<br>{told}")
        else:
            told = "not known" if many is None else formatting.count(many, "candidate")
            found.append(f"<b>{title}</b><br>{budget}<br>{told}")
    return found


def _alt(audit: Audit, paths: list[Path], best: Stars, ranks: int) -> str:
    many = " → ".join("?" if one is None else str(one) for _, one in promotion_paths.counts(audit))
    told = (
        f"Candidates at each rung: {many}. Each line is a configuration's rank by mean val_bpb; it ends with ✕ and the "
        "rule where a gate stopped it."
    )
    if best.winner:
        steps = promotion_paths.ladder(audit)[best.winner].steps
        told += f" The winner, {best.winner}, ranked {', '.join(str(step.rank) for step in steps if step.rank)}."
    if best.early and best.early != best.winner:
        told += f" {best.early} led the first rung."
    return told + figures.drawn_of(len(figures.chosen(paths, best)), len(paths), ranks)


def path_figure(audit: Audit, paths: list[Path], table: str) -> Figure:
    """Ranks from rung to rung, rank 1 on top; a line ends where its configuration was stopped."""
    best = stars(audit)
    drawn = [path for path in figures.chosen(paths, best) if any(step.rank for step in path.steps)]
    last = len(audit.study.rungs) - 1
    data, notes, names_ = [], [], figures.labels(path.config for path in drawn)
    for path in sorted(drawn, key=lambda one: (one.config == best.winner, one.config == best.early, bool(one.roles))):
        data.append(_line(path, best))
        if len(drawn) <= figures.MOST_NAMES or figures.named(path, best):
            notes += _labels(path, names_[path.config], best, last)
    ranks = max((step.rank or 0 for path in drawn for step in path.steps), default=1)
    notes = figures.on_axis(notes, ranks)
    room = figures.room(path.config for path in drawn)
    layout = {
        "xaxis": {
            "tickvals": list(range(last + 1)),
            "ticktext": _heads(audit, short=last > 6),
            "range": [-0.08, last + 0.08],
            "showgrid": True,
            "side": "top",
            "tickangle": 0,
        },
        "yaxis": {**figures.rank_axis(ranks), "ticklabelstandoff": room},
        "annotations": notes,
        "margin": {"l": room + 26, "r": room + 18, "t": 62, "b": 12},
    }
    narrow = {
        "margin": {"l": 26, "r": min(room + 8, 150), "t": 62, "b": 8},
        "yaxis.ticklabelstandoff": 0,
        "xaxis.ticktext": _heads(audit, short=True),
        "font.size": 10,
        "annotations": [one for one in notes if one["xanchor"] == "left" and _fits_phone(one, last)],
    }
    return Figure(
        "figure.promotion-path",
        "Promotion path",
        _alt(audit, paths, best, ranks),
        table,
        data,
        layout,
        narrow,
        height=max(300, min(780, 120 + 30 * ranks)),
        below=MARGINS + STRIDE * (last + 1),
        legend=_legend(drawn, best),
    )


def _fits_phone(note: dict[str, Any], last: int) -> bool:
    """Whether a label on the right is kept where room is short: the rules that stopped, and the marked at the end."""
    return bool(note["x"] < last) or note["text"].startswith("<b>")


def _line(path: Path, best: Stars) -> dict[str, Any]:
    steps = [(n, step) for n, step in enumerate(path.steps) if step.rank is not None]
    style = figures.look(path, best)
    marks = ["x" if step.state == "stopped" else style.symbol for _, step in steps]
    sizes = [10 if step.state == "stopped" else 9 for _, step in steps]
    if path.config == best.winner:
        marks[-1], sizes[-1] = "star", 16
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [n for n, _ in steps],
        "y": [step.rank for _, step in steps],
        "line": {"color": style.colour, "width": style.width, "dash": style.dash},
        "marker": {"color": style.colour, "size": sizes, "symbol": marks, "opacity": 1, "line": {"width": 0}},
        "text": [_hover(step, path) for _, step in steps],
        "hovertemplate": "%{text}<br>rank %{y}<extra></extra>",
        "showlegend": False,
    }


def _hover(step: Step, path: Path) -> str:
    mean = f"<br>mean val_bpb {formatting.bpb(step.mean)}" if step.mean is not None else ""
    return f"{formatting.html_text(path.config)}<br>{formatting.rung_title(step.rung)}: {told(step)}{mean}"


def told(step: Step) -> str:
    """What became of it at a rung, with the rules that decided, in words."""
    text = formatting.STATES[step.state][1]
    if step.state == "blocked":
        return f"{text}; {', '.join(step.by)} would have promoted it" if step.by and not step.unmet else text
    by = f" by {', '.join(step.by)}" if step.by and step.state != "kept" else ""
    if step.state == "kept":
        by = f" ({', '.join(step.by)})"
    against = f" against {', '.join(step.against)}" if step.against else ""
    unmet = f", {', '.join(step.unmet)} not met" if step.state == "stopped" and not step.by and step.unmet else ""
    return f"{text}{by}{against}{unmet}"


def _labels(path: Path, name: str, best: Stars, last: int) -> list[dict[str, Any]]:
    """A name at both ends of a line; where it was stopped before the last rung, the rule alone."""
    steps = [(n, step) for n, step in enumerate(path.steps) if step.rank is not None]
    style, (place, end) = figures.look(path, best), steps[-1]
    name = f"<b>{name}</b>" if style.marked else name
    rank = float(end.rank or 0)
    made = []
    if steps[0][0] == 0 and len(steps) > 1:
        made.append(figures.note(0, float(steps[0][1].rank or 0), name, "left", style.colour))
    if place == last:
        made.append(figures.note(place, rank, name, "right", style.colour))
    elif end.decisive:
        made.append(figures.note(place, rank, end.decisive, "right", style.colour))
    return made


def _legend(drawn: list[Path], best: Stars) -> tuple[tuple[str, str, str, str], ...]:
    """What the lines mean: one entry a look, in the words of the study, and the sign of a stop."""
    found: dict[Look, list[str]] = {}
    for path in drawn:
        says = [*path.roles, *(["winner"] if path.config == best.winner else [])]
        says += ["led the first rung"] if path.config == best.early else []
        style = figures.look(path, best)
        mine = found.setdefault(style, [])
        mine += [one for one in says or ["other configurations"] if one not in mine]
    order = sorted(found.items(), key=lambda item: -item[0].width)
    lines = [
        (style.colour, style.dash, "star" if "winner" in says else style.symbol, " · ".join(says))
        for style, says in order
    ]
    stopped = any(step.state == "stopped" for path in drawn for step in path.steps)
    return (*lines, *([("@muted", "", "x", "stopped, with the rule")] if stopped else []))


def path_table(audit: Audit, paths: list[Path], id_: str) -> Table:
    """The matrix of configurations and rungs: what became of each, its rank, its mean, the rule that decided."""
    columns = [Column("config", "Configuration"), Column("roles", "Role", hidden=True)]
    for rung in audit.study.rungs:
        budget = formatting.seconds(audit.study.rungs[rung].budget_seconds)
        columns += [
            Column(rung, f"{formatting.rung_title(rung)} · {budget}"),
            Column(f"{rung}_rank", f"{rung} rank", "count", hidden=True),
            Column(f"{rung}_mean", f"{rung} mean", "mean", hidden=True),
            Column(f"{rung}_rules", f"{rung} rules", hidden=True),
        ]
    return Table(
        id=id_,
        title="What became of every configuration at every rung",
        columns=columns,
        rows=[_row(path) for path in paths],
        source="ledger/decisions.jsonl",
        clock=audit.clock,
        note="# is the rank by mean val_bpb among that rung's candidates; below it the mean, and the rule that stopped "
        "or kept.",
    )


def _row(path: Path) -> Row:
    cells: dict[str, Any] = {
        "config": Cell(path.config, href=config_page(path.config), tags=path.roles),
        "roles": ", ".join(path.roles),
    }
    for step in path.steps:
        cells[step.rung] = _cell(step, path.config)
        rules = step.by or step.unmet
        cells |= {f"{step.rung}_rank": step.rank, f"{step.rung}_mean": step.mean, f"{step.rung}_rules": " ".join(rules)}
    return Row(f"path.{path.config}", cells)


SHORT = {"kept": "kept", "absent": "", "waiting": "undecided", "unrun": "not run", "blocked": "blocked"}


def _cell(step: Step, config: str) -> Cell:
    glyph, text = formatting.STATES[step.state]
    rank = f" #{step.rank}" if step.rank else ""
    rule = step.decisive or (step.by[0] if step.state == "kept" else "")
    small = [formatting.number(step.mean, 4) if step.mean is not None else "", rule]
    small += [f"against {', '.join(step.against)}"] if step.against else []
    judged = step.state not in promotion_paths.OUTSIDE
    return Cell(
        step.state,
        f"{glyph} {SHORT.get(step.state, text)}{rank}".strip(),
        gate_page(names.gate_of(step.rung)) + f"#{config}" if judged else "",
        f"state-{step.state}",
        told(step) if judged else "",
        " · ".join(filter(None, small)),
        sort=float(step.rank) if step.rank else None,
    )
