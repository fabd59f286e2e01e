"""Train recorded runs again and compare: the only proof that a score was ever reached.

    promotion replay rung5/d8-ar48/cpu-fp32/501
    promotion replay --sample 3                 three runs, the same three for everybody
    promotion replay --sample 3 --seed 7

On the same kind of machine a record must come out the same, byte for byte; on another kind val_bpb must agree within
--tolerance. The kind is that of the run's telemetry, which must be the one that dvc.lock records; if it is missing,
--same-kind states that this machine is of the same kind. On the wall clock it also says how long the recorded steps
take here: if that is much longer than the budget, the run may have had more time than it claims. Writes no record and
no trace. Exit status: 0 all runs agree, 1 a run does not, 2 a run could not be repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stages.domain.errors import Refused
from stages.repo.dvc_remote import restore_command

if TYPE_CHECKING:
    from stages.verify import Replayed


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number from 1 on")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion replay`."""
    parser.add_argument("runs", nargs="*", metavar="RUN", help="rung/config/host/seed, as in the ledger")
    parser.add_argument("--sample", metavar="N", type=_count, help="draw N executed runs instead")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="of the draw; default: %(default)s")
    parser.add_argument("--tolerance", metavar="BPB", type=float, default=0.005, help="default: %(default)s")
    parser.add_argument(
        "--same-kind", action="store_true", help="this machine is of the kind of those whose telemetry is not here"
    )
    parser.add_argument("--json", metavar="FILE", nargs="?", const="-", help="as JSON; to stdout without FILE")


def run(arguments: argparse.Namespace) -> int:
    """Replay, print, and return the exit status."""
    from stages.verify import choose_runs, read_ledger, replay_run

    if bool(arguments.runs) == bool(arguments.sample):
        raise Refused("name runs, or draw some with --sample N")
    root = Path()
    recorded = read_ledger(root)
    done: list[Replayed] = []
    refused: dict[str, str] = {}
    for name in choose_runs(recorded, arguments.runs, arguments.sample or 0, arguments.seed):
        try:
            done.append(replay_run(*recorded[name], root, arguments.tolerance, arguments.same_kind))
        except Refused as error:
            refused[name] = str(error)
        else:
            print(_comparison(done[-1], arguments.tolerance), file=sys.stderr, flush=True)
    for name, why in refused.items():
        print(f"{name}: not repeated: {why}", file=sys.stderr)
    if arguments.json:
        _write(arguments.json, done, refused, arguments.tolerance)
    if any(run.outcome == "differs" for run in done):
        return 1
    return 2 if refused else 0


def _comparison(run: Replayed, tolerance: float) -> str:
    """What came of one run, as a line."""
    bring = restore_command(Path())
    unknown = f"a machine of which nobody knows whether it is of the same kind (`{bring}`, or --same-kind)"
    kind = {True: "the same kind of machine", False: "another kind of machine", None: unknown}
    head = f"{run.run}: {run.outcome}, on {kind[run.same_kind]}"
    if run.outcome == "identical":
        return f"{head}, {run.metric} {run.again}{_duration(run)}"
    limit = "must be identical" if run.same_kind else f"tolerance {tolerance:g}"
    numbers = f"recorded {run.recorded}, now {run.again}, difference {run.difference}"
    return f"{head}: {numbers} ({limit}){_duration(run)}"


def _duration(run: Replayed) -> str:
    """On the wall clock, what the steps cost here: a run that was given more time than its budget shows by it."""
    if run.seconds is None:
        return ""
    text = f"; its steps took {run.seconds:g} s here, of a budget of {run.budget:g} s"
    return text + (": its clock may have been slowed, or this machine is busy" if run.long else "")


def _write(place: str, done: list[Replayed], refused: dict[str, str], tolerance: float) -> None:
    from stages.domain import files

    value = {"schema": 1, "tolerance": tolerance, "runs": [run.to_json() for run in done], "not_repeated": refused}
    text = json.dumps(value, indent=1, sort_keys=True) + "\n"
    if place == "-":
        sys.stdout.write(text)
    else:
        files.write_whole(Path(place), text.encode("utf-8"))
