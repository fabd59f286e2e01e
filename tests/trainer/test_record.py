"""What the pipeline makes of an outcome: the checkpoints go when the record is on the disk, and not before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages import progress, run
from stages.hosts import machine
from stages.runners import builtin
from tests.support.contracts import make_contract
from trainer import loop
from trainer.outcome import Outcome
from trainer.spec import Host

CONTRACT = make_contract(hosts=("here",), budget_seconds=1.0)
HOST = Host(device="cpu", precision="fp32", threads=1)


@pytest.mark.parametrize("full", [False, True])
def test_checkpoints_go_when_the_record_is_on_the_disk_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    happened: list[str] = []

    class Observer(progress.Live):
        def done(self, record: dict[str, Any], telemetry: Mapping[str, Any]) -> None:
            happened.append(f"told of {record['status']}")

    def write(*_: object) -> None:
        if full:
            raise OSError("no space left")
        happened.append("written")

    outcome = Outcome(
        "finished",
        None,
        {"val_bpb": 1.0},
        [],
        {"model_flops_per_second": 0.0},
        clear=lambda: happened.append("cleared"),
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "require_host", lambda *_: None)
    monkeypatch.setattr(builtin.BuiltinRunner, "digest", lambda *_: CONTRACT.runner)
    monkeypatch.setattr(builtin.BuiltinRunner, "check_corpus", lambda *_: None)
    monkeypatch.setattr(builtin.BuiltinRunner, "make_spec", lambda *_: {})
    monkeypatch.setattr(builtin.Spec, "from_json", lambda _: SimpleNamespace(host=HOST))
    monkeypatch.setattr(loop, "train", lambda *_, **__: outcome)
    monkeypatch.setattr(progress, "Live", Observer)
    monkeypatch.setattr(run, "read_knobs", lambda _: {})
    monkeypatch.setattr(run, "write_outputs", write)
    requested = run.RequestedRun(CONTRACT, "a", "here", 1, "candidate")
    if full:
        with pytest.raises(OSError, match="no space left"):
            run.train(requested)
    else:
        run.train(requested)
    assert happened == ([] if full else ["written", "cleared", "told of finished"])
