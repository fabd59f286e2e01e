"""Tests that are tried in forks of one process that has imported them all: a changed module costs no import.

    with ForkedTests(root, environment) as tests:
        tests.fails(mutant, ["tests/domain/test_judge.py"])      the first of these tests that fails, or None

The process collects the quick tests of a clone once. For each mutant it forks; the fork gives the functions of the
changed module their changed code, and runs the tests. Nothing is written to the clone, so what compares the code with
the code that ran sees no change, and what a test starts as a program of its own runs the code as it was: a mutant that
passes here is not known to survive. A test that fails must pass in a fork of the unchanged code to count. Systems that
cannot fork have no such tests.
"""

from __future__ import annotations

import gc
import importlib.machinery
import multiprocessing
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NoReturn, Self

import pytest

from bench.coverage_map import QUICK
from bench.mutations import Mutant

#: Whether this system forks.
FORKS = hasattr(os, "fork")
#: What of a process's modules is the clone's and not the caller's.
_PACKAGES = ("stages", "report", "trainer", "bench", "tests")


class ForkedTests:
    """The quick tests of a clone, ready to be run with one changed module after the other.

    `limit` is in seconds, for the tests of one request: what has not ended then has failed.
    """

    def __init__(self, root: Path, environment: dict[str, str], limit: float) -> None:
        self.limit = limit
        self._trusted: dict[str, bool] = {}
        self._here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=_serve, args=(root, environment, there))
        process.start()
        self._process = process
        there.close()
        self.names: list[str] = self._receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._here.close()
        self._process.join()

    def fails(self, mutant: Mutant, words: Sequence[str]) -> str | None:
        """The first of these tests, or of the tests in these files, that fails with the mutant and passes without."""
        wanted = dict.fromkeys(name for word in words for name in self._expand(word))
        while wanted and (failed := self._ask((mutant.path, mutant.source), list(wanted))):
            if failed not in self._trusted:
                self._trusted[failed] = self._ask(None, [failed]) is None
            if self._trusted[failed]:
                return failed
            del wanted[failed]
        return None

    def _expand(self, word: str) -> Iterator[str]:
        return (name for name in self.names if name == word or name.startswith((f"{word}::", f"{word}/")))

    def _ask(self, change: tuple[str, str] | None, names: list[str]) -> str | None:
        self._here.send((change, names, self.limit))
        answer: str | None = self._receive()
        return answer

    def _receive(self) -> Any:
        try:
            return self._here.recv()
        except EOFError:
            raise RuntimeError(
                "the process that collects the tests has ended: `python -m pytest --co` tells why"
            ) from None


class _Loop:
    """A plugin of pytest that runs tests when it is asked to, each request in a fork of its own."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.failed: str | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Answer requests until the other side has gone."""
        items = {item.nodeid: item for item in session.items}
        self.connection.send(list(items))
        while True:
            try:
                change, names, limit = self.connection.recv()
            except EOFError:
                return True
            self.connection.send(self._fork(change, [items[name] for name in names], limit))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the first failure, in a fork."""
        if report.failed:
            self.failed = self.failed or report.nodeid

    def _fork(self, change: tuple[str, str] | None, items: list[pytest.Item], limit: float) -> str | None:
        """What a fork says of these tests; the test at which it was when it ended without a word or by the limit."""
        folder = tempfile.mkdtemp(prefix="fork-")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            self._run(change, items, folder, writer)
        os.close(writer)
        failed = read_result(reader, limit)
        os.close(reader)
        try:
            os.killpg(child, signal.SIGKILL)
        except OSError:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        shutil.rmtree(folder, ignore_errors=True)
        return failed

    def _run(self, change: tuple[str, str] | None, items: list[pytest.Item], folder: str, writer: int) -> NoReturn:
        """The whole life of a fork: the name of each test before it runs, and at last the one that failed."""
        try:
            os.setpgid(0, 0)
            os.environ["TMPDIR"] = os.environ["PYTEST_DEBUG_TEMPROOT"] = tempfile.tempdir = folder
            if change is not None:
                swap_code(*change)
            for item, following in zip_longest(items, items[1:]):
                os.write(writer, f"{item.nodeid}\n".encode())
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if self.failed:
                    break
            else:
                os.write(writer, b"\n")
        finally:
            os._exit(0)


def read_result(reader: int, limit: float) -> str | None:
    """The last test that a fork names; None where an empty line follows it, which says that all have passed."""
    data, end = b"", time.monotonic() + limit
    while select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
        block = os.read(reader, 1 << 16)
        if not block:
            break
        data += block
        if data.endswith(b"\n\n"):
            return None
    return data.decode("utf-8").splitlines()[-1] if data else None


def swap_code(path: str, source: str) -> None:
    """Give every function of a module that this process has imported the code of another source of it.

    `path` is from the working folder. A module that is imported later is compiled from that source as well.
    """
    file = str(Path(path).absolute())
    changed = compile(source, file, "exec", dont_inherit=True)
    before = compile(Path(file).read_bytes(), file, "exec", dont_inherit=True)
    codes = dict(pair_codes(before, changed))
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and function.__code__.co_filename == file:
            code = codes.get(key_of(function.__code__))
            if code is not None and len(code.co_freevars) == len(function.__code__.co_freevars):
                function.__code__ = code
    usual = importlib.machinery.SourceFileLoader.get_code
    importlib.machinery.SourceFileLoader.get_code = (  # type: ignore[method-assign]
        lambda self, name: changed if self.get_filename(name) == file else usual(self, name)
    )


def key_of(code: CodeType) -> tuple[str, int]:
    """What tells a function's code from every other one's of its module."""
    return code.co_qualname, code.co_firstlineno


def pair_codes(before: CodeType, after: CodeType) -> Iterator[tuple[tuple[str, int], CodeType]]:
    """Each function of a module, by its key in the one source, with its code by the other.

    Functions in functions are paired where both have as many of a name.
    """
    old, new = ([code for code in parent.co_consts if isinstance(code, CodeType)] for parent in (before, after))
    if [code.co_qualname for code in old] == [code.co_qualname for code in new]:
        for pair in zip(old, new, strict=True):
            yield key_of(pair[0]), pair[1]
            yield from pair_codes(*pair)


def enter_clone(root: Path, environment: dict[str, str], output: Path) -> None:
    """Be a process of a clone from here on: its folder, variables and modules, and its output in a file."""
    os.chdir(root)
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, str(root))
    for name in [name for name in sys.modules if name.partition(".")[0] in _PACKAGES]:
        del sys.modules[name]  # those of the clone are meant
    with output.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def _serve(root: Path, environment: dict[str, str], connection: Connection) -> None:
    """The whole life of the process that collects the tests of a clone."""
    enter_clone(root, environment, Path(os.devnull))
    pytest.main(["-q", "-p", "no:cacheprovider", *QUICK], plugins=[_Loop(connection)])
