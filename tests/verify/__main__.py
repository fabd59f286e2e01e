"""Builds the smoke study, falsifies it in every way of the tamper suite, and prints which check caught what.

python -m tests.verify [STUDY] [--write-places]

`--write-places` also writes tests/verify/places.tsv: where the first problems of each are, what was
found and expected there, and what that is said to mean.
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
from tests.verify.tamper import PLACES, describe_problems


def main() -> int:
    """Print the table; 1 if a manipulation was not caught by the check that should have."""
    table = Table("manipulation", "depth", "caught by", "and by", title="The tamper suite", width=140)
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        words = [word for word in sys.argv[1:] if word != "--write-places"]
        study = Repo(Path(words[0])) if words else build_smoke(root / "study")
        places: dict[str, list[str]] = {}
        study.git("clone", "-q", str(study.root), str(root / "clone"))
        for one in MANIPULATIONS:
            results = one.attempt(study.root, root / "clone", root / "scratch")
            found = failed(results)
            places[one.id] = describe_problems(results, one.check)
            good = one.check in found
            missed += not good
            others = " ".join(check for check in found if check != one.check)
            table.add_row(one.text, one.depth, one.check if good else f"MISSED ({one.check})", others)
    Console(width=140).print(table)
    if "--write-places" in sys.argv:
        text = "".join(f"{name}\t{words}\n" for name, lines in sorted(places.items()) for words in lines)
        PLACES.write_bytes(text.encode("utf-8"))
    print(f"{len(MANIPULATIONS)} manipulations, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
