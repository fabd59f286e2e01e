"""The corpus folder: right splits, same bytes every time, and never half of one."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import corpus
from stages.corpora import build as module
from stages.corpora.build import build, split_of
from stages.corpora.inputs import CorpusError
from stages.domain.canonical import loads_canonical
from stages.domain.corpus import Data
from stages.domain.schema import parse
from tests.corpora.texts import joined, pin, prose

TextData = Callable[..., Data]
FILES = ["locked.bin", "manifest.json", "token_bytes.bin", "tokenizer.json", "train.bin", "val.bin"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def failure(data: Data, root: Path) -> str:
    with pytest.raises(CorpusError) as error:
        build(data, root, root / "out")
    return str(error.value)


def test_the_folder_holds_what_its_manifest_says(text_data: TextData, tmp_path: Path) -> None:
    texts = prose(400)
    data = text_data(joined(texts), val_per_mille=100, locked_per_mille=100)
    manifest = build(data, tmp_path, tmp_path / "out").to_json()
    files = contents(tmp_path / "out")
    assert list(files) == FILES
    assert loads_canonical(files["manifest.json"]) == manifest
    assert manifest["source"] == data.source.model_dump()
    assert manifest["tokenizer"]["vocab_size"] == 300
    assert manifest["tokenizer"]["bos"] == 299
    parts = [manifest["tokenizer"], manifest["token_bytes"], *manifest["splits"].values()]
    for part in parts:
        assert hashlib.sha256(files[part["file"]]).hexdigest() == part["sha256"]
    lengths = np.frombuffer(files["token_bytes.bin"], dtype="<u2")
    assert len(lengths) == 300
    for name, split in manifest["splits"].items():
        mine = [text for text in texts if split_of(text.encode(), data) == name]
        tokens = np.frombuffer(files[split["file"]], dtype="<u2")
        assert split["tokens"] == len(tokens)
        assert split["documents"] == len(mine) == np.count_nonzero(tokens == 299)
        assert split["bytes"] == len("".join(mine).encode()) == lengths[tokens].sum()
    assert all(split["documents"] > 20 for split in manifest["splits"].values())


def test_building_twice_gives_the_same_bytes_and_replaces_the_folder(text_data: TextData, tmp_path: Path) -> None:
    data = text_data(joined(prose(200)), val_per_mille=200, locked_per_mille=200)
    build(data, tmp_path, tmp_path / "out")
    first = contents(tmp_path / "out")
    (tmp_path / ".out.1.part").mkdir()  # of a build that was killed
    (tmp_path / "out" / "stale.bin").write_bytes(b"left over")
    build(data, tmp_path, tmp_path / "out")
    assert contents(tmp_path / "out") == first
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".out")] == []


def test_threads_and_hash_seeds_change_no_byte(text_data: TextData, tmp_path: Path) -> None:
    data = text_data(joined(prose(400)), val_per_mille=100, locked_per_mille=100)
    params = tmp_path / "params.yaml"
    params.write_text(json.dumps({"data": data.model_dump()}), encoding="utf-8")
    results = []
    for threads, seed in (("1", "0"), ("2", "1"), ("7", "random")):
        out = tmp_path / f"out{threads}"
        command = [sys.executable, "-m", "stages.corpus", "--params", str(params), "--out", str(out)]
        env = {
            **os.environ,
            "RAYON_NUM_THREADS": threads,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": str(Path(corpus.__file__).parents[1]),
        }
        subprocess.run(command, check=True, env=env, cwd=tmp_path, capture_output=True)
        results.append(contents(out))
    assert results[0] == results[1] == results[2]


def test_equal_documents_are_in_one_split_and_order_does_not_move_them(text_data: TextData, tmp_path: Path) -> None:
    texts = prose(100)
    shares = {"val_per_mille": 200, "locked_per_mille": 200}
    one = build(text_data(joined(texts), **shares), tmp_path, tmp_path / "one").to_json()["splits"]
    two = build(text_data(joined(texts[::-1] + texts), **shares), tmp_path, tmp_path / "two").to_json()["splits"]
    for name in one:
        assert two[name]["documents"] == 2 * one[name]["documents"]
        assert two[name]["bytes"] == 2 * one[name]["bytes"]


@given(st.binary(max_size=40), st.integers(1, 499), st.integers(1, 499), st.integers(1, 499))
def test_a_larger_share_of_one_split_takes_from_training_only(
    document: bytes, val: int, locked: int, other: int
) -> None:
    def where(val_share: int, locked_share: int) -> str:
        source = {"kind": "text", "separator": "blank-line", "files": [{"path": "a"}]}
        section = {"source": source, "vocab_size": 300}
        shares = {"val_per_mille": val_share, "locked_per_mille": locked_share}
        return split_of(document, parse(Data, {**section, **shares}, "params.yaml"))

    assert (where(val, locked) == "val") == (where(val, other) == "val")
    assert (where(val, locked) == "locked") == (where(other, locked) == "locked")


def test_a_text_of_which_nothing_is_left_to_train_on_says_so(text_data: TextData, tmp_path: Path) -> None:
    data = text_data(b"document 0", val_per_mille=200, locked_per_mille=200)  # see the pinned splits below
    with pytest.raises(CorpusError, match="of 1 documents none fell into the training split; give more text"):
        build(data, tmp_path, tmp_path / "out")


def test_the_split_of_a_document_is_pinned(text_data: TextData) -> None:
    """Golden: a change here changes the corpus of every study."""
    data = text_data(b"x", val_per_mille=200, locked_per_mille=200)
    names = [split_of(f"document {n}".encode(), data) for n in range(12)]
    expected = "val locked locked train val val val locked locked train train train"
    assert names == expected.split()


def test_a_split_has_as_many_thousandths_as_it_says(text_data: TextData) -> None:
    """Documents by the thousandth that their hash falls into: 0 to 199 are val, 800 to 999 locked."""
    by_bucket: dict[int, bytes] = {}
    for n in range(20_000):
        document = f"document {n}".encode()
        by_bucket[int.from_bytes(hashlib.sha256(document).digest()[:8], "big") % 1000] = document
    data = text_data(b"x", val_per_mille=200, locked_per_mille=200)
    splits = {bucket: split_of(by_bucket[bucket], data) for bucket in (0, 199, 200, 799, 800, 999)}
    assert splits == {0: "val", 199: "val", 200: "train", 799: "train", 800: "locked", 999: "locked"}


def test_the_tokenizer_learns_from_the_training_split_only(text_data: TextData, tmp_path: Path) -> None:
    def ranks(texts: list[str]) -> str:
        data = text_data(joined(texts), val_per_mille=200, locked_per_mille=200)
        return str(build(data, tmp_path, tmp_path / "out").tokenizer.sha256)

    texts, others = prose(200), prose(200, seed=1)
    shares = text_data(b"x", val_per_mille=200, locked_per_mille=200)
    alone = ranks(texts)
    for name in ("train", "val", "locked"):
        more = [text for text in others if split_of(text.encode(), shares) == name]
        assert (ranks(texts + more) == alone) == (name != "train")


def test_the_cap_ends_what_the_tokenizer_learns_from(text_data: TextData) -> None:
    texts = prose(100)
    data = text_data(joined(texts), tokenizer_bytes=1000)
    seen = list(module._training_texts(texts, data, lambda step, size: None))
    assert sum(len(text) for text in seen[:-1]) < 1000 <= sum(len(text) for text in seen)


@pytest.mark.parametrize("text", [b"", b" \n\n\t\n"])
def test_an_empty_source_is_refused(text_data: TextData, tmp_path: Path, text: bytes) -> None:
    assert failure(text_data(text), tmp_path) == (
        "params.yaml: data.source: no document with text in it; give files that hold text"
    )


def test_a_split_that_is_too_small_is_refused(text_data: TextData, tmp_path: Path) -> None:
    data = text_data(joined(prose(100)), val_per_mille=1, locked_per_mille=200, min_split_tokens=50)
    assert failure(data, tmp_path) == (
        "params.yaml: data: the val split has 0 tokens in 0 documents, expected at least 50 "
        "(data.min_split_tokens); give more text or raise data.val_per_mille"
    )


def test_a_failed_build_leaves_the_old_corpus_and_nothing_beside_it(
    text_data: TextData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = text_data(joined(prose(200)), val_per_mille=200, locked_per_mille=200)
    build(data, tmp_path, tmp_path / "out")
    before = contents(tmp_path / "out")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="could not write .*out: No space left on device; nothing was changed; make room"):
        build(data, tmp_path, tmp_path / "out")
    assert contents(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".out")] == []


def test_parquet_and_text_of_the_same_documents_give_the_same_tokens(text_data: TextData, tmp_path: Path) -> None:
    texts = prose(200)
    shares = {"val_per_mille": 200, "locked_per_mille": 200}
    for number, half in enumerate((texts[:90], texts[90:])):
        pq.write_table(pa.table({"text": half}), tmp_path / f"{number}.parquet", row_group_size=40)
    files = [pin(tmp_path / f"{number}.parquet", tmp_path) for number in (0, 1)]
    source = {"kind": "parquet", "files": files}
    data = parse(Data, {"source": source, "vocab_size": 300, "min_split_tokens": 1, **shares}, "params.yaml")
    build(data, tmp_path, tmp_path / "parquet")
    build(text_data(joined(texts), **shares), tmp_path, tmp_path / "text")
    one, two = contents(tmp_path / "parquet"), contents(tmp_path / "text")
    assert one.pop("manifest.json") != two.pop("manifest.json")
    assert one == two


def test_a_link_in_the_place_of_the_folder_is_replaced_and_what_it_points_to_is_not(
    text_data: TextData, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_bytes(b"kept")
    try:
        (tmp_path / "out").symlink_to(elsewhere, target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links for this user")
    build(text_data(joined(prose(200)), val_per_mille=200, locked_per_mille=200), tmp_path, tmp_path / "out")
    assert list(contents(tmp_path / "out")) == FILES
    assert contents(elsewhere) == {"kept": b"kept"}
