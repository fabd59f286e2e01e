"""The verdict, generated from the decisions: who leads and by how much, what the final rules say, what it all cost.

python -m pytest tests/report/test_verdict.py

The first place of the last rung: who holds it, and whether the lead is larger than the noise that was measured.

python -m pytest tests/report/test_verdict.py
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from report import cost, promotion_paths
from report.chain import chains, supported
from report.decisions import nearest_floor, roles_of, rules_of
from report.load import Audit
from report.page import gate_page
from stages.domain import formatting, names

#: Below so many standard deviations of the A/A floor, luck could have decided.
LUCK = 2.0


@dataclass(frozen=True)
class Lead:
    """Whose the lowest mean is. `gap` is the distance in val_bpb to the second, and None where there is no second;
    `noise` is `gap` in standard deviations of the A/A floor of `floor`, and None where none was measured."""

    first: str
    mean: float
    second: str | None = None
    gap: float | None = None
    #: Who has the same mean; the order between them is that of their names.
    equals: tuple[str, ...] = ()
    noise: float | None = None
    floor: str = ""

    @property
    def clear(self) -> bool:
        """Whether nothing that was measured says that luck could have decided."""
        return not self.equals and (self.noise is None or self.noise >= LUCK)

    @property
    def verb(self) -> str:
        """What its holder does, as a sentence says it."""
        if self.equals:
            return f"ties with {formatting.listed(list(self.equals))}"
        return "wins" if self.clear else "leads, within noise"


def lead(audit: Audit) -> Lead | None:
    """The lead at the last rung; None while its gate is undecided or blocked, or ranks nobody."""
    first = promotion_paths.winner(audit)
    if first is None:
        return None
    gate = names.gate_of(audit.study.last_rung)
    best, *others = audit.decisions[gate].value["ranking"]
    if not others:
        return Lead(first, best["mean"])
    gap, floor = others[0]["mean"] - best["mean"], nearest_floor(audit, gate)
    return Lead(
        first,
        best["mean"],
        others[0]["config"],
        gap,
        tuple(one["config"] for one in others if one["mean"] == best["mean"]),
        gap / floor[1] if floor else None,
        names.rung_of(floor[0]) if floor else "",
    )


UNSUPPORTED = "Not supported by the ledger"
WHAT_IF = "What-if"
MOVED = "params.yaml has moved on from the lock"
ASKED = "Before the what-if that params.yaml asks for"


@dataclass(frozen=True)
class Clause:
    """One statement without its full stop, and the page that holds its proof. `holds` is None for no rule's answer."""

    text: str
    href: str
    holds: bool | None = None
    rule: str = ""
    strong: str = ""
    #: What the link to the proof is called: the rule, the gate, the page.
    proof: str = ""
    #: What it answers, where it is not plain from the statement.
    question: str = ""


@dataclass(frozen=True)
class Verdict:
    """The headline, one point for each final rule, and notes. `doubt` comes before the headline, if there is any."""

    headline: Clause
    points: list[Clause] = field(default_factory=list)
    notes: list[Clause] = field(default_factory=list)
    doubt: str = ""
    final: bool = False

    @property
    def sure(self) -> bool:
        """Whether the last gate decided by frozen rules, on evidence that is whole and that the ledger still holds."""
        return self.final and not self.doubt

    @property
    def sentence(self) -> str:
        """Headline and points as plain text."""
        said = "; ".join(clause.text for clause in (self.headline, *self.points)) + "."
        return f"{self.doubt}: {said}" if self.doubt else said


def verdict(audit: Audit) -> Verdict:
    """What the decisions say, and only that."""
    for rung in audit.study.rungs:
        gate = names.gate_of(rung)
        decision = audit.decisions.get(gate)
        if decision is None:
            return Verdict(_waiting(audit, rung))
        if decision.value["outcome"] == "blocked":
            return Verdict(_blocked(audit, gate, decision.value))
    gate = names.gate_of(audit.study.last_rung)
    value = audit.decisions[gate].value
    found = lead(audit)
    if found is None:
        empty = promotion_paths.why_empty(audit, audit.study.last_rung)
        why = (
            f"the last rung has no candidate: {empty}"
            if empty
            else "no candidate of the last rung finished in every cell"
        )
        return Verdict(_at(gate, f"No verdict: {why}", "#Evidence"))
    points, notes = _points(audit, gate, value), [_early(audit, found), *_saved(audit)]
    return Verdict(_headline(audit, gate, found), points, notes, _doubt(audit), final=True)


def _doubt(audit: Audit) -> str:
    if not supported(audit):
        return UNSUPPORTED
    if any(one.state == "what-if" for one in chains(audit).values()):
        return WHAT_IF
    if any(one.moved for one in chains(audit).values()):
        return MOVED
    return ASKED if audit.study.study.mode == "exploratory" else ""


def _at(gate: str, text: str, fragment: str = "") -> Clause:
    return Clause(text, gate_page(gate) + fragment, proof=formatting.gate_title(gate))


def _waiting(audit: Audit, rung: str) -> Clause:
    gate, gone = names.gate_of(rung), len(promotion_paths.missing_runs(audit, rung))
    verb = "is" if gone == 1 else "are"
    why = f"; {formatting.count(gone, 'run')} of {formatting.rung_title(rung).lower()} {verb} missing" if gone else ""
    return _at(gate, f"No verdict yet: {formatting.gate_title(gate).lower()} has not decided{why}")


def _blocked(audit: Audit, gate: str, value: dict[str, Any]) -> Clause:
    texts = [
        f"{rule['id']} ({formatting.typeset(rule['text'].rstrip('.'))})"
        for rule in value["rules"]
        if rule["id"] in value["blocked_by"]
    ]
    return _at(
        gate, f"No verdict: {formatting.gate_title(gate).lower()} is blocked by {formatting.listed(texts)}", "#Rules"
    )


def _headline(audit: Audit, gate: str, found: Lead) -> Clause:
    roles = [role for role, config in roles_of(audit, gate).items() if config == found.first]
    name = f"The {' and '.join(roles)}, {found.first}," if roles else found.first
    budget = formatting.seconds(audit.study.rungs[audit.study.last_rung].budget_seconds)
    text = f"{name} {found.verb}: the lowest mean val_bpb ({formatting.number(found.mean, 4)}) at {budget}"
    if found.gap is not None and not found.equals:
        ahead = formatting.number(found.gap, 4) if found.gap >= 0.0001 else formatting.plain(found.gap)
        text += f", {ahead} ahead of {found.second}"
        if found.noise is not None:
            floor = formatting.rung_title(found.floor).lower()
            text += f" ({formatting.number(found.noise, 1)} × the A/A noise of {floor})"
    return Clause(text, gate_page(gate) + "#Evidence", strong=found.first, proof=formatting.gate_title(gate))


def _points(audit: Audit, gate: str, value: dict[str, Any]) -> list[Clause]:
    rules, roles = rules_of(audit, gate), roles_of(audit, gate)
    found = []
    for told in value["rules"]:
        if told["effect"] == "verdict" and told["results"]:
            one, rule = told["results"][0], rules.get(told["id"])
            known = rule is not None and rule["kind"] == told["kind"] and _named(rule) <= set(roles)
            text = _say(audit, rule, roles, one) if rule and known else _as_told(told, one)
            href = f"{gate_page(gate)}#{told['id']}"
            found.append(Clause(text, href, one["holds"], told["id"], proof=told["id"]))
    return found


def _named(rule: dict[str, Any]) -> set[str]:
    return {rule[key] for key in ("role", "to") if key in rule}


def _as_told(told: dict[str, Any], one: dict[str, Any]) -> str:
    """A verdict whose lock is lost, by the sentence that the decision holds."""
    return f"“{formatting.typeset(told['text'])}” {formatting.HOLDS[one['holds']][1]}"


def _stopped_before(audit: Audit, configs: list[str]) -> str:
    """Which of these never reached the last rung, and the gate that stopped it."""
    paths = promotion_paths.ladder(audit)
    for config in configs:
        last = paths[config].last if config in paths else None
        if last is not None and last.state == "stopped":
            return f"since {config} was stopped at {formatting.gate_title(names.gate_of(last.rung)).lower()}"
    return ""


def _say(audit: Audit, rule: dict[str, Any], roles: dict[str, str], one: dict[str, Any]) -> str:
    """One verdict in words; where it is not evaluable, why."""
    role, name = rule["role"], roles[rule["role"]]
    why = _stopped_before(audit, [roles[one] for one in sorted(_named(rule))]) or one["note"]
    if rule["kind"] == "first_in_all_cells":
        if one["holds"] is None:
            return f"whether the {role} is first in every cell is not evaluable, {why}"
        seen, cells = int(one["observed"]), int(one["threshold"])
        many = f"all {cells}" if one["holds"] else f"only {seen} of {cells}" if seen else f"none of {cells}"
        return f"the {role} is first in {many} cells"
    limit, near = formatting.number(one["threshold"], 3), rule["kind"] == "near_equivalent"
    claim = f"within {limit} of the {rule['to']}" if near else f"at most {limit} above the {rule['to']}"
    if one["holds"] is None:
        return f"whether the {role} ({name}) is {claim} is not evaluable, {why}"
    if one["holds"]:
        verb = f"is {claim}"
    else:
        verb = f"is not {claim}" if near else f"is more than {limit} above the {rule['to']}"
    return f"the {role} ({name}) {verb} ({formatting.signed(one['observed'], 4)})"


def early_leader(audit: Audit, found: Lead | None) -> str:
    """What became of the leader of the first rung, in one or two sentences; `found` is the lead at the last."""
    rung = next(iter(audit.study.rungs))
    name = promotion_paths.leader(audit, rung)
    if name is None:
        return "The first rung has no leader yet."
    at = formatting.rung_title(rung).lower()
    if found and name == found.first:
        if found.clear:
            return f"{name} led {at} and won: the cheapest rung would have picked the same."
        return f"{name} led {at} and {_at_last(audit, found)}."
    last = promotion_paths.ladder(audit)[name].last
    if last is None or last.state not in ("stopped", "finalist", "missing"):
        return f"{name} led {at}, and is still on its way."
    where = formatting.gate_title(names.gate_of(last.rung)).lower()
    rank = f" at rank {last.rank}" if last.rank else ""
    fate = f"was stopped by {where}{rank}" if last.state == "stopped" else f"came to {where}{rank}"
    told = f"{name} led {at} and {fate}."
    here = promotion_paths.ladder(audit)[found.first].steps[0].rank if found else None
    if not found or not here:
        return told
    who = "The winner" if found.clear else f"{found.first}, which {_at_last(audit, found)},"
    return f"{told} {who} was {formatting.ordinal(here)} at {at}."


def _at_last(audit: Audit, found: Lead) -> str:
    """What a lead that is not clear comes to at the last rung."""
    return f"{found.verb.replace(',', '')} at {formatting.rung_title(audit.study.last_rung).lower()}"


def _early(audit: Audit, found: Lead) -> Clause:
    """No answer where the last rung itself does not tell the first place from the second."""
    same = promotion_paths.leader(audit, next(iter(audit.study.rungs))) == found.first
    answer = ("yes" if same else "no") if found.clear else "cannot be said"
    text = f"{answer}: {early_leader(audit, found).rstrip('.')}"
    return Clause(text, "stability.html", proof="Stability", question="Would the first look have told?")


def _saved(audit: Audit) -> list[Clause]:
    """What the ladder cost against what it left unrun; nothing where that is not known."""
    total, most = cost.total_hours(audit), cost.widest(audit)
    if total is None or most is None:
        return []
    who = f"all {most['candidates']} candidates" if most["candidates"] != 1 else "the one candidate"
    rung, hours = formatting.rung_title(most["from_rung"]).lower(), formatting.device_time(most["hours"])
    text = (
        f"{formatting.device_time(total)} of device time in all; {who} of {rung} at the last rung alone "
        f"would have taken {hours} (accounting of unrun work, no evidence)"
    )
    return [Clause(text, "cost.html", proof="Cost", question="What did the ladder cost?")]
