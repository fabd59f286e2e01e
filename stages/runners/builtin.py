"""The one place where the pipeline meets the runner: a spec goes in, a record and a trace come out.

Another trainer could take the runner's place by offering `train(spec, corpus, ...) -> Outcome` (see trainer/).

What the runner makes of a study: its own validation of every configuration, and the model each one builds.

Two knob settings can build one model, so a configuration is identified by what is built (PROTOCOL.md of the paper's
runner: width is depth x aspect rounded up to whole heads). Imports the torch-free part of `trainer` alone.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stages.domain import canonical, files, names
from stages.domain.contract import Contract
from stages.domain.errors import Refused
from stages.domain.schema import Invalid
from stages.domain.study import Host, Study
from stages.hosts import processes
from stages.hosts.machine import git_commit, require_host
from stages.hosts.processes import hold_lock
from stages.run import knobs_of, write
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


#: What may go into a record, and the keys of the telemetry that tell it; the first that is known.
REPORTABLE = {"torch": ("torch",), "device": ("device_name",), "driver": ("driver",), "system": ("system",)}


def check_corpus(expected: str, folder: Path = names.CORPUS) -> None:
    """Refuse a corpus that is not the frozen one: the manifest by its digest, every file by the manifest's."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise Refused(f"{manifest.as_posix()} is missing; `dvc repro corpus` builds it, `dvc pull corpus` fetches it")
    found = files.sha256_file(manifest)
    if found != expected:
        raise Refused(
            f"{manifest.as_posix()}: found sha256 {found}, expected the frozen {expected}; `dvc repro` makes it anew"
        )
    value = canonical.loads(manifest.read_bytes())
    for part in (value["tokenizer"], value["token_bytes"], *value["splits"].values()):
        path = folder / part["file"]
        if not path.is_file() or files.sha256_file(path) != part["sha256"]:
            raise Refused(
                f"{path.as_posix()}: missing or changed, expected sha256 {part['sha256']}; `dvc checkout` mends it"
            )


def build_spec(contract: Contract, config: str, host: str, seed: int) -> dict[str, Any]:
    """The runner's whole input, defaults spelled out, from what is frozen and the configuration's knobs."""
    value = spec_of(
        dict(contract.settings),
        knobs_of(config),
        dict(contract.hosts[host]),
        contract.clock,
        contract.budget_seconds,
        seed,
        contract.last,
    )
    return parse_spec(value, config).to_json()


def environment(report: list[str], machine: dict[str, Any]) -> dict[str, str] | None:
    """The facts about the machine that the host block asks its records to carry; None where it asks for none."""
    told = {key: next((machine[name] for name in REPORTABLE[key] if machine.get(name)), "unknown") for key in report}
    return {key: str(value) for key, value in told.items()} or None


def train(contract: Contract, *, config: str, host: str, seed: int, purpose: str) -> None:
    """Train one run here and write its record and trace. Raises before training if anything is not as frozen."""
    started = time.perf_counter()
    processes.watch_parent()
    if host not in contract.hosts:
        raise Refused(f"params.yaml: hosts.{host} is not among the frozen hosts: {', '.join(contract.hosts)}")
    require_host(host, Host.model_validate(contract.hosts[host]))
    runner = files.tree_digest(names.TRAINER)
    if runner != contract.runner:
        raise Refused(
            f"trainer/: found sha256 {runner}, expected the frozen {contract.runner}; "
            "take the change back, or freeze it with `promotion freeze`"
        )
    check_corpus(contract.corpus)
    spec = build_spec(contract, config, host, seed)
    run = names.run_id(contract.rung, config, host, seed, purpose)
    with hold_lock(run, f"{run} is being trained"):
        outcome, observer = _run(spec, run, host, contract)
        record = contract.make_record(
            config=config,
            host=host,
            seed=seed,
            purpose=purpose,
            status=outcome.status,
            reason=outcome.reason,
            environment=environment(contract.hosts[host]["report"], outcome.telemetry),
            spec=spec,
            facts=outcome.facts,
        )
        telemetry = {"schema": 1, "run": run, "status": outcome.status, **outcome.telemetry}
        telemetry["commit"] = git_commit()
        trace = {"curve.csv": outcome.curve_csv().encode("utf-8")}
        if outcome.weights is not None:
            names.trace_path(run).mkdir(parents=True, exist_ok=True)
            outcome.save_weights(names.trace_path(run) / "weights.safetensors")
        telemetry["process_seconds"] = round(time.perf_counter() - started, 3)
        trace["telemetry.json"] = (json.dumps(telemetry, indent=1, sort_keys=True) + "\n").encode("utf-8")
        write(record, trace)
        outcome.clear()  # not before: a process that dies in between must not have trained for nothing
        observer.done(record, outcome.telemetry)


def _run(spec: dict[str, Any], run: str, host: str, contract: Contract) -> tuple[Any, Any]:
    from stages.progress import Live
    from trainer.loop import train as train_spec
    from trainer.spec import Spec

    require_host(
        host, Host.model_validate(contract.hosts[host])
    )  # again: torch is here now, and tells which GPU it uses
    observer = Live(run, seconds=contract.budget_seconds, clock=contract.clock, stream=sys.stderr)
    scratch = names.SCRATCH / run
    with observer:
        outcome = train_spec(Spec.from_json(spec), names.CORPUS, scratch=scratch, observer=observer)
    return outcome, observer
