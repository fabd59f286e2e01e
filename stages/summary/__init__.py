"""What the evidence adds up to: device-hours, agreement between hosts, stability from rung to rung.

Pure functions of the locks, the records and the decisions, all of which git holds, so that anybody can compute every
summary again from a commit: `everything` is what `python -m stages.ledger` writes and `promotion verify` compares.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from stages.domain import names
from stages.domain.decision import Decision
from stages.domain.locks import Lock
from stages.domain.records import Record
from stages.summary import tables
from stages.summary.accounting import accounting
from stages.summary.agreement import agreement
from stages.summary.ladder import Ladder, build
from stages.summary.metrics import metrics
from stages.summary.stability import stability

__all__ = ["Ladder", "build", "everything"]


def everything(
    mode: str,
    configs: Sequence[str],
    locks: Mapping[str, Lock],
    records: Iterable[Record],
    decisions: Mapping[str, Decision],
) -> dict[Path, bytes]:
    """Every file of artifacts/summary/ and ledger/metrics.json, by its path in the repository.

    `mode` is study.mode and `configs` the names under configs in params.yaml; `locks` and `decisions` (as `decide`
    makes them) go by gate. What is missing among them is missing in the summaries, and never zero.
    """
    ladder = build(mode, configs, locks, records, decisions)
    cost, hosts, order = accounting(ladder), agreement(ladder), stability(ladder)
    headline = json.dumps(metrics(ladder, cost, hosts), indent=1, ensure_ascii=False, allow_nan=False)
    return {
        names.SUMMARY / "accounting.json": cost.to_bytes(),
        names.SUMMARY / "agreement.json": hosts.to_bytes(),
        names.SUMMARY / "agreement.csv": tables.agreement(hosts),
        names.SUMMARY / "paths.csv": tables.paths(ladder),
        names.SUMMARY / "stability.json": order.to_bytes(),
        names.LEDGER / "metrics.json": headline.encode("utf-8") + b"\n",
    }
