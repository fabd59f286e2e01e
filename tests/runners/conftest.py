"""A trainer that is not this project's, its settings, and a folder with its data."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.domain import canonical, files
from stages.runners import Assignment, RunResult
from stages.runners.command import CommandRunner
from tests.support.contracts import HOST
from tests.support.repo import PROJECT

STUB = PROJECT / "tests" / "runners" / "trainer_stub.py"
TEXT = b"some data\n"


def make_settings(mode: str = "normal", **changes: Any) -> dict[str, Any]:
    """A `runner` section for the stub in this mode."""
    return {
        "kind": "command",
        "files": ["small/train.py"],
        "command": [
            sys.executable, "small/train.py", "--seed={seed}", "--steps={with.steps}", "--lr={lr}", f"--mode={mode}",
            "--out={out}", "--data={data}",
        ],
        "score": {"name": "val_loss", "unit": "nats/token", "line": "val_loss: {score}"},
        "facts": {"steps": "num_steps: {value}", "seconds": "training_seconds: {value}"},
        "progress": "step {step} | loss {loss}",
        "diverged": ["FAIL"],
        "failed": ["{*}CUDA out of memory{*}"],
    } | changes  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a study with the stub and a manifest of its data."""
    (tmp_path / "small").mkdir()
    shutil.copy(STUB, tmp_path / "small" / "train.py")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "text.txt").write_bytes(TEXT)
    source = {
        "kind": "files",
        "root": "data",
        "files": [{"path": "text.txt", "sha256": hashlib.sha256(TEXT).hexdigest()}],
    }
    files.write_whole(tmp_path / "corpus" / "manifest.json", canonical.dumps({"schema": 1, "source": source}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    return tmp_path


class Watcher:
    """An observer that keeps what it hears."""

    def __init__(self) -> None:
        self.rows: list[Any] = []

    def progress(self, now: Any) -> None: ...

    def row(self, row: Any) -> None:
        self.rows.append(tuple(row))

    def warning(self, text: str) -> None: ...


def assignment(seed: int = 1, seconds: float = 60.0, steps: int = 20, **changes: Any) -> Assignment:
    """What a study gives one run."""
    fields: dict[str, Any] = {
        "rung": "rung1", "config": "a", "host": "h1", "seed": seed, "settings": {}, "knobs": {"lr": 0.1}, "block": HOST,
        "clock": "given", "seconds": seconds, "last": False, "options": {"steps": steps},
    }  # fmt: skip
    return Assignment(**fields | changes)


@pytest.fixture
def train(place: Path) -> Callable[..., RunResult]:
    """Train with the stub in a mode."""

    def run(mode: str = "normal", watcher: Watcher | None = None, **changes: Any) -> RunResult:
        given = {key: changes.pop(key) for key in ("seed", "seconds", "steps") if key in changes}
        runner = CommandRunner(make_settings(mode, **changes))
        spec = runner.make_spec(assignment(**given))
        return runner.train(spec, place / "corpus", place / "scratch" / "run", watcher or Watcher())

    return run
