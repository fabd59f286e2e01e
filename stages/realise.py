"""What the runner makes of a study: its own validation of every configuration, and the model each one builds.

Two knob settings can build one model, so a configuration is identified by what is built (PROTOCOL.md of the paper's
runner: width is depth x aspect rounded up to whole heads). Imports the torch-free part of `trainer` alone.
"""

from __future__ import annotations

from dataclasses import asdict
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


def parse_spec(value: dict[str, Any], config: str, where: str = "params.yaml") -> Spec:
    """The runner's own reading of a spec; its refusal is told by the paths that params.yaml has."""
    try:
        return Spec.from_json(value)
    except SpecError as error:
        text = str(error)
        for section, path in (("config", f"configs.{config}"), ("runner", "runner"), ("clock", "clock")):
            text = text.replace(f"spec.{section}", path)
        raise Invalid(f"{where}: {text}") from None


def _training(spec: Spec) -> str:
    """How a configuration trains its model, whatever its device batch: two with the same model and this are one."""
    shaping = {"depth", "aspect", "window", "device_batch_tokens"}
    return repr(sorted((key, value) for key, value in asdict(spec.config).items() if key not in shaping))


def realise_all(study: Study, vocab_size: int, where: str = "params.yaml") -> dict[str, dict[str, Any]]:
    """By configuration: the model that it builds, and which other configurations build the same one.

    Two that also train it alike are refused: one of them would take a promotion slot and tell nothing new.
    """
    first = next(iter(study.hosts.values()))
    shapes: dict[str, dict[str, Any]] = {}
    models: dict[str, list[str]] = {}
    trained: dict[tuple[str, str], str] = {}
    for name, config in study.configs.items():
        value = spec_of(dict(study.runner), dict(config), first.model_dump(), study.clock.kind, 1.0, 0, False)
        spec = parse_spec(value, name, where)
        shape = realise(spec.config, spec.runner, vocab_size)
        twin = trained.setdefault((shape.digest(), _training(spec)), name)
        if twin != name:
            raise Invalid(
                f"{where}: configs.{name}: builds and trains exactly what {twin} does; remove one of them, or measure "
                "what repetition shows with floor_seeds"
            )
        shapes[name] = shape.to_json()
        models.setdefault(shape.digest(), []).append(name)
    for group in models.values():
        for name in group:
            shapes[name]["same_model_as"] = sorted(other for other in group if other != name)
    return shapes


def one_model(shapes: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The groups of configurations that build one model and differ in training alone, largest first."""
    groups = {tuple(sorted([name, *shape["same_model_as"]])) for name, shape in shapes.items()}
    return sorted((list(group) for group in groups if len(group) > 1), key=lambda group: (-len(group), group))
