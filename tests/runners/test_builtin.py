"""The built-in runner: what it refuses of corpus and study, what a run is given, and what a record must follow from."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.domain import canonical, files, names
from stages.domain.errors import Invalid, Refused
from stages.domain.locks import LockRefused
from stages.domain.records import Record, parse_line
from stages.domain.study import Study, parse_study
from stages.runners import Assignment, FactMismatch, Folder
from stages.runners import builtin as module
from stages.runners.builtin import BuiltinRunner, complete_spec, parse_spec, realise_all
from tests.support import synthetic
from tests.support.contracts import HOST, make_contract
from trainer import loop
from trainer.errors import SpecError
from trainer.outcome import Outcome
from trainer.shape import rated_steps

RUNNER = BuiltinRunner()
KNOBS = {"depth": 2, "aspect": 32, "batch_tokens": 4096, "matrix_lr": 0.02, "embedding_lr": 0.3, "head_lr": 0.004}
SETTINGS = {"sequence_length": 64, "head_dim": 16, "eval_tokens": 4096}


def assignment(**changes: Any) -> Assignment:
    fields: dict[str, Any] = {
        "rung": "rung1", "config": "a", "host": "h1", "seed": 7, "settings": SETTINGS, "knobs": KNOBS, "block": HOST,
        "clock": "rated", "seconds": 5.0, "last": False,
    }  # fmt: skip
    return Assignment(**fields | changes)


def make_study(**configs: Any) -> Study:
    """A study of two rungs with these configurations."""
    value = synthetic.params(2)
    gates = value["gates"]
    value["roles"] = {}
    value["configs"] = {name: KNOBS | knobs for name, knobs in configs.items()} or {"a": KNOBS}
    value["rungs"] = {rung: value["rungs"][rung] for rung in ("rung1", "rung2")}
    value["gates"] = {"gate1": gates["gate1"], "gate2": gates["gate1"]}
    return parse_study(value, "params.yaml")


def write_corpus(folder: Path, tokens: int = 9000) -> str:
    """A corpus of five files; the digest of its manifest."""
    parts = {}
    for name in ("tokenizer.json", "token_bytes.bin", "train.bin", "val.bin", "locked.bin"):
        files.write_whole(folder / name, name.encode())
        parts[name] = {"file": name, "sha256": files.sha256_bytes(name.encode())}
    manifest = {
        "tokenizer": parts["tokenizer.json"] | {"vocab_size": 512},
        "token_bytes": parts["token_bytes.bin"],
        "splits": {split: parts[f"{split}.bin"] | {"tokens": tokens} for split in ("train", "val", "locked")},
    }
    files.write_whole(folder / "manifest.json", canonical.dumps(manifest))
    return files.sha256_file(folder / "manifest.json")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_its_digest_is_that_of_the_python_files_of_the_trainer(tmp_path: Path) -> None:
    assert RUNNER.digest(Folder(tmp_path)) is None
    for path in ("trainer/a.py", "trainer/sub/b.py", "trainer/c.txt", "trainer/__pycache__/d.py", "other.py"):
        files.write_whole(tmp_path / path, path.encode())
    digest = files.digest_of([("a.py", b"trainer/a.py"), ("sub/b.py", b"trainer/sub/b.py")])
    assert RUNNER.digest(Folder(tmp_path)) == digest
    assert not RUNNER.is_installed(digest)
    here = files.tree_digest(Path(module.trainer.__file__ or "").parent)
    assert RUNNER.is_installed(here)


def test_a_corpus_is_its_manifest_and_every_file_of_it() -> None:
    folder = Path("corpus")
    with pytest.raises(Refused) as refused:
        RUNNER.check_corpus("0" * 64, folder)
    assert str(refused.value) == (
        "corpus/manifest.json is missing; `dvc repro corpus` builds it, `dvc pull corpus` (where a DVC remote is set "
        "up) fetches it"
    )
    digest = write_corpus(folder)
    RUNNER.check_corpus(digest, folder)
    with pytest.raises(Refused) as refused:
        RUNNER.check_corpus("0" * 64, folder)
    assert str(refused.value) == (
        f"corpus/manifest.json: found sha256 {digest}, expected the frozen {'0' * 64}; `dvc repro` makes it anew"
    )


@pytest.mark.parametrize("name", ["tokenizer.json", "token_bytes.bin", "train.bin", "val.bin", "locked.bin"])
@pytest.mark.parametrize("gone", [True, False])
def test_a_file_of_the_corpus_that_is_missing_or_changed_is_named(name: str, gone: bool) -> None:
    digest, path = write_corpus(Path("corpus")), Path("corpus") / name
    path.unlink() if gone else path.write_bytes(b"other")
    with pytest.raises(Refused) as refused:
        RUNNER.check_corpus(digest, Path("corpus"))
    assert str(refused.value) == (
        f"corpus/{name}: missing or changed, expected sha256 {files.sha256_bytes(name.encode())}; `dvc checkout` mends it"
    )


def test_what_is_no_manifest_of_a_corpus_is_refused() -> None:
    path = names.CORPUS / "manifest.json"
    for content, reason in ((b"{", "not JSON"), (b"{}\n", "'splits'"), (b"[]\n", "list indices")):
        files.write_whole(path, content)
        with pytest.raises(LockRefused) as refused:
            RUNNER.validate(make_study())
        message = str(refused.value)
        assert message.startswith(f"artifacts/corpus/manifest.json: no manifest of a corpus ({reason}")
        assert message.endswith("); `dvc repro corpus` builds it")


def test_a_split_must_hold_the_tokens_that_a_run_is_scored_on() -> None:
    write_corpus(names.CORPUS, 4096)
    RUNNER.validate(make_study())
    write_corpus(names.CORPUS, 4095)
    with pytest.raises(LockRefused) as refused:
        RUNNER.validate(make_study())
    assert str(refused.value) == (
        "params.yaml: runner.eval_tokens: found 4096, expected at most 4095, the tokens of split val; lower it, or raise "
        "data.val_per_mille"
    )
    manifest = json.loads((names.CORPUS / "manifest.json").read_bytes())
    manifest["splits"]["val"]["tokens"] = 4096
    files.write_whole(names.CORPUS / "manifest.json", canonical.dumps(manifest))
    with pytest.raises(LockRefused, match=r"4095, the tokens of split locked; .* data\.locked_per_mille$"):
        RUNNER.validate(make_study())


def test_configurations_that_build_one_model_know_each_other_and_are_noted_largest_group_first() -> None:
    write_corpus(names.CORPUS)
    fast, slow = {"matrix_lr": 0.05}, {"matrix_lr": 0.01}
    study = make_study(z={"depth": 3}, y={"depth": 3} | fast, b={}, c=fast, a=slow, lone={"depth": 1})
    models = RUNNER.validate(study)
    assert models.notes == (
        "3 configurations build one model and differ in training alone: a, b, c",
        "2 configurations build one model and differ in training alone: y, z",
    )
    assert {name: model["same_model_as"] for name, model in models.by_config.items()} == {
        "z": ["y"], "y": ["z"], "b": ["a", "c"], "c": ["a", "b"], "a": ["b", "c"], "lone": []
    }  # fmt: skip


def test_two_that_build_and_train_one_model_are_refused() -> None:
    with pytest.raises(Invalid) as refused:
        realise_all(make_study(a={}, b={"aspect": 31}), 512, "mine.yaml")
    assert str(refused.value) == (
        "mine.yaml: configs.b: builds and trains exactly what a does; remove one of them, or measure what repetition "
        "shows with floor_seeds"
    )
    realise_all(make_study(a={}, b={"aspect": 31, "head_lr": 0.005}), 512)


def test_a_run_is_given_what_the_study_says_and_the_last_rung_is_scored_and_kept() -> None:
    given = RUNNER.make_given(assignment(settings=SETTINGS | {"kind": "builtin"}))
    assert given == {
        "config": KNOBS, "runner": SETTINGS, "seed": 7, "clock": {"kind": "rated", "seconds": 5.0},
        "host": {"device": "cpu", "precision": "fp32", "threads": 1, "compile": False, "flops_per_second": 10**10},
        "evaluate_locked": False, "keep_weights": False,
    }  # fmt: skip
    last = RUNNER.make_given(assignment(last=True))
    assert (last["evaluate_locked"], last["keep_weights"]) == (True, True)
    spec = RUNNER.make_spec(assignment())
    assert spec["config"] | KNOBS == spec["config"] and len(spec["config"]) > len(KNOBS)
    assert complete_spec(given) == spec


def test_a_whole_number_with_an_exponent_is_whole_and_a_refusal_names_the_paths_of_the_study() -> None:
    spec = RUNNER.make_spec(assignment(knobs=KNOBS | {"batch_tokens": 4.096e3}))
    assert repr(spec["config"]["batch_tokens"]) == "4096"
    given = RUNNER.make_given(assignment(knobs=KNOBS | {"deepth": 1}))
    with pytest.raises(Invalid, match=r"^mine\.yaml: configs\.a\.deepth"):
        parse_spec(given, "a", "mine.yaml")
    given = RUNNER.make_given(assignment(settings=SETTINGS | {"head": 1}))
    with pytest.raises(Invalid, match=r"^params\.yaml: runner\.head "):
        parse_spec(given, "a")
    given = RUNNER.make_given(assignment(knobs=KNOBS | {"matrix_lr": 10**400}))
    with pytest.raises(Invalid) as refused:
        parse_spec(given, "a")
    assert str(refused.value) == "params.yaml: configs.a: holds a number that is too large"
    with pytest.raises(SpecError):
        complete_spec(given | {"config": {}})


def test_loading_leaves_the_garbage_collector_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    for name in ("disable", "enable", "freeze"):
        monkeypatch.setattr(gc, name, lambda name=name: happened.append(name))
    RUNNER.load()
    assert happened == ["disable", "enable", "freeze"]


def test_a_run_is_trained_and_repeated_by_its_recorded_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def train(spec: Any, corpus: Path, **options: Any) -> Outcome:
        asked.append((spec.seed, corpus, options))
        return outcome

    curve = [{"step": 1, "tokens": 2, "seconds": 0.5, "train_loss": 3.5, "lr_factor": 1.0}]
    outcome = Outcome("finished", None, {"val_bpb": 1.5}, curve, {"model_flops_per_second": 7.0, "cpu": "mine"})
    monkeypatch.setattr(loop, "train", train)
    monkeypatch.setattr(module, "describe_device", lambda device: {"device": device, "cpu": "another"})
    monkeypatch.setattr(module, "compute_mfu", lambda *words: words)
    spec = RUNNER.make_spec(assignment())
    observer: Any = object()
    result = RUNNER.train(spec, Path("c"), Path("s"), observer)
    assert asked == [(7, Path("c"), {"scratch": Path("s"), "observer": observer, "replay_progress": None})]
    assert (result.status, result.reason, result.facts, result.large) == ("finished", None, {"val_bpb": 1.5}, {})
    assert result.trace == {"curve.csv": b"step,tokens,seconds,train_loss,lr_factor\n1,2,0.5,3.5,1.0\n"}
    assert result.telemetry == {
        "device": "cpu", "cpu": "mine", "model_flops_per_second": 7.0, "mfu": (7.0, "cpu", "fp32")
    }  # fmt: skip
    record: Any = SimpleNamespace(spec=spec, facts={"progress": {"ticks": 3}})
    assert RUNNER.repeat(record, Path("c"), Path("s"), observer).facts == {"val_bpb": 1.5}
    assert asked[1][2]["replay_progress"] == {"ticks": 3}
    assert list(RUNNER.check_trace(record, {})) == []


FLOPS = 600_000
STEPS = rated_steps(FLOPS, 4096, 5.0, 10**10)
RATED = {
    "val_bpb": 1.5, "locked_bpb": None, "steps": STEPS, "tokens": STEPS * 4096, "train_loss": 2.5,
    "rated_seconds": round(STEPS * (FLOPS * 4096 / 10**10), 6), "progress": None, "model": {"flops_per_token": FLOPS},
}  # fmt: skip


def make_record(status: str = "finished", spec: Any = None, config: str = "a", **facts: Any) -> Record:
    value = make_contract().make_record(
        config=config, host="h1", seed=7, purpose="candidate", status=status, reason=None,
        spec=spec or RUNNER.make_spec(assignment()), facts=RATED | facts,
    )  # fmt: skip
    return parse_line(canonical.dumps(value), "place")


def find(record: Record, spec: Any = None, whole: bool = False) -> list[FactMismatch]:
    check = RUNNER.make_facts_check(make_study())
    return list(check.mismatches(record, spec or record.spec, whole))


LOCKED = "finished runs of the last rung, and no others, are scored on the locked split"


@pytest.mark.parametrize(
    ("record", "mismatches"),
    [
        (make_record(), []),
        (make_record("diverged", val_bpb=None, steps=0, tokens=0, train_loss=None, rated_seconds=0.0), []),
        (make_record("diverged", val_bpb=None), []),
        (make_record(tokens=5), [("/facts/tokens", 5, STEPS * 4096, "a step takes one batch")]),
        (make_record("failed"), [("/facts/val_bpb", 1.5, None, "only a finished run has a score")]),
        (make_record(locked_bpb=1.5), [("/facts/locked_bpb", 1.5, None, LOCKED)]),
        (make_record(train_loss=None), [("/facts/train_loss", None, "a loss", "steps ended, and each has a loss")]),
        (
            make_record(progress={"ticks": 1, "steps": 1, "data": ""}),
            [("/facts/progress", {"ticks": 1, "steps": 1, "data": ""}, None, "the rated clock keeps none")],
        ),
        (
            make_record(rated_seconds=1.0),
            [("/facts/rated_seconds", 1.0, RATED["rated_seconds"], "its steps take another time")],
        ),
        (
            make_record(steps=1, tokens=4096, rated_seconds=round(FLOPS * 4096 / 10**10, 6)),
            [("/facts/steps", 1, STEPS, "its budget buys another number of steps")],
        ),
        (
            make_record("failed", val_bpb=None, steps=1, tokens=4096, model={"flops_per_token": 1}, rated_seconds=0.1),
            [("/facts/rated_seconds", 0.1, 0.0, "its steps take another time")],
        ),
        (
            make_record(model={"flops_per_token": 0}),
            [("/facts/model", {"flops_per_token": 0}, "a model with its flops_per_token", "nobody can count its steps")],
        ),
        (
            make_record(model={"flops_per_token": 0.5}),
            [("/facts/model", {"flops_per_token": 0.5}, "a model with its flops_per_token", "nobody can count its steps")],
        ),
        (
            make_record(spec=RUNNER.make_spec(assignment(last=True))),
            [("/facts/locked_bpb", None, "a score", LOCKED)],
        ),
        (make_record(spec=RUNNER.make_spec(assignment(last=True)), locked_bpb=1.5), []),
    ],
)  # fmt: skip
def test_what_does_not_follow_from_the_input_is_told_with_what_does(record: Record, mismatches: Any) -> None:
    reported = [
        (entry.pointer, entry.recorded.model_dump() if hasattr(entry.recorded, "model_dump") else entry.recorded,
         entry.expected, entry.meaning)
        for entry in find(record)
    ]  # fmt: skip
    assert reported == mismatches


def test_a_run_that_stopped_early_may_have_fewer_steps_and_not_more() -> None:
    def facts(steps: int) -> dict[str, Any]:
        seconds = round(steps * (FLOPS * 4096 / 10**10), 6)
        return {"val_bpb": None, "steps": steps, "tokens": steps * 4096, "rated_seconds": seconds}

    assert find(make_record("diverged", **facts(STEPS))) == []
    assert find(make_record("diverged", **facts(STEPS - 1))) == []
    assert [entry.pointer for entry in find(make_record("diverged", **facts(STEPS + 1)))] == ["/facts/steps"]


def test_rated_seconds_have_six_decimals() -> None:
    facts = {"val_bpb": None, "steps": 3, "tokens": 3 * 4096, "model": {"flops_per_token": 600_001}}
    assert find(make_record("failed", **facts, rated_seconds=0.737281)) == []
    (mismatch,) = find(make_record("failed", **facts, rated_seconds=0.73728123))
    assert (mismatch.pointer, mismatch.expected) == ("/facts/rated_seconds", 0.737281)


def test_on_the_wall_clock_the_progress_is_that_of_its_steps() -> None:
    wall = RUNNER.make_spec(assignment(clock="wall", block={**HOST, "flops_per_second": None}))
    progress = {"ticks": 9, "steps": STEPS, "data": ""}
    assert find(make_record(spec=wall, progress=progress, rated_seconds=None)) == []
    found = find(make_record(spec=wall, progress=progress | {"steps": 1}))
    assert [(entry.pointer, entry.expected, entry.meaning) for entry in found] == [
        ("/facts/rated_seconds", None, "the wall clock rates nothing"),
        ("/facts/progress", f"that of {STEPS} steps", "the run could not be repeated"),
    ]
    nothing = {"val_bpb": None, "steps": 0, "tokens": 0, "train_loss": None, "rated_seconds": None}
    assert find(make_record("failed", spec=wall, **nothing)) == []


def test_one_configuration_has_one_model_and_here_the_one_that_it_builds() -> None:
    check = RUNNER.make_facts_check(make_study())
    first, other = make_record(), make_record(model={"flops_per_token": FLOPS, "depth": 9})
    assert list(check.mismatches(first, first.spec or {}, False)) == []
    assert [(entry.pointer, entry.recorded, entry.expected, entry.meaning)
            for entry in check.mismatches(other, other.spec or {}, False)] == [
        ("/facts/model/depth", 9, "nothing, as rung1/a/h1/7 has it", "its configuration builds another model")
    ]  # fmt: skip
    assert list(check.mismatches(first, first.spec or {}, False)) == []
    pointers = {entry.pointer for entry in find(first, whole=True)}
    assert {"/facts/model/depth", "/facts/model/digest", "/facts/model/flops_per_token"} <= pointers
    assert all(", as the runner has it" in str(entry.expected) for entry in find(first, whole=True))


def test_facts_that_are_none_and_settings_of_another_trainer_are_told() -> None:
    found = find(make_record(steps=-1))
    assert [(entry.pointer, entry.meaning) for entry in found] == [("/facts/steps", "no run of this runner says that")]
    check = RUNNER.make_facts_check(make_study())
    assert check.notes() == []
    assert list(check.mismatches(make_record(tokens=1), {"config": {}}, True)) == []
    assert check.notes() == [
        "the runner installed here does not know this study's settings, so steps and time were not counted"
    ]


def test_the_fingerprint_is_the_score_and_the_loss() -> None:
    check = RUNNER.make_facts_check(make_study())
    assert check.make_fingerprint({"val_bpb": 1.5, "train_loss": 2.5}) == (1.5, 2.5)
    assert check.make_fingerprint({"val_bpb": None, "train_loss": 2.5}) == ()
    assert check.make_fingerprint({"val_bpb": 1.5}) == ()
