"""Six small judged studies without training, whose outputs are kept as snapshots (tests/support/snapshots.py)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from stages import ledger
from stages.domain import locks
from tests.report import broken
from tests.screen.test_command import screen_params
from tests.support import synthetic


def make(root: Path, value: dict[str, Any]) -> None:
    """A study of these params, with its ledger."""
    synthetic.build(root, value)
    with chdir(root):
        ledger.main()


def whole(root: Path) -> None:
    """Four configurations through five gates, with what would have been trained in hindsight."""
    make(root, synthetic.params(4))
    synthetic.look_back(root)


def blocked(root: Path) -> None:
    """A wall-clock study whose third gate is blocked; a run diverged, one is missing, a lock was amended."""
    value = synthetic.params(3, 1)
    value["clock"] = {"kind": "wall"}
    value["gates"]["gate3"]["R4"] = {"kind": "min_host_agreement", "tau": 1.0}
    value["gates"]["gate3"]["R9"] = {"kind": "top_k", "k": 2, "by": "each_host"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "_executed", diverging(synthetic._executed))
        patch.setattr(locks, "frozen_of", amending(locks.frozen_of))
        make(root, value)
    broken.lines(root, "runs.jsonl", lambda run: None if (run["rung"], run["seed"]) == ("rung3", 3901) else run)


def diverging(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Records of which the second configuration's of rung 2 diverged."""

    def executed(contract: Any, study: Any, config: str, *cell: Any) -> dict[str, Any]:
        record = original(contract, study, config, *cell)
        if contract.rung == "rung2" and config.endswith("c001"):
            record |= {"status": "diverged", "reason": "the loss is not finite at step 7", "facts": None}
        return record

    return executed


def amending(original: Callable[..., locks.Frozen]) -> Callable[..., locks.Frozen]:
    """Locks of which that of gate 2 was amended."""

    def frozen_of(study: Any, gate: str, **more: Any) -> locks.Frozen:
        frozen = original(study, gate, **more)
        changed = {"rules.R5.k": {"was": 2, "is": 4}, "seeds": {"was": [1], "is": [2000]}}
        amendment = {"reason": "too few went on", "replaces": "0" * 64, "changed": changed}
        amendments = [locks.Amendment.model_validate(amendment)]
        return frozen.model_copy(update={"amendments": amendments}) if gate == "gate2" else frozen

    return frozen_of


def waiting(root: Path) -> None:
    """A study on its way: two gates have not decided, runs are missing, params.yaml moved on, a lock is another."""
    make(root, synthetic.params(3))
    broken.drop(root, "gate4", "gate5")
    gone = {"rung4": "cpu-bf16", "rung5": "cpu-fp32"}
    broken.lines(root, "runs.jsonl", lambda run: None if run["host"] == gone.get(run["rung"]) else run)
    broken.params(root, lambda value: value["gates"]["gate3"]["R7"].update(k=2))
    broken.params(root, lambda value: value["hosts"]["cpu-fp32"].update(compile=True))
    broken.params(root, lambda value: value["study"].update(title="A study on its way"))
    broken.lock(root, "gate2", budget_seconds=6.0)


def beaten(root: Path) -> None:
    """One host alone; the reference does not win, a score changed after its decision, and hindsight is not kind."""
    value = synthetic.params(3)
    del value["hosts"]["cpu-bf16"], value["roles"]["sentinel"]
    value["roles"] |= {"reference": "d1-c000", "comparator": "d3-c002"}
    del value["gates"]["gate3"]["R6"], value["gates"]["gate4"]["R4"], value["gates"]["gate5"]["R6"]
    value["gates"]["gate3"]["R7"]["k"] = 2
    value["gates"]["gate5"]["R7"] = {"kind": "top_k", "k": 1, "by": "mean"}
    make(root, value)
    broken.score(root, ("rung3", "d3-c002", "cpu-fp32", 3000), 2.5)
    synthetic.look_back(root)
    broken.lines(root, "hindsight.jsonl", better)


def better(record: dict[str, Any]) -> dict[str, Any]:
    """What was trained in hindsight is better than all that went on."""
    if record["facts"]:
        record["facts"]["val_bpb"] = round(record["facts"]["val_bpb"] - 0.1, 6)
    return record


def screened(root: Path) -> None:
    """A screen of three factors on two hosts, with two seeds a host and two rungs."""
    make(root, screen_params())


def gapped(root: Path) -> None:
    """The same without what one host ran at the second rung."""
    screened(root)
    gone = ("rung2", "cpu-bf16")
    broken.lines(root, "runs.jsonl", lambda run: None if (run["rung"], run["host"]) == gone else run)


def commanded(root: Path) -> None:
    """Somebody else's trainer on one host, given steps: a run diverged, one failed; no corpus and one curve is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "_executed", run_command)
        patch.setattr(synthetic, "_trace", trace_command)
        make(root, command_params())
    for path in (root / "artifacts/corpus/manifest.json", root / "artifacts/traces/rung3/deep/any/7/curve.csv"):
        path.unlink()


def command_params() -> dict[str, Any]:
    """Six configurations, of which two are broken; five cells at the second rung."""
    value = synthetic.params(3)
    require = {"R1": {"kind": "complete_cells"}, "R2": {"kind": "fixed_runner"}, "R3": {"kind": "fixed_data"}}
    knobs = {"deep": (8, 0.1, "plain"), "flat": (1, 0.1, "plain"), "wide": (2, 0.2, "wide"), "thin": (3, 0.2, "plain")}
    knobs |= {"wild": (4, 0.9, "plain"), "huge": (5, 0.1, "plain")}
    return value | {
        "data": {"source": {"kind": "files", "root": "data", "files": [{"path": "text.txt", "sha256": "0" * 64}]}},
        "runner": {
            "kind": "command",
            "files": ["small/train.py"],
            "command": ["python", "small/train.py", "--seed={seed}", "{with.steps}", "{lr}", "{depth}"],
            "env": {"MODE": "{mode}", "BIAS": "{bias}"},
            "score": {"name": "val_loss", "unit": "nats/token", "line": "val_loss: {score}", "resolution": 0.0001},
            "facts": {"steps": "num_steps: {value}"},
        },
        "clock": {"kind": "given"},
        "hosts": {"any": {"system": "any", "device": "any", "precision": "fp32", "threads": 1, "compile": False}},
        "configs": {name: {"depth": n, "lr": lr, "mode": mode, "bias": True} for name, (n, lr, mode) in knobs.items()},
        "roles": {"reference": "deep", "comparator": "flat"},
        "rungs": {
            "rung1": {"budget_seconds": 60, "with": {"steps": 5}, "seeds": [1], "floor_seeds": []},
            "rung2": {"budget_seconds": 150, "with": {"steps": 10}, "seeds": [2, 3, 4, 5, 6], "floor_seeds": [21, 22]},
            "rung3": {"budget_seconds": 7200, "with": {"steps": 40}, "seeds": [7, 8], "floor_seeds": []},
        },
        "gates": {
            "gate1": {**require, "R4": {"kind": "diverged"}, "R5": {"kind": "top_k", "k": 5}},
            "gate2": {
                **require,
                "R4": {"kind": "failed"},
                "R5": {"kind": "within_gap", "gap": 0.1, "of": "reference"},
                "R6": {"kind": "top_k", "k": 2, "by": "worst_host"},
            },
            "gate3": {
                **require,
                "R4": {"kind": "first_in_all_cells", "role": "reference"},
                "R5": {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 0.05},
            },
        },
    }


def run_command(contract: Any, study: Any, config: str, host: str, seed: int, purpose: str) -> dict[str, Any]:
    """A record of a command's run; one configuration diverges at the first rung, another one fails at the second."""
    ending = {("rung1", "wild"): ("diverged", "the score is nan"), ("rung2", "huge"): ("failed", "out of memory")}
    status, reason = ending.get((contract.rung, config), ("finished", None))
    key = {"config": config, "host": host, "seed": seed, "purpose": purpose}
    record = contract.make_record(**key, status=status, reason=reason)
    record["spec"] = synthetic._spec(study, contract, config, host, seed)
    if status == "finished":
        score = round(synthetic.score(study.configs[config], contract.budget_seconds / 60, host, seed, config), 4)
        record["facts"] = {
            "score": score,
            "printed": f"{score:.4f}",
            "reported": {"steps": 5.0, "train_loss": 2 * score},
        }
    return record


def trace_command(record: dict[str, Any]) -> dict[str, bytes]:
    """The curve that a command printed: steps and losses, nothing else."""
    rows = "".join(f"{step},,,{3 / step:.6f},\n" for step in range(1, 31)) if record["facts"] else ""
    return {"curve.csv": f"step,tokens,seconds,train_loss,lr_factor\n{rows}".encode()}


def crowded(root: Path) -> None:
    """Twenty-four configurations: more than figures name and sentences list."""
    make(root, synthetic.params(24))


STUDIES: dict[str, Callable[[Path], None]] = {
    "whole": whole,
    "blocked": blocked,
    "waiting": waiting,
    "beaten": beaten,
    "screened": screened,
    "gapped": gapped,
}
