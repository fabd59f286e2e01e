"""A clone of the smoke study with nothing but git, shared by a test module and restored before each use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.verify.check import Case
from tests.support import dvclock
from tests.support.repo import Repo, reading_git
from tests.verify import cases
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


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """The workspace of a committed study of three configurations, and what its checks learnt. Never change it."""
    root = tmp_path_factory.mktemp("judged") / "study"
    dvclock.build(root, configs=3, seeds=1)
    with reading_git(root) as git:
        yield cases.learn(root, git)
