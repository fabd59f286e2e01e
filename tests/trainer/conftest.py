"""A tiny corpus and tiny specifications, so that a whole training run takes a fraction of a second."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainer.spec import Spec

BOS = 63
VOCABULARY = 64


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def write_corpus(folder: Path, *, documents: int = 40, seed: int = 0, small: str = "") -> Path:
    """A corpus folder as the contract has it: predictable token chains in documents of uneven length.

    The split `small` has one document of 70 tokens.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    sizes = np.arange(VOCABULARY, dtype="<u2") % 5 + 1
    sizes[BOS] = 0
    sizes.tofile(folder / "token_bytes.bin")
    splits: dict[str, Any] = {}
    for name in ("train", "val", "locked"):
        tokens: list[int] = []
        for length in [70] if name == small else draw.integers(1, 150, documents):
            at = int(draw.integers(BOS))
            tokens.append(BOS)
            for _ in range(int(length)):
                tokens.append(at)
                at = (at * 5 + 7 + int(draw.integers(3))) % BOS
        splits[name] = _entry(folder, f"{name}.bin", np.array(tokens, dtype="<u2"))
    manifest = {
        "schema": 1,
        "source": {},
        "tokenizer": {"file": "tokenizer.json", "sha256": "0" * 64, "vocab_size": VOCABULARY, "bos": BOS},
        "token_bytes": {"file": "token_bytes.bin", "sha256": _sha256(folder / "token_bytes.bin")},
        "splits": splits,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, sort_keys=True) + "\n", encoding="utf-8")
    return folder


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _entry(folder: Path, name: str, tokens: np.ndarray) -> dict[str, Any]:
    tokens.tofile(folder / name)
    return {"file": name, "sha256": _sha256(folder / name), "tokens": int(tokens.size), "bytes": 1, "documents": 1}


@pytest.fixture(scope="session")
def corpus_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def spec_json(**changes: Any) -> dict[str, Any]:
    """A specification of about 30 quick steps; `changes` are `section__key` or top-level keys."""
    value: dict[str, Any] = {
        "schema": 1,
        "config": {
            "depth": 2,
            "aspect": 16,
            "batch_tokens": 128,
            "matrix_lr": 0.02,
            "embedding_lr": 0.3,
            "head_lr": 0.004,
        },
        "runner": {"sequence_length": 32, "head_dim": 16, "eval_tokens": 512},
        "host": {"device": "cpu", "precision": "fp32", "threads": 1, "flops_per_second": 1_000_000_000},
        "clock": {"kind": "rated", "seconds": 0.4},
        "seed": 7,
    }
    for name, change in changes.items():
        section, _, key = name.partition("__")
        if key:
            value[section][key] = change
        else:
            value[section] = change
    return value


@pytest.fixture
def make_spec() -> Callable[..., Spec]:
    return lambda **changes: Spec.from_json(spec_json(**changes))
