"""What surrounds a gate's decision: noise floor, each host alone, amendments, the chain of digests.

python -m report && python -m webbrowser site/gates/gate3.html#chain
"""

from __future__ import annotations

from typing import Any

from report import words
from report.load import Audit, Decision
from report.page import config_page
from report.tables import Cell, Column, Table, rows
from stages.domain import names


def _where(decision: Decision) -> str:
    return f"{decision.line} (md5 {decision.line.md5})"


def floor_table(audit: Audit, rung: str, decision: Decision) -> Table:
    """The A/A runs of the reference: the noise that a threshold must be larger than."""
    made = []
    for host, told in sorted(decision.value["floor"].items()):
        values = [run for run in audit.by_rung[rung] if run.record.purpose == "floor" and run.record.host == host]
        made.append(
            (
                f"floor-{host}",
                {
                    "host": host,
                    "runs": told["runs"],
                    "sd": told["variance"] ** 0.5,
                    "seeds": ", ".join(str(run.record.seed) for run in values),
                },
            )
        )
    return Table(
        id="floor",
        title="A/A noise floor: the reference against itself, other seeds",
        columns=[
            Column("host", "Host block"),
            Column("runs", "Runs", "count"),
            Column("sd", "Standard deviation of val_bpb", "bpb"),
            Column("seeds", "Seeds"),
        ],
        rows=rows(made),
        source=_where(decision),
        clock=audit.clock,
        tools=False,
    )


def locked_table(audit: Audit, rung: str, decision: Decision) -> Table | None:
    """Means on the locked split beside those that the gates read; None where the rung was not scored on it."""
    cells = audit.study.cells(rung)
    found: list[tuple[str, float, float]] = []
    for one in decision.value["ranking"]:
        facts = [audit.runs[run].record.facts or {} for run in _ids(audit, rung, one["config"]) if run in audit.runs]
        scores = [fact["locked_bpb"] for fact in facts if fact.get("locked_bpb") is not None]
        if len(scores) == len(cells):
            found.append((one["config"], one["mean"], sum(scores) / len(scores)))
    if not found:
        return None
    ranks = {name: n for n, (name, _, _) in enumerate(sorted(found, key=lambda one: (one[2], one[0])), start=1)}
    made = []
    for n, (name, mean, locked) in enumerate(found, start=1):
        told = {"config": Cell(name, href=config_page(name)), "mean": mean, "rank": n, "locked": round(locked, 9)}
        made.append((f"locked-{name}", {**told, "locked_rank": ranks[name], "difference": round(locked - mean, 9)}))
    return Table(
        id="locked",
        title="The locked split: text that no gate ever read",
        columns=[
            Column("config", "Candidate"),
            Column("mean", "Mean val_bpb", "mean"),
            Column("rank", "Rank", "count"),
            Column("locked", "Mean locked_bpb", "mean"),
            Column("locked_rank", "Rank, locked", "count"),
            Column("difference", "Locked less val", "signed"),
        ],
        rows=rows(made),
        source="ledger/runs.jsonl",
        clock=audit.clock,
        tools=False,
    )


def _ids(audit: Audit, rung: str, config: str) -> list[str]:
    return [names.run_id(rung, config, host, seed) for host, seed in audit.study.cells(rung)]


def alone(audit: Audit, rung: str) -> dict[str, Any]:
    """What each host alone would have decided at a rung's gate; empty where that is not known."""
    told = (audit.agreement or {}).get("rungs", {}).get(rung, {})
    return dict(told.get("host_alone", {}))


def alone_table(audit: Audit, gate: str, decision: Decision, hosts: dict[str, Any]) -> Table:
    """Whom each host would have promoted by the same rules, had it decided alone."""
    promoted = set(decision.value["promoted"])
    made = []
    for host, told in sorted(hosts.items()):
        mine = set(told["promoted"])
        made.append(
            (
                f"alone-{host}",
                {
                    "host": host,
                    "outcome": told["outcome"],
                    "same": Cell(mine == promoted, "✓ the same" if mine == promoted else "✕ differs"),
                    "promoted": ", ".join(sorted(mine)) or "nobody",
                    "added": ", ".join(sorted(mine - promoted)) or words.DASH,
                    "dropped": ", ".join(sorted(promoted - mine)) or words.DASH,
                },
            )
        )
    return Table(
        id="alone",
        title="Had each host block decided alone",
        columns=[
            Column("host", "Host block"),
            Column("outcome", "Outcome"),
            Column("same", "Against the decision"),
            Column("promoted", "Would promote"),
            Column("added", "Promoted only by it"),
            Column("dropped", "Not promoted by it"),
        ],
        rows=rows(made),
        source="artifacts/summary/agreement.json",
        clock=audit.clock,
        tools=False,
    )


def amendments_table(audit: Audit, gate: str) -> Table:
    """Every change of the lock after evidence of its rung existed."""
    made = []
    for n, one in enumerate(audit.locks[gate].lock.frozen.amendments, start=1):
        for where, both in sorted(one.changed.items()):
            made.append(
                (
                    f"amendment-{n}-{where}",
                    {
                        "number": n,
                        "reason": one.reason,
                        "what": where,
                        "was": str(both.get("was")),
                        "is": str(both.get("is")),
                        "replaces": one.replaces,
                    },
                )
            )
    return Table(
        id="amendments",
        title="Amendments: rules changed after evidence existed",
        columns=[
            Column("number", "No.", "count"),
            Column("reason", "Reason given"),
            Column("what", "What"),
            Column("was", "Was"),
            Column("is", "Is"),
            Column("replaces", "Replaces lock", "digest"),
        ],
        rows=rows(made),
        source=names.lock_path(gate).as_posix(),
        clock=audit.clock,
        tools=False,
    )


def chain(audit: Audit, gate: str, rung: str) -> dict[str, Any]:
    """The digest chain lock -> records -> decision, with what was counted while building this page."""
    decision, lock = audit.decisions.get(gate), audit.locks.get(gate)
    executed = [run for run in audit.by_rung[rung] if run.record.executed]
    digest = lock.lock.digest if lock else None
    told: dict[str, str] = decision.value["evidence"] if decision else {}
    same = sum(1 for run, md5 in told.items() if run in audit.runs and audit.runs[run].line.md5 == md5)
    return {
        "digest": digest,
        "previous": lock.lock.frozen.previous if lock else None,
        "records": len(executed),
        "committed": sum(1 for run in executed if run.record.lock == digest),
        "named": len(told),
        "same": same,
        "decision_lock": decision.value["lock"] if decision else None,
    }
