"""A judged study that the tests of this folder copy and may change; nothing of it was trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support import studies, synthetic


@pytest.fixture(scope="session")
def judged_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four configurations through five gates; gate 3 stops d1-c000, gate 4 d2-c001, and d4-c003 is the reference."""
    root = tmp_path_factory.mktemp("judged") / "study"
    value = synthetic.params(4)
    for host in value["hosts"].values():
        host["threads"] = 1  # any machine has one
    value["hosts"]["cpu-bf16"]["report"] = ["torch"]
    studies.make(root, value)
    synthetic.look_back(root)
    return root


@pytest.fixture
def judged(judged_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of its own, in which the test stands."""
    root = tmp_path / "study"
    shutil.copytree(judged_template, root)
    monkeypatch.chdir(root)
    return root
