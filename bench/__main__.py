"""Every figure that this project claims, measured here and now, as one JSON object.

    python -m bench                  all of it (half an hour)
    python -m bench pipeline verify  only these

Each measure is a module with `measure() -> dict`. Nothing here judges: machines differ and are shared, so compare
ratios inside one run, and compare two commits on one machine. The bars stand in docs/log.md.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys

from stages.domain import names

MEASURES = ("study", "pipeline", "site", "verify", "trainer")
#: These make what they measure; the others look at the study in this workspace.
ALONE = {"study", "verify"}


def main() -> int:
    """Measure what is named, everything when nothing is."""
    chosen = sys.argv[1:] or list(MEASURES)
    if unknown := [name for name in chosen if name not in MEASURES]:
        print(f"error: {unknown[0]}: no such measure; there are {', '.join(MEASURES)}", file=sys.stderr)
        return 2
    if not set(chosen) <= ALONE and not (names.SUMMARY.is_dir() and names.CORPUS.is_dir()):
        print("error: artifacts/ is missing; `make study` or `dvc repro` makes it", file=sys.stderr)
        return 2
    found = {"machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}}
    for name in chosen:
        print(f"measuring {name} ...", file=sys.stderr)
        found[name] = importlib.import_module(f"bench.{name}").measure()
    print(json.dumps(found, indent=1, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
