"""What the runner makes of a study: its own validation of every configuration, and the model each one builds.

Two knob settings can build one model, so a configuration is identified by what is built (PROTOCOL.md of the paper's
runner: width is depth x aspect rounded up to whole heads). Imports the torch-free part of `trainer` alone.
"""

from __future__ import annotations

from typing import Any

from stages.domain.schema import Invalid
from stages.domain.study import Study
from trainer.errors import SpecError
from trainer.shape import realise
from trainer.spec import Spec


def spec_of(
    study_runner: dict[str, Any],
    config: dict[str, Any],
    host: dict[str, Any],
    clock: str,
    seconds: float,
    seed: int,
    last: bool,
) -> dict[str, Any]:
    """The runner's whole input for one run. The last rung is also scored on the locked split and keeps its weights."""
    return {
        "config": config,
        "runner": study_runner,
        "host": {
            "device": host["device"],
            "precision": host["precision"],
            "threads": host["threads"],
            "compile": host["compile"],
            "flops_per_second": host["flops_per_second"],
        },
        "clock": {"kind": clock, "seconds": seconds},
        "seed": seed,
        "evaluate_locked": last,
        "keep_weights": last,
    }


def parse_spec(value: dict[str, Any], where: str) -> Spec:
    """The runner's own reading of a spec; its refusal names `where`."""
    try:
        return Spec.from_json(value)
    except SpecError as error:
        raise Invalid(f"{where}: {error}") from None


def realise_all(study: Study, vocab_size: int, where: str = "params.yaml") -> dict[str, dict[str, Any]]:
    """By configuration: the model that it builds, and which other configurations build the same one."""
    first = next(iter(study.hosts.values()))
    shapes: dict[str, dict[str, Any]] = {}
    digests: dict[str, str] = {}
    for name, config in study.configs.items():
        value = spec_of(dict(study.runner), dict(config), first.model_dump(), study.clock.kind, 1.0, 0, False)
        spec = parse_spec(value, f"{where}: configs.{name}")
        shape = realise(spec.config, spec.runner, vocab_size)
        shapes[name], digests[name] = shape.to_json(), shape.digest()
    for name, told in shapes.items():
        told["same_model_as"] = sorted(n for n, d in digests.items() if n != name and d == digests[name])
    return shapes
