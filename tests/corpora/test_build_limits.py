"""The corpus: splits, batches and the tokenizer's text at their limits, and files that are whole before they are there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.corpora import build as building
from stages.corpora.inputs import input_files
from stages.corpora.sources import documents
from stages.corpora.tokenizer import learn
from stages.domain.corpus import Data, SplitFile
from tests.corpora.test_sources import failure
from tests.corpora.texts import joined, prose

TextData = Callable[..., Data]


def test_batches_end_once_they_have_enough_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "BATCH_BYTES", 4)
    assert list(building._batches(["ab", "cd", "efghi", "j", "kl"])) == [["ab", "cd"], ["efghi"], ["j", "kl"]]
    assert list(building._batches(["ab", "cd"])) == [["ab", "cd"]]
    assert list(building._batches([])) == []


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("train", "give more text"),
        ("val", "give more text or raise data.val_per_mille"),
        ("locked", "give more text or raise data.locked_per_mille"),
    ],
)
def test_a_split_may_have_as_few_tokens_as_are_allowed(text_data: TextData, name: str, more: str) -> None:
    data = text_data(b"x", min_split_tokens=50)

    def splits(tokens: int) -> dict[str, SplitFile]:
        fields = {"file": "x", "sha256": "0" * 64, "bytes": 1, "documents": 2}
        sizes = dict.fromkeys(building.SPLITS, 99) | {name: tokens}
        return {split: SplitFile(tokens=size, **fields) for split, size in sizes.items()}

    building._refuse_small(splits(50), data)
    assert failure(lambda: building._refuse_small(splits(49), data)) == (
        f"params.yaml: data: the {name} split has 49 tokens in 2 documents, expected at least 50 "
        f"(data.min_split_tokens); {more}"
    )


def test_who_watches_is_told_of_all_text_of_both_readings(text_data: TextData, tmp_path: Path) -> None:
    texts = [f"{text} ä" for text in prose(60)]
    data = text_data(joined(texts), val_per_mille=200, locked_per_mille=200)
    steps: dict[str, int] = {}

    def observe(step: str, size: int) -> None:
        steps[step] = steps.get(step, 0) + size

    manifest = building.build(data, tmp_path, tmp_path / "out", observe)
    splits = manifest.splits
    assert steps == {
        "learning the tokenizer": splits["train"].bytes,
        "writing tokens": sum(split.bytes for split in splits.values()),
    }
    assert sum(split.bytes for split in splits.values()) == len("".join(texts).encode())


def test_the_cap_counts_bytes_and_ends_with_the_document_that_reaches_it(text_data: TextData) -> None:
    data = text_data(b"x", tokenizer_bytes=1000, val_per_mille=1, locked_per_mille=1)
    texts = [f"{number:03}" + "ä" * 100 for number in range(20)]  # 203 bytes each
    assert all(building.split_of(text.encode(), data) == "train" for text in texts)
    assert list(building._training_texts(texts, data, lambda step, size: None)) == texts[:5]
    exact = ["x" * 500, "y" * 500, "z"]
    assert list(building._training_texts(exact, data, lambda step, size: None)) == exact[:2]


def test_a_build_into_a_folder_that_is_not_there_yet_makes_it(text_data: TextData, tmp_path: Path) -> None:
    data = text_data(joined(prose(60)), val_per_mille=200, locked_per_mille=200)
    building.build(data, tmp_path, tmp_path / "a" / "b" / "out")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["out"]


def test_files_that_a_command_reads_are_no_corpus(tmp_path: Path) -> None:
    source = {"kind": "files", "root": "data", "files": [{"path": "a"}]}
    data = Data.model_validate({"source": source})
    assert failure(lambda: building.build(data, tmp_path, tmp_path / "out")) == (
        "params.yaml: data.source.kind: found files, which a command reads as they are"
    )


def test_a_vocabulary_has_every_byte_and_the_special_token_and_their_lengths() -> None:
    tokenizer = learn(["aaaa"], 258)
    assert (tokenizer.vocab_size, tokenizer.bos, len(tokenizer.ranks)) == (258, 257, 257)
    assert tokenizer.ranks == (*(bytes([byte]) for byte in range(256)), b"aa")
    assert tokenizer.token_bytes() == b"\1\0" * 256 + b"\2\0" + b"\0\0"
    (ids,) = tokenizer.encode(["aaab"])
    assert (ids.tolist(), ids.dtype.str) == ([257, 256, 97, 98], "<u2")


def test_documents_of_white_space_are_none(text_data: TextData, tmp_path: Path) -> None:
    source = text_data(b" \t\n", b"a").source
    assert list(documents(source, input_files(source, tmp_path))) == ["a"]


def test_every_file_of_the_corpus_is_whole_on_the_disk_before_its_folder_takes_its_place(
    text_data: TextData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = text_data(joined(prose(60)), val_per_mille=200, locked_per_mille=200)
    synced: list[tuple[int, bool]] = []

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced.append((status.st_size, (tmp_path / "out").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    building.build(data, tmp_path, tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        assert (path.stat().st_size, False) in synced, path.name


def test_a_build_closes_the_files_that_it_wrote_also_where_it_fails(
    text_data: TextData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers: list[Any] = []
    start = building._SplitWriter.__init__
    monkeypatch.setattr(
        building._SplitWriter, "__init__", lambda self, path: (writers.append(self), start(self, path))[1]
    )
    data = text_data(joined(prose(60)), val_per_mille=200, locked_per_mille=200)

    def observe(step: str, size: int) -> None:
        if step == "writing tokens":
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="could not write .*out: No space left"):
        building.build(data, tmp_path, tmp_path / "out", observe)
    assert len(writers) == 3
    assert all(writer._file.closed for writer in writers)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text0.txt"]
