"""What the site is made of: files of a wrong shape are refused with place and remedy, absent summaries are made anew."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from report import load as module
from report.build import build
from report.load import FileDigests, LedgerDecision, LedgerLine, collect_models, digest_file, load
from stages.domain import canonical
from stages.domain.errors import Invalid
from stages.domain.study import parse_study
from tests.report import broken
from tests.report.conftest import copy_of
from tests.report.pages import read
from tests.report.test_build import run_report
from tests.support import synthetic


@pytest.fixture
def copied(default_study: Path, tmp_path: Path) -> Path:
    return copy_of(default_study, tmp_path / "study")


def files(root: Path) -> dict[str, str]:
    site = root / "site"
    return {
        path.relative_to(site).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in site.rglob("*")
        if path.is_file()
    }


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    value = json.loads(path.read_bytes())
    change(value)
    path.write_bytes(canonical.dumps(value))


def test_without_the_summaries_the_pages_are_the_same(default_study: Path, copied: Path) -> None:
    shutil.rmtree(copied / "artifacts" / "summary")
    build(copied)
    before, after = files(default_study), files(copied)
    differ = {name for name in before | after if before.get(name) != after.get(name)}
    assert differ == {"manifest.json", "verify.html", "verify.inputs.csv", "verify.inputs.json"}  # which list the files


def test_from_git_alone_cost_agreement_and_stability_are_whole(default_study: Path, tmp_path: Path) -> None:
    root = copy_of(default_study, tmp_path / "study")
    shutil.rmtree(root / "artifacts")
    build(root)
    for name in ("cost.rungs", "cost.decisions", "cost.unrun", "agreement.pairs", "agreement.means-rung3"):
        for ending in ("csv", "json"):
            made = (root / "site" / f"{name}.{ending}").read_bytes()
            assert made == (default_study / "site" / f"{name}.{ending}").read_bytes(), name
    for name in ("stability.steps", "stability.fates", "stability.optimism", "gates/gate5.alone", "index.paths"):
        assert (root / "site" / f"{name}.csv").read_bytes() == (default_study / "site" / f"{name}.csv").read_bytes()
    models_ = json.loads((root / "site" / "configs.models.json").read_bytes())
    place = [column["key"] for column in models_["columns"]].index("parameters")
    of_records = {run.record.facts["model"]["parameters"] for run in load(root).executed}
    assert {row[place] for row in models_["rows"]} == of_records  # those of configs.json are others in this study
    overview = read(root / "site" / "index.html").text
    many = len(load(root).executed)
    assert (
        f"artifacts/traces: {many} runs without a curve; dvc pull (where a DVC remote is set up) or dvc repro brings them."
        in overview
    )
    assert (
        "artifacts/corpus/manifest.json is missing, so what the text contains is not shown; dvc pull (where a DVC remote is "
        in overview
    )
    assert "has no leader yet" not in read(root / "site" / "stability.html").text
    assert "wins" in overview


def test_models_come_from_the_records_where_the_realised_ones_are_absent(default_study: Path) -> None:
    study = load(default_study)
    record = next(run.record for run in study.executed if run.record.config == "d1-c000")
    twin = record.model_copy(update={"config": "twin"})
    made = collect_models([*(run.record for run in study.runs.values()), twin])
    assert set(made) == {*study.study.configs, "twin"}
    same = {"d1-c000": ["twin"], "twin": ["d1-c000"]}
    for run in study.executed:
        reported = run.record.facts["model"]
        assert made[run.record.config] | {"digest": reported["digest"]} == reported | {
            "same_model_as": same.get(run.record.config, [])
        }


def test_a_run_without_a_model_is_no_model_and_the_first_one_counts(default_study: Path) -> None:
    record = next(run.record for run in load(default_study).executed if run.record.config == "d1-c000")
    other = {**record.facts, "model": {"parameters": 7}}
    records = [record.model_copy(update={"facts": facts}) for facts in (None, {"model": "none"}, other, record.facts)]
    assert collect_models(records) == {"d1-c000": {"parameters": 7, "same_model_as": []}}
    assert collect_models(records[:2]) == {}


def test_a_configuration_that_was_renamed_is_named_with_both_remedies(copied: Path) -> None:
    def rename(value: dict[str, Any]) -> None:
        value["configs"] = {("renamed" if key == "d2-c001" else key): one for key, one in value["configs"].items()}

    broken.params(copied, rename)
    done = run_report(copied)
    assert done.returncode == 2
    assert done.stderr == (
        "error: ledger/runs.jsonl, line 5: found the configuration 'd2-c001', expected one of configs in params.yaml; if "
        "it was renamed there, `git checkout -- params.yaml` brings the name back, and `dvc repro` makes the evidence "
        "anew under the new one\n"
    )
    (copied / "ledger" / "runs.jsonl").write_bytes(b"")
    with pytest.raises(Invalid, match=r"ledger/decisions\.jsonl, line 1: found the configuration 'd2-c001'"):
        load(copied)


def test_a_decision_that_is_none_is_refused_with_its_line_and_the_first_gaps(copied: Path) -> None:
    (copied / "ledger" / "decisions.jsonl").write_bytes(canonical.dumps({"gate": "gate1", "schema": 1}))
    with pytest.raises(Invalid) as reported:
        load(copied)
    lines = str(reported.value).splitlines()
    assert lines[0] == "ledger/decisions.jsonl, line 1: rung: expected a value: the key is missing"
    assert lines[-1].endswith("more mistakes; `dvc repro -s ledger` writes it anew")
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda value: value.update(gate="gate9"), "gate: found gate9, which params.yaml does not have"),
        (lambda value: value.update(outcome="perhaps"), "outcome: found 'perhaps', expected 'decided' or 'blocked'"),
        (lambda value: value["ranking"][0].update(mean="1.5"), "ranking.0.mean: found '1.5', expected a number"),
        (lambda value: value["rules"][0].update(id="r1"), "rules.0.id: found 'r1', expected a rule id: R1 to R999"),
    ],
)
def test_a_decision_of_another_shape_is_told_by_its_place(copied: Path, change: Any, told: str) -> None:
    def both(value: dict[str, Any]) -> dict[str, Any]:
        if value["gate"] == "gate2":
            change(value)
        return value

    broken.lines(copied, "decisions.jsonl", both)
    with pytest.raises(Invalid) as error:
        load(copied)
    assert str(error.value).startswith(f"ledger/decisions.jsonl, line 2: {told}")
    assert str(error.value).endswith("`dvc repro -s ledger` writes it anew")


@pytest.mark.parametrize("name", ["accounting", "agreement", "stability"])
def test_an_empty_summary_is_refused_with_what_it_lacks(copied: Path, name: str) -> None:
    path = copied / "artifacts" / "summary" / f"{name}.json"
    path.write_bytes(canonical.dumps({"schema": 1}))
    with pytest.raises(Invalid, match=rf"artifacts/summary/{name}\.json: \w+: expected a value: the key is missing"):
        load(copied)


def test_a_summary_of_a_newer_schema_and_one_of_other_names_are_refused(copied: Path) -> None:
    path = copied / "artifacts" / "summary" / "agreement.json"
    rewrite(path, lambda value: value["rungs"]["rung1"]["means"].update(stranger={"cpu-fp32": 1.0}))
    with pytest.raises(Invalid, match=r"agreement\.json: rungs\.rung1\.means: found the configuration 'stranger'"):
        load(copied)
    rewrite(path, lambda value: value.update(schema=2))
    with pytest.raises(Invalid, match=r"agreement\.json: schema: found 2, expected 1"):
        load(copied)


def test_the_digests_of_what_was_read_are_those_of_git_and_of_sha256sum(default_study: Path) -> None:
    path = default_study / "locks" / "gate1.yaml"
    reported = load(default_study).sources["locks/gate1.yaml"]
    done = subprocess.run(["git", "hash-object", "--no-filters", str(path)], capture_output=True, encoding="utf-8")
    assert reported.blob == done.stdout.strip()
    assert reported.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert reported.blob in (default_study / "site" / "verify.inputs.csv").read_text(encoding="utf-8")


def test_a_line_of_the_ledger_has_its_place_and_its_digests() -> None:
    line = LedgerLine("ledger/runs.jsonl", 3, b"{}\n")
    assert (str(line), line.md5, line.sha256) == (
        "ledger/runs.jsonl, line 3", hashlib.md5(b"{}\n").hexdigest(), hashlib.sha256(b"{}\n").hexdigest(),
    )  # fmt: skip
    assert LedgerDecision(None, line).source == f"ledger/runs.jsonl, line 3 (md5 {line.md5})"  # type: ignore[arg-type]
    blob = hashlib.sha1(b"blob 3\0{}\n").hexdigest()
    assert digest_file(b"{}\n") == FileDigests(line.sha256, blob)


def test_a_file_that_is_absent_is_none_or_an_error_with_its_remedy(tmp_path: Path) -> None:
    reader = module._Reader(tmp_path)
    (tmp_path / "folder").mkdir()
    assert (reader.bytes(Path("a")), reader.bytes(Path("folder")), reader.sources) == (None, None, {})
    with pytest.raises(Invalid, match=r"^a is missing; make it$"):
        reader.bytes(Path("a"), "make it")
    (tmp_path / "folder" / "b").write_bytes(b"[1]\n")
    assert reader.bytes(Path("folder/b"), "make it") == b"[1]\n"
    assert list(reader.sources) == ["folder/b"]
    (tmp_path / "a").write_bytes(b"{")
    with pytest.raises(Invalid, match=r"^a: .*; make it$"):
        reader.json(Path("a"), module.ModelFile, "make it")
    assert reader.json(Path("none"), module.ModelFile, "make it") is None


def test_models_that_are_alike_name_each_other_without_their_digests() -> None:
    def record(config: str, model: object) -> Any:
        return SimpleNamespace(config=config, facts=None if model is None else {"model": model})

    reported = [
        record("b", {"width": 2, "digest": "x"}),
        record("a", {"digest": "y", "width": 2}),
        record("c", {"width": 3}),
        record("d", None),
        record("b", {"width": 9}),
    ]
    assert collect_models(reported) == {
        "b": {"width": 2, "same_model_as": ["a"]}, "a": {"width": 2, "same_model_as": ["b"]}, "c": {"width": 3, "same_model_as": []},
    }  # fmt: skip


STUDY = parse_study(synthetic.params(3), "params.yaml")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([("a", "d1-c000", "rung1"), ("a", "d1-c000", "rung1")], "ledger/runs.jsonl, line 2: a stands there twice; `dvc repro -s ledger` writes it anew"),
        ([("a", "d1-c000", "rung9")], "ledger/runs.jsonl, line 1: rung: found rung9, which params.yaml does not have; `dvc repro -s ledger` writes it anew"),
        ([("a", "d1-c000", "rung1"), ("b", "x", "rung1")], "ledger/runs.jsonl, line 2: found the configuration 'x', expected one of configs in params.yaml; "),
    ],
)  # fmt: skip
def test_a_ledger_with_a_run_twice_or_of_an_unknown_rung_or_configuration_is_refused(
    lines: list[tuple[str, str, str]], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parsed = [(SimpleNamespace(id=id_, config=config, rung=rung), b"") for id_, config, rung in lines]
    monkeypatch.setattr(module, "parse_ledger", lambda data, where: iter(parsed))
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "runs.jsonl").touch()
    with pytest.raises(Invalid) as refused:
        module._read_runs(module._Reader(tmp_path), STUDY)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        (
            ["gate1", "gate1"],
            "ledger/decisions.jsonl, line 2: gate: found gate1, a second time; `dvc repro -s ledger` writes it anew",
        ),
        (
            ["gate9"],
            "ledger/decisions.jsonl, line 1: gate: found gate9, which params.yaml does not have; `dvc repro -s ledger` writes it anew",
        ),
        (["gate3", "gate1"], None),
    ],
)
def test_decisions_stand_once_each_and_in_the_order_of_the_study(
    gates: list[str], message: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "decisions.jsonl").write_bytes(b"".join(f"{gate}\n".encode() for gate in gates))
    names = {"candidates": ["d1-c000"], "promoted": ["d1-c000"], "stopped": {}}
    monkeypatch.setattr(
        module, "parse_decision", lambda raw, where, remedy: SimpleNamespace(gate=raw.decode().strip(), **names)
    )
    reader = module._Reader(tmp_path)
    if message:
        with pytest.raises(Invalid) as refused:
            module._read_decisions(reader, STUDY)
        assert str(refused.value) == message
    else:
        entries = module._read_decisions(reader, STUDY)
        assert {gate: entry.line.number for gate, entry in entries.items()} == {"gate1": 2, "gate3": 1}
        assert list(entries) == ["gate1", "gate3"]


@pytest.mark.parametrize("place", ["candidates", "promoted", "stopped"])
def test_a_decision_names_configurations_of_params_yaml_alone(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "decisions.jsonl").write_bytes(b"x\n")
    names: dict[str, Any] = {"candidates": [], "promoted": [], "stopped": {}} | {
        place: {"x": 1} if place == "stopped" else ["x"]
    }
    monkeypatch.setattr(module, "parse_decision", lambda raw, where, remedy: SimpleNamespace(gate="gate1", **names))
    with pytest.raises(Invalid, match="found the configuration 'x'"):
        module._read_decisions(module._Reader(tmp_path), STUDY)
