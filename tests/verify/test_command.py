"""`promotion verify` as a person and as CI call it: commits, ranges, odd checkouts, formats, exit statuses."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from stages.cli import main
from stages.domain.errors import Refused
from stages.repo.tree import WorkTree
from stages.verify import SEQUENCE
from stages.verify import verify as verify_study
from tests.support import dvclock
from tests.support.repo import PROJECT, environment
from tests.verify.forger import DECISIONS, RUNS, Forger

SCHEMA = json.loads((PROJECT / "docs" / "schemas" / "verify.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def verify(repo: Path, *words: str) -> Done:
    """`promotion verify` in this process: sixty times a second's start would be a minute."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(["verify", "--repo", str(repo), *words])
        except SystemExit as end:
            return Done(int(end.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("the command did not end")


def as_json(repo: Path, *words: str) -> dict[str, Any]:
    done = verify(repo, "--json", *words)
    assert done.returncode in (0, 1), done.stderr
    value: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(value, SCHEMA)
    return value


def statuses(report: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["status"] for check in report["checks"]}


def test_a_good_commit_exits_with_0_and_a_changed_digit_with_1(clone: Forger):
    assert verify(clone.root).returncode == 0
    clone.replace(RUNS, '"val_bpb":3', '"val_bpb":2')
    done = verify(clone.root)
    assert done.returncode == 1
    assert "V18 digests: ledger/runs.jsonl, line 1\n" in done.stdout
    assert "V22 evidence-stayed: ledger/runs.jsonl, line 1, /facts/val_bpb\n  found     2." in done.stdout
    assert "failed at V15 decisions" in done.stdout


def test_a_folder_that_is_no_study_is_not_walked(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "walk", lambda *_, **__: pytest.fail("it was walked"))
    with pytest.raises(Refused, match="holds no study"):
        verify_study(tmp_path)


def test_what_goes_while_the_workspace_is_read_is_none_of_it(tmp_path, monkeypatch):
    (tmp_path / "kept").write_bytes(b"x")
    (tmp_path / "temporary").mkdir()
    scan = os.scandir

    def scandir(path):
        if Path(path).name == "temporary":
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    tree = WorkTree(tmp_path)
    assert tree.paths() == ["kept"]
    monkeypatch.setattr(Path, "read_bytes", lambda path: (_ for _ in ()).throw(FileNotFoundError(path)))
    assert tree.read("kept") is None


def test_what_cannot_run_exits_with_2_and_says_why(tmp_path, clone: Forger):
    for words, message in (
        (("--repo", str(tmp_path / "none")), "no such folder"),
        (("--repo", str(tmp_path)), "holds no study: neither params.yaml nor locks/"),
        (("--rev", "nothing"), "'nothing' names no commit here"),
        (("--rev", "--output=x"), "expected one argument"),
        (("--rev", ""), "'' is no revision"),
        (("--range", ""), "--range '': expected A..B, two commits"),
        (("--against", ""), "'' is no revision"),
        (("--repo", str(clone.root / "stages")), "name it with --repo: `promotion verify --repo ..`"),
        (("--range", "main"), "--range 'main': expected A..B, two commits"),
        (("--require", "V99"), "--require v99: no such check; they are V01 to V32, or their names"),
        (("--signers", str(tmp_path / "none")), "holds a line `NAME KEYTYPE KEY`"),
    ):
        done = verify(clone.root, *words)
        assert done.returncode == 2, words
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_the_json_report_follows_its_schema_and_names_every_check(clone: Forger):
    report = as_json(clone.root)
    assert list(statuses(report)) == [check.name for check in SEQUENCE]
    assert report["verdict"] == "verified"
    assert statuses(report)["replay"] == "skipped"
    clone.write(RUNS, clone.read(RUNS)[:-1])
    report = as_json(clone.root)
    problem = next(check for check in report["checks"] if check["id"] == "V01")["problems"][0]
    assert problem["file"] == RUNS
    assert report["verdict"] == "failed"


def test_the_same_commit_gives_the_same_bytes(clone: Forger):
    one, two = (verify(clone.root, "--json", "--rev", "HEAD").stdout for _ in range(2))
    assert one == two
    assert str(clone.root) not in one


def test_junit_shows_a_failure_a_check(clone: Forger, tmp_path):
    clone.delete("locks/gate3.yaml")
    assert verify(clone.root, "--junit", str(tmp_path / "v.xml")).returncode == 1
    suite = ElementTree.parse(tmp_path / "v.xml").getroot()
    assert int(suite.get("tests", "0")) == len(SEQUENCE)
    bad = [case.get("name") for case in suite if case.find("failure") is not None]
    assert "V09 rule-of-record" in bad
    assert len(bad) == int(suite.get("failures", "0"))


def test_a_pull_requests_comment_shows_changed_decisions_and_cannot_be_broken_out_of(clone: Forger, tmp_path):
    clone.decision(2, lambda value: value.update(promoted=["d1-b", "<b>|x|</b> @team"]))
    clone.commit()
    comment = tmp_path / "comment.md"
    assert verify(clone.root, "--range", "HEAD~1..HEAD", "--markdown", str(comment)).returncode == 1
    text = comment.read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| `gate2` |"))
    assert r"promotes d1-b, <b>\x7cx\x7c</b> @team`" in row
    assert "❌" in text


def test_required_checks_may_not_be_skipped(clone: Forger):
    done = verify(clone.root, "--require", "lock-signatures,v20")
    assert done.returncode == 1
    assert "failed at V24 lock-signatures" in done.stdout


def test_a_commit_is_verified_and_nothing_of_the_workspace(clone: Forger):
    clone.write(RUNS, b"rubbish")
    assert verify(clone.root).returncode == 1
    assert verify(clone.root, "--rev", "HEAD").returncode == 0


def test_history_tells_what_each_commit_changed_and_whether_it_verifies(clone: Forger):
    clone.run(lambda run: run["facts"].update(val_bpb=0.5))
    clone.commit("Cheat")
    report = as_json(clone.root, "--history")
    reported = [(step["verdict"], step["changes"]) for step in report["history"]]
    assert [verdict for verdict, _ in reported] == ["undecided", "undecided", "verified", "failed"]
    assert reported[1][1][0].startswith("gate1 frozen (")
    assert reported[2][1][0] == "evidence: 28 lines new, 0 gone"
    assert reported[3][1] == ["evidence: 1 lines new, 1 gone"]
    done = verify(clone.root, "--history")
    assert done.returncode == 1
    assert "failed: V15 decisions" in done.stdout


def test_a_range_verifies_the_commits_that_could_change_a_verdict_and_lists_changed_decisions(clone: Forger):
    clone.write("notes.txt", b"nothing to do with it\n")
    clone.commit("Notes")
    report = as_json(clone.root, "--range", "HEAD~2..HEAD")
    assert [step["verdict"] for step in report["history"]] == ["verified", "verified"]
    assert [one["gate"] for one in report["decisions_changed"]] == ["gate1", "gate2", "gate3"]
    assert all(one["before"] is None for one in report["decisions_changed"])


def cheat_and_revert(clone: Forger) -> str:
    """A commit with a changed score, and one that takes it back; the first one's id."""
    good = clone.read(RUNS)
    clone.run(lambda run: run["facts"].update(val_bpb=0.5))
    bad = clone.commit("Cheat")
    clone.write(RUNS, good)
    clone.commit("Never mind")
    return bad


def test_a_bad_commit_in_the_middle_of_a_range_fails_it_in_every_format(clone: Forger, tmp_path):
    bad = cheat_and_revert(clone)
    words = ("--range", "HEAD~2..HEAD", "--junit", str(tmp_path / "v.xml"), "--markdown", str(tmp_path / "v.md"))
    report = as_json(clone.root, *words)
    assert verify(clone.root, *words).returncode == 1
    assert (report["verdict"], report["commit"]) == ("failed", bad)
    suites = ElementTree.parse(tmp_path / "v.xml").getroot()
    assert [int(suite.get("failures", "0")) > 0 for suite in suites] == [True, False]
    text = (tmp_path / "v.md").read_text(encoding="utf-8")
    assert f"1 of 2 commits failed: {bad[:12]}." in text
    assert text.startswith(f"### ❌ commit {bad[:12]}: failed at V15 decisions")
    assert verify(clone.root, "--rev", "HEAD").returncode == 0


def test_a_range_that_ends_without_a_study_fails_and_one_that_begins_without_one_does_not(clone: Forger):
    clone.git("checkout", "-q", "--orphan", "older")
    clone.git("rm", "-q", "-r", "-f", ".")
    clone.write("README", b"before the study\n")
    root = clone.commit("Before")
    clone.git("checkout", "origin/main~1", "--", ".")
    clone.commit("The rules")
    clone.git("checkout", "origin/main", "--", ".")
    clone.commit("The evidence")
    assert verify(clone.root, "--range", f"{root}..HEAD").returncode == 0
    clone.git("rm", "-q", "-r", "params.yaml", "locks")
    clone.commit("No study any more")
    done = verify(clone.root, "--range", f"{root}..HEAD")
    assert done.returncode == 1
    assert "failed: V02 study" in done.stdout
    assert verify(clone.root, "--history").returncode == 1


def test_a_pull_request_is_compared_with_where_it_began_and_not_with_what_its_base_became(clone: Forger, tmp_path):
    clone.git("checkout", "-q", "-B", "topic", "origin/main")
    clone.write("notes.txt", b"nothing to do with it\n")
    clone.commit("Notes")
    clone.git("checkout", "-q", "-B", "main", "origin/main")
    clone.decision(2, lambda value: value.update(promoted=["d1-b"]))
    clone.commit("The base moves on")
    report = as_json(clone.root, "--range", "main..topic", "--markdown", str(tmp_path / "v.md"))
    clone.git("branch", "-q", "-D", "topic")
    assert report["decisions_changed"] == []
    assert "No decision changed." in (tmp_path / "v.md").read_text(encoding="utf-8")


def test_decisions_that_changed_are_shown_in_the_terminal_too(clone: Forger):
    assert "no decision changed since HEAD" in verify(clone.root, "--against", "HEAD").stdout
    shown = verify(clone.root, "--against", "HEAD~1").stdout
    assert "decisions that changed since HEAD~1" in shown
    assert "not decided" in shown


def test_history_names_whoever_is_shorter_to_name_and_later_only_what_is_new(clone: Forger):
    decisions = clone.read(DECISIONS)
    clone.decision(2, lambda value: value.update(promoted=["d1-a", "d1-b"]))
    clone.commit("Cheat")
    clone.write(DECISIONS, decisions)
    clone.commit("Never mind")
    reported = [step["changes"] for step in as_json(clone.root, "--history")["history"]]
    assert reported[0] == []
    assert [line for line in reported[2] if line.startswith("gate")] == [
        "gate1 promotes 3 of 3",
        "gate2 promotes 2 of 3: stops d1-b",
        "gate3 R2 fails, R3 fails, R4 cannot be evaluated",
    ]
    assert reported[3] == ["gate2 now promotes d1-b; no longer promotes d2-a"]
    assert reported[4] == ["gate2 now promotes d2-a; no longer promotes d1-b"]


def test_a_pre_push_hook_verifies_what_goes_out_and_not_the_workspace(clone: Forger, monkeypatch):
    cheat_and_revert(clone)
    clone.write(RUNS, b"rubbish")
    for start, end, status in (
        ("HEAD~2", "HEAD", 1),
        ("HEAD~1", "HEAD", 0),
        ("", "HEAD~1", 1),
        ("", "HEAD", 1),  # nothing of it is there yet: every commit goes out, the one that was taken back as well
        ("", "", 1),
    ):
        monkeypatch.setenv("PRE_COMMIT_FROM_REF", start)
        monkeypatch.setenv("PRE_COMMIT_TO_REF", end)
        assert verify(clone.root, "--pushed").returncode == status, (start, end)


def test_checks_are_required_by_id_or_by_name(clone: Forger):
    for asked in ("V24", "v24", "lock-signatures", " Lock-Signatures ,V01"):
        assert verify(clone.root, "--require", asked).returncode == 1, asked
    assert verify(clone.root, "--require", "rule-first,rule-stayed,evidence-stayed").returncode == 0


def test_a_shallow_clone_says_what_depth_it_needs_and_a_deeper_one_verifies(clone: Forger, tmp_path):
    shallow = Forger(tmp_path / "shallow")
    clone.git("clone", "-q", "--depth", "1", f"file://{clone.root}", str(shallow.root))
    checks = as_json(shallow.root)["checks"]
    for name in ("one-corpus", "rule-first", "rule-stayed", "evidence-stayed"):
        check = next(one for one in checks if one["name"] == name)
        assert (check["status"], check["enable"]) == ("skipped", "git fetch --unshallow")
        assert "a shallow clone: evidence stands in its oldest commit" in check["reason"]
    assert verify(shallow.root, "--require", "rule-first").returncode == 1
    shallow.git("fetch", "-q", "--unshallow")
    assert statuses(as_json(shallow.root))["rule-first"] == "passed"


def test_what_a_deeper_clone_hides_is_not_passed_although_its_oldest_commit_holds_no_evidence(clone: Forger, tmp_path):
    shallow = Forger(tmp_path / "shallow")
    clone.git("clone", "-q", "--depth", "2", f"file://{clone.root}", str(shallow.root))
    for root in (shallow, _planted(clone, tmp_path / "planted")):
        found = statuses(as_json(root.root))
        hidden = ("one-corpus", "rule-first", "rule-stayed", "evidence-stayed")
        assert [found[name] for name in hidden] == ["skipped"] * 4
        assert verify(root.root).returncode == 0
        for name in ("one-corpus", "rule-first"):
            assert verify(root.root, "--require", name).returncode == 1


def test_a_text_declared_otherwise_fails_and_is_not_passed_where_its_freeze_is_hidden(clone: Forger):
    clone.everywhere(lambda value: value["data"]["source"].update(version="9"))
    clone.judge()
    clone.commit("Another text")
    assert statuses(as_json(clone.root))["one-corpus"] == "failed"
    clone.write("notes.txt", b"more\n")
    clone.commit("More")
    path = clone.path(".git/shallow")
    try:
        clone.write(".git/shallow", f"{clone.git('rev-parse', 'HEAD~1')}\n".encode())
        assert statuses(as_json(clone.root))["one-corpus"] == "skipped"
        assert verify(clone.root, "--require", "one-corpus").returncode == 1
    finally:
        path.unlink()


def _planted(clone: Forger, root: Path) -> Forger:
    """A whole clone whose .git says that it is cut off at the commit that froze the rules."""
    clone.git("clone", "-q", str(clone.root), str(root))
    planted = Forger(root)
    planted.write(".git/shallow", f"{planted.git('rev-parse', 'HEAD~1')}\n".encode())
    return planted


def test_a_bare_repository_and_a_worktree_verify(clone: Forger, tmp_path):
    clone.git("clone", "-q", "--bare", str(clone.root), str(tmp_path / "bare.git"))
    report = as_json(tmp_path / "bare.git")
    assert (report["verdict"], report["commit"]) == ("verified", clone.git("rev-parse", "HEAD"))
    clone.git("worktree", "add", "-q", str(tmp_path / "tree"), "HEAD")
    assert as_json(tmp_path / "tree")["verdict"] == "verified"
    clone.git("worktree", "remove", "--force", str(tmp_path / "tree"))


def test_a_study_in_a_folder_of_a_larger_repository_verifies(clone: Forger, tmp_path):
    whole = Forger(tmp_path / "whole")
    clone.git("clone", "-q", str(clone.root), str(whole.root))
    whole.git("checkout", "-q", "--orphan", "moved")
    (whole.root / "studies-of-ours").mkdir()
    for step in ("origin/main~1", "origin/main"):
        whole.git("rm", "-q", "-r", "-f", "--ignore-unmatch", ".")
        whole.git("read-tree", "--prefix=study/", "-u", step)
        whole.git("commit", "-q", "-m", step)
    report = as_json(whole.root / "study", "--rev", "HEAD")
    assert (report["verdict"], statuses(report)["rule-first"]) == ("verified", "passed")


def test_outside_git_the_history_is_skipped_and_the_rest_is_checked(clone: Forger, tmp_path):
    import shutil

    shutil.copytree(clone.root, tmp_path / "plain", ignore=shutil.ignore_patterns(".git"))
    report = as_json(tmp_path / "plain")
    found = statuses(report)
    assert (report["verdict"], found["decisions"], found["rule-first"]) == ("verified", "passed", "skipped")


def test_uncommitted_rules_beside_uncommitted_evidence_do_not_verify(clone: Forger):
    clone.git("checkout", "-q", "--orphan", "rewritten")
    clone.git("rm", "-q", "--cached", "-r", ".")
    report = as_json(clone.root)
    assert statuses(report)["rule-first"] == "failed"


def test_before_any_evidence_there_is_nothing_to_fail(clone: Forger):
    clone.git("checkout", "-q", "origin/main~1")
    report = as_json(clone.root)
    found = statuses(report)
    assert report["verdict"] == "undecided"
    assert "the workspace: nothing decided yet (" in verify(clone.root).stdout
    assert [found[one] for one in ("lock-digests", "lock-chain", "locks-match", "one-runner")] == ["passed"] * 4
    assert {found[one] for one in ("ledger-lines", "ledger-complete", "decisions")} == {"skipped"}
    assert verify(clone.root, "--require", "decisions,rule-first,rule-stayed").returncode == 0


def test_neither_torch_nor_dvc_is_imported(clone: Forger):
    probe = (
        "import sys\nfrom stages.cli import main\ntry:\n main(sys.argv[1:])\nexcept SystemExit as e: assert not e.code\n"
        "assert not {'torch', 'dvc', 'pyarrow', 'tiktoken', 'report'} & sys.modules.keys()"
    )
    words = [sys.executable, "-c", probe, "verify", "--repo", str(clone.root), "--depth", "git"]
    done = subprocess.run(words, cwd=PROJECT, env=environment(), capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("configs", [12, 40])
def test_a_synthetic_study_verifies_whose_locks_no_dvc_wrote(configs, tmp_path):
    dvclock.build(tmp_path / "study", configs)
    assert as_json(tmp_path / "study", "--rev", "HEAD")["verdict"] == "verified"


@pytest.mark.parametrize(
    ("data", "broken"),
    [
        (b"", True),
        (b'{"/x": {"read', True),
        (b"[]", True),
        (b"\xff", True),
        (b"[" * 9999, True),
        (b"{}", False),
        (None, False),
    ],
)
def test_an_rwlock_that_a_killed_dvc_left_is_named_with_its_remedy_and_not_touched(data, broken, clone: Forger):
    path = clone.path(".dvc/tmp/rwlock")
    if data is not None:
        clone.write(".dvc/tmp/rwlock", data)
    done = verify(clone.root)
    assert done.returncode == 0
    assert ("`promotion heal` removes it" in done.stderr, ".dvc/tmp/rwlock" in done.stderr) == (broken, broken)
    assert (path.read_bytes() if path.is_file() else None) == data
    assert "rwlock" not in verify(clone.root, "--rev", "HEAD").stderr
    path.unlink(missing_ok=True)
