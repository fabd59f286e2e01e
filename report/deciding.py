"""What decided a gate: its rules and roles as plain JSON, and the facts that several pages need of a decision.

python -m pytest tests/site/test_pages.py
"""

from __future__ import annotations

from functools import lru_cache
from math import sqrt
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
