"""`python -m stages.corpus` as DVC and people run it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages import corpus
from stages.domain import canonical
from stages.domain.corpus import Data
from tests.corpora.texts import joined, prose


def test_the_command_builds_and_says_what_it_built(
    text_data: Callable[..., Data],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = text_data(joined(prose(200)), val_per_mille=200, locked_per_mille=200)
    (tmp_path / "params.yaml").write_text(
        json.dumps({"data": data.model_dump(), "gates": "another stage's business"}), encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    assert corpus.main([]) == 0
    splits = canonical.loads((tmp_path / "artifacts/corpus/manifest.json").read_bytes())["splits"]
    lines = ["corpus: artifacts/corpus", "vocab_size: 300"]
    for name in ("train", "val", "locked"):
        split = splits[name]
        counts = f"{split['documents']} documents, {split['bytes']} bytes, {split['tokens']} tokens"
        lines.append(f"{name}: {counts}, {split['bytes'] / split['tokens']:.3f} bytes/token")
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (None, "error: params.yaml is missing; run this in the root of a study\n"),
        ("data: {vocab_size: 300}", "error: params.yaml, line 1: data.source: "
                                    "expected a value: the key is missing\n"),
        ("study: {}", "error: params.yaml: data: expected a value: the key is missing\n"),
    ],
)  # fmt: skip
def test_an_error_is_one_clear_line_and_status_1(
    params: str | None,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if params is not None:
        (tmp_path / "params.yaml").write_text(params, encoding="utf-8")
    assert corpus.main([]) == 1
    assert capsys.readouterr().err == message
    assert not (tmp_path / "artifacts").exists()


def test_the_folder_and_the_file_of_parameters_can_be_others(
    text_data: Callable[..., Data],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = text_data(joined(prose(200)), val_per_mille=200, locked_per_mille=200)
    (tmp_path / "other.yaml").write_text(json.dumps({"data": data.model_dump()}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert corpus.main(["--params", "other.yaml", "--out", "place/corpus"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "corpus: place/corpus"
    assert (tmp_path / "place/corpus/manifest.json").is_file()


def test_files_that_a_command_reads_are_checked_and_their_digests_are_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    contents = {"a.bin": b"four", "b.bin": b"eleven more"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    pinned = [{"path": name, "sha256": hashlib.sha256(content).hexdigest()} for name, content in contents.items()]
    source = {"kind": "files", "root": ".", "files": pinned}
    (tmp_path / "params.yaml").write_text(json.dumps({"data": {"source": source}}), encoding="utf-8")
    assert corpus.main([]) == 0
    assert capsys.readouterr() == ("corpus: artifacts/corpus\nfiles: 2, 15 bytes, all as pinned\n", "")
    manifest = canonical.loads_canonical((tmp_path / "artifacts/corpus/manifest.json").read_bytes())
    rows = [{**row, "bytes": len(contents[row["path"]])} for row in pinned]
    assert (manifest["schema"], manifest["files"], manifest["splits"]) == (1, rows, {})
    assert manifest["source"] | source == manifest["source"]
    (tmp_path / "a.bin").write_bytes(b"five5")
    assert corpus.main([]) == 1
    assert capsys.readouterr().err.startswith("error: ")


class Shown:
    """What a progress line shows."""

    def __init__(self) -> None:
        self.updates: list[tuple[str, float]] = []

    def add_task(self, description: str, total: float | None, done: float) -> str:
        self.updates.append((description, done))
        return "task"

    def update(self, task: str, description: str, done: float) -> None:
        assert task == "task"
        self.updates.append((description, done))


def test_the_line_shows_megabytes_a_few_times_a_second_and_every_new_step_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: Any = Shown()
    now = [0.0]
    monkeypatch.setattr(corpus, "time", SimpleNamespace(monotonic=lambda: now[0]))
    corpus._ProgressLine(shown)("", 1)
    assert shown.updates.pop() == ("checking the files", 0.0)  # the step and the moment at which it began
    now[0] = 0.5
    corpus._ProgressLine(shown)("", 1)
    assert shown.updates.pop() == ("", 0.000001)
    shown.updates.clear()
    now[0] = 0.0
    line = corpus._ProgressLine(shown)
    for at, step, size in (
        (0.0, "learning", 1_500_000),
        (0.25, "learning", 500_000),
        (0.375, "learning", 500_000),
        (0.5, "learning", 1),
        (0.625, "learning", 1),
        (0.75, "learning", 499_998),
        (0.75, "writing", 250_000),
    ):
        now[0] = at
        line(step, size)
    assert shown.updates == [
        ("checking the files", 0.0), ("learning", 1.5), ("learning", 2.5), ("learning", 3.0), ("writing", 0.25)
    ]  # fmt: skip


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_shown_where_nobody_looks(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "console", lambda stream: SimpleNamespace(is_terminal=terminal, get_time=lambda: 0.0))
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(corpus, "Progress", lambda *columns, **options: made.append(options))
    corpus._progress()
    assert (made[0]["transient"], made[0]["disable"]) == (True, not terminal)
