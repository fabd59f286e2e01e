"""What DVC records of files and folders, from bytes and from git; and where the files of DVC stand in a tree."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace
from typing import Any

import pytest

from stages.domain.study import Study
from stages.dvcfiles.cache import folder_md5
from stages.repo.objects import FILE, FOLDER, REPOSITORY
from stages.verify import folders, layout
from stages.verify.check import Case
from stages.verify.folders import Content
from stages.verify.layout import Layout
from tests.verify.cases import alter
from tests.verify.test_files import Tree
from tests.verify.test_past import FIRST, SECOND, THIRD


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


FILES = {"locks/gate1.yaml": b"one", "locks/x/gate2.yaml": b"three", "locks/.DS_Store": b"x", "other": b"y"}
PATTERNS = folders.parse_ignore(b".DS_Store\n")


def test_a_file_and_a_folder_are_recorded_by_digest_size_and_count():
    tree: Any = Tree(FILES)
    one, two = Content(md5(b"one"), 3, None, "locks/gate1.yaml"), Content(md5(b"three"), 5, None, "locks/x/gate2.yaml")
    assert folders.digest_bytes(b"one", "why") == Content(md5(b"one"), 3, None, "why")
    assert folders.digest_file(tree, "locks/gate1.yaml") == one
    assert folders.digest_file(tree, "none") is None
    inside = {"gate1.yaml": one, "x/gate2.yaml": two}
    assert folders.digest_inside(tree, "locks", PATTERNS) == inside
    whole = Content(folder_md5([("gate1.yaml", one.md5), ("x/gate2.yaml", two.md5)]), 8, 2, "locks")
    assert folders.digest_folder(inside.items(), "locks") == whole
    assert folders.digest_path(tree, "locks", PATTERNS) == whole
    assert folders.digest_path(tree, "other", PATTERNS) == Content(md5(b"y"), 1, None, "other")
    assert folders.digest_path(tree, "none", PATTERNS) is None
    assert not folders.ignored_patterns(tree).match("locks/.DS_Store")
    assert folders.ignored_patterns(Tree({".dvcignore": b".DS_Store\n"})).match("locks/.DS_Store")  # type: ignore[arg-type]


class Repository:
    """A repository whose commits hold these folders locks/."""

    def __init__(self, **folder: dict[str, tuple[str, bytes]]) -> None:
        self.folders = folder
        self.most: list[int] = []

    def folder(self, oid: str) -> dict[str, Any]:
        return {name: SimpleNamespace(mode=mode, oid=data) for name, (mode, data) in self.folders[oid].items()}

    def blob(self, oid: bytes, most: int) -> bytes:
        self.most.append(most)
        return oid

    def md5(self, oid: bytes) -> tuple[str, int]:
        return md5(oid), len(oid)

    def ancestry(self, commit: str) -> list[str]:
        return [FIRST, SECOND, THIRD, commit]

    def entry(self, commit: str, path: str) -> Any:
        entries = {FIRST: (FOLDER, "a"), SECOND: (FOLDER, "b"), THIRD: (FOLDER, "a"), "file": (FILE, "a")}
        entry = entries.get(commit)
        return SimpleNamespace(mode=entry[0], oid=entry[1]) if entry and path == "locks" else None


def test_the_folders_of_a_history_come_the_newest_first_with_the_commits_that_held_them():
    git: Any = Repository(a={"gate1.yaml": (FILE, b"one"), "sub": (REPOSITORY, b"x")}, b={".DS_Store": (FILE, b"x")})
    for head in ("none", "file"):
        listed = list(folders.lock_folders(git, head))
        assert [(commits, dict(folder)) for commits, folder in listed] == [
            ([THIRD, FIRST], {"gate1.yaml": b"one"}),
            ([SECOND], {".DS_Store": b"x"}),
        ]
    first, second = (folder for _, folder in listed)
    assert (len(first), list(first), git.most[0]) == (1, ["gate1.yaml"], folders.MAX_SMALL)
    expected = Content(folder_md5([("gate1.yaml", md5(b"one"))]), 3, 1, "locks")
    assert first.digest(PATTERNS) == expected
    assert second.digest(PATTERNS).nfiles == 0


@pytest.mark.parametrize(
    ("paths", "earlier"),
    [
        (["stages/rung1/dvc.yaml"], True),
        (["stages/rung12/dvc.lock", "stages/x.py"], True),
        (["stages/rung1/dvc.yaml", "stages/ladder/rung1/dvc.yaml"], False),
        (["stages/ladder/rung1/dvc.yaml"], False),
        (["stages/rung1/dvc.yaml.bak"], False),
        (["stages/x/rung1/dvc.yaml"], False),
        ([], False),
    ],
)
def test_a_tree_is_in_the_earlier_layout_where_rungs_stand_outside_of_the_ladder(paths, earlier, judged: Case):
    tree: Any = Tree(dict.fromkeys(paths, b""))
    assert layout.read_layout(alter(judged, tree=tree)) == Layout(earlier)


def test_each_layout_says_where_tickets_are_and_what_stages_are_given(judged: Case):
    study = judged.get(Study)
    tickets: Any = {"gate1": {"a": "true", "b": "false"}}
    now, then = Layout(False), Layout(True)
    params = {"configs": {"a": {"depth": 1}}, "x": 1}
    assert [file.path for file in now.files(study, "rung1")][:1] == ["stages/ladder/rung1/d1-c000/dvc.yaml"]
    assert [file.path for file in then.files(study, "rung1")] == ["stages/rung1/dvc.yaml"]
    assert now.tickets_path("gate1") == "artifacts/gates/gate1/promotions.json"
    assert then.tickets_path("gate1") == "artifacts/gates/gate1/promotions.yaml"
    assert json.loads(now.dump_tickets(tickets["gate1"])) == {"schema": 1} | {"tickets": {"a": True, "b": False}}
    assert now.parameters(params, tickets) == {
        "params.yaml": params,
        "artifacts/gates/gate1/promotions.json": {"tickets": {"a": True, "b": False}},
        "artifacts/protocol/knobs/a.json": {"knobs": {"depth": 1}},
    }
    assert then.parameters(params, tickets) == {
        "params.yaml": params,
        "artifacts/gates/gate1/promotions.yaml": {"a": True, "b": False},
    }
    for configs in ({}, {"configs": 1}):
        assert now.parameters(configs, {}) == {"params.yaml": configs}
