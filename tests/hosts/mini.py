"""A study of two configurations, for tests in which whole processes work on it, die and start again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.support import repo as repos
from tests.support.repo import PROJECT, Repo

COMPLETE = {"kind": "complete_cells"}


def params(budgets: list[float], floor_seeds: list[int] | None = None) -> dict[str, Any]:
    """A study with a rung for every budget; one of two configurations goes on at each gate but the last."""
    value = YAML(typ="safe").load(PROJECT / "studies" / "smoke.yaml")
    value["study"]["name"] = "mini"
    for host in value["hosts"].values():
        host["report"] = ["torch", "system"]
    value["configs"] = {name: value["configs"][name] for name in ("d1-a", "d1-b")}
    value["roles"] = {"reference": "d1-a", "comparator": "d1-b"}
    value["rungs"], value["gates"] = {}, {}
    for number, budget in enumerate(budgets, start=1):
        value["rungs"][f"rung{number}"] = {"budget_seconds": budget, "seeds": [number], "floor_seeds": []}
        value["gates"][f"gate{number}"] = {"R1": COMPLETE, "R2": {"kind": "top_k", "k": 1, "by": "mean"}}
    last = len(budgets)
    value["rungs"][f"rung{last}"]["floor_seeds"] = floor_seeds or []
    value["gates"][f"gate{last}"] = {"R1": COMPLETE, "R2": {"kind": "first_in_all_cells", "role": "reference"}}
    return value


def frozen(root: Path, value: dict[str, Any]) -> Repo:
    """A repository with this study, its rules frozen and committed, and a corpus; nothing has run."""
    repo = repos.create(root)
    (root / "params.yaml").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")  # JSON is YAML
    repo.python("-m", "stages.rungs")
    repo.dvc("repro", "corpus")
    repo.promotion("freeze")
    repo.commit("Freeze the rules")
    return repo
