"""The result of a simulation as a typed value: the content of `promotion simulate --json`.

result = summarise(samples, model, fit, runs, options)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from math import sqrt
from typing import Literal

from stages.backtest.backtest_result import Count, File, Name, Ratio, Share, StoredResult, read_result
from stages.backtest.mapping import Label
from stages.backtest.model import HeldOut, Model
from stages.backtest.samples import Samples
from stages.backtest.simulation import Design, LadderOutcomes
from stages.domain.rules import in_order, say
from stages.domain.schema import Strict, Text

SCHEMA = 1
DIGITS = 6
SIMULATION = (
    "This is a simulation: a model of learning curves, fitted to recorded scores, is drawn from. It is no evidence of "
    "any study, and it is right only as far as the model is."
)


class ModelFigures(Strict):
    """The fitted model, told at the largest recorded budget (stages/backtest/model.py)."""

    offset: float
    scale: float
    exponent: float
    config_sd: float
    config_slope: float
    length: float
    kernel: Literal["exponential", "matern32"]
    host_part: float
    noise_sd: float
    noise_slope: float
    likelihood: float


class FitFigures(Strict):
    """Configurations that the fit did not see: each budget predicted from the earlier ones (`HeldOut`)."""

    budget: float
    configs: Count
    error: float
    naive: float
    coverage: list[Share]
    folds: Count


class DesignFigures(Strict):
    """What one design did. `dropped` is by gate, of all ladders; its last entry: run at the last rung, not chosen."""

    name: Name
    rules: list[Text]
    seeds: list[Count]
    entered: list[float]
    dropped: list[Share]
    kept: Share
    kept_error: Share
    chosen: Share
    chosen_error: Share
    top3_lost: Share
    nobody: Share
    regret: float
    regret_error: float
    #: Of running every configuration once on each host at the last budget.
    cost_share: Ratio


class SizeFigures(Strict):
    """All designs at one number of configurations."""

    configs: Count
    ladders: Count
    designs: list[DesignFigures]


class Simulation(StoredResult):
    """The whole result."""

    kind: Literal["simulation"]
    source: File
    recorded_configs: Count
    hosts: list[Name]
    budgets: list[float]
    unit: Label
    prefix: bool
    seed: Count
    model: ModelFigures
    fit: list[FitFigures]
    sizes: list[SizeFigures]
    statements: list[Text]


def loads(data: bytes, where: str) -> Simulation:
    """The simulation in a file that `promotion simulate --json` wrote; `Invalid` says what is wrong with it."""
    return read_result(Simulation, "simulate", data, where)


def _error(share: float, of: int) -> float:
    return round(sqrt(max(share * (1 - share), 0.0) / of), DIGITS)


def _share(value: float) -> float:
    return min(1.0, max(0.0, round(value, DIGITS)))


def design_figures(design: Design, outcome: LadderOutcomes, configs: int, hosts: int) -> DesignFigures:
    """The figures of one design."""
    ladders = outcome.ladders
    mean = outcome.regret / ladders
    variance = max(outcome.regret_squared / ladders - mean**2, 0.0)
    everything = configs * hosts * design.budgets[-1] * ladders
    return DesignFigures(
        name=design.name,
        rules=[f"gate{n} {i}: {say(rule)}" for n, gate in enumerate(design.gates, 1) for i, rule in in_order(gate)],
        seeds=list(design.seeds),
        entered=[round(float(many) / ladders, DIGITS) for many in outcome.entered],
        dropped=[_share(float(many) / ladders) for many in outcome.dropped],
        kept=_share(outcome.kept),
        kept_error=_error(outcome.kept, ladders),
        chosen=_share(outcome.chosen),
        chosen_error=_error(outcome.chosen, ladders),
        top3_lost=_share(outcome.top_lost / ladders),
        nobody=_share(outcome.nobody / ladders),
        regret=round(mean, DIGITS),
        regret_error=round(sqrt(variance / ladders), DIGITS),
        cost_share=round(outcome.cost / everything, DIGITS),
    )


def model_figures(model: Model) -> ModelFigures:
    """The model as it is written."""
    values = {key: getattr(model, key) for key in ModelFigures.model_fields}
    rounded = {key: value if isinstance(value, str) else round(float(value), 9) for key, value in values.items()}
    return ModelFigures.model_validate(rounded)


def _statements(samples: Samples, designs: Sequence[Design], left_out: Sequence[str]) -> list[str]:
    lines = [SIMULATION]
    if samples.prefix:
        lines.append("It is fitted to prefixes of one long run, not to separate short runs as in the protocol.")
    if (samples.freedom == 0).any():
        budgets = ", ".join(f"{b:g}" for b, f in zip(samples.budgets, samples.freedom, strict=True) if f == 0)
        lines.append(f"No noise was measured at budget {budgets}: it is extended as a power of the budget.")
    if samples.freedom.sum() < 30:
        lines.append(f"Seed noise rests on {samples.freedom.sum():g} degrees of freedom.")
    counts = (samples.counts > 0).any(axis=1).sum(axis=0)
    if counts[-1] < 8:
        lines.append(
            f"Only {counts[-1]:g} configurations were recorded at the largest budget: the model is weak there."
        )
    if any(design.roles for design in designs):
        lines.append("Roles of the rules are held by configurations drawn at random.")
    lines += [f"Not evaluable in a simulation, taken as met: {line}." for line in left_out]
    return lines


def summarise(
    samples: Samples,
    sha256: str,
    model: Model,
    fit: Sequence[HeldOut],
    sizes: Sequence[tuple[int, Sequence[Design], Sequence[LadderOutcomes]]],
    seed: int,
    left_out: Sequence[str] = (),
) -> Simulation:
    """The result. Holds no clock and no machine."""
    hosts = max(1, len(model.hosts))
    figures = [
        SizeFigures(
            configs=configs,
            ladders=outcomes[0].ladders,
            designs=[design_figures(d, o, configs, hosts) for d, o in zip(designs, outcomes, strict=True)],
        )
        for configs, designs, outcomes in sizes
    ]
    rows = [
        FitFigures(
            **{key: round(value, DIGITS) for key, value in asdict(row).items() if isinstance(value, float)},
            configs=row.configs,
            coverage=[round(share, DIGITS) for share in row.coverage],
            folds=row.folds,
        )
        for row in fit
    ]
    return Simulation.model_validate(
        {
            "schema": SCHEMA,
            "kind": "simulation",
            "source": File(name=samples.name.rpartition("/")[2], sha256=sha256),
            "recorded_configs": len(samples.configs),
            "hosts": [host for host in samples.hosts if host],
            "budgets": list(samples.budgets),
            "unit": samples.unit,
            "prefix": samples.prefix,
            "seed": seed,
            "model": model_figures(model),
            "fit": rows,
            "sizes": figures,
            "statements": _statements(samples, sizes[0][1] if sizes else (), left_out),
        }
    )
