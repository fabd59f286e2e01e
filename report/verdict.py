"""The verdict in one sentence, generated from the decisions: who won, by how much, and what the final rules say.

python -m pytest tests/site/test_verdict.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from report import ladder, words
from report.deciding import roles_of, rules_of
from report.load import Audit
from stages.domain import names


@dataclass(frozen=True)
class Clause:
    """A part of the sentence, with the page that holds its proof. `holds` is None where it is no rule's answer."""

    text: str
    href: str
    holds: bool | None = None
    rule: str = ""
    strong: str = ""

    @property
    def proof(self) -> str:
        """What the link to the proof is called: the rule, or the gate."""
        return self.rule or words.gate_title(self.href.removeprefix("gates/").split(".")[0])


@dataclass(frozen=True)
class Verdict:
    """`sure` only if the last gate decided by frozen rules."""

    sure: bool
    clauses: list[Clause]

    @property
    def sentence(self) -> str:
        """The whole verdict as plain text."""
        return "; ".join(clause.text for clause in self.clauses) + "."


def verdict(audit: Audit) -> Verdict:
    """What the decisions say, and only that."""
    for rung in audit.study.rungs:
        gate = names.gate_of(rung)
        decision = audit.decisions.get(gate)
        if decision is None:
            return Verdict(False, [_waiting(audit, rung)])
        if decision.value["outcome"] == "blocked":
            return Verdict(False, [_blocked(gate, decision.value)])
    gate = names.gate_of(audit.study.last_rung)
    value = audit.decisions[gate].value
    first = ladder.winner(audit)
    if first is None:
        text = "No verdict: no candidate of the last rung finished in every cell"
        return Verdict(False, [Clause(text, f"gates/{gate}.html#evidence")])
    clauses = [_won(audit, gate, value, first), *_verdicts(audit, gate, value)]
    return Verdict(value["mode"] == "frozen" and audit.study.study.mode == "frozen", clauses)


def _waiting(audit: Audit, rung: str) -> Clause:
    gone = ladder.missing_runs(audit, rung)
    why = f" {words.count(len(gone), 'run')} of {words.rung_title(rung).lower()} are missing" if gone else ""
    text = f"No verdict yet: {words.gate_title(names.gate_of(rung)).lower()} has not decided" + (
        ";" + why if why else ""
    )
    return Clause(text, f"gates/{names.gate_of(rung)}.html")


def _blocked(gate: str, value: dict[str, Any]) -> Clause:
    texts = [
        f"{rule['id']} ({rule['text'].rstrip('.')})" for rule in value["rules"] if rule["id"] in value["blocked_by"]
    ]
    return Clause(
        f"No verdict: {words.gate_title(gate).lower()} is blocked by {words.listed(texts)}", f"gates/{gate}.html#rules"
    )


def _won(audit: Audit, gate: str, value: dict[str, Any], first: str) -> Clause:
    best = value["ranking"][0]["mean"]
    roles = [role for role, config in roles_of(audit, gate).items() if config == first]
    name = f"The {' and '.join(roles)}, {first}," if roles else first
    budget = words.seconds(audit.study.rungs[audit.study.last_rung].budget_seconds)
    text = f"{name} wins: the lowest mean val_bpb ({words.number(best, 4)}) at {budget}"
    if len(value["ranking"]) > 1:
        second = value["ranking"][1]
        text += f", {words.number(second['mean'] - best, 4)} ahead of {second['config']}"
    return Clause(text, f"gates/{gate}.html#evidence", strong=first)


def _verdicts(audit: Audit, gate: str, value: dict[str, Any]) -> list[Clause]:
    rules, roles = rules_of(audit, gate), roles_of(audit, gate)
    found = []
    for told in value["rules"]:
        if told["effect"] == "verdict" and told["results"]:
            rule = rules[told["id"]]
            why = _stopped_before(audit, [roles[rule[key]] for key in ("role", "to") if key in rule])
            text = _say(rule, roles, told["results"][0], why)
            found.append(Clause(text, f"gates/{gate}.html#{told['id']}", told["results"][0]["holds"], told["id"]))
    return found


def _stopped_before(audit: Audit, configs: list[str]) -> str:
    """Which of these never reached the last rung, and the gate that stopped it."""
    paths = ladder.ladder(audit)
    for config in configs:
        last = paths[config].last if config in paths else None
        if last is not None and last.state == "stopped":
            return f"since {config} was stopped at {words.gate_title(names.gate_of(last.rung)).lower()}"
    return ""


def _say(rule: dict[str, Any], roles: dict[str, str], one: dict[str, Any], why: str) -> str:
    """One verdict in words. `why` says where a role was stopped before it could be judged."""
    role, name = rule["role"], roles[rule["role"]]
    if rule["kind"] == "first_in_all_cells":
        if one["holds"] is None:
            return f"whether the {role} is first in every cell is not evaluable, {why or one['note']}"
        seen, cells = int(one["observed"]), int(one["threshold"])
        return f"the {role} is first in {f'all {cells}' if one['holds'] else f'only {seen} of {cells}'} cells"
    limit, near = words.number(one["threshold"], 3), rule["kind"] == "near_equivalent"
    claim = f"within {limit} of the {rule['to']}" if near else f"at most {limit} above the {rule['to']}"
    if one["holds"] is None:
        return f"whether the {role} ({name}) is {claim} is not evaluable, {why or one['note']}"
    if one["holds"]:
        verb = f"is {claim}"
    else:
        verb = f"is not {claim}" if near else f"is more than {limit} above the {rule['to']}"
    return f"the {role} ({name}) {verb} ({words.signed(one['observed'], 4)})"
