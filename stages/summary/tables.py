"""The tables that `dvc plots show` draws, one row a point, as CSV (see `plots:` in dvc.yaml and .dvc/plots/)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from stages.domain.evidence import as_number
from stages.summary.agreement import Agreement
from stages.summary.ladder import Ladder

PATHS = ("config", "rung", "budget_seconds", "rank", "mean", "fate")
AGREEMENT = ("rung", "hosts", "config", "first", "second")


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """CSV with LF line ends and a header, the same bytes on every machine."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")


def paths(ladder: Ladder) -> bytes:
    """The way of every configuration up the ladder: its rank and mean at each rung, and where it was stopped."""
    fates = _fates(ladder)
    rows = [
        (
            name,
            rung.name,
            rung.frozen.budget_seconds,
            rung.rank[name],
            as_number(rung.evidence.mean(name)) if rung.evidence else None,
            fates.get(name, "going on"),
        )
        for rung in ladder.rungs
        for name in sorted(rung.rank)
    ]
    return csv_bytes(PATHS, rows)


def _fates(ladder: Ladder) -> dict[str, str]:
    """How it ended for each configuration that does not go on any more."""
    fates: dict[str, str] = {}
    for rung in ladder.rungs:
        decided = rung.decision.stopped if rung.decision else ()
        stopped = (rung.candidates or ()) if rung.frozen.last else decided
        fates.update((name, "last rung" if rung.frozen.last else f"stopped at {rung.gate}") for name in stopped)
    if ladder.winner:
        fates[ladder.winner] = "winner"
    return fates


def agreement(summary: Agreement) -> bytes:
    """The mean of every candidate on two hosts, for every rung and pair of hosts."""
    rows = [
        (name, f"{pair.hosts[0]} and {pair.hosts[1]}", config, *(means[host] for host in pair.hosts))
        for name, rung in summary.rungs.items()
        for pair in rung.pairs
        for config, means in rung.means.items()
        if all(means[host] is not None for host in pair.hosts)
    ]
    return csv_bytes(AGREEMENT, rows)
