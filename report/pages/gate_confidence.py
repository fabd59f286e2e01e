"""A gate's section on how sure its decision is: noise, differences, redraws, what is left out, thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from report.confidence import SOURCE, Confidence, readable
from report.gates import GateView
from report.page import config_page, gate_page, link_config
from report.tables import Cell, Column, Table
from stages.confidence.results import Change, Comparison, Deletion, End, GateConfidence, Noise, Threshold
from stages.domain import formatting

#: Differences of so many cells stand on the page; those of more in the files alone.
MOST_CELLS = 4
#: Changes that a cell lists by name.
MOST_CHANGES = 3
DIGITS = 4
DIFFERENCE_HINT = (
    "of mean val_bpb, positive: worse; below it the 95 % interval, which speaks of these hosts and no others"
)
DETECTABLE_HINT = "the smallest true difference that shows in 80 % of repetitions"
#: An outcome that changes in such a share of the redraws is marked.
DOUBTFUL = 0.2
_NOISE = {"replication": "measured", "floor": "borrowed", "none": "not measured"}
_OUTCOMES = {
    "equivalent": ("≈ equivalent", "holds-yes"),
    "not worse": ("✓ not worse", "holds-yes"),
    "better": ("▲ better", "holds-yes"),
    "worse": ("✕ worse", "holds-no"),
    "inconclusive": ("? inconclusive", "holds-unknown"),
}


@dataclass(frozen=True)
class Section:
    """The sentences of the section. `missing` stands alone where nothing is known; `reminder` marks a what-if."""

    sentences: list[str]
    missing: str = ""
    reminder: str = ""
    try_it: str = ""


def section(gate: GateView, confidence: Confidence) -> Section:
    """What the section of a gate says above its tables."""
    known = confidence.gate(gate.name)
    if known is None:
        why = "no candidate was judged" if gate.decision else "this gate has not decided"
        return Section([], confidence.missing or f"Nothing to say: {why}.")
    reminder = "These figures are of the frozen rules, not of the what-if." if gate.what_if else ""
    asked = f"{known.gate}.{known.thresholds[0].rule}.{known.thresholds[0].field}" if known.thresholds else ""
    try_it = f"`promotion what-if {asked}=VALUE` prints whose outcome another value changes, here and at later gates."
    return Section([*_sentences(gate, known)], reminder=reminder, try_it=try_it if asked else "")


def _sentences(gate: GateView, known: GateConfidence) -> Iterator[str]:
    yield noise_text(known)
    if known.detectable is not None:
        least = formatting.number(known.detectable, DIGITS)
        cells = formatting.count(known.cells, "cell")
        yield f"With {cells} a true difference of {least} shows in 80 % of repetitions; a smaller one is easily missed."
    if known.redraws is not None:
        yield _redraws_text(known, gate.final)
    if known.hangs_on:
        yield f"The decision depends on {formatting.listed(list(known.hangs_on), 4)}: without it an outcome changes."
    elif known.deletions:
        yield "No outcome depends on one cell, one seed or one host: each was left out in turn."
    else:
        yield "With one cell there is nothing that could be left out."


def noise_text(known: GateConfidence) -> str:
    """How much one cell would move under a fresh seed, and where that was measured or borrowed from."""
    rough = " It is the noise of another budget, so take it as a rough guess." if known.noise.borrowed else ""
    return noise_sentence(known.noise, "how often this gate would decide otherwise") + rough


def noise_sentence(noise: Noise, unknown: str) -> str:
    """The noise of one cell on each host; where it was not measured, what is `unknown` for that."""
    if not noise.known:
        return f"{formatting.capital(noise.text)}: {unknown} is not known."
    text = f"Noise of one cell (standard deviation of val_bpb): {_by_host(noise.sd)}, {readable(noise.text)}."
    if noise.noisiest is None:
        return text
    without = _by_host(noise.noisiest.sd_without)
    return f"{text} Most of this noise is that of {noise.noisiest.config}; without it {without}."


def _by_host(deviations: Mapping[str, float]) -> str:
    return formatting.listed([f"{formatting.number(sd, DIGITS)} on {host}" for host, sd in sorted(deviations.items())])


def _redraws_text(known: GateConfidence, final: bool) -> str:
    redraws = known.redraws
    assert redraws is not None
    shares = [f"{formatting.percent(redraws.same_leader)} have the same leader"]
    if redraws.verdict_flips:
        shares.insert(0, f"{formatting.percent(redraws.same_verdicts)} give the same verdicts")
    if not final:
        shares.insert(0, f"{formatting.percent(redraws.same_set)} let the same set go on")
    blocked = f" {formatting.percent(redraws.blocked)} block the gate." if redraws.blocked else ""
    return f"Decided {redraws.count:,} times more with fresh seeds of this noise: {formatting.listed(shares)}.{blocked}"


def confidence_tables(gate: GateView, confidence: Confidence) -> list[Table]:
    """The tables of a decided gate: comparisons, outcomes, what changes without one cell, thresholds."""
    known = confidence.gate(gate.name)
    if known is None:
        return []
    rows = fates(known, gate.final)
    tables = [fates_table(known, rows)] if any(fate.flips or fate.hangs_on for fate in rows) else []
    tables += [comparisons_table(known), cells_table(gate, known)] if known.comparisons else []
    tables += [deletions_table(known)] if any(deletion.changes for deletion in known.deletions) else []
    return tables + ([thresholds_table(known)] if known.thresholds else [])


def comparisons_table(known: GateConfidence) -> Table:
    """Every pair that a rule compares: the mean difference with its interval, and the tests."""
    columns = [
        Column("config", "Candidate", get=lambda pair: link_config(pair.config)),
        Column("rule", "Rule", get=lambda pair: Cell(pair.rule, href=f"{gate_page(known.gate)}#{pair.rule}")),
        Column("against", "Against", get=_against),
        Column("mean", "Difference", "signed", DIFFERENCE_HINT, get=difference_cell),
        Column("lower", "Lower end", "signed", hidden=True),
        Column("upper", "Upper end", "signed", hidden=True),
        Column("outcome", "Within the margin?", hint="two one-sided t tests at 5 %", get=outcome_cell),
        Column("margin", "Margin", "number", hidden=True),
        Column("margin_from", "Margin of", hidden=True),
        Column("p_test", "p of the test", "number", hidden=True),
        Column(
            "p_permutation",
            "Sign-flip p",
            "number",
            "by signs alone, with the smallest that so many cells can reach",
            get=_p,
        ),
        Column("smallest_p", "Smallest sign-flip p", "number", hidden=True),
        Column("detectable", "Detectable difference", "number", DETECTABLE_HINT, digits=DIGITS),
        Column("noise", "Noise", get=_noise),
    ]
    many = formatting.count(known.left_out, "comparison")
    verb = "is" if known.left_out == 1 else "are"
    left = f" {many} farther from a threshold {verb} left out." if known.left_out else ""
    spec = Table(
        "comparisons",
        "Paired differences: each candidate against the one that its rule compares it with",
        SOURCE,
        note=f"Cells are paired by host and seed; each host has a mean of its own and they are never pooled.{left}",
    )
    return spec.fill(columns, known.comparisons, lambda pair: f"comparison.{pair.rule}.{pair.config}")


def cells_table(gate: GateView, known: GateConfidence) -> Table:
    """The same pairs by host and cell by cell."""
    compared = {host for pair in known.comparisons for host in pair.host_means}
    hosts = [host for host in gate.study.hosts if host in compared]
    columns = [
        Column("config", "Candidate", get=lambda pair: link_config(pair.config)),
        Column("rule", "Rule", get=lambda pair: Cell(pair.rule, href=f"{gate_page(known.gate)}#{pair.rule}")),
        Column("against", "Against", hidden=True),
        *(_host_column(host) for host in hosts),
        *(_cell_column(gate, cell) for cell in gate.cells),
    ]
    many = "; the files beside this page have every cell" if len(gate.cells) > MOST_CELLS else ""
    spec = Table(
        "cells",
        "The same differences by host, and cell by cell",
        f"{SOURCE}; ledger/runs.jsonl",
        note=f"Positive: worse than the one that it is compared with{many}.",
    )
    return spec.fill(columns, known.comparisons, lambda pair: f"cells.{pair.rule}.{pair.config}")


def _against(pair: Comparison) -> Cell:
    roles = {"cut": "across the cut", "best": "the best"}
    return Cell(pair.against, href=config_page(pair.against), small=roles.get(pair.against_as, pair.against_as))


def _noise(pair: Comparison) -> Cell:
    """Where the noise of a pair is from; a pair without a difference needs none."""
    return Cell(pair.noise, _NOISE[pair.noise] if pair.mean is not None else formatting.DASH, note=pair.note)


def difference_cell(pair: Comparison) -> Cell:
    """The mean difference of a pair, its interval below it."""
    if pair.mean is None:
        return Cell(None, formatting.DASH, note=pair.note)
    interval = "no interval: no noise was measured" if pair.noise == "none" else "no interval"
    if pair.lower is not None and pair.upper is not None:
        interval = f"{formatting.signed(pair.lower, DIGITS)} to {formatting.signed(pair.upper, DIGITS)}"
    return Cell(pair.mean, formatting.signed(pair.mean, DIGITS), small=interval, note=pair.note)


def outcome_cell(pair: Comparison) -> Cell:
    """What the test against the margin says of a pair."""
    margin = ""
    if pair.margin is not None:
        sign = "±" if pair.test == "equivalence" else ""
        margin = f"{sign}{pair.margin:g}{f' of {pair.margin_from}' if pair.margin_from else ''}"
    if pair.outcome is None:
        return Cell(None, "not tested", small=pair.note if pair.lower is None and pair.note else margin)
    text, mark = _OUTCOMES[pair.outcome]
    if pair.p_test is not None:
        p = pair.p_test
        margin += ", p " + ("< 0.001" if p < 0.001 else "> 0.999" if p > 0.999 else formatting.number(p, 3))
    return Cell(pair.outcome, text, mark=mark, small=margin)


def _p(pair: Comparison) -> Cell:
    if pair.p_permutation is None:
        return Cell()
    least = f"smallest {formatting.number(pair.smallest_p, 3)}"
    return Cell(pair.p_permutation, formatting.number(pair.p_permutation, 3), small=least)


def _host_column(host: str) -> Column:
    key, group = f"host_{host}", "Mean of each host"
    return Column(key, host, "signed", get=lambda pair: pair.host_means.get(host), group=group, digits=DIGITS)


def _cell_column(gate: GateView, cell: tuple[str, int]) -> Column:
    host, seed = cell
    wide, get = len(gate.cells) > MOST_CELLS, partial(_cell, gate, cell)
    group = "Cell by cell: host and seed"
    return Column(f"cell_{host}_{seed}", f"{host} {seed}", "signed", group=group, hidden=wide, get=get, digits=DIGITS)


def _cell(gate: GateView, cell: tuple[str, int], pair: Comparison) -> float | None:
    """The difference in one cell; None where the rule does not look at its host, or a run did not finish."""
    runs = [gate.run(config, cell) for config in (pair.config, pair.against)]
    scores = [run.record.val_bpb if run else None for run in runs]
    if cell[0] not in pair.hosts or scores[0] is None or scores[1] is None:
        return None
    return float(scores[0] - scores[1])


@dataclass(frozen=True)
class Fate:
    """A candidate or a verdict: how often a redraw decides otherwise, and what its outcome depends on."""

    name: str
    flips: float | None
    hangs_on: tuple[str, ...]
    verdict: bool


def fates(known: GateConfidence, final: bool) -> list[Fate]:
    """All of a gate, those that flip most often first. At the last gate a candidate's outcome is the first place."""
    redraws = known.redraws
    changed = {key for deletion in known.deletions for key in _changed(deletion, final)}
    flips = {("verdict", name): share for name, share in (redraws.verdict_flips if redraws else {}).items()}
    flips |= {("candidate", name): share for name, share in (redraws.flips if redraws else {}).items()}
    keys = {*flips, *(key for key in changed if key[0] in ("candidate", "verdict"))}
    rows = [
        Fate(name, flips.get((what, name)), _hangs(known.deletions, (what, name), final), what == "verdict")
        for what, name in keys
    ]
    return sorted(rows, key=lambda fate: (not fate.verdict, -(fate.flips or 0), fate.name))


def _hangs(deletions: Iterable[Deletion], key: tuple[str, str], final: bool) -> tuple[str, ...]:
    return tuple(f"{deletion.kind} {deletion.left_out}" for deletion in deletions if key in _changed(deletion, final))


def _changed(deletion: Deletion, final: bool) -> set[tuple[str, str]]:
    """What a deletion changes, as (kind, name); another first place at the last gate is a change of both candidates."""
    changed: set[tuple[str, str]] = {(change.what, change.name) for change in deletion.changes}
    if final:
        leaders = [(change.was, change.now) for change in deletion.changes if change.what == "leader"]
        changed |= {("candidate", name) for pair in leaders for name in pair if name != "nobody"}
    return changed


def fates_table(known: GateConfidence, rows: Sequence[Fate]) -> Table:
    """How often each outcome flips, and what it depends on."""
    hang = any(fate.hangs_on for fate in rows)

    def linked(fate: Fate) -> Cell:
        return Cell(fate.name, href=f"{gate_page(known.gate)}#{fate.name}" if fate.verdict else config_page(fate.name))

    columns = [
        Column("name", "Candidate or verdict", get=linked),
        Column("flips", "Otherwise in", "number", "share of redraws in which its outcome is another one", get=_flips),
        Column("hangs_on", "Depends on", hidden=not hang, get=lambda fate: hanging_cell(fate.hangs_on, 4)),
    ]
    spec = Table("fates", "How often would the outcome be another one?", SOURCE)
    return spec.fill(columns, rows, lambda fate: f"fate.{fate.name}")


def _flips(fate: Fate) -> Cell:
    if fate.flips is None:
        return Cell(None, "no noise measured")
    text = formatting.percent(fate.flips) if fate.flips else "never"
    return Cell(fate.flips, text, mark="bad" if fate.flips >= DOUBTFUL else "")


def hanging_cell(hangs_on: Sequence[str], most: int) -> Cell:
    """What a decision or an outcome depends on, so many by name."""
    text = formatting.listed(list(hangs_on), most) if hangs_on else ""
    return Cell(text or None, text or "nothing", mark="bad" if text else "")


def deletions_table(known: GateConfidence) -> Table:
    """What the frozen rules would have said without one cell, seed or host; those that change something."""
    changing = [deletion for deletion in known.deletions if deletion.changes]
    quiet = len(known.deletions) - len(changing)
    columns = [
        Column("left_out", "Left out", get=lambda deletion: f"{deletion.kind} {deletion.left_out}"),
        Column("changes", "What changes", get=lambda deletion: _changes(deletion.changes)),
    ]
    spec = Table(
        "without",
        "Without one cell, one seed, one host",
        SOURCE,
        tools=False,
        note=f"{formatting.count(quiet, 'other')} left out in turn: nothing changes." if quiet else "",
    )
    return spec.fill(columns, changing, lambda deletion: f"without.{deletion.kind}.{deletion.left_out}")


def thresholds_table(known: GateConfidence) -> Table:
    """Every number of every rule with the interval in which no outcome changes."""
    columns = [
        Column("rule", "Rule", get=lambda row: Cell(row.rule, href=f"{gate_page(known.gate)}#{row.rule}")),
        Column("field", "Number", get=lambda row: Cell(row.field, small=row.kind)),
        Column("value", "Frozen at", "number"),
        Column("range", "Nothing changes", page_only=True, get=_range),
        Column("lower", "From", "number", hidden=True, get=lambda row: row.lower.value if row.lower else None),
        Column("upper", "To", "number", hidden=True, get=lambda row: row.upper.value if row.upper else None),
        Column("below", "Below that", get=lambda row: _beyond(row.lower)),
        Column("above", "Above that", get=lambda row: _beyond(row.upper)),
    ]
    spec = Table(
        "thresholds",
        "How far each number could move",
        SOURCE,
        tools=False,
        note="Each number moves alone, all other rules as they are.",
    )
    return spec.fill(columns, known.thresholds, lambda row: f"threshold.{row.rule}.{row.field}")


def _range(row: Threshold) -> Cell:
    lower, upper = row.lower, row.upper
    if lower is None and upper is None:
        return Cell(None, "whatever it is")
    if lower is not None and upper is not None and lower.value == upper.value:
        return Cell(None, f"at {formatting.plain(lower.value)} alone")
    parts = [_bound(lower, "from", "above"), _bound(upper, "up to", "below")]
    return Cell(None, " ".join(filter(None, parts)))


def _bound(end: End | None, inclusive: str, exclusive: str) -> str:
    return f"{inclusive if end.inclusive else exclusive} {formatting.plain(end.value)}" if end else ""


def _beyond(end: End | None) -> Cell:
    return _changes(end.changes) if end else Cell(None, "nothing changes", mark="muted")


def _changes(changes: Sequence[Change]) -> Cell:
    """What changes, the first few by name; the files have them all."""
    words = [_word(change) for change in changes]
    return Cell("; ".join(words) or None, formatting.listed(words, MOST_CHANGES) if words else "nothing")


def _word(change: Change) -> str:
    if change.what == "outcome":
        return f"the gate is {change.now}"
    if change.what == "leader":
        return f"{change.now} leads instead of {change.was}"
    return f"{change.name} {change.now}" if change.now != "stopped" else f"{change.name} is stopped"
