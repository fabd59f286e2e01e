"""How sure?: what the decisions of the whole study are worth, gate by gate, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator

from report.confidence import PAGE, SECTION, SOURCE, readable
from report.page import Page, link_config, link_gate
from report.pages.gate_confidence import DETECTABLE_HINT, DIGITS, hanging_cell, noise_text
from report.tables import Cell, Column, Table
from report.views import StudyView
from stages.confidence.results import GateConfidence, StudyConfidence, Winner
from stages.domain import formatting

#: What each grade and each answer stands for, as docs/confidence.md has it.
GRADES = {
    "sure": "the same configuration comes first in at least 95 % of the redraws, and no outcome depends on "
    "one cell, seed or host",
    "likely": "the same configuration comes first in at least 80 % of the redraws",
    "unsure": "the same configuration comes first in fewer than 80 % of the redraws",
    "unknown": "no configuration leads yet, or a gate cut by scores whose noise was not measured",
}
RULES = {
    "N1": ("the last gate has not decided, is blocked, or ranks no candidate", "wait"),
    "N2": ("no noise was measured at the last rung", "add two seeds there"),
    "N3": ("another candidate is equivalent to the leader", "a tie: take the cheaper"),
    "N4": (
        "the 95 % interval of another candidate's difference to the leader includes zero",
        "add two seeds at the last rung",
    ),
    "N5": (
        "the same configuration comes first in fewer than 95 % of the redraws",
        "add two seeds at the rung of the gate that decides the same least often",
    ),
    "N6": ("a gate cut by scores whose noise was not measured", "add two seeds or A/A runs at that rung"),
    "N7": ("an outcome depends on one cell, seed or host", "add two seeds at that rung"),
    "N8": ("the leader is not the reference", "make the comparator (or the leader) the reference of the next study"),
    "N9": ("none of these", "nothing"),
}


def pages(view: StudyView) -> Iterator[Page]:
    """The one page."""
    result = view.confidence.result
    tables = _tables(result) if result else []
    context: dict[str, object] = {"missing": view.confidence.missing, "result": result}
    if result:
        context |= {
            "grade": f"{formatting.capital(result.how_sure.grade)}: {GRADES[result.how_sure.grade]}.",
            "text": readable(result.how_sure.text),
            "next": readable(result.what_next.text),
            "noise": [(gate, noise_text(known)) for gate, known in result.gates.items()],
        }
    yield Page(PAGE, "confidence.html", "How sure", context, tables)


def _tables(result: StudyConfidence) -> list[Table]:
    tables = [gates_table(result), rules_table(result)]
    return [*tables, winner_table(result.winner)] if result.winner else tables


def gates_table(result: StudyConfidence) -> Table:
    """One line a gate: how often it would decide the same, with what noise, and what it depends on."""
    kept = "share of redraws: the same set and the same verdicts"
    columns = [
        Column("gate", "Gate", get=lambda gate: link_gate(gate.gate, SECTION)),
        Column("kept", "Decides the same", "number", kept, get=lambda gate: _share(gate.redraws and gate.kept)),
        Column("doubtful", "Least certain outcome", get=_doubtful),
        Column("leader", "Same leader", "number", get=lambda gate: _share(gate.redraws and gate.redraws.same_leader)),
        Column("noise", "Noise", get=_noise),
        Column("detectable", "Detectable difference", "number", DETECTABLE_HINT, digits=DIGITS),
        Column("hangs_on", "Depends on", get=lambda gate: hanging_cell(gate.hangs_on, 3)),
    ]
    spec = Table(
        "gates", "How often would each gate decide the same?", SOURCE, tools=False, empty="No gate has decided yet."
    )
    return spec.fill(columns, result.gates.values(), lambda gate: f"sure.{gate.gate}")


def _share(value: float | None) -> Cell:
    return Cell(None, "not known") if value is None else Cell(value, formatting.percent(value))


def _doubtful(gate: GateConfidence) -> Cell:
    """The candidate or verdict whose outcome changes most often."""
    shares = {**gate.redraws.flips, **gate.redraws.verdict_flips} if gate.redraws else {}
    name = max(shares, key=lambda key: (shares[key], key), default=None)
    if name is None or not shares[name]:
        return Cell(None, "not known" if gate.redraws is None else "none")
    return Cell(name, small=f"otherwise in {formatting.percent(shares[name])}")


def _noise(gate: GateConfidence) -> Cell:
    noise = gate.noise
    if not noise.known:
        return Cell("none", "not measured", mark="bad")
    word = "borrowed from" if noise.borrowed else "measured at"
    most = formatting.number(max(noise.sd.values()), DIGITS)
    return Cell(noise.source, f"{word} {readable(str(noise.rung))}", small=f"up to {most}")


def winner_table(winner: Winner) -> Table:
    """Which wins the redraws of the whole ladder."""
    rows: list[tuple[str | None, str, float]] = [(winner.config, "it comes first again", winner.same)]
    rows += [(config, "comes first instead", share) for config, share in winner.others.items()]
    ahead, behind = winner.unless, winner.unknown - winner.unless
    rows += [(None, "one that was not trained further goes on; it beats all that were", ahead)] if ahead else []
    open_end = "one that was not trained further goes on; which comes first is not known"
    rows += [(None, open_end, behind)] if behind > 0 else []
    rows += [(None, "a gate blocks", winner.blocked)] if winner.blocked else []
    columns = [
        Column("what", "What happens", get=lambda row: row[1]),
        Column("config", "Configuration", get=lambda row: link_config(row[0])),
        Column("share", "Share of redraws", "number", get=lambda row: _share(row[2])),
    ]
    gates = formatting.capital(readable(formatting.listed(list(winner.fixed))))
    fixed = f" {gates}: as decided, without noise." if winner.fixed else ""
    spec = Table(
        "winner",
        "Which configuration comes first when every gate is decided again?",
        SOURCE,
        note=f"Where a redraw lets one go on that was never trained further, the result is not known.{fixed}",
        tools=False,
    )
    return spec.fill(columns, rows, lambda row: f"wins.{row[0] or row[1].replace(' ', '-')}")


def rules_table(result: StudyConfidence) -> Table:
    """The answers to What next? in their order, with the one that applies."""
    applies = result.what_next.rule
    columns = [
        Column(
            "rule",
            "Rule",
            get=lambda row: Cell(row[0], f"◆ {row[0]}", small="applies") if row[0] == applies else row[0],
        ),
        Column("when", "When", get=lambda row: row[1]),
        Column("what", "What", get=lambda row: row[2]),
        Column("applies", "Applies", hidden=True, get=lambda row: row[0] == applies),
    ]
    spec = Table("next", "The first rule that applies is the answer", "docs/confidence.md", tools=False)
    return spec.fill(columns, [(rule, *both) for rule, both in RULES.items()], lambda row: f"next.{row[0]}")
