"""What lies in the workspace and in DVC's cache, against what DVC recorded: each difference, and what is not here."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.domain import canonical
from stages.domain.errors import Invalid
from stages.domain.study import Study
from stages.dvcfiles.cache import Cache, folder_md5, md5_path
from stages.dvcfiles.lockfile import LockedFile
from stages.runners import FactMismatch
from stages.verify import artifacts
from stages.verify.check import Case, Problem, Skip
from stages.verify.dvc_locks import DvcLocks
from stages.verify.ledger import Ledger
from tests.verify.cases import alter, change_lock

RUN = "rung1/d1-c000/cpu-fp32/1000"
TRACE = f"artifacts/traces/{RUN}"
MANIFEST = "artifacts/corpus/manifest.json"


@pytest.fixture
def copy(judged: Case, tmp_path: Path) -> Case:
    """The study in a folder of its own, to change what lies there."""
    root = tmp_path / "study"
    shutil.copytree(judged.root, root, ignore=shutil.ignore_patterns(".git"))
    return alter(judged, root=root)


def check(case: Case, *values: object, **fields: Any) -> tuple[list[Problem], list[str]]:
    altered = alter(case, *values, **fields)
    return list(artifacts.check_artifacts(altered)), altered.notes


def put(root: Path, name: str, data: bytes) -> None:
    """An object in the cache of a study."""
    path = Cache(root / ".dvc" / "cache" / "files" / "md5").path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


# V26


def test_an_output_that_was_changed_is_told_with_the_place_that_recorded_it(copy):
    assert check(copy) == ([], [])
    curve = copy.root / TRACE / "curve.csv"
    before = md5_path(curve.parent)
    curve.write_bytes(b"other")
    out = copy.get(DvcLocks).recorded["stages/ladder/rung1/d1-c000/dvc.lock"]["run@cpu-fp32-1000"].outs[TRACE]
    place = f"stages/ladder/rung1/d1-c000/dvc.lock, /stages/run@cpu-fp32-1000/outs/{out.at}/md5"
    reported = Problem(TRACE, md5_path(curve.parent), f"{before}, as in {place}", "the file was changed")
    assert check(copy) == ([reported], [])
    with pytest.raises(Skip, match="no output is here"):  # the workspace is none of a commit's
        check(copy, commit="a" * 40)


def test_what_is_not_here_is_counted_and_nothing_at_all_is_skipped(copy):
    shutil.rmtree(copy.root / TRACE)
    outputs = [
        file
        for _, _, stage in copy.get(DvcLocks).stages()
        for file in stage.outs.values()
        if not file.path.startswith(("stages/", "ledger/"))
    ]
    note = f"1 of {len(outputs)} outputs are not here; `dvc repro` brings them"
    assert check(copy) == ([], [note])
    shutil.rmtree(copy.root / "artifacts")
    shutil.rmtree(copy.root / "site")
    with pytest.raises(Skip) as skip:
        check(copy)
    assert (skip.value.reason, skip.value.enable) == ("no output is here", "dvc repro")


def test_an_object_of_the_cache_that_is_not_what_it_is_called_is_told(copy):
    lock = copy.get(DvcLocks).recorded["dvc.lock"]
    curves = str(lock["winner"].outs["artifacts/curves.csv"].md5)
    data = (copy.root / "artifacts/curves.csv").read_bytes()
    (copy.root / "artifacts/curves.csv").unlink()
    put(copy.root, curves, data)
    assert check(copy) == ([], [])
    put(copy.root, curves, b"other")
    digest = md5_path(copy.root / ".dvc/cache/files/md5" / curves[:2] / curves[2:])
    place = f".dvc/cache/files/md5/{curves[:2]}/{curves[2:]}"
    reported = Problem(place, f"content of digest {digest}", curves, "the cache was changed")
    assert check(copy) == ([reported], [])
    assert check(copy, commit="a" * 40)[0] == [reported]


def test_a_folder_of_the_cache_is_looked_through_file_by_file(tmp_path):
    cache = Cache(tmp_path / ".dvc" / "cache" / "files" / "md5")
    listing = json.dumps([{"md5": "a" * 32, "relpath": "x"}, {"md5": "b" * 32, "relpath": "y"}]).encode()
    name = folder_md5([("x", "a" * 32), ("y", "b" * 32)])
    file = LockedFile("f", name, None, None, 0)
    assert list(artifacts._cached_objects(cache, file)) == []
    put(tmp_path, name, listing)
    put(tmp_path, "b" * 32, b"y")
    real = md5_path(cache.path("b" * 32))
    cache = Cache(tmp_path / ".dvc" / "cache" / "files" / "md5")
    assert list(artifacts._cached_objects(cache, file)) == [(name, name), ("b" * 32, real)]
    assert list(artifacts._cached_objects(cache, replace(file, md5="b" * 32))) == [("b" * 32, real)]


def test_a_file_among_the_evidence_that_no_stage_writes_is_told_unless_it_is_being_written(copy):
    strangers = [
        "artifacts/gates/gate1/notes.txt",
        "artifacts/hindsight/records/x.json",
        "artifacts/records/rung1/x.json",
        "artifacts/records/rung1/.x.json",
        "artifacts/records/rung1/x.part",
    ]
    for path in [*strangers, "artifacts/records/rung1/.x.part", "artifacts/other/x"]:
        (copy.root / path).parent.mkdir(parents=True, exist_ok=True)
        (copy.root / path).write_bytes(b"x")
    meaning = "whoever reads the folder takes it for evidence; `promotion freeze` tidies"
    problems, _ = check(copy)
    assert sorted(problems, key=lambda problem: problem.file) == [
        Problem(path, "a file that no stage of this study writes", "no such file", meaning)
        for path in sorted(strangers)
    ]
    with pytest.raises(Skip, match="no output is here"):
        check(copy, commit="a" * 40)


class Runner:
    """A runner whose trace says otherwise of one run."""

    def __init__(self, wrong: str) -> None:
        self.wrong = wrong
        self.seen: dict[str, dict[str, bytes]] = {}

    def check_trace(self, record: Any, trace: dict[str, bytes]) -> list[FactMismatch]:
        self.seen[record.id] = trace
        return (
            [FactMismatch("/facts/printed", "1", "2", "the log has another score")] if record.id == self.wrong else []
        )


def command(case: Case) -> Study:
    """The study as one of a command, as far as it is asked."""
    study = case.get(Study)
    return study.model_copy(update={"runner": {"kind": "command"}})


def test_the_score_of_a_command_is_read_again_from_the_log_of_its_run(copy, monkeypatch):
    runner = Runner(RUN)
    monkeypatch.setattr(artifacts, "runner_of", lambda settings: runner)
    monkeypatch.setattr(Study, "command", property(lambda study: SimpleNamespace()))
    big = copy.root / TRACE / "big"
    monkeypatch.setattr(artifacts, "MAX_LOG_BYTES", (copy.root / TRACE / "curve.csv").stat().st_size)
    gone = "rung1/d1-c000/cpu-bf16/1000"
    reported = Problem(
        "ledger/runs.jsonl", "1", "2", f"{RUN}: the log has another score", line=2, pointer="/facts/printed"
    )
    assert check(copy) == ([reported], [])
    assert len(runner.seen) == 34  # those that were executed
    assert runner.seen[RUN] == {"curve.csv": (copy.root / TRACE / "curve.csv").read_bytes()}
    monkeypatch.setattr(artifacts, "MAX_LOG_BYTES", (copy.root / TRACE / "curve.csv").stat().st_size - 1)
    check(copy)
    assert runner.seen[RUN] == {}
    shutil.rmtree(copy.root / "artifacts" / "traces" / gone)
    problems, notes = check(copy)
    assert problems == [reported]
    assert notes[0] == ("the logs of 1 runs are not here, so their scores were not read again; `dvc repro` brings them")
    assert not big.exists()
    assert check(copy, without=(Ledger,))[0] == []
    assert check(copy, without=(Study,))[0] == []


def test_no_log_is_read_of_a_runner_of_this_project(copy, monkeypatch):
    monkeypatch.setattr(artifacts, "runner_of", lambda settings: pytest.fail("it was asked"))
    assert check(copy) == ([], [])


# V27


def corpus(case: Case, *values: object, **fields: Any) -> list[Problem]:
    return list(artifacts.check_corpus(alter(case, *values, **fields)))


def made(case: Case, change: Any = None) -> dict[str, Any]:
    """The manifest of the study, made to be that of params.yaml, with files of the digests that it lists."""
    value: dict[str, Any] = json.loads((case.root / MANIFEST).read_bytes())
    for part in (value["tokenizer"], value["token_bytes"], *value["splits"].values()):
        path = case.root / "artifacts" / "corpus" / part["file"]
        path.write_bytes(part["file"].encode())
        part["sha256"] = artifacts.files.sha256_file(path)
    value["source"] = case.get(Study).data.source.model_dump(mode="json")
    if change:
        change(value)
    return value


def frozen(case: Case, value: dict[str, Any]) -> Any:
    """The locks where all froze this manifest, which lies here."""
    data = canonical.dumps(value)
    (case.root / MANIFEST).write_bytes(data)
    for gate in case.get(artifacts.Locks).by_gate:
        case = alter(case, change_lock(case, gate, corpus=artifacts.files.sha256_bytes(data)))
    return case.get(artifacts.Locks)


def test_the_corpus_is_the_frozen_one_file_by_file(copy):
    known = frozen(copy, made(copy))
    assert corpus(copy, known) == []
    before = copy.get(artifacts.Locks).by_gate["gate2"].frozen.corpus
    digest = known.by_gate["gate2"].frozen.corpus
    assert corpus(alter(copy, known), change_lock(alter(copy, known), "gate2", corpus=before)) == [
        Problem(MANIFEST, digest, f"{before}, as locks/gate2.yaml froze it", "gate2 was frozen for another text")
    ]
    (copy.root / "artifacts" / "corpus" / "val.bin").write_bytes(b"junk")
    expected = artifacts.files.sha256_bytes(b"val.bin")
    reported = Problem(
        "artifacts/corpus/val.bin", artifacts.files.sha256_bytes(b"junk"), expected, "runs were not made on this text"
    )
    assert corpus(copy, known) == [reported]
    (copy.root / "artifacts" / "corpus" / "locked.bin").unlink()
    altered = alter(copy, known)
    assert list(artifacts.check_corpus(altered)) == [reported]
    assert altered.notes == ["locked.bin of the corpus is not here; `dvc repro corpus` brings it"]


def test_a_corpus_of_another_text_than_the_declared_one_is_told_and_none_is_skipped(copy):
    known = frozen(copy, made(copy, lambda value: value["source"].update(separator="line")))
    assert corpus(copy, known) == [
        Problem(
            MANIFEST,
            "'line'",
            "'blank-line', as data.source in params.yaml",
            "the corpus was built from another text than params.yaml says",
            pointer="/source/separator",
        )
    ]
    with pytest.raises(Skip) as skip:
        corpus(copy, known, commit="a" * 40)
    assert (skip.value.reason, skip.value.enable) == ("the corpus is not here", "dvc repro corpus")


def pinned(case: Case) -> Study:
    """The study with data of a command: one file elsewhere, by its digest."""
    (case.root / "data").mkdir()
    (case.root / "data" / "text.txt").write_bytes(b"some data\n")
    digest = artifacts.files.sha256_bytes(b"some data\n")
    source = artifacts.DataFiles.model_validate(
        {"kind": "files", "root": "data", "files": [{"path": "text.txt", "sha256": digest}]}
    )
    study = case.get(Study)
    return study.model_copy(update={"data": study.data.model_copy(update={"source": source})})


def test_files_that_a_command_reads_are_digested_where_they_are_here(copy):
    study = pinned(copy)
    assert list(artifacts._check_data_files(alter(copy, study))) == []
    assert list(artifacts._check_data_files(copy)) == []
    (copy.root / "data" / "text.txt").write_bytes(b"other text\n")
    (problem,) = artifacts._check_data_files(alter(copy, study))
    assert (problem.expected, problem.meaning) == ("the files that params.yaml pins", "runs were not made on them")
    assert "text.txt" in problem.found
    assert problem.file.endswith("data")
    (copy.root / "data" / "text.txt").unlink()
    altered = alter(copy, study)
    assert list(artifacts._check_data_files(altered)) == []
    assert len(altered.notes) == 1
    assert altered.notes[0].startswith("the data is not here: ")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{}\n", "artifacts/corpus/manifest.json: found no 'source', expected the manifest of a corpus"),
        (
            b'{"source":{"kind":"x"},"splits":{},"token_bytes":{"file":"a/b","sha256":"1"},'
            b'"tokenizer":{"file":"c","sha256":"1"}}\n',
            "artifacts/corpus/manifest.json: found no source or files, expected the manifest of a corpus",
        ),
        (
            b'{"source":{"kind":"x"},"splits":{},"token_bytes":{"file":"a\\\\b","sha256":"1"},'
            b'"tokenizer":{"file":"c","sha256":"1"}}\n',
            "artifacts/corpus/manifest.json: found no source or files, expected the manifest of a corpus",
        ),
    ],
)
def test_a_manifest_that_is_none_is_told(data, message):
    with pytest.raises(Invalid) as error:
        artifacts.parse_manifest(data)
    assert str(error.value) == message
    with pytest.raises(Invalid, match=r"^artifacts/corpus/manifest.json: "):
        artifacts.parse_manifest(b"{{{")


def test_a_manifest_lists_its_files_and_one_of_files_elsewhere_lists_none():
    source = {"kind": "text"}
    value = {
        "source": source,
        "tokenizer": {"file": "t", "sha256": "1"},
        "token_bytes": {"file": "b", "sha256": "2"},
        "splits": {"train": {"file": "a.bin", "sha256": 3}},
    }
    assert artifacts.parse_manifest(canonical.dumps(value)) == artifacts.ManifestDigests(
        source, {"t": "1", "b": "2", "a.bin": "3"}
    )
    files = {"source": {"kind": "files", "root": "x"}}
    assert artifacts.parse_manifest(canonical.dumps(files)) == artifacts.ManifestDigests(files["source"], {})


def test_the_manifest_of_a_commit_is_that_of_the_cache(copy):
    md5 = {stage.deps[MANIFEST].md5 for _, _, stage in copy.get(DvcLocks).stages() if MANIFEST in stage.deps}
    data = (copy.root / MANIFEST).read_bytes()
    assert len(md5) == 1
    (name,) = md5
    assert artifacts._manifest_bytes(copy) == data
    commit = alter(copy, commit="a" * 40)
    assert artifacts._manifest_bytes(commit) is None
    put(copy.root, str(name), b"other")
    assert artifacts._manifest_bytes(commit) is None
    put(copy.root, str(name), data)
    assert artifacts._manifest_bytes(commit) == data
    (copy.root / MANIFEST).unlink()
    assert artifacts._manifest_bytes(copy) == data


def test_the_files_of_a_command_are_looked_at_in_the_workspace_alone(copy, monkeypatch):
    study = pinned(copy)
    known = frozen(copy, {"source": study.data.source.model_dump(mode="json")})
    data = (copy.root / MANIFEST).read_bytes()
    assert corpus(copy, known, study) == []
    (copy.root / "data" / "text.txt").write_bytes(b"other text\n")
    assert [problem.meaning for problem in corpus(copy, known, study)] == ["runs were not made on them"]
    monkeypatch.setattr(artifacts, "_manifest_bytes", lambda case: data)
    assert corpus(copy, known, study, commit="a" * 40) == []
