"""How long the site takes to build and how large it is: of this workspace's study, and of 500 to 5,000 runs.

    python -m bench site         (after `make study`)

Each build is a process of its own, in a copy; the seconds are from its start to its end. Memory is the process's peak,
so `bytes_a_run` beyond the smallest study says whether it grows linearly.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import chdir, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path

from stages import ledger
from stages.confidence import __main__ as confidence
from stages.domain import names
from tests.support import synthetic

ROOT = Path(__file__).resolve().parents[1]
PARTS = (names.PARAMS, names.LOCKS, names.LEDGER, names.PROTOCOL, names.SUMMARY, names.TRACES, names.CONFIDENCE)
#: (configurations, seeds a host from rung 3 on): some 500, 2,000 and 5,000 executed runs.
SIZES = ((32, 8), (124, 8), (310, 8))
_PROBE = """
import json
from report.__main__ import main
from tests.support.memory import peak_bytes
main()
print(json.dumps({"peak_bytes": peak_bytes()}))
"""


@dataclass(frozen=True)
class SiteBuild:
    """What one build took and wrote; `runs` are the finished ones, `pages` the HTML files."""

    runs: int
    seconds: float
    peak_bytes: int
    site_bytes: int
    pages: int
    largest_page_bytes: int
    overview_bytes: int

    def bytes_a_run(self, first: SiteBuild) -> int | None:
        """Peak memory of each run beyond those of the smallest study."""
        more = self.runs - first.runs
        return round((self.peak_bytes - first.peak_bytes) / more) if more else None


def measure_build(root: Path) -> SiteBuild:
    """Build the site of the study in `root`; seconds, peak memory, and what was written."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _PROBE],
        cwd=root,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - began
    files = {path: path.stat().st_size for path in (root / names.SITE).rglob("*") if path.is_file()}
    pages = {path: size for path, size in files.items() if path.suffix == ".html"}
    return SiteBuild(
        runs=(root / names.LEDGER / "runs.jsonl").read_bytes().count(b'"status":"finished"'),
        seconds=round(seconds, 2),
        peak_bytes=json.loads(done.stdout.splitlines()[-1])["peak_bytes"],
        site_bytes=sum(files.values()),
        pages=len(pages),
        largest_page_bytes=max(pages.values()),
        overview_bytes=pages[root / names.SITE / "index.html"],
    )


def measure_workspace(root: Path) -> SiteBuild:
    """The build of this workspace's study, in a copy at `root`; the fastest of three."""
    for part in PARTS:
        if part.is_dir():
            shutil.copytree(part, root / part)
        else:
            (root / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(part, root / part)
    (root / names.CORPUS).mkdir(parents=True)
    shutil.copy(names.CORPUS / "manifest.json", root / names.CORPUS)
    return min((measure_build(root) for _ in range(3)), key=lambda build: build.seconds)


def measure_synthetic(root: Path, configs: int, seeds: int) -> SiteBuild:
    """The build of a synthetic study of so many configurations."""
    synthetic.build(root, synthetic.params(configs, seeds))
    with chdir(root), redirect_stdout(sys.stderr):
        ledger.main()
        confidence.main()
    return measure_build(root)


def measure() -> dict[str, dict[str, object]]:
    """Seconds, memory and sizes by study."""
    with tempfile.TemporaryDirectory() as folder:
        figures = {"this study": asdict(measure_workspace(Path(folder)))}
    grown = []
    for configs, seeds in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            grown.append(measure_synthetic(Path(folder), configs, seeds))
    for build in grown:
        figures[f"{build.runs} runs"] = asdict(build) | {"bytes_a_run": build.bytes_a_run(grown[0])}
    return figures
