"""Builds the smoke study, falsifies it in every way of the tamper suite, and prints which check caught what.

python -m tests.verify
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.conftest import build_smoke
from tests.support.repo import Repo
from tests.verify.forger import failed
from tests.verify.suite import MANIPULATIONS


def main() -> int:
    """Print the table; 1 if a manipulation was not caught by the check that should have."""
    table = Table("manipulation", "depth", "caught by", "and by", title="The tamper suite", width=140)
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        study = Repo(Path(sys.argv[1])) if len(sys.argv) > 1 else build_smoke(root / "study")
        study.git("clone", "-q", str(study.root), str(root / "clone"))
        for one in MANIPULATIONS:
            found = failed(one.attempt(study.root, root / "clone", root / "scratch"))
            good = one.check in found
            missed += not good
            others = " ".join(check for check in found if check != one.check)
            table.add_row(one.text, one.depth, one.check if good else f"MISSED ({one.check})", others)
    Console(width=140).print(table)
    print(f"{len(MANIPULATIONS)} manipulations, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
