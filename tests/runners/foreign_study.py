"""A three-rung study of a trainer that is not this project's, in a repository of its own, driven by the real dvc and git."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from tests.runners.conftest import STUB, TEXT, make_settings
from tests.support.repo import Repo, create

HOST = {"system": "any", "device": "any", "precision": "fp32", "threads": 1, "compile": False}
REQUIRE = {"R1": {"kind": "complete_cells"}, "R2": {"kind": "fixed_runner"}, "R3": {"kind": "fixed_data"}}


def make_params() -> dict[str, Any]:
    """params.yaml: four step sizes, of which one diverges and one is killed for want of memory."""
    settings = make_settings("{mode}")
    settings["command"][0] = "python"
    return {
        "study": {
            "schema": 1, "name": "foreign", "title": "Somebody's trainer", "question": "Which step size?", "mode": "frozen",
        },
        "data": {
            "source": {
                "kind": "files", "root": "data",
                "files": [{"path": "text.txt", "sha256": hashlib.sha256(TEXT).hexdigest()}],
            },
        },
        "runner": settings | {"probe": ["python", "-c", "print('torch: 9.9')"]},
        "clock": {"kind": "given"},
        "hosts": {"any": HOST | {"report": ["torch"]}},
        "configs": {
            "small": {"lr": 0.05, "mode": "normal"},
            "middle": {"lr": 0.2, "mode": "normal"},
            "broken": {"lr": 0.1, "mode": "nan"},
            "greedy": {"lr": 0.1, "mode": "oom"},
        },
        "roles": {"reference": "small"},
        "rungs": {
            "rung1": {"budget_seconds": 1, "with": {"steps": 5}, "seeds": [1], "floor_seeds": []},
            "rung2": {"budget_seconds": 2, "with": {"steps": 10}, "seeds": [2, 3], "floor_seeds": [21, 22]},
            "rung3": {"budget_seconds": 4, "with": {"steps": 40}, "seeds": [4, 5], "floor_seeds": []},
        },
        "gates": {
            "gate1": {**REQUIRE, "R4": {"kind": "diverged"}, "R5": {"kind": "failed"}, "R6": {"kind": "top_k", "k": 4}},
            "gate2": {
                **REQUIRE, "R4": {"kind": "budget_kept", "tolerance": 0.5}, "R5": {"kind": "keep_role", "role": "reference"},
                "R6": {"kind": "top_k", "k": 2},
            },
            "gate3": {**REQUIRE, "R4": {"kind": "first_in_all_cells", "role": "reference"}},
        },
    }  # fmt: skip


def create_study(root: Path, params: dict[str, Any] | None = None) -> Repo:
    """The repository, committed; nothing frozen."""
    repo = create(root)
    (root / "small").mkdir()
    shutil.copy(STUB, root / "small" / "train.py")
    (root / "data").mkdir()
    (root / "data" / "text.txt").write_bytes(TEXT)
    (root / "params.yaml").write_text(json.dumps(params or make_params(), indent=1) + "\n", encoding="utf-8")
    repo.python("-m", "stages.rungs")
    repo.commit("A study of a foreign trainer")
    return repo


def run_study(repo: Repo) -> None:
    """Freeze, commit, run, commit."""
    repo.dvc("repro", "corpus")
    repo.promotion("freeze")
    repo.commit("Freeze the rules")
    repo.dvc("repro")
    repo.commit("The evidence")


if __name__ == "__main__":
    run_study(create_study(Path(sys.argv[1])))
