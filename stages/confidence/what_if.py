"""What-ifs: which outcomes other rules would have given the recorded evidence, gate after gate.

Reads locks and records alone. Only what a rule reads can be changed: its numbers, its ordering, its roles, the roles
themselves, or whether it is there. A budget, a seed, a host or a knob would have made other evidence, and is refused.
A configuration that goes on in the what-if and was never trained further is `unrun`: the later gates are judged without
it, and say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stages.confidence.gates import Fates, by_rung, fates_of, in_order, with_rules
from stages.confidence.results import Change
from stages.domain import names
from stages.domain import rules as r
from stages.domain.contract import from_lock
from stages.domain.errors import Invalid, Refused
from stages.domain.evidence import Evidence, gather
from stages.domain.locks import Lock
from stages.domain.records import Record

SCHEMA = 1
OFF = "off"
_RULE = re.compile(r"(?:gates\.)?(gate[1-9][0-9]?)\.(R[1-9][0-9]{0,2})(?:\.([a-z_]+))?")
_ROLE = re.compile(r"roles\.([a-z0-9][a-z0-9_-]*)")
#: What the first word of a refused change is, and why no recorded evidence can answer it.
_UNANSWERABLE = (
    (re.compile(r"(.*\.)?budget_seconds"), "a budget"),
    (re.compile(r"(.*\.)?(floor_|earlier_)?seeds?(\..*)?"), "a seed"),
    (re.compile(r"configs(\..*)?"), "a knob of a configuration"),
    (re.compile(r"hosts(\..*)?"), "a host"),
    (re.compile(r"(runner|trainer|settings)(\..*)?"), "a setting of the runner"),
    (re.compile(r"(data|corpus)(\..*)?"), "the corpus"),
    (re.compile(r"clock(\..*)?"), "the clock"),
    (re.compile(r"rungs(\..*)?"), "a rung"),
)
_ASK = "ask for gateN.RM.FIELD=VALUE, such as gate3.R12.k=5, gateN.RM=off or roles.ROLE=CONFIGURATION"


class NoAnswer(Refused):
    """A what-if that recorded evidence cannot answer, or that names nothing that is frozen here."""


@dataclass(frozen=True)
class Setting:
    """One change that is asked for: a rule's field, a rule left out (`field` None), or a role (`gate` None)."""

    text: str
    gate: str | None
    rule: str | None
    field: str | None
    value: Any


@dataclass(frozen=True)
class GateAnswer:
    """One gate in the what-if. `was` and `now` are None where it cannot be judged, and `note` says why.

    `judged` are the candidates with evidence, `unrun` those that were never trained at this rung.
    """

    gate: str
    settings: tuple[str, ...]
    judged: tuple[str, ...]
    unrun: tuple[str, ...]
    was: Fates | None
    now: Fates | None
    changes: tuple[Change, ...]
    note: str


def parse(texts: Iterable[str]) -> list[Setting]:
    """The changes that were typed; `NoAnswer` says which of them cannot be asked, and why."""
    return [_parse(text) for text in texts]


def _parse(text: str) -> Setting:
    key, equals, word = text.partition("=")
    for pattern, what in _UNANSWERABLE:
        if pattern.fullmatch(key):
            raise NoAnswer(
                f"{text}: {what} is no part of a rule, and what another one would have led to was never measured; "
                "change params.yaml, then `promotion freeze` and `dvc repro` measure it"
            )
    if not equals or not word:
        raise NoAnswer(f"{text}: no value; {_ASK}")
    if match := _ROLE.fullmatch(key):
        return Setting(text, None, None, match[1], word)
    match = _RULE.fullmatch(key)
    if match is None:
        raise NoAnswer(f"{text}: {_ASK}")
    gate, rule_id, field = match.groups()
    if field is None and word != OFF:
        raise NoAnswer(f"{text}: found {word!r}, expected {OFF}, which leaves the rule out; {_ASK}")
    return Setting(text, gate, rule_id, field, None if field is None else _value(word))


def _value(word: str) -> int | float | str:
    """A number where it reads as one."""
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def answer(locks: Mapping[str, Lock], records: Iterable[Record], settings: Sequence[Setting]) -> list[GateAnswer]:
    """Every gate with its fates as frozen and as asked for, in order, as far as there is evidence."""
    frozen = in_order(locks)
    known = [lock.frozen.gate for lock in frozen]
    for setting in settings:
        if setting.gate is not None and setting.gate not in known:
            raise NoAnswer(f"{setting.text}: no lock of {setting.gate}; frozen are {', '.join(known) or 'none'}")
    for lock in frozen:  # what is asked amiss is refused whether or not its gate has evidence
        _changed(lock, gather(from_lock(lock), (), ()), settings)
    rungs = by_rung(records)
    answers: list[GateAnswer] = []
    was: tuple[str, ...] = tuple(frozen[0].frozen.configs or ()) if frozen else ()
    now = was
    for lock in frozen:
        judged = _gate(lock, rungs.get(lock.frozen.rung, ()), was, now, settings)
        answers.append(judged)
        if judged.was is None or judged.now is None:
            break
        was, now = tuple(judged.was.promoted), tuple(judged.now.promoted)
    return answers


def _gate(
    lock: Lock, records: Sequence[Record], was: Sequence[str], now: Sequence[str], settings: Sequence[Setting]
) -> GateAnswer:
    gate = lock.frozen.gate
    asked = tuple(setting.text for setting in settings if setting.gate in (None, gate))
    as_frozen = gather(from_lock(lock), was, records)
    if not as_frozen.runs:
        return GateAnswer(gate, asked, (), (), None, None, (), f"{lock.frozen.rung} has no evidence yet")
    trained = {run.config for run in records if run.executed and run.lock == lock.digest}
    unrun = tuple(sorted(set(now) - trained))
    judged = tuple(sorted(set(now) & trained))
    changed = _changed(lock, gather(from_lock(lock), judged, records), settings)
    before = fates_of(as_frozen)
    if not judged:
        note = "nobody who goes on in this what-if was trained here" if unrun else "nobody goes on to here"
        return GateAnswer(gate, asked, judged, unrun, before, None, (), note)
    after = fates_of(changed)
    return GateAnswer(gate, asked, judged, unrun, before, after, before.changes(after), "")


def _changed(lock: Lock, evidence: Evidence, settings: Sequence[Setting]) -> Evidence:
    """The evidence behind the rules and roles that were asked for."""
    gate, rules, roles = lock.frozen.gate, dict(evidence.rules), dict(evidence.contract.roles)
    for setting in settings:
        if setting.gate is None:
            _set_role(setting, roles, set(lock.frozen.configs) if lock.frozen.configs else None)
        elif setting.gate == gate:
            _set_rule(setting, rules)
    for rule_id, rule in rules.items():
        for role in r.roles_named(rule):
            if role not in roles:
                raise NoAnswer(f"{gate}.{rule_id}: no role {role!r}; there are {', '.join(sorted(roles)) or 'none'}")
    if not rules:
        raise NoAnswer(f"{gate}: every rule is left out, so there is nothing to decide by")
    return with_rules(replace(evidence, contract=replace(evidence.contract, roles=roles)), rules)


def _set_role(setting: Setting, roles: dict[str, str], configs: set[str] | None) -> None:
    if setting.field not in roles:
        raise NoAnswer(f"{setting.text}: no such role; there are {', '.join(sorted(roles)) or 'none'}")
    if configs is not None and setting.value not in configs:
        raise NoAnswer(f"{setting.text}: no configuration {setting.value!r}; see configs in {names.PARAMS}")
    roles[setting.field] = setting.value


def _set_rule(setting: Setting, rules: dict[str, r.Rule]) -> None:
    rule = rules.get(setting.rule or "")
    if rule is None:
        raise NoAnswer(f"{setting.text}: no rule {setting.rule} at {setting.gate}; there are {', '.join(rules)}")
    if setting.field is None:
        del rules[setting.rule or ""]
        return
    body = rule.model_dump()
    fields = [name for name in body if name != "kind"]
    if setting.field not in fields:
        has = ", ".join(fields) or "none"
        raise NoAnswer(f"{setting.text}: {rule.kind} has no field {setting.field!r} to change; it has {has}")
    value: Any = setting.value
    if isinstance(body[setting.field], float) and isinstance(value, int):
        value = float(value)
    gate = {setting.rule: {**body, setting.field: value}}
    try:
        rules |= r.parse_rules(gate, setting.text)
    except Invalid as error:
        raise NoAnswer(str(error)) from None


def to_json(answers: Sequence[GateAnswer], settings: Sequence[Setting]) -> dict[str, object]:
    """The content of `promotion what-if --json`."""

    def fates(of: Fates | None) -> dict[str, object] | None:
        if of is None:
            return None
        return {
            "outcome": of.outcome,
            "blocked_by": list(of.blocked_by),
            "promoted": sorted(of.promoted),
            "verdicts": dict(of.verdicts),
            "lowest_mean": of.leader,
        }

    return {
        "schema": SCHEMA,
        "settings": [setting.text for setting in settings],
        "gates": [
            {
                "gate": gate.gate,
                "settings": list(gate.settings),
                "judged": list(gate.judged),
                "unrun": list(gate.unrun),
                "was": fates(gate.was),
                "now": fates(gate.now),
                "changes": [vars(change) for change in gate.changes],
                "note": gate.note,
            }
            for gate in answers
        ],
    }
