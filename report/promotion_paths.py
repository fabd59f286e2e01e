"""The promotion path: what became of every configuration at every rung, read from the decisions alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from report.gates import GateView, Lead
from stages.domain.study import Study

#: States of a configuration that was no candidate at a rung, or is not judged there yet.
OUTSIDE = frozenset({"absent", "waiting", "unrun"})


@dataclass(frozen=True)
class PathStep:
    """One configuration at one rung. `rank` counts from 1 among candidates with a full set of cells."""

    rung: str
    state: str
    rank: int | None = None
    mean: float | None = None
    hosts: dict[str, float] | None = None
    #: The rules that promoted it, or would have at a blocked gate; else the stop rules that counted.
    by: tuple[str, ...] = ()
    #: Stop rules that counted against it and were overridden by a kept role.
    against: tuple[str, ...] = ()
    #: Promote rules that could have promoted it and did not: not those that keep another one.
    unmet: tuple[str, ...] = ()
    #: The one rule to look at: that which stopped it, or the promote rule that it came closest to.
    decisive: str | None = None

    @property
    def judged(self) -> bool:
        """Whether the configuration was a candidate that the gate has judged."""
        return self.state not in OUTSIDE


@dataclass(frozen=True)
class PromotionPath:
    """One configuration's way up: a step for every rung of the study."""

    config: str
    roles: tuple[str, ...]
    steps: tuple[PathStep, ...]

    @property
    def reached(self) -> int:
        """How many rungs it was a candidate at."""
        return sum(1 for step in self.steps if step.judged)

    @property
    def last(self) -> PathStep | None:
        """The last rung at which it was judged."""
        return next((step for step in reversed(self.steps) if step.judged), None)


def build_paths(study: Study, gates: Iterable[GateView], lead: Lead | None) -> dict[str, PromotionPath]:
    """Every configuration's path, best first: by rungs reached, then by rank at the last one, then by name.

    `lead` is the lead at the last rung.
    """
    roles: dict[str, list[str]] = {}
    for role, config in study.roles.items():
        roles.setdefault(config, []).append(role)
    steps: dict[str, list[PathStep]] = {config: [] for config in study.configs}
    for gate in gates:
        judged = set(gate.decision.candidates) if gate.decision else set()
        ranks = {row.config: place for place, row in enumerate(gate.ranking, start=1)}
        for config, path in steps.items():
            if config in gate.unrun:
                path.append(PathStep(gate.rung, "unrun"))
            elif config in judged:
                path.append(_judged_step(gate, config, ranks.get(config), lead))
            else:
                path.append(PathStep(gate.rung, _state_outside(gate, config, path)))
    paths = [PromotionPath(name, tuple(roles.get(name, ())), tuple(path)) for name, path in steps.items()]

    def order(path: PromotionPath) -> tuple[int, float, str]:
        last = path.last
        return (-path.reached, last.rank if last and last.rank else inf, path.config)

    return {path.config: path for path in sorted(paths, key=order)}


def _judged_step(gate: GateView, config: str, rank: int | None, lead: Lead | None) -> PathStep:
    assert gate.decision is not None
    standing = gate.ranking[rank - 1] if rank else None
    effects = gate.rules_that_count.get(config, {})
    promote, stop = effects.get("promote", ()), effects.get("stop", ())
    state = _state_of(gate, config, rank, lead)
    promoted = config in gate.decision.promoted
    would_go = bool(promote) and (not stop or any(_kind(gate, rule) == "keep_role" for rule in promote))
    could = [rule.id for rule in gate.decision.rules if rule.effect == "promote" and rule.kind != "keep_role"]
    stopped = state == "stopped"
    return PathStep(
        rung=gate.rung,
        state=state,
        rank=rank,
        mean=standing.mean if standing else None,
        hosts=standing.hosts if standing else None,
        by=promote if promoted or (state == "blocked" and would_go) else stop,
        against=stop if promoted else (),
        unmet=tuple(rule for rule in could if rule not in promote) if stopped else (),
        decisive=(stop[0] if stop else gate.flips.flip(config).rule) if stopped else None,
    )


def _state_of(gate: GateView, config: str, rank: int | None, lead: Lead | None) -> str:
    """What became of a candidate: promoted by its scores, or only kept for its role, or else how its way ended."""
    assert gate.decision is not None
    if gate.blocked:
        return "blocked"
    if gate.last:
        return "missing" if rank is None or lead is None else lead.state(config)
    if config not in gate.decision.promoted:
        return "stopped"
    effects = gate.rules_that_count.get(config, {})
    kinds = [_kind(gate, rule) for rule in effects.get("promote", ())]
    return "promoted" if any(kind != "keep_role" for kind in kinds) and not effects.get("stop") else "kept"


def _kind(gate: GateView, rule_id: str) -> str:
    outcome = gate.decision.rule(rule_id) if gate.decision else None
    return outcome.kind if outcome else ""


def _state_outside(gate: GateView, config: str, path: list[PathStep]) -> str:
    """The state of a configuration that no decision of this rung names; `path` is its way so far."""
    before = gate.before.decision if gate.before else None
    may = before is None or config in before.promoted
    may = may and not (path and path[-1].state in ("absent", "stopped", "blocked", "unrun"))
    if gate.decision:
        return "unrun" if before and may else "absent"
    return "waiting" if may else "absent"
