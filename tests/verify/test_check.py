"""How a check is made: what becomes a problem of the study, what is this machine's, and in which order checks stand."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.domain.errors import Invalid, Mistake, Unreadable
from stages.repo.objects import GitAbsent
from stages.verify import check as checks
from stages.verify.check import Case, Check, CheckFailed, Options, OutOfOrder, Problem, Skip, perform
from tests.verify.cases import alter

BELIEVED = "nothing that builds on it can be believed"


def made(function: Callable[[Case], Any]) -> Check:
    return Check("V01", "name", "git", function)


def raising(error: BaseException) -> Check:
    def function(_: Case) -> Iterator[Problem]:
        raise error
        yield

    return made(function)


def problems(case: Case, error: BaseException) -> list[Problem]:
    with pytest.raises(CheckFailed) as failed:
        perform(raising(error), case)
    return failed.value.problems


def skipped(case: Case, error: BaseException) -> tuple[str, str]:
    with pytest.raises(Skip) as skip:
        perform(raising(error), case)
    return skip.value.reason, skip.value.enable


def test_a_problem_is_a_sentence_with_its_place():
    problem = Problem("a", "x", "y", "it is wrong", line=3, pointer="/p")
    assert str(problem) == "a, line 3, /p: found x, expected y; it is wrong"
    assert Problem("a", "x", "y", "z").place == "a"
    assert Problem("a", "x", "y", "z", line=0).place == "a, line 0"
    assert Problem("a", "x", "y", "z", pointer="").place == "a"
    assert str(CheckFailed(made(lambda _: None), [problem, problem])) == f"{problem}\n{problem}"


def test_a_check_says_what_it_shows_by_its_docstring():
    def function(_: Case) -> None:
        """It shows this.

        And
        that.
        """

    check = made(function)
    assert (check.title, check.description, str(check)) == ("It shows this", "It shows this. And that.", "V01 name")
    assert made(lambda _: None).title == ""


def test_what_a_parser_refuses_is_a_problem_of_its_file(judged):
    place = Mistake(file=str(judged.root / "locks" / "gate1.yaml"), place="a.b", found="7", expected="8", line=3)
    assert problems(judged, Invalid("m", place)) == [Problem("locks/gate1.yaml", "7", "8", BELIEVED, 3, "/a/b")]
    bare = Mistake(file="x", place="", found="", expected="", line=None)
    assert problems(judged, Invalid("m", bare)) == [
        Problem("x", "nothing", "a file that this project wrote", BELIEVED, None, None)
    ]
    assert problems(judged, Invalid("it is odd")) == [
        Problem("the study", "it is odd", "something that can be verified", BELIEVED)
    ]


def test_a_value_error_of_a_library_is_a_problem_and_one_of_this_program_is_raised(judged):
    class Odd(ValueError):
        pass

    assert problems(judged, Odd("odd")) == [Problem("the study", "odd", "something that can be verified", BELIEVED)]
    with pytest.raises(ValueError, match="mine"):
        perform(raising(ValueError("mine")), judged)


def test_a_file_that_cannot_be_read_is_a_problem_and_what_this_machine_lacks_is_none(judged):
    inside = str(judged.root / "ledger")
    meaning = "nobody can say what it holds"
    assert problems(judged, PermissionError(errno.EACCES, "Permission denied", inside)) == [
        Problem("ledger", "Permission denied", "a file that can be read", meaning)
    ]
    assert problems(judged, OSError("odd")) == [Problem("the study", "OSError", "a file that can be read", meaning)]
    assert problems(judged, OSError(errno.EACCES, "no", "relative")) == [
        Problem("relative", "no", "a file that can be read", meaning)
    ]
    enable = "promotion verify, when that is mended (TMPDIR names another temporary folder)"
    outside = str(Path(os.sep) / "elsewhere")
    assert skipped(judged, OSError(errno.EACCES, "no", outside)) == (f"{outside}: no", enable)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        assert skipped(judged, OSError(number, "full", inside)) == (f"{inside}: full", enable)
    assert skipped(judged, OSError(errno.ENOMEM, "full")) == ("this machine: full", enable)


def test_a_missing_library_skips_a_check_and_an_absent_object_ends_it(judged):
    assert skipped(judged, ImportError("x", name="scipy")) == (
        "scipy is not installed",
        "pip install 'staged-promotion[study]'",
    )
    with pytest.raises(GitAbsent):
        perform(raising(GitAbsent("x", "y")), judged)


def test_notes_are_those_of_the_check_alone(judged):
    case = alter(judged)
    case.note("before")

    def noting(case: Case) -> None:
        case.note("mine")

    assert perform(made(noting), case) == ["mine"]
    assert perform(made(lambda _: None), case) == []


def test_a_check_that_gives_up_is_skipped_unless_it_found_something(judged):
    def half(_: Case) -> Iterator[Problem]:
        yield Problem("a", "x", "y", "z")
        raise Skip("why", "how")

    with pytest.raises(CheckFailed) as failed:
        perform(made(half), judged)
    assert failed.value.problems == [Problem("a", "x", "y", "z")]
    assert skipped(judged, Skip("why", "how")) == ("why", "how")


def test_checks_stand_in_the_order_of_what_they_learn():
    def check(number: int, needs: tuple[type, ...] = (), gives: tuple[type, ...] = ()) -> Check:
        return Check(f"V{number:02d}", f"c{number}", "git", lambda _: None, needs, gives)

    good = (check(1, gives=(int,)), check(2, (int,), (str,)), check(3, (str, int)))
    assert checks.check_order(good) == good
    with pytest.raises(OutOfOrder, match=r"^V02 stands at place 1$"):
        checks.check_order((check(2),))
    with pytest.raises(OutOfOrder, match=r"^V02 needs str, which no earlier check gives$"):
        checks.check_order((check(1, gives=(int,)), check(2, (int, str))))


def test_a_fact_is_learnt_once_and_got_by_its_kind(tmp_path):
    case = Case(tmp_path, None, None, None, Options("git"))  # type: ignore[arg-type]
    with pytest.raises(OutOfOrder, match="^no check has learnt int yet$"):
        case.get(int)
    case.learn(7)
    assert (case.get(int), case.knows(int), case.knows(str)) == (7, True, False)
    with pytest.raises(OutOfOrder, match="^int was learnt already$"):
        case.learn(8)


def test_where_there_is_no_history_what_came_first_is_not_known(tmp_path, monkeypatch, judged):
    case = Case(tmp_path, judged.tree, None, None, Options("git"))
    with pytest.raises(Skip) as skip:
        _ = case.history
    assert skip.value.reason.endswith(", so nothing says what came first")
    assert skip.value.enable == "git clone"
    monkeypatch.setattr(checks, "why_no_git", lambda _: "git is not installed")
    with pytest.raises(Skip) as skip:
        _ = case.history
    assert (skip.value.reason, skip.value.enable) == (
        "git is not installed, so nothing says what came first",
        "install git",
    )

    def absent(*_: Any) -> None:
        raise GitAbsent("an object is absent", "git fetch")

    monkeypatch.setattr(checks, "read_history", absent)
    monkeypatch.setattr(judged.git, "partial", False)
    with pytest.raises(GitAbsent, match="^an object is absent"):
        _ = alter(judged).history
    monkeypatch.setattr(judged.git, "partial", True)
    with pytest.raises(Skip) as skip:
        _ = alter(judged).history
    assert (skip.value.reason, skip.value.enable) == ("the history is not all here: an object is absent", "git fetch")


def test_a_history_that_is_too_large_is_read_once_and_fails_whatever_asks_for_it(monkeypatch, judged):
    reads: list[int] = []

    def too_large(*_: Any) -> None:
        reads.append(1)
        raise Unreadable("it takes too much")

    monkeypatch.setattr(checks, "read_history", too_large)
    case = alter(judged)
    for _ in range(3):
        with pytest.raises(Unreadable, match="^it takes too much$"):
            _ = case.history
    assert reads == [1]
    assert problems(case, Unreadable("it takes too much"))[0].file == "the study"


def test_the_lock_at_the_root_is_read_where_there_is_one(judged):
    assert list(alter(judged).root_lock or {}) == ["corpus", "protocol", "ledger", "confidence", "winner", "site"]
    assert alter(judged, files={"dvc.lock": None}).root_lock is None
