"""What several kinds of tests share: one real smoke study, run once a session and copied by whoever changes it."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    """The smoke study, run once a session. Read it, or take a `copy`; never change it."""
    return build_smoke(tmp_path_factory.mktemp("smoke") / "study")


@pytest.fixture
def study(smoke: repos.Repo, tmp_path: Path) -> repos.Repo:
    """A copy of the smoke study that a test may change."""
    return smoke.copy(tmp_path / "study")
