"""`python -m bench trainer` on a GPU, refused where there is none."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from tests.support.repo import PROJECT


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainer", "--device", "cuda"], "finds no CUDA device here; use a machine with one"),
        (["site", "--device", "cuda"], "--device and --corpus are for `python -m bench trainer` alone"),
        (["speed"], "speed: no such measure; there are study, "),
    ],
)
def test_what_cannot_be_measured_is_refused_in_words(words: list[str], message: str) -> None:
    command = [sys.executable, "-m", "bench", *words]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
