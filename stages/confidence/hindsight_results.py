"""What hindsight says, as frozen dataclasses, and the stored form beside that of the confidence.

    write(Path(), result)       artifacts/hindsight/hindsight.json and metrics.json
    read(Path())                the same again, or None where nothing was trained in hindsight

Figures are in val_bpb at the budget of the last rung unless said. A gap is a mean less another; below zero is better.
What is not known is None, and never zero.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from stages.confidence.results import Comparison, Noise, to_json
from stages.domain import canonical, files, names
from stages.domain.errors import Invalid
from stages.domain.schema import explain

SCHEMA = 1
RESULT = names.HINDSIGHT / "hindsight.json"
METRICS = names.HINDSIGHT / "metrics.json"
REMEDY = "`dvc repro -s stages/ladder/hindsight/dvc.yaml:summary` writes it anew"

Source = Literal["ladder", "hindsight", "missing", "unfinished"]


@dataclass(frozen=True)
class FinalStanding:
    """One configuration at the last budget: its mean, each host's, its rank among all, and the gate that stopped it.

    `source` says where the runs are from; `missing`: not every cell was run, `unfinished`: not every run finished. Both
    have no mean. `stopped_at` is None for those whom the ladder took to the last rung.
    """

    config: str
    source: Source
    stopped_at: str | None
    mean: float | None
    hosts: dict[str, float | None]
    rank: int | None


@dataclass(frozen=True)
class Dropped:
    """A configuration that a gate stopped although it is better at the last budget than one that the gate kept.

    `kept` are those, best first; `by_role`: a role alone kept each of them. `against` compares it with the first of
    them, `against_best` with the best of all whom the gate kept.
    """

    config: str
    kept: tuple[str, ...]
    by_role: bool
    against: Comparison
    against_best: Comparison


@dataclass(frozen=True)
class GateHindsight:
    """One gate before the last: what it dropped and kept, seen from the last budget.

    `inversions` of `pairs`: pairs of a stopped and a kept configuration of which the stopped one is the better.
    `regret`: the best whom it kept less the best of all whom it judged; 0 where the best went on.
    """

    gate: str
    rung: str
    dropped: int
    kept: int
    pairs: int
    inversions: int
    best_kept: str | None
    best_dropped: str | None
    regret: float | None
    better: tuple[Dropped, ...]


@dataclass(frozen=True)
class Foretold:
    """How well a rung foretold the last budget: Kendall's tau-b, with a percentile bootstrap over configurations.

    `tau_b` is over those who ran at the rung. `ladder_tau_b` is over all: behind them, in the order of the rungs that
    they reached, those who were stopped before. No interval for fewer than five.
    """

    rung: str
    candidates: int
    tau_b: float | None
    interval: tuple[float, float] | None
    configs: int
    ladder_tau_b: float | None
    ladder_interval: tuple[float, float] | None


@dataclass(frozen=True)
class Alternative:
    """Another way to spend device-hours, over every choice that chance could have made in it.

    `configs` is how many are trained at the last budget, `seeds` on how many seeds a host. `best` is the probability
    that it picks the best of all, `regret` the expected distance of its pick to the best, `worst` the largest.
    """

    key: Literal["ladder", "random", "greedy", "greedy-matched", "seeds", "full"]
    title: str
    configs: int
    seeds: int
    hours: float
    best: float
    regret: float
    worst: float


@dataclass(frozen=True)
class Hindsight:
    """Everything that is said. `decision` is the SHA-256 of the last decision's line.

    `regret` is the ladder's choice less the best of all; 0 where they are one, None where not every configuration is
    known: then `unknown` names the others, and `lead` and `regret` speak of those that are known.
    """

    schema: int
    rung: str
    gate: str
    decision: str
    cells: int
    noise: Noise
    standings: tuple[FinalStanding, ...]
    unknown: tuple[str, ...]
    choice: str | None
    best: str | None
    regret: float | None
    regret_interval: Comparison | None
    gates: tuple[GateHindsight, ...]
    foretold: tuple[Foretold, ...]
    alternatives: tuple[Alternative, ...]
    ladder_hours: float
    hindsight_hours: float
    text: str


def to_bytes(result: Hindsight) -> bytes:
    """A result in its canonical form."""
    return canonical.dumps(to_json(result))


def from_bytes(data: bytes) -> Hindsight:
    """The result in these bytes of `RESULT`; `Invalid` where it is none."""
    where = RESULT.as_posix()
    try:
        value = canonical.loads(data)
    except canonical.NotCanonical as error:
        raise Invalid(f"{where}: {error}; {REMEDY}") from None
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA:
        raise Invalid.at(where, f"found {schema!r}, expected {SCHEMA}; {REMEDY}", "schema")
    try:
        return TypeAdapter(Hindsight).validate_python(value)
    except ValidationError as error:
        raise explain(error, where, value) from None


def read(root: Path) -> Hindsight | None:
    """The result under `root`; None where there is none."""
    path = root / RESULT
    return from_bytes(path.read_bytes()) if path.is_file() else None


def write(root: Path, result: Hindsight) -> None:
    """The result, and what `dvc metrics show` prints of it."""
    files.write_whole(root / RESULT, to_bytes(result))
    figures = {
        "choice": result.choice,
        "best": result.best,
        "regret": to_json(result.regret),
        "unknown": len(result.unknown),
        "dropped_better": {gate.gate: len(gate.better) for gate in result.gates},
        "foretold": {step.rung: to_json(step.ladder_tau_b) for step in result.foretold},
    }
    files.write_whole(root / METRICS, json.dumps(figures, indent=1).encode("utf-8") + b"\n")
