"""params.yaml as a study: what is compared, where, at which budgets and under which rules.

`load()` reads and validates it and is the only way in. What the runner alone can judge (a configuration's
knobs, the `runner` section) is validated by the runner's own spec, in `stages/runners/builtin.py`.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from stages.domain import names, yamlio
from stages.domain.command import CommandSettings, RunnerSection, find_problems
from stages.domain.corpus import Data, DataFiles
from stages.domain.errors import Invalid
from stages.domain.factors import Factors
from stages.domain.factors import find_problem as find_factor_problem
from stages.domain.metric import metric_of
from stages.domain.names import ClockKind
from stages.domain.origin import Origin
from stages.domain.rules import (
    EFFECTS,
    AboveNoiseFloor,
    BudgetKept,
    FixedEnvironment,
    Gate,
    MeanGap,
    MinHostAgreement,
    NearEquivalent,
    Rule,
    roles_named,
    threshold_in_bpb,
)
from stages.domain.schema import WHOLE, Key, Strict, Text, parse

SCHEMA = 1
Scalar = int | float | str | bool | None
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Seconds = Annotated[float, Field(gt=0, le=30 * 86400)]


class About(Strict):
    """The `study` section: what this study is called and asks, and whether its rules bind."""

    schema_: Annotated[int, Field(alias="schema", description="The version of this format: 1.")]
    name: Annotated[Key, Field(description="What locks and evidence call the study.")]
    title: Annotated[str, Field(max_length=200, description="The headline of the site.")]
    question: Annotated[Text, Field(description="What the study asks, in a sentence.")]
    mode: Annotated[
        Literal["frozen", "exploratory"],
        Field(description="`exploratory` judges recorded evidence by unfrozen rules, and nothing of it verifies."),
    ]
    note: Annotated[Text, Field(description="What a reader must know besides.")] = ""
    #: Not written where absent: older locks keep their bytes.
    from_: Annotated[
        Origin | None,
        Field(
            alias="from",
            description="The gate of a finished study that this one goes on from (`promotion study extend`).",
            exclude_if=lambda value: value is None,
        ),
    ] = None


class Clock(Strict):
    """How a budget's seconds are measured: by the wall, rated through the host's declared FLOP/s, or given.

    On the given clock the rungs' `with` says how long to train, in steps or tokens; the seconds are nominal. They price
    and order the rungs and set the time limit of a run.
    """

    kind: Annotated[
        ClockKind,
        Field(description="`rated` turns seconds into steps through `flops_per_second`: the same records anywhere."),
    ]


class Host(Strict):
    """A host block: what a machine must be, to make evidence in its name."""

    title: Annotated[str, Field(max_length=200, description="What people call the machine.")] = ""
    system: Annotated[
        Literal["any", "linux", "windows", "darwin"], Field(description="The operating system that it must have.")
    ]
    device: Annotated[
        Literal["cpu", "cuda", "any"], Field(description="What the runs train on; `any` is for a command alone.")
    ]
    device_name: Annotated[
        str, Field(max_length=100, description="What the device's name must contain; empty: any device.")
    ] = ""
    precision: Annotated[Literal["fp32", "bf16"], Field(description="The arithmetic of the forward pass.")]
    threads: Annotated[int, Field(ge=1, le=1024, description="CPU threads of a run."), WHOLE]
    compile: Annotated[bool, Field(description="Whether the model is compiled.")]
    flops_per_second: Annotated[
        int | None, Field(ge=1, description="What the rated clock takes the machine to do; it needs the key."), WHOLE
    ] = None
    #: Not written where absent: older locks keep their bytes.
    gpus: Annotated[
        int | None,
        Field(ge=1, le=64, description="GPUs that one run of a command uses.", exclude_if=lambda value: value is None),
        WHOLE,
    ] = None
    report: Annotated[
        list[Literal["torch", "device", "driver", "system"]],
        Field(
            default_factory=list,
            description="Facts about the machine in every record, for a rule against drift.",
        ),
    ]


class Rung(Strict):
    """A budget, the seeds of its cells, and the seeds of its A/A runs of the reference.

    `with` holds what a command is given at this rung, such as its number of steps.
    """

    budget_seconds: Annotated[Seconds, Field(description="What every run may spend, on the study's clock.")]
    with_: Annotated[
        dict[Key, Scalar],
        Field(
            alias="with",
            max_length=100,
            default_factory=dict,
            description="What a command is given here, such as its number of steps.",
        ),
    ]
    seeds: Annotated[
        list[Seed], Field(min_length=1, max_length=64, description="A run for each on every host; fresh at every rung.")
    ]
    floor_seeds: Annotated[
        list[Seed],
        Field(max_length=64, default_factory=list, description="A/A runs of `roles.reference`, for the noise floor."),
    ]


class Study(Strict):
    """One whole params.yaml."""

    study: About
    data: Data
    runner: Annotated[RunnerSection, Field(description="The runner's settings, the same for every run.")]
    clock: Clock
    hosts: Annotated[
        dict[Key, Host], Field(min_length=1, max_length=32, description="Host blocks by name: where every run is made.")
    ]
    configs: Annotated[
        dict[Key, dict[str, Scalar]],
        Field(min_length=1, max_length=10_000, description="What is compared: configurations and their knobs."),
    ]
    roles: Annotated[dict[Key, Key], Field(description="Names for configurations that rules speak of.")]
    rungs: Annotated[
        dict[str, Rung], Field(min_length=1, max_length=12, description="rung1, rung2, ...: budgets that climb.")
    ]
    gates: Annotated[
        dict[str, Gate], Field(description="gate1, gate2, ...: the rules that judge each rung, by id: R1 to R999.")
    ]
    #: Not written where absent: older locks keep their bytes.
    factors: Annotated[
        Factors | None,
        Field(
            min_length=2,
            max_length=12,
            description="What a screening study varies: by factor, two or three levels of each knob that it sets.",
            exclude_if=lambda value: value is None,
        ),
    ] = None

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        for check in (
            _schema,
            _origin,
            _ladder,
            _seeds,
            _roles,
            _runner,
            _answerable,
            _leads_on,
            _clock,
            _factors,
        ):
            check(self)
        return self

    @property
    def command(self) -> CommandSettings | None:
        """The settings of the command runner; None where the runner is the built-in one."""
        return CommandSettings.model_validate(self.runner) if self.runner.get("kind") == "command" else None

    @property
    def last_rung(self) -> str:
        """The rung with the largest budget, whose gate gives the verdicts."""
        return list(self.rungs)[-1]

    def cells(self, rung: str) -> list[tuple[str, int]]:
        """The host-seed cells of a rung, in the order of params.yaml."""
        return [(host, seed) for host in self.hosts for seed in self.rungs[rung].seeds]


def _schema(study: Study) -> None:
    if study.study.schema_ != SCHEMA:
        schema = study.study.schema_
        hint = "update staged-promotion" if schema > SCHEMA else "see CHANGELOG.md for how to bring it up to date"
        raise ValueError(f"study.schema: found {schema}, expected {SCHEMA}; {hint}")


def _origin(study: Study) -> None:
    origin = study.study.from_
    if origin is not None and origin.study == study.study.name:
        raise ValueError(
            f"study.from.study: found {origin.study!r}, this study's own name, expected another: an extension has a "
            "name of its own"
        )


def _ladder(study: Study) -> None:
    expected = [f"rung{number}" for number in range(1, len(study.rungs) + 1)]
    if list(study.rungs) != expected:
        raise ValueError(f"rungs: found {', '.join(study.rungs)}, expected {', '.join(expected)} in this order")
    gates = [names.gate_of(rung) for rung in expected]
    if sorted(study.gates) != sorted(gates):
        raise ValueError(f"gates: found {', '.join(study.gates)}, expected one for each rung: {', '.join(gates)}")
    for lower, upper in pairwise(expected):
        if study.rungs[lower].budget_seconds > study.rungs[upper].budget_seconds:
            raise ValueError(f"rungs.{upper}.budget_seconds: smaller than that of {lower}; budgets climb")


def _seeds(study: Study) -> None:
    used: dict[int, str] = {}
    for name, rung in study.rungs.items():
        for key in ("seeds", "floor_seeds"):
            for seed in getattr(rung, key):
                if seed in used:
                    raise ValueError(
                        f"rungs.{name}.{key}: seed {seed} stands in {used[seed]} already, expected a fresh one: "
                        "a seed that helped to choose a configuration flatters it at the next rung"
                    )
                used[seed] = f"rungs.{name}.{key}"


def _roles(study: Study) -> None:
    for role, config in study.roles.items():
        if role == "best":
            raise ValueError("roles.best: `best` means the best candidate; give the role another name")
        if config not in study.configs:
            raise ValueError(f"roles.{role}: found {config!r}, expected one of configs: {', '.join(study.configs)}")
    if "reference" not in study.roles and any(rung.floor_seeds for rung in study.rungs.values()):
        raise ValueError("roles.reference: missing, but floor_seeds ask for A/A runs of it")
    for gate, rules in study.gates.items():
        for rule_id, rule in rules.items():
            for role in roles_named(rule):
                if role not in study.roles:
                    known = ", ".join(study.roles) or "none"
                    raise ValueError(f"gates.{gate}.{rule_id}: role {role!r} is not among roles: {known}")


def _runner(study: Study) -> None:
    """What the runner needs of the other sections, and what only the other runner can do."""
    settings = study.command
    options = {name: rung.with_ for name, rung in study.rungs.items()}
    is_files = isinstance(study.data.source, DataFiles)
    if settings is None:
        needs = "needs the command runner (runner.kind: command)"
        if study.clock.kind == "given":
            raise ValueError(f"clock.kind: found given, which {needs}; expected wall or rated")
        for name, values in options.items():
            if values:
                raise ValueError(f"rungs.{name}.with: {needs}")
        for name, host in study.hosts.items():
            if host.device == "any" or host.gpus is not None:
                raise ValueError(
                    f"hosts.{name}.{'device: found any, which' if host.device == 'any' else 'gpus:'} {needs}"
                )
        if is_files:
            raise ValueError(f"data.source.kind: found files, which {needs}; expected package, text or parquet")
        return
    if not is_files:
        raise ValueError("data.source.kind: a command reads files as they are: expected files, with a root and digests")
    if problems := find_problems(settings, study.configs, options, study.clock.kind):
        raise ValueError("; ".join(problems))


def _answerable(study: Study) -> None:
    """A rule that no evidence could answer, or that any would, is found out before the evidence is paid for."""
    for gate, rules in study.gates.items():
        for rule_id, rule in rules.items():
            if why := _never_answered(study, names.rung_of(gate), rule):
                raise ValueError(f"gates.{gate}.{rule_id}: {rule.kind} could never tell anything: {why}")


def _never_answered(study: Study, rung: str, rule: Rule) -> str | None:
    threshold, resolution = threshold_in_bpb(rule), metric_of(study.runner).resolution
    if threshold is not None and resolution is not None and threshold < resolution:
        return f"its threshold is below runner.score.resolution, {resolution:g}; raise it, or remove the rule"
    match rule:
        case FixedEnvironment():
            silent = [name for name, host in study.hosts.items() if not host.report]
            if silent:
                return (
                    f"hosts.{silent[0]}.report: found nothing, expected facts to compare, such as [torch, device]; "
                    "name some, or remove the rule"
                )
        case AboveNoiseFloor():
            count = len(study.rungs[rung].floor_seeds)
            if count < 2:
                return (
                    f"rungs.{rung}.floor_seeds: found {count}, expected at least 2 A/A runs of the reference on each "
                    "host; add seeds that no rung uses, or remove the rule"
                )
        case MinHostAgreement():
            if len(study.hosts) < 2:
                return "hosts: found 1, expected at least 2 to agree; add a host block, or remove the rule"
        case BudgetKept():
            if study.command is None:
                return "the built-in runner keeps its budget by its own clock; remove the rule"
            if "seconds" not in study.command.facts:
                return (
                    "runner.facts.seconds: missing; name the line in which the trainer says how long it trained, such "
                    "as 'training_seconds: {value}', or remove the rule"
                )
        case NearEquivalent() | MeanGap() if rule.role == rule.to:
            return f"it compares the {rule.role} with itself; name two roles"
    return None


def _leads_on(study: Study) -> None:
    """A gate that no rule lets anybody through would close every rung after it."""
    for gate, rules in study.gates.items():
        promotes = any(EFFECTS[rule.kind] == "promote" for rule in rules.values())
        if gate != names.gate_of(study.last_rung) and not promotes:
            raise ValueError(
                f"gates.{gate}: no rule promotes anybody, so the rungs after it would stay empty; add one, such as "
                "{kind: top_k, k: 4}"
            )


def _clock(study: Study) -> None:
    if study.clock.kind == "rated":
        for name, host in study.hosts.items():
            if host.flops_per_second is None:
                raise ValueError(
                    f"hosts.{name}.flops_per_second: missing; the rated clock turns seconds into steps with it"
                )


def _factors(study: Study) -> None:
    """Every configuration of a screen is a combination of its factors' levels, which the effects are computed from."""
    if study.factors and (problem := find_factor_problem(study.factors, study.configs)):
        raise ValueError(f"{problem}; `promotion screen design` writes configs from factors")


def parse_study(value: Any, where: str) -> Study:
    """`value`, as read from `where`, as a study; `Invalid` with every mistake on a line of its own."""
    return parse(Study, value, where)


def parse_bytes(data: bytes, where: str) -> Study:
    """A study's file, `where` people know it; every mistake is told with its line."""
    try:
        return parse_study(yamlio.loads(data, where), where)
    except yamlio.BadYaml:
        raise
    except Invalid as error:
        raise yamlio.with_lines(error, data, where) from None


def load(path: Path = names.PARAMS) -> Study:
    """The study in params.yaml. Raises `Invalid` or `BadYaml`, whose messages stand alone."""
    remedy = "run this in the root of a study, or write one with `promotion study use laptop`"
    return parse_bytes(yamlio.read_bytes(path, remedy), path.as_posix())
