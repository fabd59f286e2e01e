"""The words of a command and its section of params.yaml: how names are filled in, and what cannot work."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from stages.domain.command import (
    BadWord,
    CommandSettings,
    RunnerSection,
    Score,
    Timeout,
    fill,
    find_problems,
    names_in,
    render_value,
)
from stages.domain.errors import Invalid
from stages.domain.schema import parse
from tests.runners.conftest import make_settings


def test_the_names_in_a_word_are_those_in_single_braces() -> None:
    assert names_in("--lr={lr}-{with.steps}{{not}}{lr}") == ["lr", "with.steps", "lr"]
    assert names_in("plain") == []


@pytest.mark.parametrize("word", ["{", "a}b", "{a", "{{}"])
def test_a_single_brace_is_refused(word: str) -> None:
    with pytest.raises(BadWord) as refused:
        names_in(word)
    brace = "}" if word in ("a}b", "{{}") else "{"
    assert str(refused.value) == f"{brace * 2} for a brace that is meant as itself, not a single {brace}"


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (None, ""), (0.1, "0.1"), (7, "7"), ("a {b}", "a {b}")]
)
def test_a_value_is_a_word_as_python_writes_it(value: Any, text: str) -> None:
    assert render_value(value) == text


def test_what_is_kept_for_later_is_filled_in_a_second_time_and_braces_in_values_are_text() -> None:
    word = "{out}/{lr}/{{x}}/{note}"
    values = {"lr": 0.5, "note": "{out}"}
    assert fill(word, values, {"out"}) == "{out}/0.5/{{x}}/{{out}}"
    assert fill(fill(word, values, {"out"}), {"out": "/tmp"}) == "/tmp/0.5/{x}/{out}"
    assert fill("{a}{{b}}", {"a": "{c}"}) == "{c}{b}"


def mistakes(**changes: Any) -> list[str]:
    with pytest.raises(Invalid) as refused:
        parse(CommandSettings, make_settings(**changes), "runner")
    return str(refused.value).splitlines()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": ["a/x.py", "a/y.py", "a/y.py"]}, "each of files once, but 'a/y.py' stands there more than once"),
        ({"inherit": ["B", "B", "A", "A"]}, "each of inherit once, but 'A' stands there more than once"),
        (
            {"candidate": ["small/train.py"]},
            "small/train.py either in files, the same for all, or in candidate",
        ),
        ({"env": {"X": "1"}, "inherit": ["X", "Y"]}, "X either in env or in inherit"),
        (
            {"files": ["a/x.py", "train.py"]},
            "the trainer in a folder of its own, not 'train.py' at the root: Python looks there first, and "
            "could import it in the place of a module of this project",
        ),
        (
            {"score": {"name": "acc", "line": "acc: {score}", "lower_is_better": False}},
            "a score of which less is better; print the loss, or the negative of what is to be maximised",
        ),
        ({"score": {"name": "loss"}}, "either line, a line template with {score}, or json with its key"),
        (
            {"score": {"name": "loss", "line": "x {score}", "json": "{out}/x.json"}},
            "either line, a line template with {score}, or json with its key",
        ),
        (
            {"score": {"name": "loss", "json": "{out}/x.json"}},
            "json and key together: the file, and where the score stands in it",
        ),
        (
            {"score": {"name": "loss", "line": "x {score}", "key": "a"}},
            "json and key together: the file, and where the score stands in it",
        ),
        (
            {"score": {"name": "loss", "line": "loss"}},
            "a line template with {score}, the number that it is to find",
        ),
        ({"facts": {"steps": "steps"}}, "a line template with {value}, the number that it is to find"),
        ({"progress": "loss {loss}"}, "a line template with {step}, the number that it is to find"),
        ({"progress": "{step} {other}"}, "{*} for what is not wanted: nothing reads {other}"),
        ({"diverged": ["loss {loss}"]}, "{*} for what is not wanted: nothing reads {loss}"),
        ({"command": ["python", "a\0b"]}, "a word without NUL"),
    ],
)
def test_settings_that_cannot_work_are_told_whole(changes: dict[str, Any], message: str) -> None:
    lines = mistakes(**changes)
    assert len(lines) == 1
    assert lines[0].endswith(message)


@pytest.mark.parametrize(
    "changes",
    [
        {"files": ["train.sh", "a/train.py"]},
        {"progress": None},
        {"progress": "{step} {loss} {tokens} {seconds}"},
        {"score": {"name": "loss", "json": "{out}/x.json", "key": "a.b"}},
        {"score": {"name": "loss", "line": "x {score}", "resolution": 0.000001}},
        {"env": {"X": "1"}, "inherit": ["Y"]},
    ],
)
def test_settings_that_can_work_are_taken(changes: dict[str, Any]) -> None:
    assert parse(CommandSettings, make_settings(**changes), "runner").kind == "command"


def test_a_limit_is_so_many_budgets_and_so_many_seconds() -> None:
    assert Timeout().seconds(10.0) == 320.0
    assert Timeout(times=3.0, plus_seconds=5.0).seconds(2.0) == 11.0
    assert Score(name="loss", line="loss {score}").lower_is_better is True


def settings(*words: str, **changes: Any) -> CommandSettings:
    return CommandSettings.model_validate(make_settings(command=["x", *words], **changes))


def test_the_words_that_may_use_names_are_those_of_command_variables_and_score_file() -> None:
    score = {"name": "loss", "json": "{out}/x.json", "key": "a"}
    used = settings("{seed}", env={"A": "{lr}"}, score=score)
    assert used.words == ["x", "{seed}", "{lr}", "{out}/x.json"]
    assert used.names == {"seed", "lr", "out"}


CONFIGS: dict[str, Any] = {"a": {"lr": 0.1}, "b": {"lr": 0.2}}
OPTIONS: dict[str, Any] = {"rung1": {"steps": 10}, "rung2": {"steps": 20}}
WORDS = ("{seed}", "{lr}", "{with.steps}")
KNOWN = "budget_seconds, config, data, device, gpus, host, last, out, precision, rung, scratch, seed, spec, threads"


@pytest.mark.parametrize(
    ("words", "configs", "options", "clock", "problems"),
    [
        (WORDS, CONFIGS, OPTIONS, "given", []),
        (WORDS, CONFIGS, OPTIONS, "wall", []),
        (("{seed}", "{lr}", "{budget_seconds}"), CONFIGS, {"rung1": {}}, "wall", []),
        (("{spec}",), CONFIGS, OPTIONS, "given", []),
        (
            WORDS[1:],
            CONFIGS,
            OPTIONS,
            "given",
            ["runner.command: found no {seed}; a trainer that cannot be given a seed shows no seed luck"],
        ),
        (
            WORDS,
            {"a": {"lr": 1, "out": "y"}, "b": {"lr": 1, "host": "z"}},
            OPTIONS,
            "given",
            [
                "configs: the knob host has the name of something else; call it otherwise",
                "configs: the knob out has the name of something else; call it otherwise",
            ],
        ),
        (
            WORDS,
            {"a": {"lr": 1, "x": 1, "w": 1}, "b": {"lr": 2}},
            OPTIONS,
            "given",
            [
                "configs: the knob w is used nowhere in runner.command or runner.env, so it would change nothing",
                "configs: the knob x is used nowhere in runner.command or runner.env, so it would change nothing",
            ],
        ),
        (
            WORDS,
            {"a": {}, "b": {"lr": 2}},
            OPTIONS,
            "given",
            ["configs.a: lr is missing, but runner.command uses {lr}"],
        ),
        (
            (*WORDS, "{depth}"),
            CONFIGS,
            OPTIONS,
            "given",
            [f"runner.command: {{depth}} is no knob of the configurations, no with.X and none of {KNOWN}"],
        ),
        (
            (*WORDS, "{with.hours}"),
            CONFIGS,
            {"rung1": {"steps": 1}, "rung2": {"steps": 1, "hours": 2}},
            "given",
            ["rungs.rung1.with: hours is missing, but runner.command uses {with.hours}"],
        ),
        (
            ("{seed}", "{lr}", "{budget_seconds}"),
            CONFIGS,
            {"rung1": {"steps": 1, "hours": 2}},
            "wall",
            [
                "rungs: with.hours is used nowhere in runner.command or runner.env",
                "rungs: with.steps is used nowhere in runner.command or runner.env",
            ],
        ),
        (
            WORDS,
            CONFIGS,
            OPTIONS,
            "rated",
            ["clock.kind: found rated, which needs the built-in runner; expected wall or given"],
        ),
        (
            ("{seed}", "{lr}"),
            CONFIGS,
            {"rung1": {}},
            "given",
            ["runner.command: nothing in it says how long to train; use {with.steps} or the like"],
        ),
        (
            ("{seed}", "{lr}"),
            CONFIGS,
            {"rung1": {}},
            "wall",
            ["runner.command: nothing in it says how long to train; use {budget_seconds}"],
        ),
    ],
)
def test_what_does_not_fit_the_study_is_told_whole(
    words: tuple[str, ...], configs: Any, options: Any, clock: str, problems: list[str]
) -> None:
    assert find_problems(settings(*words), configs, options, clock) == problems


HASH, OTHER = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("configs", "problems"),
    [
        ({"a": {"commit": "a" * 40, "sha256": HASH}, "b": {"commit": "b" * 40, "sha256": OTHER}}, []),
        ({"a": {"commit": "a" * 40}, "b": {"commit": "b" * 40}}, []),
        (
            {"a": {"commit": "a" * 40, "sha256": HASH}, "b": {"commit": "b" * 40, "sha256": HASH}},
            ["configs.b: the same files as a; remove one of them"],
        ),
        ({"a": {"sha256": HASH}}, ["configs.a.commit: missing; it names the version of runner.candidate"]),
        (
            {"a": {"commit": 1234567, "sha256": "12"}},
            [
                "configs.a.commit: found 1234567, expected the whole id of a commit, as `git rev-parse` prints it, "
                "in quotes",
                "configs.a.sha256: found '12', expected 64 hexadecimal digits in quotes",
            ],
        ),
    ],
)
def test_a_configuration_that_is_no_version_of_a_file_is_told_whole(configs: Any, problems: list[str]) -> None:
    candidate = settings("{seed}", "{with.steps}", candidate=["small/model.py"])
    assert find_problems(candidate, configs, OPTIONS, "given") == problems


@pytest.mark.parametrize(
    ("configs", "problems"),
    [
        (
            {"a": {"commit": "a" * 40, "sha256": HASH, "lr": 1}, "b": {"commit": "b" * 40, "sha256": HASH, "lr": 2}},
            [],
        ),
        (
            {"a": {"commit": "a" * 64, "sha256": HASH, "lr": 1}, "b": {"commit": "a" * 64, "sha256": HASH, "lr": 1}},
            ["configs.b: the same files as a; remove one of them"],
        ),
        ({"a": {"commit": "a" * 40, "lr": 1}, "b": {"commit": "b" * 40, "lr": 1}}, []),
        (
            {"a": {"commit": "A" * 40, "sha256": HASH, "lr": 1}},
            [
                f"configs.a.commit: found '{'A' * 40}', expected the whole id of a commit, as `git rev-parse` prints "
                "it, in quotes"
            ],
        ),
    ],
)
def test_configurations_are_versions_by_their_files_and_their_knobs(configs: Any, problems: list[str]) -> None:
    candidate = settings("{seed}", "{with.steps}", "{lr}", candidate=["small/model.py"])
    assert find_problems(candidate, configs, OPTIONS, "given") == problems


def test_without_a_candidate_a_commit_is_a_knob_like_any_other() -> None:
    configs = {"a": {"lr": 1, "commit": "x", "sha256": "y"}}
    assert find_problems(settings(*WORDS), configs, OPTIONS, "given") == [
        f"configs: the knob {knob} is used nowhere in runner.command or runner.env, so it would change nothing"
        for knob in ("commit", "sha256")
    ]
    assert find_problems(settings(*WORDS, "{commit}{sha256}"), configs, OPTIONS, "given") == []


def test_a_command_that_is_given_its_whole_input_needs_no_names_but_no_rated_clock() -> None:
    assert find_problems(settings("{spec}"), CONFIGS, OPTIONS, "rated") == [
        "clock.kind: found rated, which needs the built-in runner; expected wall or given"
    ]
    assert find_problems(settings("{spec}", "{depth}"), CONFIGS, {"rung1": {}}, "wall") == [
        f"runner.command: {{depth}} is no knob of the configurations, no with.X and none of {KNOWN}"
    ]


def test_a_path_of_the_score_may_use_names_and_none_needs_one() -> None:
    assert settings("{seed}").words == ["x", "{seed}"]
    assert settings("{seed}", env={"A": "{{no}}"}).names == {"seed"}


def test_the_section_of_a_runner_is_plain_json_with_the_defaults_of_a_command() -> None:
    class Holder(BaseModel):
        runner: RunnerSection

    builtin = {"sequence_length": 64, "kind": "other"}
    assert Holder(runner=builtin).runner == builtin
    given = make_settings()
    whole = CommandSettings.model_validate(given)
    plain = Holder(runner=given).runner
    assert plain == whole.model_dump(mode="json", by_alias=True, exclude_none=True) == Holder(runner=whole).runner
    assert type(plain) is dict and plain["timeout"] == {"times": 2.0, "plus_seconds": 300.0}
    assert Holder(runner=given).model_dump()["runner"] == plain
