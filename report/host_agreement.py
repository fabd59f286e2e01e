"""Whether the host blocks tell one story, rung by rung: in the order of the study, each block against the decision.

python -m pytest tests/report/test_host_agreement.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from report import promotion_paths
from report.decisions import what_if
from report.load import Audit
from stages.domain import names

#: Where every number of agreement comes from, whether the file lay there or was made from the ledger.
SOURCE = "locks/ and ledger/, as in artifacts/summary/agreement.json"
#: Said where there is nothing to compare.
ONE_HOST = "One host block: nothing to compare."


@dataclass(frozen=True)
class Pair:
    """Two host blocks at one rung, in the order of params.yaml. An inversion: (better on the first, on the second)."""

    first: str
    second: str
    candidates: int
    tau_b: float | None
    interval: tuple[float, float] | None
    discordant: int
    inversions: list[tuple[str, str]]


def rungs(audit: Audit) -> list[tuple[str, dict[str, Any]]]:
    """(rung, what the summary says of it) for every rung with evidence, in the order of the study."""
    told = audit.agreement["rungs"]
    return [(rung, told[rung]) for rung in audit.study.rungs if rung in told]


def hosts(audit: Audit, told: dict[str, Any]) -> list[str]:
    """The host blocks of a rung in the order of params.yaml."""
    return sorted(told["hosts"], key=audit.host_order)


def pairs(audit: Audit, told: dict[str, Any]) -> list[Pair]:
    """Every two host blocks of a rung."""
    order = hosts(audit, told)
    found = []
    for one in told["pairs"]:
        turned = order.index(one["hosts"][0]) > order.index(one["hosts"][1])
        first, second = reversed(one["hosts"]) if turned else one["hosts"]
        listed = [(b, a) if turned else (a, b) for a, b in one["inversions"]]
        ends = tuple(one["interval"]) if one["interval"] else None
        found.append(Pair(first, second, one["candidates"], one["tau_b"], ends, one["discordant"], listed))
    return sorted(found, key=lambda pair: (order.index(pair.first), order.index(pair.second)))


def same_alone(audit: Audit, rung: str, told: dict[str, Any]) -> dict[str, bool] | None:
    """By host block, whether it alone would have come to the recorded decision: outcome, whom it promotes, verdicts.

    At the last gate, which promotes nobody, also the same winner. None where no decision by the frozen rules is there.
    """
    gate = names.gate_of(rung)
    decision = audit.decisions.get(gate)
    if decision is None or what_if(audit, gate):
        return None
    value, last = decision.value, rung == audit.study.last_rung
    first = promotion_paths.leader(audit, rung)
    return {
        host: all(alone[key] == value[key] for key in ("outcome", "promoted", "verdicts"))
        and (not last or alone["first"] == first)
        for host, alone in ((host, told["host_alone"][host]) for host in hosts(audit, told))
    }
