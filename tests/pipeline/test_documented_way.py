"""README's "Run your own study", typed as it is printed: every commit on the way verifies, and says what is pending."""

from __future__ import annotations

import json

import pytest
from ruamel.yaml import YAML

from tests.support import repo as repos
from tests.support.repo import Repo

pytestmark = pytest.mark.slow
REQUIRED = ("--require", "rule-first,rule-stayed,evidence-stayed")


def verified(repo: Repo) -> dict[str, list[str]]:
    """Verify every commit and the workspace, as the workflow does; the notes of the workspace by check."""
    history = repo.promotion("verify", "--history", *REQUIRED, check=False)
    assert history.returncode == 0, history.stdout
    report = repo.promotion("verify", "--json", *REQUIRED, check=False)
    assert report.returncode == 0, report.stdout
    return {check["name"]: check["notes"] for check in json.loads(report.stdout)["checks"]}


def next_step(repo: Repo) -> str:
    return str(json.loads(repo.promotion("status", "--json").stdout)["next"]["command"])


def freeze(repo: Repo, *words: str) -> dict[str, list[str]]:
    """Freeze, and commit what is printed; what verification notes then."""
    if "now `dvc checkout`" in repo.promotion("freeze", *words).stdout:
        repo.dvc("checkout")
    repo.git("add", "locks", "params.yaml", "stages")
    repo.git("commit", "-q", "-m", f"Freeze {' '.join(words)}")
    return verified(repo)


def report(repo: Repo, message: str, *, stopped: bool = False) -> dict[str, list[str]]:
    """Run, and commit as step 5 says; with `stopped`, up to a gate that is not frozen, and then the ledger."""
    done = repo.dvc("repro", check=False)
    assert bool(done.returncode) is stopped, done.stderr
    if stopped:
        repo.dvc("repro", "-s", "ledger", "confidence", "site")
    repo.git("add", "ledger", "dvc.lock", "stages")
    repo.git("commit", "-q", "-m", message)
    return verified(repo)


def edit(repo: Repo, section: str, key: str, value: object) -> None:
    yaml = YAML()
    params = yaml.load(repo.root / "params.yaml")
    params[section][key] = value
    yaml.dump(params, repo.root / "params.yaml")


def test_every_commit_of_the_documented_way_verifies(tmp_path):
    repo = repos.create(tmp_path / "study")
    assert next_step(repo) == "dvc repro corpus"
    repo.dvc("repro", "corpus")
    freeze(repo, "gate1")
    report(repo, "Evidence of rung 1", stopped=True)
    assert next_step(repo) == "promotion freeze gate2"

    pending = "{} is frozen; its evidence is not made yet: `dvc repro`"
    edit(repo, "rungs", "rung2", {"budget_seconds": 0.12, "seeds": [2], "floor_seeds": []})
    assert pending.format("gate2") in freeze(repo, "gate2")["ledger-complete"]
    edit(repo, "rungs", "rung3", {"budget_seconds": 0.22, "seeds": [3], "floor_seeds": [31, 32]})
    notes = freeze(repo, "gate3")["ledger-complete"]
    assert [note for note in notes if "is frozen" in note] == [pending.format("gate2"), pending.format("gate3")]
    assert next_step(repo) == "dvc repro"
    notes = report(repo, "The evidence")
    assert notes["ledger-complete"] == []
    whole = repo.git("rev-parse", "HEAD")

    first = (repo.root / "params.yaml").read_bytes()
    amended = "{} was amended; the evidence here is that of the rule before: `dvc repro` makes it anew"
    edit(repo, "rungs", "rung2", {"budget_seconds": 0.12, "seeds": [22], "floor_seeds": []})
    assert next_step(repo) == 'promotion freeze gate2 --amend --reason "..."'
    notes = freeze(repo, "gate2", "--amend", "--reason", "other-seeds")["ledger-complete"]
    assert [note for note in notes if "amended" in note] == [amended.format("gate2"), amended.format("gate3")]
    assert next_step(repo) == "dvc repro"

    (repo.root / "params.yaml").write_bytes(first)  # taken back before it judged anything
    assert freeze(repo)["ledger-complete"] == []
    assert repo.git("diff", "--name-only", whole, "--", "params.yaml", "locks", "ledger", "stages", "dvc.lock") == ""
    assert next_step(repo) == "promotion verify"

    edit(repo, "rungs", "rung2", {"budget_seconds": 0.12, "seeds": [22], "floor_seeds": []})
    freeze(repo, "gate2", "--amend", "--reason", "other-seeds")
    assert report(repo, "The evidence anew")["ledger-complete"] == []
    (repo.root / "params.yaml").write_bytes(first)  # taken back after it: an amendment again
    assert "gate2" in repo.promotion("freeze", "gate2", check=False).stderr
    notes = freeze(repo, "gate2", "--amend", "--reason", "as-before")["ledger-complete"]
    assert [note for note in notes if "amended" in note] == [amended.format("gate2"), amended.format("gate3")]
    assert report(repo, "The evidence once more")["ledger-complete"] == []
    last = repo.git("rev-parse", "HEAD")

    second = YAML(typ="safe").load(first)
    second["study"]["name"] = "second"
    for number, rung in enumerate(second["rungs"].values(), start=1):
        rung.update(seeds=[100 * number], floor_seeds=[])
    YAML().dump(second, repo.root / "studies" / "second.yaml")
    repo.git("add", "studies")
    repo.git("commit", "-q", "-m", "A second study")
    repo.promotion("study", "use", "second", "--yes")
    repo.commit("Another study")
    verified(repo)
    repo.dvc("repro", "corpus")
    freeze(repo)
    repo.git("checkout", last, "--", "params.yaml", "locks", "ledger", "dvc.lock", "stages")
    repo.dvc("checkout")
    repo.commit("Back to the first")
    assert verified(repo)["ledger-complete"] == []
