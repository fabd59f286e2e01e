"""What decided a gate: its rules and roles as plain JSON, and the facts that several pages need of a decision.

python -m pytest tests/report/test_pages.py

How far a candidate is from flipping: the smallest change of its own score that would change its fate.

All cells of one candidate move by the same amount while all others stay; rules, cells and other candidates are as
decided. Every rule in val_bpb is then monotone in that amount and flips at one point, which its kind gives in closed
form. A property test holds these points against the real judge.

    python -m pytest tests/report/test_decisions.py
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf, sqrt
from typing import Any

from report.load import Audit, Run
from stages.domain import names


def what_if(audit: Audit, gate: str) -> bool:
    """Whether rules decided that nobody froze."""
    decision = audit.decisions.get(gate)
    return decision is not None and decision.value["mode"] == "exploratory"


@lru_cache(maxsize=16)
def rules_of(audit: Audit, gate: str) -> dict[str, dict[str, Any]]:
    """The rules that judged: those of the lock, or those of params.yaml in a what-if or where nothing is frozen.

    Where the lock is lost, params.yaml may by now lack a rule that the decision tells of: ask with `get`.
    """
    lock = audit.locks.get(gate)
    rules = audit.study.gates[gate] if lock is None or what_if(audit, gate) else lock.lock.frozen.rules
    return {rule_id: rule.model_dump() for rule_id, rule in rules.items()}


@lru_cache(maxsize=16)
def roles_of(audit: Audit, gate: str) -> dict[str, str]:
    """The roles that the rules of a gate speak of. A what-if lays those of params.yaml over the frozen ones."""
    lock = audit.locks.get(gate)
    frozen = dict(lock.lock.frozen.roles) if lock else {}
    return {**frozen, **audit.study.roles} if lock is None or what_if(audit, gate) else frozen


def floor_sd(decision: dict[str, Any]) -> float | None:
    """The largest A/A standard deviation of a gate's hosts; None where no host has a floor."""
    found = [sqrt(one["variance"]) for one in decision["floor"].values()]
    return max(found, default=None)


@lru_cache(maxsize=16)
def nearest_floor(audit: Audit, gate: str) -> tuple[str, float] | None:
    """The A/A floor that a gate's numbers can be held against: its own, or that of the nearest gate that has one.

    Of two as near, the earlier. A floor of zero divides nothing and is none.
    """
    order = [names.gate_of(rung) for rung in audit.study.rungs]
    for other in sorted(order, key=lambda one: abs(order.index(one) - order.index(gate))):
        decision = audit.decisions.get(other)
        if decision and (sd := floor_sd(decision.value)):
            return other, sd
    return None


def held_by(decision: dict[str, Any]) -> dict[str, dict[str, tuple[str, ...]]]:
    """By candidate and effect, the rules that hold for it, in their order. `*` is the whole gate."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for told in decision["rules"]:
        for one in told["results"]:
            if one["holds"] is True:
                mine = found.setdefault(one["candidate"], {})
                mine[told["effect"]] = (*mine.get(told["effect"], ()), told["id"])
    return found


def named_md5(audit: Audit, run: Run) -> str | None:
    """The md5 by which the decision of its gate names a run; None where nothing is decided, or it is not named."""
    decision = audit.decisions.get(run.record.gate)
    return decision.value["evidence"].get(run.record.id) if decision else None


def kinds_of(decision: dict[str, Any]) -> dict[str, str]:
    """The kind of every rule, by its id."""
    return {told["id"]: told["kind"] for told in decision["rules"]}


SCORED = ("top_k", "within_gap", "exceeds_gap")


@dataclass(frozen=True)
class Flip:
    """`shift` in val_bpb, negative where the candidate must get better; None where no score changes its fate."""

    config: str
    promoted: bool
    shift: float | None
    rule: str | None
    note: str


def _others(decision: dict[str, Any], config: str, by: str, host: str | None) -> tuple[float | None, list[float]]:
    """The candidate's own value under a rule's ordering, and everybody else's, best first."""
    values: dict[str, float] = {}
    for one in decision["ranking"]:
        value = one["hosts"][host] if host else one["worst_host" if by == "worst_host" else "mean"]
        values[one["config"]] = value
    return values.get(config), sorted(value for name, value in values.items() if name != config)


def _top_k_point(decision: dict[str, Any], rule: dict[str, Any], config: str) -> float | None:
    hosts: list[str | None] = [None]
    if rule["by"] == "each_host":
        hosts = list(decision["ranking"][0]["hosts"]) if decision["ranking"] else []
    points = []
    for host in hosts:
        own, others = _others(decision, config, rule["by"], host)
        if own is None:
            return None
        points.append(others[rule["k"] - 1] - own if len(others) >= rule["k"] else inf)
    return max(points) if points else None


def _gap_point(decision: dict[str, Any], rule: dict[str, Any], config: str, roles: dict[str, str]) -> float | None:
    own, others = _others(decision, config, rule["by"], None)
    if own is None:
        return None
    if rule["of"] == "best":
        return others[0] + rule["gap"] - own if others else inf
    role = roles.get(rule["of"])
    if role is None or role == config:
        return inf if role else None
    base, _ = _others(decision, role, rule["by"], None)
    return None if base is None else base + rule["gap"] - own


def _points(
    decision: dict[str, Any], rules: dict[str, dict[str, Any]], config: str, roles: dict[str, str]
) -> dict[str, dict[str, float]]:
    """By effect and rule: the shift up to which a promote rule holds, and beyond which a stop rule does."""
    found: dict[str, dict[str, float]] = {"promote": {}, "stop": {}}
    for told in decision["rules"]:
        rule = rules.get(told["id"])
        if rule is None or rule["kind"] != told["kind"]:
            continue  # its lock is lost, and params.yaml no longer says its numbers
        if rule["kind"] == "top_k":
            point = _top_k_point(decision, rule, config)
        elif rule["kind"] in SCORED:
            point = _gap_point(decision, rule, config, roles)
        else:
            continue
        if point is not None:
            found[told["effect"]][told["id"]] = point
    return found


def lead_of(decision: dict[str, Any], config: str) -> Flip:
    """At the last gate: the change of its own mean at which a candidate would lose the first place, or take it."""
    own, others = _others(decision, config, "mean", None)
    if own is None:
        return Flip(config, False, None, None, "no full set of cells")
    if not others:
        return Flip(config, True, None, None, "never: no other candidate")
    return Flip(config, own <= others[0], round(others[0] - own, 9), "first place", "")


def _unscored(decision: dict[str, Any], config: str, effect: str) -> list[str]:
    """Rules of an effect that hold for the candidate whatever it scores: a kept role, a diverged run."""
    return [
        told["id"]
        for told in decision["rules"]
        if told["effect"] == effect and told["kind"] not in SCORED and _holds(told, config)
    ]


def _holds(told: dict[str, Any], config: str) -> bool:
    return any(one["candidate"] == config and one["holds"] is True for one in told["results"])


def merit_of(decision: dict[str, Any], rules: dict[str, dict[str, Any]], roles: dict[str, str], config: str) -> Flip:
    """The same had no role been kept: what the other rules would have made of the candidate."""
    scored = {**decision, "rules": [told for told in decision["rules"] if told["kind"] != "keep_role"]}
    promoted, stopped = (
        any(told["effect"] == effect and _holds(told, config) for told in scored["rules"])
        for effect in ("promote", "stop")
    )
    return flip_of({**scored, "promoted": [config] if promoted and not stopped else []}, rules, roles, config)


def flip_of(decision: dict[str, Any], rules: dict[str, dict[str, Any]], roles: dict[str, str], config: str) -> Flip:
    """The candidate's distance from the other fate. `rules` and `roles` are those that decided, as plain JSON."""
    promoted = config in decision["promoted"]
    if decision["outcome"] == "blocked":
        return Flip(config, False, None, None, "gate blocked")
    if kept := _unscored(decision, config, "promote"):
        return Flip(config, promoted, None, kept[0], "never: kept by role")
    if broken := _unscored(decision, config, "stop"):
        return Flip(config, promoted, None, broken[0], "never: a broken run")
    points = _points(decision, rules, config, roles)
    if not points["promote"]:
        scored = any(one["config"] == config for one in decision["ranking"])
        return Flip(config, promoted, None, None, "no rule reads it" if scored else "no full set of cells")
    enters, by_promote = max((point, rule) for rule, point in points["promote"].items())
    leaves, by_stop = min(((point, rule) for rule, point in points["stop"].items()), default=(inf, None))
    shift, rule = (enters, by_promote) if enters <= leaves else (leaves, by_stop)
    if shift == inf:
        return Flip(config, promoted, None, by_promote, "never: room for all")
    return Flip(config, promoted, round(shift, 9), rule, "")
