"""Pipelines that are not those that the project writes, at the root and in the rungs.
Registered with the suite in `tamper.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stages.domain import yamlio
from stages.dvcfiles.root_pipeline import ROOT_JSON, installed_bytes
from tests.verify.forger import Forger
from tests.verify.tamper import caught
from tests.verify.tamper_files import GATE, RUNG


def root_stage(check: str, text: str, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Register a change of a stage at the root, in dvc.yaml and dvc.lock alike."""

    def make(f: Forger) -> None:
        value = yamlio.loads(f.read("dvc.yaml"), "dvc.yaml")
        change(value["stages"])
        f.yaml("dvc.yaml", value)

    make.__name__ = name
    caught(check, text)(make)


def without_dependency(stage: str, path: str, name: str, kind: str = "deps") -> None:
    """Register a dependency taken out of a stage at the root and out of dvc.lock."""

    def make(f: Forger) -> None:
        value = yamlio.loads(f.read("dvc.yaml"), "dvc.yaml")
        value["stages"][stage][kind].remove(path)
        f.yaml("dvc.yaml", value)
        f.write(ROOT_JSON, installed_bytes())  # as in every study of this version
        f.dvc(
            "dvc.lock",
            lambda stages: stages[stage].update(deps=[d for d in stages[stage]["deps"] if d["path"] != path]),
        )

    make.__name__ = name
    caught("parameters", f"{path} no longer read by the stage {stage}, in dvc.yaml and dvc.lock")(make)


root_stage(
    "dvc-locks",
    "a ledger that DVC is not to bring up to date",
    "frozen_ledger",
    lambda s: s["ledger"].update(frozen=True),
)
root_stage(
    "dvc-locks", "a protocol that DVC is not to look at", "frozen_protocol", lambda s: s["protocol"].update(frozen=True)
)
root_stage(
    "dvc-locks", "a site that DVC always makes anew", "changed_site", lambda s: s["site"].update(always_changed=True)
)
root_stage("dvc-locks", "a winner chosen in another folder", "winner_wdir", lambda s: s["winner"].update(wdir="stages"))
root_stage(
    "parameters",
    "a site that no stage is said to make",
    "site_without_out",
    lambda s: s["site"].update(outs=["site/index.html"]),
)
root_stage(
    "parameters",
    "a protocol that is not given the rules",
    "protocol_without_gates",
    lambda s: s["protocol"]["params"].remove("gates"),
)
without_dependency("protocol", "locks", "protocol_without_locks")
for _stage, _path, _name in (
    ("ledger", "stages/summary", "ledger_without_its_sums"),
    ("winner", "artifacts/summary/stability.json", "winner_without_stability"),
    ("protocol", "stages/runners", "protocol_without_runners"),
):
    without_dependency(_stage, _path, _name)
without_dependency("protocol", "trainer", "protocol_without_trainer")
without_dependency("ledger", "artifacts/records", "ledger_without_records")
without_dependency("ledger", "artifacts/gates", "ledger_without_gates")
without_dependency("winner", "artifacts/traces", "winner_without_traces")
without_dependency("site", "ledger", "site_without_ledger")
without_dependency("site", "report", "site_without_report")


def rung_stage(check: str, text: str, name: str, change: Callable[[dict[str, Any]], Any], path: str = RUNG) -> None:
    """Register a change of the stages of a generated dvc.yaml."""

    def make(f: Forger) -> None:
        value = yamlio.loads(f.read(path), path)
        change(value)
        f.yaml(path, value)

    make.__name__ = name
    caught(check, text)(make)


rung_stage(
    "parameters",
    "a gate that DVC is not to judge",
    "frozen_gate",
    lambda v: v["stages"]["gate"].update(frozen=True),
    GATE,
)
rung_stage(
    "parameters", "runs in another folder", "rung_wdir", lambda v: v["stages"]["run"].update(wdir="../../../../other")
)
rung_stage("parameters", "runs that no contract opens", "rung_without_door", lambda v: v["stages"]["run"].pop("deps"))
rung_stage(
    "parameters",
    "a seed more than the study has",
    "seed_more",
    lambda v: v["stages"]["run"]["matrix"]["seed"].append(77),
)
rung_stage(
    "parameters",
    "a host of shell text in a rung's dvc.yaml",
    "shell_text",
    lambda v: v["stages"]["run"]["matrix"]["host"].append("$(touch owned)"),
)
rung_stage(
    "parameters",
    "names of params.yaml in the command of a rung",
    "shell_variable",
    lambda v: v.update(vars=["../../params.yaml"]) or v["stages"]["run"]["matrix"].update(host="${hosts}"),
)
rung_stage(
    "parameters", "a stage of one's own in a rung", "own_stage", lambda v: v["stages"].update(own={"cmd": "true"})
)


def foreign(text: str, name: str, path: str, data: bytes = b"outs: []\n") -> None:
    """Register a file of DVC among those of the study."""

    def make(f: Forger) -> None:
        f.write(path, data)
        f.git("add", "-f", path)

    make.__name__ = name
    caught("dvc-locks", text)(make)


foreign("a pipeline beside the code of the stages", "pipeline_in_stages", "stages/domain/dvc.yaml", b"stages: {}\n")
foreign("a file of DVC that brings code", "tracked_code", "stages/run.py.dvc")
foreign("a file of DVC that brings records", "tracked_records", "artifacts/records.dvc")
foreign("a pipeline in the site", "pipeline_in_site", "site/dvc.yaml", b"stages: {}\n")
foreign("a dvc.lock in the report", "lock_in_report", "report/dvc.lock", b"schema: '2.0'\n")
