"""The decision of a gate: who goes on, who is stopped and by which rules. A pure function of rules and evidence.

    require fails or cannot be evaluated -> blocked, nobody goes on
    else a candidate goes on if a promote rule holds for it and (every stop rule is clear of it, or it is a kept role)

A stop rule that cannot be evaluated, such as a gap to a reference that diverged, is not clear of anybody.

`decide` makes a `Decision` and `parse_decision` reads one back: a line of ledger/decisions.jsonl. It holds no time
and no machine, so recomputing it must give the same bytes. Its numbers are those of `judge.Finding`, rounded to nine
decimals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.domain import canonical
from stages.domain import rules as r
from stages.domain.canonical import JsonObject
from stages.domain.errors import Invalid
from stages.domain.evidence import Evidence, as_number
from stages.domain.judge import EVERYONE, Finding, judge_rules
from stages.domain.metric import Metric, metric_of
from stages.domain.promotions import Ticket
from stages.domain.rules import RuleId
from stages.domain.schema import GateName, Key, Recorded, RecordedFile, RungName, parse_recorded

SCHEMA: Literal[1] = 1
Mode = Literal["frozen", "exploratory"]
Outcome = Literal["decided", "blocked"]


class RecordedFinding(Recorded):
    """What one rule says of one candidate: a `judge.Finding`, its numbers rounded."""

    candidate: str
    observed: float | None
    threshold: float | None
    margin: float | None
    holds: bool | None
    note: str


class RuleOutcome(Recorded):
    """One rule of the gate, its text, and what it says of every candidate."""

    id: RuleId
    kind: str
    effect: r.Effect
    text: str
    results: list[RecordedFinding]


class RankedCandidate(Recorded):
    """A candidate with a full set of finished cells: its mean val_bpb, its worst host's, and each host's."""

    config: Key
    mean: float
    worst_host: float
    hosts: dict[Key, float]


class StopReason(Recorded):
    """Which rules stopped a candidate, and which promote rules did not hold."""

    by: list[RuleId]
    unmet: list[RuleId]


class NoiseFloor(Recorded):
    """The A/A noise floor of one host block: how many runs, and their sample variance of val_bpb."""

    runs: Annotated[int, Field(ge=0)]
    variance: Annotated[float, Field(ge=0)]


class Decision(RecordedFile):
    """A line of ledger/decisions.jsonl. `frozen_promoted` stands in an exploratory decision alone."""

    gate: GateName
    rung: RungName
    mode: Mode
    lock: str
    outcome: Outcome
    blocked_by: list[RuleId]
    candidates: list[Key]
    promoted: list[Key]
    stopped: dict[Key, StopReason]
    promoted_by: dict[Key, list[RuleId]]
    verdicts: dict[RuleId, bool | None]
    ranking: list[RankedCandidate]
    rules: list[RuleOutcome]
    floor: dict[Key, NoiseFloor]
    evidence: dict[str, str]
    frozen_promoted: list[Key] | None = None

    @property
    def blocked(self) -> bool:
        """Whether a require rule does not hold, so that nobody goes on."""
        return self.outcome == "blocked"

    def rule(self, rule_id: str) -> RuleOutcome | None:
        """The outcome of one rule, or None where the gate has no such rule."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)

    def to_json(self) -> JsonObject:
        """The decision as a JSON value."""
        left_out = {"frozen_promoted"} if self.frozen_promoted is None else set()
        return self.model_dump(by_alias=True, exclude=left_out)


def parse_decision(data: bytes, where: str, remedy: str) -> Decision:
    """The decision in a canonical line read from `where`; `Invalid` with the first mistakes, ending in `remedy`."""
    try:
        value = canonical.loads_canonical(data)
    except canonical.NotCanonical as error:
        raise Invalid.at(where, f"{error}; {remedy}") from None
    return decision_from_json(value, where, remedy)


def decision_from_json(value: Any, where: str, remedy: str) -> Decision:
    """Like `parse_decision`, from a JSON value."""
    return parse_recorded(Decision, value, where, remedy)


def decide(evidence: Evidence, mode: Mode = "frozen", frozen_promoted: Iterable[str] | None = None) -> Decision:
    """The decision of the gate whose rules `evidence` holds.

    `frozen_promoted` goes with an exploratory decision: whom the frozen rules promoted on the same evidence.
    """
    judgment, contract = Judgment(evidence), evidence.contract
    blocked, fates = bool(judgment.blocked_by), judgment.fates
    metric = metric_of(contract.settings)
    records = sorted([*evidence.runs.values(), *evidence.floor], key=lambda record: record.id)
    return Decision(
        schema_=SCHEMA,
        gate=contract.gate,
        rung=contract.rung,
        mode=mode,
        lock=contract.lock,
        outcome=judgment.outcome,
        blocked_by=judgment.blocked_by,
        candidates=list(evidence.candidates),
        promoted=judgment.promoted,
        stopped={
            name: StopReason(by=fate.stopped_by, unmet=fate.unmet)
            for name, fate in fates.items()
            if blocked or not fate.promoted
        },
        promoted_by={name: fate.promoted_by for name, fate in fates.items() if fate.promoted and not blocked},
        verdicts=judgment.verdicts,
        ranking=[_ranked(name, evidence) for name in evidence.ranking()],
        rules=[_outcome(id_, rule, judgment.findings[id_], metric) for id_, rule in r.in_order(evidence.rules)],
        floor=_floor(evidence),
        evidence={record.id: record.md5 for record in records},
        frozen_promoted=None if frozen_promoted is None else list(frozen_promoted),
    )


def why_blocked(decision: Decision, most: int = 4) -> list[str]:
    """What blocks a gate, as lines: each rule that must hold, and for whom it does not, with what was observed."""
    lines = []
    for rule in decision.rules:
        if rule.id not in decision.blocked_by:
            continue
        lines.append(f"{rule.id} must hold: {rule.text}")
        failing = [finding for finding in rule.results if finding.holds is not True]
        lines += [f"  {_subject(finding)}: {_observation(finding)}" for finding in failing[:most]]
        if len(failing) > most:
            lines.append(f"  and {len(failing) - most} more")
    return lines


def _subject(finding: RecordedFinding) -> str:
    return "the gate" if finding.candidate == EVERYONE else finding.candidate


def _observation(finding: RecordedFinding) -> str:
    answer = "does not hold" if finding.holds is False else "cannot be evaluated"
    observed = "" if finding.observed is None else f", observed {finding.observed:g}"
    limit = "" if finding.threshold is None or not observed else f" against {finding.threshold:g}"
    return f"{answer}{observed}{limit}" + (f" ({finding.note})" if finding.note else "")


def _all_hold(findings: list[Finding]) -> bool:
    return bool(findings) and all(finding.holds is True for finding in findings)


def _verdict(findings: list[Finding]) -> bool | None:
    answers = [finding.holds for finding in findings]
    return None if not answers or None in answers else all(answers)


@dataclass(frozen=True)
class _Fate:
    """What became of one candidate, and by which rules."""

    promoted: bool
    promoted_by: list[str]
    stopped_by: list[str]
    unmet: list[str]


class Judgment:
    """What the rules of a gate make of its evidence: what `decide` records, without the record."""

    def __init__(self, evidence: Evidence) -> None:
        self.findings = judge_rules(evidence)
        self._rules = evidence.rules
        self._with: dict[r.Effect, list[str]] = {"require": [], "promote": [], "stop": [], "verdict": []}
        for rule_id, rule in r.in_order(evidence.rules):
            self._with[r.EFFECTS[rule.kind]].append(rule_id)
        answers = {rule_id: {row.candidate: row.holds for row in rows} for rule_id, rows in self.findings.items()}
        self.fates = {name: self._decide_fate(name, answers) for name in evidence.candidates}
        self.blocked_by = [rule_id for rule_id in self._with["require"] if not _all_hold(self.findings[rule_id])]
        self.outcome: Outcome = "blocked" if self.blocked_by else "decided"
        going_on = [] if self.blocked_by else [name for name, fate in self.fates.items() if fate.promoted]
        self.promoted = sorted(going_on)
        self.verdicts = {rule_id: _verdict(self.findings[rule_id]) for rule_id in self._with["verdict"]}

    def _decide_fate(self, name: str, answers: dict[str, dict[str, bool | None]]) -> _Fate:
        """The fate of a candidate. `answers` is, by rule and candidate, whether the rule holds."""
        promoted_by = [rule_id for rule_id in self._with["promote"] if answers[rule_id].get(name)]
        stopped_by = [rule_id for rule_id in self._with["stop"] if answers[rule_id].get(name) is not False]
        kept = any(self._rules[rule_id].kind == "keep_role" for rule_id in promoted_by)
        unmet = [rule_id for rule_id in self._with["promote"] if rule_id not in promoted_by]
        return _Fate(bool(promoted_by) and (kept or not stopped_by), promoted_by, stopped_by, unmet)


def _ranked(name: str, evidence: Evidence) -> RankedCandidate:
    return RankedCandidate.model_validate(
        {
            "config": name,
            "mean": as_number(evidence.mean(name)),
            "worst_host": as_number(evidence.worst_host(name)),
            "hosts": {host: as_number(evidence.mean(name, host)) for host in evidence.contract.hosts},
        }
    )


def _outcome(rule_id: str, rule: r.Rule, findings: list[Finding], metric: Metric) -> RuleOutcome:
    return RuleOutcome(
        id=rule_id,
        kind=rule.kind,
        effect=r.EFFECTS[rule.kind],
        text=metric.rename(r.say(rule)),
        results=[
            RecordedFinding(
                candidate=finding.candidate,
                observed=as_number(finding.observed),
                threshold=as_number(finding.threshold),
                margin=as_number(finding.margin),
                holds=finding.holds,
                note=finding.note,
            )
            for finding in findings
        ],
    )


def _floor(evidence: Evidence) -> dict[str, NoiseFloor]:
    floors = {host: evidence.noise_floor(host) for host in evidence.contract.hosts}
    return {
        host: NoiseFloor(runs=floor[0], variance=float(round(floor[1], 15)))
        for host, floor in floors.items()
        if floor is not None
    }


def hand_out_tickets(frozen: Decision, shown: Decision, configs: list[str]) -> dict[str, Ticket]:
    """The tickets of every configuration. `shown` is the exploratory decision, or `frozen` itself."""
    tickets: dict[str, Ticket] = {}
    for name in configs:
        if name not in shown.promoted:
            tickets[name] = "false"
        else:
            tickets[name] = "true" if name in frozen.promoted else "what-if"
    return tickets
