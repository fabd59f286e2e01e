"""What the pipeline makes of an outcome: the checkpoints go when the record is on the disk, and not before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.runners import builtin
from tests.support.contracts import make_contract
from trainer.outcome import Outcome

CONTRACT = make_contract(hosts=("here",), budget_seconds=1.0)


@pytest.mark.parametrize("full", [False, True])
def test_checkpoints_go_when_the_record_is_on_the_disk_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    happened: list[str] = []

    class Observer:
        def done(self, record: dict[str, Any], telemetry: dict[str, Any]) -> None:
            happened.append(f"told of {record['status']}")

    def write(record: dict[str, Any], trace: dict[str, bytes]) -> None:
        if full:
            raise OSError("no space left")
        happened.append("written")

    outcome = Outcome("finished", None, {"val_bpb": 1.0}, [], {}, clear=lambda: happened.append("cleared"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(builtin, "require", lambda *_: None)
    monkeypatch.setattr(builtin.files, "tree_digest", lambda _: CONTRACT.runner)
    monkeypatch.setattr(builtin, "check_corpus", lambda _: None)
    monkeypatch.setattr(builtin, "build_spec", lambda *_: {})
    monkeypatch.setattr(builtin, "_run", lambda *_: (outcome, Observer()))
    monkeypatch.setattr(builtin, "write", write)
    if full:
        with pytest.raises(OSError, match="no space left"):
            builtin.train(CONTRACT, config="a", host="here", seed=1, purpose="candidate")
    else:
        builtin.train(CONTRACT, config="a", host="here", seed=1, purpose="candidate")
    assert happened == ([] if full else ["written", "cleared", "told of finished"])
