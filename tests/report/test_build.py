"""The build as a whole: the same bytes again, old site kept on failure, budgets, digests."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from report import writer
from report.build import build
from report.traces import MOST_POINTS, _places
from stages.confidence import __main__ as confidence
from stages.domain import files
from stages.domain.errors import Invalid, Refused
from tests.report.conftest import copy_of, make_study
from tests.support import synthetic
from tests.support.memory import STATUS

ROOT = Path(__file__).parents[2]


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run_report(root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "report"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_two_builds_elsewhere_at_another_time_are_the_same_bytes(default_study: Path, tmp_path: Path) -> None:
    other = copy_of(default_study, tmp_path / "another place")
    done = run_report(other, PYTHONHASHSEED="4711", TZ="Asia/Kathmandu", LC_ALL="C", HOSTNAME="elsewhere")
    assert done.returncode == 0, done.stderr
    assert digests(other / "site") == digests(default_study / "site")


def test_the_build_reads_no_clock_no_hostname_and_no_git(
    default_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datetime
    import platform
    import socket

    def refuse(*_: object, **__: object) -> object:
        raise AssertionError("the build looked at something that is no input of it")

    root = copy_of(default_study, tmp_path / "study")
    for module, name in (
        (time, "time"),
        (time, "localtime"),
        (socket, "gethostname"),
        (platform, "node"),
        (subprocess, "Popen"),
    ):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(datetime, "datetime", None)
    build(root)
    assert digests(root / "site") == digests(default_study / "site")


def test_the_manifest_holds_the_digest_of_every_other_file(site: Path) -> None:
    reported = json.loads((site / "manifest.json").read_bytes())["files"]
    found = digests(site)
    del found["manifest.json"]
    assert {name: one["sha256"] for name, one in reported.items()} == found
    assert all((site / name).stat().st_size == one["bytes"] for name, one in reported.items())


def test_a_ledger_that_is_not_whole_leaves_the_old_site_as_it_was(default_study: Path, tmp_path: Path) -> None:
    root = copy_of(default_study, tmp_path / "study")
    build(root)
    before = digests(root / "site")
    ledger = root / "ledger" / "runs.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-20])
    with pytest.raises(Invalid, match=r"ledger/runs\.jsonl: the last line does not end"):
        build(root)
    assert digests(root / "site") == before
    assert not list((root / "scratch").iterdir())


forks = pytest.mark.skipif(sys.platform != "linux", reason="pages are shared between processes on Linux alone")


@forks
def test_several_processes_write_the_same_bytes_as_one(
    default_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, seen = copy_of(default_study, tmp_path / "study"), []
    monkeypatch.setattr(writer, "count_processes", lambda runs: 3)
    monkeypatch.setattr(writer, "SHARE", 7)  # the last one is shorter
    manifest = build(root, lambda done, of: seen.append((done, of)))
    assert digests(root / "site") == digests(default_study / "site")
    pages = sum(name.endswith(".html") for name in manifest["files"])  # type: ignore[attr-defined]
    assert seen[-1] == (pages, pages)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@forks
def test_a_process_that_is_killed_while_it_writes_is_named_and_the_old_site_stays(
    default_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, main = copy_of(default_study, tmp_path / "study"), os.getpid()
    build(root)
    before, render = digests(root / "site"), writer.render

    def killed(*arguments: Any) -> bytes:
        if os.getpid() != main:
            os.kill(os.getpid(), 9)
        return render(*arguments)

    monkeypatch.setattr(writer, "render", killed)
    monkeypatch.setattr(writer, "count_processes", lambda runs: 2)
    with pytest.raises(Refused, match="a process that wrote pages was killed, .* build it again: `promotion site`"):
        build(root)
    assert digests(root / "site") == before


@pytest.mark.parametrize(
    ("runs", "processors", "processes"),
    [(0, 8, 1), (249, 8, 1), (500, 1, 1), (500, 8, 2), (5000, 4, 4), (10**6, 99, writer.MOST_PROCESSES)],
)
def test_processes_are_as_many_as_pay_and_as_there_are_processors(
    runs: int, processors: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(processors), raising=False)
    assert writer.count_processes(runs) == processes
    monkeypatch.setattr(sys, "platform", "win32")
    assert writer.count_processes(runs) == 1


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=forks)])
def test_a_disk_that_fills_half_way_leaves_the_old_site_as_it_was(
    default_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    root = copy_of(default_study, tmp_path / "study")
    build(root)
    before, written = digests(root / "site"), [0]

    def full(env: object, template: str, path: str, context: object) -> bytes:
        written[0] += 1
        if written[0] > 20:
            raise OSError(28, "No space left on device")
        return b"half"

    monkeypatch.setattr(writer, "render", full)
    monkeypatch.setattr(writer, "count_processes", lambda runs: processes)
    with pytest.raises(OSError, match="No space left"):
        build(root)
    assert digests(root / "site") == before


def test_a_swap_that_fails_puts_the_old_site_back(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("old", encoding="utf-8")
    with pytest.raises(OSError, match="could not write .*site: "):
        files.swap_folder(tmp_path / "absent", site)
    assert (site / "index.html").read_text(encoding="utf-8") == "old"


def test_an_error_is_one_message_on_stderr_that_names_file_and_remedy(tmp_path: Path) -> None:
    done = run_report(tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: params.yaml is missing; run this in the root of a study\n")


def test_an_edited_lock_is_refused(default_study: Path, tmp_path: Path) -> None:
    root = copy_of(default_study, tmp_path / "study")
    path = root / "locks" / "gate3.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("k: 3", "k: 4"), encoding="utf-8")
    done = run_report(root)
    assert done.returncode == 2
    assert "locks/gate3.yaml: digest: found" in done.stderr


def test_the_site_of_a_study_of_the_default_size_weighs_eight_megabytes_at_most(site: Path) -> None:
    files = [path for path in site.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 8_000_000
    assert max((path.stat().st_size, path.name) for path in files if path.suffix == ".html")[0] <= 150_000


def test_building_imports_neither_torch_nor_plotly_nor_scipy(tmp_path: Path) -> None:
    """Where no rule compares host blocks: judging again by one that does takes scipy, as the gate did. And where the
    stage has written how sure the decisions are: making that anew takes it too."""
    value = synthetic.params(6, 1)
    del value["gates"]["gate4"]["R4"]
    root = make_study(tmp_path / "study", value)
    with chdir(root):
        confidence.main()
    code = "import sys; from pathlib import Path; from report.build import build; build(Path()); "
    code += "print([name for name in ('torch', 'plotly', 'scipy', 'numpy', 'dvc') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_one_plotly_file_and_only_pages_with_figures_load_it(site: Path) -> None:
    assert [path.name for path in site.rglob("*plotly*")] == ["plotly.min.js"]
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert ("plotly.min.js" in text) is ("data-figure=" in text), path


def peak_of(root: Path) -> tuple[int, str]:
    """Build the site in a process of its own: its peak memory in bytes, and what it told."""
    code = "from report.__main__ import main; from tests.support.memory import peak_bytes; main(); print(peak_bytes())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return int(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.is_file(), reason="this system does not tell a program's peak memory")
def test_a_large_study_takes_memory_by_its_records_keeps_its_overview_small_and_shows_progress(
    default_study: Path, tmp_path: Path
) -> None:
    """As many configurations as a study of 5,000 runs; `python -m bench site` measures the 5,000."""
    base, _ = peak_of(copy_of(default_study, tmp_path / "small"))
    large = make_study(tmp_path / "large", synthetic.params(310, 1))
    peak, reported = peak_of(large)
    lines = (large / "ledger" / "runs.jsonl").read_bytes().count(b"\n")
    assert (peak - base) / lines <= 20_000  # bytes a record; the records themselves are most of it
    assert (large / "site" / "index.html").stat().st_size <= 150_000
    assert re.search(r"^site: \d+ of \d+ pages$", reported, re.MULTILINE)
    pages = sum(1 for _ in (large / "site").rglob("*.html"))
    assert re.search(rf"of {pages} pages", reported)


def test_pages_of_runs_hold_a_thinned_curve_and_the_digest_of_the_whole(site: Path, default_study: Path) -> None:
    page = next((site / "runs" / "rung5").glob("*/*/*.html"))
    run = page.relative_to(site / "runs").with_suffix("")
    digest = hashlib.sha256((default_study / "artifacts" / "traces" / run / "curve.csv").read_bytes()).hexdigest()
    assert digest in page.read_text(encoding="utf-8")
    rows = (page.with_suffix(".curve.csv")).read_text(encoding="utf-8").splitlines()
    assert len(rows) - 1 <= MOST_POINTS


def test_the_record_beside_a_run_is_the_ledgers_line(site: Path, default_study: Path) -> None:
    lines = (default_study / "ledger" / "runs.jsonl").read_bytes().splitlines(keepends=True)
    pages = list((site / "runs").glob("rung*/*/*/*.html"))
    assert pages
    for page in pages:
        assert page.with_suffix(".json").read_bytes() in lines


@pytest.mark.parametrize("rows", [0, 1, 2, 23, 24, 25, 30, 200, 5000])
def test_a_thinned_curve_keeps_both_ends_and_the_order(rows: int) -> None:
    kept = sorted(_places(rows))
    assert len(kept) <= MOST_POINTS
    assert kept == sorted(set(kept))
    assert kept[:1] + kept[-1:] == (list(range(rows))[:1] + list(range(rows))[-1:])
