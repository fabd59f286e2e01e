"""`promotion train`: a specification by hand, its summary, its files, its exit codes."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError

from stages import cli
from tests.support.repo import PROJECT
from tests.trainer.conftest import spec_json, write_corpus
from trainer import keeper, loop


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def main(words: list[str]) -> int:
    """The exit status of `promotion train WORDS`."""
    with pytest.raises(SystemExit) as ending:
        cli.main(["train", *words])
    assert isinstance(ending.value.code, int)
    return ending.value.code


@pytest.fixture
def spec_path(tmp_path: Path) -> Path:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec_json(keep_weights=True, clock__seconds=0.2)), encoding="utf-8")
    return path


def test_a_run_prints_its_summary_and_writes_its_files(
    spec_path: Path, corpus_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["--spec", str(spec_path), "--corpus", str(corpus_dir), "--out", str(out)]) == 0
    summary = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    facts = json.loads((out / "facts.json").read_text(encoding="utf-8"))
    assert summary["status"].strip() == "finished"
    assert float(summary["val_bpb"]) == facts["val_bpb"]
    telemetry = json.loads((out / "telemetry.json").read_text(encoding="utf-8"))
    assert (telemetry["torch"], telemetry["threads"], telemetry["mfu"]) == (torch.__version__, 1, None)
    assert telemetry["tokens_per_second"] > 0
    assert sorted(path.name for path in out.iterdir()) == [
        "curve.csv",
        "facts.json",
        "telemetry.json",
        "weights.safetensors",
    ]


def test_a_folder_that_cannot_be_written_to_is_refused_before_training(
    spec_path: Path, corpus_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loop, "train", None)
    out = spec_path / "out"
    assert main(["--spec", str(spec_path), "--corpus", str(corpus_dir), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {out}: cannot be written to (")
    assert error.endswith("): give --out a folder that can be\n")


def test_a_disk_that_is_full_at_the_end_costs_neither_the_summary_nor_the_checkpoints(
    spec_path: Path,
    corpus_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(_weights: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    train = loop.train
    monkeypatch.setattr(loop, "train", lambda *a, **how: train(*a, **how, checkpoint_seconds=0.0))
    monkeypatch.setattr(keeper, "SHARE", 0)
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    arguments = ["--spec", str(spec_path), "--corpus", str(corpus_dir), "--out", str(out), "--scratch", str(scratch)]
    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", full)
        assert main(arguments) == 2
    printed = capsys.readouterr()
    assert f"error: {out / 'weights.safetensors'}: could not be written (" in printed.err
    assert "val_bpb" in printed.out
    assert not (out / "weights.safetensors.part").exists()
    assert list(scratch.rglob("step-*.json"))
    monkeypatch.setattr(loop.Session, "step", None)  # it shall not train again
    assert main(arguments) == 0
    assert (out / "weights.safetensors").is_file()
    assert not list(scratch.iterdir())


def test_the_documented_command_makes_a_specification_of_a_record(tmp_path: Path, corpus_dir: Path) -> None:
    text = (PROJECT / "docs" / "trainer.md").read_text(encoding="utf-8")
    command = shlex.split(next(line for line in text.splitlines() if line.startswith("python -c ")))
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "runs.jsonl").write_text(json.dumps({"spec": spec_json()}) + "\n{}\n", encoding="utf-8")
    subprocess.run([sys.executable, *command[1:]], cwd=tmp_path, check=True)
    assert main(["--spec", str(tmp_path / "spec.json"), "--corpus", str(corpus_dir)]) == 0


def test_a_refused_specification_exits_with_2_and_one_line(
    spec_path: Path, corpus_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec_path.write_text(json.dumps(spec_json(config__depth=0)), encoding="utf-8")
    assert main(["--spec", str(spec_path), "--corpus", str(corpus_dir)]) == 2
    error = capsys.readouterr().err
    assert error == "error: spec.config.depth is 0, expected a value from 1 to 128\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "is missing; give its path"), ("{", "not JSON"), ("[]", "found list, expected an object")],
)
def test_an_unreadable_specification_is_named(
    spec_path: Path, corpus_dir: Path, capsys: pytest.CaptureFixture[str], text: str | None, message: str
) -> None:
    spec_path.unlink() if text is None else spec_path.write_text(text, encoding="utf-8")
    assert main(["--spec", str(spec_path), "--corpus", str(corpus_dir)]) == 2
    assert message in capsys.readouterr().err


def test_a_wall_clock_run_can_be_replayed_from_its_facts(spec_path: Path, corpus_dir: Path, tmp_path: Path) -> None:
    spec_path.write_text(json.dumps(spec_json(clock__kind="wall", clock__seconds=0.1)), encoding="utf-8")
    arguments = ["--spec", str(spec_path), "--corpus", str(corpus_dir)]
    assert main([*arguments, "--out", str(tmp_path / "first")]) == 0
    facts = tmp_path / "first" / "facts.json"
    assert main([*arguments, "--out", str(tmp_path / "again"), "--replay", str(facts)]) == 0
    assert (tmp_path / "again" / "facts.json").read_bytes() == facts.read_bytes()


def test_facts_without_progress_cannot_be_replayed(
    spec_path: Path, corpus_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = tmp_path / "facts.json"
    facts.write_text('{"progress": null}', encoding="utf-8")
    assert main(["--spec", str(spec_path), "--corpus", str(corpus_dir), "--replay", str(facts)]) == 2
    assert "facts.json: found no progress, expected that of a run on the wall clock" in capsys.readouterr().err


def test_a_failed_run_exits_with_1(
    spec_path: Path, corpus_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from trainer.session import Session

    step = Session.step

    def poisoned(self: Session, now: object) -> object:
        return step(self, now) * float("nan")  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "step", poisoned)
    assert main(["--spec", str(spec_path), "--corpus", str(corpus_dir)]) == 1
    assert "diverged" in capsys.readouterr().out
