"""The helpers of docs/your-trainer.md do what they say, against scripts of the shape that they are meant for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repo import PROJECT

PAGE = (PROJECT / "docs" / "your-trainer.md").read_text(encoding="utf-8")
SCRIPTS = {
    "prepare.py": "TIME_BUDGET = 300\n",
    "train.py": """
import sys, torch
from prepare import TIME_BUDGET
torch.manual_seed(42)
torch.cuda.manual_seed(42)
DEPTH = 8
WIDTH = DEPTH * 64
if __name__ == "__main__":
    print(TIME_BUDGET, WIDTH, sys.argv[1:], torch.rand(1).item())
""",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The scripts, and every helper of the page."""
    helpers = dict(re.findall(r"```python\n# (\w+\.py): [^\n]*\n(.*?)```", PAGE, re.DOTALL))
    assert helpers.keys() == {"seeded.py", "constants.py", "staged.py", "tokenizer.py"}
    for name, text in {**SCRIPTS, **helpers}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def start(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, encoding="utf-8", timeout=300)


def test_a_seed_comes_from_outside(folder: Path) -> None:
    first, again, other = (start(folder, "seeded.py", seed, "train.py", "--flag").stdout for seed in ("1", "1", "2"))
    assert first.startswith("300 512 ['--flag'] 0.")
    assert first == again != other


def test_constants_come_from_outside_and_one_that_is_not_there_is_refused(folder: Path) -> None:
    assert start(folder, "constants.py", "train.py", "DEPTH=2").stdout.startswith("300 128 [] ")
    assert "no constant DEEP" in start(folder, "constants.py", "train.py", "DEEP=2").stderr


def test_the_budget_of_an_imported_module_comes_from_outside(folder: Path) -> None:
    first, other = (start(folder, "staged.py", seed, "60", "train.py").stdout for seed in ("1", "2"))
    assert first.startswith("60.0 512 [] 0.")
    assert first != other
