"""What several kinds of tests share: one real smoke study, run once a session and copied by whoever changes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support import repo as repos


def build_smoke(root: Path) -> repos.Repo:
    """The smoke study as a team would leave it: rules frozen and committed, then run, then the evidence committed."""
    repo = repos.create(root)
    repo.dvc("repro", "corpus")
    repo.promotion("freeze")
    repo.commit("Freeze the rules")
    repo.dvc("repro")
    repo.commit("The evidence")
    return repo


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> repos.Repo:
    """The smoke study, run once a session. Read it, or take a `copy`; never change it.

    Where several processes share a session (`pytest -n`), the first one that asks runs it and each has a copy of its own.
    """
    own = tmp_path_factory.mktemp("smoke") / "study"
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return build_smoke(own)
    shared = tmp_path_factory.getbasetemp().parent / "smoke"
    with FileLock(f"{shared}.lock"):
        if not (shared / "done").exists():
            build_smoke(shared / "study")
            (shared / "done").touch()
    return repos.Repo(shared / "study").copy(own)


@pytest.fixture
def study(smoke: repos.Repo, tmp_path: Path) -> repos.Repo:
    """A copy of the smoke study that a test may change."""
    return smoke.copy(tmp_path / "study")
