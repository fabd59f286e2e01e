"""A corpus folder is checked before anything trains on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.conftest import BOS, write_corpus
from trainer.errors import CorpusError
from trainer.tokens import MAX_MANIFEST, Corpus


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus")


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def rewrite(folder: Path, name: str, data: bytes) -> None:
    import hashlib

    (folder / f"{name}.bin").write_bytes(data)
    edit(folder, lambda value: value["splits"][name].update(sha256=hashlib.sha256(data).hexdigest()))


def test_documents_are_found_between_their_bos(folder: Path) -> None:
    rewrite(folder, "val", np.array([BOS, 1, 2, BOS, BOS, 3], dtype="<u2").tobytes())
    split = Corpus(folder).split("val")
    assert list(zip(split.begins, split.ends, strict=True)) == [(1, 3), (5, 6)]


def test_a_missing_folder_names_the_manifest_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"manifest\.json: no such file: build it again: python -m stages\.corpus"):
        Corpus(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: value.update(schema=2), "schema is 2, this runner reads 1"),
        (lambda value: value.pop("tokenizer"), "tokenizer is missing"),
        (lambda value: value["tokenizer"].update(vocab_size=70000), "tokenizer.vocab_size is 70000, expected 2 to"),
        (lambda value: value["tokenizer"].update(bos=64), "tokenizer.bos is 64, expected 0 to 63"),
        (lambda value: value["splits"].pop("train"), "splits.train is missing"),
        (lambda value: value["splits"]["train"].update(file="../train.bin"), "splits.train.file is '../train.bin'"),
        (lambda value: value["splits"]["train"].update(sha256="00"), "train.bin: sha256 is"),
    ],
)
def test_a_wrong_manifest_is_refused(folder: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    edit(folder, change)
    with pytest.raises(CorpusError) as caught:
        Corpus(folder).split("train")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], "0 bytes, expected a positive even number"),
        ([BOS, 64], "token id 64, expected less than 64"),
        ([1, BOS], "does not begin with the BOS token 63"),
        ([BOS, BOS], "no document has a token"),
    ],
)
def test_a_wrong_token_file_is_refused(folder: Path, tokens: list[int], message: str) -> None:
    rewrite(folder, "train", np.array(tokens, dtype="<u2").tobytes())
    with pytest.raises(CorpusError) as caught:
        Corpus(folder).split("train")
    assert message in str(caught.value)


def test_a_changed_file_is_refused(folder: Path) -> None:
    with (folder / "train.bin").open("ab") as file:
        file.write(b"\0\0")
    with pytest.raises(CorpusError, match=r"train\.bin: sha256 is"):
        Corpus(folder).split("train")


def test_a_manifest_that_is_not_json_is_refused(folder: Path) -> None:
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(CorpusError, match="not JSON"):
        Corpus(folder)


def test_a_manifest_may_have_so_many_bytes_and_no_more(folder: Path) -> None:
    path = folder / "manifest.json"
    text = path.read_bytes()
    path.write_bytes(text + b" " * (MAX_MANIFEST - len(text)))
    assert Corpus(folder).vocab_size == 64
    path.write_bytes(text + b" " * (MAX_MANIFEST + 1 - len(text)))
    with pytest.raises(CorpusError, match=rf"manifest\.json: larger than {MAX_MANIFEST} bytes, no manifest: build it"):
        Corpus(folder)


def test_a_missing_file_of_tokens_is_named(folder: Path) -> None:
    (folder / "val.bin").unlink()
    with pytest.raises(CorpusError, match=r"val\.bin: no such file: build it again: python -m stages\.corpus"):
        Corpus(folder).split("val")


def test_bytes_of_more_or_fewer_tokens_than_there_are_are_refused(folder: Path) -> None:
    import hashlib

    data = (folder / "token_bytes.bin").read_bytes()[:-2]
    (folder / "token_bytes.bin").write_bytes(data)
    edit(folder, lambda value: value["token_bytes"].update(sha256=hashlib.sha256(data).hexdigest()))
    with pytest.raises(CorpusError, match=r"token_bytes\.bin: 63 entries, expected vocab_size 64: build it"):
        Corpus(folder).token_bytes()
