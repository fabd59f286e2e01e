"""Checkpoints: killed runs that end as if nothing had happened, damaged files, a full disk."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from tests.trainer.conftest import spec_json
from trainer import checkpoint, keeper, loop
from trainer.checkpoint import MAX_JSON, Checkpoints
from trainer.loop import train
from trainer.spec import Spec

Make = Callable[..., Spec]
KILLS = 4

CHILD = """
import json, sys
from pathlib import Path
from trainer import keeper, loop
from trainer.spec import Spec
keeper.SHARE = 0  # a checkpoint after every step
step = loop.Session.step
def told(self, now):
    print("step", flush=True)
    return step(self, now)
loop.Session.step = told
spec = Spec.from_json(json.loads(sys.argv[1]))
outcome = loop.train(spec, Path(sys.argv[2]), scratch=Path(sys.argv[3]), checkpoint_seconds=0.0)
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


def reached(scratch: Path) -> int:
    """The step of the newest checkpoint."""
    return max((int(name[5:17]) for name in checkpoints(scratch)), default=0)


def kill_within(spec: Spec, corpus_dir: Path, scratch: Path, steps: int, extra: float) -> None:
    """Lets a process make `steps` steps and `extra` seconds more, wherever that may be, and kills it."""
    child = start(spec, corpus_dir, scratch)
    assert child.stdout is not None
    for _ in range(steps):
        assert child.stdout.readline() == "step\n", "the run ended before it was killed"
    time.sleep(extra)
    child.kill()
    child.communicate()


def test_a_run_killed_at_random_moments_ends_with_the_same_facts_and_the_same_curve(
    make_spec: Make, corpus_dir: Path, tmp_path: Path
) -> None:
    spec = make_spec(clock__seconds=1.5)
    expected = train(spec, corpus_dir)
    assert expected.facts is not None
    draw = random.Random(2606)
    for left in range(KILLS, 0, -1):
        ahead = expected.facts["steps"] - reached(tmp_path)
        kill_within(spec, corpus_dir, tmp_path, draw.randint(1, 2 * ahead // (left + 1)), draw.uniform(0, 0.01))
    out, _ = start(spec, corpus_dir, tmp_path).communicate(timeout=120)
    facts, curve, telemetry = json.loads(out.splitlines()[-1])
    assert facts == json.loads(json.dumps(expected.facts))
    assert curve == json.loads(json.dumps(expected.curve))
    assert not telemetry["warnings"]
    segments = telemetry["segments"]
    assert 2 <= len(segments) <= KILLS + 1
    assert [one["to_step"] for one in segments[:-1]] == [one["from_step"] for one in segments[1:]]
    assert telemetry["resumed_at_step"] == segments[-1]["from_step"]
    assert telemetry["checkpoints"] >= facts["steps"], "those of the killed processes are counted"
    assert not [path for path in tmp_path.rglob("step-*") if path.suffix not in (".json", ".safetensors")]


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
        patch.setattr(keeper, "SHARE", 0)
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
        found.clear()


def test_a_run_that_has_ended_is_kept_until_its_result_stands_elsewhere(
    make_spec: Make, corpus_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec()
    monkeypatch.setattr(keeper, "SHARE", 0)
    expected = train(spec, corpus_dir, scratch=tmp_path, checkpoint_seconds=1e-9)
    assert expected.facts is not None
    assert reached(tmp_path) == expected.facts["steps"]  # and here the process dies
    monkeypatch.setattr(loop.Session, "step", None)  # it shall not train again
    again = train(spec, corpus_dir, scratch=tmp_path)
    assert (again.facts, again.curve) == (expected.facts, expected.curve)
    assert (again.telemetry["checkpoints"], again.telemetry["resumed_at_step"]) == (
        expected.telemetry["checkpoints"],
        expected.facts["steps"],
    )
    again.clear()
    assert not list(tmp_path.iterdir())


def damage(kind: str, body: Path) -> None:
    data, about = body.read_bytes(), body.with_suffix(".json")
    text = about.read_text(encoding="utf-8")
    if kind == "truncate":
        body.write_bytes(data[: len(data) // 2])
    elif kind == "flip":
        body.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif kind == "missing":
        body.unlink()
    elif kind == "large":
        about.write_text(text + " " * (MAX_JSON + 1 - len(text)), encoding="utf-8")
    elif kind == "json":
        about.write_text('{"schema": 1', encoding="utf-8")
    else:
        value = json.loads(text)
        {"step": value, "smooth": value["rest"]["run"]}[kind][kind] = {"step": 3, "smooth": "0x1.0p+3"}[kind]
        about.write_text(json.dumps(value), encoding="utf-8")


@pytest.mark.parametrize("kind", ["truncate", "flip", "json", "large", "missing", "step", "smooth"])
def test_a_damaged_newest_checkpoint_gives_way_to_the_older_one(
    make_spec: Make, corpus_dir: Path, tmp_path: Path, kind: str
) -> None:
    spec = make_spec()
    expected = train(spec, corpus_dir)
    interrupted(spec, corpus_dir, tmp_path, 9)
    damage(kind, max(tmp_path.glob("*/step-*.safetensors")))
    found = train(spec, corpus_dir, scratch=tmp_path)
    assert (found.facts, found.curve) == (expected.facts, expected.curve)
    assert found.telemetry["resumed_at_step"] == 8
    assert "is damaged" in found.telemetry["warnings"][0]
    assert (f"is larger than {MAX_JSON} bytes" in found.telemetry["warnings"][0]) == (kind == "large")


@pytest.mark.parametrize("rest", [{}, [1], {"run": {}, "clock": {}}, {"run": None, "clock": {}}])
def test_a_checkpoint_that_cannot_be_taken_up_gives_way_to_the_older_one(
    make_spec: Make, corpus_dir: Path, tmp_path: Path, rest: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec()
    expected = train(spec, corpus_dir)
    save = Checkpoints.save

    def odd(self: Checkpoints, step: int, tensors: dict[str, torch.Tensor], whole: object) -> None:
        save(self, step, tensors, rest if step == 9 else whole)  # type: ignore[arg-type]

    monkeypatch.setattr(Checkpoints, "save", odd)
    interrupted(spec, corpus_dir, tmp_path, 9)
    monkeypatch.undo()
    found = train(spec, corpus_dir, scratch=tmp_path)
    assert (found.facts, found.curve) == (expected.facts, expected.curve)
    assert found.telemetry["resumed_at_step"] == 8
    assert "step-000000000009 is damaged (" in found.telemetry["warnings"][0]


def test_a_checkpoint_whose_tensors_do_not_fit_leaves_the_run_as_it_was(
    make_spec: Make, corpus_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec()
    expected = train(spec, corpus_dir)
    state = loop.Session.state

    def odd(self: loop.Session) -> dict[str, torch.Tensor]:
        return {**state(self), "weight.head": torch.zeros(1)}

    monkeypatch.setattr(loop.Session, "state", odd)
    interrupted(spec, corpus_dir, tmp_path, 9)
    monkeypatch.undo()
    found = train(spec, corpus_dir, scratch=tmp_path)
    assert (found.facts, found.curve) == (expected.facts, expected.curve)
    assert found.telemetry["resumed_at_step"] is None
    assert len(found.telemetry["warnings"]) == 2
    assert "weight.head has shape (1,), expected (64, 32)" in found.telemetry["warnings"][0]


def test_what_a_killed_save_left_is_removed(make_spec: Make, corpus_dir: Path, tmp_path: Path) -> None:
    spec = make_spec()
    interrupted(spec, corpus_dir, tmp_path, 9)
    folder = next(tmp_path.iterdir())
    left = ("step-000000000012.safetensors", "step-000000000013.safetensors.part", "step-000000000009.json.part")
    for name in left:
        (folder / name).write_bytes(b"half")
    found = train(spec, corpus_dir, scratch=tmp_path)
    assert found.telemetry["resumed_at_step"] == 9
    assert sorted(path.name for path in folder.iterdir()) == [
        f"step-{step:012d}{suffix}" for step in (8, 9) for suffix in (".json", ".safetensors")
    ]


def test_a_checkpoint_of_another_run_is_never_taken_up_and_goes_when_this_run_ends(
    make_spec: Make, corpus_dir: Path, tmp_path: Path
) -> None:
    interrupted(make_spec(), corpus_dir, tmp_path, 9)
    (tmp_path / "notes").mkdir()
    found = train(make_spec(seed=8), corpus_dir, scratch=tmp_path)
    assert found.telemetry["resumed_at_step"] is None
    assert len(checkpoints(tmp_path)) == 2
    found.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["notes"], "what is no checkpoint of ours stays"


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(
    make_spec: Make, corpus_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    spec = make_spec()
    expected = train(spec, corpus_dir)
    monkeypatch.setattr(checkpoint, "save_file", full)
    monkeypatch.setattr(keeper, "SHARE", 0)
    found = train(spec, corpus_dir, scratch=tmp_path, checkpoint_seconds=0.0)
    assert found.facts == expected.facts
    assert found.telemetry["checkpoints"] == 0
    assert "No space left on device" in found.telemetry["warnings"][0]
    assert "the run goes on" in found.telemetry["warnings"][0]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_checkpoint_whose_description_does_not_fit_on_the_disk_leaves_no_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _text: str) -> None:
        raise OSError(28, "No space left on device")

    saved = Checkpoints(tmp_path, checkpoint.run_key("a"))
    monkeypatch.setattr(checkpoint, "write_utf8", full)
    with pytest.raises(OSError, match="No space left"):
        saved.save(1, {"x": torch.zeros(1)}, {})
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


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


def test_the_key_of_a_run_changes_with_all_that_determines_it(corpus_dir: Path) -> None:
    spec = Spec.from_json(spec_json()).to_json()
    keys = {checkpoint.run_key(*parts) for parts in ((spec, "a", "b"), (spec, "c", "b"), (spec, "a", "c"))}
    assert len(keys) == 3
