"""A whole study without training: params, locks, records, traces, gates, from a seeded formula.

    python -m tests.support.synthetic FOLDER [CONFIGS] [SEEDS]

Everything that judges it is the project's own code; only the scores are made up. It is what the tests of the site, of
verification and of the summaries stand on, at any size.
"""

from __future__ import annotations

import json
import random
import sys
from contextlib import chdir
from functools import cache
from pathlib import Path
from typing import Any

from stages import gate as gate_stage
from stages import protocol
from stages.domain import canonical, files, hindsight, locks, names, promotions, study
from stages.domain import contract as contracts
from stages.domain.contract import Contract, from_lock
from stages.domain.runs import hindsight_runs
from stages.dvcfiles import telemetry
from stages.runners import assign, runner_of
from trainer.shape import rated_steps, realise
from trainer.spec import Spec

RUNNER = "1" * 64
VOCABULARY, FLOPS_PER_SECOND = 512, 10**10
BUDGETS = (2.0, 5.0, 10.0, 60.0, 720.0)


def params(configs: int = 12, seeds: int = 2) -> dict[str, Any]:
    """A study of five rungs on two hosts; `seeds` a host from rung 3 on."""
    knobs = {"batch_tokens": 4096, "matrix_lr": 0.02, "embedding_lr": 0.3, "head_lr": 0.004}
    names_ = [f"d{1 + i % 8}-c{i:03d}" for i in range(configs)]
    rungs = {
        f"rung{n}": {
            "budget_seconds": BUDGETS[n - 1],
            "seeds": [1000 * n + s for s in range(1 if n < 3 else seeds)],
            "floor_seeds": [1000 * n + 900, 1000 * n + 901, 1000 * n + 902] if n == 3 else [],
        }
        for n in range(1, 6)
    }
    host = {"system": "any", "device": "cpu", "threads": 2, "compile": False, "flops_per_second": FLOPS_PER_SECOND}
    require = {
        "R1": {"kind": "complete_cells"},
        "R2": {"kind": "fixed_runner"},
        "R3": {"kind": "fresh_seeds"},
    }
    keep = {"kind": "keep_role", "role": "reference"}
    most = max(4, configs * 3 // 4)
    return {
        "study": {
            "schema": 1,
            "name": "synthetic",
            "title": "A synthetic study",
            "question": "Which of these would win?",
            "note": "Scores are made up by a formula; nothing was trained.",
            "mode": "frozen",
        },
        "data": {
            "source": {"kind": "text", "separator": "blank-line", "files": [{"path": "text.txt"}]},
            "vocab_size": VOCABULARY,
        },
        "runner": {"sequence_length": 64, "head_dim": 16, "eval_tokens": 4096},
        "clock": {"kind": "rated"},
        "hosts": {
            "cpu-fp32": {**host, "precision": "fp32", "title": "CPU, fp32"},
            "cpu-bf16": {**host, "precision": "bf16", "title": "CPU, bf16"},
        },
        "configs": {name: {"depth": 1 + i % 8, "aspect": 16 + 16 * (i % 3), **knobs} for i, name in enumerate(names_)},
        "roles": {"reference": names_[7 % configs], "comparator": names_[0], "sentinel": names_[3 % configs]},
        "rungs": rungs,
        "gates": {
            "gate1": {**require, "R4": {"kind": "top_k", "k": configs}, "R5": {"kind": "diverged"}},
            "gate2": {**require, "R4": keep, "R5": {"kind": "top_k", "k": most, "by": "mean"}},
            "gate3": {
                **require,
                "R4": {"kind": "above_noise_floor", "multiple": 2.0},
                "R5": keep,
                "R6": {"kind": "keep_role", "role": "sentinel"},
                "R7": {"kind": "top_k", "k": 3, "by": "mean"},
                "R8": {"kind": "exceeds_gap", "gap": 0.5, "of": "best"},
            },
            "gate4": {
                **require,
                "R4": {"kind": "min_host_agreement", "tau": -1.0},
                "R5": keep,
                "R6": {"kind": "top_k", "k": 1, "by": "each_host"},
                "R7": {"kind": "within_gap", "gap": 0.02, "of": "best"},
            },
            "gate5": {
                **require,
                "R4": {"kind": "first_in_all_cells", "role": "reference"},
                "R5": {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 0.01},
                "R6": {"kind": "mean_gap", "role": "sentinel", "to": "reference", "most": 0.02},
            },
        },
    }


def score(config: dict[str, Any], budget: float, host: str, seed: int, name: str) -> float:
    """Small models lead early and flatten out; every cell has noise of its own."""
    noise = random.Random(f"{name}/{host}/{seed}")
    depth = config["depth"]
    value = 1.2 + 0.35 / depth**0.5 + (0.3 + 0.12 * depth) / (1 + budget) ** 0.6 + noise.gauss(0, 0.003)
    return round(value + (0.004 if host.endswith("bf16") else 0), 6)


@cache
def _model(spec: str) -> dict[str, Any]:
    """The model that a specification builds, as a record tells it."""
    read = Spec.from_json(json.loads(spec))
    shape = realise(read.config, read.runner, VOCABULARY)
    return {**shape.to_json(), "digest": shape.digest()}


def _spec(study_: study.Study, contract: Contract, config: str, host: str, seed: int) -> dict[str, Any]:
    assignment = assign(contract, study_.configs[config], config, host, seed)
    return runner_of(contract.settings).make_spec(assignment)


def _executed(
    contract: Contract, study_: study.Study, config: str, host: str, seed: int, purpose: str
) -> dict[str, Any]:
    knobs = study_.configs[config]
    record = contract.make_record(config=config, host=host, seed=seed, purpose=purpose, status="finished", reason=None)
    value = score(dict(knobs), contract.budget_seconds, host, seed, config)
    record["spec"] = spec = _spec(study_, contract, config, host, seed)
    model, batch, rate = _model(json.dumps({**spec, "seed": 0})), spec["config"]["batch_tokens"], FLOPS_PER_SECOND
    rated = contract.clock == "rated"
    steps = rated_steps(model["flops_per_token"], batch, contract.budget_seconds, rate)
    record["facts"] = {
        "val_bpb": value,
        "locked_bpb": round(value + 0.01, 6) if contract.last else None,
        "steps": steps,
        "tokens": steps * batch,
        "train_loss": round(value * 2.2 + random.Random(f"{config}/{host}/{seed}/loss").gauss(0, 0.01), 6),
        "rated_seconds": round(steps * (model["flops_per_token"] * batch / rate), 6) if rated else None,
        "progress": None if rated else {"ticks": 4096, "steps": steps, "data": ""},
        "model": model,
    }
    return record


def _trace(record: dict[str, Any]) -> dict[str, bytes]:
    header = b"step,tokens,seconds,train_loss,lr_factor\n"
    if not record["facts"]:
        return {"curve.csv": header}
    end, steps = record["facts"]["train_loss"], record["facts"]["steps"]
    rows = [(i * steps // 40 + 1, end + 3.0 / (1 + i)) for i in range(40)]
    lines = "".join(f"{s},{s * 4096},{s / 10:.3f},{loss:.6f},{1 - s / (steps + 1):.6f}\n" for s, loss in rows)
    return {"curve.csv": header + lines.encode()}


def _measured(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": "finished",
        "tokens_per_second": 40000.0,
        "train_seconds": float(record["budget"]["seconds"]),
        "hostname": "example",
        "torch": "2.13.0",
    }


def _write(record: dict[str, Any]) -> None:
    run = names.run_id(record["rung"], record["config"], record["host"], record["seed"], record["purpose"])
    for name, data in _trace(record).items():
        path = names.trace_path(run) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    path = names.record_path(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(canonical.dumps(record))
    if record["facts"]:
        md5 = files.md5_bytes(canonical.dumps(record))
        files.write_whole(names.telemetry_path(run), telemetry.dumps(run, md5, _measured(record)))


def _rung(rung: str, study_: study.Study, contract: Contract) -> None:
    number = int(rung.removeprefix("rung"))
    held = promotions.read(names.GATES / f"gate{number - 1}" / "promotions.json") if number > 1 else {}
    for config in study_.configs:
        for host, seed in study_.cells(rung):
            if held.get(config, "true") == "true":
                _write(_executed(contract, study_, config, host, seed, "candidate"))
            else:
                reason = f"gate{number - 1} did not promote it"
                _write(
                    contract.make_record(
                        config=config,
                        host=host,
                        seed=seed,
                        purpose="candidate",
                        status="stopped",
                        reason=reason,
                    )
                )
    for host in study_.hosts:
        for seed in study_.rungs[rung].floor_seeds:
            _write(_executed(contract, study_, study_.roles["reference"], host, seed, "floor"))


def build(root: Path, value: dict[str, Any] | None = None) -> study.Study:
    """Write a whole judged study under `root`: params.yaml, locks/, artifacts/{corpus,protocol,records,traces,gates}."""
    value = value or params()
    root.mkdir(parents=True, exist_ok=True)
    with chdir(root):
        files.write_whole(names.PARAMS, (json.dumps(value, indent=1) + "\n").encode())  # JSON is YAML
        study_ = study.load()
        manifest = {
            "schema": 1,
            "source": value["data"]["source"],
            "tokenizer": {
                "file": "tokenizer.json",
                "sha256": "2" * 64,
                "vocab_size": VOCABULARY,
                "bos": VOCABULARY - 1,
            },
            "token_bytes": {"file": "token_bytes.bin", "sha256": "3" * 64},
            "splits": {
                split: {
                    "file": f"{split}.bin",
                    "sha256": "4" * 64,
                    "tokens": 9000,
                    "bytes": 30000,
                    "documents": 9,
                }
                for split in ("train", "val", "locked")
            },
        }
        files.write_whole(names.CORPUS / "manifest.json", canonical.dumps(manifest))
        previous: str | None = None
        shapes = {
            name: {
                "depth": knobs["depth"],
                "width": 64,
                "heads": 4,
                "head_dim": 16,
                "parameters": 100_000 + i,
                "flops_per_token": 600_000 + i,
                "same_model_as": [],
            }
            for i, (name, knobs) in enumerate(study_.configs.items())
        }
        files.write_whole(names.PROTOCOL / "configs.json", canonical.dumps({"schema": 1, "configs": shapes}))
        for config, knobs in study_.configs.items():
            files.write_whole(names.knobs_path(config), canonical.dumps({"schema": 1, "knobs": knobs}))
        for rung in study_.rungs:
            gate = names.gate_of(rung)
            frozen = locks.frozen_of(study_, gate, runner=RUNNER, corpus=protocol.corpus_digest(), previous=previous)
            files.write_whole(names.lock_path(gate), locks.dumps(frozen))
            previous = locks.digest_of(frozen)
            contract = from_lock(locks.loads(locks.dumps(frozen), gate))
            files.write_whole(names.PROTOCOL / f"{rung}.json", contract.to_bytes())
            _rung(rung, study_, contract)
            made, held = gate_stage.judge(rung, value)
            files.write_whole(names.GATES / gate / "decision.json", made.to_bytes())
            files.write_whole(names.GATES / gate / "promotions.json", promotions.dumps(held))
    return study_


def look_back(root: Path) -> None:
    """Write ledger/hindsight.jsonl of a study whose ledger is written: what would have been trained in hindsight."""
    with chdir(root):
        study_ = study.load()
        contract = contracts.read_open(study_.last_rung)
        last = hindsight.read_last_decision(contract)
        records = []
        for run in hindsight_runs(study_):
            if run.config in last.decision.candidates:
                key = {"config": run.config, "host": run.host, "seed": run.seed, "purpose": run.purpose}
                record = contract.make_record(**key, status="unrun", reason=last.ran_at)
            else:
                record = _executed(contract, study_, run.config, run.host, run.seed, run.purpose)
            records.append({**record, "decision": last.digest})
        files.write_whole(hindsight.LEDGER, b"".join(map(canonical.dumps, records)))


def main() -> None:
    """Build a synthetic study in a folder."""
    folder = Path(sys.argv[1])
    build(folder, params(*(int(one) for one in sys.argv[2:4])))
    print(f"wrote {folder}")


if __name__ == "__main__":
    main()
