"""Every figure that this project claims, measured here and now, as one JSON object.

    python -m bench                  all of it (an hour)
    python -m bench processes verify only these
    python -m bench pipeline --configs 12,120 --profile
    python -m bench trainer --device cuda --corpus artifacts/corpus

Each measure is a module with `measure() -> dict`. Nothing here judges: machines differ and are shared, so compare
ratios inside one run, and compare two commits on one machine. The bars stand in docs/log.md.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from pathlib import Path

from stages.domain import names
from stages.domain.errors import Refused

MEASURES = ("study", "processes", "pipeline", "site", "verify", "trainer", "backtest")
#: These make what they measure; the others look at the study in this workspace.
ALONE = {"study", "pipeline", "verify", "backtest"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure what is named, all if nothing is.")
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"some of {', '.join(MEASURES)}")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the measure trainer alone")
    parser.add_argument("--corpus", type=Path, default=names.CORPUS, help="of the measure trainer alone")
    sizes = "numbers of configurations, separated by commas; of the measure pipeline alone"
    parser.add_argument("--configs", type=_parse_sizes, default=(), metavar="N,N", help=sizes)
    parser.add_argument("--profile", action="store_true", help="of the measure pipeline alone: where DVC's time goes")
    return parser.parse_args()


def _parse_sizes(text: str) -> tuple[int, ...]:
    """Numbers of configurations, such as 12,120; `ValueError` for anything else."""
    sizes = tuple(int(part) for part in text.split(","))
    if min(sizes) < 1:
        raise ValueError(text)
    return sizes


def _options(asked: argparse.Namespace, measure: str) -> dict[str, object]:
    """The keyword arguments that a measure is given."""
    if measure == "trainer":
        return {"corpus": asked.corpus, "device": asked.device}
    if measure == "pipeline":
        return {"profile": asked.profile} | ({"configs": asked.configs} if asked.configs else {})
    return {}


def main() -> int:
    """Measure what is named, everything when nothing is."""
    asked = _arguments()
    chosen = asked.measures or list(MEASURES)
    if unknown := [name for name in chosen if name not in MEASURES]:
        print(f"error: {unknown[0]}: no such measure; there are {', '.join(MEASURES)}", file=sys.stderr)
        return 2
    given = asked.device != "cpu" or asked.corpus != names.CORPUS
    if given and chosen != ["trainer"]:
        print("error: --device and --corpus are for `python -m bench trainer` alone", file=sys.stderr)
        return 2
    if (asked.configs or asked.profile) and chosen != ["pipeline"]:
        print("error: --configs and --profile are for `python -m bench pipeline` alone", file=sys.stderr)
        return 2
    needs_study = set(chosen) - ALONE - ({"trainer"} if given else set())
    if needs_study and not (names.SUMMARY.is_dir() and names.CORPUS.is_dir()):
        print("error: artifacts/ is missing; `make study` or `dvc repro` makes it", file=sys.stderr)
        return 2
    figures = {"machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}}
    for name in chosen:
        print(f"measuring {name} ...", file=sys.stderr)
        try:
            figures[name] = importlib.import_module(f"bench.{name}").measure(**_options(asked, name))
        except Refused as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    print(json.dumps(figures, indent=1, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
