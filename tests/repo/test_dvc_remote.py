"""What is advised for artifacts that are not here: `dvc pull` can only work where DVC has a default remote."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from stages import winner
from stages.domain.errors import Refused
from stages.repo.dvc_remote import restore_command
from stages.runners.builtin import BuiltinRunner

REMOTE = "[core]\n    analytics = false\n    remote = store\n['remote \"store\"']\n    url = s3://x/y\n"


@pytest.mark.parametrize(
    ("content", "local", "command"),
    [
        ("[core]\n    analytics = false\n", None, "dvc repro winner"),
        (REMOTE, None, "dvc pull winner"),
        ("", REMOTE, "dvc pull winner"),
        ("['remote \"store\"']\n    url = /x\n", None, "dvc repro winner"),  # `dvc pull` asks for a default
        ("no section = 1\n", None, "dvc repro winner"),
        (REMOTE.replace("y\n", "%(y)s\n"), None, "dvc repro winner"),  # DVC refuses such a file
        (None, None, "dvc repro winner"),
    ],
)
def test_a_pull_is_advised_where_there_is_a_default_remote_and_nowhere_else(tmp_path, content, local, command):
    (tmp_path / ".dvc").mkdir()
    for name, text in (("config", content), ("config.local", local)):
        if text is not None:
            (tmp_path / ".dvc" / name).write_text(text, encoding="utf-8")
    assert restore_command(tmp_path, "winner") == command


def test_a_study_in_a_folder_of_the_repository_has_the_remote_of_the_repository(tmp_path):
    (tmp_path / "a" / "study").mkdir(parents=True)
    assert restore_command(tmp_path / "a" / "study") == "dvc repro"
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(REMOTE, encoding="utf-8")
    assert restore_command(tmp_path / "a" / "study") == "dvc pull"


def test_a_stage_that_misses_something_names_both_ways_and_when_each_works():
    with pytest.raises(
        Refused, match=r"`dvc repro corpus` builds it, `dvc pull corpus` \(where a DVC remote is set up\)"
    ):
        BuiltinRunner().check_corpus("0" * 64, Path("none/corpus"))
    both = r"is missing; `dvc checkout`, `dvc pull` \(where a DVC remote is set up\) or `dvc repro` brings back"
    with pytest.raises(Refused, match=both):
        winner.copy_weights(SimpleNamespace(id="rung1/none/here/1"))
