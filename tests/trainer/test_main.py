"""`python -m trainer` by hand: its summary, its files, its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.trainer.conftest import spec_json
from trainer.__main__ import main


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
    told = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    facts = json.loads((out / "facts.json").read_text(encoding="utf-8"))
    assert told["status"].strip() == "finished"
    assert float(told["val_bpb"]) == facts["val_bpb"]
    assert sorted(path.name for path in out.iterdir()) == [
        "curve.csv",
        "facts.json",
        "model.safetensors",
        "telemetry.json",
    ]


def test_a_refused_specification_exits_with_2_and_one_line(
    spec_path: Path, corpus_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec_path.write_text(json.dumps(spec_json(config__depth=0)), encoding="utf-8")
    assert main(["--spec", str(spec_path), "--corpus", str(corpus_dir)]) == 2
    error = capsys.readouterr().err
    assert error == "error: spec.config.depth is 0, expected a value from 1 to 128\n"


@pytest.mark.parametrize(
    ("text", "message"), [(None, "cannot be read"), ("{", "not JSON"), ("[]", "spec is list, expected a mapping")]
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
    assert main([*arguments, "--out", str(tmp_path / "one")]) == 0
    facts = tmp_path / "one" / "facts.json"
    assert main([*arguments, "--out", str(tmp_path / "two"), "--replay", str(facts)]) == 0
    assert (tmp_path / "two" / "facts.json").read_bytes() == facts.read_bytes()


def test_facts_without_progress_cannot_be_replayed(
    spec_path: Path, corpus_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = tmp_path / "facts.json"
    facts.write_text('{"progress": null}', encoding="utf-8")
    assert main(["--spec", str(spec_path), "--corpus", str(corpus_dir), "--replay", str(facts)]) == 2
    assert "only a run on the wall clock can be repeated" in capsys.readouterr().err


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
