"""Runs one specification by hand, with a progress line and a `key: value` summary.

    python -m trainer --spec spec.json --corpus artifacts/corpus --out run

The `spec` of any line of ledger/runs.jsonl is a specification. Exit codes: 0 the run finished; 1 it diverged or failed
(the summary says why); 2 refused or broken off: the message says what to mend before it is started again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.errors import SpecError, TrainerError
from trainer.spec import Spec

MAX_SPEC = 1 << 20


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer",
        description="Train one specification and print its facts.",
        epilog="exit codes: 0 finished, 1 diverged or failed, 2 refused or broken off",
    )
    parser.add_argument("--spec", type=Path, required=True, help="the specification, a JSON file")
    parser.add_argument("--corpus", type=Path, required=True, help="the corpus folder, with manifest.json")
    parser.add_argument("--out", type=Path, help="folder for facts.json, curve.csv, telemetry.json and kept weights")
    parser.add_argument("--scratch", type=Path, help="this run's folder for checkpoints; started again, it goes on")
    parser.add_argument("--replay", type=Path, help="facts.json of a wall-clock run to repeat step for step")
    return parser


def _read_json(path: Path, what: str) -> Any:
    try:
        if path.stat().st_size > MAX_SPEC:
            raise SpecError(f"{path}: larger than {MAX_SPEC} bytes, no {what}")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror}): give the path of {what}") from None
    except ValueError as error:
        raise SpecError(f"{path}: not JSON ({error})") from None


def _replay_progress(path: Path | None) -> Any:
    if path is None:
        return None
    facts = _read_json(path, "facts of a run")
    progress = facts.get("progress") if isinstance(facts, dict) else None
    if not isinstance(progress, dict):
        raise SpecError(f"{path}: holds no progress: only a run on the wall clock can be repeated")
    return progress


def _run(arguments: argparse.Namespace) -> int:
    spec = Spec.from_json(_read_json(arguments.spec, "a specification"))
    progress = _replay_progress(arguments.replay)
    if arguments.out is not None:
        _make_folder(arguments.out)
    from trainer.line import ProgressLine  # after the checks: a refused run should not wait for rich and torch
    from trainer.loop import train

    with ProgressLine() as line:
        outcome = train(spec, arguments.corpus, scratch=arguments.scratch, observer=line, replay_progress=progress)
    _summary(outcome)
    if arguments.out is not None:
        _write(arguments.out, outcome)
    outcome.clear()
    return 0 if outcome.status == "finished" else 1


def _make_folder(out: Path) -> None:
    """Makes the folder and tries it: a run of hours should not end at a door that is shut."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise TrainerError(f"{out}: cannot be written to ({error.strerror}): give --out a folder that can be") from None


def _write(out: Path, outcome: Any) -> None:
    from trainer.whole import write_utf8

    for name, value in (("telemetry.json", outcome.telemetry), ("facts.json", outcome.facts)):
        write_utf8(out / name, json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n")
    write_utf8(out / "curve.csv", outcome.curve_csv())
    if outcome.weights is not None:
        outcome.save_weights(out / "model.safetensors")


def _summary(outcome: Any) -> None:
    facts, telemetry = outcome.facts or {}, outcome.telemetry
    shape = outcome.model
    lines = {
        "status": outcome.status,
        "reason": outcome.reason,
        "val_bpb": facts.get("val_bpb"),
        "locked_bpb": facts.get("locked_bpb"),
        "steps": facts.get("steps"),
        "tokens": facts.get("tokens"),
        "train_loss": facts.get("train_loss"),
        "rated_seconds": facts.get("rated_seconds"),
        "depth": shape["depth"],
        "width": shape["width"],
        "parameters": shape["parameters"],
        "flops_per_token": shape["flops_per_token"],
        "setup_seconds": telemetry["setup_seconds"],
        "train_seconds": telemetry["train_seconds"],
        "first_steps_seconds": telemetry["first_steps_seconds"],
        "evaluation_seconds": telemetry["evaluation_seconds"],
        "tokens_per_second": telemetry["tokens_per_second"],
        "peak_memory_bytes": telemetry["peak_memory_bytes"],
        "mfu": telemetry["mfu"],
    }
    for key, value in lines.items():
        if value is not None:
            print(f"{key + ':':20} {value}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    try:
        return _run(_parser().parse_args(argv))
    except (TrainerError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
