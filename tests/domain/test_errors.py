"""How a program ends: its status is that of its work, whoever reads what it prints."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.domain import errors
from stages.domain.errors import Invalid, Mistake, Refused, Unreadable, main_guard
from stages.domain.foreign_text import OutputStream
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


@pytest.mark.parametrize(
    ("where", "problem", "place", "message", "mistake"),
    [
        (
            "ledger/runs.jsonl, line 7",
            "found 'x', expected a whole number",
            "seed",
            "ledger/runs.jsonl, line 7: seed: found 'x', expected a whole number",
            Mistake("ledger/runs.jsonl", 7, "seed", "'x'", "a whole number"),
        ),
        (
            "params.yaml, line 12, column 3",
            "found a\ttab, expected b, expected c",
            "a.b",
            r"params.yaml, line 12, column 3: a.b: found a\ttab, expected b, expected c",
            Mistake("params.yaml", 12, "a.b", "a\ttab", "b, expected c"),
        ),
        ("a.json", "no such thing", "", "a.json: no such thing", Mistake("a.json", None, "", "no such thing", "")),
        ("a, line x", "expected b", "", "a, line x: expected b", Mistake("a", None, "", "", "b")),
        ("a\nb", "c\x1b", "", r"a\nb: c\x1b", Mistake("a\nb", None, "", "c\x1b", "")),
    ],
)
def test_an_error_names_file_place_and_what_was_found_and_expected(where, problem, place, message, mistake):
    for kind in (Invalid, Unreadable):
        error = kind.at(where, problem, place)
        assert (type(error), str(error), error.mistakes) == (kind, message, (mistake,))


def test_an_error_holds_the_mistakes_that_it_is_given():
    mistakes = (Mistake("a", None, "", "b", "c"), Mistake("d", 1, "e", "f", ""))
    assert Invalid("two things are wrong", *mistakes).mistakes == mistakes
    assert Invalid("one thing is wrong").mistakes == ()


@pytest.fixture
def guarded(monkeypatch, capsys):
    """Runs a function under the guard; its status and what it printed."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def run(main):
        streams = sys.stdout, sys.stderr
        with pytest.raises(SystemExit) as ending:
            main_guard(main)
        assert (sys.stdout, sys.stderr) == streams, "the streams are as they were"
        return ending.value.code, *capsys.readouterr()

    return run


def raising(error: BaseException):
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "status", "err"),
    [
        (lambda: None, 0, ""),
        (lambda: 0, 0, ""),
        (lambda: 1, 1, ""),
        (lambda: 2, 2, ""),
        (raising(SystemExit()), 0, ""),
        (raising(SystemExit(0)), 0, ""),
        (raising(SystemExit(3)), 3, ""),
        (raising(SystemExit("no")), 1, "no\n"),
        (raising(Refused("no")), 2, "error: no\n"),
        (raising(Invalid("a: no")), 2, "error: a: no\n"),
        (raising(FileNotFoundError(2, "No such file", "a")), 2, "error: [Errno 2] No such file: 'a'\n"),
        (
            raising(ModuleNotFoundError("No module named 'torch'", name="torch.nn")),
            2,
            "error: torch.nn is not installed; `pip install 'staged-promotion[study]'`\n",
        ),
        (
            raising(ModuleNotFoundError("None")),
            2,
            "error: None is not installed; `pip install 'staged-promotion[study]'`\n",
        ),
        (raising(KeyboardInterrupt()), 130, "interrupted; nothing half-written is left behind\n"),
    ],
)
def test_an_ending_that_is_expected_is_a_status_and_one_message(guarded, main, status, err):
    assert guarded(main) == (status, "", err)


@pytest.mark.parametrize(
    "bug",
    [
        ValueError("bad"),
        json.JSONDecodeError("bad", "x", 0),
        KeyError("k"),
        ModuleNotFoundError("No module named 'stages.nowhere'", name="stages.nowhere"),
        ModuleNotFoundError("No module named 'report'", name="report"),
    ],
)
def test_a_bug_is_raised_and_will_be_told_with_its_traceback(monkeypatch, capsys, bug):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    streams = sys.stdout, sys.stderr
    with pytest.raises(type(bug)) as raised:
        main_guard(raising(bug))
    assert raised.value is bug
    assert (sys.stdout, sys.stderr) == streams
    assert sys.excepthook is errors._print_bug
    error = ValueError("bad \x1b[2K")
    sys.excepthook(ValueError, error, error.__traceback__)
    assert capsys.readouterr() == ("", "ValueError: bad \\x1b[2K\n")


def test_what_the_work_prints_is_written_before_it_ends(guarded):
    def main() -> int:
        assert isinstance(sys.stdout, OutputStream) and isinstance(sys.stderr, OutputStream)
        print("a\x1b")
        print("b\r", file=sys.stderr)
        return 1

    assert guarded(main) == (1, "a\\x1b\n", "b\\r\n")


class Unflushed(io.StringIO):
    """A stream that notes, or refuses, that it is flushed."""

    def __init__(self, error: OSError | None = None) -> None:
        super().__init__()
        self.error, self.flushes = error, 0

    def flush(self) -> None:
        self.flushes += 1
        if self.error:
            raise self.error


@pytest.mark.parametrize(("status", "ends_with"), [(0, 2), (1, 2), (2, 2)])
def test_output_that_cannot_be_flushed_is_an_error_of_its_own_and_no_second_one(monkeypatch, status, ends_with):
    out, err = Unflushed(OSError(28, "No space left on device")), Unflushed()
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with pytest.raises(SystemExit) as ending:
        main_guard(lambda: status)
    assert ending.value.code == ends_with
    message = "error: [Errno 28] could not write to standard output: No space left on device\n"
    assert err.getvalue() == ("" if status == 2 else message)
    assert err.flushes == 1


def test_errors_that_cannot_be_written_are_dropped(monkeypatch):
    err = Unflushed(OSError(28, "No space left on device"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "stderr", err)
    with pytest.raises(SystemExit) as ending:
        main_guard(lambda: 1)
    assert ending.value.code == 1


def test_a_stream_that_is_closed_leads_nowhere_and_an_open_one_takes_every_letter(tmp_path):
    nowhere = errors._open_output(None, "standard output", quiet=False)
    assert (nowhere.name, nowhere.encoding.lower(), nowhere.mode) == (os.devnull, "utf-8", "w")
    nowhere.close()
    with (tmp_path / "text").open("w", encoding="cp1252", errors="strict") as stream:
        errors._open_output(stream, "standard output", quiet=False).write("≥")
        stream.write("\ud800")
    assert (tmp_path / "text").read_bytes() == "≥\\ud800".encode()
