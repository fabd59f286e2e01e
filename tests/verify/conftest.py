"""A clone of the smoke study with nothing but git, shared by a test module and restored before each use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.repo import Repo
from tests.verify.forger import Forger
from tests.verify.tamper import restore


@pytest.fixture(scope="session")
def shared_clone(smoke: Repo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the clone lies."""
    root = tmp_path_factory.mktemp("clone") / "study"
    smoke.git("clone", "-q", str(smoke.root), str(root))
    return root


@pytest.fixture
def clone(shared_clone: Path) -> Forger:
    """The clone as it was cloned."""
    restore(shared_clone)
    return Forger(shared_clone)
