"""Reads the two inputs besides the curves: map.yaml, which gives the columns their meaning, and the rules to replay.

    promotion backtest CURVES.csv --map map.yaml --rules params.yaml

Rules come from a whole params.yaml, or from a shorter file with `schema`, `unit`, `roles`, `rungs` and `gates`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from stages.domain import names, yamlio
from stages.domain.canonical import JsonObject
from stages.domain.errors import Invalid
from stages.domain.rules import EFFECTS, Gate, Rule, roles_named, threshold_in_bpb
from stages.domain.schema import Key, Strict, Text, parse
from stages.domain.study import parse_study

SCHEMA = 1
STUDY_UNIT = "bits per byte"
FINAL = "final"


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("printable text on one line")
    return text


Label = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Budget = Annotated[float, Field(gt=0, le=1e15)]
RungName = Annotated[str, Field(pattern=r"^rung[1-9][0-9]?$")]


class Columns(Strict):
    """Which column of the CSV holds what. `host`, `status`, `scheduled`, `cost` and `unit` may be absent.

    `status` says finished, diverged or failed; `scheduled` the budget that the run was planned for; `cost` the
    device-seconds that it had used at this row; `unit` the unit of this row's value.
    """

    config: Label
    seed: Label
    budget: Label
    value: Label
    host: Label | None = None
    status: Label | None = None
    scheduled: Label | None = None
    cost: Label | None = None
    unit: Label | None = None


class Value(Strict):
    """The unit of the value, and whether lower or higher is better."""

    unit: Label
    direction: Literal["lower", "higher"]


class BudgetAxis(Strict):
    """The unit of the budget. `prefix: true` where a run's rows are points of one run and no separate runs."""

    unit: Label
    prefix: bool


class AtBudget(Strict):
    """What finally counts is the value at this budget."""

    kind: Literal["at_budget"]
    budget: Budget


class LastBudget(Strict):
    """What finally counts is the value at the last budget, which must be the same for every run."""

    kind: Literal["last_budget"]


class FirstReach(Strict):
    """What finally counts is the first budget at which a run reaches `value`, interpolated between its rows.

    `unreached` says what becomes of a run that never does: `omit` leaves it out (it flatters its configuration),
    `at_end` counts the end of its curve, a lower bound.
    """

    kind: Literal["first_reach"]
    value: Annotated[float, Field(ge=-1e6, le=1e6)]
    unreached: Literal["omit", "at_end"]


Final = Annotated[AtBudget | LastBudget | FirstReach, Field(discriminator="kind")]


class CurveMap(Strict):
    """One map.yaml."""

    schema_: Annotated[int, Field(alias="schema")]
    source: Text
    columns: Columns
    value: Value
    budget: BudgetAxis
    final: Final
    #: Rung of the rules -> the budget at which the curves are read, or `final`.
    rungs: Annotated[dict[RungName, Budget | Literal["final"]], Field(min_length=1, max_length=12)]
    #: Role of the rules -> configuration of the curves.
    roles: dict[Key, Label] = Field(default_factory=dict)
    #: Configurations that are left out, each with the reason.
    exclude: dict[Label, Annotated[str, Field(min_length=1, max_length=1000)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.schema_ != SCHEMA:
            hint = "update staged-promotion" if self.schema_ > SCHEMA else "see docs/backtest.md"
            raise ValueError(f"schema: found {self.schema_}, expected {SCHEMA}; {hint}")
        used = [name for name in self.columns.model_dump().values() if name is not None]
        twice = sorted({name for name in used if used.count(name) > 1})
        if twice:
            raise ValueError(f"columns: {twice[0]!r} is named twice, expected a column of its own for each")
        expected = [f"rung{number}" for number in range(1, len(self.rungs) + 1)]
        if list(self.rungs) != expected:
            raise ValueError(f"rungs: found {', '.join(self.rungs)}, expected {', '.join(expected)} in this order")
        budgets = [budget for budget in self.rungs.values() if budget != FINAL]
        if FINAL in list(self.rungs.values())[:-1]:
            raise ValueError("rungs: `final` is the last rung or none")
        if budgets != sorted(budgets):
            raise ValueError("rungs: found a budget that is smaller than the one before it; budgets climb")
        return self


class RungSize(Strict):
    """How many runs of each configuration a rung has on each host, and how many A/A runs of the reference."""

    seeds: Annotated[int, Field(ge=1, le=64)]
    floor_seeds: Annotated[int, Field(ge=0, le=64)] = 0


class RulesFile(Strict):
    """The shorter rules file. Thresholds are in `unit`."""

    schema_: Annotated[int, Field(alias="schema")]
    unit: Label
    roles: dict[Key, Label] = Field(default_factory=dict)
    rungs: Annotated[dict[RungName, RungSize], Field(min_length=1, max_length=12)]
    gates: dict[str, Gate]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.schema_ != SCHEMA:
            raise ValueError(f"schema: found {self.schema_}, expected {SCHEMA}")
        if [*self.gates] != [names.gate_of(rung) for rung in self.rungs]:
            raise ValueError(f"gates: found {', '.join(self.gates)}, expected one for each rung, in the same order")
        for gate, rules in list(self.gates.items())[:-1]:
            if not any(EFFECTS[rule.kind] == "promote" for rule in rules.values()):
                raise ValueError(f"gates.{gate}: no rule promotes anybody, so the rungs after it would stay empty")
        return self


@dataclass(frozen=True)
class Ruleset:
    """The rules to be replayed: gates by name, runs a host at each rung, and the roles that they speak of."""

    name: str
    unit: str
    roles: Mapping[str, str]
    sizes: Mapping[str, RungSize]
    gates: Mapping[str, Mapping[str, Rule]]
    #: Host blocks of the study; 1 for the shorter file.
    hosts: int = 1
    #: Budget in seconds of each rung, where the rules are those of a params.yaml.
    seconds: Mapping[str, float] | None = None
    #: How many configurations the rules were written for, where that is known.
    configs: int | None = None

    @property
    def rungs(self) -> list[str]:
        """The rungs, in order."""
        return list(self.sizes)


def load_map(path: Path) -> CurveMap:
    """map.yaml. Raises `Invalid` with every mistake on a line of its own."""
    value = yamlio.read(path, "docs/backtest.md says what a map.yaml holds")
    return parse(CurveMap, value, path.as_posix())


def load_rules(path: Path) -> Ruleset:
    """The rules of a params.yaml, or of a rules file. Raises `Invalid`."""
    value = yamlio.read(path, "name a params.yaml, or a rules file as docs/backtest.md says")
    where = path.as_posix()
    return rules_of_study(value, where) if "study" in value else _rules_of_file(value, where)


def _rules_of_file(value: JsonObject, where: str) -> Ruleset:
    parsed = parse(RulesFile, value, where)
    return Ruleset(Path(where).stem, parsed.unit, parsed.roles, parsed.rungs, parsed.gates)


def rules_of_study(value: JsonObject, where: str) -> Ruleset:
    """The rules of a whole params.yaml: its gates, roles and numbers of seeds."""
    study = parse_study(value, where)
    sizes = {
        name: RungSize(seeds=len(rung.seeds), floor_seeds=len(rung.floor_seeds)) for name, rung in study.rungs.items()
    }
    gates = {names.gate_of(rung): study.gates[names.gate_of(rung)] for rung in study.rungs}
    seconds = {name: float(rung.budget_seconds) for name, rung in study.rungs.items()}
    return Ruleset(
        study.study.name, STUDY_UNIT, study.roles, sizes, gates, len(study.hosts), seconds, len(study.configs)
    )


def check_pair(curve_map: CurveMap, rules: Ruleset, map_path: str, rules_path: str) -> dict[str, str]:
    """The roles as configurations of the curves. Refuses rules that do not fit what the map declares."""
    if list(curve_map.rungs) != rules.rungs:
        raise Invalid.at(map_path, f"found {', '.join(curve_map.rungs)}, expected those of {rules_path}", "rungs")
    _check_units(curve_map, rules, map_path, rules_path)
    roles = {role: curve_map.roles.get(role, config) for role, config in rules.roles.items()} | dict(curve_map.roles)
    for gate, kept in rules.gates.items():
        for rule_id, rule in kept.items():
            for role in roles_named(rule):
                if role not in roles:
                    raise Invalid.at(
                        map_path, f"missing, but {gate} {rule_id} speaks of it; name one configuration", f"roles.{role}"
                    )
    return roles


def check_roles(roles: Mapping[str, str], rules: Ruleset, configs: Sequence[str], map_path: str) -> None:
    """Every role that a rule speaks of is a configuration of the curves."""
    spoken = {role for kept in rules.gates.values() for rule in kept.values() for role in roles_named(rule)}
    spoken |= {"reference"} & set(roles) if any(size.floor_seeds for size in rules.sizes.values()) else set()
    for role in sorted(spoken):
        if roles[role] not in configs:
            raise Invalid.at(
                map_path,
                f"found {roles[role]!r}, expected a configuration of the curves; name the one that stands for it",
                f"roles.{role}",
            )


def _check_units(curve_map: CurveMap, rules: Ruleset, map_path: str, rules_path: str) -> None:
    for gate, kept in rules.gates.items():
        at_final = curve_map.rungs[names.rung_of(gate)] == FINAL and curve_map.final.kind == "first_reach"
        unit = curve_map.budget.unit if at_final else curve_map.value.unit
        for rule_id, rule in kept.items():
            if threshold_in_bpb(rule) is None or unit == rules.unit:
                continue
            raise Invalid.at(
                rules_path,
                f"found a threshold in {rules.unit}, but {map_path} reads {names.rung_of(gate)} in {unit}, expected "
                "rules in that unit; state the threshold anew in it, or use a rule without one, such as top_k",
                f"gates.{gate}.{rule_id}",
            )
