"""Where to go next, of a study on its way and of a whole one: the reason and the command, word by word."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.commands.next_step import Step, commit_rules_command, find_next_step
from stages.domain import canonical, files, locks, names
from stages.domain.contract import from_lock
from stages.domain.study import load
from stages.hosts import machine
from stages.status import read_status
from tests.support import dvclock, synthetic
from tests.support.repo import Repo, enter_copy

NOT_HELD = "git does not hold the evidence yet"
NOT_COMMITTED = "the rules are frozen and not committed: they come before the evidence"
COMPLETE = ("the study is complete", "promotion verify")
NO_REMOTE = "machines exchange runs through a DVC remote, and there is none"
REMOTE = b"[core]\n    remote = store\n['remote \"store\"']\n    url = /x\n"


def params() -> dict[str, Any]:
    """Three configurations; the second host asks for more CPUs than a small machine has."""
    value = synthetic.params(3, 1)
    value["hosts"]["cpu-bf16"]["threads"] = 4
    return value


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that waits for the freezing of its fourth gate, and a whole one. Take copies."""
    root = tmp_path_factory.mktemp("steps")
    held = dvclock.build_study(root / "partway", params(), 3)
    with enter_copy(root / "partway", root / "copy"):
        files.write_whole(names.SITE / "index.html", b"<!doctype html>\n")
        dvclock.write_root_lock(("corpus", "protocol", "ledger", "site"))
        Repo(Path()).commit("The site")
    shutil.rmtree(root / "partway")
    (root / "copy").rename(root / "partway")
    for path, data in held.items():
        files.write_whole(root / "held" / path, data)
    dvclock.build_study(root / "whole", params())
    return root


@pytest.fixture
def partway(studies: Path, tmp_path: Path) -> Iterator[Repo]:
    with enter_copy(studies / "partway", tmp_path / "study") as copy:
        yield copy


@pytest.fixture
def whole(studies: Path, tmp_path: Path) -> Iterator[Repo]:
    with enter_copy(studies / "whole", tmp_path / "study") as copy:
        yield copy


@pytest.fixture
def freeze(studies: Path, partway: Repo) -> Callable[..., None]:
    """Freeze gates of the study on its way, commit them, and open the first one's rung."""

    def put(*gates: str) -> None:
        for gate in gates:
            path = names.lock_path(gate)
            shutil.copy(studies / "held" / path, path)
        partway.commit("Freeze")
        contract = from_lock(locks.loads(names.lock_path(gates[0]).read_bytes(), gates[0]))
        files.write_whole(names.PROTOCOL / f"{names.rung_of(gates[0])}.json", contract.to_bytes())

    return put


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set how many CPUs this machine has."""

    def put(number: int) -> None:
        here = machine.MachineDescription(
            system="linux", machine="x86_64", cpu="", threads=number, gpus=(), compiler=None, triton=False
        )
        monkeypatch.setattr(machine, "describe_machine", lambda: here)

    return put


def step() -> Step:
    study = load()
    return find_next_step(study, read_status(study))


def change(edit: Callable[[dict[str, Any]], Any]) -> None:
    value = json.loads(names.PARAMS.read_bytes())
    edit(value)
    names.PARAMS.write_bytes((json.dumps(value, indent=1) + "\n").encode())


def evidence(paths: str) -> Step:
    return NOT_HELD, f"git add {paths} && git commit -m 'The evidence'"


def rules(paths: str) -> Step:
    return NOT_COMMITTED, f"git add {paths} && git commit -m 'Freeze the rules'"


@pytest.mark.parametrize("name", ["locks/gate1.yaml.part", "locks/.gate1.yaml.77.part", "stages/ladder/.x.1.part"])
def test_what_a_killed_process_left_half_written_is_no_rule_to_commit(name: str, whole: Repo) -> None:
    path = Path(name)
    path.write_bytes(b"half")
    try:
        assert step() == COMPLETE
        assert commit_rules_command(load()) is None
    finally:
        path.unlink()


def test_a_study_that_is_whole_and_committed_is_complete(whole: Repo) -> None:
    assert step() == COMPLETE
    assert commit_rules_command(load()) is None


def test_without_git_nothing_is_told_to_be_committed(whole: Repo) -> None:
    shutil.rmtree(".git")
    Path("ledger/metrics.json").write_bytes(b"{}\n")
    assert step() == ("the site is not that of ledger and params.yaml as they are now", "dvc repro")
    Path("dvc.lock").unlink()
    assert step() == COMPLETE
    assert commit_rules_command(load()) is None


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("ledger/metrics.json", "ledger"),
        ("dvc.lock", "dvc.lock"),
        ("stages/ladder/rung2/d1-c000/dvc.lock", "stages"),
        ("ledger/metrics.json dvc.lock stages/ladder/rung1/dvc.lock", "ledger dvc.lock stages"),
    ],
)
def test_evidence_that_git_does_not_hold_is_committed_and_nothing_else(whole: Repo, path: str, told: str) -> None:
    whole.git("rm", "-q", "--cached", *path.split())
    whole.git("commit", "-q", "-m", "Forgotten")
    assert step() == evidence(told)


def test_a_repetition_with_the_same_records_is_nothing_to_commit_unless_other_evidence_is(whole: Repo) -> None:
    lock = "stages/ladder/rung2/d1-c000/dvc.lock"
    text = Path(lock).read_text(encoding="utf-8")
    at = text.index("path: artifacts/traces")
    Path(lock).write_text(text[:at] + text[at:].replace("nfiles: 1", "nfiles: 2", 1), encoding="utf-8")
    assert whole.git("status", "--porcelain", "--", lock)
    assert step() == COMPLETE
    whole.git("rm", "-q", "--cached", "dvc.lock")
    whole.git("commit", "-q", "-m", "Forgotten")
    assert step() == evidence("dvc.lock stages")


def test_the_whole_study_leads_to_dvc_where_ledger_or_site_lag_behind(whole: Repo) -> None:
    (names.SITE / "index.html").unlink()
    assert step() == ("the ledger is written, and the site that shows it is not built yet", "dvc repro")
    Path("ledger/decisions.jsonl").write_bytes(b"")
    assert step() == ("every gate has decided, but the ledger does not hold it yet", "dvc repro")


def test_another_title_than_that_of_the_site_is_shown_first(whole: Repo) -> None:
    change(lambda value: value["study"].update(title="Another"))
    assert step() == ("the site is not that of ledger and params.yaml as they are now", "dvc repro")
    dvclock.write_root_lock()
    assert step() == evidence("dvc.lock params.yaml")
    Path("dvc.lock").write_bytes(b"{\n")
    assert step() == ("the site is not that of ledger and params.yaml as they are now", "dvc repro")
    dvclock.write_root_lock(("corpus", "protocol", "ledger"))
    assert step() == ("the site is not that of ledger and params.yaml as they are now", "dvc repro")


def test_the_next_gate_is_frozen_once_all_before_it_is_written_down(partway: Repo) -> None:
    assert step() == ("gate4 is not frozen, so rung4 may not start", "promotion freeze gate4")
    whole_site = Path("dvc.lock").read_bytes()
    partway.git("rm", "-q", "--cached", "ledger/metrics.json")
    partway.git("commit", "-q", "-m", "Forgotten")
    assert step() == evidence("ledger")
    (names.SITE / "index.html").unlink()
    why = "ledger and site are not those of params.yaml as it is now"
    assert step() == (why, "dvc repro -s protocol ledger confidence site")
    assert Path("dvc.lock").read_bytes() == whole_site
    Path("ledger/decisions.jsonl").unlink()
    assert step() == ("what was decided so far is not in the ledger yet", "dvc repro -s ledger confidence site")


def test_what_is_not_frozen_yet_may_change_before_it_is_shown_and_nothing_else_may(partway: Repo) -> None:
    freeze = ("gate4 is not frozen, so rung4 may not start", "promotion freeze gate4")
    change(lambda value: (value["gates"]["gate4"]["R7"].update(gap=0.03), value["rungs"]["rung5"].update(seeds=[5009])))
    assert step() == evidence("params.yaml")
    partway.commit("Another rule")
    assert step() == freeze
    change(lambda value: value["study"].update(note="Another"))
    assert step() == (
        "ledger and site are not those of params.yaml as it is now",
        "dvc repro -s protocol ledger confidence site",
    )


def test_the_first_rule_comes_after_the_text(partway: Repo) -> None:
    for folder in ("locks", "ledger", "site"):
        shutil.rmtree(folder)
    for name in ("records", "gates", "traces"):
        shutil.rmtree(f"artifacts/{name}")
    manifest = names.CORPUS / "manifest.json"
    text = manifest.read_bytes()
    manifest.unlink()
    assert step() == ("the rules name the text by its digest, so the text comes first", "dvc repro corpus")
    manifest.write_bytes(text)
    assert step() == ("no rule is frozen yet", 'promotion freeze --amend --reason "..."')
    partway.git("checkout", "-q", "--orphan", "fresh")
    partway.git("rm", "-q", "-r", "--cached", "locks", "ledger", "dvc.lock", "stages")
    partway.git("commit", "-q", "--allow-empty", "-m", "Nothing")
    assert step() == ("no rule is frozen yet", "promotion freeze")


def test_what_cannot_be_frozen_at_all_leads_to_the_check_of_the_study(partway: Repo) -> None:
    (names.CORPUS / "manifest.json").unlink()
    why, command = step()
    assert command == "promotion study check params.yaml"
    assert why.startswith("gate4 is not frozen, so rung4 may not start, and cannot be: artifacts/corpus/manifest.json")
    assert why.endswith("; edit params.yaml, then")


def test_a_rule_that_was_judged_under_another_one_is_amended(partway: Repo) -> None:
    change(lambda value: value["gates"]["gate2"]["R5"].update(k=1))
    amend = 'promotion freeze gate2 --amend --reason "..."'
    assert step() == ("gate2 was frozen otherwise (rules.R5.k): take it back, or", amend)
    change(lambda value: value["gates"]["gate2"].update(R4={"kind": "keep_role", "role": "sentinel"}))
    assert step() == ("gate2 was frozen otherwise (rules.R4.role, rules.R5.k): take it back, or", amend)
    change(lambda value: value["rungs"]["rung2"].update(budget_seconds=6))
    three = "gate2 was frozen otherwise (budget_seconds, rules.R4.role, rules.R5.k): take it back, or"
    assert step() == (three, amend)
    change(lambda value: value["rungs"]["rung2"].update(seeds=[2001]))
    four = "gate2 was frozen otherwise (budget_seconds, rules.R4.role, rules.R5.k and more): take it back, or"
    assert step() == (four, amend)


def test_a_frozen_gate_is_committed_before_its_rung_starts(partway: Repo, freeze, threads, studies: Path) -> None:
    threads(4)
    shutil.copy(studies / "held/locks/gate4.yaml", "locks/gate4.yaml")
    assert step() == rules("locks")
    assert commit_rules_command(load()) == rules("locks")[1]
    change(lambda value: value["study"].update(note="Another"))
    assert step() == rules("locks params.yaml")
    partway.git("add", "-A")
    Path("ledger/metrics.json").write_bytes(b"{}\n")
    assert step() == rules("locks params.yaml")
    partway.git("commit", "-q", "-m", "Freeze")
    gate = "dvc repro stages/ladder/rung4/dvc.yaml:gate"
    assert step() == ("rung4: its rules are frozen, so it may start", gate)
    shutil.copy(studies / "held/locks/gate5.yaml", "locks/gate5.yaml")
    partway.git("add", "-A")
    partway.git("commit", "-q", "-m", "Freeze")
    assert step() == ("rung4: its rules are frozen, so it may start", "dvc repro")
    freeze("gate4", "gate5")
    assert step() == ("rung4: 6 runs to do", "dvc repro")


@pytest.mark.parametrize("number", [5, 4])
def test_a_lock_that_is_gone_is_brought_back_where_something_was_built_on_it(whole: Repo, number: int) -> None:
    path = f"locks/gate{number}.yaml"
    Path(path).unlink()
    assert step() == (f"{path} is missing, and what was built on it is not", f"git checkout -- {path}")


def test_a_lock_that_is_gone_before_a_later_one_is_brought_back_without_any_evidence(partway: Repo, freeze) -> None:
    freeze("gate4", "gate5")
    path = "locks/gate4.yaml"
    Path(path).unlink()
    assert step() == (f"{path} is missing, and what was built on it is not", f"git checkout -- {path}")


def test_a_what_if_leads_back_to_what_was_decided(whole: Repo) -> None:
    change(lambda value: value["study"].update(mode="exploratory"))
    assert step() == ("this is a what-if; back to what was decided leads", "git checkout . && dvc checkout")
    shutil.rmtree(".git")
    assert step() == ("this is a what-if; set study.mode to frozen in params.yaml again, then", "dvc repro")


def test_a_clone_without_artifacts_is_verified_and_pulled_where_there_is_a_remote(whole: Repo) -> None:
    shutil.rmtree("artifacts")
    why = "the ledger holds a study whose artifacts are not here"
    anew = f"{why} (`dvc repro` takes them from the cache or trains anew)"
    assert step() == (anew, "promotion verify")
    files.write_whole(Path(".dvc/config"), REMOTE)
    assert step() == (f"{why} (`dvc pull` fetches them, `dvc repro` trains anew)", "promotion verify")


def test_what_another_host_owes_needs_a_remote_and_then_its_work(partway: Repo, freeze, threads) -> None:
    threads(2)
    freeze("gate4")
    protocol = (names.PROTOCOL / "rung4.json").read_bytes()
    why = "rung4: 6 runs to do"
    assert step() == (f"{why}, some by cpu-bf16; {NO_REMOTE}", "dvc remote add -d team PATH-OR-URL")
    files.write_whole(Path(".dvc/config"), b"")
    commit = "git add .dvc/config && git commit -m 'The remote of the team'"
    assert step()[1] == f"dvc remote add -d team PATH-OR-URL && {commit}"
    shutil.move(".git", "aside")
    assert step()[1] == "dvc remote add -d team PATH-OR-URL"
    shutil.move("aside", ".git")
    files.write_whole(Path(".dvc/config"), REMOTE)
    assert step() == (why, "promotion work --host cpu-fp32 --once")
    threads(1)
    pushed = "once `promotion work --host cpu-fp32` pushed them there"
    assert step() == (f"{why} by cpu-fp32, cpu-bf16; {pushed}", "promotion pending --fetch")
    (names.PROTOCOL / "rung4.json").unlink()
    closed = "rung4: its rules are frozen, so it may start"
    assert step() == (closed, "dvc repro protocol")
    threads(2)
    assert step() == (closed, "promotion work --host cpu-fp32 --once")
    files.write_whole(names.PROTOCOL / "rung4.json", protocol)


def test_a_rung_whose_runs_are_all_here_is_judged_on_any_machine(whole: Repo, threads) -> None:
    threads(1)
    for gate in ("gate4", "gate5"):
        shutil.rmtree(names.GATES / gate)
    assert step() == ("rung4: ready to judge", "dvc repro stages/ladder/rung4/dvc.yaml:gate")


def test_runs_that_only_another_host_lacks_are_waited_for(whole: Repo, threads) -> None:
    threads(2)
    files.write_whole(Path(".dvc/config"), REMOTE)
    shutil.rmtree(names.GATES / "gate5")
    records = sorted((names.RECORDS / "rung5").glob("*/cpu-bf16/*.json"))
    lacking = [path for path in records if canonical.loads(path.read_bytes())["status"] == "finished"]
    for path in lacking:
        path.unlink()
    pushed = "once `promotion work --host cpu-bf16` pushed them there"
    assert step() == (f"rung5: {len(lacking)} runs to do by cpu-bf16; {pushed}", "promotion pending --fetch")


def test_a_gate_that_blocks_leads_to_what_it_observed(tmp_path: Path) -> None:
    value = params()
    value["gates"]["gate3"]["R8"]["gap"] = 0.00001  # below the noise floor
    dvclock.build_study(tmp_path / "whole", value)
    amend = "another rule for it is `promotion freeze gate3 --amend`"
    reported = (f"gate3 is blocked and promotes nobody ({amend}): see what its rules observed", "promotion serve")
    with enter_copy(tmp_path / "whole", tmp_path / "copy"):
        assert step() == reported
    dvclock.build_study(tmp_path / "partway", value, 3)
    with enter_copy(tmp_path / "partway", tmp_path / "other"):
        files.write_whole(names.SITE / "index.html", b"<!doctype html>\n")
        dvclock.write_root_lock(("corpus", "protocol", "ledger", "site"))
        Repo(Path()).commit("The site")
        assert step() == reported
