"""Where to go next in the middle of a merge, and which files a commit of rules or of evidence takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stages.commands import next_step
from stages.domain import files
from stages.domain.study import parse_study
from stages.repo.git import Git
from tests.pipeline.test_next_step import make_params
from tests.support import synthetic
from tests.support.repo import Repo, reading_git

BACK = "keep what should stand and `git add` it, or go back with `git merge --abort` (`git rebase --abort`)"
REMOTE = b"[core]\n    remote = store\n['remote \"store\"']\n    url = /x\n"


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repo]:
    """An empty repository as the working directory."""
    with chdir(tmp_path):
        repo = Repo(tmp_path)
        repo.git("init", "-q", "-b", "main")
        files.write_whole(Path("README.md"), b"A study\n")
        repo.commit("Begin")
        yield repo


@pytest.fixture
def git(repo: Repo) -> Iterator[Git]:
    with reading_git(Path()) as git:
        yield git


def rows(*decided: bool) -> Any:
    return [SimpleNamespace(decision="made" if decision else None) for decision in decided]


def merge(repo: Repo, *paths: str, theirs: str | None = "theirs\n", ours: str | None = "ours\n") -> None:
    """Stop at conflicts in these files; a side that is None deleted them."""
    for path in paths:
        files.write_whole(Path(path), b"base\n")
    repo.commit("Base")
    repo.git("checkout", "-q", "-b", "theirs")
    for branch, text in (("theirs", theirs), ("main", ours)):
        repo.git("checkout", "-q", branch)
        for path in paths:
            Path(path).unlink() if text is None else files.write_whole(Path(path), text.encode())
        repo.commit(branch)
    assert repo.run("git", "merge", "theirs", check=False).returncode == 1


def resolve(git: Git | None, *decided: bool) -> next_step.Step | None:
    return next_step._resolve_conflicts(rows(*decided), git)


def test_without_git_or_a_merge_there_is_no_conflict(git: Git) -> None:
    files.write_whole(Path("ledger/runs.jsonl"), b"<<<<<<< HEAD\na\n=======\nb\n>>>>>>> b\n")
    assert (resolve(None), resolve(git, True)) == (None, None)


def test_what_people_write_is_decided_by_them_and_then_added(repo: Repo, git: Git) -> None:
    merge(repo, "NOTES.md", "params.yaml", "dvc.lock")
    assert resolve(git, True) == (f"a merge stopped at NOTES.md, params.yaml: {BACK}", "git status")
    Path("NOTES.md").write_bytes(b"both\n")
    assert resolve(git, True) == (f"a merge stopped at params.yaml: {BACK}", "git status")
    Path("params.yaml").write_bytes(b"both\n")
    why = "no conflict is left in NOTES.md, params.yaml, which git does not know yet"
    assert resolve(git, True) == (why, "git add NOTES.md params.yaml")


def test_more_than_three_files_are_counted(repo: Repo, git: Git) -> None:
    merge(repo, "a b", "b", "c", "d", "e")
    assert resolve(git) == (f"a merge stopped at a b, b, c and 2 more: {BACK}", "git status")
    assert next_step._list(["a", "b", "c"]) == "a, b, c"
    assert next_step._list(["a", "b", "c", "d"]) == "a, b, c and 1 more"
    for path in ("a b", "b", "c", "d", "e"):
        files.write_whole(Path(path), b"both\n")
    why = "no conflict is left in a b, b, c and 2 more, which git does not know yet"
    assert resolve(git) == (why, "git add 'a b' b c d e")


@pytest.mark.parametrize(("ours", "theirs"), [(None, "theirs\n"), ("ours\n", None)])
def test_a_file_that_one_side_deleted_is_a_persons_to_decide(repo: Repo, git: Git, ours: Any, theirs: Any) -> None:
    merge(repo, "NOTES.md", ours=ours, theirs=theirs)
    assert resolve(git) == (f"a merge stopped at NOTES.md: {BACK}", "git status")


def test_of_what_is_made_anew_our_side_will_do_unless_we_deleted_it(repo: Repo, git: Git) -> None:
    merge(repo, "ledger/runs.jsonl", ours=None)
    assert resolve(git, True) == (f"a merge stopped at ledger/runs.jsonl: {BACK}", "git status")


@pytest.mark.parametrize(
    ("paths", "decided", "command"),
    [
        (["dvc.lock", "ledger/runs.jsonl"], [True], " && dvc repro"),
        (["dvc.lock"], [True, False], ""),
        (["stages/ladder/rung1/dvc.yaml"], [False], " && python -m stages.rungs"),
        (["stages/ladder/rung1/dvc.yaml", "stages/ladder/rung1/dvc.lock"], [True],
         " && python -m stages.rungs && dvc repro"),
    ],
)  # fmt: skip
def test_either_side_of_what_is_made_anew_will_do(
    repo: Repo, git: Git, paths: list[str], decided: list[bool], command: str
) -> None:
    merge(repo, *paths)
    why = f"a merge stopped at {', '.join(sorted(paths))}: either side is right, because it is made anew"
    message = f"git checkout --ours -- {' '.join(sorted(paths))}{command}"
    assert resolve(git, *decided) == (why, message)
    files.write_whole(Path(".dvc/config"), REMOTE)
    assert resolve(git, *decided) == (why, message.replace("dvc repro", "dvc repro --pull"))
    repo.git("checkout", "--ours", "--", *paths)
    assert resolve(git, *decided) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("dvc.lock", True),
        ("stages/ladder/rung1/a/dvc.lock", True),
        ("ledger/metrics.json", True),
        ("stages/ladder/rung1/dvc.yaml", True),
        ("dvc.yaml", False),
        ("stages/cli.py", False),
        ("locks/gate1.yaml", False),
        ("docs/ledger", False),
    ],
)
def test_what_is_made_anew(path: str, expected: bool) -> None:
    assert next_step._is_made_anew(path) is expected


def test_a_commit_takes_what_differs_among_the_paths_inside_the_study(repo: Repo, git: Git) -> None:
    paths = ["ledger", "dvc.lock", "stages/*dvc.yaml", "/absolute", "../above"]
    assert next_step._commit(git, paths, "It's all") is None
    files.write_whole(Path("ledger/runs.jsonl"), b"{}\n")
    files.write_whole(Path("ledgers"), b"{}\n")
    assert next_step._commit(git, paths, "It's all") == """git add ledger && git commit -m 'It'"'"'s all'"""
    files.write_whole(Path("stages/a/dvc.yaml"), b"{}\n")
    files.write_whole(Path("dvc.lock"), b"{}\n")
    message = "git add ledger dvc.lock 'stages/*dvc.yaml' && git commit -m All"
    assert next_step._commit(git, paths, "All") == message
    assert next_step._find_changed(git, paths[:3]) == ["dvc.lock", "ledger/runs.jsonl", "stages/a/dvc.yaml"]


def test_a_commit_in_a_merge_ends_the_merge(repo: Repo, git: Git) -> None:
    merge(repo, "dvc.lock")
    assert next_step._commit(git, ["ledger"], "All") == "git commit --no-edit"
    assert next_step._commit(git, ["dvc.lock"], "All") == "git add dvc.lock && git commit --no-edit"


def test_the_rules_of_a_second_study_go_with_the_ledger_that_it_cleared(repo: Repo, git: Git) -> None:
    files.write_whole(Path("locks/gate1.yaml"), b"{}\n")
    files.write_whole(Path("ledger/runs.jsonl"), b"{}\n")
    files.write_whole(Path("dvc.lock"), b"{}\n")
    repo.commit("The first")
    for path in ("locks/gate1.yaml", "dvc.lock"):
        files.write_whole(Path(path), b"{ }\n")
    assert not next_step._is_ledger_cleared(git)
    assert next_step._commit(git, ["locks"], "R") == "git add locks && git commit -m R"
    Path("ledger/runs.jsonl").unlink()
    assert next_step._is_ledger_cleared(git)
    assert next_step._commit(git, ["locks"], "R") == "git add locks ledger dvc.lock && git commit -m R"
    assert next_step._commit(git, ["params.yaml"], "R") is None


def test_before_the_first_commit_no_ledger_was_cleared(tmp_path: Path) -> None:
    with chdir(tmp_path):
        Repo(tmp_path).git("init", "-q")
        with reading_git(Path()) as git:
            assert not next_step._is_ledger_cleared(git)


def test_in_a_folder_of_a_repository_paths_are_those_of_the_folder(repo: Repo) -> None:
    files.write_whole(Path("study/ledger/runs.jsonl"), b"{}\n")
    files.write_whole(Path("ledger/runs.jsonl"), b"{}\n")
    with chdir("study"), reading_git(Path()) as git:
        assert next_step._find_changed(git, ["ledger"]) == ["ledger/runs.jsonl"]
        assert next_step._commit(git, ["ledger"], "R") == "git add ledger && git commit -m R"


def test_rules_are_the_locks_the_study_the_pipeline_the_texts_and_the_program(git: Git) -> None:
    own = parse_study(make_params(), "params.yaml")
    ends = ["studies/walked.yaml", "texts/text.txt", "small/train.py"]
    assert next_step._rule_files(own, [], git) == ["locks", "params.yaml", "stages", *ends]
    built_in = parse_study(synthetic.params(3), "params.yaml")
    ends = ["studies/synthetic.yaml", "text.txt"]
    assert next_step._rule_files(built_in, [], git) == ["locks", "params.yaml", "stages", *ends]
    value = synthetic.params(3)
    package = {"kind": "package", "package": "texts", "version": "1.0", "file": "a.jsonl", "sha256": "0" * 64}
    value["data"]["source"] = {**package, "document": ["title"]}
    package_study = parse_study(value, "params.yaml")
    assert next_step._rule_files(package_study, [], git) == ["locks", "params.yaml", "stages", "studies/synthetic.yaml"]


def test_of_a_rung_that_is_begun_the_pipeline_alone_is_a_rule(repo: Repo, git: Git) -> None:
    for path in ("stages/ladder/rung1/old/dvc.yaml", "stages/ladder/rung1/a/dvc.yaml", "stages/ladder/rung9/dvc.yaml",
                 "stages/ladder/rung9/a/dvc.yaml", "stages/ladder/rung1/a/dvc.lock"):  # fmt: skip
        files.write_whole(Path(path), b"{}\n")
    repo.commit("The study before")
    for path in ("stages/ladder/rung1/old/dvc.yaml", "stages/ladder/rung9/dvc.yaml", "stages/ladder/rung9/a/dvc.yaml",
                 "stages/ladder/rung1/a/dvc.lock"):  # fmt: skip
        Path(path).unlink()
    for folder in ("stages/ladder/rung1/old", "stages/ladder/rung9/a", "stages/ladder/rung9"):
        Path(folder).rmdir()
    study = parse_study(make_params(), "params.yaml")
    assert next_step._rule_files(study, ["rung1"], git)[2:-3] == [
        "stages/ladder/rung1/*dvc.yaml",
        "stages/ladder/rung2",
        "stages/ladder/rung1/old",
        "stages/ladder/rung9",
        "stages/ladder/hindsight/*dvc.yaml",
    ]


def test_of_a_rung_that_is_begun_the_commit_of_rules_takes_no_evidence(
    repo: Repo, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun is what has a run, an A/A run or, where an earlier gate blocked, a decision alone."""
    asked: list[Sequence[str]] = []
    monkeypatch.setattr(next_step, "_rule_files", lambda study, begun, git: asked.append(begun) or [])
    states = {"rung1": (1, 0, None), "rung2": (0, 1, None), "rung3": (0, 0, "blocked"), "rung4": (0, 0, None)}
    rows = [
        SimpleNamespace(rung=rung, done=done, floor_done=floor, decision=decision)
        for rung, (done, floor, decision) in states.items()
    ]
    next_step._commit_rules(parse_study(make_params(), "params.yaml"), cast("Any", rows), git)
    assert asked == [["rung1", "rung2", "rung3"]]


def test_the_evidence_of_a_merge_is_committed_with_the_rules_and_ends_it(repo: Repo, git: Git) -> None:
    study = parse_study(make_params(), "params.yaml")
    assert next_step._commit_evidence(study, None) is None
    assert next_step._commit_evidence(study, git) is None
    assert next_step._commit_rules(study, cast("Any", []), None) is None
    files.write_whole(Path("locks/gate1.yaml"), b"{}\n")
    files.write_whole(Path("params.yaml"), b"{}\n")
    reported = ("git does not hold the evidence yet", "git add params.yaml && git commit -m 'The evidence'")
    assert next_step._commit_evidence(study, git) == reported
    assert next_step._commit_rules(study, cast("Any", []), git) is not None
    merge(repo, "ledger/runs.jsonl")
    Path("ledger/runs.jsonl").write_bytes(b"{}\n")
    files.write_whole(Path("locks/gate1.yaml"), b"{ }\n")
    why = "every file of the merge is decided, and git has not ended it"
    assert next_step._commit_evidence(study, git) == (why, "git add ledger locks && git commit --no-edit")
    assert next_step._commit_rules(study, cast("Any", []), git) is None
