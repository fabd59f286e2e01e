"""A trainer that is not this project's: what it is given, how it ends, and what of it reaches the record."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML

from stages.domain.command import CommandSettings, RunnerSection, find_problems
from stages.domain.errors import Invalid, Refused
from stages.domain.metric import metric_of
from stages.domain.records import Record
from stages.domain.schema import Strict, parse
from stages.domain.study import parse_study
from stages.rungs import rung_yaml
from stages.runners import runner_of
from stages.runners.command import CommandRunner
from stages.runners.output import LOG, SCORE_FILE, decompress
from tests.runners.conftest import Watcher, assignment, make_settings
from tests.runners.foreign_study import make_params
from tests.support.contracts import make_contract


class _Section(Strict):
    runner: RunnerSection


SHORT = {"times": 1, "plus_seconds": 1}


def record_of(result, runner, **changes):
    """The record that a result becomes."""
    contract = make_contract(clock="given")
    value = contract.make_record(
        config="a", host="h1", seed=changes.pop("seed", 1), purpose="candidate", status=result.status,
        reason=result.reason, spec=runner.make_spec(assignment()), facts=result.facts,
    )  # fmt: skip
    return Record.model_validate(value | changes)


def test_a_run_that_ends_well_has_the_score_as_it_was_printed_and_rounded_once(train):
    watcher = Watcher()
    result = train(watcher=watcher)
    assert (result.status, result.reason) == ("finished", None)
    assert result.facts["score"] == pytest.approx(float(result.facts["printed"]), abs=5e-7)
    assert len(result.facts["printed"].partition(".")[2]) == 7
    assert result.facts["reported"] == {"seconds": 2.0, "steps": 20.0}
    assert [row[0] for row in watcher.rows] == list(range(1, 21))
    lines = result.trace["curve.csv"].decode().splitlines()
    assert lines[0] == "step,tokens,seconds,train_loss,lr_factor"
    assert len(lines) == 21
    assert "val_loss:" in decompress(result.trace[LOG])


def test_the_same_seed_repeats_and_another_does_not(train):
    first, again, other = train(seed=1), train(seed=1), train(seed=2)
    assert first.facts == again.facts
    assert first.facts["score"] != other.facts["score"]


@pytest.mark.parametrize(
    ("mode", "status", "reason"),
    [
        ("nan", "diverged", "its val_loss is nan"),
        ("inf", "diverged", "its val_loss is inf"),
        ("fail", "diverged", "it printed: FAIL"),
        ("oom", "failed", "it printed: RuntimeError: CUDA out of memory. Tried to allocate 20 GiB"),
    ],
)
def test_an_ending_that_is_understood_has_a_record_with_its_reason(train, mode, status, reason):
    result = train(mode)
    assert (result.status, result.reason) == (status, reason)
    assert (result.facts is None) == (status == "failed")
    if result.facts is not None:
        assert (result.facts["score"], result.facts["printed"]) == (None, None)


@pytest.mark.parametrize(
    ("mode", "why"), [("crash", "exit status 3"), ("no_score", "nothing it left matches runner.score")]
)
def test_an_ending_that_nobody_understands_has_no_record_and_its_log_is_kept(train, place, mode, why):
    with pytest.raises(Refused, match=why) as error:
        train(mode)
    assert "step 20 | loss" in str(error.value)
    assert "step 20" in (place / "scratch" / "run" / "log.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("mode", ["hang", "stubborn"])
def test_a_run_whose_time_is_up_has_failed_and_nothing_of_it_lives(train, monkeypatch, mode):
    monkeypatch.setattr("stages.runners.process_tree.GRACE_SECONDS", 0.5)
    result = train(mode, timeout=SHORT, seconds=1.0)
    assert (result.status, result.reason) == ("failed", "it was stopped after 2 s, its limit")
    assert result.facts is None
    assert [
        child for child in psutil.Process().children(recursive=True) if "train.py" in " ".join(child.cmdline())
    ] == []


def test_a_child_that_would_outlive_the_trainer_is_ended_with_it(train):
    began = time.monotonic()
    result = train("orphan")
    assert result.status == "finished"
    pid = int(decompress(result.trace[LOG]).split("child: ")[1].split()[0])
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert time.monotonic() - began < 120


def test_progress_bars_that_overwrite_their_line_are_read(train):
    watcher = Watcher()
    assert train("carriage", watcher=watcher).status == "finished"
    assert len(watcher.rows) == 20


def test_fifty_megabytes_of_output_leave_a_small_log_that_says_the_same(train):
    result = train("flood")
    text = decompress(result.trace[LOG])
    assert len(text) < 3 << 20
    assert len(result.trace[LOG]) < 100_000
    assert "lines left out" in text
    assert result.status == "finished"
    runner = CommandRunner(make_settings())
    assert list(runner.check_trace(record_of(result, runner), result.trace)) == []


def test_a_score_may_stand_in_a_json_file(train):
    score = {"name": "loss", "json": "{out}/meta.json", "key": "eval.loss"}
    result = train("json", score=score)
    assert result.status == "finished"
    assert result.facts["printed"] in result.trace[SCORE_FILE].decode()


def test_the_environment_is_clean_but_for_what_is_declared(train, monkeypatch):
    monkeypatch.setenv("STRAY", "1")
    monkeypatch.setenv("HF_TOKEN", "secret")
    result = train("echo", env={"DATA_DIR": "{data}"}, inherit=["HF_TOKEN"])
    names = next(line for line in decompress(result.trace[LOG]).splitlines() if line.startswith("variables:")).split()
    assert "STRAY" not in names
    assert {"DATA_DIR", "HF_TOKEN", "PATH"} <= set(names)
    assert all(b"secret" not in data for data in result.trace.values())


def test_a_variable_that_is_to_be_inherited_and_is_not_there_is_named(train):
    with pytest.raises(Refused, match="runner.inherit: HF_TOKEN_X is not set here"):
        train(inherit=["HF_TOKEN_X"])


def test_a_trainer_may_run_in_its_own_folder(train):
    command = [sys.executable, "train.py", "--seed={seed}", "--steps={with.steps}", "--lr={lr}", "--mode=normal"]
    assert train(command=command, folder="small").status == "finished"


def test_a_program_that_is_not_there_is_named(train):
    with pytest.raises(Refused, match="no program 'no-such-program'"):
        train(command=["no-such-program", "{seed}", "{lr}", "{with.steps}"])


def test_the_input_in_the_record_is_the_same_on_every_machine(place):
    spec = CommandRunner(make_settings(env={"X": "{out}"})).make_spec(assignment())
    assert "--out={out}" in spec["argv"]
    assert ("--seed={seed}" in spec["argv"], spec["seed"]) == (True, 1)
    assert spec["env"] == {"X": "{out}"}
    assert str(place) not in repr({**spec, "argv": spec["argv"][1:]})


def test_braces_in_a_knob_are_text_and_no_name(train, place):
    runner = CommandRunner(
        make_settings(
            "normal", command=["python", "-c", "import sys; print('val_loss:', 1, sys.argv)", "{lr}", "{seed}"]
        )
    )
    spec = runner.make_spec(assignment(knobs={"lr": "{out}"}))
    assert spec["argv"][3] == "{{out}}"
    runner = CommandRunner(make_settings(command=spec["argv"], score={"name": "x", "line": "val_loss: {score} {*}"}))
    result = runner.train(spec, place / "corpus", place / "scratch" / "run", Watcher())
    assert "'{out}'" in decompress(result.trace[LOG])


def test_changed_data_is_refused_before_anything_starts(place):
    from stages.domain import files

    runner = runner_of(make_settings())
    digest = files.sha256_file(place / "corpus" / "manifest.json")
    runner.check_corpus(digest, Path("corpus"))
    (place / "data" / "text.txt").write_bytes(b"other data\n")
    with pytest.raises(Refused, match=r"data/text\.txt was changed"):
        runner.check_corpus(digest, Path("corpus"))


def test_another_manifest_than_the_frozen_one_and_none_at_all_are_refused(place):
    runner, manifest = runner_of(make_settings()), place / "corpus" / "manifest.json"
    with pytest.raises(
        Refused, match=f"corpus/manifest.json: found sha256 [0-9a-f]{{64}}, expected the frozen {'0' * 64}"
    ):
        runner.check_corpus("0" * 64, Path("corpus"))
    manifest.unlink()
    with pytest.raises(Refused, match=r"corpus/manifest\.json is missing; `dvc repro corpus` writes it"):
        runner.check_corpus("0" * 64, Path("corpus"))


def test_the_digest_of_the_runner_changes_with_every_file_of_it(place):
    from stages.runners import Folder

    runner = runner_of(make_settings())
    before = runner.digest(Folder())
    (place / "small" / "train.py").write_text("print(1)\n", encoding="utf-8")
    assert runner.digest(Folder()) not in (before, None)


def test_two_seeds_that_end_alike_to_six_decimals_show_a_trainer_that_ignores_its_seed(train):
    runner = CommandRunner(make_settings())
    check = runner.make_facts_check(None)
    records = [record_of(train("ignores_seed", seed=seed), runner, seed=seed) for seed in (1, 2)]
    assert [problem for record in records for problem in check.mismatches(record, {}, True)] == []
    first, other = (check.make_fingerprint(record.facts) for record in records)
    assert first == other != ()
    assert check.make_fingerprint(train(seed=3).facts) != check.make_fingerprint(train(seed=4).facts)
    assert "follow from nothing that is recorded" in check.notes()[0]


def test_two_seeds_may_end_alike_to_four_decimals_by_chance(train):
    runner = CommandRunner(make_settings())
    check = runner.make_facts_check(None)
    for seed in (1, 2):
        record = record_of(train(), runner, seed=seed, facts={"score": 3.5, "printed": "3.5000", "reported": {}})
        assert list(check.mismatches(record, {}, True)) == []
        assert check.make_fingerprint(record.facts) == ()


def test_a_score_that_its_log_does_not_hold_is_found(train):
    runner = CommandRunner(make_settings())
    result = train()
    forged = dict(result.facts, score=0.5, printed="0.5")
    problems = list(runner.check_trace(record_of(result, runner, facts=forged), result.trace))
    assert [problem.pointer for problem in problems] == ["/facts/printed"]
    assert next(iter(runner.check_trace(record_of(result, runner), {}))).recorded == "no log"


def test_a_score_that_was_rounded_otherwise_is_found(train):
    runner = CommandRunner(make_settings())
    facts = {"score": 1.5, "printed": "1.4999999", "reported": {"steps": 1.0, "extra": 2.0}}
    record = record_of(train(), runner, facts=facts)
    pointers = [problem.pointer for problem in runner.make_facts_check(None).mismatches(record, {}, True)]
    assert pointers == ["/facts/reported/extra"]  # 1.4999999 is 1.500000 in six places
    record = record_of(train(), runner, facts=facts | {"score": 1.499999, "reported": {}})
    assert [problem.pointer for problem in runner.make_facts_check(None).mismatches(record, {}, True)] == [
        "/facts/score"
    ]


@pytest.mark.parametrize(
    ("change", "place", "why"),
    [
        ({"command": []}, "runner.command", "at least 1 item"),
        ({"command": ["python", "{a"]}, "runner.command.1", "{{ for a brace"),
        ({"files": ["train.py"]}, "runner", "at the root"),
        ({"files": ["a/x.py", "a/x.py"]}, "runner", "each of files once"),
        ({"files": ["../x.py"]}, "runner.files.0", "stays inside"),
        ({"score": {"name": "acc", "line": "acc: {score}", "lower_is_better": False}}, "runner.score", "negative"),
        ({"score": {"name": "loss", "line": "loss: {value}"}}, "runner.score.line", "{score}"),
        ({"score": {"name": "loss"}}, "runner.score", "either line"),
        ({"score": {"name": "loss", "json": "{out}/x.json"}}, "runner.score", "json and key together"),
        ({"facts": {"steps": "steps"}}, "runner.facts.steps", "{value}"),
        ({"progress": "loss {loss}"}, "runner.progress", "{step}"),
        ({"diverged": ["loss {loss}"]}, "runner.diverged.0", "nothing reads {loss}"),
        ({"env": {"X": "1"}, "inherit": ["X"]}, "runner", "either in env or in inherit"),
        ({"shell": "rm -rf"}, "runner.shell", "no such key"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_their_place(change, place, why):
    with pytest.raises(Invalid) as error:
        parse(_Section, {"runner": make_settings() | change}, "params.yaml")
    assert CommandSettings.model_validate(make_settings())
    assert place in str(error.value)
    assert why in str(error.value)


CONFIGS = {"a": {"lr": 0.1}, "b": {"lr": 0.2}}
OPTIONS = {"rung1": {"steps": 10}, "rung2": {"steps": 20}}


@pytest.mark.parametrize(
    ("words", "configs", "options", "clock", "why"),
    [
        (["x", "{lr}", "{with.steps}"], CONFIGS, OPTIONS, "given", "runner.command: found no {seed}"),
        (["x", "{seed}", "{lr}"], CONFIGS, {"rung1": {}}, "given", "nothing in it says how long to train"),
        (["x", "{seed}", "{with.steps}"], CONFIGS, OPTIONS, "given", "the knob lr is used nowhere"),
        (["x", "{seed}", "{lr}", "{depth}", "{with.steps}"], CONFIGS, OPTIONS, "given", "{depth} is no knob"),
        (
            ["x", "{seed}", "{lr}", "{with.hours}", "{with.steps}"],
            CONFIGS,
            OPTIONS,
            "given",
            "rungs.rung1.with: hours is missing",
        ),
        (["x", "{seed}", "{lr}", "{budget_seconds}"], CONFIGS, OPTIONS, "wall", "with.steps is used nowhere"),
        (["x", "{seed}", "{lr}", "{with.steps}"], CONFIGS, OPTIONS, "rated", "clock.kind: found rated"),
        (
            ["x", "{seed}", "{lr}", "{with.steps}"],
            {"a": {"lr": 1}, "b": {}},
            OPTIONS,
            "given",
            "configs.b: lr is missing",
        ),
        (
            ["x", "{seed}", "{lr}", "{with.steps}"],
            {"a": {"lr": 1, "out": "y"}},
            OPTIONS,
            "given",
            "the knob out has the name",
        ),
    ],
)
def test_a_command_that_does_not_fit_the_study_is_refused_with_its_place(words, configs, options, clock, why):
    settings = CommandSettings.model_validate(make_settings(command=words))
    assert any(why in problem for problem in find_problems(settings, configs, options, clock))


def test_a_threshold_below_what_the_trainer_prints_is_refused():
    params = make_params()
    params["runner"]["score"]["resolution"] = 0.01
    gate = {"R9": {"kind": "within_gap", "gap": 0.005, "of": "reference"}}
    params["gates"]["gate1"] |= gate
    with pytest.raises(Invalid, match=r"gate1\.R9: within_gap .* below runner\.score\.resolution, 0\.01"):
        parse_study(params, "params.yaml")
    gate["R9"]["gap"] = 0.01
    params["gates"]["gate1"] |= gate
    assert "values closer than 0.01 are ties" in metric_of(parse_study(params, "params.yaml").runner).meaning


def test_the_runs_of_a_command_depend_on_the_files_of_its_trainer():
    study = parse_study(make_params(), "params.yaml")
    stages = YAML(typ="safe").load(rung_yaml(study, "rung2"))["stages"]
    assert [stages[name]["deps"] for name in ("run", "floor")] == [
        ["artifacts/protocol/rung2.json", "small/train.py"]
    ] * 2
    assert "small/train.py" not in stages["gate"]["deps"]


def test_a_command_that_fits_has_no_problem():
    assert find_problems(CommandSettings.model_validate(make_settings()), CONFIGS, OPTIONS, "given") == []
    everything = CommandSettings.model_validate(make_settings(command=["x", "{spec}"]))
    assert find_problems(everything, CONFIGS, OPTIONS, "wall") == []
