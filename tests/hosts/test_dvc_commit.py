"""`dvc commit` of many stages at once: by force, and without a look at git."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from dvc.exceptions import DvcException

from stages.domain.errors import Refused
from stages.hosts import dvc_commit


@pytest.fixture
def asked(monkeypatch) -> list[object]:
    """What is asked of the DVC repository, which does not know the stage `unknown`."""
    asked: list[object] = []

    def commit(stage: str, force: bool) -> None:
        asked.append((stage, force))
        if stage == "unknown":
            raise DvcException("no such stage")

    @contextmanager
    def open_repo(config: object) -> Iterator[SimpleNamespace]:
        asked.append(config)
        yield SimpleNamespace(commit=commit)

    monkeypatch.setattr("dvc.repo.Repo", open_repo)
    return asked


def test_each_stage_is_committed_by_force_in_one_repository_without_git(asked, monkeypatch):
    monkeypatch.setattr("sys.argv", ["dvc_commit.py", "a", "b"])
    dvc_commit.main()
    assert asked == [{"core": {"no_scm": True}}, ("a", True), ("b", True)]


def test_a_stage_that_dvc_refuses_is_named_and_nothing_follows(asked, monkeypatch):
    monkeypatch.setattr("sys.argv", ["dvc_commit.py", "unknown", "b"])
    with pytest.raises(Refused) as refused:
        dvc_commit.main()
    assert str(refused.value) == "unknown: no such stage"
    assert asked == [{"core": {"no_scm": True}}, ("unknown", True)]
