"""Checkpoints: killed runs that end as if nothing had happened, damaged files, a full disk."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import torch

from tests.trainer.conftest import spec_json
from trainer import checkpoint, loop
from trainer.checkpoint import Checkpoints
from trainer.loop import train
from trainer.spec import Spec

Make = Callable[..., Spec]
LONG = {"clock__seconds": 6.0}  # some 500 steps of 2 ms

CHILD = """
import json, sys
from pathlib import Path
from trainer.loop import train
from trainer.spec import Spec
spec = Spec.from_json(json.loads(sys.argv[1]))
outcome = train(spec, Path(sys.argv[2]), scratch=Path(sys.argv[3]), checkpoint_seconds=0.02)
print(json.dumps([outcome.facts, outcome.curve, outcome.telemetry]))
"""


def start(spec: Spec, corpus_dir: Path, scratch: Path) -> subprocess.Popen[str]:
    arguments = [json.dumps(spec.to_json()), str(corpus_dir), str(scratch)]
    return subprocess.Popen([sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, encoding="utf-8")


def looks() -> Callable[[], float]:
    """A source of time that advances by 10 ms at every look; a step looks at its start and at its end."""
    at = count()
    return lambda: next(at) * 0.01


def checkpoints(scratch: Path) -> list[str]:
    return sorted(path.name for path in scratch.glob("*/step-*.json"))


def kill_after(spec: Spec, corpus_dir: Path, scratch: Path, extra: float) -> None:
    """Runs until a checkpoint beyond those there appears, `extra` seconds more, then kills."""
    before = checkpoints(scratch)
    child = start(spec, corpus_dir, scratch)
    deadline = time.monotonic() + 120
    while checkpoints(scratch) == before:
        assert child.poll() is None and time.monotonic() < deadline, "no checkpoint appeared"
        time.sleep(0.005)
    time.sleep(extra)
    assert child.poll() is None, "the run ended before it was killed"
    child.kill()
    child.communicate()


def test_a_run_killed_twice_ends_with_the_same_facts_and_the_same_curve(
    make_spec: Make, corpus_dir: Path, tmp_path: Path
) -> None:
    spec = make_spec(**LONG)
    expected = train(spec, corpus_dir)
    for extra in (0.031, 0.113):
        kill_after(spec, corpus_dir, tmp_path, extra)
    out, _ = start(spec, corpus_dir, tmp_path).communicate(timeout=120)
    facts, curve, telemetry = json.loads(out)
    assert facts == json.loads(json.dumps(expected.facts))
    assert curve == json.loads(json.dumps(expected.curve))
    assert telemetry["resumed_at_step"] > 0
    assert len(telemetry["segments"]) == 3
    assert telemetry["segments"][0]["to_step"] == telemetry["segments"][1]["from_step"]
    assert not list(tmp_path.iterdir()), "scratch is removed at success"


def interrupted(
    spec: Spec, corpus_dir: Path, scratch: Path, at: int, now: Callable[[], float] = time.perf_counter
) -> None:
    """A run that stops like a crash after `at` steps, with a checkpoint of every step."""

    class Crash(BaseException):
        pass

    step, done = loop.Session.step, 0

    def crashing(self: loop.Session, now: loop.muon.Factors) -> torch.Tensor:
        nonlocal done
        if done == at:
            raise Crash
        done += 1
        return step(self, now)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Crash):
        patch.setattr(loop.Session, "step", crashing)
        patch.setattr(loop, "CHECKPOINT_SHARE", 0)
        train(spec, corpus_dir, scratch=scratch, checkpoint_seconds=0.0, now=now)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_any_step_can_be_the_last_before_a_crash(
    make_spec: Make, corpus_dir: Path, tmp_path: Path, precision: str
) -> None:
    spec = make_spec(host__precision=precision, config__device_batch_tokens=64)
    expected = train(spec, corpus_dir)
    for at in (1, 2, 13):
        interrupted(spec, corpus_dir, tmp_path, at)
        assert len(checkpoints(tmp_path)) <= 2
        found = train(spec, corpus_dir, scratch=tmp_path)
        assert (found.facts, found.curve) == (expected.facts, expected.curve)
        assert found.telemetry["resumed_at_step"] == at


@pytest.mark.parametrize("damage", ["truncate", "flip", "json", "missing"])
def test_a_damaged_newest_checkpoint_gives_way_to_the_older_one(
    make_spec: Make, corpus_dir: Path, tmp_path: Path, damage: str
) -> None:
    spec = make_spec()
    expected = train(spec, corpus_dir)
    interrupted(spec, corpus_dir, tmp_path, 9)
    body = max(tmp_path.glob("*/step-*.safetensors"))
    data = body.read_bytes()
    if damage == "truncate":
        body.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        body.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "json":
        body.with_suffix(".json").write_text('{"schema": 1', encoding="utf-8")
    else:
        body.unlink()
    found = train(spec, corpus_dir, scratch=tmp_path)
    assert (found.facts, found.curve) == (expected.facts, expected.curve)
    assert found.telemetry["resumed_at_step"] == 8
    assert "is damaged" in found.telemetry["warnings"][0]


def test_a_checkpoint_of_another_run_is_never_taken_up(make_spec: Make, corpus_dir: Path, tmp_path: Path) -> None:
    interrupted(make_spec(), corpus_dir, tmp_path, 9)
    found = train(make_spec(seed=8), corpus_dir, scratch=tmp_path)
    assert found.telemetry["resumed_at_step"] is None


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(
    make_spec: Make, corpus_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    spec = make_spec()
    expected = train(spec, corpus_dir)
    monkeypatch.setattr(checkpoint, "save_file", full)
    found = train(spec, corpus_dir, scratch=tmp_path, checkpoint_seconds=0.0)
    assert found.facts == expected.facts
    assert found.telemetry["checkpoints"] == 0
    assert "No space left on device" in found.telemetry["warnings"][0]
    assert "training goes on" in found.telemetry["warnings"][0]


def test_a_wall_clock_run_goes_on_where_its_budget_was(make_spec: Make, corpus_dir: Path, tmp_path: Path) -> None:
    spec = make_spec(clock__kind="wall", clock__seconds=0.25)
    interrupted(spec, corpus_dir, tmp_path, 25, now=looks())
    outcome = train(spec, corpus_dir, scratch=tmp_path, now=looks())
    assert outcome.facts is not None and outcome.telemetry["resumed_at_step"] == 25
    assert outcome.curve[-1]["seconds"] == pytest.approx(0.25)
    assert outcome.facts["steps"] == 10 + 25  # ten free steps, then 10 ms a step, the interruption left out
    assert [segment["from_step"] for segment in outcome.telemetry["segments"]] == [0, 25]
    again = train(spec, corpus_dir, replay_progress=outcome.facts["progress"])
    assert again.facts == outcome.facts


def test_checkpoints_never_take_more_than_two_percent(
    make_spec: Make, corpus_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = 0.0

    def now() -> float:
        return at

    def save(*_: object) -> None:
        nonlocal at
        at += 0.5  # a slow disk

    step = loop.Session.step

    def timed(self: loop.Session, factors: loop.muon.Factors) -> torch.Tensor:
        nonlocal at
        at += 1.0
        return step(self, factors)

    monkeypatch.setattr(Checkpoints, "save", save)
    monkeypatch.setattr(loop.Session, "step", timed)
    spec = make_spec(clock__seconds=2.6)
    told = train(spec, corpus_dir, scratch=tmp_path, now=now, checkpoint_seconds=1.0).telemetry
    assert told["train_seconds"] > 100
    assert 2 <= told["checkpoints"] <= 1 + told["train_seconds"] / 25


def test_the_key_of_a_run_changes_with_all_that_determines_it(corpus_dir: Path) -> None:
    spec = Spec.from_json(spec_json()).to_json()
    keys = {checkpoint.run_key(*parts) for parts in ((spec, "a", "b"), (spec, "c", "b"), (spec, "a", "c"))}
    assert len(keys) == 3
