"""`promotion try`: what three runs of a trainer show before anything is frozen."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages import runners
from stages.cli import build_parser
from stages.commands import trial
from stages.domain import files
from stages.domain.errors import Invalid, Refused
from stages.domain.study import Study, parse_study
from stages.hosts import machine
from stages.runners import RunResult
from tests.runners.conftest import place  # noqa: F401
from tests.runners.foreign_study import make_params


@pytest.fixture
def attempt(place: Path, capsys: pytest.CaptureFixture[str]):  # noqa: F811
    """Run `promotion try` on the foreign study in a mode of its trainer; its exit status and findings."""

    def run(mode: str = "normal", **gate: Any) -> tuple[int, list[dict[str, str]]]:
        params = make_params()
        params["runner"]["command"][0] = params["runner"]["probe"][0] = sys.executable
        params["configs"]["small"]["mode"] = mode
        params["gates"]["gate1"] |= gate
        (place / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
        files.write_whole(place / "artifacts/corpus/manifest.json", (place / "corpus/manifest.json").read_bytes())
        status = trial.run(build_parser("try").parse_args(["try", "small", "--json"]))
        return status, json.loads(capsys.readouterr().out)["findings"]

    return run


def test_a_trainer_that_does_what_it_should_has_nothing_in_its_way(attempt) -> None:
    status, findings = attempt()
    said = " / ".join(finding["what"] for finding in findings)
    assert status == 0
    for part in ("val_loss is found", "repeats exactly", "another seed makes a difference", "reports torch 9.9"):
        assert part in said


def test_a_trainer_that_ignores_its_seed_is_told(attempt) -> None:
    status, findings = attempt("ignores_seed")
    assert status == 1
    assert any("ignores its seed" in finding["blocks"] for finding in findings)


def test_a_trainer_that_takes_longer_than_its_budget_would_break_the_rule_that_asks(attempt) -> None:
    status, findings = attempt("slow", R9={"kind": "budget_kept", "tolerance": 0.1})
    assert status == 1
    assert any("gate1.R9, gate2.R4 (budget_kept) would not hold" in finding["blocks"] for finding in findings)


def test_a_run_that_diverges_is_told_at_once(attempt) -> None:
    status, findings = attempt("nan")
    assert (status, findings[0]["what"]) == (1, "seed 6 diverged: its val_loss is nan")


def test_a_file_of_the_trainer_or_of_the_data_that_is_not_there_is_named_before_anything_trains(attempt, place) -> None:  # noqa: F811
    attempt()
    (place / "small" / "train.py").rename(place / "small" / "aside.py")
    with pytest.raises(Invalid, match=r"runner\.files\.0: there is no file small/train\.py; put it there"):
        trial.run(build_parser("try").parse_args(["try", "small"]))
    (place / "data" / "text.txt").unlink()
    with pytest.raises(Refused, match=r"data\.source\.files\.0: there is no file data/text\.txt; put it there"):
        trial.run(build_parser("try").parse_args(["try", "small"]))


def test_a_configuration_that_is_not_there_is_named(attempt) -> None:
    attempt()
    with pytest.raises(Refused, match="no such configuration; params.yaml has small"):
        trial.run(build_parser("try").parse_args(["try", "smal"]))


SMALL = machine.MachineDescription(
    system="linux", machine="x86_64", cpu="", threads=1, gpus=(), compiler=None, triton=False
)


def make_trial(**changes: Any) -> trial.Trial:
    fields: dict[str, Any] = {
        "seed": 6, "status": "finished", "reason": None, "score": 1.25, "printed": None, "reported_seconds": None,
        "wall_seconds": 2.5, "environment": None, "probe": {},
    }  # fmt: skip
    return trial.Trial(**fields | changes)


def study_with(**gate: Any) -> Study:
    """The foreign study: a gap of 0.001 is frozen at gate 2, and gate 1 has these rules too."""
    params = make_params()
    params["gates"]["gate1"] |= gate
    params["gates"]["gate2"]["R7"] = {"kind": "within_gap", "gap": 0.001, "of": "best"}
    return parse_study(params, "params.yaml")


def judge(study: Study, first: trial.Trial, again: trial.Trial, other: trial.Trial) -> list[tuple[str, str]]:
    return [(finding.what, finding.blocks) for finding in trial.judge_trials(study, first, again, other)]


def test_three_trials_that_do_what_they_should_are_told_with_their_numbers() -> None:
    other = make_trial(seed=7, score=1.0, wall_seconds=3.5)
    assert judge(study_with(), make_trial(), make_trial(), other) == [
        ("val_loss is found: 1.25", ""),
        ("the same seed repeats exactly", ""),
        ("another seed makes a difference of 0.250000", ""),
        ("a run took 2.5 s of wall time, for a budget of 1 s", ""),
    ]
    findings = judge(study_with(), make_trial(printed="1.2500"), make_trial(printed="1.2500"), other)
    assert findings[0] == ("val_loss is found: 1.2500", "")


@pytest.mark.parametrize(
    ("off", "blocks"),
    [
        (0.000499, ""),
        (0.0005, "gate2.R7 has a threshold of 0.001, no more than twice that"),
        (-0.25, "gate2.R7 has a threshold of 0.001, no more than twice that"),
    ],
)
def test_a_repetition_that_is_off_blocks_what_has_a_threshold_of_no_more_than_twice_that(
    off: float, blocks: str
) -> None:
    findings = judge(study_with(), make_trial(score=0.0), make_trial(score=off), make_trial(score=2.0))
    message = f"the same seed is off by {abs(off):.6f}; `promotion replay` will say so of every run"
    assert findings[1] == (message, blocks)


def test_a_repetition_that_prints_otherwise_is_off_by_nothing() -> None:
    findings = judge(study_with(), make_trial(printed="1.25"), make_trial(printed="1.250"), make_trial(score=2.0))
    assert findings[1] == ("the same seed is off by 0.000000; `promotion replay` will say so of every run", "")


def test_all_thresholds_below_the_difference_are_named() -> None:
    study = study_with(R8={"kind": "exceeds_gap", "gap": 0.5, "of": "best"})
    blocks = judge(study, make_trial(), make_trial(score=1.5), make_trial(score=2.0))[1][1]
    first = "gate1.R8 has a threshold of 0.5, no more than twice that"
    assert blocks == f"{first}; gate2.R7 has a threshold of 0.001, no more than twice that"


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("1.25000", ("another seed ends alike to 5 decimals, which can be chance; a longer budget would tell", "")),
        ("1.250000", ("another seed ends alike to the last decimal",
                      "the trainer ignores its seed: V14 fails on such runs")),
        (None, ("another seed ends alike to the last decimal",
                "the trainer ignores its seed: V14 fails on such runs")),
    ],
)  # fmt: skip
def test_another_seed_that_ends_alike_is_no_chance_from_six_decimals_on(printed: str | None, told: Any) -> None:
    same = make_trial(printed=printed)
    assert judge(study_with(), same, same, same)[2] == told


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_first_trial_that_did_not_finish_ends_the_judgement(number: int) -> None:
    trials = [make_trial(), make_trial(), make_trial(score=1.0)]
    trials[number] = make_trial(seed=9, status="failed", reason="out of memory", score=None)
    blocks = "such a run has no val_loss, and every mean with it is missing"
    assert judge(study_with(), *trials) == [("seed 9 failed: out of memory", blocks)]


def test_the_slowest_trial_is_held_against_the_budget_and_its_tolerance() -> None:
    study = study_with(R9={"kind": "budget_kept", "tolerance": 0.25})
    trials = [make_trial(reported_seconds=seconds, score=score) for seconds, score in ((1.0, 1), (1.25, 1), (0.5, 2))]
    assert judge(study, *trials)[3] == ("the trainer reports up to 1.25 s, of a budget of 1 s", "")
    trials[2] = make_trial(reported_seconds=1.5, score=2)
    blocks = "gate1.R9 (budget_kept) would not hold"
    assert judge(study, *trials)[3] == ("the trainer reports up to 1.5 s, of a budget of 1 s", blocks)
    trials[0] = make_trial(reported_seconds=1.75, score=1)
    blocks = "gate1.R9, gate2.R4 (budget_kept) would not hold"
    assert judge(study, *trials)[3] == ("the trainer reports up to 1.75 s, of a budget of 1 s", blocks)


def test_what_the_probe_reports_and_what_it_should_report_is_told() -> None:
    seen = make_trial(probe={"torch": "2.9", "cuda": "13"}, environment={"torch": "2.9"})
    other = make_trial(score=1.0)
    assert judge(study_with(), seen, seen, other)[4:] == [("the probe reports cuda 13, torch 2.9", "")]
    lacking = make_trial(environment={"torch": "unknown", "cuda": "unknown", "gpu": "H100"})
    hint = "hosts.*.report asks for cuda, torch; let runner.probe print `cuda: ...`, `torch: ...`"
    assert judge(study_with(), lacking, lacking, other)[4:] == [(hint, "")]
    asks = study_with(R9={"kind": "fixed_environment"})
    blocks = "fixed_environment cannot see cuda, torch change"
    assert judge(asks, lacking, lacking, other)[4:] == [(hint, blocks)]
    both = make_trial(probe={"gpu": "H100"}, environment={"torch": "unknown"})
    assert judge(study_with(), both, both, other)[4:] == [
        ("the probe reports gpu H100", ""),
        ("hosts.*.report asks for torch; let runner.probe print `torch: ...`", ""),
    ]


def test_a_result_is_read_by_the_names_of_either_runner() -> None:
    command = RunResult("finished", None, {"score": 1.5, "printed": "1.50", "reported": {"seconds": 3.0}}, {})
    read = trial._read_trial(5, command, 1.23456, {"torch": "2"})
    assert read == make_trial(
        seed=5, score=1.5, printed="1.50", reported_seconds=3.0, wall_seconds=1.235, environment={"torch": "2"}
    )
    built_in = RunResult("finished", None, {"val_bpb": 2.5}, {"probe": {"torch": "2"}})
    assert trial._read_trial(5, built_in, 1.0, None) == make_trial(
        seed=5, score=2.5, wall_seconds=1.0, probe={"torch": "2"}
    )
    failed = RunResult("failed", "no memory", None, {})
    assert trial._read_trial(5, failed, 1.0, None) == make_trial(
        seed=5, status="failed", reason="no memory", score=None, wall_seconds=1.0
    )


def test_seeds_of_a_trial_are_those_that_no_rung_uses() -> None:
    assert trial.unused_seeds(study_with()) == (6, 7)
    params = make_params()
    params["rungs"]["rung1"]["seeds"] = [6]
    params["rungs"]["rung2"]["floor_seeds"] = [1, 8]
    assert trial.unused_seeds(parse_study(params, "params.yaml")) == (7, 9)
    params["rungs"]["rung2"]["floor_seeds"] = [9, 8]
    assert trial.unused_seeds(parse_study(params, "params.yaml"))[0] == 1


def test_a_host_is_the_one_that_was_asked_for_or_the_first_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "describe_machine", lambda: replace(SMALL, threads=4))
    params = make_params()
    params["hosts"] = {"large": params["hosts"]["any"] | {"threads": 5}, "any": params["hosts"]["any"]}
    study = parse_study(params, "params.yaml")
    assert trial.choose_host(study, None) == "any"
    assert trial.choose_host(study, "any") == "any"
    with pytest.raises(Refused, match=r"^--host larg: no such host block; params\.yaml has large, any$"):
        trial.choose_host(study, "larg")
    with pytest.raises(Refused, match="expected at least 5"):
        trial.choose_host(study, "large")
    params["hosts"]["any"]["threads"] = 5
    with pytest.raises(Refused, match=r"^params\.yaml: hosts: none fits this machine; `promotion host` says what"):
        trial.choose_host(parse_study(params, "params.yaml"), None)


@pytest.fixture
def written(place: Path) -> Path:  # noqa: F811
    """The foreign study and its text, in place."""
    (place / "params.yaml").write_text(json.dumps(make_params()), encoding="utf-8")
    files.write_whole(place / "artifacts/corpus/manifest.json", (place / "corpus/manifest.json").read_bytes())
    return place


def test_findings_are_printed_with_what_they_block(written: Path, capsys) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "run_trial", lambda study, config, host, seed, label: make_trial(seed=seed))
        assert trial.run(build_parser("try").parse_args(["try", "small"])) == 1
    assert capsys.readouterr().out.splitlines() == [
        "fine    val_loss is found: 1.25",
        "fine    the same seed repeats exactly",
        "blocks  another seed ends alike to the last decimal",
        "        the trainer ignores its seed: V14 fails on such runs",
        "fine    a run took 2.5 s of wall time, for a budget of 1 s",
    ]


def test_trials_are_two_of_a_seed_and_one_of_another_and_need_the_text(written: Path, capsys) -> None:
    asked = build_parser("try").parse_args(["try", "small", "--json"])
    with pytest.MonkeyPatch.context() as patch:
        seeds = {"first": 6, "again": 6, "other": 7}
        patch.setattr(trial, "run_trial", lambda *words: make_trial(seed=words[3], score=float(seeds[words[4]])))
        assert trial.run(asked) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [run["seed"] for run in shown["trials"]] == [6, 6, 7]
    assert (shown["schema"], shown["config"], shown["host"], len(shown["findings"])) == (1, "small", "any", 4)
    (written / "artifacts/corpus/manifest.json").unlink()
    with pytest.raises(Refused, match=r"^artifacts/corpus/manifest\.json is missing; `dvc repro corpus` writes it$"):
        trial.run(asked)


def test_a_trial_is_a_run_of_the_first_rung_that_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    params = make_params()
    params["hosts"]["any"]["report"] = ["torch"]
    study = parse_study(params, "params.yaml")
    asked: list[Any] = []
    curve = Path("live/try/small/any/again.csv")

    class Runner:
        def make_spec(self, assignment: Any) -> str:
            asked.append(assignment)
            return "spec"

        def load(self) -> None:
            asked.append("load")

        def train(self, spec: str, corpus: Path, scratch: Path, observer: Any) -> RunResult:
            asked.append((spec, corpus.as_posix(), scratch.as_posix(), observer.run, observer._budget))
            files.write_whole(curve, b"step\n")
            facts, telemetry = {"score": 1.5}, {"torch": "2.9", "probe": {"torch": "2.9"}}
            return RunResult("finished", None, facts, telemetry, clear=lambda: asked.append("clear"))

    now = iter([100.0, 102.5])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runners, "runner_of", lambda settings: Runner())
    monkeypatch.setattr(machine, "show_gpus", lambda block: asked.append(block))
    monkeypatch.setattr(trial, "time", SimpleNamespace(monotonic=lambda: next(now)))
    assert trial.run_trial(study, "small", "any", 6, "again") == make_trial(
        score=1.5, wall_seconds=2.5, environment={"torch": "2.9"}, probe={"torch": "2.9"}
    )
    assert asked[0] == runners.Assignment(
        rung="rung1", config="small", host="any", seed=6, settings=study.runner, knobs={"lr": 0.05, "mode": "normal"},
        block=study.hosts["any"].model_dump(), clock="given", seconds=1.0, last=False, options={"steps": 5},
    )  # fmt: skip
    run = ("spec", "artifacts/corpus", "scratch/try/small/any/again", "try/small/any/again", "1.0 s given")
    assert asked[1:] == ["load", study.hosts["any"], run, "clear"]
    assert not curve.exists()
