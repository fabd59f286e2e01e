"""How commands write: JSON whose text never depends on the order of anything, progress that is seen at once, git left closed."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.commands import backtest, dispatch, next_step, replay, serve, simulate, study
from stages.commands import host as host_command
from stages.domain import files, names
from stages.domain.study import load
from stages.hosts.machine import MachineDescription
from stages.repo import dvc_entries
from stages.repo.git import Git
from stages.status import read_status
from stages.verify import Replayed
from tests.commands.conftest import Command
from tests.support.repo import Repo


@pytest.mark.parametrize("command", ["host", "pending"])
def test_json_is_indented_by_one_and_sorted(
    command: str, workspace: Path, promotion: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = MachineDescription(
        system="linux", machine="x86_64", cpu="A CPU", threads=8, gpus=(), compiler=None, triton=False
    )
    monkeypatch.setattr(host_command, "describe_machine", lambda: machine)
    text = promotion(command, "--json")
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"


def test_the_list_of_studies_as_json_is_indented_by_one(workspace: Path, promotion: Command) -> None:
    data = names.PARAMS.read_bytes()
    files.write_whole(Path("studies/mine.yaml"), data)
    assert promotion("study", "list", "--json").splitlines()[:3] == ["{", ' "schema": 1,', ' "ready": [']


class Stream(io.StringIO):
    """Notes what had been written whenever somebody flushed it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def flush(self) -> None:
        self.seen.append(self.getvalue())


def replay_one() -> None:
    parts = {"read_ledger": lambda root: {"a": ("a", "line")}, "choose_runs": lambda recorded, *words: list(recorded)}
    again = Replayed("a", "identical", same_kind=True, recorded=1.5, again=1.5, changed=())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**parts, "replay_run": lambda *words: again}.items():
            patch.setattr(f"stages.verify.{name}", value)
        arguments = SimpleNamespace(runs=["a"], sample=None, seed=0, tolerance=0.005, same_kind=False, json=None)
        assert replay.run(arguments) == 0  # type: ignore[arg-type]


def serve_once() -> None:
    class Server:
        server_address = ("127.0.0.1", 80)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *error: object) -> None: ...

        def serve_forever(self) -> None:
            assert sys.stdout.seen, "the address is seen before anybody can ask"  # type: ignore[attr-defined]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve, "start_server", lambda root, port: Server())
        assert serve.run(SimpleNamespace(port=80, no_browser=True)) == 0  # type: ignore[arg-type]


def tick(make: Callable[[], Callable[[int, int], None]]) -> Callable[[], None]:
    def run() -> None:
        now = iter([0.0, 5.0, 5.0])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("time.monotonic", lambda: next(now))
            make()(1, 2)

    return run


@pytest.mark.parametrize(
    ("run", "line"),
    [
        (replay_one, "a: identical, on the same kind of machine, val_bpb 1.5\n"),
        (serve_once, "http://127.0.0.1:80/  (Ctrl-C stops it)\n"),
        (lambda: dispatch._say("a word"), "dispatch: a word\n"),
        (tick(lambda: backtest._Progress()), "backtest: 1 of 2 ladders\n"),
        (tick(lambda: simulate.ProgressPrinter("x")), "x: 1 of 2 ladders\n"),
    ],
)
def test_progress_is_seen_at_once_through_a_pipe(
    run: Callable[[], None], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    run()
    assert stream.seen == [line]


@pytest.fixture
def repo(workspace: Path) -> Repo:
    repo = Repo(workspace)
    repo.git("init", "-q")
    repo.commit("A study")
    return repo


def test_who_asks_git_closes_it(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Git] = []
    closed: list[Git] = []
    start, close = Git.__init__, Git.close
    monkeypatch.setattr(Git, "__init__", lambda git, *words, **more: opened.append(git) or start(git, *words, **more))
    monkeypatch.setattr(Git, "close", lambda git: closed.append(git) or close(git))
    own = load()
    for ask in (
        study.list_uncommitted,
        lambda: next_step.commit_rules_command(own),
        lambda: next_step.find_next_step(own, read_status(own)),
    ):
        opened.clear()
        closed.clear()
        ask()
        assert opened
        assert [id(git) for git in opened] == [id(git) for git in dict.fromkeys(closed)]


@pytest.mark.parametrize("repetition", [True, False])
def test_a_lock_that_only_a_repetition_changed_is_no_change_to_lose(
    repetition: bool, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(dvc_entries, "differs_by_repetition", lambda git, path: asked.append(path) or repetition)
    files.write_whole(Path("dvc.lock"), b"x: 1\n")
    names.PARAMS.write_bytes(names.PARAMS.read_bytes() + b"\n")
    expected = [" M params.yaml", *["?? dvc.lock"] * (not repetition)]
    assert study.list_uncommitted() == expected
    assert asked == [Path("dvc.lock")]
