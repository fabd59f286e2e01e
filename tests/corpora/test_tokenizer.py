"""The tokenizer gives back every text, whatever it holds, and survives hostile ones."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from stages.corpora import tokenizer as module
from stages.corpora.inputs import CorpusError
from stages.corpora.tokenizer import BOS, PATTERN, Tokenizer, learn
from stages.domain.canonical import loads
from tests.corpora.texts import prose


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return learn(prose(200), 512)


def spelled(tokenizer: Tokenizer, ids: np.ndarray) -> str:
    return b"".join(tokenizer.ranks[i] for i in ids.tolist()).decode("utf-8")


@given(text=st.text(st.characters(blacklist_categories=["Cs"])))
def test_a_text_is_its_tokens_after_the_special_one(tokenizer: Tokenizer, text: str) -> None:
    (ids,) = tokenizer.encode([text])
    assert ids[0] == tokenizer.bos == 511
    assert spelled(tokenizer, ids[1:]) == text
    lengths = np.frombuffer(tokenizer.token_bytes(), dtype="<u2")
    assert lengths[ids].sum() == len(text.encode("utf-8"))


def test_the_special_token_written_out_in_a_text_is_plain_text(tokenizer: Tokenizer) -> None:
    (ids,) = tokenizer.encode([f"a {BOS} b"])
    assert ids.tolist().count(tokenizer.bos) == 1
    assert spelled(tokenizer, ids[1:]) == f"a {BOS} b"


def test_the_stored_ranks_are_all_that_another_program_needs(tokenizer: Tokenizer) -> None:
    stored = loads(tokenizer.to_json())
    assert stored["schema"] == 1
    ranks = {base64.b64decode(token): rank for rank, token in enumerate(stored["ranks"])}
    rebuilt = tiktoken.Encoding(
        "again", pat_str=stored["pattern"], mergeable_ranks=ranks, special_tokens=stored["special"]
    )
    text = prose(1, seed=9)[0]
    assert [stored["special"][BOS], *rebuilt.encode_ordinary(text)] == tokenizer.encode([text])[0].tolist()


def test_every_token_is_one_token_when_it_stands_alone(tokenizer: Tokenizer) -> None:
    words = [token.decode() for token in tokenizer.ranks[256:]]
    assert [len(ids) for ids in tokenizer.encode(words)] == [2] * len(words)


def test_the_order_of_documents_does_not_change_the_ranks() -> None:
    texts = prose(50)
    assert learn(texts, 400).ranks == learn(texts[::-1], 400).ranks


@pytest.mark.parametrize("run", [" ", "\n", " \n", "\t", "a", "-", "7", "\u3000", "'"])
def test_a_long_run_of_one_character_is_encoded(tokenizer: Tokenizer, run: str) -> None:
    text = "x" + run * 1_500_000 + "y"
    learn([text], 257)
    (ids,) = tokenizer.encode([text])
    assert np.frombuffer(tokenizer.token_bytes(), dtype="<u2")[ids].sum() == len(text.encode("utf-8"))


def test_white_space_is_bounded_everywhere_in_the_pattern() -> None:
    assert r"\s*" not in PATTERN
    assert r"\s+" not in PATTERN


@pytest.mark.parametrize("vocabulary", [260, 1000])
def test_a_vocabulary_larger_than_the_text_yields_is_refused(vocabulary: int) -> None:
    assert learn(["abab"], 259).vocab_size == 259
    with pytest.raises(CorpusError) as error:
        learn(["abab"], vocabulary)
    assert str(error.value) == (
        f"params.yaml: data.vocab_size: {vocabulary} is more than the 259 tokens that the training text yields; "
        "lower it to 259 or less, or give more text"
    )
    assert learn(["abab"], 259).ranks[-1] == b"abab"


def test_a_token_too_long_for_its_length_field_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TOKEN_BYTES", 7)
    with pytest.raises(CorpusError) as error:
        learn(["a" * 64], 260)
    assert str(error.value) == (
        "the training text yields a token of 8 bytes, at most 7 are kept; take the endless repetition out of the text"
    )
    monkeypatch.setattr(module, "MAX_TOKEN_BYTES", 8)
    assert max(map(len, learn(["a" * 64], 260).ranks)) == 8
