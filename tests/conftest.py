"""What several kinds of tests share: one real smoke study, run once a session and copied by whoever changes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import Phase, settings

from tests.support import repo as repos

# On a busy machine an example may take any time. With FUZZ=n the examples are new ones at every run, and fuzzers try
# n times as many (tests/support/fuzzing.py); without, they are the same on every machine.
settings.register_profile("project", deadline=None, derandomize="FUZZ" not in os.environ)
if "STAGED_PROMOTION_SMOKE" in os.environ:  # `make mutants` asks whether a test fails, and not for its smallest example
    phases = [phase for phase in Phase if phase not in (Phase.shrink, Phase.explain)]
    settings.register_profile("project", settings.get_profile("project"), phases=phases)
settings.load_profile("project")
#: Seconds for a test that is slow, or whose fixture runs a whole study.
SLOW_SECONDS = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give what is slow its time, and let it start first: the end of a session is work that can be shared out."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        if item.get_closest_marker("slow") or "smoke" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))


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
    if finished := os.environ.get("STAGED_PROMOTION_SMOKE"):  # one that `make mutants` ran with the unchanged code
        return repos.Repo(Path(finished)).copy(own)
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
