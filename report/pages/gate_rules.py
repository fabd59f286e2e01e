"""The tables of rules on a gate's page: the rules, rules by candidates, and every finding with its margin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

from report.gates import GateView
from report.load import LedgerDecision
from report.page import gate_page, link_config
from report.tables import Cell, Column, Table, holds
from stages.domain import formatting
from stages.domain import rules as r
from stages.domain.decision import RecordedFinding, RuleOutcome
from stages.domain.judge import EVERYONE

#: What the observed value of a kind counts; the others are val_bpb.
COUNTS = frozenset(
    {
        "complete_cells",
        "fixed_runner",
        "fixed_data",
        "fresh_seeds",
        "fixed_environment",
        "diverged",
        "failed",
        "first_in_all_cells",
    }
)
EFFECTS = {
    "require": "must hold, or the gate is blocked",
    "promote": "promotes those that it holds for",
    "stop": "stops those that it holds for",
    "verdict": "a final statement",
}
#: The same over the columns of the matrix.
GROUPS = {"require": "must hold", "promote": "promote if met", "stop": "stop if met", "verdict": "verdicts"}
#: Names the whole gate where a rule speaks of no candidate; no configuration can be called so.
WHOLE = "Gate"


#: A rule with one of its findings.
Judged = tuple[RuleOutcome, RecordedFinding]


def rules_table(entry: LedgerDecision) -> Table:
    """The rules in their order: sentence, effect, how often each holds, and its closest call."""
    counts = {rule.id: Counter(finding.holds for finding in rule.results) for rule in entry.decision.rules}

    def unknown(rule: RuleOutcome) -> Cell:
        return Cell(counts[rule.id][None], mark="bad" if counts[rule.id][None] else "")

    columns = [
        Column("rule", "Rule", get=lambda rule: _rule_cell(entry, rule)),
        Column("text", "Says", get=lambda rule: formatting.typeset(rule.text)),
        Column("effect", "Effect", get=lambda rule: _effect_cell(rule.effect)),
        Column("kind", "Kind", hidden=True),
        Column("holds", "Holds", "count", get=lambda rule: counts[rule.id][True]),
        Column("fails", "Does not", "count", get=lambda rule: counts[rule.id][False]),
        Column("unknown", "Not evaluable", "count", get=unknown),
        Column("closest", "Closest call", "number", "the smallest margin of any candidate, either way", get=_closest),
    ]
    return Table("rules-summary", "The rules, in order", entry.source, tools=False).fill(
        columns, entry.decision.rules, lambda rule: rule.id
    )


def planned_table(gate: GateView) -> Table:
    """The rules of a gate that has judged no candidate."""
    columns = [
        Column("rule", "Rule", get=lambda item: item[0]),
        Column("text", "Says", get=lambda item: formatting.typeset(r.say(item[1]))),
        Column("effect", "Effect", get=lambda item: _effect_cell(r.EFFECTS[item[1].kind])),
    ]
    return Table(
        "rules-summary",
        "The rules, in order",
        f"locks/{gate.name}.yaml" if gate.lock else f"params.yaml, gates.{gate.name}: not frozen",
        tools=False,
    ).fill(columns, r.in_order(dict(gate.frozen_rules)), lambda item: item[0])


def _effect_cell(effect: str) -> Cell:
    return Cell(effect, EFFECTS[effect])


def _rule_cell(entry: LedgerDecision, rule: RuleOutcome) -> Cell:
    return Cell(rule.id, href=f"{gate_page(entry.decision.gate)}#{rule.id}")


def _number(kind: str, value: float | None, signed: bool = False) -> Cell:
    """A number of a finding in the unit of its rule: a count, a tau, or val_bpb."""
    if value is None:
        return Cell()
    if kind not in COUNTS:
        return Cell(value, formatting.signed(value) if signed else formatting.bpb(value))
    return Cell(value, f"{value:+g}".replace("-", formatting.MINUS) if signed and value else formatting.plain(value))


def _closest(rule: RuleOutcome) -> Cell:
    """The smallest margin of a rule that is no mere count, with the candidate it belongs to."""
    margins = [(abs(f.margin), _subject(f.candidate)) for f in rule.results if f.margin is not None]
    if rule.kind in COUNTS or not margins:
        return Cell()
    margin, who = min(margins)
    return Cell(margin, f"{_number(rule.kind, margin).text} ({who})")


def _subject(candidate: str) -> str:
    return "whole gate" if candidate == EVERYONE else candidate


def _anchor(candidate: str) -> str:
    return WHOLE if candidate == EVERYONE else candidate


def verdict_tables(entry: LedgerDecision) -> list[Table]:
    """What the final rules say, each with its margin; no table where a gate has no such rule."""
    verdicts = [
        (rule, finding) for rule in entry.decision.rules if rule.effect == "verdict" for finding in rule.results
    ]
    columns = [
        Column("rule", "Rule", get=lambda item: _rule_cell(entry, item[0])),
        Column("holds", "Outcome", "holds", get=lambda item: holds(item[1].holds, "verdict")),
        Column("text", "Says", get=lambda item: formatting.typeset(item[0].text)),
        Column("candidate", "Of", get=lambda item: link_config(item[1].candidate)),
        *_number_columns("observed", "threshold", "margin"),
        Column("note", "Note", get=lambda item: formatting.typeset(item[1].note)),
    ]
    table = Table("verdicts", "The final verdicts", entry.source, tools=False).fill(
        columns, verdicts, lambda item: f"verdict.{item[0].id}"
    )
    return [table] if verdicts else []


def _number_columns(*keys: str) -> Iterator[Column]:
    """Columns of a finding's numbers; the margin has its sign."""

    def number(key: str, item: Judged) -> Cell:
        return _number(item[0].kind, getattr(item[1], key), signed=key == "margin")

    for key in keys:
        yield Column(key, key.capitalize(), "number", get=partial(number, key))


def findings_table(entry: LedgerDecision) -> Table:
    """Every finding on a line of its own."""
    columns = [
        Column("rule", "Rule", get=lambda item: _rule_cell(entry, item[0])),
        Column("candidate", "Candidate", get=lambda item: Cell(item[1].candidate, _subject(item[1].candidate))),
        Column("holds", "Outcome", "holds", get=lambda item: holds(item[1].holds, item[0].effect)),
        *_number_columns("margin", "observed", "threshold"),
        Column("note", "Note", get=lambda item: item[1].note),
    ]
    seen: Counter[str] = Counter()

    def anchor(item: Judged) -> str:
        name = f"{item[0].id}.{_anchor(item[1].candidate)}"
        seen[name] += 1
        return name if seen[name] == 1 else f"{name}.{seen[name]}"

    return Table(
        "findings", "Every finding: rule, candidate, observed value, threshold, signed margin", entry.source
    ).fill(columns, [(rule, finding) for rule in entry.decision.rules for finding in rule.results], anchor)


def matrix_table(entry: LedgerDecision) -> Table:
    """Candidates by rules: whether each holds, and by what margin."""
    decision = entry.decision
    ranking = [row.config for row in decision.ranking]
    candidates = ranking + [config for config in decision.candidates if config not in ranking]
    judged = {finding.candidate for rule in decision.rules for finding in rule.results}
    others = sorted(judged - set(candidates) - {EVERYONE})  # a role that a verdict names and was stopped before

    def named(config: str) -> Cell:
        return Cell("whole gate") if config == EVERYONE else link_config(config)

    columns = [Column("config", "Candidate", get=named)]
    for rule in decision.rules:
        columns += _matrix_columns(decision.gate, rule)
    return Table(
        "matrix",
        "Every rule against every candidate: holds or not, and its signed margin",
        entry.source,
        note="A positive margin is the distance by which a rule holds. – : the rule does not speak of this candidate.",
    ).fill(
        columns,
        [*candidates, *others, *([EVERYONE] if EVERYONE in judged else [])],
        lambda config: f"matrix.{_anchor(config)}",
    )


def _matrix_columns(gate: str, rule: RuleOutcome) -> list[Column]:
    findings = {finding.candidate: finding for finding in rule.results}

    def mark(config: str) -> Cell | None:
        return _mark(gate, rule, findings[config]) if config in findings else None

    def margin(config: str) -> float | None:
        return findings[config].margin if config in findings else None

    return [
        Column(rule.id, rule.id, "holds", group=GROUPS[rule.effect], get=mark),
        Column(f"{rule.id}_margin", f"{rule.id} margin", "number", hidden=True, get=margin),
    ]


def _mark(gate: str, rule: RuleOutcome, finding: RecordedFinding) -> Cell:
    """A cell of the matrix. A stop rule that does not hold is no failure: the candidate is clear of it."""
    answer, margin = finding.holds, finding.margin
    clear = rule.effect == "stop" and answer is False
    small = _number(rule.kind, margin, signed=True).text or ""
    if rule.kind in COUNTS and (not margin or clear):
        small = ""  # no broken run is no distance from anything
    return Cell(
        answer,
        "clear" if clear else formatting.HOLDS[answer][0],
        f"{gate_page(gate)}#{rule.id}.{_anchor(finding.candidate)}",
        holds(answer, rule.effect).mark,
        formatting.typeset(finding.note) or formatting.HOLDS[answer][1],
        small,
        sort=margin if margin is not None else None if answer is None else float(answer),
    )
