"""A changed module is tried in a fork of what has imported all tests: its functions change there and nowhere else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.forked_tests import FORKS, ForkedTests, read_result
from bench.mutants import Clone
from bench.mutations import Mutant, mutants_of

pytestmark = pytest.mark.skipif(not FORKS, reason="this system does not fork")
MODULE = """
import functools


def function(a):
    return a + 1


class Class:
    @property
    def value(self):
        return 1 + 1

    @staticmethod
    def fixed():
        return 2 + 1


@functools.cache
def cached():
    return 3 + 1


def outer():
    def inner(a):
        return a + 5
    return inner


kept = outer()
"""
TESTS = """
import os
import time
from pathlib import Path

import pytest

from stages import m


def test_function():
    assert m.function(1) == 2

def test_property():
    assert m.Class().value == 2

def test_static():
    assert m.Class.fixed() == 3

def test_cached():
    assert m.cached() == 4

def test_kept():
    assert m.kept(1) == 6

def test_late():
    from stages import late

    assert late.function(1) == 2

def test_bad():
    assert False

def test_bad_again():
    assert m.function(1) != 2

@pytest.mark.slow
def test_slow():
    assert m.function(1) == 2
"""
ENDS = """
import os
import time

from stages import m


def test_ends():
    if m.function(1) != 2:
        os._exit(0)

def test_never_ends():
    if m.function(1) != 2:
        time.sleep(60)

def test_leaves_files(tmp_path):
    assert not (m.function(1) - 2)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    for name in ("stages", "tests/a", "tests/b"):
        (root / name).mkdir(parents=True)
    files = {
        "stages/__init__.py": "",
        "stages/m.py": MODULE,
        "stages/late.py": "def function(a):\n    return a + 1\n",
        "tests/a/test_m.py": TESTS,
        "tests/b/test_ends.py": ENDS,
        "pyproject.toml": '[tool.pytest.ini_options]\nmarkers = ["slow", "browser"]\ntestpaths = ["tests"]\n',
    }
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def forked(root: Path) -> Iterator[ForkedTests]:
    with ForkedTests(root, {**os.environ, "PYTHONPATH": str(root)}, 3) as tests:
        yield tests


@pytest.fixture(scope="module")
def mutant(root: Path) -> Callable[[str, str], Mutant]:
    """The mutant of a module that subtracts where this text adds."""

    def choose(before: str, name: str = "m") -> Mutant:
        mutants = mutants_of(root / "stages" / f"{name}.py", root)
        after = f"({before.replace('+', '-')})"
        return next(entry for entry in mutants if (entry.before, entry.after) == (before, after))

    return choose


@pytest.mark.parametrize(
    ("before", "killer"),
    [
        ("a + 1", "test_function"),
        ("1 + 1", "test_property"),
        ("2 + 1", "test_static"),
        ("3 + 1", "test_cached"),
        ("a + 5", "test_kept"),
    ],
)
def test_every_kind_of_function_changes_in_a_fork_and_nothing_in_the_clone(forked, mutant, root, before, killer):
    assert forked.fails(mutant(before), ["tests/a/test_m.py"]) == f"tests/a/test_m.py::{killer}"
    assert (root / "stages" / "m.py").read_text(encoding="utf-8") == MODULE
    assert forked.fails(mutant("a + 1"), ["tests/a/test_m.py::test_static"]) is None, "the change before is gone"


def test_a_module_that_a_test_imports_late_is_the_changed_one(forked, mutant):
    assert forked.fails(mutant("a + 1", "late"), ["tests/a"]) == "tests/a/test_m.py::test_late"


def test_a_test_that_fails_without_the_mutant_as_well_says_nothing(forked, mutant):
    bad, again = "tests/a/test_m.py::test_bad", "tests/a/test_m.py::test_bad_again"
    assert forked.fails(mutant("a + 1"), [bad, again]) is None
    assert forked.fails(mutant("a + 1"), [bad, again, "tests/a/test_m.py::test_function"]) is not None


def test_slow_tests_are_left_out_and_an_unknown_one_runs_nothing(forked, mutant):
    assert not any("slow" in name for name in forked.names)
    assert forked.fails(mutant("a + 1"), ["tests/a/test_m.py::test_slow", "tests/none.py", "tests/a/test_m"]) is None


def test_a_test_that_ends_its_process_or_never_ends_has_failed(forked, mutant):
    start = time.monotonic()
    for name in ("test_ends", "test_never_ends"):
        assert forked.fails(mutant("a + 1"), [f"tests/b/test_ends.py::{name}"]) == f"tests/b/test_ends.py::{name}"
    assert time.monotonic() - start < 30
    assert forked.fails(mutant("a + 1"), ["tests/b"]) == "tests/b/test_ends.py::test_ends"


def test_what_a_test_writes_goes_with_its_fork(root, mutant, tmp_path):
    with ForkedTests(root, {**os.environ, "PYTHONPATH": str(root), "TMPDIR": str(tmp_path)}, 60) as tests:
        assert tests.fails(mutant("a + 1"), ["tests/b/test_ends.py::test_leaves_files"]) is not None
        assert list(tmp_path.iterdir()) == []


def test_tests_that_cannot_be_collected_are_an_error_that_says_how_to_see_them(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\nno_such_option = 1\n", encoding="utf-8")
    (tmp_path / "tests" / "conftest.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match="python -m pytest --co"):
        ForkedTests(tmp_path, {**os.environ, "PYTHONPATH": str(tmp_path)}, 3)


def test_what_forks_let_pass_is_written_into_the_clone_when_there_is_a_map(forked, mutant, root):
    """A program that a test starts imports the module from the disk."""
    program = "from stages.late import function; assert function(1) == 2"
    text = f"import subprocess\nimport sys\n\n\ndef test_program():\n    words = [sys.executable, '-c', {program!r}]\n"
    (root / "tests" / "test_late.py").write_text(f"{text}    subprocess.run(words, check=True)\n", encoding="utf-8")
    clone, changed = Clone(root, {**os.environ, "PYTHONPATH": str(root)}), mutant("a + 1", "late")
    assert clone.find_killer(changed, None, forked) is None
    assert clone.find_killer(changed, {}, forked) == "tests/test_late.py::test_program"
    covered = {changed.path: {changed.line: [("tests/a/test_m.py::test_late", 0.1)]}}
    assert clone.find_killer(changed, covered, forked) == "tests/a/test_m.py::test_late"


def test_the_last_name_of_a_fork_is_the_test_at_which_it_was():
    for text, failed in ((b"a\n", "a"), (b"a\nb\n", "b"), (b"a\nb\n\n", None), (b"", None)):
        reader, writer = os.pipe()
        os.write(writer, text)
        os.close(writer)
        assert read_result(reader, 5) == failed
        os.close(reader)
