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
