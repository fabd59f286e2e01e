"""Which commits a verification of a history, a range or a push looks at, and what it hands to the checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages import verify as calls
from stages.domain.errors import Refused
from stages.repo.objects import GitAbsent
from stages.verify import SEQUENCE, CommitStep, Options, Report
from stages.verify.check import Case, Problem, Skip
from stages.verify.locks import Locks
from stages.verify.result import CheckResult
from stages.verify.signatures import BadSigners
from tests.verify.forger import Forger

ZEROS = "0" * 40
PARAMS = "params.yaml"


@pytest.fixture
def repo(tmp_path: Path) -> Forger:
    """An empty repository."""
    (tmp_path / "repo").mkdir()
    made = Forger(tmp_path / "repo")
    made.git("init", "-q", "-b", "main")
    return made


@pytest.fixture(autouse=True)
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commits that would be verified, in place of their verifications."""
    seen: list[list[str]] = []

    def note(root: Path, git: Any, commits: list[str], options: Options) -> list[str]:
        seen.append(list(commits))
        return list(commits)

    monkeypatch.setattr(calls, "_verify_commits", note)
    return seen


def add(f: Forger, path: str, text: str = "x") -> str:
    f.write(path, text.encode())
    return f.commit(f"{path} {text}")


def push(f: Forger, old: str, new: str) -> list[Any]:
    return calls.verify_push(f.root, old, new)


def unnamed(f: Forger, *paths: str) -> list[str]:
    """Commits upon HEAD that no reference names, as a hook sees those of a push; `-PATH` takes a file away."""
    head = f.git("rev-parse", "HEAD")
    commits = []
    for path in paths:
        if path.startswith("-"):
            f.delete(path[1:])
            commits.append(f.commit("gone"))
        else:
            commits.append(add(f, path, f"{len(commits)} of {head}"))
    f.git("reset", "-q", "--hard", head)
    return commits


def test_a_push_to_nothing_and_of_what_is_no_commit_brings_none(repo):
    head = add(repo, PARAMS)
    assert push(repo, head, ZEROS) == []
    assert push(repo, ZEROS, "d" * 40) == []
    assert push(repo, ZEROS, repo.git("rev-parse", f"HEAD:{PARAMS}")) == []


def test_of_a_push_the_commits_are_verified_that_no_reference_has(repo):
    head = add(repo, PARAMS)
    new = unnamed(repo, "stages/a.py", "docs/b.md", "ledger/c", "docs/d.md")
    for old in (ZEROS, head):
        assert push(repo, old, new[3]) == [new[0], new[2], new[3]], "the last one whatever it touches"
    assert push(repo, head, new[0]) == [new[0]]
    repo.git("branch", "kept", new[0])
    assert push(repo, ZEROS, new[3]) == [new[2], new[3]]
    assert push(repo, head, head) == [head]


def test_whoever_takes_the_study_away_is_verified_all_the_same(repo):
    add(repo, "README.md")
    head = add(repo, PARAMS)
    new = unnamed(repo, f"-{PARAMS}", "docs/x.md")
    for old in (ZEROS, head):
        assert push(repo, old, new[1]) == new


@pytest.mark.parametrize("known", [True, False])
def test_commits_before_the_first_study_are_none_of_this_programs(known, repo):
    base = add(repo, "README.md")
    new = unnamed(repo, "notes.txt", PARAMS, "stages/a.py")
    assert push(repo, base if known else ZEROS, new[2]) == new[1:]
    assert push(repo, base if known else ZEROS, new[0]) == []


def test_a_first_push_into_a_repository_without_commits_is_verified_from_its_first_study(repo):
    commits = [add(repo, "README.md"), add(repo, PARAMS), add(repo, "locks/x")]
    repo.git("checkout", "-q", "--detach")
    repo.git("branch", "-q", "-D", "main")
    repo.git("symbolic-ref", "HEAD", "refs/heads/main")
    assert push(repo, ZEROS, commits[2]) == commits[1:]
    assert push(repo, ZEROS, commits[0]) == []


def test_a_branch_without_a_common_ancestor_is_verified_from_its_first_study(repo):
    head = add(repo, PARAMS)
    repo.git("checkout", "-q", "--orphan", "other")
    repo.git("rm", "-q", "-r", "-f", ".")
    other = [add(repo, "README.md"), add(repo, PARAMS, "y")]
    repo.git("checkout", "-q", "main")
    repo.git("branch", "-q", "-D", "other")
    for old in (ZEROS, head):
        assert push(repo, old, other[1]) == other[1:]


def test_an_old_commit_that_decides_what_is_compared_need_not_be_that_of_head(repo):
    """The branch that is pushed to has no study yet, and that of HEAD has."""
    base = add(repo, "README.md")
    add(repo, PARAMS)
    repo.git("checkout", "-q", "-b", "topic", base)
    new = unnamed(repo, "notes.txt")
    assert push(repo, base, new[0]) == []
    repo.git("checkout", "-q", "main")
    new = unnamed(repo, f"-{PARAMS}")
    assert push(repo, base, new[0]) == []
    assert push(repo, ZEROS, new[0]) == new


def test_a_range_is_verified_with_its_last_commit_whatever_that_touches(repo):
    add(repo, "README.md")
    base = add(repo, PARAMS)
    new = [add(repo, "docs/a.md"), add(repo, "locks/x"), add(repo, "docs/b.md")]
    assert calls.verify_range(repo.root, f"{base}..HEAD") == new[1:]
    assert calls.verify_range(repo.root, f"{base}..{new[1]}") == [new[1]]
    assert calls.verify_range(repo.root, f"{new[1]}..HEAD") == [new[2]]
    repo.delete(PARAMS)
    gone = repo.commit("gone")
    assert calls.verify_range(repo.root, f"{base}..HEAD") == [new[1], gone]


def test_a_range_whose_base_has_no_study_begins_with_the_first_one(repo):
    base = add(repo, "README.md")
    commits = [add(repo, "notes.txt"), add(repo, PARAMS), add(repo, "docs/b.md")]
    for start in (base, ZEROS, ""):
        assert calls.verify_range(repo.root, f"{start}..HEAD") == commits[1:]
    assert calls.verify_range(repo.root, f"{ZEROS}..HEAD", known=[commits[1]]) == commits[2:]
    with pytest.raises(Refused, match=r"no commit here holds a study: none has params\.yaml"):
        calls.verify_range(repo.root, f"{base}..{commits[0]}")


def test_a_history_is_that_of_rules_and_evidence_from_the_first_study_on(repo):
    add(repo, "README.md")
    commits = [
        add(repo, PARAMS),
        add(repo, "docs/a.md"),
        add(repo, "stages/ladder/rung1/dvc.lock"),
        add(repo, "stages/x"),
    ]
    assert calls.verify_history(repo.root) == [commits[0], commits[2]]


@pytest.fixture
def shallow(repo: Forger, tmp_path: Path) -> Forger:
    """A clone that is cut off at its last commit."""
    for path in (PARAMS, "locks/a", "locks/b"):
        add(repo, path)
    repo.git("clone", "-q", "--depth", "1", repo.root.as_uri(), str(tmp_path / "shallow"))
    return Forger(tmp_path / "shallow")


def test_what_a_shallow_clone_hides_is_told_by_what_was_asked_for(shallow):
    head = shallow.git("rev-parse", "HEAD")
    shallow.git("checkout", "-q", "--detach")
    for branch in ("refs/heads/main", "refs/remotes/origin/main", "refs/remotes/origin/HEAD"):
        shallow.git("update-ref", "--no-deref", "-d", branch)
    cut = f"this shallow clone is cut off at commit {head[:12]}, and what came before is hidden"
    for call, what in (
        (lambda: calls.verify_history(shallow.root), "--history"),
        (lambda: calls.verify_range(shallow.root, "..HEAD"), "--range ..HEAD"),
    ):
        with pytest.raises(GitAbsent, match=f"^{what}: {cut}"):
            call()
    (new,) = unnamed(shallow, "locks/c")
    shallow.git("checkout", "-q", "--orphan", "empty")
    with pytest.raises(GitAbsent, match=f"^the push of {new[:12]}: {cut}"):
        push(shallow, ZEROS, new)


def test_what_is_to_be_compared_is_the_base_of_a_range_or_of_what_is_known(repo):
    first, last = add(repo, PARAMS), add(repo, "locks/x")
    assert calls.range_base(repo.root, f"{first}..HEAD") == first
    assert calls.range_base(repo.root, f"{ZEROS}..{last}", [first]) == first
    assert calls.range_base(repo.root, f"{ZEROS}..{last}") is None


# One commit, or the workspace


@pytest.fixture
def trees(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What `_verify_tree` was called with."""
    seen: list[tuple[Any, ...]] = []

    def note(root: Path, git: Any, tree: Any, commit: str | None, options: Options) -> str:
        seen.append((root, git is not None, tree.title, commit, options))
        return "the report"

    monkeypatch.setattr(calls, "_verify_tree", note)
    return seen


def test_the_workspace_is_verified_or_a_commit_and_of_a_repository_without_a_workspace_its_head(repo, tmp_path, trees):
    head = add(repo, PARAMS)
    assert calls.verify(repo.root) == "the report"
    calls.verify(repo.root, "main", Options("git"))
    repo.git("clone", "-q", "--bare", str(repo.root), str(tmp_path / "bare"))
    calls.verify(tmp_path / "bare")
    assert trees == [
        (repo.root, True, "the workspace", None, calls.DEFAULTS),
        (repo.root, True, f"commit {head[:12]}", head, Options("git")),
        (tmp_path / "bare", True, f"commit {head[:12]}", head, calls.DEFAULTS),
    ]


def test_a_folder_without_git_is_verified_and_no_commit_of_it(tmp_path, trees):
    (tmp_path / PARAMS).write_bytes(b"x")
    calls.verify(tmp_path)
    assert trees == [(tmp_path, False, "the workspace", None, calls.DEFAULTS)]
    with pytest.raises(Refused) as refused:
        calls.verify(tmp_path, "HEAD")
    reason = "this is not a git repository; a commit can only be read with both"
    assert str(refused.value) == f"{tmp_path.as_posix()}: {reason}"
    for call in (
        lambda: calls.verify_history(tmp_path),
        lambda: calls.verify_range(tmp_path, "a..b"),
        lambda: calls.verify_push(tmp_path, ZEROS, "HEAD"),
        lambda: calls.range_base(tmp_path, "a..b"),
        lambda: calls.decisions_changed_since(tmp_path, "HEAD"),
    ):
        with pytest.raises(Refused, match="a commit can only be read with both"):
            call()


def test_a_tree_with_rules_or_locks_holds_a_study_and_another_names_where_one_is(tmp_path, trees):
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "gate1.yaml").write_bytes(b"x")
    calls.verify(tmp_path)
    assert len(trees) == 1
    folder = tmp_path / "study" / "a" / "b"
    folder.mkdir(parents=True)
    text = "neither params.yaml nor locks/; go to the root of one, or name it with --repo"
    with pytest.raises(Refused) as refused:
        calls.verify(folder)
    assert str(refused.value) == f"the workspace of {folder.as_posix()} holds no study: {text}"
    (tmp_path / "study" / PARAMS).write_bytes(b"x")
    with pytest.raises(Refused) as refused:
        calls.verify(folder)
    assert str(refused.value).endswith(f"{text}: `promotion verify --repo ../..`")
    assert len(trees) == 1


def test_a_folder_or_a_file_of_signers_that_is_none_is_refused_first(tmp_path, trees):
    with pytest.raises(Refused) as refused:
        calls.verify(tmp_path / "none")
    assert str(refused.value) == f"{tmp_path / 'none'}: no such folder; name the study with --repo"
    (tmp_path / PARAMS).write_bytes(b"x")
    with pytest.raises(BadSigners, match="no such file"):
        calls.verify(tmp_path, options=Options(signers=tmp_path / "allowed"))
    assert trees == []


def test_the_reader_of_git_ends_with_the_call_whatever_happens(repo, monkeypatch):
    closed: list[str] = []
    git = SimpleNamespace(close=lambda: closed.append("closed"))
    monkeypatch.setattr(calls, "open_git", lambda root: git)
    with pytest.raises(AttributeError):
        calls.verify_history(repo.root)
    assert closed == ["closed"]


@pytest.fixture
def case_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Case]]:
    """The case that the checks were made with."""
    cases: list[Case] = []
    result = CheckResult(SEQUENCE[0], "passed")
    monkeypatch.setattr(calls, "run_checks", lambda case: (cases.append(case), (result,))[1])
    yield cases


@pytest.mark.parametrize(
    ("asked", "records", "depth"),
    [
        (None, False, "git"),
        (None, True, "artifacts"),
        ("git", True, "git"),
        ("artifacts", False, "artifacts"),
        ("replay", True, "replay"),
    ],
)
def test_the_depth_is_the_one_that_is_asked_for_or_what_lies_here(asked, records, depth, tmp_path, case_of):
    (tmp_path / PARAMS).write_bytes(b"x")
    if records:
        (tmp_path / "artifacts" / "records").mkdir(parents=True)
    report = calls.verify(tmp_path, options=Options(asked, None, frozenset({"V24"})))
    assert report == Report("the workspace", None, depth, (CheckResult(SEQUENCE[0], "passed"),), frozenset({"V24"}))
    (case,) = case_of
    assert (case.root, case.git, case.commit) == (tmp_path, None, None)
    assert case.options == Options(depth, None, frozenset({"V24"}))


def test_a_workspace_from_which_a_sparse_checkout_leaves_files_out_is_not_verified(repo, case_of):
    head = add(repo, PARAMS)
    add(repo, "trainer/loop.py")
    repo.git("sparse-checkout", "set", "locks")
    with pytest.raises(GitAbsent) as absent:
        calls.verify(repo.root)
    assert absent.value.reason == "trainer/loop.py is not in the workspace: a sparse checkout leaves it out"
    assert absent.value.enable == "git sparse-checkout disable"
    report = calls.verify(repo.root, "HEAD")
    assert (report.target[:6], report.commit == head) == ("commit", False)
    assert case_of[-1].commit == report.commit


def test_decisions_are_compared_with_another_commit_a_workspace_or_head(repo, tmp_path, monkeypatch):
    first, last = add(repo, PARAMS), add(repo, "locks/x")
    seen: list[tuple[str, str]] = []
    monkeypatch.setattr(calls, "changed_decisions", lambda was, now: seen.append((was.title, now.title)))
    repo.git("clone", "-q", "--bare", str(repo.root), str(tmp_path / "bare"))
    calls.decisions_changed_since(repo.root, first)
    calls.decisions_changed_since(repo.root, first, "HEAD")
    calls.decisions_changed_since(tmp_path / "bare", first)
    calls.decisions_changed_since(tmp_path / "bare", last, first)
    old, new = f"commit {first[:12]}", f"commit {last[:12]}"
    assert seen == [(old, "the workspace"), (old, new), (old, new), (new, old)]


def test_a_step_of_a_history_is_told_as_json():
    passed = CheckResult(SEQUENCE[0], "passed")
    failed = CheckResult(SEQUENCE[1], "failed", (Problem("a", "b", "c", "d"),))
    skipped = CheckResult(SEQUENCE[2], "skipped", reason="x")
    report = Report("commit 1", "1" * 40, "git", (passed, failed, skipped), frozenset({"V03"}))
    step = CommitStep("1" * 40, "A Founder, 2026-01-02", ("gate1 frozen",), report)
    assert step.to_json() == {
        "commit": "1" * 40,
        "who": "A Founder, 2026-01-02",
        "changes": ["gate1 frozen"],
        "verdict": "failed",
        "failed": ["V02", "V03"],
        "report": report.to_json(),
    }


def test_an_origin_that_cannot_be_looked_at_is_refused_with_the_way(repo, monkeypatch):
    add(repo, PARAMS)
    seen: list[Case] = []
    problem = Problem("a", "b", "c", "d")

    def check(case: Case) -> list[Problem]:
        seen.append(case)
        return [problem]

    monkeypatch.setattr(calls, "check_origin", check)
    study: Any = SimpleNamespace()
    assert calls.find_origin_problems(repo.root, study, {}) == [problem]
    (case,) = seen
    assert (case.commit, case.tree.title, case.options) == (None, "the workspace", calls.DEFAULTS)
    assert case.get(SimpleNamespace) is study
    assert case.get(Locks) == Locks({})

    def skip(case: Case) -> list[Problem]:
        raise Skip("it is hidden", "git fetch")

    monkeypatch.setattr(calls, "check_origin", skip)
    with pytest.raises(Refused) as refused:
        calls.find_origin_problems(repo.root, study, {})
    assert str(refused.value) == "params.yaml: study.from: it is hidden; git fetch"


# Commit after commit


def test_each_commit_is_told_with_its_author_and_what_it_changed_against_its_first_parent(repo, monkeypatch):
    monkeypatch.undo()
    searches = []

    def verify_tree(root, git, tree, commit, options, ledgers):
        searches.append(ledgers)
        return tree.title, commit, options

    monkeypatch.setattr(calls, "_verify_tree", verify_tree)
    monkeypatch.setattr(calls, "describe_commit", lambda before, after: [before.title if before else "-", after.title])
    first = add(repo, PARAMS)
    repo.write("locks/x", b"x")
    second = repo.commit("locks", GIT_AUTHOR_NAME="Somebody", GIT_COMMITTER_DATE="2026-01-02T03:04:05+0000")
    options = replace(calls.DEFAULTS, depth="git")
    one, two = calls.verify_history(repo.root, options)
    titles = [f"commit {commit[:12]}" for commit in (first, second)]
    assert (one.commit, one.changes, one.report) == (first, ("-", titles[0]), (titles[0], first, options))
    assert (two.commit, two.changes, two.author) == (second, tuple(titles), "Somebody, 2026-01-02")
    assert searches[0] is searches[1] is not None, "the folders of the history are searched once for all"


def test_the_oldest_commit_of_a_shallow_clone_is_compared_with_nothing(shallow, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(calls, "_verify_tree", lambda *_: None)
    monkeypatch.setattr(calls, "describe_commit", lambda before, after: [str(before)])
    with calls._repository(shallow.root) as git:
        assert git is not None
        (step,) = calls._verify_commits(shallow.root, git, [str(git.head)], calls.DEFAULTS)
    assert step.changes == ("None",)
