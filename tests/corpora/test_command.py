"""`python -m stages.corpus` as DVC and people run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stages import corpus
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
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["corpus: artifacts/corpus", "vocab_size: 300"]
    assert [line.split(":")[0] for line in lines[2:]] == ["train", "val", "locked"]
    assert (tmp_path / "artifacts/corpus/manifest.json").is_file()


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
