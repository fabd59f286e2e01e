"""What `promotion replay` asks of the place where it is, of the runner and of a record, without training anything."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from stages.domain import canonical, locks, names
from stages.domain.errors import Refused
from stages.domain.records import parse_line
from stages.hosts import machine
from stages.runners import RunResult
from stages.verify import choose_runs, read_ledger, replay
from stages.verify.check import Case, Skip
from stages.verify.replay import Replayed

RUN = "rung1/d1-c000/cpu-fp32/1000"
TIMES = {"train_seconds": 12.34567, "first_steps_seconds": 2.0}


@dataclass
class Trainer:
    """A runner that trains nothing and gives each record's own numbers again."""

    digests: str = "1" * 64
    title: str = "the runner"
    change: Callable[[RunResult], RunResult] = lambda result: result
    asked: list[Any] = field(default_factory=list)
    cleared: int = 0

    def digest(self, tree: Any) -> str:
        self.asked.append(tree.root)
        return self.digests

    def check_corpus(self, expected: str, folder: Path) -> None:
        self.asked.append((expected, folder))

    def repeat(self, record: Any, corpus: Path, scratch: Path, line: Any) -> RunResult:
        self.asked.append((record.id, corpus, scratch, line.run))
        return self.change(RunResult(record.status, record.reason, record.facts, TIMES, clear=self._clear))

    def _clear(self) -> None:
        self.cleared += 1


@pytest.fixture
def root(judged: Case, tmp_path: Path) -> Path:
    for name in ("locks", "ledger"):
        shutil.copytree(judged.root / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def trainer(root: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    record, _ = read_ledger(root)[RUN]
    trainer = Trainer(record.runner)
    monkeypatch.setattr(replay, "runner_of", lambda _: trainer)
    monkeypatch.setattr(machine, "describe_machine", lambda: "this machine")
    monkeypatch.setattr(machine, "find_mismatches", lambda block, here: [])
    return trainer


def test_a_run_is_given_what_its_record_says_and_compared(root, trainer):
    record, data = read_ledger(root)[RUN]
    score = record.facts["val_bpb"]
    assert replay.replay_run(record, data, root, 0.005) == Replayed(RUN, "identical", None, score, score, ())
    scratch = root / names.SCRATCH / "replay" / "rung1/d1-c000/cpu-fp32/1000"
    corpus = root / "artifacts/corpus"
    assert trainer.asked == [root, (record.corpus, corpus), (RUN, corpus, scratch, RUN)]
    assert trainer.cleared == 1


def test_each_part_of_the_result_is_compared(root, trainer):
    record, data = read_ledger(root)[RUN]
    score = record.facts["val_bpb"]
    facts = {**record.facts, "val_bpb": score + 0.001}
    trainer.change = lambda result: replace(result, facts=facts)
    assert replay.replay_run(record, data, root, 0.005) == Replayed(
        RUN, "within", None, score, score + 0.001, ("/facts/val_bpb",)
    )
    assert replay.replay_run(record, data, root, 0.005, same_kind=True).outcome == "differs"
    assert replay.replay_run(record, data, root, 0.005, same_kind=True).same_kind is True
    trainer.change = lambda result: replace(result, status="diverged", reason="why", facts=None)
    assert replay.replay_run(record, data, root, 0.005) == Replayed(
        RUN, "differs", None, score, None, ("/facts", "/reason", "/status")
    )


def test_telemetry_that_says_another_kind_is_believed_before_the_reviewer(root, trainer, monkeypatch):
    record, data = read_ledger(root)[RUN]
    for known, expected in (({"torch": "9"}, False), ({}, True), (None, True)):
        monkeypatch.setattr(replay, "recorded_machine", lambda *_, known=known: known)
        assert replay.replay_run(record, data, root, 0.005, same_kind=True).same_kind is expected
    assert replay.replay_run(record, data, root, 0.005).same_kind is None


def test_what_a_host_block_asks_to_report_is_that_of_the_machine_here(root, trainer, monkeypatch):
    record, data = read_ledger(root)[RUN]
    lock = locks.read("gate1", root)
    hosts = {name: host.model_copy(update={"report": ["torch"]}) for name, host in lock.frozen.hosts.items()}
    asking = lock.model_copy(update={"frozen": lock.frozen.model_copy(update={"hosts": hosts})})
    monkeypatch.setattr(replay, "read", lambda *_: asking)
    trainer.change = lambda result: replace(result, telemetry={**TIMES, "torch": "2.9"})
    assert replay.replay_run(record, data, root, 0.005).changed == ("/environment",)


def on_the_wall(root: Path, progress: Any) -> tuple[Any, bytes]:
    value = canonical.loads(read_ledger(root)[RUN][1])
    value["budget"]["clock"] = "wall"
    value["facts"]["progress"] = progress
    data = canonical.dumps(value)
    return parse_line(data, "x"), data


def test_on_the_wall_clock_the_seconds_of_the_steps_stand_beside_the_budget(root, trainer, monkeypatch):
    record, data = on_the_wall(root, {"ticks": 1, "steps": 2, "data": ""})
    replayed = replay.replay_run(record, data, root, 0.005)
    assert (replayed.outcome, replayed.seconds, replayed.budget) == ("identical", 10.346, 2.0)
    lock = locks.read("gate1", root)
    settings = {"kind": "command"}
    command = lock.model_copy(update={"frozen": lock.frozen.model_copy(update={"settings": settings})})
    monkeypatch.setattr(replay, "read", lambda *_: command)
    replayed = replay.replay_run(record, data, root, 0.005)
    assert (replayed.seconds, replayed.budget) == (None, None)
    record, data = on_the_wall(root, None)  # a command has none
    assert replay.replay_run(record, data, root, 0.005).outcome == "identical"


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(Refused) as error:
        call()
    return str(error.value)


def test_a_place_where_a_run_cannot_be_repeated_is_refused_in_words(root, trainer, monkeypatch):
    record, data = read_ledger(root)[RUN]

    def call() -> Replayed:
        return replay.replay_run(record, data, root, 0.005)

    wall = on_the_wall(root, None)
    assert refusal(lambda: replay.replay_run(*wall, root, 0.005)) == (
        f"{RUN}: its facts hold no progress; a run on the wall clock is repeated by it, step for step"
    )
    monkeypatch.setattr(machine, "find_mismatches", lambda block, here: [f"{here} is busy", "and old"])
    assert refusal(call) == f"{RUN} needs a machine like hosts.cpu-fp32: this machine is busy; and old"
    trainer.digests = "2" * 64
    assert refusal(call) == (
        f"the runner: found sha256 {'2' * 64}, expected {record.runner}; check out the commit of {RUN}"
    )
    (root / "locks" / "gate1.yaml").unlink()
    assert refusal(call) == "locks/gate1.yaml is missing; `git checkout -- locks`"
    (root / "ledger" / "runs.jsonl").unlink()
    path = (root / "ledger" / "runs.jsonl").as_posix()
    assert refusal(lambda: read_ledger(root)) == f"{path} is missing; `dvc repro -s ledger` writes it"


def test_the_telemetry_of_a_run_is_that_of_the_folder_which_dvc_lock_records(judged, tmp_path):
    record, _ = read_ledger(judged.root)[RUN]
    assert replay.recorded_machine(record, judged.root) == {
        "hostname": "example", "record": record.md5, "run": RUN, "schema": 1, "status": "finished",
        "tokens_per_second": 40000.0, "torch": "2.13.0", "train_seconds": 2.0,
    }  # fmt: skip
    shutil.copytree(judged.root / "artifacts" / "telemetry", tmp_path / "artifacts" / "telemetry")
    message = refusal(lambda: replay.recorded_machine(record, tmp_path))
    md5 = replay.md5_folder(tmp_path / "artifacts" / "telemetry")
    assert message == (
        f"artifacts/telemetry: found {md5}, expected an entry of its own, as in dvc.lock; `dvc checkout` mends it"
    )
    shutil.copy(judged.root / "dvc.lock", tmp_path / "dvc.lock")
    assert replay.recorded_machine(record, tmp_path) == replay.recorded_machine(record, judged.root)
    path = tmp_path / "artifacts/telemetry/rung1/d1-c000/cpu-fp32/1000.json"
    path.write_bytes(b"{}\n")
    changed = replay.md5_folder(tmp_path / "artifacts" / "telemetry")
    message = refusal(lambda: replay.recorded_machine(record, tmp_path))
    assert message.startswith(f"artifacts/telemetry: found {changed}, expected {md5}, as in dvc.lock;")
    path.unlink()
    assert replay.recorded_machine(record, tmp_path) is None


@pytest.mark.parametrize("key", replay.KIND)
def test_each_thing_that_makes_a_kind_of_machine_tells_two_apart(key):
    here = dict.fromkeys(replay.KIND, "x") | {"hostname": "one"}
    assert replay.is_same_kind(here, {**here, "hostname": "two"}) is True
    assert replay.is_same_kind(here, {**here, key: "y"}) is False
    assert replay.is_same_kind({name: value for name, value in here.items() if name != key}, here) is False


def test_what_came_of_a_run_is_one_value():
    replayed = Replayed("a/b/c/1", "within", False, 2.0, 2.0000019, ("/x",), 3.5, 2.0)
    assert replayed.to_json() == {
        "run": "a/b/c/1", "outcome": "within", "same_kind_of_machine": False, "recorded": 2.0, "again": 2.0000019,
        "difference": 0.000002, "changed": ["/x"], "seconds": 3.5, "budget_seconds": 2.0,
    }  # fmt: skip
    assert replace(replayed, recorded=None).difference is None
    assert replace(replayed, again=None).difference is None
    kind = replace(replayed, same_kind=True)
    assert (kind.long, replace(kind, seconds=3.0).long) == (True, False)
    assert (replace(kind, seconds=None).long, replace(kind, budget=None).long) == (False, False)


def test_the_score_of_a_command_stands_before_a_bpb_and_may_be_missing():
    assert replay._score({"score": 1.0, "val_bpb": 2.0}) == 1.0
    assert replay._score({"score": None, "val_bpb": 2.0}) is None
    assert (replay._score({"val_bpb": 2.0}), replay._score({})) == (2.0, None)


def test_runs_are_chosen_by_name_or_drawn_and_refused_in_words(judged):
    runs = read_ledger(judged.root)
    executed = sorted(name for name, (record, _) in runs.items() if record.executed)
    assert choose_runs(runs, [RUN], 0, 0) == [RUN]
    assert sorted(choose_runs(runs, [], len(executed), 0)) == executed
    stopped = "rung5/d1-c000/cpu-fp32/5000"
    near = "; executed runs look like rung1/d1-c000/cpu-bf16/1000"
    assert refusal(lambda: choose_runs(runs, [RUN, stopped], 0, 0)) == f"{stopped}: was not executed{near}"
    assert refusal(lambda: choose_runs(runs, ["x"], 0, 0)) == f"x: is not in the ledger{near}"
    assert refusal(lambda: choose_runs({}, ["x"], 0, 0)) == "x: is not in the ledger"
    assert refusal(lambda: choose_runs(runs, [], 35, 0)) == (
        "--sample 35: found 34 executed runs, expected at least as many"
    )


def test_reading_says_how_many_runs_it_does_not_train(judged):
    with pytest.raises(Skip) as skip:
        list(replay.check_replay(judged))
    assert skip.value.reason == "34 runs were trained, and reading does not train"
    assert (skip.value.enable, skip.value.applies) == ("promotion replay --sample 3", True)
