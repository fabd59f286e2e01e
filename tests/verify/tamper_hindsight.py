"""Manipulations of what was trained in hindsight: an honest one is committed first. Registered with the suite."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.domain import canonical, locks, yamlio
from stages.domain.contract import Contract, from_lock
from stages.domain.files import sha256_bytes
from stages.domain.hindsight import DECISIONS, LEDGER
from stages.domain.runs import Run, hindsight_runs
from stages.domain.study import Study, parse_study
from stages.dvcfiles.pipeline import PlannedStage, fill_templates, parse_templates
from stages.rungs import pipeline_files
from stages.runners import assign, runner_of
from tests.verify.forger import RUNS, Forger
from tests.verify.tamper import caught
from trainer.shape import rated_steps, realise
from trainer.spec import Spec

HINDSIGHT = LEDGER.as_posix()
Json = dict[str, Any]


def train(contract: Contract, study: Study, run: Run, score: float) -> Json:
    """What a run in hindsight would have recorded, but for its score."""
    spec = runner_of(contract.settings).make_spec(
        assign(contract, study.configs[run.config], run.config, run.host, run.seed)
    )
    read = Spec.from_json(spec)
    shape = realise(read.config, read.runner, study.data.vocab_size)
    batch, rate = read.config.batch_tokens, read.host.flops_per_second or 1
    steps = rated_steps(shape.flops_per_token, batch, contract.budget_seconds, rate)
    facts = {
        "val_bpb": score,
        "locked_bpb": score,
        "steps": steps,
        "tokens": steps * batch,
        "train_loss": round(score * 2, 6),
        "rated_seconds": round(steps * (shape.flops_per_token * batch / rate), 6),
        "progress": None,
        "model": {**shape.to_json(), "digest": shape.digest()},
    }
    return {"status": "finished", "reason": None, "spec": spec, "facts": facts}


def honest(f: Forger, *, commit: bool = True) -> list[Json]:
    """Hindsight as its stages leave it, in the ledger and in dvc.lock, committed; its records."""
    study = parse_study(yamlio.loads(f.read("params.yaml"), "params.yaml"), "params.yaml")
    gate = f"gate{len(study.rungs)}"
    contract = from_lock(locks.loads(f.read(f"locks/{gate}.yaml"), gate))
    line = f.read(DECISIONS.as_posix()).splitlines(keepends=True)[-1]
    entered = canonical.loads(line)["candidates"]
    records = []
    for place, run in enumerate(hindsight_runs(study)):
        content: Json = {"status": "unrun", "reason": f"it ran at {run.rung} itself"}
        if run.config not in entered:
            content = train(contract, study, run, round(3.5 + place / 1000, 6))
        names = {"config": run.config, "host": run.host, "seed": run.seed, "purpose": run.purpose}
        records.append({**contract.make_record(**names, **content), "decision": sha256_bytes(line)})
    params = yamlio.loads(f.read("params.yaml"), "params.yaml")
    for file in pipeline_files(study, "hindsight"):
        f.write(file.path, file.text.encode())
        stages = fill_templates(parse_templates(yamlio.loads(file.text.encode(), file.path), file.path), file.runs)
        lock = {"schema": "2.0", "stages": {name: locked(stage, params) for name, stage in stages.items()}}
        f.yaml(file.lock, json.loads(json.dumps(lock)))  # nothing twice: DVC writes no aliases
    save(f, records)
    if commit:
        f.commit("Hindsight")
    return records


def locked(stage: PlannedStage, params: Json) -> Json:
    """A stage as DVC would lock it, with digests that `Forger.digests` mends where git knows them."""

    def files(paths: tuple[str, ...]) -> list[Json]:
        return [{"path": path, "hash": "md5", "md5": "0" * 32, "size": 0} for path in sorted(paths)]

    value = {"cmd": stage.cmd, "deps": files(stage.deps), "outs": files(stage.outs)}
    given = {file: {"knobs": params["configs"][Path(file).stem]} for file in stage.params}
    return value | ({"params": given} if given else {})


def save(f: Forger, records: list[Json], *, mend: bool = True) -> None:
    """Write the ledger of hindsight; with `mend`, every digest that it changes too."""
    f.write(HINDSIGHT, b"".join(canonical.dumps(record) for record in records))
    if mend:
        f.digests()


def trained(records: list[Json]) -> Json:
    return next(record for record in records if record["facts"])


def edited(change: Callable[[Json], object], *, mend: bool = True) -> Callable[[Forger], None]:
    """A manipulation that changes the first trained record, before anything of hindsight is committed."""

    def make(f: Forger) -> None:
        records = honest(f, commit=False)
        change(trained(records))
        save(f, records, mend=mend)

    return make


def register(check: str, name: str, text: str, change: Callable[[Json], object], *, mend: bool = True) -> None:
    make = edited(change, mend=mend)
    make.__name__ = f"hindsight_{name}"
    caught(check, f"hindsight: {text}")(make)


ZEROS = "0" * 64
register("digests", "score", "a score changed", lambda run: run["facts"].update(val_bpb=1.0), mend=False)
register(
    "hindsight",
    "decision",
    "made before the last decision: another digest of it",
    lambda run: run.update(decision=ZEROS),
)
register("hindsight", "budget", "another budget", lambda run: run["budget"].update(seconds=99.0))
register("hindsight", "lock", "another rule", lambda run: run.update(lock=ZEROS))
register("hindsight", "runner", "another runner", lambda run: run.update(runner=ZEROS))
register("hindsight", "corpus", "another text", lambda run: run.update(corpus=ZEROS))
register("hindsight", "spec", "another input", lambda run: run["spec"]["config"].update(matrix_lr=0.5))
register("hindsight", "steps", "more steps than its budget buys", lambda run: run["facts"].update(steps=10**6))
register(
    "hindsight",
    "machine",
    "a machine that its block does not ask for",
    lambda run: run.update(environment={"gpu": "x"}),
)
register(
    "hindsight",
    "hidden",
    "a bad outcome hidden",
    lambda run: run.update(status="unrun", spec=None, facts=None, reason="it ran at rung3 itself"),
)
register("ledger-lines", "purpose", "a candidate among them", lambda run: run.update(purpose="candidate"), mend=False)
register("ledger-lines", "no_decision", "a record that names no decision", lambda run: run.pop("decision"), mend=False)


@caught("hindsight", "hindsight: the outcome copied from the ladder's run of the same length")
def hindsight_copied(f: Forger) -> None:
    records = honest(f, commit=False)
    run = trained(records)
    ladder = next(other for other in f.runs() if other["rung"] == run["rung"] and other["facts"])
    run["facts"].update({key: ladder["facts"][key] for key in ("val_bpb", "train_loss")})
    save(f, records)


@caught("hindsight", "hindsight: one outcome under two seeds")
def hindsight_twice(f: Forger) -> None:
    records = honest(f, commit=False)
    first, second = [run for run in records if run["facts"]][:2]
    second["facts"] = first["facts"]
    save(f, records)


@caught("hindsight", "hindsight: a configuration that the ladder itself took to the last rung trained once more")
def hindsight_again(f: Forger) -> None:
    records = honest(f, commit=False)
    run = next(run for run in records if not run["facts"])
    ladder = next(o for o in f.runs() if all(o[key] == run[key] for key in ("rung", "config", "host", "seed")))
    run.update(status="finished", reason=None, spec=ladder["spec"], facts=ladder["facts"])
    save(f, records)


@caught("hindsight", "hindsight: a record changed after it was committed, every digest mended")
def hindsight_changed(f: Forger) -> None:
    records = honest(f)
    trained(records)["facts"].update(val_bpb=1.0)
    save(f, records)


@caught("digests", "hindsight: a record missing")
def hindsight_missing(f: Forger) -> None:
    records = honest(f)
    records.remove(trained(records))
    save(f, records)


@caught("hindsight", "hindsight: a record missing, in dvc.lock too")
def hindsight_gone(f: Forger) -> None:
    records = honest(f)
    run = trained(records)
    records.remove(run)
    f.rung("hindsight", lambda stages: stages.pop(f"run@{run['config']}-{run['host']}-{run['seed']}"))
    save(f, records)


@caught("hindsight", "hindsight: all of it gone after it was committed")
def hindsight_all_gone(f: Forger) -> None:
    honest(f)
    for path in (HINDSIGHT, *(lock for lock in f.dvc_locks() if "hindsight" in lock)):
        f.delete(path)
    f.digests()


@caught("hindsight", "hindsight: a record that DVC never saw")
def hindsight_unseen(f: Forger) -> None:
    records = honest(f, commit=False)
    run = trained(records)
    f.rung("hindsight", lambda stages: stages.pop(f"run@{run['config']}-{run['host']}-{run['seed']}"))
    f.digests()


@caught("hindsight", "hindsight: committed before the last gate had decided")
def hindsight_early(f: Forger) -> None:
    held = f.read(DECISIONS.as_posix())
    honest(f, commit=False)
    f.write(DECISIONS.as_posix(), b"".join(held.splitlines(keepends=True)[:-1]))
    f.git("reset", "-q", "--soft", "HEAD~1")  # the commit of the evidence, which held the decision
    f.commit("Evidence, and hindsight, and no decision yet")
    f.write(DECISIONS.as_posix(), held)


def unlucky_first(check: str, text: str, name: str, change: Callable[[Json], Any]) -> None:
    """Register a history in which a run in hindsight first stands with a worse score, and spelt otherwise."""

    def make(f: Forger) -> None:
        records = honest(f, commit=False)
        held = f.read(HINDSIGHT)
        run = trained(records)
        run["facts"]["val_bpb"] = round(run["facts"]["val_bpb"] + 0.5, 6)
        change(run)
        f.write(HINDSIGHT, b"".join(canonical.dumps(record) for record in records))
        f.commit("An unlucky run")
        f.write(HINDSIGHT, held)
        f.digests()

    make.__name__ = name
    caught(check, f"hindsight: an unlucky run first {text}, then a better one")(make)


unlucky_first("evidence-stayed", "with the status done", "hindsight_done", lambda run: run.update(status="done"))
unlucky_first("evidence-stayed", "unrun, with its facts", "hindsight_unrun", lambda run: run.update(status="unrun"))
unlucky_first(
    "hindsight", "failed, with its facts", "hindsight_failed", lambda run: run.update(status="failed", reason="memory")
)
unlucky_first(
    "hindsight",
    "failed, its score in the reason",
    "hindsight_failed_reason",
    lambda run: run.update(status="failed", reason=f"val_bpb {run['facts']['val_bpb']}", facts=None),
)
unlucky_first(
    "hindsight",
    "after a decision that nobody made",
    "hindsight_other_decision",
    lambda run: run.update(decision="0" * 64),
)


@caught("hindsight", "hindsight: a seed that the last rung does not have")
def hindsight_seed(f: Forger) -> None:
    records = honest(f, commit=False)
    extra = {**trained(records), "seed": 99}
    extra["spec"] = {**extra["spec"], "seed": 99}
    save(f, sorted([*records, extra], key=lambda run: (run["config"], run["host"], run["seed"])))


@caught("hindsight", "hindsight: lines out of order")
def hindsight_order(f: Forger) -> None:
    save(f, honest(f, commit=False)[::-1])


@caught("ledger-lines", "hindsight: read by a gate, as it is")
def hindsight_in_runs(f: Forger) -> None:
    records = honest(f)
    f.write(RUNS, f.read(RUNS) + canonical.dumps(trained(records)))


@caught("tickets", "hindsight: read by a gate, as a candidate of the last rung, all decided anew")
def hindsight_as_candidate(f: Forger) -> None:
    extra = {}
    for record in honest(f):
        key = tuple(record[name] for name in ("rung", "config", "host", "seed"))
        extra[key] = {k: v for k, v in record.items() if k != "decision"} | {"purpose": "candidate"}
    runs = []
    for run in f.runs():
        other = extra.get(tuple(run[name] for name in ("rung", "config", "host", "seed")))
        runs.append(other if other and other["facts"] and run["purpose"] == "candidate" else run)
    f.save_runs(runs)
    f.judge()
    f.digests()


@caught("parameters", "hindsight: its pipeline runs something else")
def hindsight_pipeline(f: Forger) -> None:
    honest(f)
    f.replace("stages/ladder/hindsight/d1-a/dvc.yaml", "cmd: python -m stages.run", "cmd: python -m other.run")


@caught("dvc-locks", "hindsight: a stage that its pipeline does not have")
def hindsight_stage(f: Forger) -> None:
    honest(f)
    f.rung("hindsight", lambda stages: stages.update(other=dict(json.loads(json.dumps(stages["summary"])))))


@caught("artifacts", "hindsight: a record that no stage writes", depth="artifacts", committed=False)
def hindsight_stray(f: Forger) -> None:
    record = trained(honest(f))
    f.write(f"artifacts/hindsight/records/{record['config']}/{record['host']}/99.json", canonical.dumps(record))
