"""Train one specification by hand with the built-in runner, outside of any study.

    promotion train --spec spec.json --out run
    promotion train --spec spec.json --out again --replay run/facts.json

The `spec` of any line of ledger/runs.jsonl is a specification (docs/trainer.md). Prints a summary, and with --out
writes facts.json, curve.csv, telemetry.json and the weights, if the specification keeps them. With --scratch a killed
run goes on from its last checkpoint. Exit status: 0 finished, 1 diverged or failed, 2 refused or interrupted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from stages.domain import canonical, files, names, yamlio
from stages.domain.canonical import JsonObject
from stages.domain.errors import Invalid, Refused

if TYPE_CHECKING:
    from stages.runners import RunResult

#: What the summary shows of a run: of its facts, of the model in them, of its telemetry.
FACTS = ("val_bpb", "locked_bpb", "steps", "tokens", "train_loss", "rated_seconds")
MODEL = ("depth", "width", "parameters", "flops_per_token")
TELEMETRY = (
    "setup_seconds",
    "train_seconds",
    "first_steps_seconds",
    "evaluation_seconds",
    "tokens_per_second",
    "peak_memory_bytes",
    "mfu",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion train`."""
    parser.add_argument("--spec", metavar="FILE", type=Path, required=True, help="the specification, as JSON")
    parser.add_argument(
        "--corpus", metavar="DIR", type=Path, default=names.CORPUS, help="with manifest.json; default: %(default)s"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="where facts, curve, telemetry and kept weights go")
    parser.add_argument("--scratch", metavar="DIR", type=Path, help="this run's folder for checkpoints")
    parser.add_argument("--replay", metavar="FILE", type=Path, help="facts.json of a wall-clock run to repeat by step")


def run(arguments: argparse.Namespace) -> int:
    """Train, print the summary, write the files, and return the exit status."""
    from stages.progress import ProgressLine
    from stages.runners.builtin import BuiltinRunner, complete_spec

    spec = complete_spec(_read_json(arguments.spec))
    progress = None if arguments.replay is None else _read_progress(arguments.replay)
    if arguments.out is not None:
        _make_folder(arguments.out)
    runner, clock = BuiltinRunner(), spec["clock"]
    runner.load()
    with ProgressLine(arguments.spec.name, clock["seconds"], clock["kind"], sys.stderr) as line:
        result = runner.train(spec, arguments.corpus, arguments.scratch, line, progress)
    _print_summary(result)
    if arguments.out is not None:
        _write_files(arguments.out, result)
    result.clear()
    return 0 if result.status == "finished" else 1


def _read_json(path: Path) -> JsonObject:
    try:
        value = canonical.loads(yamlio.read_bytes(path, "give its path"))
    except canonical.NotCanonical as error:
        raise Invalid.at(str(path), f"not JSON ({error})") from None
    if not isinstance(value, dict):
        raise Invalid.at(str(path), f"found {type(value).__name__}, expected an object")
    return value


def _read_progress(path: Path) -> JsonObject:
    progress = _read_json(path).get("progress")
    if not isinstance(progress, dict):
        raise Invalid.at(
            str(path), "found no progress, expected that of a run on the wall clock, which can be repeated"
        )
    return progress


def _make_folder(out: Path) -> None:
    """Make the folder and write to it once: a run of hours should not fail at its end."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise Refused(f"{out}: cannot be written to ({error.strerror}): give --out a folder that can be") from None


def _write_files(out: Path, result: RunResult) -> None:
    for name, value in (("telemetry.json", result.telemetry), ("facts.json", result.facts)):
        files.write_whole(out / name, canonical.dumps(value))
    for name, data in result.trace.items():
        files.write_whole(out / name, data)
    for name, write in result.large.items():
        write(out / name)


def _print_summary(result: RunResult) -> None:
    facts = result.facts or {}
    model = facts.get("model", {})
    values = {
        "status": result.status,
        "reason": result.reason,
        **{key: facts.get(key) for key in FACTS},
        **{key: model.get(key) for key in MODEL},
        **{key: result.telemetry[key] for key in TELEMETRY},
    }
    for key, value in values.items():
        if value is not None:
            print(f"{key + ':':20} {value}")
