"""How long `promotion verify` takes in git depth: of a study of the default size, and of 200 to 20,000 runs.

    python -m bench verify

Each study is a committed repository with synthetic evidence and dvc.lock files like DVC's. The process is measured from
its start to its end; `torch` tells whether it was imported, which it must not be.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.support import dvclock

#: Runs -> (configurations, seeds a host from rung 3 on): 2 hosts x (1 + 1 + 3 x seeds) cells each, and 6 A/A runs.
SIZES = {200: (12, 2), 2_000: (125, 2), 20_000: (500, 6)}
REPEATS = 3
_PROBE = """
import json, sys
from stages.cli import main
from tests.support.memory import peak_bytes
try:
    main(sys.argv[1:])
except SystemExit as end:
    probe = {"status": end.code, "torch": "torch" in sys.modules}
    probe["peak_mb"] = round((peak_bytes() or 0) / 1e6)
    print(json.dumps(probe), file=sys.stderr)
"""


@dataclass(frozen=True)
class Verification:
    """How long a study took to verify; `probe` is what the process said of itself, as JSON."""

    runs: int
    seconds: float
    probe: str

    def microseconds_a_run(self, first: Verification) -> int | None:
        """What each run beyond those of the smallest study takes."""
        more = self.runs - first.runs
        return round((self.seconds - first.seconds) / more * 1e6) if more else None


def _time_verification(root: Path) -> Verification:
    """The fastest of a few verifications of HEAD, without artifacts."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, "verify", "--repo", str(root), "--rev", "HEAD", "--depth", "git"],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        seconds.append(time.perf_counter() - started)
        if done.returncode or '"status": 0' not in done.stderr:
            raise RuntimeError(f"the synthetic study does not verify:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    lines = (root / "ledger" / "runs.jsonl").read_bytes().count(b"\n")
    return Verification(lines, round(min(seconds), 2), done.stderr.strip().splitlines()[-1])


def measure() -> dict[str, dict[str, object]]:
    """Seconds by size, and microseconds a run over the smallest study: flat where it is linear."""
    verifications: dict[str, Verification] = {}
    for size, (configs, seeds) in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "study"
            dvclock.build(root, configs, seeds)
            verifications[str(size)] = _time_verification(root)
            print(f"verify: {asdict(verifications[str(size)])}", file=sys.stderr)
    first = verifications[str(min(SIZES))]
    return {
        size: asdict(verification) | {"microseconds_a_run": verification.microseconds_a_run(first)}
        for size, verification in verifications.items()
    }
