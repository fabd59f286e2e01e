"""What a study pays at every gate and for every stopped run: no framework and no statistics package is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stages.domain import names, promotions
from tests.support import synthetic
from tests.support.repo import PROJECT


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("light") / "study"
    synthetic.build(root, synthetic.params(6))
    return root


def imported_by(root: Path, module: str, *arguments: str) -> str:
    """Run a module's `main` in a process of its own; the heavy packages that it imported, as a sorted list."""
    code = (
        f"import sys; sys.path.insert(0, {str(PROJECT)!r}); sys.argv = {[module, *arguments]!r}\n"
        f"from {module} import main\n"
        "main()\n"
        "print(sorted({'torch', 'scipy', 'numpy', 'dvc', 'plotly', 'rich', 'trainer'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, encoding="utf-8")
    return done.stdout.strip() or done.stderr


def test_a_gate_imports_neither_a_framework_nor_statistics(judged: Path) -> None:
    before = (judged / names.GATES / "gate2" / "decision.json").read_bytes()
    assert imported_by(judged, "stages.gate", "rung2") == "[]"
    assert (judged / names.GATES / "gate2" / "decision.json").read_bytes() == before


def test_a_stopped_run_imports_neither_a_framework_nor_statistics(judged: Path) -> None:
    tickets = promotions.read(judged / names.GATES / "gate2" / "promotions.json")
    stopped = min(name for name, ticket in tickets.items() if ticket == "false")
    record = judged / names.record_path(names.run_id("rung3", stopped, "cpu-fp32", 3000))
    before = record.read_bytes()
    record.unlink()
    assert imported_by(judged, "stages.run", "rung3", stopped, "cpu-fp32", "3000") == "[]"
    assert record.read_bytes() == before
