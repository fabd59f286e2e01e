"""Bits per byte: which tokens count, on which rows, and that too small a split is told before training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.conftest import BOS, write_corpus
from trainer import evaluate
from trainer.errors import CorpusError
from trainer.loop import Session, train
from trainer.packing import Packer
from trainer.shape import realise
from trainer.spec import Spec
from trainer.tokens import Corpus

Make = Callable[..., Spec]


def blank(spec: Spec, corpus: Corpus) -> Session:
    """A session whose every target costs ln 64."""
    session = Session(spec, realise(spec.config, spec.runner, 64), corpus, torch.device("cpu"))
    with torch.no_grad():
        session.parameters["head"].zero_()
    return session


@pytest.mark.parametrize("batch_rows", [64, 5, 1])
def test_bits_per_byte_leave_out_bos_in_both_sums(make_spec: Make, corpus_dir: Path, batch_rows: int) -> None:
    corpus, spec = Corpus(corpus_dir), make_spec(runner__eval_batch_rows=batch_rows)
    session = blank(spec, corpus)
    found = evaluate.Scorer(spec, corpus).score("val", session.trunk, session.head_weight())
    targets = evaluate.packed_rows(corpus, "val", 512, 32)[:, 1:]
    counted = targets[targets != BOS]
    assert 0 < counted.size < targets.size
    assert found == pytest.approx(6 * counted.size / corpus.token_bytes()[counted].sum(), abs=1e-6)
    assert found is not None and found == round(found, 6)


def test_a_split_that_was_not_asked_for_is_not_even_packed(make_spec: Make, corpus_dir: Path) -> None:
    corpus, spec = Corpus(corpus_dir), make_spec()
    session = blank(spec, corpus)
    assert evaluate.Scorer(spec, corpus).score("locked", session.trunk, session.head_weight()) is None
    asked = evaluate.Scorer(make_spec(evaluate_locked=True), corpus)
    assert asked.score("locked", session.trunk, session.head_weight()) is not None


@pytest.mark.parametrize("split", ["val", "locked"])
def test_too_small_a_split_is_refused_before_the_first_step_with_the_largest_eval_tokens(
    make_spec: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    corpus_dir = write_corpus(tmp_path, small=split)
    monkeypatch.setattr(Session, "__init__", None)  # nothing is set up, nothing trains
    with pytest.raises(CorpusError, match=split + r"\.bin: packs into 2 rows .* lower runner\.eval_tokens to 64 or"):
        train(make_spec(evaluate_locked=True), corpus_dir)


def test_evaluation_rows_are_the_same_for_every_seed(corpus_dir: Path) -> None:
    corpus = Corpus(corpus_dir)
    one, other = (evaluate.packed_rows(corpus, "val", 512, 32) for _ in range(2))
    assert (one == other).all()
    assert one.shape == (16, 33)
    train_rows = np.empty((16, 33), dtype=np.int64)
    Packer(corpus.split("train"), corpus.bos, 32, 1).fill(train_rows)
    assert (train_rows != one).any()
