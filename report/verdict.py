"""The verdict, from the decisions alone: who leads and by how much, what the final rules say, what it all cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from report import cost
from report.confidence import PAGE, Confidence, readable
from report.gates import GateView, Lead
from report.hindsight import PAGE as HINDSIGHT
from report.hindsight import HindsightView
from report.promotion_paths import PathStep
from report.views import StudyView
from stages.domain import formatting, names
from stages.domain.decision import Decision, RecordedFinding, RuleOutcome
from stages.domain.rules import FirstInAllCells, MeanGap, NearEquivalent

UNSUPPORTED = "Not supported by the ledger"
WHAT_IF = "What-if"
MOVED = "params.yaml has moved on from the lock"
ASKED = "Before the what-if that params.yaml asks for"

RoleRule = FirstInAllCells | NearEquivalent | MeanGap


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
        text = "; ".join(clause.text for clause in (self.headline, *self.points)) + "."
        return f"{self.doubt}: {text}" if self.doubt else text


def reach_verdict(view: StudyView) -> Verdict:
    """What the decisions say, and only that."""
    for gate in view.gates.values():
        if gate.decision is None:
            return Verdict(_waiting(gate))
        if gate.blocked:
            return Verdict(_blocked(gate, gate.decision))
    gate, lead = view.last_gate, view.lead
    if lead is None:
        empty = gate.why_empty
        why = (
            f"the last rung has no candidate: {empty}"
            if empty
            else "no candidate of the last rung finished in every cell"
        )
        return Verdict(_clause(gate, f"No verdict: {why}", "#Evidence"))
    notes = [_first_look(view, lead), *_saved(view.cost)]
    return Verdict(_headline(gate, lead), _points(view, gate), notes, _doubt(view), final=True)


def _doubt(view: StudyView) -> str:
    chains = view.chains.values()
    if not view.supported:
        return UNSUPPORTED
    if any(chain.state == "what-if" for chain in chains):
        return WHAT_IF
    if any(chain.moved for chain in chains):
        return MOVED
    return ASKED if view.study.study.mode == "exploratory" else ""


def _clause(gate: GateView, text: str, fragment: str = "") -> Clause:
    return Clause(text, gate.page + fragment, proof=gate.title)


def _waiting(gate: GateView) -> Clause:
    missing = len(gate.missing)
    verb = "is" if missing == 1 else "are"
    why = f"; {formatting.count(missing, 'run')} of {gate.rung_title.lower()} {verb} missing" if missing else ""
    return _clause(gate, f"No verdict yet: {gate.title.lower()} has not decided{why}")


def _blocked(gate: GateView, decision: Decision) -> Clause:
    rules = [
        f"{rule.id} ({formatting.typeset(rule.text.rstrip('.'))})"
        for rule in decision.rules
        if rule.id in decision.blocked_by
    ]
    return _clause(gate, f"No verdict: {gate.title.lower()} is blocked by {formatting.listed(rules)}", "#Rules")


def _headline(gate: GateView, lead: Lead) -> Clause:
    roles = [role for role, config in gate.roles.items() if config == lead.first]
    name = f"The {' and '.join(roles)}, {lead.first}," if roles else lead.first
    mean, budget = formatting.number(lead.mean, 4), formatting.seconds(gate.budget)
    text = f"{name} {lead.verb}: the lowest mean val_bpb ({mean}) at {budget}"
    if lead.gap is not None and not lead.equals:
        ahead = formatting.number(lead.gap, 4) if lead.gap >= 0.0001 else formatting.plain(lead.gap)
        text += f", {ahead} ahead of {lead.second}"
        if lead.noise is not None:
            floor = formatting.rung_title(lead.floor).lower()
            text += f" ({formatting.number(lead.noise, 1)} × the A/A noise of {floor})"
    return Clause(text, f"{gate.page}#Evidence", strong=lead.first, proof=gate.title)


def _points(view: StudyView, gate: GateView) -> list[Clause]:
    clauses = []
    for outcome in gate.decision.rules if gate.decision else []:
        if outcome.effect == "verdict" and outcome.results:
            finding = outcome.results[0]
            text = _point_text(view, gate, outcome, finding)
            href = f"{gate.page}#{outcome.id}"
            clauses.append(Clause(text, href, finding.holds, outcome.id, proof=outcome.id))
    return clauses


def _point_text(view: StudyView, gate: GateView, outcome: RuleOutcome, finding: RecordedFinding) -> str:
    """A final rule in words; where its lock is lost, by the sentence that the decision holds."""
    rule = gate.rules.get(outcome.id)
    if isinstance(rule, RoleRule) and rule.kind == outcome.kind and _roles_named(rule) <= set(gate.roles):
        named = sorted(_roles_named(rule))
        why = _stopped_before(view, [gate.roles[role] for role in named]) or finding.note
        if isinstance(rule, FirstInAllCells):
            return _first_text(rule, finding, why)
        return _gap_text(rule, gate.roles[rule.role], finding, why)
    return f"“{formatting.typeset(outcome.text)}” {formatting.HOLDS[finding.holds][1]}"


def _roles_named(rule: RoleRule) -> set[str]:
    return {rule.role} if isinstance(rule, FirstInAllCells) else {rule.role, rule.to}


def _stopped_before(view: StudyView, configs: list[str]) -> str:
    """Which of these never reached the last rung, and the gate that stopped it."""
    for config in configs:
        last = view.paths[config].last if config in view.paths else None
        if last is not None and last.state == "stopped":
            return f"since {config} was stopped at {formatting.gate_title(names.gate_of(last.rung)).lower()}"
    return ""


def _first_text(rule: FirstInAllCells, finding: RecordedFinding, why: str) -> str:
    if finding.holds is None:
        return f"whether the {rule.role} is first in every cell is not evaluable, {why}"
    seen, cells = int(finding.observed or 0), int(finding.threshold or 0)
    many = f"all {cells}" if finding.holds else f"only {seen} of {cells}" if seen else f"none of {cells}"
    return f"the {rule.role} is first in {many} cells"


def _gap_text(rule: NearEquivalent | MeanGap, config: str, finding: RecordedFinding, why: str) -> str:
    limit, near = formatting.number(finding.threshold, 3), isinstance(rule, NearEquivalent)
    claim = f"within {limit} of the {rule.to}" if near else f"at most {limit} above the {rule.to}"
    if finding.holds is None:
        return f"whether the {rule.role} ({config}) is {claim} is not evaluable, {why}"
    if finding.holds:
        verb = f"is {claim}"
    else:
        verb = f"is not {claim}" if near else f"is more than {limit} above the {rule.to}"
    return f"the {rule.role} ({config}) {verb} ({formatting.signed(finding.observed, 4)})"


def early_leader(view: StudyView, lead: Lead | None) -> str:
    """What became of the leader of the first rung, in one or two sentences; `lead` is the lead at the last."""
    name = view.first_gate.leader
    if name is None:
        return "The first rung has no leader yet."
    first = view.first_gate.rung_title.lower()
    if lead and name == lead.first:
        if lead.clear:
            return f"{name} led {first} and won: the cheapest rung would have picked the same."
        return f"{name} led {first} and {_at_last(view.last_gate, lead)}."
    last = view.paths[name].last
    if last is None or last.state not in ("stopped", "finalist", "tied", "missing"):
        return f"{name} led {first}, and is still on its way."
    text = f"{name} led {first} and {_end_of(last)}."
    place = view.paths[lead.first].steps[0].rank if lead else None
    if not lead or not place:
        return text
    who = "The winner" if lead.clear else f"{lead.first}, which {_at_last(view.last_gate, lead)},"
    return f"{text} {who} was {formatting.ordinal(place)} at {first}."


def _end_of(last: PathStep) -> str:
    """How a configuration's way ended, as the end of a sentence."""
    if last.state == "stopped":
        rank = f" at rank {last.rank}" if last.rank else ""
        return f"was stopped by {formatting.gate_title(names.gate_of(last.rung)).lower()}{rank}"
    rung = formatting.rung_title(last.rung).lower()
    if last.state == "tied":
        return f"tied for the first place at {rung}"
    if last.rank is None:
        return f"came to {rung}, where not every run of it finished"
    return f"finished {formatting.ordinal(last.rank)} at {rung}"


def _at_last(gate: GateView, lead: Lead) -> str:
    """What a lead that is not clear comes to at the last rung."""
    return f"{lead.verb.replace(',', '')} at {gate.rung_title.lower()}"


def _first_look(view: StudyView, lead: Lead) -> Clause:
    """No answer where the last rung itself does not tell the first place from the second."""
    same = view.first_gate.leader == lead.first
    answer = ("yes" if same else "no") if lead.clear else "cannot be said"
    text = f"{answer}: {early_leader(view, lead).rstrip('.')}"
    return Clause(text, "stability.html", proof="Stability", question="Would the first look have told?")


def _saved(costs: cost.StudyCost) -> list[Clause]:
    """What the ladder cost against what it left unrun; nothing where that is not known."""
    if costs.total is None or costs.widest is None:
        return []
    rung, hours = formatting.rung_title(costs.widest.from_rung).lower(), formatting.device_time(costs.widest.hours)
    text = (
        f"{formatting.device_time(costs.total)} of device time in all; {cost.candidates_text(costs.widest)} of {rung} "
        f"at the last rung alone would have taken {hours} (accounting of unrun work, no evidence)"
    )
    return [Clause(text, "cost.html", proof="Cost", question="What did the ladder cost?")]


def answers(confidence: Confidence) -> list[Clause]:
    """The two last questions of the overview, How sure? and What next?, with the page that holds the proof."""
    result = confidence.result
    if result is None:
        return [Clause(f"not known: {confidence.missing}", PAGE, proof="How sure", question="How sure?")]
    step, hanging = result.what_next, list(result.how_sure.hangs_on)
    sure = readable(result.how_sure.short.rstrip("."))
    if hanging:
        sure += f"; {readable(formatting.listed(hanging, 2))}"
    return [
        Clause(sure, PAGE, proof="How sure", question="How sure?"),
        Clause(readable(step.text.rstrip(".")), f"{PAGE}#next.{step.rule}", proof=step.rule, question="What next?"),
    ]


def look_back(hindsight: HindsightView) -> list[Clause]:
    """What hindsight says in one line; nothing where nothing was trained in hindsight."""
    if hindsight.result is None:
        return []
    return [Clause(readable(hindsight.result.text), HINDSIGHT, proof="Hindsight", question="In hindsight?")]
