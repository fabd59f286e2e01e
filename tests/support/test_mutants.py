"""Mutants are small, whole programs, and the same ones for the same seed."""

from __future__ import annotations

import ast
import os
from collections import Counter
from pathlib import Path

import pytest

from bench.coverage_map import read_map, record_map
from bench.mutants import Clone, draw, name_tests, select_tests
from bench.mutations import mutants_of
from tests.support.repo import PROJECT

SOURCE = '''"""Module."""


def f(a: int, b: int) -> bool:
    """Doc."""
    if a < b and b != 3:
        g(a + 1)
        raise ValueError("é")
    return True


LIMIT = 3
'''


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "stages" / "domain" / "m.py"
    path.parent.mkdir(parents=True)
    path.write_text(SOURCE, encoding="utf-8")
    return path


def test_every_kind_of_change_is_there_and_nothing_else_changes(module, tmp_path):
    changes = {(one.before, one.after) for one in mutants_of(module, tmp_path)}
    assert changes == {
        ("a < b", "(a <= b)"),
        ("b != 3", "(b == 3)"),
        ("a < b and b != 3", "(a < b or b != 3)"),
        ("3", "(4)"),
        ("1", "(2)"),
        ("a + 1", "(a - 1)"),
        ("True", "(False)"),
        ("return True", "return None"),
        ("g(a + 1)", "pass"),
        ('raise ValueError("é")', "pass"),
        ("a < b and b != 3", "(not (a < b and b != 3))"),
    }
    for one in mutants_of(module, tmp_path):
        ast.parse(one.source)
        assert one.source != SOURCE and one.source.endswith("LIMIT = 3\n")


def test_what_is_returned_empty_is_not_returned_as_none_instead(tmp_path):
    path = tmp_path / "m.py"
    values = ["False", "0", "''", "[]", "{}", "()", "None", "[x]", "{x: 1}", "f()", "True"]
    path.write_text("".join(f"def f{n}(x):\n    return {value}\n" for n, value in enumerate(values)), encoding="utf-8")
    changed = [mutant.before for mutant in mutants_of(path, tmp_path) if mutant.after == "return None"]
    assert changed == ["return [x]", "return {x: 1}", "return f()", "return True"]


def test_a_seed_draws_as_many_of_each_room(module, tmp_path):
    other = tmp_path / "report" / "n.py"
    other.parent.mkdir()
    other.write_text(SOURCE, encoding="utf-8")
    drawn = draw(tmp_path, 7, 8, [])
    assert Counter(one.room for one in drawn) == {"report": 4, "stages/domain": 4}
    assert drawn == draw(tmp_path, 7, 8, []) != draw(tmp_path, 8, 8, [])
    assert {one.room for one in draw(tmp_path, 7, 8, ["report"])} == {"report"}


def test_the_tests_that_run_the_changed_line_are_tried_those_of_its_name_first_then_the_quickest(module, tmp_path):
    mutant = next(one for one in mutants_of(module, tmp_path) if one.before == "g(a + 1)")
    slow, quick, other = "tests/x/test_x.py::slow", "tests/x/test_x.py::quick", "other"
    own, heavy = "tests/domain/test_m.py::own", "tests/domain/test_m.py::heavy"
    lines = {mutant.line: [(quick, 0.1), (own, 2.0), (heavy, 25.0), (slow, 40.0)], mutant.line + 1: [(other, 0.1)]}
    assert select_tests(mutant, {mutant.path: lines}) == [[own, quick, heavy], [slow]]
    assert select_tests(mutant, {"stages/domain/other.py": lines}) == []


def test_where_no_test_has_the_modules_name_those_of_its_folders_name_follow(module, tmp_path):
    mutant = mutants_of(module, tmp_path)[0]
    (tmp_path / "tests" / "x").mkdir(parents=True)
    assert name_tests(mutant, tmp_path) == []
    (tmp_path / "tests" / "x" / "test_domain.py").write_bytes(b"")
    assert name_tests(mutant, tmp_path) == ["tests/x/test_domain.py"]
    (tmp_path / "tests" / "test_m.py").write_bytes(b"")
    assert name_tests(mutant, tmp_path) == ["tests/test_m.py"]
    (tmp_path / "tests" / "domain").mkdir()
    (tmp_path / "tests" / "domain" / "test_m.py").write_bytes(b"")
    assert name_tests(mutant, tmp_path) == ["tests/domain/test_m.py"]


def test_a_mutant_stands_in_its_module_only_while_its_tests_run(module, tmp_path):
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_m.py").write_text(
        "from pathlib import Path\n\n\ndef test_m():\n"
        "    assert 'raise' in Path('stages/domain/m.py').read_text(encoding='utf-8')\n",
        encoding="utf-8",
    )
    clone = Clone(tmp_path, dict(os.environ))
    by_change = {one.before: one for one in mutants_of(module, tmp_path)}
    covered = {"stages/domain/m.py": {6: [("tests/test_m.py::test_m", 0.1)]}}
    assert clone.find_killer(by_change['raise ValueError("é")'], covered) == "tests/test_m.py::test_m"
    assert clone.find_killer(by_change["return True"], covered) is None
    assert module.read_text(encoding="utf-8") == SOURCE


def test_a_process_that_ends_without_the_name_of_a_test_kills_nothing(tmp_path):
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_m.py").write_text("import os\n\n\ndef test_m():\n    os._exit(1)\n", encoding="utf-8")
    clone = Clone(tmp_path, dict(os.environ))
    with pytest.raises(RuntimeError, match="pytest ended with 1 and names no test"):
        clone.fails(["tests/test_m.py"])
    assert clone.fails(["tests/none.py"]) is None
    (tests / "conftest.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    assert clone.fails(["tests/test_m.py"]) == "the import of what all tests share"


def test_a_failure_for_the_shared_study_alone_is_no_kill(tmp_path):
    tests = tmp_path / "tests" / "verify"
    tests.mkdir(parents=True)
    text = "import os\n\n\ndef test_a():\n    assert 'STAGED_PROMOTION_SMOKE' not in os.environ\n"
    (tests / "test_m.py").write_text(f"{text}\n\ndef test_b():\n    assert False\n", encoding="utf-8")
    clone = Clone(tmp_path, {**os.environ, "STAGED_PROMOTION_SMOKE": "x"})
    assert clone.fails(["tests/verify/test_m.py::test_a"]) == "tests/verify/test_m.py::test_a"
    assert clone.confirm_failure(["tests/verify/test_m.py::test_a"]) is None
    assert clone.confirm_failure(["tests/verify/test_m.py::test_b"]) == "tests/verify/test_m.py::test_b"


def test_the_map_says_which_passing_test_runs_which_line(tmp_path):
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "m.py").write_text(
        "def f(x):\n    if x:\n        return 1\n    return 2\n", encoding="utf-8"
    )
    (tmp_path / "tests" / "x").mkdir(parents=True)
    text = (
        "import pytest\nfrom stages.m import f\n\n\n@pytest.mark.parametrize('x', [0, 1])\ndef test_f(x):\n    f(x)\n"
    )
    text += "\n\ndef test_bad():\n    assert f(1) == 2\n"
    (tmp_path / "tests" / "x" / "test_x.py").write_text(text, encoding="utf-8")
    for folder in ("bench", "report", "trainer", "stages"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "__init__.py").write_bytes(b"")
    (tmp_path / "bench" / "coverage_map.py").write_bytes((PROJECT / "bench" / "coverage_map.py").read_bytes())
    maps = tmp_path / "map"
    maps.mkdir()
    record_map(tmp_path, {**os.environ, "PYTHONPATH": str(tmp_path)}, maps)
    lines = read_map(tmp_path, maps)["stages/m.py"]
    by_line = {line: [test.rpartition("::")[2] for test, _ in tests] for line, tests in lines.items()}
    assert sorted(by_line[2]) == ["test_f[0]", "test_f[1]"]
    assert (by_line[3], by_line[4]) == (["test_f[1]"], ["test_f[0]"])
