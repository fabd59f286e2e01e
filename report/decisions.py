"""How far a candidate is from the opposite outcome, read from the margins that its gate's decision records.

Every cell of one candidate moves by the same amount of val_bpb while all others stay; rules, cells and the other
candidates are as they were decided. Each rule on val_bpb then changes its answer at one point. That point is the
recorded margin, except where the candidate is itself the base that a gap is measured from: there the nearest other
candidate decides. A property test holds these points against the judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from stages.domain.decision import Decision, RecordedFinding, RuleOutcome
from stages.domain.rules import ExceedsGap, Rule, WithinGap

SCORED = ("top_k", "within_gap", "exceeds_gap")
#: By candidate and effect, ids of rules in their order.
RulesByEffect = dict[str, dict[str, tuple[str, ...]]]


@dataclass(frozen=True)
class Flip:
    """`shift` in val_bpb, negative where the candidate must get better; None where no score changes its outcome, and
    `note` says why. `rule` is the rule that the change goes through."""

    config: str
    promoted: bool
    shift: float | None
    rule: str | None
    note: str = ""


def counts(outcome: RuleOutcome, finding: RecordedFinding) -> bool:
    """Whether a finding counts: a rule that holds, or a stop rule that cannot be evaluated, which clears none."""
    return finding.holds is True or (outcome.effect == "stop" and finding.holds is None)


def rules_that_count(decision: Decision) -> RulesByEffect:
    """By candidate and effect, the rules that count for or against it."""
    rules: RulesByEffect = {}
    for outcome in decision.rules:
        for finding in outcome.results:
            if counts(outcome, finding):
                effects = rules.setdefault(finding.candidate, {})
                effects[outcome.effect] = (*effects.get(outcome.effect, ()), outcome.id)
    return rules


@dataclass(frozen=True)
class _ScoredRule:
    """A rule of the decision with its findings by candidate."""

    outcome: RuleOutcome
    findings: dict[str, RecordedFinding]

    def counts_for(self, config: str) -> bool:
        finding = self.findings.get(config)
        return finding is not None and counts(self.outcome, finding)

    def point(self, config: str, rules: Mapping[str, Rule], roles: Mapping[str, str]) -> float | None:
        """The shift at which the rule changes its answer on a candidate; None where no shift is known."""
        finding = self.findings.get(config)
        if finding is None or self.outcome.kind not in SCORED:
            return None
        if self.outcome.kind == "top_k":
            return finding.margin if finding.margin is not None else inf if finding.holds else None
        rule = rules.get(self.outcome.id)
        if not isinstance(rule, WithinGap | ExceedsGap) or rule.kind != self.outcome.kind or finding.margin is None:
            return None  # its lock is lost, and params.yaml no longer says what its gap is measured from
        if rule.of == "best" and finding.observed == 0:
            others = [other.observed for name, other in self.findings.items() if name != config]
            return min((gap for gap in others if gap is not None), default=inf) + (finding.threshold or 0)
        if roles.get(rule.of) == config:
            return inf
        return finding.margin if rule.kind == "within_gap" else 0 - finding.margin


class Flips:
    """The flips of every candidate of one decision. `rules` and `roles` are those that decided."""

    def __init__(self, decision: Decision, rules: Mapping[str, Rule], roles: Mapping[str, str]) -> None:
        self._decision, self._known, self._roles = decision, rules, roles
        self._means = {row.config: row.mean for row in decision.ranking}
        self._rules = [
            _ScoredRule(outcome, {finding.candidate: finding for finding in outcome.results})
            for outcome in decision.rules
            if outcome.effect in ("promote", "stop")
        ]

    def flip(self, config: str) -> Flip:
        """A candidate's distance from the opposite outcome."""
        return self._flip(config, config in self._decision.promoted, self._rules)

    def flip_on_merit(self, config: str) -> Flip:
        """The same had no role been kept: what the other rules would have made of the candidate."""
        rules = [rule for rule in self._rules if rule.outcome.kind != "keep_role"]
        effects = {rule.outcome.effect for rule in rules if rule.counts_for(config)}
        return self._flip(config, "promote" in effects and "stop" not in effects, rules)

    def flip_first_place(self, config: str) -> Flip:
        """At the last gate: the change of its own mean at which a candidate would lose the first place, or take it."""
        if config not in self._means:
            return Flip(config, False, None, None, "no full set of cells")
        own = self._means[config]
        others = [mean for name, mean in self._means.items() if name != config]
        if not others:
            return Flip(config, True, None, None, "never: no other candidate")
        return Flip(config, own <= min(others), round(min(others) - own, 9), "first place")

    def _flip(self, config: str, promoted: bool, rules: list[_ScoredRule]) -> Flip:
        if self._decision.blocked:
            return Flip(config, False, None, None, "gate blocked")
        for effect, note in (("promote", "never: kept by role"), ("stop", "never: a broken run")):
            for rule in rules:
                if rule.outcome.effect == effect and rule.outcome.kind not in SCORED and rule.counts_for(config):
                    return Flip(config, promoted, None, rule.outcome.id, note)
        if config not in self._means:
            return Flip(config, promoted, None, None, "no full set of cells")
        for rule in rules:
            if rule.outcome.effect == "stop" and rule.findings[config].holds is None:
                return Flip(config, promoted, None, rule.outcome.id, "never: not evaluable")
        return self._nearest(config, promoted, rules)

    def _nearest(self, config: str, promoted: bool, rules: list[_ScoredRule]) -> Flip:
        points: dict[str, list[tuple[float, str]]] = {"promote": [], "stop": []}
        for rule in rules:
            if (point := rule.point(config, self._known, self._roles)) is not None:
                points[rule.outcome.effect].append((point, rule.outcome.id))
        if not points["promote"]:
            return Flip(config, promoted, None, None, "no rule reads it")
        enters, leaves = max(points["promote"]), min(points["stop"], default=(inf, None))
        shift, rule_id = enters if enters[0] <= leaves[0] else leaves
        if shift == inf:
            return Flip(config, promoted, None, enters[1], "never: room for all")
        return Flip(config, promoted, round(shift, 9), rule_id)
