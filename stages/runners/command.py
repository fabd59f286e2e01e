"""The command runner: a trainer that is a program of its own, run unchanged. Its settings: stages/domain/command.py.

A run is given a list of words, which never meets a shell, in the root of the study, and a clean environment. What it
prints is read by line templates. How a run ends:

    finished    exit status 0 and a finite score
    diverged    a score that is not finite, or a line that `runner.diverged` names
    failed      a line that `runner.failed` names, or the time limit
    no record   anything else: the end of the log is shown, and the log stays in scratch/
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.domain import canonical, files
from stages.domain.command import PATH_NAMES, WITH, CommandSettings, fill
from stages.domain.corpus import DataFiles
from stages.domain.data_files import check_files, find_root
from stages.domain.errors import Invalid, Refused
from stages.domain.locks import LockRefused
from stages.domain.records import CommandFacts, Record
from stages.domain.schema import parse
from stages.domain.study import Study
from stages.runners import (
    Assignment,
    FactMismatch,
    FileTree,
    RunnerJson,
    RunObserver,
    RunResult,
    StudyModels,
)
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

SCHEMA = 1
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
#: What stays a name in the input of a record: the paths of one machine, and the seed, which has a key of its own.
SYMBOLIC = PATH_NAMES | {"seed"}
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
    """Where a run is, as far as its output says."""

    step: int
    steps: int | None
    share: float
    tokens_per_second: float
    train_loss: float
    eta: float | None


class CommandRunner:
    """The runner of `runner.kind: command`. `settings` is the section of a study, a lock or a contract."""

    title = "runner.files"
    keeps_weights = False

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = parse(CommandSettings, dict(settings), "params.yaml: runner")

    def digest(self, tree: FileTree) -> str | None:
        """SHA-256 over the names and contents of `runner.files`; None where none of them is there."""
        contents = [(path, data) for path in sorted(self.settings.files) if (data := tree.read(path)) is not None]
        return files.digest_of(contents) if contents else None

    def is_installed(self, digest: str) -> bool:
        """Always: the input of a run is made of the study alone, whatever the trainer's files are."""
        return True

    def validate(self, study: Study) -> StudyModels:
        """Refuse a study whose files are missing. Nobody knows which model a command builds."""
        for place, path in enumerate(self.settings.files):
            if not Path(path).is_file():
                raise LockRefused(f"params.yaml: runner.files.{place}: there is no file {path}; put it there")
        return StudyModels({name: {"same_model_as": []} for name in study.configs})

    def make_given(self, assignment: Assignment) -> RunnerJson:
        """What the study says of a run's input, which is all of it."""
        return self.make_spec(assignment)

    def make_spec(self, assignment: Assignment, where: str = "params.yaml") -> RunnerJson:
        """The whole input of a run: words and variables with all filled in but the seed and the paths of a machine."""
        settings, block = self.settings, assignment.block
        gpus = block.get("gpus", 1 if block["device"] == "cuda" else 0)
        values: dict[str, Any] = {
            **assignment.knobs,
            **{f"{WITH}{key}": value for key, value in assignment.options.items()},
            "budget_seconds": f"{assignment.seconds:g}",
            "config": assignment.config,
            "host": assignment.host,
            "rung": assignment.rung,
            "last": assignment.last,
            "threads": block["threads"],
            "gpus": gpus,
            "device": block["device"],
            "precision": block["precision"],
        }

        def render(word: str) -> str:
            return fill(word, values, SYMBOLIC)

        score = settings.score.model_dump(by_alias=True, exclude_none=True)
        if settings.score.json_:
            score["json"] = render(settings.score.json_)
        folder = {"folder": settings.folder} if settings.folder else {}
        return {
            "schema": SCHEMA,
            "kind": "command",
            **folder,
            "config": dict(assignment.knobs),
            "seed": assignment.seed,
            "rung": assignment.rung,
            "last": assignment.last,
            "clock": {"kind": assignment.clock, "seconds": assignment.seconds},
            "with": dict(assignment.options),
            "host": {
                "device": block["device"],
                "precision": block["precision"],
                "threads": block["threads"],
                "gpus": gpus,
            },
            "argv": [render(word) for word in settings.command],
            "env": {name: render(word) for name, word in sorted(settings.env.items())},
            "inherit": sorted(settings.inherit),
            "score": score,
            "limit_seconds": settings.timeout.seconds(assignment.seconds),
        }

    def check_corpus(self, expected: str, folder: Path) -> None:
        """Refuse data whose manifest, or whose files outside this repository, are not the frozen ones."""
        manifest = folder / "manifest.json"
        if not manifest.is_file():
            raise Refused(f"{manifest.as_posix()} is missing; `dvc repro corpus` writes it")
        digest = files.sha256_file(manifest)
        if digest != expected:
            raise Refused(
                f"{manifest.as_posix()}: found sha256 {digest}, expected the frozen {expected}; "
                "`dvc repro` makes it anew"
            )
        source = canonical.loads(manifest.read_bytes())["source"]
        check_files(parse(DataFiles, source, manifest.as_posix()))

    def load(self) -> None:
        """Nothing: the trainer imports what it needs."""

    def train(self, spec: RunnerJson, corpus: Path, scratch: Path, observer: RunObserver) -> RunResult:
        """Run the command. `Refused` where its ending is not understood: then there is no record."""
        return _Execution(self.settings, spec, corpus, scratch, observer).run()

    def repeat(self, record: Record, corpus: Path, scratch: Path) -> RunResult:
        """Run what a record was given once more."""
        return self.train(record.spec or {}, corpus, scratch, _Silent())

    def make_facts_check(self, study: Study) -> CommandFactsCheck:
        """A check of the facts of this study's records."""
        return CommandFactsCheck(self.settings)

    def check_trace(self, record: Record, trace: Mapping[str, bytes]) -> Iterator[FactMismatch]:
        """What a record says of its run that its own log, or its score file, does not say."""
        from stages.runners.output import decompress

        if not record.executed:
            return
        facts = parse(CommandFacts, record.facts, record.id) if record.facts is not None else None
        try:
            readings = read_output(self.settings, decompress(trace[LOG]))
        except (KeyError, ValueError) as error:
            yield FactMismatch("/facts", "no log", f"the log of the run ({error})", "nobody can read its score again")
            return
        printed = readings.score
        if self.settings.score.json_:
            printed = read_score_file(trace.get(SCORE_FILE, b""), self.settings.score)
        if facts is not None and record.status == "finished" and facts.printed != printed:
            yield FactMismatch("/facts/printed", facts.printed, printed, "the log of the run has another score")
        if facts is not None and (reported := _numbers(readings)) != facts.reported:
            yield FactMismatch("/facts/reported", facts.reported, reported, "the log of the run says something else")
        for status, line in (("failed", readings.failed), ("diverged", readings.diverged)):
            if line is not None and record.status == "finished":
                yield FactMismatch("/status", record.status, status, f"the log of the run says: {shorten(line)}")


def _numbers(readings: Readings) -> dict[str, float]:
    """The reported facts as numbers; those that are not finite are left out."""
    numbers = {name: as_number(printed) for name, printed in sorted(readings.facts.items())}
    return {name: number for name, number in numbers.items() if number is not None}


class _Silent:
    """An observer that shows nothing."""

    def progress(self, now: object) -> None: ...
    def row(self, row: object) -> None: ...
    def warning(self, text: str) -> None: ...


class _Execution:
    """One execution of the command: its folders, its environment, what it prints, how it ends."""

    def __init__(
        self, settings: CommandSettings, spec: RunnerJson, corpus: Path, scratch: Path, observer: RunObserver
    ) -> None:
        self._settings, self._spec, self._observer = settings, spec, observer
        self._folder = scratch.absolute()
        self._corpus = corpus.absolute()
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
        ending = run_limited(command, environment, limit, state, log.feed, folder=Path(self._spec.get("folder", ".")))
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
        telemetry: dict[str, Any] = {"system": platform.platform(), "cpu": platform.processor() or platform.machine()}
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
            share = min(1.0, elapsed / budget) if self._spec["clock"]["kind"] == "wall" else 0.0
            self._observer.progress(SeenProgress(int(step), None, share, 0.0, loss or 0.0, None))

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
            "reported": _numbers(readings),
        }

    def _clear(self) -> None:
        shutil.rmtree(self._folder / "out", ignore_errors=True)
        for name in ("spec.json", "log.txt"):
            (self._folder / name).unlink(missing_ok=True)


def _describe_exit(status: int) -> str:
    return f"was ended by signal {-status}" if status < 0 else f"ended with exit status {status}"


class CommandFactsCheck:
    """The score is the printed one, rounded; what is reported is what the study names."""

    #: Two seeds that end alike to so many decimals show a trainer that ignores its seed; fewer can meet by chance.
    TELLING_DECIMALS = 6

    def __init__(self, settings: CommandSettings) -> None:
        self._settings = settings
        self._checked = 0

    def mismatches(self, record: Record, spec: RunnerJson, whole: bool) -> Iterator[FactMismatch]:
        """What in the record does not follow from its own printed score."""
        try:
            facts = parse(CommandFacts, record.facts, record.id)
        except Invalid as error:
            for problem in error.mistakes:
                pointer = f"/facts/{problem.place.replace('.', '/')}"
                yield FactMismatch(
                    pointer, problem.found or "nothing", problem.expected, "no run of this runner says that"
                )
            return
        self._checked += 1
        finished = record.status == "finished"
        if finished != (facts.score is not None) or finished != (facts.printed is not None):
            expected = "a score" if finished else None
            yield FactMismatch("/facts/score", facts.score, expected, "finished runs, and no others, have a score")
        elif facts.printed is not None and (should := as_number(facts.printed)) != facts.score:
            yield FactMismatch("/facts/score", facts.score, should, f"the trainer printed {facts.printed}")
        for name in sorted(facts.reported.keys() - self._settings.facts.keys()):
            yield FactMismatch(f"/facts/reported/{name}", facts.reported[name], None, "runner.facts does not name it")

    def make_fingerprint(self, facts: Mapping[str, object]) -> tuple[object, ...]:
        """The printed score, if it has enough decimals to tell two runs apart."""
        printed = facts.get("printed")
        telling = isinstance(printed, str) and len(printed.partition(".")[2]) >= self.TELLING_DECIMALS
        return (printed,) if telling else ()

    def notes(self) -> list[str]:
        """What nobody can check for a trainer that is not this project's."""
        if not self._checked:
            return []
        named = ", ".join(sorted(self._settings.facts)) or "nothing"
        return [
            f"{self._checked} scores, and what the trainer reports ({named}), follow from nothing that is recorded: "
            "only the logs in the traces (`--depth artifacts`) and training again (`promotion replay`) speak of them"
        ]
