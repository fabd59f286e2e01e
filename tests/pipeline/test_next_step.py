"""Where to go next: the commands that `promotion status` prints, typed one after another, lead through every state."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.domain import files
from tests.runners.conftest import STUB, TEXT, make_settings
from tests.support import forks
from tests.support import repo as repos
from tests.support.repo import Failed, Repo, environment

pytestmark = pytest.mark.slow
LAST = ("promotion verify", "promotion serve")
OURS = "git checkout --ours -- dvc.lock stages/ladder/rung2/a/dvc.lock && dvc repro"
FREEZE = "git add locks params.yaml stages && git commit -m 'Freeze the rules'"
EVIDENCE = "git add ledger dvc.lock stages && git commit -m 'The evidence'"


def make_params(name: str = "walked", seed: int = 1) -> dict[str, Any]:
    """A study of somebody's own trainer, whose runs take no time."""
    host = {"title": "Here", "system": "any", "device": "any", "precision": "fp32", "threads": 1, "compile": False}
    rules = {"R1": {"kind": "complete_cells"}, "R2": {"kind": "failed"}}
    return {
        "study": {"schema": 1, "name": name, "title": "Walked", "question": "Which?", "note": "", "mode": "frozen"},
        "data": {
            "source": {
                "kind": "files",
                "root": "texts",
                "files": [{"path": "text.txt", "sha256": files.sha256_bytes(TEXT)}],
            }
        },
        "runner": make_settings() | {"command": [*make_settings()["command"][:-3], "--mode={mode}", "--out={out}"]},
        "clock": {"kind": "given"},
        "hosts": {"here": host},
        "configs": {"a": {"lr": 0.1, "mode": "normal"}, "b": {"lr": 0.01, "mode": "normal"}},
        "roles": {"reference": "a"},
        "rungs": {
            "rung1": {"budget_seconds": 1, "with": {"steps": 5}, "seeds": [seed], "floor_seeds": []},
            "rung2": {"budget_seconds": 2, "with": {"steps": 10}, "seeds": [seed + 1], "floor_seeds": []},
        },
        "gates": {
            "gate1": rules | {"R3": {"kind": "top_k", "k": 1, "by": "mean"}},
            "gate2": rules | {"R3": {"kind": "first_in_all_cells", "role": "reference"}},
        },
    }


def write(repo: Repo, params: dict[str, Any], path: str = "params.yaml") -> None:
    yaml = YAML()
    yaml.width = 4096
    yaml.dump(json.loads(json.dumps(params)), repo.root / path)  # without anchors


def create(root: Path, params: dict[str, Any]) -> Repo:
    """A clone in which a team has written its study, its trainer and its text, and committed nothing of them."""
    repo = repos.create(root)
    (root / "small").mkdir()
    shutil.copy(STUB, root / "small" / "train.py")
    (root / "texts").mkdir()
    (root / "texts" / "text.txt").write_bytes(TEXT)
    write(repo, params, f"studies/{params['study']['name']}.yaml")
    repo.promotion("study", "use", params["study"]["name"], "--yes")
    return repo


def show_next(repo: Repo) -> str:
    step = json.loads(repo.promotion("status", "--json").stdout)["next"]
    assert "`dvc repro protocol`" not in step["why"], f"the reason names another command than {step['command']}"
    return str(step["command"])


def type_in(repo: Repo, command: str) -> None:
    """Type a command into a shell, as it is printed."""
    programs = {"promotion ": f"{forks.python()} -m stages.cli ", "dvc ": f"{forks.python()} -m dvc "}
    line = re.sub(r"(?<![^ ])(promotion|dvc) ", lambda match: programs[match[0]], command)
    done = subprocess.run(
        line,
        shell=True,
        cwd=repo.root,
        env=environment() | forks.variables(),
        capture_output=True,
        encoding="utf-8",
    )
    if done.returncode:
        raise Failed(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")


def walk(repo: Repo) -> list[str]:
    """Type what status prints until it names the end; what was typed."""
    typed: list[str] = []
    while not typed or typed[-1] not in LAST:
        typed.append(show_next(repo))
        assert len(typed) < 12, typed
        if typed[-1] == "promotion serve":
            assert (repo.root / "site" / "index.html").is_file()
        else:
            type_in(repo, typed[-1])
    assert repo.git("status", "--porcelain") == ""
    assert repo.promotion("verify", "--history", check=False).returncode == 0
    return typed


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A study that was walked to its end, one gate frozen after the other. Take a `copy`."""
    repo = create(tmp_path_factory.mktemp("walked") / "study", make_params())
    repo.dvc("repro", "corpus")
    repo.promotion("freeze", "gate1")
    first = FREEZE.replace("stages", "stages studies/walked.yaml texts/text.txt small/train.py")
    assert walk(repo) == [
        first,
        "dvc repro stages/ladder/rung1/dvc.yaml:gate",
        "dvc repro -s ledger confidence site",
        EVIDENCE,
        "promotion freeze gate2",
        "git add locks && git commit -m 'Freeze the rules'",
        "dvc repro",
        EVIDENCE,
        "promotion verify",
    ]
    return repo


@pytest.fixture
def study(finished: Repo, tmp_path: Path) -> Repo:
    return finished.copy(tmp_path / "study")


def test_a_site_that_is_gone_is_built_again(study: Repo) -> None:
    shutil.rmtree(study.root / "site")
    assert walk(study) == ["dvc repro", "promotion verify"]


def test_an_amendment_and_its_undoing_lead_to_the_end(study: Repo) -> None:
    before = (study.root / "params.yaml").read_bytes()
    params = make_params()
    params["rungs"]["rung2"]["seeds"] = [22]
    write(study, params)
    amend = 'promotion freeze gate2 --amend --reason "..."'
    assert show_next(study) == amend
    type_in(study, amend)
    commit = show_next(study)
    assert commit == "git add locks params.yaml stages/ladder/rung2 && git commit -m 'Freeze the rules'"
    type_in(study, commit)
    assert show_next(study) == "dvc repro"

    (study.root / "params.yaml").write_bytes(before)  # taken back before it judged anything
    assert walk(study)[0] == "promotion freeze gate2"
    write(study, params)
    assert walk(study)[:3] == [amend, commit, "dvc repro"]


def test_a_configuration_taken_out_and_taken_back_verifies_at_every_step(study: Repo) -> None:
    """What came back was evidence before, so it is committed with the rules that ask for it again."""
    before = (study.root / "params.yaml").read_bytes()
    params = make_params()
    params["configs"].pop("b")
    write(study, params)
    for start in ("promotion freeze gate1 --amend", "git add locks params.yaml"):
        command = show_next(study)
        assert command.startswith(start)
        type_in(study, command)
    (study.root / "params.yaml").write_bytes(before)
    type_in(study, "promotion freeze")
    commit = show_next(study)
    assert "stages/ladder/rung1/b/dvc.lock" in commit or "stages/ladder/rung1 " in commit
    type_in(study, commit)
    assert study.promotion("verify", "--rev", "HEAD").returncode == 0
    assert walk(study)[-1] == "promotion verify"


def test_a_what_if_leads_back(study: Repo) -> None:
    study.replace("params.yaml", "mode: frozen", "mode: exploratory")
    study.dvc("repro", "ledger")
    assert walk(study) == ["git checkout . && dvc checkout", "promotion verify"]


def test_a_what_if_trains_nothing_in_a_clone_without_cache_and_remote(study: Repo, tmp_path: Path) -> None:
    study.git("clone", "-q", str(study.root), str(tmp_path / "clone"))
    clone = Repo(tmp_path / "clone")
    asked = ("exp", "run", "--temp", "-S", "study.mode=exploratory", "-S", "gates.gate1.R3.k=2")
    done = clone.dvc(*asked, check=False)
    assert done.returncode != 0
    reported = done.stdout + done.stderr
    assert (
        "its evidence is not here, and an exploratory study trains nothing; `dvc pull` (where a DVC remote" in reported
    )
    assert ": finished" not in reported
    assert clone.git("status", "--porcelain") == ""
    assert ": finished" not in study.dvc(*asked).stderr  # where the evidence is, the question is answered
    params = make_params()
    params["study"]["mode"] = "exploratory"
    params["rungs"]["rung2"]["budget_seconds"] = 3
    write(study, params)
    reported = study.dvc("repro", check=False).stderr
    assert "locks/gate2.yaml: no what-if can answer this" in reported
    assert "budget_seconds: frozen 2.0, now 3.0" in reported


def test_what_git_tracks_survives_a_stage_that_fails(study: Repo) -> None:
    params = make_params()
    params["rungs"]["rung2"]["seeds"] = [22]
    write(study, params)
    study.promotion("freeze", "gate2", "--amend", "--reason", "other-seeds")
    done = study.dvc("repro", "-s", "ledger", check=False)
    assert done.returncode != 0, "the protocol is not that of the lock"
    assert study.git("status", "--porcelain", "ledger") == ""
    assert (study.root / "ledger" / "runs.jsonl").is_file()


def test_a_lock_that_is_gone_comes_back(study: Repo) -> None:
    (study.root / "locks" / "gate1.yaml").unlink()
    assert walk(study) == ["git checkout -- locks/gate1.yaml", "promotion verify"]


def test_a_second_study_and_a_run_that_fails_lead_to_the_site(study: Repo) -> None:
    params = make_params("second", seed=11)
    params["configs"]["b"]["mode"] = "fail"
    write(study, params, "studies/second.yaml")
    study.promotion("study", "use", "second", "--yes")
    typed = walk(study)
    assert typed[:2] == ["dvc repro corpus", "promotion freeze"]
    assert typed[2].startswith("git add ") and "studies/second.yaml" in typed[2]
    assert typed[-1] in LAST


def test_a_clone_without_artifacts_verifies_and_a_folder_without_git_commits_nothing(
    study: Repo, tmp_path: Path
) -> None:
    study.git("clone", "-q", str(study.root), str(tmp_path / "clone"))
    assert show_next(Repo(tmp_path / "clone")) == "promotion verify"
    shutil.rmtree(study.root / ".git")
    shutil.rmtree(study.root / "site")
    assert show_next(study) == "dvc repro"


def repeat(repo: Repo) -> None:
    """Train a run of rung 2 again: the same record, another clock in its trace, so another dvc.lock.

    Two runs of a trainer this quick may take the same time, to the digits that a trace has; then once more.
    """
    for _ in range(5):
        repo.dvc("repro", "-q", "-f", "-s", "--no-run-cache", "stages/ladder/rung2/a/dvc.yaml:run@here-2")
        if "stages/ladder/rung2/a/dvc.lock" in repo.git("status", "--porcelain"):
            break
    repo.dvc("repro", "-q")
    assert "stages/ladder/rung2/a/dvc.lock" in repo.git("status", "--porcelain")


def test_a_repetition_with_the_same_records_leaves_nothing_to_commit_and_stands_in_nobodys_way(study: Repo) -> None:
    repeat(study)
    assert show_next(study) == "promotion verify"
    write(study, make_params("second", seed=7), "studies/second.yaml")
    study.promotion("study", "use", "second", "--yes")
    assert "name: second" in (study.root / "params.yaml").read_text(encoding="utf-8")


def diverge(study: Repo, tmp_path: Path) -> None:
    """Two people repeat the same run, and write the same line of a file of their own; the other one is `theirs`."""
    other = study.copy(tmp_path / "other")
    for repo in (study, other):
        repeat(repo)
        (repo.root / "NOTES.md").write_text(f"by {repo.root.name}\n", encoding="utf-8")
        repo.commit(f"Repeated by {repo.root.name}")
    study.git("fetch", "-q", str(other.root), "main:theirs")


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("merge --no-edit theirs", "git commit --no-edit"),
        ("rebase theirs", "git -c core.editor=true rebase --continue"),
        ("cherry-pick theirs", "git -c core.editor=true cherry-pick --continue"),
    ],
)
def test_a_merge_that_stopped_at_conflicts_leads_on(study: Repo, tmp_path: Path, begin: str, end: str) -> None:
    diverge(study, tmp_path)
    assert study.run("git", *begin.split(), check=False).returncode != 0
    reported = study.promotion("status").stdout
    assert "a merge stopped at NOTES.md: keep what should stand and `git add` it" in reported
    assert show_next(study) == "git status"
    (study.root / "NOTES.md").write_text("by both\n", encoding="utf-8")
    typed = walk(study)
    assert typed[:2] == ["git add NOTES.md", OURS]
    assert typed[-2].endswith(end)
    assert typed[-1] == "promotion verify"
    assert study.git("log", "-1", "--format=%s", "--", "NOTES.md")


def test_a_merge_that_stopped_at_the_ledger_and_the_pipeline_leads_on(study: Repo) -> None:
    paths = ["ledger/decisions.jsonl", "ledger/metrics.json", "stages/ladder/rung1/dvc.yaml"]
    study.git("branch", "theirs")
    for branch in ("theirs", "main"):  # both lost an end of each file, and not the same one
        study.git("checkout", "-q", branch)
        for path in paths:
            lines = (study.root / path).read_text(encoding="utf-8").splitlines()
            (study.root / path).write_text("\n".join([*lines[:-1], f"# {branch}"]) + "\n", encoding="utf-8")
        study.commit("Damaged")
    study.run("git", "merge", "theirs", check=False)
    assert show_next(study) == f"git checkout --ours -- {' '.join(paths)} && python -m stages.rungs && dvc repro"
    type_in(study, show_next(study))
    assert study.git("diff", "HEAD~1", "--", *paths) == ""
    end = "git add ledger stages && git commit --no-edit"
    assert show_next(study) == end
    type_in(study, end)
    assert show_next(study) == "promotion verify"
    study.promotion("verify")


def test_a_merge_that_stopped_at_the_study_itself_is_told_with_the_way_back(study: Repo) -> None:
    study.git("branch", "theirs")
    for branch, question in (("theirs", "Which one?"), ("main", "Which is it?")):
        study.git("checkout", "-q", branch)
        study.replace("params.yaml", "question: Which?", f"question: {question}")
        study.dvc("repro", "-q")
        study.commit("Another question")
    study.run("git", "merge", "theirs", check=False)
    done = study.promotion("status", check=False)
    assert done.returncode == 2
    assert "params.yaml, line 5: found a merge conflict, expected one side of it; keep what should stand" in done.stderr
    assert "`git merge --abort`" in done.stderr
    study.git("merge", "--abort")
    assert walk(study) == ["promotion verify"]
    study.run("git", "merge", "theirs", check=False)
    study.git("checkout", "--theirs", "params.yaml")
    assert walk(study) == [
        "git add params.yaml",
        "git checkout --ours -- dvc.lock && dvc repro",
        "git add dvc.lock params.yaml && git commit --no-edit",
        "promotion verify",
    ]


@pytest.mark.parametrize("together", [True, False])
def test_a_gate_that_blocks_leads_to_what_it_observed_and_its_amendment_on(tmp_path: Path, together: bool) -> None:
    params = make_params()
    params["rungs"]["rung1"]["floor_seeds"] = [91, 92]
    params["gates"]["gate1"] |= {"R4": {"kind": "within_gap", "gap": 1e-7}, "R5": {"kind": "above_noise_floor"}}
    params["gates"]["gate1"]["R5"]["multiple"] = 2.0
    repo = create(tmp_path / "study", params)
    repo.dvc("repro", "corpus")
    repo.promotion("freeze", *([] if together else ["gate1"]))
    gate = ["dvc repro stages/ladder/rung1/dvc.yaml:gate", "dvc repro -s ledger confidence site"]
    assert walk(repo)[1:] == [*(["dvc repro"] if together else gate), EVIDENCE, "promotion serve"]
    reported = repo.promotion("status").stdout
    assert "gate1 is blocked and promotes nobody" in reported
    assert "R5 must hold" in reported

    params["gates"]["gate1"]["R4"]["gap"] = 100.0
    write(repo, params)
    typed = walk(repo)
    assert typed[0] == 'promotion freeze gate1 --amend --reason "..."'
    assert typed[-1] == "promotion verify"


def test_evidence_alone_that_is_not_committed_is_named_and_nothing_else(study: Repo) -> None:
    study.git("reset", "-q", "HEAD~1")
    assert walk(study) == [EVIDENCE, "promotion verify"]
    for path, command in (
        ("ledger/metrics.json", "git add ledger && git commit -m 'The evidence'"),
        ("stages/ladder/rung2/a/dvc.lock", "git add stages && git commit -m 'The evidence'"),
        ("dvc.lock", "git add dvc.lock && git commit -m 'The evidence'"),
    ):
        study.git("rm", "-q", "--cached", path)
        study.git("commit", "-q", "-m", "Forgotten")
        assert show_next(study) == command
        type_in(study, command)
        assert show_next(study) == "promotion verify"


def test_evidence_that_was_made_before_the_rules_were_committed_comes_after_them(study: Repo) -> None:
    study.git("reset", "-q", "HEAD~4")
    typed = walk(study)
    assert len(typed) == 3
    assert typed[0].endswith("-m 'Freeze the rules'")
    assert not {"ledger", "stages", "dvc.lock"} & set(typed[0].split())
    assert typed[1:] == [EVIDENCE, "promotion verify"]


@contextmanager
def on_one_cpu() -> Iterator[None]:
    """The commands in between see a machine with a single CPU."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cpus)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or os.cpu_count() == 1, reason="needs two kinds of machine")
def test_runs_that_another_host_owes_are_waited_for_and_taken_in(tmp_path: Path) -> None:
    params = make_params()
    params["hosts"]["there"] = params["hosts"]["here"] | {"title": "There", "threads": 2}
    repo = create(tmp_path / "study", params)
    repo.dvc("repro", "corpus")
    repo.promotion("freeze")
    commit, remote = show_next(repo), tmp_path / "remote"
    type_in(repo, commit)
    assert show_next(repo) == "dvc repro", "this machine is every host"
    with on_one_cpu():
        add = show_next(repo)
        assert add.startswith("dvc remote add -d team PATH-OR-URL && git add .dvc/config")
        type_in(repo, add.replace("PATH-OR-URL", str(remote)))
        repo.git("clone", "-q", str(repo.root), str(tmp_path / "other"))
        other = Repo(tmp_path / "other")
        work = "promotion work --host here --once"
        assert show_next(repo) == work
        type_in(repo, work)
        for _ in ("nobody has pushed", "and still nobody"):
            assert show_next(repo) == "promotion pending --fetch"
            type_in(repo, "promotion pending --fetch")
    type_in(other, work.replace("here", "there"))
    with on_one_cpu():
        type_in(repo, "promotion pending --fetch")
        assert walk(repo) == [
            "dvc repro stages/ladder/rung1/dvc.yaml:gate",
            work,
            "dvc repro",
            EVIDENCE,
            "promotion verify",
        ]


@pytest.mark.parametrize("text", ["question: Which?", "title: Walked"])
def test_another_title_is_shown_before_it_is_committed(study: Repo, text: str) -> None:
    study.replace("params.yaml", text, f"{text.rstrip('?')} after all")
    end = "git add dvc.lock params.yaml && git commit -m 'The evidence'"
    assert walk(study) == ["dvc repro", end, "promotion verify"]


def test_another_title_between_two_gates_is_shown_before_it_is_committed(study: Repo) -> None:
    study.git("reset", "-q", "--hard", "HEAD~2")
    study.dvc("checkout", "--allow-missing", check=False)
    study.replace("params.yaml", "question: Which?", "question: Which one?")
    assert walk(study) == [
        "dvc repro -s protocol ledger confidence site",
        "git add dvc.lock params.yaml && git commit -m 'The evidence'",
        "promotion freeze gate2",
        "git add locks && git commit -m 'Freeze the rules'",
        "dvc repro",
        EVIDENCE,
        "promotion verify",
    ]
