"""The decision of a gate: who goes on, who is stopped and by which rules. A pure function of rules and evidence.

    require fails or cannot be evaluated -> blocked, nobody goes on
    else a candidate goes on if a promote rule holds for it and (every stop rule is clear of it, or it is a kept role)

A stop rule that cannot be evaluated, such as a gap to a reference that diverged, is not clear of anybody.

The decision holds no time and no machine, so recomputing it must give the same bytes.
"""

from __future__ import annotations

from typing import Any, Literal

from stages.domain import rules as r
from stages.domain.evidence import Evidence, as_number
from stages.domain.judge import EVERYONE, Finding, findings
from stages.domain.promotions import Ticket

SCHEMA = 1
Mode = Literal["frozen", "exploratory"]


def decide(evidence: Evidence, mode: Mode = "frozen") -> dict[str, Any]:
    """The decision as one JSON value, a line of ledger/decisions.jsonl."""
    found = findings(evidence)
    door = evidence.door
    blocked = [rule_id for rule_id in _of(evidence, "require") if not _all_hold(found[rule_id])]
    answers = {rule_id: {one.candidate: one.holds for one in told} for rule_id, told in found.items()}
    fates = {name: _fate(name, evidence, answers) for name in evidence.candidates}
    return {
        "schema": SCHEMA,
        "gate": door.gate,
        "rung": door.rung,
        "mode": mode,
        "lock": door.lock,
        "outcome": "blocked" if blocked else "decided",
        "blocked_by": blocked,
        "candidates": list(evidence.candidates),
        "promoted": [] if blocked else sorted(name for name, fate in fates.items() if fate["promoted"]),
        "stopped": {
            name: {"by": fate["stopped_by"], "unmet": fate["unmet"]}
            for name, fate in fates.items()
            if blocked or not fate["promoted"]
        },
        "promoted_by": {name: fate["promoted_by"] for name, fate in fates.items() if fate["promoted"] and not blocked},
        "verdicts": {rule_id: _one(found[rule_id]) for rule_id in _of(evidence, "verdict")},
        "ranking": [_standing(name, evidence) for name in evidence.ranking()],
        "rules": [_told(rule_id, rule, found[rule_id]) for rule_id, rule in r.in_order(door.rules)],
        "floor": _floor(evidence),
        "evidence": {run.id: run.md5 for run in sorted([*evidence.runs.values(), *evidence.floor], key=lambda x: x.id)},
    }


def why_blocked(made: dict[str, Any], most: int = 4) -> list[str]:
    """What blocks a gate, as lines: each rule that must hold, and for whom it does not, with what was seen."""
    lines = []
    for rule in made["rules"]:
        if rule["id"] not in made["blocked_by"]:
            continue
        lines.append(f"{rule['id']} must hold: {rule['text']}")
        bad = [one for one in rule["results"] if one["holds"] is not True]
        lines += [f"  {_who(one)}: {_seen(one)}" for one in bad[:most]]
        if len(bad) > most:
            lines.append(f"  and {len(bad) - most} more")
    return lines


def _who(result: dict[str, Any]) -> str:
    return "the gate" if result["candidate"] == EVERYONE else str(result["candidate"])


def _seen(result: dict[str, Any]) -> str:
    answer = "does not hold" if result["holds"] is False else "cannot be evaluated"
    seen = "" if result["observed"] is None else f", observed {result['observed']:g}"
    limit = "" if result["threshold"] is None or not seen else f" against {result['threshold']:g}"
    return f"{answer}{seen}{limit}" + (f" ({result['note']})" if result["note"] else "")


def _of(evidence: Evidence, effect: str) -> list[str]:
    return [rule_id for rule_id, rule in r.in_order(evidence.door.rules) if r.EFFECTS[rule.kind] == effect]


def _all_hold(found: list[Finding]) -> bool:
    return bool(found) and all(one.holds is True for one in found)


def _one(found: list[Finding]) -> bool | None:
    answers = [one.holds for one in found]
    return None if not answers or None in answers else all(answers)


def _fate(name: str, evidence: Evidence, answers: dict[str, dict[str, bool | None]]) -> dict[str, Any]:
    """What became of one candidate. `answers` is, by rule and candidate, whether it holds."""

    def answered(effect: str, *wanted: bool | None) -> list[str]:
        return [rule_id for rule_id in _of(evidence, effect) if answers[rule_id].get(name) in wanted]

    promoted_by, stopped_by = answered("promote", True), answered("stop", True, None)
    kept = any(evidence.door.rules[rule_id].kind == "keep_role" for rule_id in promoted_by)
    return {
        "promoted": bool(promoted_by) and (kept or not stopped_by),
        "promoted_by": promoted_by,
        "stopped_by": stopped_by,
        "unmet": [i for i in _of(evidence, "promote") if i not in promoted_by],
    }


def _standing(name: str, evidence: Evidence) -> dict[str, Any]:
    return {
        "config": name,
        "mean": as_number(evidence.mean(name)),
        "worst_host": as_number(evidence.worst_host(name)),
        "hosts": {host: as_number(evidence.mean(name, host)) for host in evidence.door.hosts},
    }


def _told(rule_id: str, rule: r.Rule, found: list[Finding]) -> dict[str, Any]:
    return {
        "id": rule_id,
        "kind": rule.kind,
        "effect": r.EFFECTS[rule.kind],
        "text": r.say(rule),
        "results": [one.to_json() for one in found],
    }


def _floor(evidence: Evidence) -> dict[str, Any]:
    """The A/A noise floor of each host that has one: how many runs, and their sample variance of val_bpb."""
    floors = {host: evidence.noise_floor(host) for host in evidence.door.hosts}
    return {
        host: {"runs": floor[0], "variance": float(round(floor[1], 15))}
        for host, floor in floors.items()
        if floor is not None
    }


def tickets(frozen: dict[str, Any], shown: dict[str, Any], configs: list[str]) -> dict[str, Ticket]:
    """The tickets of every configuration. `shown` is the exploratory decision, or `frozen` itself."""
    out: dict[str, Ticket] = {}
    for name in configs:
        if name not in shown["promoted"]:
            out[name] = "false"
        else:
            out[name] = "true" if name in frozen["promoted"] else "what-if"
    return out
