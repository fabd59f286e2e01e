"""The command runner: a trainer that is a program of its own, run unchanged. Its settings: stages/domain/command.py.

A run is given a list of words, which never meets a shell, in the root of the study, and a clean environment. What it
prints is read by line templates. How a run ends:

    finished    exit status 0 and a finite score
    diverged    a score that is not finite, or a line that `runner.diverged` names
    failed      a line that `runner.failed` names, or the time limit
    no record   anything else: the end of the log is shown, and the log stays in scratch/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.domain import canonical, files
from stages.domain.command import PATH_NAMES, WITH, CommandSettings, fill
from stages.domain.corpus import DataFiles
from stages.domain.data_files import check_files
from stages.domain.errors import Refused
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
    digest_named,
)
from stages.runners.command_facts import CommandFactsCheck
from stages.runners.output import LOG, SCORE_FILE, decompress, read_output, read_score_file, shorten

SCHEMA = 1
#: What stays a name in the input of a record: the paths of one machine, and the seed, which has a key of its own.
SYMBOLIC = PATH_NAMES | {"seed"}


class CommandRunner:
    """The runner of `runner.kind: command`. `settings` is the section of a study, a lock or a contract."""

    title = "runner.files"
    keeps_weights = False

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = parse(CommandSettings, dict(settings), "params.yaml: runner")

    def digest(self, tree: FileTree) -> str | None:
        """SHA-256 over the names and contents of `runner.files`; None where none of them is there."""
        return digest_named(tree, {path: path for path in self.settings.files})

    def is_installed(self, digest: str) -> bool:
        """Always: the input of a run is made of the study alone, whatever the trainer's files are."""
        return True

    def validate(self, study: Study) -> StudyModels:
        """Refuse a study whose files are missing, here or in git. Nobody knows which model a command builds."""
        self._require_files()
        models: dict[str, RunnerJson] = {name: {"same_model_as": []} for name in study.configs}
        if self.settings.candidate:
            from stages.runners.candidates import describe_candidates

            for name, description in describe_candidates(study, self.settings).items():
                models[name] |= description
        return StudyModels(models)

    def _require_files(self) -> None:
        for place, path in enumerate(self.settings.files):
            if not Path(path).is_file():
                raise LockRefused(f"params.yaml: runner.files.{place}: there is no file {path}; put it there")

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
        from stages.runners.execution import CommandExecution

        self._require_files()
        return CommandExecution(self.settings, spec, corpus, scratch, observer).run()

    def repeat(self, record: Record, corpus: Path, scratch: Path, observer: RunObserver) -> RunResult:
        """Run what a record was given once more."""
        return self.train(record.spec or {}, corpus, scratch, observer)

    def make_facts_check(self, study: Study) -> CommandFactsCheck:
        """A check of the facts of this study's records."""
        return CommandFactsCheck(self.settings)

    def check_trace(self, record: Record, trace: Mapping[str, bytes]) -> Iterator[FactMismatch]:
        """What a record says of its run that its own log, or its score file, does not say."""
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
        if facts is not None and (reported := readings.numbers()) != facts.reported:
            yield FactMismatch("/facts/reported", facts.reported, reported, "the log of the run says something else")
        for status, line in (("failed", readings.failed), ("diverged", readings.diverged)):
            if line is not None and record.status == "finished":
                yield FactMismatch("/status", record.status, status, f"the log of the run says: {shorten(line)}")
