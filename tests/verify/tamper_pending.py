"""Manipulations under the cover of a pending amendment. Registered with the suite in `tamper.py`."""

from __future__ import annotations

from typing import Any

from stages.domain import canonical, locks, yamlio
from tests.verify.forger import DECISIONS, METRICS, RUNS, Forger
from tests.verify.tamper import caught
from tests.verify.tamper_past import GATES
from tests.verify.tamper_rules import loosen

LEDGER = (RUNS, DECISIONS, METRICS)


def amend(f: Forger, *, gates: tuple[str, ...] = ("gate2", "gate3")) -> None:
    """Loosen gate 2 as `promotion freeze gate2 --amend` would: params.yaml and the locks, nothing of the evidence.

    `gates` are those whose locks own up to it.
    """
    f.params(lambda value: loosen(value["gates"]["gate2"]))
    previous = None
    for gate in GATES:
        old = locks.loads(f.read(f"locks/{gate}.yaml"), gate)
        if gate == "gate1":
            previous = old.digest
            continue

        def change(frozen: dict[str, Any], gate: str = gate, previous: str | None = previous) -> None:
            frozen["previous"] = previous
            if gate == "gate2":
                loosen(frozen["rules"])

        f.lock(gate, change)
        new = locks.loads(f.read(f"locks/{gate}.yaml"), gate)
        changed = locks.difference(old.frozen, new.frozen)
        amendment = {"reason": "a wider gate", "replaces": old.digest, "changed": changed}
        previous = new.digest
        if gate in gates:
            previous = f.lock(gate, lambda frozen, one=amendment: frozen["amendments"].append(one))


def make_anew(f: Forger) -> None:
    """Let all evidence name the locks that stand here, and judge it by them."""
    digests = {gate: yamlio.loads(f.read(f"locks/{gate}.yaml"), gate)["digest"] for gate in GATES}
    runs = f.runs()
    for run in runs:
        run["lock"] = digests[run["gate"]]
    f.save_runs(runs)
    f.everywhere(lambda value: None)
    f.judge()


@caught("evidence-stayed", "a score changed under a pending amendment, everything mended")
def pending_score(f: Forger) -> None:
    f.run(lambda run: run["facts"].update(val_bpb=0.5), rung="rung3")
    f.judge()
    amend(f)


@caught("evidence-stayed", "a score of a rung that is not pending changed, everything mended")
def score_beside_pending(f: Forger) -> None:
    f.run(lambda run: run["facts"].update(val_bpb=0.5))
    f.judge()
    amend(f)


@caught("decisions", "a decision changed under a pending amendment, digests mended")
def pending_decision(f: Forger) -> None:
    f.decision(2, lambda value: value["promoted"].append("d1-b") or value["promoted"].sort())
    f.digests()
    amend(f)


@caught("summary", "a metric changed under a pending amendment")
def pending_metric(f: Forger) -> None:
    metrics = canonical.loads(f.read(METRICS))
    f.replace(METRICS, f'"winner": "{metrics["winner"]}"', '"winner": "d1-b"')
    f.digests()
    amend(f)


@caught("rule-of-record", "the budget of a rung that is not pending changed in its records, everything mended")
def budget_beside_pending(f: Forger) -> None:
    f.run(lambda run: run["budget"].update(seconds=9.0))
    f.judge()
    amend(f)


@caught("parameters", "the budget of a rung that is not pending changed in dvc.lock")
def parameter_beside_pending(f: Forger) -> None:
    amend(f)

    def change(stages: dict[str, Any]) -> None:
        stages["protocol"]["params"]["params.yaml"]["rungs"]["rung1"]["budget_seconds"] = 9.0

    f.dvc("dvc.lock", change)


@caught("parameters", "the rule of a pending gate in dvc.lock is neither the one of then nor that of today")
def parameter_of_pending(f: Forger) -> None:
    amend(f)

    def change(stages: dict[str, Any]) -> None:
        stages["gate"]["params"]["params.yaml"]["gates.gate2"]["R3"]["k"] = 3

    f.rung("rung2", change)


@caught("rule-of-record", "a rule changed without an amendment, passed off as pending")
def pending_unamended(f: Forger) -> None:
    amend(f, gates=())


@caught("rule-of-record", "a gate amended, the one after it frozen otherwise without an amendment")
def pending_half_amended(f: Forger) -> None:
    amend(f, gates=("gate2",))


@caught("digests", "the ledger's stage ran on locks that no commit holds, passed off as pending")
def pending_on_nothing(f: Forger) -> None:
    amend(f)
    f.dvc("dvc.lock", lambda stages: _locks(stages["ledger"]).update(md5="0" * 32 + ".dir"))


@caught("rule-of-record", "an amendment passed off as not pending: the ledger's stage names today's locks")
def pending_denied(f: Forger) -> None:
    ledger = [f.read(path) for path in LEDGER]
    amend(f)
    f.digests()
    for path, data in zip(LEDGER, ledger, strict=True):
        f.write(path, data)


@caught("digests", "a record left out under a pending amendment")
def pending_left_out(f: Forger) -> None:
    runs = f.runs()
    f.save_runs([run for run in runs if run != runs[-1]])
    amend(f)


@caught("evidence-stayed", "evidence made again and then taken back for that of the rule before, passed off as pending")
def pending_again(f: Forger) -> None:
    held = {path: f.read(path) for path in (*LEDGER, *f.dvc_locks())}
    amend(f)
    f.commit("Amend")
    make_anew(f)
    f.commit("The evidence anew")
    for path, data in held.items():
        f.write(path, data)


@caught("digests", "a record of a run that no rule asks for any more, invented under a pending amendment")
def pending_dropped(f: Forger) -> None:
    amend(f)
    f.commit("Amend")
    f.run(lambda run: run["facts"].update(val_bpb=0.5), rung="rung3")
    f.rung("rung3", lambda stages: [stages.pop(name) for name in list(stages) if name != "gate"])


def _locks(stage: dict[str, Any]) -> dict[str, Any]:
    return next(dep for dep in stage["deps"] if dep["path"] == "locks")
