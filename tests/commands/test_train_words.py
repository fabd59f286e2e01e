"""What `promotion train` asks of the runner, prints and writes, with a stand-in that trains nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from stages.cli import build_parser
from stages.commands import train
from stages.domain import canonical
from stages.domain.errors import Invalid, Refused
from stages.runners import RunResult, builtin

FACTS = {
    "val_bpb": 1.5, "locked_bpb": None, "steps": 7, "tokens": 700, "train_loss": 2.5, "rated_seconds": 3.0,
    "model": {"depth": 2, "width": 64, "parameters": 1000, "flops_per_token": 6000, "heads": 1},
}  # fmt: skip
TELEMETRY = {
    "setup_seconds": 0.5, "train_seconds": 1.5, "first_steps_seconds": 0.25, "evaluation_seconds": 0.125,
    "tokens_per_second": 100.0, "peak_memory_bytes": None, "mfu": 0.5, "torch": "2.9",
}  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """What is asked of the runner; its first entry is the result that it gives."""
    monkeypatch.chdir(tmp_path)
    Path("spec.json").write_text(json.dumps({"clock": {"seconds": 4, "kind": "rated"}}), encoding="utf-8")
    asked: list[Any] = []
    result = RunResult("finished", None, FACTS, TELEMETRY, clear=lambda: asked.append("clear"))
    asked.append(result)

    class Runner:
        def load(self) -> None:
            asked.append("load")

        def train(self, spec: Any, corpus: Path, scratch: Path | None, line: Any, progress: Any) -> RunResult:
            asked.append((spec, corpus, scratch, line.run, line._budget, line._stream is sys.stderr, progress))
            return asked[0]

    monkeypatch.setattr(builtin, "BuiltinRunner", Runner)
    monkeypatch.setattr(builtin, "complete_spec", lambda spec: spec)
    return asked


def run(*words: str) -> int:
    return train.run(build_parser("train").parse_args(["train", "--spec", "spec.json", *words]))


def test_the_summary_holds_what_is_known_line_by_line(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert capsys.readouterr().out.splitlines() == [
        "status:              finished",
        "val_bpb:             1.5",
        "steps:               7",
        "tokens:              700",
        "train_loss:          2.5",
        "rated_seconds:       3.0",
        "depth:               2",
        "width:               64",
        "parameters:          1000",
        "flops_per_token:     6000",
        "setup_seconds:       0.5",
        "train_seconds:       1.5",
        "first_steps_seconds: 0.25",
        "evaluation_seconds:  0.125",
        "tokens_per_second:   100.0",
        "mfu:                 0.5",
    ]
    spec = {"clock": {"seconds": 4, "kind": "rated"}}
    assert asked[1:] == [
        "load",
        (spec, Path("artifacts/corpus"), None, "spec.json", "4.0 s rated", True, None),
        "clear",
    ]
    assert [path.name for path in Path().iterdir()] == ["spec.json"]


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_run_without_facts_tells_its_reason_and_ends_with_1(asked: list[Any], capsys, status: str) -> None:
    asked[0] = RunResult(status, "no memory", None, TELEMETRY)
    assert run() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [f"status:              {status}", "reason:              no memory", "setup_seconds:       0.5"]


def test_every_file_is_written_into_a_folder_that_is_made(asked: list[Any]) -> None:
    Path("facts.json").write_text('{"progress": {"steps": 3}}', encoding="utf-8")
    trace, large = {"curve.csv": b"step\n"}, {"weights": lambda path: path.write_bytes(b"w")}
    asked[0] = RunResult("finished", None, FACTS, TELEMETRY, trace, large, clear=lambda: asked.append("clear"))
    words = ["--out", "deep/out", "--scratch", "scratch", "--corpus", "text", "--replay", "facts.json"]
    assert run(*words) == 0
    assert {path.name: path.read_bytes() for path in Path("deep/out").iterdir()} == {
        "telemetry.json": canonical.dumps(TELEMETRY),
        "facts.json": canonical.dumps(FACTS),
        "curve.csv": b"step\n",
        "weights": b"w",
    }
    assert asked[2][1:3] == (Path("text"), Path("scratch"))
    assert asked[2][-1] == {"steps": 3}
    assert asked[-1] == "clear"
    assert run("--out", "deep/out") == 0, "a folder that is there is written into again"


@pytest.mark.parametrize("text", ["{}", '{"progress": []}'])
def test_facts_of_no_wall_clock_run_are_refused_before_anything_is_made(asked: list[Any], text: str) -> None:
    Path("facts.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"^facts\.json: found no progress, expected that of a run on the wall clock"):
        run("--replay", "facts.json", "--out", "out")
    assert len(asked) == 1 and not Path("out").exists()


def test_a_folder_that_cannot_be_written_to_is_named_before_the_runner_is_loaded(asked: list[Any]) -> None:
    Path("out").write_bytes(b"a file")
    with pytest.raises(Refused, match=r"^out: cannot be written to \(.+\): give --out a folder that can be$"):
        run("--out", "out")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", r"spec\.json: not JSON \("),
        ("[1]", r"spec\.json: found list, expected an object$"),
        ("", r"spec\.json: not JSON \("),
    ],
)
def test_a_specification_is_an_object(asked: list[Any], text: str, told: str) -> None:
    Path("spec.json").write_text(text, encoding="utf-8")
    with pytest.raises(Invalid, match=f"^{told}"):
        run("--out", "out")
    assert len(asked) == 1 and not Path("out").exists()
