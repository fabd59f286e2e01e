"""The promotion path, the main object of the site: as a figure of ranks and as a table that stands alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from report import figures
from report.figures import Figure, FigureSpec, LegendEntry, Look, Stars
from report.gates import GateView
from report.page import gate_page, link_config
from report.promotion_paths import PathStep, PromotionPath
from report.tables import Cell, Column, Table
from stages.domain import formatting, names

#: Pixels that a figure needs for its margins and for the way from rung to rung, to name the lines on both sides.
MARGINS, STRIDE = 400, 60
#: Letters of a name on a phone, where the lines need the room.
PHONE_LETTERS = 16
#: Words that are shorter in the table than those of `formatting.STATES`.
SHORT = {"kept": "kept", "absent": "", "waiting": "undecided", "unrun": "not run", "blocked": "blocked"}

PATH = Table(
    "paths",
    "What became of every configuration at every rung",
    "ledger/decisions.jsonl",
    note="# is the rank by mean val_bpb among that rung's candidates; below it the mean, and the rule that stopped "
    "or kept.",
)


def path_figure(paths: list[PromotionPath], gates: list[GateView], stars: Stars, table: str) -> Figure:
    """Ranks from rung to rung, rank 1 on top; a line ends where its configuration was stopped."""
    drawn = [path for path in figures.choose_paths(paths, stars) if any(step.rank for step in path.steps)]
    on_top = sorted(drawn, key=lambda path: (path.config == stars.first, path.config == stars.early, bool(path.roles)))
    named_first = sorted(drawn, key=lambda path: not figures.is_named(path, stars))
    last, ranks = len(gates) - 1, max((step.rank or 0 for path in drawn for step in path.steps), default=1)
    height = max(300, min(780, 120 + 30 * ranks))
    wide, phone = (_labels(named_first, stars, most) for most in (figures.MOST_LETTERS, PHONE_LETTERS))
    wide, phone = (figures.with_room(labels, ranks, height - 74) for labels in (wide, phone))
    configs = [path.config for path in drawn]
    room, narrow_room = figures.label_room(configs), figures.label_room(configs, PHONE_LETTERS, 6)
    layout = {
        "xaxis": {
            "tickvals": list(range(last + 1)),
            "ticktext": _heads(gates, short=last > 6),
            "range": [-0.08, last + 0.08],
            "showgrid": True,
            "side": "top",
            "tickangle": 0,
        },
        "yaxis": {**figures.rank_axis(ranks), "ticklabelstandoff": room},
        "annotations": figures.scale_labels(wide, ranks),
        "margin": {"l": room + 26, "r": room + 18, "t": 62, "b": 12},
    }
    narrow = {
        "margin": {"l": narrow_room + 30, "r": 40, "t": 62, "b": 8},
        "yaxis.ticklabelstandoff": narrow_room,
        "xaxis.ticktext": _heads(gates, short=True),
        "font.size": 10,
        "annotations": figures.scale_labels(
            [_for_phone(label) for label in phone if not _names_the_end(label, last)], ranks
        ),
    }
    return Figure(
        "figure.promotion-path",
        "Promotion path",
        _alt(paths, gates, stars, ranks) + _unnamed(len(drawn), sum(label["xanchor"] == "right" for label in wide)),
        table,
        [_line(path, stars) for path in on_top],
        layout,
        narrow,
        height=height,
        below=MARGINS + STRIDE * (last + 1),
        legend=_legend(drawn, stars),
    )


def path_table(paths: Iterable[PromotionPath], gates: list[GateView]) -> Table:
    """The matrix of configurations and rungs: what became of each, its rank, its mean, the rule that decided."""
    columns = [
        Column("config", "Configuration", get=lambda path: replace(link_config(path.config), tags=path.roles)),
        Column("roles", "Role", hidden=True, get=lambda path: ", ".join(path.roles)),
    ]
    for place, gate in enumerate(gates):
        columns += _rung_columns(gate, place)
    return PATH.fill(columns, paths, lambda path: f"path.{path.config}")


def step_text(step: PathStep) -> str:
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


def candidate_counts(gates: Iterable[GateView]) -> list[int | None]:
    """How many candidates each rung had: 12, 12, 9, 4, 3; None where that is not decided yet."""
    return [None if gate.candidates is None else len(gate.candidates) for gate in gates]


def _heads(gates: list[GateView], short: bool) -> list[str]:
    """The rungs along the axis: number, budget, candidates."""
    heads = []
    for gate, many in zip(gates, candidate_counts(gates), strict=True):
        budget = formatting.seconds(gate.budget)
        if short:
            heads.append(f"<b>{gate.rung_title.removeprefix('Rung ')}</b><br>{budget}<br>{formatting.plain(many)}")
        else:
            text = "not known" if many is None else formatting.count(many, "candidate")
            heads.append(f"<b>{gate.rung_title}</b><br>{budget}<br>{text}")
    return heads


def _alt(paths: list[PromotionPath], gates: list[GateView], stars: Stars, ranks: int) -> str:
    many = " → ".join("?" if count is None else str(count) for count in candidate_counts(gates))
    text = (
        f"Candidates at each rung: {many}. Each line is a configuration's rank by mean val_bpb; it ends with ✕ and the "
        "rule where a gate stopped it."
    )
    if stars.first:
        steps = next(path.steps for path in paths if path.config == stars.first)
        who = "The winner" if steps[-1].state == "winner" else "The first of the last rung"
        text += f" {who}, {stars.first}, ranked {', '.join(str(step.rank) for step in steps if step.rank)}."
    if stars.early and stars.early != stars.first:
        text += f" {stars.early} led the first rung."
    return text + figures.left_out(len(figures.choose_paths(paths, stars)), len(paths), ranks)


def _unnamed(drawn: int, named: int) -> str:
    return f" {named} of them have room for their name." if named < drawn else ""


def _names_the_end(label: FigureSpec, last: int) -> bool:
    """Whether a label is the second name of a line, beside its end: on a phone the first one has to do."""
    return bool(label["x"] == last and label["xanchor"] == "left")


def _for_phone(label: FigureSpec) -> FigureSpec:
    return {**label, "font": {**label["font"], "size": 10}, "xshift": label["xshift"] * 2 // 3}


def _ranked(path: PromotionPath) -> list[tuple[int, PathStep]]:
    """The steps at which it was ranked, each with the place of its rung from 0."""
    return [(place, step) for place, step in enumerate(path.steps) if step.rank is not None]


def _line(path: PromotionPath, stars: Stars) -> FigureSpec:
    steps = _ranked(path)
    style = figures.look_of(path, stars)
    marks = ["x" if step.state == "stopped" else style.symbol for _, step in steps]
    sizes = [10 if step.state == "stopped" else 9 for _, step in steps]
    if path.config == stars.first:
        marks[-1], sizes[-1] = "star", 16
    places, ranks = [place for place, _ in steps], [step.rank or 0 for _, step in steps]
    texts, hover = [_hover(step, path.config) for _, step in steps], "%{text}<br>rank %{y}"
    marker = {"size": sizes, "symbol": marks, "opacity": 1, "line": {"width": 0}}
    return figures.rank_line(style, places, ranks, texts, hover, **marker)


def _hover(step: PathStep, config: str) -> str:
    mean = f"<br>mean val_bpb {formatting.bpb(step.mean)}" if step.mean is not None else ""
    return f"{formatting.html_text(config)}<br>{formatting.rung_title(step.rung)}: {step_text(step)}{mean}"


def _labels(paths: list[PromotionPath], stars: Stars, most: int) -> list[FigureSpec]:
    """A name before every line, and behind those of the last rung; where one was stopped earlier, the rule behind it.

    The names of lines that a reader looks for come first, so that they are kept where there is no room for all.
    """
    short, labels = figures.short_labels((path.config for path in paths), most), []
    for path in paths:
        steps, style = _ranked(path), figures.look_of(path, stars)
        (first, start), (place, end) = steps[0], steps[-1]
        name = f"<b>{short[path.config]}</b>" if style.marked else short[path.config]
        labels.append(figures.label_at(first, float(start.rank or 0), name, "left", style.colour))
        if text := name if place == len(path.steps) - 1 else end.decisive:
            labels.append(figures.label_at(place, float(end.rank or 0), text, "right", style.colour))
    return labels


def _legend(drawn: list[PromotionPath], stars: Stars) -> tuple[LegendEntry, ...]:
    """What the lines mean: one entry a look, in the words of the study, and the sign of a stop."""
    looks: dict[Look, list[str]] = {}
    for path in drawn:
        words = [*path.roles, *([path.steps[-1].state] if path.config == stars.first else [])]
        words += ["led the first rung"] if path.config == stars.early else []
        known = looks.setdefault(figures.look_of(path, stars), [])
        known += [word for word in words or ["other configurations"] if word not in known]
    firsts = {"winner", "leader", "tied"}
    lines = [
        (style.colour, style.dash, "star" if firsts & {*words} else style.symbol, " · ".join(words))
        for style, words in sorted(looks.items(), key=lambda item: -item[0].width)
    ]
    stopped = any(step.state == "stopped" for path in drawn for step in path.steps)
    return (*lines, *([("@muted", "", "x", "stopped, with the rule")] if stopped else []))


def _rung_columns(gate: GateView, place: int) -> list[Column]:
    rung = gate.rung
    return [
        Column(rung, f"{gate.rung_title} · {formatting.seconds(gate.budget)}", get=lambda p: _cell(p, place)),
        Column(f"{rung}_rank", f"{rung} rank", "count", hidden=True, get=lambda path: path.steps[place].rank),
        Column(f"{rung}_mean", f"{rung} mean", "mean", hidden=True, get=lambda path: path.steps[place].mean),
        Column(
            f"{rung}_rules",
            f"{rung} rules",
            hidden=True,
            get=lambda path: " ".join(path.steps[place].by or path.steps[place].unmet),
        ),
    ]


def _cell(path: PromotionPath, place: int) -> Cell:
    step = path.steps[place]
    glyph, text = formatting.STATES[step.state]
    rank = f" #{step.rank}" if step.rank else ""
    rule = step.decisive or (step.by[0] if step.state == "kept" else "")
    small = [formatting.number(step.mean, 4) if step.mean is not None else "", rule]
    small += [f"against {', '.join(step.against)}"] if step.against else []
    return Cell(
        step.state,
        f"{glyph} {SHORT.get(step.state, text)}{rank}".strip(),
        gate_page(names.gate_of(step.rung)) + f"#{path.config}" if step.judged else "",
        f"state-{step.state}",
        step_text(step) if step.judged else "",
        " · ".join(filter(None, small)),
        sort=float(step.rank) if step.rank else None,
    )
