"""How a program ends: its status is that of its work, whoever reads what it prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repo import PROJECT, environment

HEAD = "import sys\nfrom stages.domain.errors import Invalid, Refused, main_guard\n"
FULL = Path("/dev/full")
needs_full_disk = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this system")


def start(body: str, **streams: int) -> subprocess.Popen[str]:
    """A program whose `main` is this body."""
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    command = [sys.executable, "-c", f"{HEAD}def main():\n{lines}main_guard(main)\n"]
    return subprocess.Popen(command, cwd=PROJECT, env=environment(), encoding="utf-8", **streams)


def ended(body: str) -> tuple[int, str, str]:
    """Its status and what it printed."""
    with start(body, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        out, err = program.communicate()
        return program.returncode, out, err


@pytest.mark.parametrize(
    ("body", "status", "err"),
    [
        ("return 0", 0, ""),
        ("pass", 0, ""),
        ("return 1", 1, ""),
        ("raise Refused('no')", 2, "error: no\n"),
        ("raise OSError(13, 'denied', 'file')", 2, "error: [Errno 13] denied: 'file'\n"),
        ("raise KeyboardInterrupt", 130, "interrupted; nothing half-written is left behind\n"),
        ("raise SystemExit(3)", 3, ""),
    ],
)
def test_the_status_is_that_of_the_work(body, status, err):
    assert ended(body) == (status, "", err)


def test_a_bug_keeps_its_traceback_with_the_foreign_text_in_it_visible():
    status, _, err = ended("raise ValueError('bad \\x1b[2K')")
    assert status == 1 and err.startswith("Traceback") and err.endswith("ValueError: bad \\x1b[2K\n")


def test_what_is_printed_is_visible_on_both_streams():
    status, out, err = ended("print('a\\x1b[31m\\u202e')\nprint('b\\udcff', file=sys.stderr)\nraise Invalid('c\\r')")
    assert (status, out, err) == (2, "a\\x1b[31m\\u202e\n", "b\\xff\nerror: c\\r\n")


@pytest.mark.parametrize("status", [0, 1, 2])
@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_reader_that_goes_away_is_no_verdict(status, size):
    into, out = os.pipe()
    os.close(into)
    with start(
        f"print('x' * {size}, flush=True)\nprint('y')\nreturn {status}", stdout=out, stderr=subprocess.PIPE
    ) as program:
        os.close(out)
        assert (program.communicate()[1], program.returncode) == ("", status)


@needs_full_disk
@pytest.mark.parametrize("body", ["print('x')", "print('x', flush=True)", "sys.stdout.write('x' * 100_000)"])
@pytest.mark.parametrize("status", [0, 1])
def test_output_that_cannot_be_written_is_an_error(body, status):
    with FULL.open("w") as full, start(f"{body}\nreturn {status}", stdout=full, stderr=subprocess.PIPE) as program:
        err = program.communicate()[1]
        assert program.returncode == 2
        assert err == "error: [Errno 28] could not write to standard output: No space left on device\n"


@needs_full_disk
def test_errors_that_cannot_be_written_change_no_status():
    with FULL.open("w") as full, start("print('x', file=sys.stderr, flush=True)\nreturn 1", stderr=full) as program:
        assert program.wait() == 1


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are closed by a POSIX shell")
@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&- 1>&- 2>&-"])
@pytest.mark.parametrize("status", [0, 1])
def test_a_closed_stream_is_no_verdict(closed, status):
    body = f"print('x'); sys.stdout.write('y'); print('z', file=sys.stderr); sys.exit({status})"
    program = f"{HEAD}main_guard(lambda: exec({body!r}))"
    done = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, program], cwd=PROJECT, env=environment()
    )
    assert done.returncode == status
