"""Mutants are small, whole programs, and the same ones for the same seed."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from bench.mutants import draw, mutants_of, select_tests

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


def test_a_seed_draws_as_many_of_each_room(module, tmp_path):
    other = tmp_path / "report" / "n.py"
    other.parent.mkdir()
    other.write_text(SOURCE, encoding="utf-8")
    drawn = draw(tmp_path, 7, 8, [])
    assert Counter(one.room for one in drawn) == {"report": 4, "stages/domain": 4}
    assert drawn == draw(tmp_path, 7, 8, []) != draw(tmp_path, 8, 8, [])
    assert {one.room for one in draw(tmp_path, 7, 8, ["report"])} == {"report"}


def test_the_select_tests_its_own_name_come_first(module, tmp_path):
    (tmp_path / "tests" / "domain").mkdir(parents=True)
    (tmp_path / "tests" / "domain" / "test_m.py").write_bytes(b"")
    assert select_tests(mutants_of(module, tmp_path)[0], tmp_path) == ["tests/domain/test_m.py", "tests/domain"]
