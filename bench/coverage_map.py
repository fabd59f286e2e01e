"""Which tests run which line of the code, and how long each test takes.

    tests = record_map(copy_root, smoke)           runs the tests once, under coverage.py; about as long as the suite
    tests["stages/gate.py"][17]                    the tests that pass and run line 17, the quickest first

It is also the plugin of pytest that tells coverage.py which test runs (`-p bench.coverage_map`). What a test starts as
a program of its own is not seen: its lines count as run by no test. Slow tests and those of a browser are left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

#: Where the plugin writes the seconds of each test that passes, by its id.
SECONDS = "MUTANTS_SECONDS"
#: A finished smoke study to copy, so that no process of pytest has to run one (tests/conftest.py).
SMOKE = "STAGED_PROMOTION_SMOKE"
QUICK = ("-m", "not slow and not browser")
#: path -> line -> (id of a test, its seconds), the quickest first.
CoverageMap = dict[str, dict[int, list[tuple[str, float]]]]
_seconds: dict[str, float] = defaultdict(float)
_failed: set[str] = set()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Count what runs now as run by this test, its fixtures included."""
    from coverage import Coverage

    if current := Coverage.current():
        current.switch_context(item.nodeid)
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up the seconds of a test, and remember one that does not pass."""
    _seconds[report.nodeid] += report.duration
    if report.outcome != "passed":
        _failed.add(report.nodeid)


def pytest_sessionfinish() -> None:
    """Write the seconds of the tests that pass."""
    if place := os.environ.get(SECONDS):
        passed = {test: seconds for test, seconds in _seconds.items() if test not in _failed}
        Path(place).write_text(json.dumps(passed), encoding="utf-8")


def list_rooms(root: Path) -> list[str]:
    """The folders of tests, and the files of tests that stand in none."""
    tests = root / "tests"
    folders = {path.parent for path in tests.glob("*/test_*.py")} | set(tests.glob("test_*.py"))
    return sorted(path.relative_to(root).as_posix() for path in folders)


def record_map(root: Path, environment: dict[str, str], folder: Path, rooms: Sequence[str] = ()) -> None:
    """Run the tests of `root` under coverage.py, one process for each folder, and leave what they ran in `folder`.

    With `rooms`, such as `tests/hosts`, those alone are run. A folder of tests that is there already is not run again.
    """
    for room in rooms or list_rooms(root):
        place = folder / room.replace("/", "-")
        if place.with_suffix(".json").exists():
            continue
        words = ["run", "--source=stages,report,trainer", f"--data-file={place}.sqlite", "-m", "pytest", "-q"]
        words += ["-p", "no:cacheprovider", "-p", "bench.coverage_map", *QUICK, room]
        options = {**environment, SECONDS: f"{place}.json"}
        done = subprocess.run([sys.executable, "-m", "coverage", *words], cwd=root, env=options, capture_output=True)
        place.with_suffix(".log").write_bytes(done.stdout + done.stderr)


def read_map(root: Path, folder: Path) -> CoverageMap:
    """What `record_map` left."""
    from coverage import CoverageData

    tests: dict[str, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for place in sorted(folder.glob("*.json")):
        seconds: dict[str, float] = json.loads(place.read_text(encoding="utf-8"))
        data: Any = CoverageData(str(place.with_suffix(".sqlite")))
        data.read()
        for file in data.measured_files():
            lines = tests[Path(file).relative_to(root.resolve()).as_posix()]
            for line, contexts in data.contexts_by_lineno(file).items():
                lines[line].update({test: seconds[test] for test in contexts if test in seconds})
    return {
        path: {line: sorted(found.items(), key=lambda pair: pair[1]) for line, found in lines.items()}
        for path, lines in tests.items()
    }
