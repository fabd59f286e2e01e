"""Where to go next: the commands that `promotion status` prints, typed one after another, lead through every state."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.domain import files
from tests.runners.conftest import STUB, TEXT, make_settings
from tests.support import repo as repos
from tests.support.repo import BIN, Failed, Repo, environment

pytestmark = pytest.mark.slow
LAST = ("promotion verify", "promotion serve")
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
    programs = {"promotion ": f"{sys.executable} -m stages.cli ", "dvc ": f"{BIN / 'dvc'} "}
    line = re.sub(r"(?<![^ ])(promotion|dvc) ", lambda match: programs[match[0]], command)
    done = subprocess.run(
        line,
        shell=True,
        cwd=repo.root,
        env=environment(),
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
        "dvc repro stages/rung1/dvc.yaml:gate",
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
    assert commit == "git add locks params.yaml stages/rung2 && git commit -m 'Freeze the rules'"
    type_in(study, commit)
    assert show_next(study) == "dvc repro"

    (study.root / "params.yaml").write_bytes(before)  # taken back before it judged anything
    assert walk(study)[0] == "promotion freeze gate2"
    write(study, params)
    assert walk(study)[:3] == [amend, commit, "dvc repro"]


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
    told = done.stdout + done.stderr
    assert "its evidence is not here, and an exploratory study trains nothing; `dvc pull` brings" in told
    assert ": finished" not in told
    assert clone.git("status", "--porcelain") == ""
    assert ": finished" not in study.dvc(*asked).stderr  # where the evidence is, the question is answered
    params = make_params()
    params["study"]["mode"] = "exploratory"
    params["rungs"]["rung2"]["budget_seconds"] = 3
    write(study, params)
    told = study.dvc("repro", check=False).stderr
    assert "locks/gate2.yaml: no what-if can answer this" in told
    assert "budget_seconds: frozen 2.0, now 3.0" in told


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
