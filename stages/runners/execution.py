"""One execution of a command: its folders, its environment, what it prints, and how it ends.

    result = CommandExecution(settings, spec, corpus, scratch, observer).run()

The endings are those of `stages/runners/command.py`; where none of them is understood, `Refused`.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.domain import canonical, files
from stages.domain.command import CommandSettings, fill
from stages.domain.corpus import DataFiles
from stages.domain.data_files import find_root
from stages.domain.errors import Refused
from stages.domain.schema import parse
from stages.runners import RunnerJson, RunObserver, RunResult
from stages.runners.output import (
    LOG,
    MAX_SCORE_FILE,
    SCORE_FILE,
    OutputLog,
    Readings,
    as_number,
    compress,
    read_bounded,
    read_end,
    read_output,
    read_score_file,
    round_score,
    shorten,
)
from stages.runners.process_tree import Ending, run_limited

#: What every program needs to start: where programs, homes and temporary files are, and which language they speak.
BASE_VARIABLES = (
    "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TEMP", "TMP", "LANG", "LC_ALL", "LC_CTYPE", "TZ",
    "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA",
    "LOCALAPPDATA", "PROGRAMDATA",
)  # fmt: skip
#: Where the driver is and which devices it shows.
DEVICE_VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_HOME", "CUDA_PATH", "LD_LIBRARY_PATH", "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCM_PATH",
)  # fmt: skip
PROBE_SECONDS = 120.0
PROGRESS_SECONDS = 0.25
#: More points of a curve are thinned out: every second one goes.
MOST_POINTS = 4096
CURVE_HEADER = "step,tokens,seconds,train_loss,lr_factor\n"


@dataclass(frozen=True)
class Point:
    """A point of the curve; what the trainer does not print is empty."""

    step: int
    tokens: float | str
    seconds: float
    train_loss: float | str
    lr_factor: str = ""

    def __iter__(self) -> Iterator[Any]:
        return iter((self.step, self.tokens, self.seconds, self.train_loss, self.lr_factor))


@dataclass(frozen=True)
class SeenProgress:
    """Where a run is, as far as its output says; the rest is None."""

    step: int
    share: float | None
    train_loss: float | None
    steps: int | None = None
    tokens_per_second: float | None = None
    eta: float | None = None


class CommandExecution:
    """One execution of the command of `settings`, with the input `spec`; `observer` hears of it."""

    def __init__(
        self, settings: CommandSettings, spec: RunnerJson, corpus: Path, scratch: Path, observer: RunObserver
    ) -> None:
        self._settings, self._spec, self._observer = settings, spec, observer
        self._folder = scratch.absolute()
        self._corpus = corpus.absolute()
        self._root = Path()
        self._began = time.monotonic()
        self._shown = 0.0
        self._points: list[Point] = []
        self._stride, self._seen = 1, 0

    def run(self) -> RunResult:
        """Run the command and read what came of it."""
        paths = self._prepare()
        environment = self._environment(paths)
        telemetry = self._probe(paths, environment)
        log = OutputLog(self._settings, self._on_progress)
        command = [fill(word, paths) for word in self._spec["argv"]]
        limit = self._spec["limit_seconds"]
        self._began = time.monotonic()
        state = self._folder / "trainer.json"
        folder = self._root / self._spec.get("folder", ".")
        ending = run_limited(command, environment, limit, state, log.feed, folder=folder)
        text = log.finish()
        score_file = self._read_score_file(paths)
        printed = read_score_file(score_file, self._settings.score) if score_file is not None else None
        readings = read_output(self._settings, text)
        if not self._settings.score.json_:
            printed = readings.score
        trace = {LOG: compress(text), "curve.csv": self._curve()}
        if score_file is not None:
            trace[SCORE_FILE] = score_file
        status, reason = self._judge(ending, readings, printed, text)
        facts = None if status == "failed" else self._facts(status, printed, readings)
        telemetry |= {"train_seconds": round(ending.seconds, 3), "exit_status": ending.exit_status}
        return RunResult(status, reason, facts, telemetry, trace, {}, self._clear)

    def _prepare(self) -> dict[str, str]:
        """The folders of the run, `out` empty, and what the symbolic paths stand for."""
        out, shared = self._folder / "out", self._folder / "shared"
        if out.exists():
            shutil.rmtree(out)
        out.mkdir(parents=True)
        shared.mkdir(exist_ok=True)
        if self._settings.candidate:
            from stages.runners.candidates import check_out

            self._root = self._folder / "checkout"
            check_out(self._settings, self._spec["config"], self._root)
        manifest = self._corpus / "manifest.json"
        source = parse(DataFiles, canonical.loads(manifest.read_bytes())["source"], manifest.as_posix())
        paths = {
            "out": str(out),
            "scratch": str(shared),
            "data": str(find_root(source).absolute()),
            "spec": str(self._folder / "spec.json"),
            "seed": str(self._spec["seed"]),
        }
        files.write_whole(self._folder / "spec.json", canonical.dumps(self._spec))
        return paths

    def _environment(self, paths: Mapping[str, str]) -> dict[str, str]:
        """What the program finds: where things are, the driver, what is inherited by name, what is declared."""
        environment = {name: os.environ[name] for name in (*BASE_VARIABLES, *DEVICE_VARIABLES) if name in os.environ}
        for name in self._spec["inherit"]:
            if name not in os.environ:
                raise Refused(f"params.yaml: runner.inherit: {name} is not set here; set it, or take it out")
            environment[name] = os.environ[name]
        return environment | {name: fill(word, paths) for name, word in self._spec["env"].items()}

    def _probe(self, paths: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, Any]:
        """What `runner.probe` says of the trainer's environment, `name: value` a line."""
        telemetry: dict[str, Any] = {
            "hostname": socket.gethostname(),
            "system": platform.platform(),
            "cpu": platform.processor() or platform.machine(),
        }
        if self._settings.probe is None:
            return telemetry
        output: list[bytes] = []
        command = [fill(word, paths) for word in self._settings.probe]
        ending = run_limited(command, environment, PROBE_SECONDS, self._folder / "trainer.json", output.append)
        text = b"".join(output).decode("utf-8", errors="replace")
        if ending.exit_status or ending.timed_out:
            raise Refused(f"runner.probe: ended with exit status {ending.exit_status}:\n{read_end(text)}")
        lines = [line.partition(":") for line in text.split("\n")]
        probed = {name.strip(): value.strip()[:200] for name, colon, value in lines if colon and name.strip()}
        telemetry["probe"] = probed
        known = {"torch": "torch", "device": "device_name", "driver": "driver"}
        return telemetry | {key: probed[name] for name, key in known.items() if name in probed}

    def _on_progress(self, numbers: dict[str, str]) -> None:
        elapsed = time.monotonic() - self._began
        values = {name: as_number(text) for name, text in numbers.items()}
        step = values["step"]
        if step is None:
            return
        loss, tokens = values.get("loss"), values.get("tokens")
        seconds = values.get("seconds")
        point = Point(
            int(step),
            "" if tokens is None else int(tokens),
            round(elapsed if seconds is None else seconds, 3),
            "" if loss is None else loss,
        )
        self._seen += 1
        if self._seen % self._stride == 0:
            self._points.append(point)
            self._observer.row(point)
            if len(self._points) >= MOST_POINTS:
                self._points, self._stride = self._points[1::2], self._stride * 2
        if time.monotonic() - self._shown >= PROGRESS_SECONDS:
            self._shown = time.monotonic()
            budget = self._spec["clock"]["seconds"]
            share = min(1.0, elapsed / budget) if self._spec["clock"]["kind"] == "wall" else None
            self._observer.progress(SeenProgress(int(step), share, loss))

    def _curve(self) -> bytes:
        return (CURVE_HEADER + "".join(",".join(map(str, point)) + "\n" for point in self._points)).encode("utf-8")

    def _read_score_file(self, paths: Mapping[str, str]) -> bytes | None:
        if not self._settings.score.json_:
            return None
        return read_bounded(Path(fill(self._spec["score"]["json"], paths)), MAX_SCORE_FILE) or b""

    def _judge(self, ending: Ending, readings: Readings, printed: str | None, text: str) -> tuple[str, str | None]:
        """The status and its reason; `Refused` where the ending is not understood."""
        if ending.timed_out:
            return "failed", f"it was stopped after {self._spec['limit_seconds']:g} s, its limit"
        if readings.failed is not None:
            return "failed", f"it printed: {shorten(readings.failed)}"
        if readings.diverged is not None:
            return "diverged", f"it printed: {shorten(readings.diverged)}"
        if printed is not None and round_score(printed) is None:
            return "diverged", f"its {self._settings.score.name} is {printed}"
        if ending.exit_status == 0 and printed is not None:
            return "finished", None
        files.write_whole(self._folder / "log.txt", text.encode("utf-8"))
        what = _describe_exit(ending.exit_status)
        if printed is None and ending.exit_status == 0:
            source = self._settings.score.line or f"{self._settings.score.json_} with {self._settings.score.key}"
            what += f", but nothing it left matches runner.score: {source}"
        raise Refused(
            f"the trainer {what}; no record is written. The end of what it printed "
            f"(all of it: {(self._folder / 'log.txt').as_posix()}):\n{read_end(text)}"
        )

    def _facts(self, status: str, printed: str | None, readings: Readings) -> RunnerJson:
        finished = status == "finished"
        score = round_score(printed) if finished else None
        return {
            "score": None if score is None else float(score),
            "printed": printed if finished else None,
            "reported": readings.numbers(),
        }

    def _clear(self) -> None:
        for name in ("out", "checkout"):
            shutil.rmtree(self._folder / name, ignore_errors=True)
        for name in ("spec.json", "log.txt"):
            (self._folder / name).unlink(missing_ok=True)


def _describe_exit(status: int) -> str:
    return f"was ended by signal {-status}" if status < 0 else f"ended with exit status {status}"
