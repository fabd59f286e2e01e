"""Remove what a killed process left half-written, so that `dvc repro` starts again.

    promotion heal

DVC writes its rwlock and every dvc.lock in place. One that is killed meanwhile leaves half a file, and then every
`dvc repro` refuses to start. What a dvc.lock lacks comes back from the run cache. study, freeze,
status, pending, work, dispatch, replay and site begin with the same. Nothing of DVC's is removed while one is at work.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from stages.domain import names
from stages.domain.errors import Refused
from stages.hosts.recovery import DYING_SECONDS, heal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`promotion heal` has no arguments."""


def heal_workspace(wait: float = 0.0) -> list[Path]:
    """Heal the study in this folder, if there is one, and say on stderr what was removed."""
    removed = heal(wait) if names.PARAMS.is_file() else []
    for path in removed:
        print(f"{path.as_posix()}: left half-written by a process that was killed; removed", file=sys.stderr)
    return removed


def run(arguments: argparse.Namespace) -> int:
    """Heal, and say so where there was nothing to do."""
    if not names.PARAMS.is_file():
        raise Refused(f"{names.PARAMS.as_posix()} is missing; run this in the root of a study")
    if not heal_workspace(DYING_SECONDS):
        print("nothing was left half-written")
    return 0
