"""`promotion replay`: what it prints of each run, writes, and ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stages import verify as front_door
from stages.cli import build_parser
from stages.commands import replay
from stages.domain.errors import Refused
from stages.verify import Replayed

UNKNOWN = "a machine of which nobody knows whether it is of the same kind (`dvc repro`, or --same-kind)"


def make_run(name: str = "rung1/a/h/1", outcome: Any = "identical", **changes: Any) -> Replayed:
    fields = {"same_kind": True, "recorded": 1.5, "again": 1.5, "changed": ()} | changes
    return Replayed(name, outcome, **fields)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Run the command where each run of the ledger ends as it says; its status, output and messages."""

    def run(outcomes: dict[str, Replayed | str], *words: str) -> tuple[int, str, str]:
        calls: list[Any] = []

        def again(name: str, line: str, *more: Any) -> Replayed:
            calls.append((line, *more))
            outcome = outcomes[name]
            if isinstance(outcome, str):
                raise Refused(outcome)
            return outcome

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(front_door, "read_ledger", lambda root: {name: (name, "line") for name in outcomes})
        monkeypatch.setattr(front_door, "choose_runs", lambda recorded, *words: calls.append(words) or list(recorded))
        monkeypatch.setattr(front_door, "replay_run", again)
        status = replay.run(build_parser("replay").parse_args(["replay", *words]))
        shown = capsys.readouterr()
        run.calls = calls  # type: ignore[attr-defined]
        return status, shown.out, shown.err

    return run


@pytest.mark.parametrize(
    ("run", "line"),
    [
        (make_run(), "identical, on the same kind of machine, val_bpb 1.5"),
        (make_run(same_kind=False, metric="val_loss"), "identical, on another kind of machine, val_loss 1.5"),
        (make_run(same_kind=None), f"identical, on {UNKNOWN}, val_bpb 1.5"),
        (
            make_run(outcome="differs", again=1.75),
            "differs, on the same kind of machine: recorded 1.5, now 1.75, difference 0.25 (must be identical)",
        ),
        (
            make_run(outcome="close", again=1.25, same_kind=False),
            "close, on another kind of machine: recorded 1.5, now 1.25, difference -0.25 (tolerance 0.005)",
        ),
        (
            make_run(seconds=4.0, budget=8.0),
            "identical, on the same kind of machine, val_bpb 1.5; its steps took 4 s here, of a budget of 8 s",
        ),
        (
            make_run(outcome="differs", again=1.75, seconds=80.0, budget=8.0),
            "differs, on the same kind of machine: recorded 1.5, now 1.75, difference 0.25 (must be identical); its steps "
            "took 80 s here, of a budget of 8 s: its clock may have been slowed, or this machine is busy",
        ),
    ],
)
def test_a_comparison_is_a_line(run: Replayed, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert replay._comparison(run, 0.005) == f"rung1/a/h/1: {line}"


def test_every_run_is_told_and_the_statuses_are_0_1_and_2(command) -> None:
    line = "identical, on the same kind of machine, val_bpb 1.5\n"
    same, other = make_run("a"), make_run("b", "differs", again=1.75)
    assert command({"a": same, "c": make_run("c")}, "a", "c") == (0, "", f"a: {line}c: {line}")
    differs = "b: differs, on the same kind of machine: recorded 1.5, now 1.75, difference 0.25 (must be identical)\n"
    refused = "c: not repeated: no such machine\n"
    assert command({"a": same, "c": "no such machine", "b": other}, "a") == (1, "", f"a: {line}{differs}{refused}")
    assert command({"c": "no such machine", "a": same}, "a") == (2, "", f"a: {line}{refused}")


def test_runs_are_named_or_drawn_and_judged_by_what_was_asked(command) -> None:
    command({"a": make_run("a")}, "a")
    assert command.calls == [(["a"], 0, 0), ("line", Path(), 0.005, False)]
    command({"a": make_run("a")}, "--sample", "3", "--seed", "7", "--tolerance", "0.5", "--same-kind")
    assert command.calls == [([], 3, 7), ("line", Path(), 0.5, True)]
    for words in (["a", "--sample", "1"], []):
        with pytest.raises(Refused, match=r"^name runs, or draw some with --sample N$"):
            command({"a": make_run("a")}, *words)


@pytest.mark.parametrize(("text", "good"), [("1", True), ("12", True), ("0", False), ("-1", False), ("1.0", False)])
def test_a_sample_is_a_whole_number_from_one_on(text: str, good: bool, capsys: pytest.CaptureFixture[str]) -> None:
    if good:
        assert build_parser("replay").parse_args(["replay", "--sample", text]).sample == int(text)
        return
    with pytest.raises(SystemExit):
        build_parser("replay").parse_args(["replay", f"--sample={text}"])
    assert f"found '{text}', expected a whole number from 1 on" in capsys.readouterr().err


def test_the_comparison_as_json_goes_to_stdout_or_into_a_file(command, tmp_path: Path) -> None:
    run = make_run("a", changed=("facts",), seconds=4.0, budget=8.0)
    _, out, _ = command({"a": run, "c": "why"}, "a", "--json")
    assert json.loads(out) == {
        "schema": 1,
        "tolerance": 0.005,
        "runs": [run.to_json()],
        "not_repeated": {"c": "why"},
    }
    assert out == json.dumps(json.loads(out), indent=1, sort_keys=True) + "\n"
    assert command({"a": run, "c": "why"}, "a", "--json", "out.json")[1] == ""
    assert (tmp_path / "out.json").read_text(encoding="utf-8") == out
    command({"a": run}, "a")
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
