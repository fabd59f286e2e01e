"""`promotion site --compare`: what changed between two commits, from git alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace as replace_
from pathlib import Path
from typing import Any

import pytest

from report.compare import MOST_LISTED, as_html, as_text, main, sections
from stages.domain.errors import Invalid
from stages.repo.objects import GitRefused
from stages.repo.tree import open_tree
from stages.verify import Changes, compare_commits, compare_snapshots, read_snapshot
from tests.report.conftest import EVIL, make_study
from tests.report.pages import Seen
from tests.support import repo as repos
from tests.support import synthetic

ROOT = Path(__file__).parents[2]


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


def replace(root: Path, study: Path) -> None:
    """Take over what git holds of a study."""
    for name in ("params.yaml", "locks", "ledger"):
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
        source = study / name
        # Without their times: git takes a file of the same size and an old time for the one that it knows.
        shutil.copytree(source, path, copy_function=shutil.copyfile) if source.is_dir() else shutil.copyfile(
            source, path
        )


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two commits: at the second, gate 3 promotes five instead of three, one seed of rung 4 differs, the title too."""
    before = make_study(tmp_path_factory.mktemp("before") / "study")
    value = synthetic.params()
    value["gates"]["gate3"]["R7"]["k"] = 5
    value["rungs"]["rung4"]["seeds"] = [4000, 4777]
    value["study"]["title"] = EVIL[:200]
    after = make_study(tmp_path_factory.mktemp("after") / "study", value)
    root = tmp_path_factory.mktemp("history")
    git(root, "init", "-q", "-b", "main")
    for message, study in (("before", before), ("after", after)):
        replace(root, study)
        git(root, "add", "-A")
        git(root, "commit", "-q", "-m", message)
    return root


def test_flipped_decisions_changed_rules_and_changed_evidence_are_told(history: Path) -> None:
    found = compare_commits(history, "HEAD~1", "HEAD")
    was = [json.loads(line) for line in blob(history, "HEAD~1", "ledger/decisions.jsonl").splitlines()]
    now = [json.loads(line) for line in blob(history, "HEAD", "ledger/decisions.jsonl").splitlines()]
    added = sorted({*now[2]["promoted"]} - {*was[2]["promoted"]})
    assert added
    assert [f"Gate 3: {name} is now promoted" for name in added] == [
        line for line in found.decisions if line.startswith("Gate 3")
    ]
    assert "Gate 3: rules.R7.k was 3, is 5" in found.rules
    assert "Gate 4: seeds was [4000, 4001], is [4000, 4777]" in found.rules
    assert "rungs.rung4.seeds: was [4000, 4001], is [4000, 4777]" in found.study
    gone = [line for line in found.evidence if "/4001: taken away, finished with val_bpb" in line]
    come = [line for line in found.evidence if "/4777: added, finished with val_bpb" in line]
    assert gone
    assert come
    assert any(line.startswith("rung3/") and "before" in line for line in found.evidence)  # another lock judges them


def blob(root: Path, rev: str, path: str) -> str:
    done = subprocess.run(["git", "-C", str(root), "show", f"{rev}:{path}"], capture_output=True, check=True)
    return done.stdout.decode("utf-8")


def test_a_commit_and_itself_differ_in_nothing(history: Path) -> None:
    text = as_text(compare_commits(history, "HEAD", "HEAD"))
    assert "Decisions (0)\n  No decision flipped." in text
    assert "Evidence (0)\n  No record changed." in text


def test_the_workspace_is_not_looked_at(history: Path) -> None:
    path = history / "ledger" / "runs.jsonl"
    kept = path.read_bytes()
    path.write_bytes(b"edited")
    try:
        assert compare_commits(history, "HEAD", "HEAD").evidence == []
    finally:
        path.write_bytes(kept)


def test_the_page_holds_the_same_lines_and_runs_nothing(history: Path) -> None:
    found = compare_commits(history, "HEAD~1", "HEAD")
    seen = Seen()
    seen.feed(as_html(found).decode("utf-8"))
    for section in sections(found):
        for line in (*section.summary, *section.lines, section.more):
            assert line in seen.text
    assert not seen.inline_scripts
    assert not seen.sources


@pytest.mark.parametrize(
    ("rev", "told"), [("nowhere", "'nowhere' names no commit here"), ("--output=x", "is no revision")]
)
def test_a_revision_that_is_none_is_refused(history: Path, rev: str, told: str) -> None:
    with pytest.raises(GitRefused, match=told):
        compare_commits(history, rev, "HEAD")


def test_a_commit_without_a_study_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "empty")
    with pytest.raises(Invalid, match=r"params\.yaml of commit .* is missing"):
        compare_commits(tmp_path, "HEAD", "HEAD")


def test_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GitRefused, match="no git repository"):
        compare_commits(tmp_path, "HEAD", "HEAD")


def test_the_command_prints_the_changes_and_writes_the_page(
    history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(history)
    monkeypatch.setattr(sys, "argv", ["compare", "HEAD~1", "--html", str(tmp_path / "changes.html")])
    main()
    reported = capsys.readouterr().out
    assert "Gate 3: rules.R7.k was 3, is 5" in reported
    assert reported.endswith(f"\nwrote {(tmp_path / 'changes.html').as_posix()}\n")
    assert (tmp_path / "changes.html").is_file()


def test_evidence_is_counted_by_rung_and_status_above_a_list_that_is_bounded(history: Path) -> None:
    found = compare_commits(history, "HEAD~1", "HEAD")
    assert len(found.evidence) > MOST_LISTED
    assert any(
        re.fullmatch(r"Rung 3: 46 finished with the same score, otherwise changed(, \d+ stopped.*)?", t)
        for t in found.totals
    )
    assert any("finished added" in total and "finished taken away" in total for total in found.totals)
    text = as_text(found)
    listed = text.split(f"Evidence ({len(found.evidence)})\n")[1].split("\n\n")[0].splitlines()
    assert len(listed) == len(found.totals) + MOST_LISTED + 1
    assert listed[-1] == f"  and {len(found.evidence) - MOST_LISTED} more"


def test_a_gate_that_only_one_commit_decided_says_whom_it_promoted_or_who_leads(history: Path) -> None:
    """The first commit against one without decisions, in both directions."""
    with repos.reading_git(history) as git:
        one = read_snapshot(open_tree(history, git, git.resolve("HEAD~1")))
    none = replace_(one, decisions={})
    promoted = ", ".join(one.decisions["gate4"].promoted[:-1])
    found = compare_snapshots(none, one).decisions
    assert any(line.startswith(f"Gate 4: decided, promoted {promoted}") for line in found)
    assert "Gate 5: decided, d8-c007 leads" in found
    assert "Gate 5: no longer decided; it was decided, d8-c007 leads" in compare_snapshots(one, none).decisions


def changed(many: int, **lines: list[str]) -> Changes:
    values: dict[str, Any] = {"decisions": [], "rules": [], "study": []} | lines
    return Changes(
        before="a" * 12,
        after="b" * 12,
        evidence=[f"run {n}" for n in range(many)],
        totals=["Rung 1: many"] if many else [],
        **values,
    )


@pytest.mark.parametrize(
    ("many", "listed", "more"),
    [(0, 0, ""), (40, 40, ""), (41, 40, "and 1 more"), (1040, 40, "and 1\N{NARROW NO-BREAK SPACE}000 more")],
)
def test_forty_lines_of_evidence_are_listed_and_the_rest_is_counted(many: int, listed: int, more: str) -> None:
    section = sections(changed(many))[2]
    assert (section.heading, section.count, len(section.lines), section.more) == ("Evidence", many, listed, more)


def test_every_kind_of_change_has_its_lines_or_says_that_there_is_none() -> None:
    assert as_text(changed(0)) == (
        f"From {'a' * 12} to {'b' * 12}\n\nDecisions (0)\n  No decision flipped.\n\nRules (0)\n  No lock changed.\n\nEvidence (0)\n"
        "  No record changed.\n\nStudy (0)\n  params.yaml says the same outside its gates.\n"
    )
    reported = as_text(changed(41, decisions=["Gate 1: x"], rules=["y"], study=["z", "w"]))
    rows = "".join(f"  run {n}\n" for n in range(40))
    assert reported == (
        f"From {'a' * 12} to {'b' * 12}\n\nDecisions (1)\n  Gate 1: x\n\nRules (1)\n  y\n\nEvidence (41)\n  Rung 1: many\n{rows}  and 1 more\n\n"
        "Study (2)\n  z\n  w\n"
    )


@pytest.mark.parametrize(
    ("words", "after", "html"),
    [(["v1"], "HEAD", False), (["v1", "v2"], "v2", False), (["v1", "--html", "c.html"], "HEAD", True)],
)
def test_the_command_compares_with_head_and_writes_a_page_where_asked(
    words: list[str],
    after: str,
    html: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr("report.compare.compare_commits", lambda *told: asked.append(told) or changed(0))
    monkeypatch.setattr(sys, "argv", ["compare", *words])
    monkeypatch.chdir(tmp_path)
    main()
    assert asked == [(Path(), "v1", after)]
    assert capsys.readouterr().out == as_text(changed(0)) + ("\nwrote c.html\n" if html else "")
    assert Path("c.html").is_file() is html
    if html:
        assert f"<title>Changes from {'a' * 12} to {'b' * 12}</title>" in Path("c.html").read_text(encoding="utf-8")
