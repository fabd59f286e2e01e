"""A published site names its repository, commit and tags, and lists the repository's other studies; site/ does neither."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from report.publish import name_repository, publish, studies_page
from stages.domain.errors import Refused
from tests.repo.test_past_studies import build, commit, git, named
from tests.report.pages import read, target


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with two whole studies one after the other, the second tagged."""
    root = tmp_path / "study"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    (root / ".gitignore").write_bytes(b"/artifacts/\n/site/\n/public/\n")
    build(root, named("first"), "first")
    build(root, named("second"), "second")
    git(root, "tag", "v1.0")
    git(root, "remote", "add", "origin", "https://somebody:secret@example.org/team/study.git")
    return root


def test_every_page_names_repository_commit_and_tag_and_no_password(root: Path) -> None:
    publish(root, root / "public")
    head = git(root, "rev-parse", "HEAD")
    for page in (root / "public").glob("**/*.html"):
        text = " ".join(read(page).text.split())
        assert "Made from example.org/team/study, commit " in text, page
        assert "secret" not in page.read_text(encoding="utf-8")
    text = " ".join(read(root / "public" / "index.html").text.split())
    assert f"commit {head}, tag v1.0. All studies of this repository." in text
    assert "https://example.org/team/study" in read(root / "public" / "index.html").links
    manifest = json.loads((root / "public" / "manifest.json").read_bytes())
    assert (manifest["kind"], manifest["commit"]) == ("published site", head)


def test_the_index_leads_to_a_whole_site_of_every_study(root: Path) -> None:
    assert list(publish(root, root / "public")) == ["first"]
    index = root / "public" / "studies.html"
    text = read(index).text
    assert "The study first" in text and "The study second" in text
    pages = [found[0] for link in read(index).links if (found := target(index, link)) and "index.html" in link]
    assert root / "public" / "studies" / "first" / "index.html" in pages
    past = root / "public" / "studies" / "first"
    assert f"commit {git(root, 'rev-parse', 'HEAD~1')}" in " ".join(read(past / "index.html").text.split())
    for page in (past / "index.html", past / "gates" / "gate3.html"):
        for link in read(page).links:
            found = target(page, link)
            assert found is None or found[0].is_file(), (page, link)


def test_the_same_commit_is_published_as_the_same_bytes(root: Path, tmp_path: Path) -> None:
    publish(root, root / "public")
    publish(root, tmp_path / "again")
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (root / "public", tmp_path / "again")
    ]
    assert files[0] == files[1]


def test_what_the_commit_does_not_hold_is_not_published_under_its_name(root: Path) -> None:
    publish(root, root / "public")
    before = (root / "public" / "manifest.json").read_bytes()
    (root / "params.yaml").write_bytes((root / "params.yaml").read_bytes() + b"\n")
    with pytest.raises(Refused, match=r"params\.yaml is not what commit [0-9a-f]{12} holds; commit it, then publish"):
        publish(root, root / "public")
    assert (root / "public" / "manifest.json").read_bytes() == before
    commit(root, "a line")
    publish(root, root / "public")


def test_what_no_commit_holds_is_not_published(root: Path) -> None:
    shutil.rmtree(root / ".git")
    missing = (
        rf"^{re.escape(root.resolve().as_posix())} has no commit, and a published site names one; `git commit` first"
    )
    with pytest.raises(Refused, match=missing):
        publish(root, root / "public")
    git(root, "init", "-q", "-b", "main")
    with pytest.raises(Refused, match=missing):
        publish(root, root / "public")
    assert not (root / "public").exists()


def test_a_folder_that_holds_something_else_is_left_alone(root: Path) -> None:
    (root / "public").mkdir()
    (root / "public" / "notes.txt").write_bytes(b"mine\n")
    with pytest.raises(Refused, match="holds no page of a published site"):
        publish(root, root / "public")
    assert [path.name for path in (root / "public").iterdir()] == ["notes.txt"]


def test_a_study_whose_files_are_no_longer_read_is_listed_with_the_reason(root: Path) -> None:
    decisions = root / "ledger" / "decisions.jsonl"
    decisions.write_bytes(b"".join(decisions.read_bytes().splitlines(keepends=True)[:1]) + b"{}\n" * 4)
    commit(root, "broken decisions")
    build(root, named("third"), "third")
    publish(root, root / "public")
    assert "The study third" in read(root / "public" / "studies.html").text
    runs = root / "ledger" / "runs.jsonl"
    runs.write_bytes(b"nonsense\n")
    with pytest.raises(Exception, match="runs"):
        publish(root, root / "public")


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("git@github.com:team/study.git", ("github.com/team/study", "https://github.com/team/study")),
        ("ssh://git@host.example:2222/a/b.git", ("host.example/a/b", "https://host.example/a/b")),
        ("https://user:token@host.example:8443/a/b", ("host.example/a/b", "https://host.example:8443/a/b")),
        ("/home/somebody/study", ("", "")),
        ("../study", ("", "")),
        ("C:\\study", ("", "")),
        ("https://host.example:port/x", ("", "")),
        ("javascript:alert(1)", ("", "")),
        ("git://host.example/a/b/", ("host.example/a/b", "https://host.example/a/b")),
        ("http://host.example:80/a.git", ("host.example/a", "https://host.example/a")),
        ("https://user@host.example/a.git", ("host.example/a", "https://host.example/a")),
        ("https://localhost/a", ("", "")),
        ("ftp://host.example/a", ("", "")),
        ("file:///home/a", ("", "")),
        ("host.example:deep/a.git", ("host.example/deep/a", "https://host.example/deep/a")),
        ("./a:b", ("", "")),
        ("", ("", "")),
    ],
)
def test_a_remote_is_named_without_user_password_or_path_of_this_machine(
    origin: str, expected: tuple[str, str]
) -> None:
    assert name_repository(origin) == expected


def past(name: str, **changed: Any) -> Any:
    values: dict[str, Any] = {
        "name": name, "title": f"Title of {name}", "commit": "c" * 40, "seconds": 86399, "missing": None, "present": False,
        "verdicts": {}, "path": "", "leader": None,
    }  # fmt: skip
    return SimpleNamespace(**values | changed)


def test_the_index_says_what_came_of_every_study_and_where_its_site_is() -> None:
    listed = (
        past("now", present=True, verdicts={"R4": True, "R5": None}, path="12-9-4", leader="a"),
        past("old", verdicts={"R4": False}, path="3", leader="b", seconds=86400),
        past("part", missing="rung3 lacks -1 runs"),
        past("lost"),
    )
    page = studies_page(listed, {"lost": "its ledger is broken"})
    (table,) = page.tables
    assert table.values == [
        ["now", "now", "12 → 9 → 4", "a", "R4 holds; R5 not evaluable", "c" * 40, "1970-01-01"],
        ["old", "old", "3", "b", "R4 does not hold", "c" * 40, "1970-01-02"],
        ["part", "part", None, None, None, "c" * 40, "1970-01-01"],
        ["lost", None, None, None, None, "c" * 40, "1970-01-01"],
    ]
    sites = [(row.cells["site"].text, row.cells["site"].href, row.cells["site"].small) for row in table.rows]
    assert sites == [
        ("its site", "index.html", ""), ("its site", "studies/old/index.html", ""), ("its site", "studies/part/index.html", ""),
        ("none", "", "its ledger is broken"),
    ]  # fmt: skip
    assert [row.cells["site"].note for row in table.rows] == ["", "", "", "its ledger is broken"]
    came = [(row.cells["verdicts"].text, row.cells["verdicts"].mark) for row in table.rows]
    assert came == [
        ("R4 holds and R5 not evaluable", ""), ("R4 does not hold", ""), ("not whole: rung3 lacks \N{MINUS SIGN}1 runs", "muted"),
        ("no final rule", ""),
    ]  # fmt: skip
    assert [row.cells["leader"].href for row in table.rows[:2]] == ["configs/a.html", ""]
    assert [row.cells["name"].small for row in table.rows[:1]] == ["Title of now"]
    assert (page.path, page.title, table.rows[0].id) == ("studies.html", "Studies", "study.now")
