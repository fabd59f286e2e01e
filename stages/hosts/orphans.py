"""Takes up what a run finished after the DVC that started it was killed.

DVC deletes the outputs of a stage before it runs it again, so a record that a run writes after its DVC has ended would
be lost, and the run trained a second time. Such a run also keeps its outputs under scratch/orphans/, and the same run
under the same contract and specification takes them from there. Whoever wants it trained anew deletes that folder.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any

import psutil

from stages.domain import canonical, files, names
from stages.hosts.recovery import is_dvc_command

ORPHANS = names.SCRATCH / "orphans"
#: What of a record is known before its run has trained.
KNOWN = (
    "schema",
    "rung",
    "config",
    "host",
    "seed",
    "purpose",
    "gate",
    "lock",
    "runner",
    "corpus",
    "budget",
    "spec",
    "decision",
)


def is_orphan() -> bool:
    """Whether a DVC started this process, through its shell or not, and has ended."""
    if not os.environ.get("DVC_STAGE"):  # DVC sets it for whatever it runs
        return False
    try:
        return not any(is_dvc_command(parent.cmdline()) for parent in psutil.Process().parents())
    except psutil.Error:  # a parent that ends just now, or is another user's
        return False


def settle_outputs(run: str) -> None:
    """Keep the outputs of a run whose DVC has ended; forget kept ones where DVC is there to take them."""
    folder = ORPHANS / run
    if not is_orphan():
        shutil.rmtree(folder, ignore_errors=True)
        return
    shutil.rmtree(folder / "trace", ignore_errors=True)
    for path in sorted(names.trace_path(run).iterdir()):
        files.copy_whole(path, folder / "trace" / path.name)
    files.copy_whole(names.record_path(run), folder / "record")


def restore_outputs(run: str, expected: Mapping[str, Any]) -> bool:
    """Put kept outputs in place, the record last, if they are those of `run`; whether they were.

    `expected` is the run's record as far as it is known before it trains.
    """
    folder = ORPHANS / run
    try:
        record = canonical.loads((folder / "record").read_bytes())
    except (OSError, canonical.NotCanonical):
        return False
    if not isinstance(record, dict) or not _is_same(record, expected):
        shutil.rmtree(folder)
        return False
    for path in sorted((folder / "trace").iterdir()):
        files.copy_whole(path, names.trace_path(run) / path.name)
    files.copy_whole(folder / "record", names.record_path(run))
    return True


def _is_same(record: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    record, expected = ({key: value.get(key) for key in KNOWN} for value in (record, expected))
    return canonical.dumps(record) == canonical.dumps(expected)
