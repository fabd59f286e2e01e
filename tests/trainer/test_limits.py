"""The trainer at its limits: whole telemetry in a time of its own, bytes of the kept progress, sizes, the last and the first."""

from __future__ import annotations

import base64
import ctypes
import hashlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.conftest import BOS, write_corpus
from tests.trainer.test_loop import ticking
from tests.trainer.test_tokens import rewrite
from trainer import evaluate, host, keeper, tokens
from trainer.clock import TICKS, ReplayClock, WallClock, _pack, _unpack
from trainer.errors import CorpusError, TrainerError
from trainer.head import slice_rows
from trainer.loop import train
from trainer.model import initialise
from trainer.muon import factors
from trainer.shape import realise
from trainer.spec import Spec
from trainer.tokens import Corpus
from trainer.version import source_digest

Make = Callable[..., Spec]
EACH = 0.0712345678


def test_telemetry_is_counted_by_the_looks_at_the_time(
    make_spec: Make, corpus_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "hostname", lambda: "here")
    monkeypatch.setattr(host, "peak_memory", lambda device: 7)
    outcome = train(make_spec(), corpus_dir, now=ticking(iter(lambda: EACH, None)))
    facts, reported = outcome.facts, outcome.telemetry
    assert facts is not None
    steps = facts["steps"]
    speed = 128 / EACH
    assert reported == {
        "setup_seconds": round(2 * EACH, 6),  # a look when it is called, one of the loop, one when all is set up
        "train_seconds": round(steps * EACH, 6),
        "first_steps_seconds": round(10 * EACH, 6),
        "evaluation_seconds": round(EACH, 6),
        "checkpoint_seconds": 0,
        "checkpoints": 0,
        "tokens_per_second": round(speed, 3),
        "model_flops_per_second": pytest.approx(speed * facts["model"]["flops_per_token"], rel=1e-9),
        "peak_memory_bytes": 7,
        "resumed_at_step": None,
        "segments": [{"from_step": 0, "to_step": steps, "hostname": "here"}],
        "warnings": [],
    }
    assert reported["tokens_per_second"] == round(reported["tokens_per_second"], 3)
    assert round(facts["train_loss"], 6) == facts["train_loss"] == outcome.curve[-1]["train_loss"]
    each = facts["model"]["flops_per_token"] * 128 / 1e9
    assert [row["seconds"] for row in outcome.curve] == [round(row["step"] * each, 6) for row in outcome.curve]
    assert [row["tokens"] for row in outcome.curve] == [row["step"] * 128 for row in outcome.curve]
    assert outcome.weights is None


def test_the_time_of_checkpoints_is_kept_to_the_microsecond(
    make_spec: Make, corpus_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "SHARE", 0)
    reported = train(
        make_spec(), corpus_dir, scratch=tmp_path, checkpoint_seconds=0.0, now=ticking(iter(lambda: EACH, None))
    ).telemetry
    assert reported["checkpoint_seconds"] == round(reported["checkpoints"] * EACH, 6) > 0


def test_kept_ticks_are_differences_of_seven_bits_low_bits_first() -> None:
    firsts = [127, 127 + 128, 127 + 128 + 300]
    data = zlib.decompress(base64.b64decode(_pack(firsts)))
    assert data == bytes([0x7F, 0x80, 0x01, 0xAC, 0x02])
    assert _unpack(_pack(firsts)) == firsts
    assert _unpack(_pack([])) == []


@pytest.mark.parametrize(("count", "good"), [(TICKS - 1, True), (TICKS, False)])
def test_fewer_ticks_are_kept_than_there_are(count: int, good: bool) -> None:
    kept = {"ticks": TICKS, "steps": 1, "data": _pack([5] * count)}
    if good:
        assert ReplayClock(kept, 1.0).progress(5) == count / TICKS
        return
    with pytest.raises(TrainerError, match=r"progress\.data is cut off or too long"):
        ReplayClock(kept, 1.0)


def test_data_that_goes_on_behind_its_end_is_refused_and_a_number_that_has_none() -> None:
    cut = base64.b64encode(zlib.compress(b"\x05")[:-1]).decode()
    for data in (cut, base64.b64encode(zlib.compress(b"\x05\x85")).decode()):
        with pytest.raises(TrainerError, match=r"progress\.data is cut off or too long"):
            _unpack(data)


def test_a_replay_tells_the_seconds_to_a_tick_and_all_at_its_end() -> None:
    clock = ReplayClock({"ticks": TICKS, "steps": 3, "data": _pack([1, 2, 2])}, 4096.0)
    assert [clock.progress(step) for step in range(4)] == [0.0, 1 / TICKS, 3 / TICKS, 3 / TICKS]
    assert [clock.elapsed(step) for step in range(5)] == [0.0, 1.0, 3.0, 4096.0, 4096.0]
    assert (clock.steps, clock.state(), [clock.ended(step) for step in (2, 3)]) == (3, {}, [False, True])


def test_a_step_longer_than_the_budget_passes_all_ticks_but_the_last() -> None:
    clock = WallClock(1.0)
    for step in range(10):
        clock.stepped(step, 1.0)
    assert not clock.ended(10) and not clock.ended(11)
    clock.stepped(10, 50.0)
    assert (clock.progress(11), clock.ended(11), clock.elapsed(11)) == ((TICKS - 1) / TICKS, True, 50.0)


@pytest.mark.parametrize(("vocabulary", "rows"), [(1 << 20, 1), (1 << 19, 2), (64, 1 << 14), ((1 << 20) + 1, 1)])
def test_a_slice_of_logits_stays_in_the_caches(vocabulary: int, rows: int) -> None:
    assert slice_rows(vocabulary, torch.device("cpu")) == rows
    assert slice_rows(vocabulary, torch.device("cuda")) == max(1, (1 << 28) // vocabulary)


def test_evaluation_packs_a_row_at_least(corpus_dir: Path) -> None:
    corpus = Corpus(corpus_dir)
    assert [evaluate.packed_rows(corpus, "val", count, 32).shape for count in (1, 31, 32, 63, 64)] == [
        (1, 33), (1, 33), (1, 33), (1, 33), (2, 33),
    ]  # fmt: skip


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_the_peak_of_a_process_is_in_bytes(monkeypatch: pytest.MonkeyPatch, platform: str, unit: int) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(host, "sys", SimpleNamespace(platform=platform))
    monkeypatch.setattr(
        resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=(who == resource.RUSAGE_SELF) * 300)
    )
    assert host.peak_memory(torch.device("cpu")) == 300 * unit


@pytest.mark.parametrize(
    ("platform", "there", "calls"),
    [("linux", True, [(-3, 1 << 30), (-1, 1 << 30)]), ("linux", False, []), ("darwin", True, [])],
)
def test_freed_memory_is_kept_where_the_c_library_is_glibc(
    monkeypatch: pytest.MonkeyPatch, platform: str, there: bool, calls: list[Any]
) -> None:
    asked: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda *words: asked.append(words)) if there else SimpleNamespace()
    monkeypatch.setattr(host, "sys", SimpleNamespace(platform=platform))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    host._keep_freed_memory()
    assert asked == calls


def test_a_machine_is_set_up_with_its_threads_and_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    block = SimpleNamespace(threads=3, device="cpu", compile=False)
    assert host.prepare(block).type == "cpu"  # type: ignore[arg-type]
    assert asked == [3]
    monkeypatch.setattr("socket.gethostname", lambda: "named")
    assert host.hostname() == "named"


def test_without_warm_down_the_end_alone_has_the_last_rate(make_spec: Make) -> None:
    config = make_spec(config__warmdown=0.0, config__final_lr=0.2).config
    assert [factors(config, progress, 0).learning_rate for progress in (0.0, 0.999, 1.0)] == [1.0, 1.0, 0.2]


def test_a_fresh_model_begins_as_its_residual_stream(make_spec: Make) -> None:
    shape = realise(make_spec(config__depth=2).config, make_spec().runner, 64)
    drawn, same = (initialise(shape, seed, torch.device("cpu")) for seed in (2**63 + 1, 1))
    assert all(torch.equal(value, same[name]) for name, value in drawn.items()), "seeds are counted modulo 2^63"
    assert all(value.requires_grad for value in drawn.values())
    made = {name: value.detach() for name, value in drawn.items()}
    bound = (3 / 32) ** 0.5
    assert made["square"][:, :3].abs().max() <= bound < made["square"][:, :3].abs().max() * 1.05
    assert not made["square"][:, 3].any() and made["square"][:, 2].any()
    assert made["wide"][:, 0].any() and not made["wide"][:, 1].any()
    assert float(made["tables"][:, :32].std()) == pytest.approx(1.0, rel=0.05)
    assert made["tables"][:, 32:].abs().max() <= bound
    assert (made["residual"].tolist(), made["first"].tolist()) == ([1.0, 1.0], pytest.approx([0.1, 0.1]))
    assert float(made["head"].std()) == pytest.approx(0.001, rel=0.1) and not made["gates"].any()
    assert float(made["head"].mean()) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("block", [1, 3, 7, 1 << 24])
def test_documents_are_found_block_by_block(corpus_dir: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    found = np.array([BOS, 1, 2, BOS, BOS, 3, 50, 4, BOS], dtype="<u2")
    monkeypatch.setattr(tokens, "BLOCK", block)
    starts, highest = tokens._scan(found, BOS)
    assert (starts.tolist(), highest) == ([0, 3, 4, 8], 63)
    assert tokens._scan(found[1:3], BOS)[1] == 2


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("vocab_size", 1, "tokenizer.vocab_size is 1, expected 2 to 65536"), ("vocab_size", 65537, "is 65537, expected 2 to 65536"),
        ("vocab_size", 65536, ""), ("vocab_size", True, "is True, expected"), ("vocab_size", "64", "is '64', expected"),
        ("bos", -1, "tokenizer.bos is -1, expected 0 to 63"), ("bos", 0, ""), ("bos", 63, ""), ("bos", None, "tokenizer.bos is None"),
    ],
)  # fmt: skip
def test_a_tokenizer_has_its_bounds(tmp_path: Path, key: str, value: Any, told: str) -> None:
    folder = write_corpus(tmp_path / "corpus")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["tokenizer"][key] = value
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    if not told:
        assert getattr(Corpus(folder), key) == value
        return
    with pytest.raises(CorpusError) as caught:
        Corpus(folder)
    assert told in str(caught.value)


def test_an_odd_number_of_bytes_is_no_file_of_tokens(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "corpus")
    rewrite(folder, "train", b"\x3f\x00\x01")
    with pytest.raises(CorpusError, match=r"train\.bin: 3 bytes, expected a positive even number"):
        Corpus(folder).split("train")


def test_the_digest_of_the_source_is_one_for_all_line_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for name, end in (("unix", "\n"), ("windows", "\r\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "b.py").write_bytes(f"y = 2{end}".encode())
        (tmp_path / name / "a.py").write_bytes(f"x = 1{end}".encode())
        (tmp_path / name / "c.txt").write_bytes(name.encode())
        monkeypatch.setattr("trainer.version.__file__", str(tmp_path / name / "version.py"))
        digests.append(source_digest.__wrapped__())
    assert digests == [hashlib.sha256(b"a.py 6\nx = 1\nb.py 6\ny = 2\n").hexdigest()] * 2
