"""`promotion study extend`: what it writes, what it refuses, and that `freeze` refuses a study that comes from elsewhere."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from report.build import build
from stages.commands import study as command
from stages.commands import study_back, study_extend
from stages.commands.freeze import freeze
from stages.domain import locks, yamlio
from stages.domain.errors import Refused
from stages.domain.files import sha256_bytes
from stages.domain.locks import LockRefused
from stages.domain.study import load
from stages.study_check import load_checked
from tests.support import dvclock, synthetic
from tests.support.repo import Repo, enter_copy
from tests.support.snapshots import check_snapshots


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("extend") / "study"
    dvclock.build(root, 6, 2)
    return root


@pytest.fixture
def repo(built: Path, tmp_path: Path) -> Any:
    with enter_copy(built, tmp_path / "study") as copy:
        yield copy


def extend(*words: str) -> Path:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args(["extend", *words])) == 0
    return Path(f"studies/{words[0]}.yaml")


def test_a_study_that_is_not_whole_is_told_with_its_commit(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    past = SimpleNamespace(
        name="synthetic", whole=False, missing="gate5 has not decided", commit="0123456789abcdef" * 3
    )
    monkeypatch.setattr(study_extend, "find_past", lambda name: past)
    with pytest.raises(Refused) as error:
        extend("wider")
    message = "synthetic: gate5 has not decided in commit 0123456789ab; finish it and commit its evidence first"
    assert str(error.value) == message


def test_the_file_is_a_commented_study_of_the_candidates_with_fresh_seeds(
    repo: Repo, capsys: pytest.CaptureFixture[str]
):
    path = extend("longer", "--budget-seconds", "1000")
    study, before = load_checked(path), load()
    text = path.read_text(encoding="utf-8")
    assert "# longer goes on from gate5 of synthetic, whose runs are not trained again" in text
    assert "# One more rung, with seeds that no study of this history used." in text
    assert (study.data, study.runner, study.clock, study.hosts) == (
        before.data,
        before.runner,
        before.clock,
        before.hosts,
    )
    assert all(study.configs[name] == before.configs[name] for name in study.configs)
    assert study.rungs["rung1"].seeds == [6000, 6001]
    assert "# A copy of the rules of gate5 of synthetic, without R5: no candidate has the role." in text
    assert study.gates["gate1"] == {key: rule for key, rule in before.gates["gate5"].items() if key != "R5"}
    assert "`promotion study use longer`" in capsys.readouterr().out


def test_more_seeds_at_a_rung_take_all_that_its_gate_judged_and_its_noise_floor(repo: Repo):
    study, before = load_checked(extend("more", "--rung", "rung3", "--seeds", "51", "52", "53")), load()
    decisions = [json.loads(line) for line in Path("ledger/decisions.jsonl").read_bytes().splitlines()]
    assert sorted(study.configs) == decisions[2]["candidates"]
    assert study.rungs["rung1"].budget_seconds == before.rungs["rung3"].budget_seconds
    assert study.rungs["rung1"].seeds == [51, 52, 53]
    assert len(study.rungs["rung1"].floor_seeds) == len(before.rungs["rung3"].floor_seeds) == 3
    assert study.study.from_ is not None
    assert study.study.from_.gate == "gate3"


def test_a_larger_budget_takes_only_whom_the_gate_promoted(repo: Repo):
    study = load_checked(extend("longer", "--rung", "rung2", "--budget-seconds", "11"))
    decisions = [json.loads(line) for line in Path("ledger/decisions.jsonl").read_bytes().splitlines()]
    assert sorted(study.configs) == decisions[1]["promoted"] != decisions[1]["candidates"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["longer", "--budget-seconds", "1"], "--budget-seconds 1: expected at least 720, that of the earlier rung"),
        (["longer", "--rung", "rung9"], "--rung rung9: synthetic has no such rung, expected one of rung1"),
        (["longer", "--from", "another"], "holds no study of this name; it holds synthetic"),
        (["Longer"], "'Longer' is no name for a study"),
        (["synthetic"], "found 'synthetic', this study's own name, expected another"),
        (["longer", "--seeds", "7", "7"], "seed 7 stands in rungs.rung1.seeds already"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(repo: Repo, words: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        extend(*words)
    assert not Path("studies").exists()


def test_an_unfinished_study_is_not_extended(repo: Repo):
    Path("locks/gate5.yaml").unlink()
    repo.git("checkout", "-q", "--orphan", "young")
    repo.commit("four gates")
    with pytest.raises(Refused, match=r"synthetic: gate5 is not frozen in commit \w+; finish it"):
        extend("longer")


def begin(path: Path) -> None:
    """Make the study of a file this repository's, its corpus built already."""
    Path("params.yaml").write_bytes(path.read_bytes())
    for lock in Path("locks").glob("gate*"):
        lock.unlink()
    shutil.rmtree("ledger")
    for folder in ("records", "gates", "protocol", "traces"):
        shutil.rmtree(f"artifacts/{folder}")


def test_freeze_writes_where_a_study_comes_from_into_its_first_lock(repo: Repo):
    begin(extend("longer", "--budget-seconds", "1000"))
    assert freeze(load(), [], None) == {"gate1": "frozen"}
    lock = locks.read("gate1")
    assert lock is not None
    assert lock.frozen.from_ == load().study.from_


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("decision", "0" * 64, "/study/from/decision"),
        ("commit", "0" * 40, "/study/from/commit"),
        ("gate", "gate7", "gate7"),
    ],
)
def test_freeze_refuses_a_study_that_comes_from_elsewhere(repo: Repo, key: str, value: str, message: str):
    begin(extend("longer", "--budget-seconds", "1000"))
    params = yamlio.read(Path("params.yaml"), "")
    params["study"]["from"][key] = value
    Path("params.yaml").write_text(json.dumps(params), encoding="utf-8")
    with pytest.raises(LockRefused, match=f"nothing was frozen:\n.*{message}"):
        freeze(load(), [], None)
    assert not list(Path("locks").glob("gate*"))


def test_the_study_of_a_folder_without_any_is_asked_for_by_name(repo: Repo):
    Path("params.yaml").unlink()
    assert extend("longer", "--from", "synthetic").is_file()
    assert synthetic.params()["study"]["name"] == "synthetic"


def test_status_and_the_overview_tell_an_extension_from_the_study_that_it_goes_on_from(
    repo: Repo, capsys: pytest.CaptureFixture[str]
):
    extend("longer", "--budget-seconds", "1000")
    commit = repo.git("rev-parse", "HEAD")[:12]
    dvclock.add_study(repo.root, yamlio.read(Path("studies/longer.yaml"), ""))
    reported = repo.promotion("status").stdout
    assert f"goes on from gate5 of synthetic, commit {commit}" in reported
    assert json.loads(repo.promotion("status", "--json").stdout)["from"]["study"] == "synthetic"
    shutil.rmtree("artifacts/confidence")  # a stand-in
    build(repo.root)
    page = (repo.root / "site" / "index.html").read_text(encoding="utf-8")
    assert f"This study goes on from gate5 of the study <b>synthetic</b>, in commit <code>{commit}</code>" in page


def refuse(*words: str) -> str:
    with pytest.raises(Refused) as caught:
        extend(*words)
    return str(caught.value)


def test_a_study_that_is_there_and_a_name_that_is_none_are_refused(repo: Repo):
    message = "'Longer' is no name for a study, expected lower-case letters, digits, '_' and '-'"
    assert refuse("Longer") == message
    Path("studies").mkdir()
    Path("studies/longer.yaml").write_bytes(b"mine\n")
    message = "studies/longer.yaml exists; give the new study another name, or edit that file"
    assert refuse("longer") == message
    assert Path("studies/longer.yaml").read_bytes() == b"mine\n"


def test_a_budget_is_at_least_that_of_the_earlier_rung(repo: Repo):
    assert refuse("longer", "--budget-seconds", "719") == (
        "--budget-seconds 719: expected at least 720, that of the earlier rung"
    )
    text = extend("same", "--budget-seconds", "720").read_text(encoding="utf-8")
    assert "# More seeds at the same budget, with seeds that no study of this history used." in text
    text = extend("larger", "--budget-seconds", "721").read_text(encoding="utf-8")
    assert "# One more rung, with seeds that no study of this history used." in text


def test_where_nobody_was_let_through_nobody_goes_on(repo: Repo, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(study_extend, "who_may_go_on", lambda decision, same_budget: [])
    message = "gate5 of synthetic let nobody through; --rung names another, or leave the budget as it is"
    assert refuse("longer", "--budget-seconds", "1000") == message


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("longer", ["--budget-seconds", "1000"]),
        ("wider", ["--rung", "rung3"]),
        ("given", ["--rung", "rung2", "--budget-seconds", "11.5", "--seeds", "7", "8", "--floor-seeds", "9"]),
    ],
)
def test_the_file_is_written_as_its_snapshot_holds(repo: Repo, name: str, words: list[str]):
    text = extend(name, *words).read_text(encoding="utf-8")
    origin = load_checked(Path(f"studies/{name}.yaml")).study.from_
    assert origin is not None
    lines = Path("ledger/decisions.jsonl").read_bytes().splitlines(keepends=True)
    assert origin.decision == sha256_bytes(lines[int(origin.gate.removeprefix("gate")) - 1])
    assert origin.commit == repo.git("rev-parse", "HEAD")
    text = text.replace(origin.commit, "COMMIT").replace(origin.decision, "DECISION")
    check_snapshots(f"study_extend/{name}", {"file.txt": text})


def make_lock(**frozen: Any) -> Any:
    return SimpleNamespace(frozen=frozen)


@pytest.mark.parametrize(
    ("locks_", "seed"),
    [
        ([], 1000),
        ([make_lock()], 1000),
        ([make_lock(seeds=[999])], 1000),
        ([make_lock(seeds=[1000])], 2000),
        ([make_lock(seeds=[1999], floor_seeds=[7])], 2000),
        ([make_lock(seeds=[3], floor_seeds=[4500]), make_lock(seeds=[2000])], 5000),
        ([make_lock(seeds=["9000", None, 1])], 1000),
    ],
)
def test_the_first_seed_to_propose_is_a_thousand_above_all_that_were_frozen(locks_: list[Any], seed: int, monkeypatch):
    past = SimpleNamespace(locks=dict(enumerate(locks_)))
    monkeypatch.setattr(study_extend, "history_at_head", lambda: past)
    assert study_extend._next_seed() == seed


def test_a_title_is_cut_so_that_what_is_added_has_room(repo: Repo, monkeypatch: pytest.MonkeyPatch):
    earlier = study_extend.read_earlier(study_back.find_past("synthetic"), None)
    about = earlier.study.study.model_copy(update={"title": "x" * 200})
    study = earlier.study.model_copy(update={"study": about})
    text = study_extend.format_extension("more", replace(earlier, study=study), None, None, None)
    assert yamlio.loads(text.encode(), "text")["study"]["title"] == f"{'x' * 150} (more seeds at the same budget)"


def test_what_a_command_is_given_at_the_rung_goes_on(repo: Repo):
    earlier = study_extend.read_earlier(study_back.find_past("synthetic"), "rung2")
    rung = earlier.study.rungs["rung2"].model_copy(update={"with_": {"steps": 5}})
    study = earlier.study.model_copy(update={"rungs": earlier.study.rungs | {"rung2": rung}})
    text = study_extend.format_extension("more", replace(earlier, study=study), None, [1], None)
    section = yamlio.loads(text.encode(), "text")["rungs"]["rung1"]
    assert section == {"budget_seconds": 5, "with": {"steps": 5}, "seeds": [1], "floor_seeds": []}
