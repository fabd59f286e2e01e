"""V31: an extension takes its candidates from a decision of this history, and every way to cheat at that is caught.

Each wrong extension is made wrongly from the beginning, frozen and run: nothing but V31 can know.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.commands.study_extend import extend
from stages.domain import names, yamlio
from stages.verify import Options, Report, verify
from tests.support import dvclock, synthetic
from tests.support.repo import Repo, enter_copy
from tests.verify.forger import Forger

Params = dict[str, Any]  # a params.yaml that a test changes


def first_params() -> Params:
    value = synthetic.params(6, 1)
    value["study"]["name"] = "first"
    return value


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one finished study."""
    root = tmp_path_factory.mktemp("origin") / "study"
    dvclock.build_study(root, first_params())
    return root


@pytest.fixture
def repo(built: Path, tmp_path: Path) -> Any:
    with enter_copy(built, tmp_path / "study") as copy:
        yield copy


def extension(name: str, budget: float | None, rung: str | None = None) -> Params:
    """The study that `promotion study extend` writes."""
    words = argparse.Namespace(name=name, earlier=None, rung=rung, budget_seconds=budget, seeds=None, floor_seeds=None)
    assert extend(words) == 0
    return yamlio.read(Path(f"studies/{name}.yaml"), "")


def made(repo: Repo, params: Params) -> Report:
    """The verification of the commit that holds the evidence of a study."""
    dvclock.add_study(repo.root, params)
    return verify(repo.root, "HEAD", Options(depth="git"))


def failed(report: Report) -> list[str]:
    return [result.check.name for result in report.results if result.status == "failed"]


def problems(report: Report) -> list[str]:
    """What V31 says, as `pointer: found`."""
    (origin,) = (result for result in report.results if result.check.id == "V31")
    return [f"{problem.pointer}: {problem.found}" for problem in origin.problems]


@pytest.mark.parametrize(("budget", "rung", "count"), [(1000, None, 3), (None, None, 3), (None, "rung3", 4)])
def test_an_extension_verifies_and_its_lock_binds_where_it_comes_from(
    repo: Repo, budget: float | None, rung: str | None, count: int
):
    before = repo.git("rev-parse", "HEAD")
    params = extension("more", budget, rung)
    assert params["study"]["from"]["commit"] == before
    assert len(params["configs"]) == count
    report = made(repo, params)
    assert report.verdict == "verified", [str(problem) for result in report.results for problem in result.problems]
    lock = yamlio.read(Path("locks/gate1.yaml"), "")
    assert lock["frozen"]["from"] == params["study"]["from"]
    forger = Forger(repo.root)
    forger.everywhere(lambda value: value["study"]["from"].update(gate="gate4"))
    assert "locks-match" in failed(verify(repo.root, None, Options(depth="git")))


def test_a_ladder_of_what_a_gate_promoted_may_begin_at_a_smaller_budget(repo: Repo):
    params = extension("ladder", 1000)
    params["rungs"]["rung1"]["budget_seconds"] = 60
    report = made(repo, params)
    assert report.verdict == "verified", [str(problem) for result in report.results for problem in result.problems]


def other_commit(params: Params) -> None:
    params["study"]["from"]["commit"] = "0" * 40


def other_digest(params: Params) -> None:
    params["study"]["from"]["decision"] = "0" * 64


def other_gate(params: Params) -> None:
    params["study"]["from"]["gate"] = "gate4"


def no_gate(params: Params) -> None:
    params["study"]["from"]["gate"] = "gate6"


def other_study(params: Params) -> None:
    params["study"]["from"]["study"] = "another"


def stopped_configuration(params: Params) -> None:
    stopped = sorted(first_params()["configs"].keys() - params["configs"].keys())[0]
    params["configs"][stopped] = first_params()["configs"][stopped]


def foreign_configuration(params: Params) -> None:
    params["configs"]["foreign"] = {**next(iter(params["configs"].values())), "aspect": 64}


def other_knobs(params: Params) -> None:
    next(iter(params["configs"].values()))["aspect"] = 64


def reused_seed(params: Params) -> None:
    params["rungs"]["rung1"]["seeds"][0] = first_params()["rungs"]["rung2"]["seeds"][0]


def reused_floor_seed(params: Params) -> None:
    params["rungs"]["rung1"]["floor_seeds"] = [first_params()["rungs"]["rung3"]["floor_seeds"][1]]


def stopped_configuration_at_a_smaller_budget(params: Params) -> None:
    stopped_configuration(params)
    params["rungs"]["rung1"]["budget_seconds"] = 60


def other_text(params: Params) -> None:
    params["data"]["source"]["files"][0]["path"] = "other.txt"


def other_settings(params: Params) -> None:
    params["runner"]["eval_tokens"] = 8192


def other_clock(params: Params) -> None:
    params["clock"]["kind"] = "wall"


FIRST = next(iter(first_params()["rungs"]["rung2"]["seeds"]))
CHEATS: list[tuple[Callable[[Params], None], str]] = [
    (other_commit, "/study/from/commit: " + "0" * 40),
    (other_digest, "/study/from/decision: " + "0" * 64),
    (other_gate, "/study/from/decision: "),
    (no_gate, "/study/from/gate: gate6"),
    (other_study, "/study/from/study: another"),
    (stopped_configuration, "/configs/"),
    (foreign_configuration, "/configs/foreign: foreign"),
    (other_knobs, "/configs/"),
    (reused_seed, f"/rungs/rung1/seeds/0: seed {FIRST}, used by first"),
    (reused_floor_seed, "/rungs/rung1/floor_seeds/0: seed 3901, used by first"),
    (stopped_configuration_at_a_smaller_budget, "/configs/"),
    (other_text, "/frozen/corpus: "),
    (other_settings, "/frozen/settings: "),
    (other_clock, "/frozen/clock: "),
]


@pytest.mark.parametrize(("cheat", "problem"), CHEATS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_wrong_extension_is_caught_by_nothing_else_and_by_this(
    repo: Repo, cheat: Callable[[Params], None], problem: str
):
    params = extension("more", 1000)
    cheat(params)
    report = made(repo, params)
    assert failed(report) == ["origin"]
    assert any(line.startswith(problem) for line in problems(report)), problems(report)


def test_a_commit_of_another_branch_is_none_of_this_history(repo: Repo):
    params = extension("more", 1000)
    main = repo.git("rev-parse", "HEAD")
    repo.git("commit", "-q", "--allow-empty", "-m", "the same files on another branch")
    params["study"]["from"]["commit"] = repo.git("rev-parse", "HEAD")
    repo.git("reset", "-q", "--soft", main)
    report = made(repo, params)
    assert failed(report) == ["origin"]
    assert problems(report)[0].startswith("/study/from/commit")


def test_an_earlier_study_that_does_not_verify_supports_nobody(repo: Repo):
    forger = Forger(repo.root)
    forger.decision(5, lambda value: value["verdicts"].update(R6=not value["verdicts"]["R6"]))
    forger.commit("a verdict turned around")
    params = extension("more", 1000)
    report = made(repo, params)
    assert failed(report) == ["origin"]
    assert " fails at V15 decisions: ledger/decisions.jsonl, line 5" in problems(report)[0]


def test_a_gate_whose_rule_was_amended_since_it_decided_supports_nobody(repo: Repo):
    params = extension("more", 1000)
    gate = params["study"]["from"]["gate"]
    repo.promotion("freeze", gate, "--amend", "--reason", "to be judged again")
    repo.commit("Amend the rule")
    params["study"]["from"]["commit"] = repo.git("rev-parse", "HEAD")
    report = made(repo, params)
    assert "origin" in failed(report)
    assert [problem for problem in problems(report) if problem.startswith(f"/study/from/gate: {gate}, pending in ")]


def test_a_seed_of_the_study_before_the_one_before_is_no_fresh_one(repo: Repo):
    made(repo, extension("second", 1000))
    third = extension("third", 2000)
    assert made(repo, third).verdict == "verified"
    repo.git("reset", "-q", "--hard", "HEAD~2")
    reused_seed(third)
    report = made(repo, third)
    assert failed(report) == ["origin"]
    assert problems(report) == [f"/rungs/rung1/seeds/0: seed {FIRST}, used by first"]


def test_where_git_is_missing_or_cut_off_the_check_is_skipped(repo: Repo, tmp_path: Path):
    made(repo, extension("more", 1000))
    clone = tmp_path / "shallow"
    repo.git("clone", "-q", "--depth", "2", repo.root.as_uri(), str(clone))
    for root, reason in (
        (clone, "a shallow clone, which may hide commit"),
        (tmp_path / "bare", "not a git repository"),
    ):
        if not root.exists():
            shutil.copytree(clone, root, ignore=shutil.ignore_patterns(".git"))
        (origin,) = (r for r in verify(root, None, Options(depth="git")).results if r.check.id == "V31")
        assert origin.status == "skipped"
        assert reason in origin.reason


def test_a_study_that_goes_on_from_none_passes_and_its_locks_do_not_speak_of_it(repo: Repo):
    report = verify(repo.root, "HEAD", Options(depth="git"))
    assert [r.status for r in report.results if r.check.id == "V31"] == ["passed"]
    assert all(b"from" not in path.read_bytes().split(b"frozen:", 1)[1] for path in names.LOCKS.glob("*.yaml"))
