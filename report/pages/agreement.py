"""Agreement of the host blocks: host against host, ranks, tau-b with its interval, inversions, decisions alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from report import figures
from report.figures import Figure, FigureSpec, LegendEntry, Stars
from report.host_agreement import SOURCE, HostPair, RungHosts
from report.page import Page, link_config
from report.promotion_paths import PromotionPath
from report.tables import Cell, Column, Table
from report.views import StudyView
from stages.domain import formatting

#: A candidate with its means on two host blocks.
Point = tuple[PromotionPath, float, float]
Paths = dict[str, PromotionPath]

HEIGHT = 360
#: Pixels of a plain mark, of the first named one, and how much smaller each named one is than the one before, which
#: therefore looks out from under it where two lie on each other.
PLAIN_SIZE, NAMED_SIZE, SMALLER = 8, 15, 3
#: With fewer candidates the summary gives no interval: `stages.summary.pairs.FEWEST`, which would import scipy here.
FEWEST = 5
#: Pairs of candidates that a sentence names; the table has them all.
MOST_NAMED = 3


@dataclass(frozen=True)
class RungSection:
    """One rung on the page: how its host blocks order the candidates in words, tables and figures."""

    rung: str
    sentences: list[str]
    alone: str
    alone_page: str
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)


def pages(view: StudyView) -> Iterator[Page]:
    """The one page, a section a rung."""
    sections = [_section(view, hosts) for hosts in view.hosts.values()]
    context: dict[str, object] = {
        "sections": sections,
        "figures": [figure for section in sections for figure in section.figures],
        "level": view.files.agreement.level,
        "one_host": len(view.study.hosts) == 1,
        "plainly": view.machines.sentence,
    }
    tables = [pairs_table(view), *(table for section in sections for table in section.tables)]
    yield Page("agreement.html", "agreement.html", "Agreement of the host blocks", context, tables)


def _section(view: StudyView, hosts: RungHosts) -> RungSection:
    tables = [means_table(hosts)]
    if any(pair.inversions for pair in hosts.pairs):
        tables.append(inversions_table(hosts))
    drawn = [scatter_figure(hosts, pair, view.paths, view.stars) for pair in hosts.pairs]
    if len(hosts.hosts) > 1 and len(hosts.summary.means) > 1:
        drawn.append(slope_figure(hosts, view.paths, view.stars))
    sentences = [_pair_text(pair) for pair in hosts.pairs]
    return RungSection(hosts.gate.rung, sentences, _alone_text(hosts.same_alone), hosts.alone_page, tables, drawn)


def _pair_text(pair: HostPair) -> str:
    """How two host blocks order the candidates, in one sentence."""
    inverted = pair.summary.discordant
    if not inverted:
        return f"{pair.first} and {pair.second} order all candidates alike."
    few, _ = formatting.first_few(pair.inversions, MOST_NAMED)
    named, more = "; ".join(f"{a} and {b}" for a, b in few), inverted - len(few)
    which = f": {named}" + (f"; and {formatting.plain(more)} more" if more > 0 else "")
    pairs = formatting.count(inverted, "pair")
    return f"{pair.first} and {pair.second} order {pairs} of candidates differently{which}."


def _alone_text(same: dict[str, bool] | None) -> str:
    """What each host block alone would have decided, in one sentence; empty where there is nothing to say."""
    if same is None or len(same) < 2:
        return ""
    differ = [host for host, alike in same.items() if not alike]
    if not differ:
        return f"{'Both' if len(same) == 2 else f'All {len(same)}'} alone would have decided the same."
    return f"{formatting.listed(differ)} alone would have decided otherwise."


def scatter_figure(hosts: RungHosts, pair: HostPair, paths: Paths, stars: Stars) -> Figure:
    """Mean val_bpb of every candidate on two host blocks."""
    points = _points(hosts, pair, paths)
    drawn = _named_last(points, stars)
    looks = [figures.look_of(path, stars) for (path, _, _), _ in drawn]
    values = [value for _, x, y in points for value in (x, y)] or [0.0, 1.0]
    ends = [min(values), max(values)]
    diagonal = {"color": "@c0", "width": 1, "dash": "dot"}
    tau = "not defined" if pair.summary.tau_b is None else formatting.number(pair.summary.tau_b, 2)
    return Figure(
        f"figure.scatter.{hosts.gate.rung}.{pair.first}.{pair.second}",
        f"{hosts.gate.rung_title}: {pair.second} against {pair.first}",
        "Each mark is a candidate's mean val_bpb on the two host blocks; on the diagonal they are equal. "
        "Sizes differ so that no named mark hides another. "
        f"τ-b {tau} over {formatting.count(len(points), 'candidate')}.",
        f"means-{hosts.gate.rung}",
        [
            figures.scatter("lines", ends, ends, "", line=diagonal),
            figures.scatter(
                "markers",
                [x for (_, x, _), _ in drawn],
                [y for (_, _, y), _ in drawn],
                "%{text}<br>%{x:.6f} · %{y:.6f}",
                text=[formatting.html_text(path.config) for (path, _, _), _ in drawn],
                marker={
                    "color": [look.colour for look in looks],
                    "symbol": [look.symbol for look in looks],
                    "size": [size for _, size in drawn],
                    "line": {"width": 1, "color": "@bg"},
                    "opacity": 1,
                },
            ),
        ],
        {
            "xaxis": {"title": {"text": f"mean val_bpb on {pair.first}"}, "nticks": 6},
            "yaxis": {"title": {"text": f"mean val_bpb on {pair.second}"}, "nticks": 6},
            "margin": {"l": 66, "r": 16, "t": 16, "b": 58},
        },
        {"margin": {"l": 56, "r": 12, "t": 12, "b": 56}},
        HEIGHT,
        legend=_legend(points, stars),
    )


def _points(hosts: RungHosts, pair: HostPair, paths: Paths) -> list[Point]:
    means = {name: (row[pair.first], row[pair.second]) for name, row in hosts.summary.means.items()}
    return [(paths[name], x, y) for name, (x, y) in means.items() if x is not None and y is not None]


def _named_last(points: list[Point], stars: Stars) -> list[tuple[Point, int]]:
    """The points in the order in which they are drawn, each with the size of its mark."""
    named = [point for point in points if figures.is_named(point[0], stars)]
    plain = [(point, PLAIN_SIZE) for point in points if point not in named]
    return plain + [(point, max(PLAIN_SIZE - 1, NAMED_SIZE - SMALLER * n)) for n, point in enumerate(named)]


def _legend(points: list[Point], stars: Stars) -> tuple[LegendEntry, ...]:
    """Whose the named marks are. Names inside the figure would lie on other marks; the slopes name the others."""
    entries = []
    for path, _, _ in points:
        if figures.is_named(path, stars):
            words = [path.config, *path.roles, *(["led the first rung"] if path.config == stars.early else [])]
            style = figures.look_of(path, stars)
            entries.append((style.colour, "", style.symbol, " · ".join(words)))
    if len(entries) < len(points):
        entries.append((figures.PLAIN[0], "", figures.PLAIN[2], "other candidates"))
    return tuple(entries)


def slope_figure(hosts: RungHosts, paths: Paths, stars: Stars) -> Figure:
    """Ranks on each host block; the best of a large rung, and those with a name."""
    ranks = _full_ranks(hosts)
    drawn = figures.choose_paths([paths[name] for name in ranks], stars)
    lowest = max((max(ranks[path.config]) for path in drawn), default=1)
    inverted = formatting.count(hosts.discordant, "pair")
    verb = "changes" if hosts.discordant == 1 else "change"
    room = figures.label_room(path.config for path in drawn)
    return Figure(
        f"figure.slopes.{hosts.gate.rung}",
        f"{hosts.gate.rung_title}: ranks on each host block",
        f"A line that slopes changes rank; {inverted} of candidates {verb} order."
        + figures.left_out(len(drawn), len(ranks), lowest),
        f"means-{hosts.gate.rung}",
        [_slope(path, ranks[path.config], stars) for path in drawn],
        {
            "xaxis": {
                "tickvals": list(range(len(hosts.hosts))),
                "ticktext": hosts.hosts,
                "range": [-0.06, len(hosts.hosts) - 0.94],
                "side": "top",
                "tickangle": 0,
            },
            "yaxis": {**figures.rank_axis(lowest), "title": {"text": "rank"}},
            "annotations": figures.scale_labels(_slope_labels(drawn, ranks, stars), lowest),
            "margin": {"l": 52, "r": room, "t": 36, "b": 16},
        },
        {"yaxis.title.text": "", "margin": {"l": 32, "r": room, "t": 36, "b": 12}},
        HEIGHT,
    )


def _full_ranks(hosts: RungHosts) -> dict[str, list[int]]:
    """The ranks of the candidates that every host block ranks, by their best rank."""
    ranks = {name: [rank for rank in hosts.ranks(name) if rank is not None] for name in hosts.summary.ranks}
    full = {name: row for name, row in ranks.items() if len(row) == len(hosts.hosts)}
    return dict(sorted(full.items(), key=lambda item: (min(item[1]), item[0])))


def _slope_labels(drawn: list[PromotionPath], ranks: dict[str, list[int]], stars: Stars) -> list[FigureSpec]:
    short, labels = figures.short_labels(path.config for path in drawn), []
    for path in drawn:
        if len(drawn) <= figures.MOST_NAMES or figures.is_named(path, stars):
            row, colour = ranks[path.config], figures.look_of(path, stars).colour
            labels.append(figures.label_at(len(row) - 1, row[-1], short[path.config], "right", colour))
    return labels


def _slope(path: PromotionPath, ranks: list[int], stars: Stars) -> FigureSpec:
    look, texts = figures.look_of(path, stars), [formatting.html_text(path.config)] * len(ranks)
    hover = "%{text}: rank %{y}"
    return figures.rank_line(look, list(range(len(ranks))), ranks, texts, hover, symbol=look.symbol, size=8)


def alone_cell(hosts: RungHosts) -> Cell:
    """How many host blocks alone would have decided the same, with a link to the gate that tells more."""
    alone = hosts.same_alone
    many = None if alone is None else sum(alone.values())
    return Cell(many, formatting.DASH if alone is None else f"{many} of {len(alone)}", hosts.alone_page)


def pairs_table(view: StudyView) -> Table:
    """One line a pair of host blocks and rung: tau-b, its interval, leaders, decisions alone."""
    blocks = list(view.study.hosts)
    one_pair = len(blocks) == 2
    first, second = blocks if one_pair else ("the first", "the second")
    level = f"{formatting.plain(view.files.agreement.level * 100)} % interval"
    alone = "host blocks that alone would have decided the same"
    inverted = "pairs of candidates that the two blocks order differently"
    tau = "1: the same order; 0: unrelated; −1: reversed"
    overlap = "of those that any block alone would have promoted, the share that all would have"

    def interval(pair: HostPair) -> Cell:
        ends = pair.summary.interval
        return Cell(None, " to ".join(formatting.number(end, 2) for end in ends) if ends else formatting.DASH)

    def end(place: int) -> Callable[[HostPair], float | None]:
        return lambda pair: pair.summary.interval[place] if pair.summary.interval else None

    def leader(pair: HostPair, host: str) -> Cell:
        return link_config(pair.hosts.summary.leaders.get(host))

    columns = [
        Column("rung", "Rung", get=lambda pair: rung_cell(pair.hosts)),
        Column("hosts", "Host blocks", hidden=one_pair, get=lambda p: Cell(f"{p.first}, {p.second}", mark="name")),
        Column("alone", "Same decision alone", "number", alone, get=lambda pair: alone_cell(pair.hosts)),
        Column("tau_b", "Kendall's τ-b", "number", tau, lambda pair: pair.summary.tau_b, digits=3),
        Column("interval", level, "number", f"none with fewer than {FEWEST} candidates", interval, page_only=True),
        Column("interval_low", f"{level}, low", "number", hidden=True, get=end(0)),
        Column("interval_high", f"{level}, high", "number", hidden=True, get=end(1)),
        Column("inversions", "Inversions", "count", inverted, get=lambda pair: pair.summary.discordant),
        Column("leader_first", f"Leader on {first}", get=lambda pair: leader(pair, pair.first)),
        Column("leader_second", f"Leader on {second}", get=lambda pair: leader(pair, pair.second)),
        Column("candidates", "Candidates", "count", get=lambda pair: pair.summary.candidates),
        Column("jaccard", "Overlap", "number", overlap, lambda p: p.hosts.summary.overlap.jaccard, digits=2),
    ]
    title = f"Agreement of {' and '.join(blocks) if one_pair else 'the host blocks'}, rung by rung"
    return Table("pairs", title, SOURCE, tools=False, empty="No rung has evidence yet.").fill(
        columns,
        [pair for hosts in view.hosts.values() for pair in hosts.pairs],
        lambda pair: f"tau.{pair.hosts.gate.rung}.{pair.first}.{pair.second}",
    )


def rung_cell(hosts: RungHosts) -> Cell:
    """A rung with a link to its section on the page of agreement."""
    return Cell(hosts.gate.rung, hosts.gate.rung_title, f"agreement.html#{hosts.gate.rung}")


def means_table(hosts: RungHosts) -> Table:
    """Mean val_bpb and rank of every candidate on every host block."""

    def ranks_apart(name: str) -> int | None:
        ranks = hosts.ranks(name)
        known = [rank for rank in ranks if rank is not None]
        return max(known) - min(known) if len(known) == len(ranks) else None

    columns = [Column("config", "Candidate", get=link_config)]
    for host in hosts.hosts:
        columns += _host_columns(hosts, host)
    columns.append(Column("moves", "Ranks apart", "count", get=ranks_apart))
    return Table(
        f"means-{hosts.gate.rung}", f"Mean val_bpb and rank on each host block, {hosts.gate.rung_title.lower()}", SOURCE
    ).fill(
        columns,
        sorted(hosts.summary.means, key=lambda name: tuple(rank or 10**9 for rank in hosts.ranks(name))),
        lambda name: f"{hosts.gate.rung}.{name}",
    )


def _host_columns(hosts: RungHosts, host: str) -> list[Column]:
    ranks, means = hosts.summary.ranks, hosts.summary.means
    return [
        Column(f"{host}_rank", "Rank", "count", group=host, get=lambda name: ranks[name][host]),
        Column(f"{host}_mean", "Mean", "mean", group=host, get=lambda name: means[name][host]),
    ]


def inversions_table(hosts: RungHosts) -> Table:
    """The pairs of candidates that two host blocks order differently, those with the widest gaps first."""
    rung, rows = hosts.gate.rung, [(pair, *names) for pair in hosts.pairs for names in pair.inversions]
    columns = [
        Column("first", "First block", get=lambda row: Cell(row[0].first, mark="name")),
        Column("better_first", "Better there", get=lambda row: link_config(row[1])),
        Column("second", "Second block", get=lambda row: Cell(row[0].second, mark="name")),
        Column("better_second", "Better there", get=lambda row: link_config(row[2])),
    ]
    return Table(
        f"inversions-{rung}",
        f"Inversions, {hosts.gate.rung_title.lower()}",
        SOURCE,
        note=f"The {len(rows)} with the widest gaps of {formatting.plain(hosts.discordant)}."
        if len(rows) < hosts.discordant
        else "",
    ).fill(columns, rows, lambda row: f"inversion.{rung}.{row[0].first}.{row[0].second}.{row[1]}.{row[2]}")
