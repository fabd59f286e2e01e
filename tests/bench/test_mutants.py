"""Mutants are tried against the quick tests of their module's name first; the map of all tests is for what is left."""

from __future__ import annotations

import os
from pathlib import Path

from bench.coverage_map import read_map, record_map
from bench.mutants import PIPELINE, Clone
from bench.mutations import mutants_of

MODULE = "def f(a):\n    return a > 1\n"
SLOW = "import pytest\n\n\n@pytest.mark.slow\ndef test_slow():\n    assert False\n"


def test_without_a_map_the_quick_tests_of_the_modules_name_are_tried_and_no_others(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nmarkers = ["slow", "browser"]\n', "utf-8")
    (tmp_path / "m.py").write_text(MODULE, "utf-8")
    (tmp_path / "tests" / "test_other.py").write_text("def test_other():\n    assert False\n", "utf-8")
    mutant = next(mutant for mutant in mutants_of(tmp_path / "m.py", tmp_path) if mutant.after == "(a >= 1)")
    clone = Clone(tmp_path, {**os.environ, "PYTHONPATH": str(tmp_path)})
    assert clone.find_killer(mutant) is None, "no test has its name"
    own = tmp_path / "tests" / "test_m.py"
    own.write_text(SLOW, "utf-8")
    assert clone.find_killer(mutant) is None, "a slow test is left for later"
    own.write_text(f"{SLOW}\n\ndef test_m():\n    from m import f\n\n    assert not f(1)\n", "utf-8")
    assert clone.find_killer(mutant) == "tests/test_m.py::test_m"


def test_a_map_may_be_of_some_folders_of_tests_alone(tmp_path):
    for room in ("a", "b"):
        (tmp_path / "tests" / room).mkdir(parents=True)
        (tmp_path / "tests" / room / f"test_{room}.py").write_text(f"def test_{room}():\n    pass\n", "utf-8")
    (tmp_path / "map").mkdir()
    record_map(tmp_path, {**os.environ, "PYTHONPATH": str(Path.cwd())}, tmp_path / "map", ["tests/a"])
    assert sorted(path.name for path in (tmp_path / "map").glob("*.json")) == ["tests-a.json"]
    assert read_map(tmp_path, tmp_path / "map") == {}


def test_what_all_others_let_pass_meets_the_whole_protocol(tmp_path):
    (tmp_path / "tests" / "pipeline").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nmarkers = ["slow", "browser"]\n', "utf-8")
    (tmp_path / "m.py").write_text(MODULE, "utf-8")
    (tmp_path / PIPELINE).write_text(SLOW.replace("assert False", "assert not __import__('m').f(1)"), "utf-8")
    mutant = next(mutant for mutant in mutants_of(tmp_path / "m.py", tmp_path) if mutant.after == "(a >= 1)")
    clone = Clone(tmp_path, {**os.environ, "PYTHONPATH": str(tmp_path)})
    assert clone.find_killer(mutant) is None, "not before a map says that no other test does"
    assert clone.find_killer(mutant, {}) == f"{PIPELINE}::test_slow"


def test_an_annotation_is_never_changed(tmp_path):
    (tmp_path / "m.py").write_text("def f(a):\n    b: int | None = a\n    return b\n", "utf-8")
    assert [mutant.after for mutant in mutants_of(tmp_path / "m.py", tmp_path)] == ["return None"]
