"""One execution of a command with a program that is only pretended: environment, probe, curve, progress and endings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.domain import canonical
from stages.domain.errors import Refused
from stages.runners import execution
from stages.runners.command import CommandRunner
from stages.runners.execution import CommandExecution, SeenProgress
from stages.runners.output import LOG, decompress
from stages.runners.process_tree import Ending
from tests.runners.conftest import assignment, make_settings

OUTPUT = b"step 1 | loss 4.5\nval_loss: 1.2500000\nnum_steps: 20\n"


class Program:
    """In the place of `run_limited`: what it was started with, and what it prints and leaves."""

    def __init__(self) -> None:
        self.calls: list[SimpleNamespace] = []
        self.endings = [Ending(0, False, 1.23456)]
        self.output = [OUTPUT]
        self.leave: Callable[[SimpleNamespace], None] = lambda call: None

    def __call__(
        self, command: list[str], environment: dict[str, str], limit: float, state: Path, receive: Any, **more: Any
    ) -> Ending:
        call = SimpleNamespace(command=command, environment=environment, limit=limit, state=state, **more)
        self.calls.append(call)
        self.leave(call)
        receive(self.output[min(len(self.calls), len(self.output)) - 1])
        return self.endings[min(len(self.calls), len(self.endings)) - 1]


@pytest.fixture
def program(place: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    program = Program()
    monkeypatch.setattr(execution, "run_limited", program)
    return program


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A time that tests move."""
    now = [100.0]
    monkeypatch.setattr(execution, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


class Watcher:
    """An observer that keeps what it hears."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.seen: list[SeenProgress] = []

    def progress(self, now: Any) -> None:
        self.seen.append(now)

    def row(self, row: Any) -> None:
        self.rows.append(tuple(row))

    def warning(self, text: str) -> None: ...


def make(place: Path, watcher: Any = None, given: dict[str, Any] | None = None, **changes: Any) -> CommandExecution:
    runner = CommandRunner(make_settings(**changes))
    spec = runner.make_spec(assignment(**(given or {})))
    return CommandExecution(runner.settings, spec, place / "corpus", place / "scratch" / "run", watcher or Watcher())


def refusal(run: Callable[[], object]) -> str:
    with pytest.raises(Refused) as refused:
        run()
    return str(refused.value)


def test_a_run_has_its_folders_its_words_its_limit_and_its_input(
    place: Path, program: Program, clock: list[float]
) -> None:
    run = place / "scratch" / "run"
    (run / "out").mkdir(parents=True)
    (run / "out" / "left.txt").write_text("of a killed run", encoding="utf-8")
    present: list[list[str]] = []
    program.leave = lambda call: present.append(sorted(p.relative_to(run).as_posix() for p in run.rglob("*")))
    result = make(place).run()
    (call,) = program.calls
    assert present == [["out", "shared", "spec.json"]]
    assert call.command[2:] == [
        "--seed=1", "--steps=20", "--lr=0.1", "--mode=normal", f"--out={run / 'out'}", f"--data={place / 'data'}"
    ]  # fmt: skip
    assert (call.limit, call.state, call.folder) == (420.0, run / "trainer.json", Path())
    spec = json.loads((run / "spec.json").read_bytes())
    assert spec == CommandRunner(make_settings()).make_spec(assignment())
    assert (result.status, result.reason, result.large) == ("finished", None, {})
    assert result.facts == {"score": 1.25, "printed": "1.2500000", "reported": {"steps": 20.0}}
    assert result.trace["curve.csv"] == b"step,tokens,seconds,train_loss,lr_factor\n1,,0.0,4.5,\n"
    assert decompress(result.trace[LOG]) == OUTPUT.decode()
    assert (result.telemetry["train_seconds"], result.telemetry["exit_status"]) == (1.235, 0)
    result.clear()
    assert sorted(path.name for path in run.iterdir()) == ["shared"]
    result.clear()


def test_a_trainer_with_a_folder_of_its_own_runs_there(place: Path, program: Program) -> None:
    make(place, folder="small").run()
    assert program.calls[0].folder == Path("small")


def test_the_environment_holds_where_things_are_what_is_inherited_and_what_is_declared(
    place: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*execution.BASE_VARIABLES, *execution.DEVICE_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/h", "CUDA_HOME": "/c", "TOKEN": "t", "SECRET": "s"}.items():
        monkeypatch.setenv(name, value)
    make(place, inherit=["TOKEN"], env={"SEED": "{seed}", "HOME": "{out}"}).run()
    out = str(place / "scratch" / "run" / "out")
    assert program.calls[0].environment == {"HOME": out, "CUDA_HOME": "/c", "TOKEN": "t", "SEED": "1"}
    monkeypatch.delenv("TOKEN")
    assert refusal(make(place, inherit=["TOKEN"]).run) == (
        "params.yaml: runner.inherit: TOKEN is not set here; set it, or take it out"
    )


def test_what_the_probe_prints_is_telemetry(place: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution.socket, "gethostname", lambda: "mine")
    monkeypatch.setattr(execution.platform, "platform", lambda: "a system")
    monkeypatch.setattr(execution.platform, "processor", lambda: "")
    monkeypatch.setattr(execution.platform, "machine", lambda: "a machine")
    long = "x" * 201
    program.output = [f"torch: 2.9\n device : A: B\nno colon\n: nothing\nother:{long}\n".encode(), OUTPUT]
    telemetry = make(place, probe=["probe", "{seed}", "{out}"]).run().telemetry
    assert program.calls[0].command == ["probe", "1", str(place / "scratch" / "run" / "out")]
    assert program.calls[0].limit == 120.0
    assert telemetry == {
        "hostname": "mine", "system": "a system", "cpu": "a machine", "torch": "2.9", "device_name": "A: B",
        "probe": {"torch": "2.9", "device": "A: B", "other": long[:200]}, "train_seconds": 1.235, "exit_status": 0,
    }  # fmt: skip


@pytest.mark.parametrize("ending", [Ending(2, False, 1.0), Ending(0, True, 1.0)])
def test_a_probe_that_fails_ends_the_run_before_it_begins(place: Path, program: Program, ending: Ending) -> None:
    program.endings, program.output = [ending], [b"no such module\n"]
    message = refusal(make(place, probe=["probe"]).run)
    assert message.startswith(f"runner.probe: ended with exit status {ending.exit_status}:\n")
    assert "no such module" in message
    assert len(program.calls) == 1


SCORE_FILE = {"name": "val_loss", "json": "{out}/score.json", "key": "best.loss"}


def test_a_score_in_a_file_is_read_and_kept_and_one_that_is_not_there_is_no_score(
    place: Path, program: Program
) -> None:
    content = canonical.dumps({"best": {"loss": 1.5}})
    program.leave = lambda call: (place / "scratch" / "run" / "out" / "score.json").write_bytes(content)
    result = make(place, score=SCORE_FILE).run()
    assert result.facts is not None
    assert (result.facts["score"], result.facts["printed"]) == (1.5, "1.5")
    assert content in result.trace.values()
    program.leave = lambda call: None
    message = refusal(make(place, score=SCORE_FILE).run)
    assert message.startswith(
        "the trainer ended with exit status 0, but nothing it left matches runner.score: {out}/score.json with best.loss; "
        "no record is written. The end of what it printed (all of it: "
    )


FAILED = "RuntimeError: CUDA out of memory"


@pytest.mark.parametrize(
    ("ending", "output", "status", "reason"),
    [
        (Ending(0, True, 9.0), b"val_loss: 1.0\n", "failed", "it was stopped after 420 s, its limit"),
        (Ending(1, True, 9.0), f"{FAILED}\n".encode(), "failed", "it was stopped after 420 s, its limit"),
        (Ending(1, False, 9.0), f"{FAILED}\nFAIL\n".encode(), "failed", f"it printed: {FAILED}"),
        (Ending(0, False, 9.0), b"FAIL\nval_loss: nan\n", "diverged", "it printed: FAIL"),
        (Ending(1, False, 9.0), b"val_loss: nan\n", "diverged", "its val_loss is nan"),
        (Ending(0, False, 9.0), b"val_loss: 1.5\n", "finished", None),
    ],
)
def test_an_ending_that_is_understood_has_a_status_and_a_reason(
    place: Path, program: Program, ending: Ending, output: bytes, status: str, reason: str | None
) -> None:
    program.endings, program.output = [ending], [output]
    result = make(place).run()
    assert (result.status, result.reason) == (status, reason)
    nothing = {"score": None, "printed": None, "reported": {}}
    facts = {"failed": None, "diverged": nothing, "finished": nothing | {"score": 1.5, "printed": "1.5"}}
    assert result.facts == facts[status]


@pytest.mark.parametrize(
    ("ending", "output", "what"),
    [
        (Ending(3, False, 9.0), b"val_loss: 1.5\n", "ended with exit status 3"),
        (Ending(-9, False, 9.0), b"nothing\n", "was ended by signal 9"),
        (Ending(-1, False, 9.0), b"nothing\n", "was ended by signal 1"),
        (Ending(3, False, 9.0), b"nothing\n", "ended with exit status 3"),
        (
            Ending(0, False, 9.0),
            b"nothing\n",
            "ended with exit status 0, but nothing it left matches runner.score: val_loss: {score}",
        ),
    ],
)
def test_an_ending_that_is_not_understood_has_no_record_and_shows_what_was_printed(
    place: Path, program: Program, ending: Ending, output: bytes, what: str
) -> None:
    program.endings, program.output = [ending], [output]
    log = place / "scratch" / "run" / "log.txt"
    message = refusal(make(place).run)
    head = f"the trainer {what}; no record is written. The end of what it printed (all of it: {log.as_posix()}):\n"
    assert message.startswith(head)
    assert output.decode().strip() in message.removeprefix(head)
    assert log.read_bytes() == output


def test_progress_is_told_a_few_times_a_second_and_every_point_is_a_row(place: Path, clock: list[float]) -> None:
    watcher = Watcher()
    run = make(place, watcher, {"clock": "wall", "seconds": 8.0})
    for at, numbers in (
        (102.0, {"step": "1", "loss": "4.5"}),
        (102.2, {"step": "2", "loss": "nan", "tokens": "64"}),
        (102.25, {"step": "3", "seconds": "1.23456"}),
        (102.3, {"step": "nan"}),
        (120.0, {"step": "4.0", "loss": "3"}),
    ):
        clock[0] = at
        run._on_progress(numbers)
    assert [(now.step, now.share, now.steps) for now in watcher.seen] == [
        (1, 0.25, None), (3, 2.25 / 8, None), (4, 1.0, None)
    ]  # fmt: skip
    assert watcher.seen[0].train_loss == 4.5
    assert [row[:3] for row in watcher.rows] == [(1, "", 2.0), (2, 64, 2.2), (3, "", 1.235), (4, "", 20.0)]
    lines = run._curve().decode().splitlines()
    assert (lines[0], lines[1], lines[3]) == ("step,tokens,seconds,train_loss,lr_factor", "1,,2.0,4.5,", "3,,1.235,,")


def test_on_another_clock_nobody_knows_the_share(place: Path, clock: list[float]) -> None:
    watcher = Watcher()
    make(place, watcher)._on_progress({"step": "1"})
    assert watcher.seen == [SeenProgress(1, None, None)]


def test_a_long_curve_is_thinned_by_every_second_point(
    place: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "MOST_POINTS", 4)
    watcher = Watcher()
    run = make(place, watcher)
    for step in range(1, 13):
        run._on_progress({"step": str(step)})
    assert [row[0] for row in watcher.rows] == [1, 2, 3, 4, 6, 8, 12]
    assert [point.step for point in run._points] == [4, 8, 12]
    assert execution.MOST_POINTS == 4


def test_progress_is_told_from_the_first_quarter_of_a_second_of_the_clock_on(place: Path, clock: list[float]) -> None:
    watcher = Watcher()
    clock[0] = 0.125
    run = make(place, watcher)
    run._on_progress({"step": "1"})
    clock[0] = 0.25
    run._on_progress({"step": "2"})
    assert [now.step for now in watcher.seen] == [2]
    assert [row[0] for row in watcher.rows] == [1, 2]


def test_a_version_in_git_runs_in_a_checkout_of_its_own_that_goes_with_the_run(
    place: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def check_out(settings: Any, knobs: dict[str, Any], folder: Path) -> None:
        asked.append((settings.candidate, knobs, folder))
        folder.mkdir()

    monkeypatch.setattr("stages.runners.candidates.check_out", check_out)
    knobs = {"commit": "a" * 40, "sha256": "b" * 64}
    command = ["python", "train.py", "{seed}", "{with.steps}"]
    versions = {"command": command, "files": ["agent/x.py"], "candidate": ["agent/train.py"], "folder": "agent"}
    checkout = place / "scratch" / "run" / "checkout"
    result = make(place, given={"knobs": knobs}, **versions).run()
    assert asked == [(["agent/train.py"], knobs, checkout)]
    assert program.calls[0].folder == checkout / "agent"
    assert checkout.exists()
    result.clear()
    assert not checkout.exists()
