"""What is not evidence at all is refused without the memory that reading it whole would take."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.repo import PROJECT, environment

#: Reads a file in a process of its own and prints the peak of its memory, in MiB, over what it had before.
PROBE = """
import resource, sys
from pathlib import Path
from stages.domain.records import parse_ledger
from stages.dvcfiles import lockfile
from stages.verify.ledger import parse_decision_lines
parsers = {"runs": lambda data: parse_ledger(data, "x"), "decisions": parse_decision_lines,
           "dvc.lock": lambda data: lockfile.parse(data, "x")}
data = sys.argv[2].encode() * (60_000_000 // len(sys.argv[2]))
limit = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + (256 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    parsers[sys.argv[1]](data)
except ValueError as error:
    assert type(error).__module__.startswith("stages."), type(error)
else:
    raise SystemExit("it was read")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")
@pytest.mark.parametrize("kind", ["runs", "decisions", "dvc.lock"])
@pytest.mark.parametrize("piece", ["\n", "{}\n", "a\n", "- \n", "x"])
def test_sixty_megabytes_of_nothing_are_refused_in_bounded_memory(kind, piece):
    done = subprocess.run(
        [sys.executable, "-c", PROBE, kind, piece], cwd=PROJECT, env=environment(), capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
