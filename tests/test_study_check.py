"""`check_study` refuses, without a corpus, whatever the runner would refuse after it: by line, name, type and range."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest

from stages import study_check
from stages.domain.errors import Invalid
from stages.runners import Assignment
from stages.study_check import check_study, load_checked
from tests.support.repo import PROJECT

SMOKE = (PROJECT / "studies" / "smoke.yaml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _without_a_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("path", sorted((PROJECT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_ready_studies_are_accepted(path: Path) -> None:
    # A study that is made anew has another name than the one before it.
    assert load_checked(path).study.name.startswith(path.stem)


def refusal(old: str, new: str) -> list[str]:
    assert old in SMOKE
    with pytest.raises(Invalid) as error:
        check_study(SMOKE.replace(old, new, 1).encode(), "p.yaml")
    return str(error.value).splitlines()


def line(old: str) -> int:
    return SMOKE.split(old)[0].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("d2-a: {depth: 2,", "d2-a: {deepth: 2,", "configs.d2-a.deepth is not a key of this section; known are depth, "),
        ("d2-a: {depth: 2,", "d2-a: {", "configs.d2-a.depth is missing: add the key"),
        ("d2-a: {depth: 2,", 'd2-a: {depth: "2",', "configs.d2-a.depth is '2', expected a whole number"),
        ("d2-a: {depth: 2,", "d2-a: {depth: 2.5,", "configs.d2-a.depth is 2.5, expected a whole number"),
        ("d2-a: {depth: 2,", "d2-a: {depth: true,", "configs.d2-a.depth is True, expected a whole number"),
        ("d2-a: {depth: 2,", "d2-a: {depth: 1e30,", "configs.d2-a.depth is 1e+30, expected a whole number"),
        ("d2-a: {depth: 2,", "d2-a: {depth: 0,", "configs.d2-a.depth is 0, expected a value from 1 to 128"),
        ("d2-a: {depth: 2,", f"d2-a: {{depth: {10**400},", "configs.d2-a.depth: found a whole number of 1329 bits, expected at most 1e+21"),
        ("d2-a: {depth: 2, aspect: 8,", "d2-a: {depth: 100, aspect: 4000,", "configs.d2-a.depth 100 x aspect 4000 makes "),
        ("batch_tokens: 256,", "batch_tokens: 250,", "configs.d1-b.batch_tokens is 250, which "),
        ("head_dim: 8", "head_dim: 7", "runner.head_dim is 7, expected an even number"),
        ("head_dim: 8", "head_dmi: 8", "runner.head_dmi is not a key of this section"),
        ("sequence_length: 32", "sequence_length: '32'", "runner.sequence_length is '32', expected a whole number"),
    ],
)  # fmt: skip
def test_what_the_runner_would_refuse_is_told_with_its_line(old: str, new: str, expected: str) -> None:
    (message,) = refusal(old, new)
    assert message.startswith(f"p.yaml, line {line(old)}: {expected}")


def test_a_list_where_a_knob_is_one_value_is_told_at_its_place() -> None:
    old = "d1-a: {depth: 1,"
    message = f"p.yaml, line {line(old)}: configs.d1-a.depth: found [1, 2], expected a whole number"
    assert refusal(old, "d1-a: {depth: [1, 2],")[0] == message


def test_every_configuration_that_the_runner_refuses_is_named() -> None:
    messages = refusal("batch_tokens: 128, matrix_lr: 0.02, embedding_lr: 0.3, head_lr: 0.004}\n  d1-b: {depth: 1,",
                       "batch_tokens: 1, matrix_lr: 0.02, embedding_lr: 0.3, head_lr: 0.004}\n  d1-b: {depth: 0,")  # fmt: skip
    assert [message.split(" is ")[0].split(": ")[1] for message in messages] == [
        "configs.d1-a.batch_tokens",
        "configs.d1-b.depth",
    ]


def test_two_configurations_that_build_and_train_one_model_are_refused() -> None:
    (message,) = refusal(
        "d1-b: {depth: 1, aspect: 16, batch_tokens: 256,", "d1-b: {depth: 1, aspect: 16, batch_tokens: 128,"
    )
    assert message.startswith(f"p.yaml, line {line('  d1-b:')}: configs.d1-b: builds and trains exactly what d1-a does")


def test_a_whole_number_of_a_knob_may_be_written_with_an_exponent() -> None:
    text = SMOKE.replace("batch_tokens: 256", "batch_tokens: 2.56e2").replace("eval_tokens: 512", "eval_tokens: 5.12e2")
    check_study(text.encode(), "p.yaml")


def test_an_alias_is_refused_with_its_line_because_dvc_copies_it_into_a_lock_that_takes_none() -> None:
    first = "R1: {kind: complete_cells}"
    head, tail = SMOKE.split("gates:\n")
    assert first in tail
    shared = (
        head + "gates:\n" + tail.replace(first, "R1: &cells {kind: complete_cells}", 1).replace(first, "R1: *cells", 1)
    )
    with pytest.raises(Invalid, match=r"^p.yaml, line \d+: found the alias \*cells, expected the value itself: DVC"):
        check_study(shared.encode(), "p.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("roles:", "roles: [a]\nothers:", "roles: found ['a'], expected a mapping"),
        ("seeds: [1]", "seeds: {a: 1}", "rungs.rung1.seeds: found {'a': 1}, expected a list"),
        ("seeds: [1]", "seeds: null", "rungs.rung1.seeds: found null, expected a list"),
        ("budget_seconds: 0.05", "budget_seconds: true", "rungs.rung1.budget_seconds: found true, expected a number"),
        ("  name: smoke", "  from: other\n  name: smoke", "study.from: found 'other', expected a mapping"),
        (
            "  name: smoke",
            "  from: {study: x, commit: abc, gate: five, decision: d}\n  name: smoke",
            "study.from.commit: found 'abc', expected the whole id of a commit: 40 or 64 hexadecimal digits in lower case",
        ),
        (
            "  name: smoke",
            "  from: {study: x, commit: abc, gate: five, decision: d}\n  name: smoke",
            "study.from.gate: found 'five', expected a gate: gate1, gate2, ...",
        ),
    ],
)
def test_a_mistake_is_told_in_the_words_of_yaml_and_with_its_line(old: str, new: str, message: str) -> None:
    text = (PROJECT / "studies" / "smoke.yaml").read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(Invalid) as refused:
        check_study(text.replace(old, new, 1).encode(), "mine.yaml")
    lines = [line for line in str(refused.value).splitlines() if line.endswith(message)]
    assert len(lines) == 1, refused.value
    assert re.match(r"mine\.yaml, line \d+: ", lines[0])
    assert not re.search(r"valid (dictionary|list|string|integer|number)|instance of|None|True", str(refused.value))


class FakeRunner:
    """A runner that keeps what it is asked to make a specification of, and refuses each with the same words."""

    def __init__(self, *mistakes: str) -> None:
        self.asked: list[Assignment] = []
        self.mistakes = mistakes

    def make_spec(self, assignment: Assignment, where: str) -> None:
        assert where == "p.yaml"
        self.asked.append(assignment)
        if self.mistakes:
            raise Invalid(self.mistakes[len(self.asked) % len(self.mistakes)])


def test_every_configuration_and_every_host_at_every_budget_is_asked_of_the_runner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runner = FakeRunner()
    monkeypatch.setattr(study_check, "runner_of", lambda settings: runner)
    study = check_study(SMOKE.encode(), "p.yaml")
    configs, hosts, rungs = list(study.configs), list(study.hosts), list(study.rungs)
    expected = [(rungs[0], hosts[0], config) for config in configs]
    expected += [(rung, host, configs[0]) for rung in rungs for host in hosts]
    assert [(asked.rung, asked.host, asked.config) for asked in runner.asked] == expected
    for asked in runner.asked:
        rung = study.rungs[asked.rung]
        assert asked == Assignment(
            rung=asked.rung, config=asked.config, host=asked.host, seed=rung.seeds[0], settings=study.runner,
            knobs=study.configs[asked.config], block=study.hosts[asked.host].model_dump(), clock=study.clock.kind,
            seconds=rung.budget_seconds, last=asked.rung == rungs[-1], options=rung.with_,
        )  # fmt: skip


def test_a_mistake_that_many_runs_share_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_check, "runner_of", lambda settings: FakeRunner("p.yaml: b", "p.yaml: a"))
    with pytest.raises(Invalid) as refused:
        check_study(SMOKE.encode(), "p.yaml")
    assert str(refused.value).splitlines() == ["p.yaml: a", "p.yaml: b"]


def test_a_file_that_is_missing_is_told_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"^params\.yaml is missing; run this in the root of a study, or see "):
        load_checked()


@pytest.mark.parametrize(
    ("runner", "text", "asked"),
    [
        (None, SMOKE, 1),
        (None, SMOKE.replace("d2-a: {depth: 2,", "d2-a: {depth: 0,"), 0),
        (FakeRunner(), SMOKE, 0),
        (FakeRunner("p.yaml: a"), SMOKE, 0),
    ],
)
def test_models_are_built_only_where_the_built_in_runner_takes_every_run(
    runner: FakeRunner | None, text: str, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[object] = []
    monkeypatch.setattr(study_check, "realise_all", lambda study, vocabulary, where: sizes.append((vocabulary, where)))
    if runner:
        monkeypatch.setattr(study_check, "runner_of", lambda settings: runner)
    with contextlib.suppress(Invalid):
        study = check_study(text.encode(), "p.yaml")
        assert [(study.data.vocab_size, "p.yaml")] * asked == sizes
    assert len(sizes) == asked
