"""What decided a gate: its rules and roles as plain JSON, and the facts that several pages need of a decision.

python -m pytest tests/site/test_pages.py
"""

from __future__ import annotations

from math import sqrt
from typing import Any

from report.load import Audit
from stages.domain import names


def rules_of(audit: Audit, gate: str) -> dict[str, dict[str, Any]]:
    """The rules that judged: those of the lock, or those of params.yaml in a what-if or where nothing is frozen."""
    decision, lock = audit.decisions.get(gate), audit.locks.get(gate)
    if lock is None or (decision is not None and decision.value["mode"] == "exploratory"):
        return {rule_id: rule.model_dump() for rule_id, rule in audit.study.gates[gate].items()}
    return {rule_id: rule.model_dump() for rule_id, rule in lock.lock.frozen.rules.items()}


def roles_of(audit: Audit, gate: str) -> dict[str, str]:
    """The roles that the rules of a gate speak of."""
    decision, lock = audit.decisions.get(gate), audit.locks.get(gate)
    if lock is None or (decision is not None and decision.value["mode"] == "exploratory"):
        return dict(audit.study.roles)
    return dict(lock.lock.frozen.roles)


def floor_sd(decision: dict[str, Any]) -> float | None:
    """The largest A/A standard deviation of a gate's hosts; None where no host has a floor."""
    found = [sqrt(one["variance"]) for one in decision["floor"].values()]
    return max(found, default=None)


def nearest_floor(audit: Audit, gate: str) -> tuple[str, float] | None:
    """The A/A floor that a gate's numbers can be held against: its own, or that of the nearest gate that has one."""
    order = [names.gate_of(rung) for rung in audit.study.rungs]
    place = order.index(gate)
    for other in sorted(order, key=lambda one: (abs(order.index(one) - place), one)):
        decision = audit.decisions.get(other)
        sd = floor_sd(decision.value) if decision else None
        if sd is not None:
            return other, sd
    return None


def results(decision: dict[str, Any], config: str) -> dict[str, dict[str, Any]]:
    """What every rule says of one candidate, by rule id; rules that do not speak of it are absent."""
    found = {}
    for told in decision["rules"]:
        for one in told["results"]:
            if one["candidate"] == config:
                found[told["id"]] = one
    return found
