"""What surrounds a gate's decision: the noise floor, the locked split, the amendments of its lock.

python -m report && python -m webbrowser site/gates/gate3.html#Evidence
"""

from __future__ import annotations

from report.load import Audit, Decision
from report.page import config_page
from report.pages.gate_evidence import run_score
from report.tables import Cell, Column, Table, rows
from stages.domain import names


def floor_table(audit: Audit, rung: str, decision: Decision) -> Table:
    """The A/A runs of the reference with the noise that they make: what a threshold must be larger than."""
    floor = decision.value["floor"]
    found = [run for run in audit.by_rung[rung] if run.record.purpose == "floor" and run.record.executed]
    made = []
    for host in sorted(floor, key=audit.host_order):
        cells = {"host": host, "runs": floor[host]["runs"], "sd": floor[host]["variance"] ** 0.5}
        scores = {f"seed_{run.record.seed}": run_score(run) for run in found if run.record.host == host}
        made.append((f"floor.{host}", {**cells, **scores}))
    seeds = sorted({run.record.seed for run in found})
    return Table(
        id="floor",
        title="A/A noise floor: the reference against itself, other seeds",
        columns=[
            Column("host", "Host block"),
            Column("runs", "Runs", "count"),
            Column(
                "sd",
                "Standard deviation of val_bpb",
                "bpb",
                "of the runs to the right, as of a sample (n − 1)",
            ),
            *(Column(f"seed_{seed}", f"Seed {seed}", "bpb") for seed in seeds),
        ],
        rows=rows(made),
        source=f"{decision.source}; ledger/runs.jsonl",
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
        made.append((f"locked.{name}", {**told, "locked_rank": ranks[name], "difference": round(locked - mean, 9)}))
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


def amendments_table(audit: Audit, gate: str) -> Table:
    """Every change of the lock after evidence of its rung existed."""
    made = []
    for n, one in enumerate(audit.locks[gate].lock.frozen.amendments, start=1):
        for where, both in sorted(one.changed.items()):
            made.append(
                (
                    f"amendment.{n}.{where}",
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
