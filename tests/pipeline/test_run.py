"""One run from its command line on: what is refused, what is recorded as stopped, and what a run that trains leaves."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages import run, runners
from stages.domain import canonical, files, names, promotions
from stages.domain.errors import Invalid, Refused
from stages.domain.hindsight import read_last_decision
from stages.hosts import machine, orphans, processes
from stages.hosts.machine import WrongHost
from stages.runners import RunResult
from tests.report import broken
from tests.support import synthetic
from tests.support.contracts import make_contract

USAGE = "usage: python -m stages.run RUNG CONFIG HOST SEED [--floor | --hindsight]"
HEADER = b"step,tokens,seconds,train_loss,lr_factor\n"


def main(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """What `python -m stages.run WORDS` does."""
    monkeypatch.setattr(sys, "argv", ["run.py", *words])
    run.main()


def request(purpose: str = "candidate", config: str = "a", host: str = "h1", seed: int = 1, **changes: Any) -> Any:
    return run.RequestedRun(make_contract(**changes), config, host, seed, purpose)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("rung1", "d1-c000", "cpu-fp32"),
        ("rung1", "d1-c000", "cpu-fp32", "x1"),
        ("rung1", "d1-c000", "cpu-fp32", "-1"),
        ("rung1", "..", "cpu-fp32", "1000"),
        ("../x", "d1-c000", "cpu-fp32", "1000"),
        ("rung1", "d1-c000", "cpu/fp32", "1000"),
        ("rung1", "d1-c000", "cpu-fp32", "1000", "--other"),
        ("rung1", "d1-c000", "cpu-fp32", "1000", "--floor", "--hindsight"),
        ("rung1", "d1-c000", "cpu-fp32", "1000", "5"),
    ],
)
def test_other_words_are_refused_before_anything_is_read(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused) as refused:
        main(monkeypatch, *words)
    assert str(refused.value) == USAGE


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (request(), None),
        (request(host="h3", hosts=("h1", "h2")), "host h3 is not among h1, h2"),
        (request(seed=3, seeds=(1, 2)), "seed 3 is not among 1, 2"),
        (request(seed=2, seeds=(1, 2)), None),
        (request("floor", seed=1, roles={"reference": "a"}), "seed 1 is not among none"),
        (request("floor", seed=9, floor_seeds=(9,), roles={"reference": "a"}), None),
        (request("floor", seed=9, floor_seeds=(9,), roles={"reference": "b"}), "a is not the reference, b"),
        (request(configs={"b": {}}), "configuration a is not among those that gate1 froze"),
        (request(configs={"a": {}}), None),
        (request("hindsight", config="b", roles={"reference": "a"}), None),
    ],
)
def test_a_run_is_declared_by_host_seed_reference_and_configuration(asked: run.RequestedRun, problem: str) -> None:
    assert run.find_undeclared(asked) == problem


def test_everybody_has_a_ticket_for_the_first_rung_and_later_those_whom_the_gate_before_gave_one(judged: Path) -> None:
    assert run.read_ticket("rung1", "anybody") == "true"
    assert [run.read_ticket("rung4", name) for name in ("d1-c000", "d2-c001")] == ["false", "true"]
    with pytest.raises(Refused) as refused:
        run.read_ticket("rung2", "d9")
    assert str(refused.value) == (
        "artifacts/gates/gate1/promotions.json: no line for d9; was it added to params.yaml after gate1 decided?"
    )


def take_away(identity: str) -> bytes:
    """Remove the record and the trace of a run; the bytes that the record had."""
    data = names.record_path(identity).read_bytes()
    names.record_path(identity).unlink()
    shutil.rmtree(names.trace_path(identity), ignore_errors=True)
    return data


def read_record(identity: str) -> dict[str, Any]:
    return dict(canonical.loads_canonical(names.record_path(identity).read_bytes()))


def test_without_a_ticket_a_run_is_recorded_as_stopped_with_an_empty_curve(
    judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = "rung4/d1-c000/cpu-bf16/4001"
    before = take_away(identity)
    main(monkeypatch, "rung4", "d1-c000", "cpu-bf16", "4001")
    assert names.record_path(identity).read_bytes() == before
    assert read_record(identity)["reason"] == "gate3 did not promote it"
    assert {path.name: path.read_bytes() for path in names.trace_path(identity).iterdir()} == {"curve.csv": HEADER}


def test_a_ticket_that_only_an_exploratory_gate_gave_trains_nothing(
    judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tickets = promotions.read(names.promotions_path("gate3")) | {"d1-c000": "what-if"}
    files.write_whole(names.promotions_path("gate3"), promotions.dumps(tickets))
    main(monkeypatch, "rung4", "d1-c000", "cpu-fp32", "4000")
    record = read_record("rung4/d1-c000/cpu-fp32/4000")
    assert (record["status"], record["reason"]) == ("unrun", "only an exploratory gate3 promotes it")


def test_what_no_lock_asks_for_is_refused_with_the_lock_and_what_to_do(
    judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused) as refused:
        main(monkeypatch, "rung2", "d1-c000", "cpu-fp32", "7")
    assert str(refused.value) == (
        "locks/gate2.yaml: seed 7 is not among 2000: no rule asks for this run; "
        "look at params.yaml, then `promotion freeze`"
    )
    assert not names.record_path("rung2/d1-c000/cpu-fp32/7").exists()


def test_in_an_exploratory_study_what_no_lock_asks_for_is_recorded_as_unrun(
    judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken.params(judged, lambda value: value["study"].update(mode="exploratory"))
    main(monkeypatch, "rung3", "d1-c000", "cpu-fp32", "3000", "--floor")
    record = read_record("rung3/d1-c000/cpu-fp32/floor-3000")
    reason = "only an exploratory study asks for it: seed 3000 is not among 3900, 3901, 3902"
    assert (record["status"], record["reason"], record["purpose"]) == ("unrun", reason, "floor")


def alter_knobs(config: str, **changed: Any) -> None:
    path = names.knobs_path(config)
    value = canonical.loads(path.read_bytes())
    value["knobs"].update(changed)
    files.write_whole(path, canonical.dumps(value))


def test_a_knob_that_is_not_the_frozen_one_is_refused_at_every_rung(
    judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alter_knobs("d3-c002", batch_tokens=4096.0, zeta=1)  # equal as a number, and not the same
    assert run.find_altered_knob("d4-c003") is None
    for rung, seed in (("rung1", "1000"), ("rung3", "3000")):
        with pytest.raises(Refused) as refused:
            main(monkeypatch, rung, "d3-c002", "cpu-fp32", seed)
        assert str(refused.value) == (
            "locks/gate1.yaml: configs.d3-c002.batch_tokens: found 4096.0, but gate1 froze 4096: "
            "no rule asks for this run; look at params.yaml, then `promotion freeze`"
        )


def test_a_knob_that_is_not_the_frozen_one_is_unrun_in_an_exploratory_study(
    judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken.params(judged, lambda value: value["study"].update(mode="exploratory"))
    alter_knobs("d4-c003", aspect=9)
    main(monkeypatch, "rung2", "d4-c003", "cpu-fp32", "2000")
    record = read_record("rung2/d4-c003/cpu-fp32/2000")
    assert record["status"] == "unrun"
    assert record["reason"].endswith("configs.d4-c003.aspect: found 9, but gate1 froze 16")


def test_an_exploratory_study_trains_nothing_and_says_what_brings_the_evidence(
    judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken.params(judged, lambda value: value["study"].update(mode="exploratory"))
    take_away("rung2/d4-c003/cpu-fp32/2000")
    with pytest.raises(Refused) as refused:
        main(monkeypatch, "rung2", "d4-c003", "cpu-fp32", "2000")
    assert str(refused.value) == (
        "rung2/d4-c003/cpu-fp32/2000: its evidence is not here, and an exploratory study trains nothing; "
        "`dvc pull` (where a DVC remote is set up) brings what was trained, "
        "and `promotion what-if` asks the ledger alone"
    )
    assert not names.record_path("rung2/d4-c003/cpu-fp32/2000").exists()


def test_in_hindsight_what_ran_at_the_last_rung_is_not_trained_again(
    judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(monkeypatch, "rung5", "d3-c002", "cpu-fp32", "5000", "--hindsight")
    record = read_record("hindsight/d3-c002/cpu-fp32/5000")
    rows = map(json.loads, (judged / "ledger" / "hindsight.jsonl").read_bytes().splitlines())
    expected = next(row for row in rows if (row["config"], row["host"]) == ("d3-c002", "cpu-fp32"))
    assert record == expected
    assert record["reason"] == "it ran at rung5 itself"


def write_knobs(data: bytes) -> None:
    files.write_whole(names.knobs_path("d1"), data)


def test_the_knobs_of_a_configuration_are_those_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_knobs(canonical.dumps({run.KNOBS_KEY: {"depth": 1}}))
    assert run.read_knobs("d1") == {"depth": 1}


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (None, Refused, "artifacts/protocol/knobs/d1.json is missing"),
        (b"{", Invalid, "not JSON at line 1, column 2"),
        (b'{"a":NaN}', Invalid, "NaN is not a number that JSON has"),
        (b"[]\n", Invalid, f"found no {run.KNOBS_KEY}"),
        (b"{}\n", Invalid, f"found no {run.KNOBS_KEY}"),
        (b'{"knobs":[]}\n', Invalid, f"found no {run.KNOBS_KEY}"),
    ],
)
def test_a_file_of_knobs_that_is_none_is_named_with_what_writes_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes | None, kind: type[Exception], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if data is not None:
        write_knobs(data)
    with pytest.raises(kind) as caught:
        run.read_knobs("d1")
    assert str(caught.value).startswith(names.knobs_path("d1").as_posix())
    assert words in str(caught.value)
    assert str(caught.value).endswith("; `dvc repro --force protocol` writes it anew")


def test_the_trace_is_written_before_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record = request(seed=7).make_record("finished", None)
    seen: list[list[str]] = []
    original = files.write_whole

    def write(path: Path, data: bytes) -> None:
        seen.append(sorted(file.as_posix() for file in Path().rglob("*") if file.is_file()))
        original(path, data)

    monkeypatch.setattr(files, "write_whole", write)
    large = {"weights": lambda path: path.write_bytes(b"w")}
    run.write_outputs(record, {"curve.csv": b"c", "log.txt": b"l"}, large)
    trace = "artifacts/traces/rung1/a/h1/7"
    written = [f"{trace}/{name}" for name in ("weights", "curve.csv", "log.txt")]
    assert seen == [sorted(written[:1]), sorted(written[:2]), sorted(written)]
    assert names.record_path("rung1/a/h1/7").read_bytes() == canonical.dumps(record)
    run.write_outputs(record, {}, large)
    run.write_outputs(request(seed=8).make_record("stopped", "why"), {})
    assert not names.trace_path("rung1/a/h1/8").exists()


class FakeRunner:
    """A runner that trains nothing and tells what it was asked for."""

    title, keeps_weights = "a trainer", True

    def __init__(self, events: list[Any], result: RunResult) -> None:
        self.events, self.result, self.fixed = events, result, synthetic.RUNNER

    def digest(self, tree: runners.FileTree) -> str:
        return self.fixed

    def make_spec(self, assignment: runners.Assignment) -> dict[str, Any]:
        return {"seed": assignment.seed, "knobs": dict(assignment.knobs), "seconds": assignment.seconds}

    def check_corpus(self, expected: str, folder: Path) -> None:
        self.events.append(("corpus", expected, folder))

    def load(self) -> None:
        self.events.append("torch")

    def train(self, spec: dict[str, Any], corpus: Path, scratch: Path, observer: Any) -> RunResult:
        self.events.append(("train", spec, corpus, scratch))
        return self.result


def result_of(events: list[Any], trace: Mapping[str, bytes]) -> RunResult:
    def clear() -> None:
        identity = next(event[1] for event in events if event[0] == "lock")
        events.append(("clear", names.record_path(identity).exists()))

    facts = {"val_bpb": 1.25, "steps": 40}
    measured = {"torch": "2.13.0", "train_seconds": 12.0, "resumed_at_step": 7}
    large = {"weights.safetensors": lambda path: events.append(("weights", path))}
    return RunResult("finished", None, facts, measured, trace, large, clear)


@pytest.fixture
def trained(judged: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRunner:
    """The runner and the machine of a study whose runs end at once."""
    events: list[Any] = []
    runner = FakeRunner(events, result_of(events, {"curve.csv": b"curve"}))

    @contextmanager
    def hold(name: str, activity: str) -> Any:
        events.append(("lock", name, activity))
        yield
        events.append("released")

    monkeypatch.setattr(runners, "runner_of", lambda settings: runner)
    monkeypatch.setattr(processes, "watch_parent", lambda: events.append("watch"))
    monkeypatch.setattr(processes, "hold_lock", hold)
    monkeypatch.setattr(orphans, "settle_outputs", lambda identity: events.append(("settle", identity)))
    monkeypatch.setattr(machine, "require_host", lambda name, block: events.append(("host", name, block.precision)))
    monkeypatch.setattr(machine, "show_gpus", lambda block: events.append(("gpus", block.precision)))
    monkeypatch.setattr(machine, "git_commit", lambda: "c0ffee")
    monkeypatch.setattr(run, "time", SimpleNamespace(perf_counter=iter([100.0, 103.25049]).__next__))
    return runner


def test_a_run_trains_under_its_lock_and_writes_record_trace_and_telemetry(
    trained: FakeRunner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    identity, contract = "rung2/d3-c002/cpu-bf16/2000", run.read_open("rung2")
    expected = json.loads(take_away(identity))
    spec = {"seed": 2000, "knobs": run.read_knobs("d3-c002"), "seconds": 5.0}
    expected.update(spec=spec, facts=trained.result.facts, environment={"torch": "2.13.0"})
    main(monkeypatch, "rung2", "d3-c002", "cpu-bf16", "2000")
    assert trained.events == [
        "watch",
        ("host", "cpu-bf16", "bf16"),
        ("corpus", contract.corpus, names.CORPUS),
        ("lock", identity, f"{identity} is being trained"),
        "torch",
        ("host", "cpu-bf16", "bf16"),
        ("gpus", "bf16"),
        ("train", spec, names.CORPUS, names.SCRATCH / identity),
        ("weights", names.trace_path(identity) / "weights.safetensors"),
        ("clear", True),
        ("settle", identity),
        "released",
    ]
    assert read_record(identity) == expected
    assert (names.trace_path(identity) / "curve.csv").read_bytes() == b"curve"
    md5 = files.md5_file(names.record_path(identity))
    assert json.loads(Path(f".dvc/cache/runs/telemetry/{md5}.json").read_bytes()) == {
        "schema": 1, "run": identity, "record": md5, "status": "finished", "commit": "c0ffee", "torch": "2.13.0",
        "train_seconds": 12.0, "resumed_at_step": 7, "process_seconds": 3.25,
    }  # fmt: skip
    line = "finished, val_bpb 1.250000, 40 steps, 12.0 s of training in all, resumed at step 7"
    assert capsys.readouterr() == ("", f"{identity}: {line}\n")


def test_an_a_a_run_of_the_reference_needs_no_ticket(trained: FakeRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    names.promotions_path("gate2").unlink()
    take_away("rung3/d4-c003/cpu-fp32/floor-3900")
    main(monkeypatch, "rung3", "d4-c003", "cpu-fp32", "3900", "--floor")
    record = read_record("rung3/d4-c003/cpu-fp32/floor-3900")
    assert (record["status"], record["purpose"], record["environment"]) == ("finished", "floor", None)


def test_in_hindsight_what_was_stopped_is_trained_without_its_weights_and_names_the_last_decision(
    trained: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(monkeypatch, "rung5", "d1-c000", "cpu-fp32", "5001", "--hindsight")
    record = read_record("hindsight/d1-c000/cpu-fp32/5001")
    assert record["decision"] == read_last_decision(run.read_open("rung5")).digest
    assert (record["status"], record["purpose"]) == ("finished", "hindsight")
    assert not [event for event in trained.events if event[0] == "weights"]


def test_a_record_that_was_finished_after_its_dvc_was_killed_is_taken_up(
    trained: FakeRunner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = "rung2/d3-c002/cpu-bf16/2000"
    known: list[Any] = []
    monkeypatch.setattr(orphans, "restore_outputs", lambda name, record: known.append((name, record)) or True)
    main(monkeypatch, "rung2", "d3-c002", "cpu-bf16", "2000")
    assert capsys.readouterr().err == f"{identity}: finished after its DVC was killed; that record is taken up\n"
    assert known[0][0] == identity
    assert {key: known[0][1][key] for key in ("status", "seed", "lock")} == {
        "status": "finished", "seed": 2000, "lock": run.read_open("rung2").lock
    }  # fmt: skip
    assert known[0][1]["spec"]["seconds"] == 5.0
    assert trained.events[-2:] == [("settle", identity), "released"]
    assert "torch" not in trained.events


def test_another_runner_than_the_frozen_one_trains_nothing(
    trained: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.fixed = "9" * 64
    with pytest.raises(Refused) as refused:
        main(monkeypatch, "rung2", "d3-c002", "cpu-bf16", "2000")
    assert str(refused.value) == (
        f"a trainer: found sha256 {'9' * 64}, expected the frozen {'1' * 64}; "
        "take the change back, or freeze it with `promotion freeze`"
    )
    assert trained.events == ["watch", ("host", "cpu-bf16", "bf16")]


def test_another_machine_than_the_frozen_one_trains_nothing(
    trained: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, block: object) -> None:
        raise WrongHost(f"{name} is elsewhere")

    monkeypatch.setattr(machine, "require_host", refuse)
    with pytest.raises(WrongHost, match="cpu-bf16 is elsewhere"):
        main(monkeypatch, "rung2", "d3-c002", "cpu-bf16", "2000")
    assert trained.events == ["watch"]
