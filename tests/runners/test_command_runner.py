"""The command runner without a program: the study that it refuses, the input that it makes, the log that it reads again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.domain import canonical, files
from stages.domain.errors import Refused
from stages.domain.locks import LockRefused
from stages.domain.records import Record
from stages.domain.study import parse_study
from stages.runners import Folder, RunResult, StudyModels
from stages.runners.command import CommandRunner
from stages.runners.output import LOG, SCORE_FILE, compress
from tests.runners.conftest import assignment, make_settings
from tests.runners.foreign_study import make_params
from tests.support.contracts import HOST, make_contract


def make_record(runner: CommandRunner, status: str = "finished", **facts: Any) -> Record:
    """A record of a run of a command; without facts where it did not finish."""
    value = make_contract(clock="given").make_record(
        config="a", host="h1", seed=1, purpose="candidate", status=status, reason=None,
        spec=runner.make_spec(assignment()), facts=facts or None,
    )  # fmt: skip
    return Record.model_validate(value)


def test_its_digest_is_that_of_its_files_and_none_where_none_is_there(place: Path) -> None:
    runner = CommandRunner(make_settings(files=["small/train.py", "small/data.py"]))
    train = (place / "small" / "train.py").read_bytes()
    assert runner.digest(Folder()) == files.digest_of([("small/train.py", train)])
    (place / "small" / "data.py").write_bytes(b"data\n")
    assert runner.digest(Folder()) == files.digest_of([("small/data.py", b"data\n"), ("small/train.py", train)])
    assert CommandRunner(make_settings(files=["gone/x.py"])).digest(Folder()) is None
    assert runner.is_installed("anything") is True
    assert (runner.title, runner.keeps_weights) == ("runner.files", False)
    runner.load()


def test_a_study_whose_files_are_here_has_configurations_of_which_nobody_knows_the_model(place: Path) -> None:
    study = parse_study(make_params(), "params.yaml")
    runner = CommandRunner(study.runner)
    assert runner.validate(study) == StudyModels({name: {"same_model_as": []} for name in study.configs})
    (place / "small" / "train.py").unlink()
    message = "params.yaml: runner.files.0: there is no file small/train.py; put it there"
    with pytest.raises(LockRefused) as refused:
        runner.validate(study)
    assert str(refused.value) == message
    with pytest.raises(LockRefused) as refused:
        runner.train({}, place, place, None)  # type: ignore[arg-type]
    assert str(refused.value) == message


def test_the_input_of_a_run_is_all_that_the_study_says(place: Path) -> None:
    runner = CommandRunner(
        make_settings(
            command=["t", "{seed}", "{lr}", "{with.steps}", "{budget_seconds}", "{last}", "{gpus}", "{data}", "{{x}}"],
            env={"Z": "{host}-{rung}-{config}", "A": "{threads}{device}{precision}"},
            inherit=["Y", "X"],
            score={"name": "loss", "json": "{out}/{config}.json", "key": "a"},
            folder="small",
            timeout={"times": 3, "plus_seconds": 1},
        )
    )
    expected = {
        "schema": 1, "kind": "command", "folder": "small", "config": {"lr": 0.1}, "seed": 4, "rung": "rung1",
        "last": False, "clock": {"kind": "given", "seconds": 0.5}, "with": {"steps": 20},
        "host": {"device": "cpu", "precision": "fp32", "threads": 1, "gpus": 0},
        "argv": ["t", "{seed}", "0.1", "20", "0.5", "false", "0", "{data}", "{{x}}"],
        "env": {"A": "1cpufp32", "Z": "h1-rung1-a"}, "inherit": ["X", "Y"],
        "score": {"name": "loss", "unit": "", "json": "{out}/a.json", "key": "a", "lower_is_better": True},
        "limit_seconds": 2.5,
    }  # fmt: skip
    spec = runner.make_spec(assignment(seed=4, seconds=0.5))
    assert spec == expected
    assert list(spec["env"]) == ["A", "Z"]
    assert runner.make_given(assignment(seed=4, seconds=0.5)) == expected
    plain = CommandRunner(make_settings()).make_spec(assignment())
    assert "folder" not in plain
    assert plain["score"]["line"] == "val_loss: {score}"


@pytest.mark.parametrize(("block", "gpus"), [({}, 0), ({"device": "cuda"}, 1), ({"device": "cuda", "gpus": 4}, 4)])
def test_a_run_on_a_gpu_uses_one_unless_its_block_says_how_many(place: Path, block: Any, gpus: int) -> None:
    spec = CommandRunner(make_settings()).make_spec(assignment(block={**HOST, **block}))
    assert spec["host"]["gpus"] == gpus


def test_a_manifest_that_is_not_the_frozen_one_is_refused_and_so_is_none(place: Path) -> None:
    runner, path = CommandRunner(make_settings()), Path("corpus/manifest.json")
    digest = files.sha256_file(path)
    runner.check_corpus(digest, path.parent)
    with pytest.raises(Refused) as refused:
        runner.check_corpus("0" * 64, path.parent)
    assert str(refused.value) == (
        f"corpus/manifest.json: found sha256 {digest}, expected the frozen {'0' * 64}; `dvc repro` makes it anew"
    )
    Path("data/text.txt").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"text\.txt"):
        runner.check_corpus(digest, path.parent)
    path.unlink()
    with pytest.raises(Refused) as refused:
        runner.check_corpus(digest, path.parent)
    assert str(refused.value) == "corpus/manifest.json is missing; `dvc repro corpus` writes it"


def test_a_run_is_repeated_with_what_its_record_was_given(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner, asked = CommandRunner(make_settings()), []

    def train(*words: object) -> RunResult:
        asked.append(words)
        return RunResult("finished", None, None, {})

    monkeypatch.setattr(runner, "train", train)
    record, observer = make_record(runner, "diverged"), object()
    assert runner.repeat(record, Path("c"), Path("s"), observer).status == "finished"  # type: ignore[arg-type]
    assert asked == [(record.spec, Path("c"), Path("s"), observer)]
    assert (record.spec or {})["seed"] == 1


RUNNER = CommandRunner(make_settings())
FACTS = {"score": 1.5, "printed": "1.5", "reported": {"steps": 20.0}}
PRINTED = "val_loss: 1.5\nnum_steps: 20\n"


@pytest.mark.parametrize(
    ("record", "text", "mismatches"),
    [
        (make_record(RUNNER, **FACTS), PRINTED, []),
        (
            make_record(RUNNER, **FACTS),
            "val_loss: 1.6\nnum_steps: 20\n",
            [("/facts/printed", "1.5", "1.6", "the log of the run has another score")],
        ),
        (
            make_record(RUNNER, **FACTS),
            "val_loss: 1.5\nnum_steps: 21\n",
            [("/facts/reported", {"steps": 20.0}, {"steps": 21.0}, "the log of the run says something else")],
        ),
        (
            make_record(RUNNER, **FACTS),
            PRINTED + "FAIL\nan CUDA out of memory error\n",
            [
                ("/status", "finished", "failed", "the log of the run says: an CUDA out of memory error"),
                ("/status", "finished", "diverged", "the log of the run says: FAIL"),
            ],
        ),
        (make_record(RUNNER, "failed"), PRINTED + "FAIL\n", []),
        (make_record(RUNNER, "diverged", **FACTS | {"score": None, "printed": None}), PRINTED + "FAIL\n", []),
    ],
)
def test_the_log_of_a_run_says_what_its_record_does(record: Record, text: str, mismatches: list[Any]) -> None:
    reported = RUNNER.check_trace(record, {LOG: compress(text)})
    assert [(entry.pointer, entry.recorded, entry.expected, entry.meaning) for entry in reported] == mismatches


def test_a_log_that_is_not_there_or_cannot_be_read_is_told_and_what_never_ran_needs_none() -> None:
    record = make_record(RUNNER, **FACTS)
    for trace, why in (({}, "'log.txt.gz'"), ({LOG: b"no gzip"}, "")):
        (mismatch,) = RUNNER.check_trace(record, trace)
        assert (mismatch.pointer, mismatch.recorded, mismatch.meaning) == (
            "/facts", "no log", "nobody can read its score again"
        )  # fmt: skip
        assert str(mismatch.expected).startswith(f"the log of the run ({why}")
    stopped = make_contract().make_record(
        config="a", host="h1", seed=1, purpose="candidate", status="stopped", reason="no ticket"
    )
    assert list(RUNNER.check_trace(Record.model_validate(stopped), {})) == []


def test_a_score_in_a_file_is_read_again_from_that_file() -> None:
    runner = CommandRunner(make_settings(score={"name": "loss", "json": "{out}/x.json", "key": "a"}))
    record = make_record(runner, **FACTS)
    trace = {LOG: compress("num_steps: 20\n"), SCORE_FILE: canonical.dumps({"a": 1.5})}
    assert list(runner.check_trace(record, trace)) == []
    del trace[SCORE_FILE]
    assert [(entry.pointer, entry.expected) for entry in runner.check_trace(record, trace)] == [
        ("/facts/printed", None)
    ]
