"""The one place where the pipeline meets the runner: a spec goes in, a record and a trace come out.

Another trainer could take the runner's place by offering `train(spec, corpus, ...) -> Outcome` (see trainer/).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from stages.domain import canonical, files, names, tickets
from stages.domain.fail import Refused
from stages.hosts import block, leash
from stages.hosts.alone import alone
from stages.realise import parse_spec, spec_of
from stages.run import knobs_of, write

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


def build_spec(door: dict[str, Any], config: str, host: str, seed: int) -> dict[str, Any]:
    """The runner's whole input, defaults spelled out, from what is frozen and the configuration's knobs."""
    value = spec_of(
        door["settings"],
        knobs_of(config),
        door["hosts"][host],
        door["clock"]["kind"],
        door["budget_seconds"],
        seed,
        door["last"],
    )
    return parse_spec(value, config).to_json()


def environment(report: list[str], machine: dict[str, Any]) -> dict[str, str] | None:
    """The facts about the machine that the host block asks its records to carry; None where it asks for none."""
    told = {key: next((machine[name] for name in REPORTABLE[key] if machine.get(name)), "unknown") for key in report}
    return {key: str(value) for key, value in told.items()} or None


def train(door: dict[str, Any], *, config: str, host: str, seed: int, purpose: str) -> None:
    """Train one run here and write its record and trace. Raises before training if anything is not as frozen."""
    started = time.perf_counter()
    leash.heed()
    if host not in door["hosts"]:
        raise Refused(f"params.yaml: hosts.{host} is not among the frozen hosts: {', '.join(door['hosts'])}")
    block.require(host, door["hosts"][host])
    runner = files.tree_digest(names.TRAINER)
    if runner != door["runner"]:
        raise Refused(
            f"trainer/: found sha256 {runner}, expected the frozen {door['runner']}; "
            "take the change back, or freeze it with `promotion freeze`"
        )
    check_corpus(door["corpus"])
    spec = build_spec(door, config, host, seed)
    run = names.run_id(door["rung"], config, host, seed, purpose)
    with alone(run, f"{run} is being trained"):
        outcome, observer = _run(spec, run, host, door)
        record = tickets.record(
            door,
            config=config,
            host=host,
            seed=seed,
            purpose=purpose,
            status=outcome.status,
            reason=outcome.reason,
        )
        record["environment"] = environment(door["hosts"][host]["report"], outcome.telemetry)
        record["spec"], record["facts"] = spec, outcome.facts
        telemetry = {"schema": 1, "run": run, "status": outcome.status, **outcome.telemetry}
        telemetry["commit"] = block.git_commit()
        trace = {"curve.csv": outcome.curve_csv().encode("utf-8")}
        if outcome.weights is not None:
            names.trace_path(run).mkdir(parents=True, exist_ok=True)
            outcome.save_weights(names.trace_path(run) / "weights.safetensors")
        telemetry["process_seconds"] = round(time.perf_counter() - started, 3)
        trace["telemetry.json"] = (json.dumps(telemetry, indent=1, sort_keys=True) + "\n").encode("utf-8")
        write(record, trace)
        outcome.clear()  # not before: a process that dies in between must not have trained for nothing
        observer.done(record, outcome.telemetry)


def _run(spec: dict[str, Any], run: str, host: str, door: dict[str, Any]) -> tuple[Any, Any]:
    from stages.progress import Live
    from trainer.loop import train as train_spec
    from trainer.spec import Spec

    block.require(host, door["hosts"][host])  # again: torch is here now, and tells which GPU it uses
    observer = Live(run, seconds=door["budget_seconds"], clock=door["clock"]["kind"], stream=sys.stderr)
    scratch = names.SCRATCH / run
    with observer:
        outcome = train_spec(Spec.from_json(spec), names.CORPUS, scratch=scratch, observer=observer)
    return outcome, observer
