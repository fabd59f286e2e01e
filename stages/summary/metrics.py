"""The dozen numbers that `dvc metrics show`, `dvc metrics diff` and `dvc exp show` put first.

ledger/metrics.json is DVC's format and not ours: no schema key, and keys in the order in which they should be read,
because they become the columns of `dvc exp show`. Gaps are mean paired gaps of val_bpb at the last rung.
"""

from __future__ import annotations

from fractions import Fraction

from stages.domain.evidence import as_number
from stages.domain.metric import Metric, metric_of
from stages.summary.accounting import Accounting, Totals
from stages.summary.agreement import Agreement
from stages.summary.ladder import Ladder

REFERENCE = "reference"


def _mode(ladder: Ladder) -> str:
    """frozen, frozen with so many amendments, or exploratory: what a reader must know before any number."""
    amendments = sum(len(rung.frozen.amendments) for rung in ladder.rungs)
    if ladder.mode != "frozen" or not amendments:
        return ladder.mode
    return f"frozen, {amendments} amendment{'s' if amendments > 1 else ''}"


def path(ladder: Ladder) -> str:
    """How many candidates each rung had: `12-12-9-4-3`, with the gate that blocked if one did."""
    counts = "-".join(str(len(rung.candidates)) for rung in ladder.rungs if rung.candidates is not None)
    blocked = [rung.gate for rung in ladder.rungs if rung.decision and rung.decision.blocked]
    return counts + (f", blocked at {blocked[0]}" if blocked else "")


def _gaps(ladder: Ladder) -> dict[str, float | None]:
    """By role other than the reference, its mean at the last rung less that of the reference."""
    last = ladder.last
    if last is None or last.evidence is None or REFERENCE not in last.frozen.roles:
        return {}
    means = {name: last.evidence.mean(name) for name in last.evidence.candidates}
    base = means.get(last.frozen.roles[REFERENCE])
    gaps: dict[str, float | None] = {}
    for role, config in sorted(last.frozen.roles.items()):
        if role != REFERENCE:
            mean = means.get(config)
            gaps[role] = None if mean is None or base is None else as_number(mean - base)
    return gaps


def _lowest_agreement(agreement: Agreement) -> dict[str, float | None]:
    """By rung, the smallest tau-b over pairs of hosts; None where a pair has none."""
    lowest: dict[str, float | None] = {}
    for name, rung in agreement.rungs.items():
        taus = [pair.tau_b for pair in rung.pairs]
        known = [tau for tau in taus if tau is not None]
        if taus:
            lowest[name] = min(known) if len(known) == len(taus) else None
    return lowest


def _device_hours(totals: Totals) -> float | None:
    """Everything that was executed, A/A runs included."""
    if totals.executed_hours is None or totals.floor_hours is None:
        return None
    return as_number(Fraction(repr(totals.executed_hours)) + Fraction(repr(totals.floor_hours)))


def metrics(ladder: Ladder, accounting: Accounting, agreement: Agreement) -> dict[str, object]:
    """The content of ledger/metrics.json, which is DVC's: nested mappings of numbers and words."""
    winner, last = ladder.winner, ladder.last
    mean = last.evidence.mean(winner) if winner and last and last.evidence else None
    metric = metric_of(last.evidence.contract.settings) if last and last.evidence else Metric()
    return {
        "mode": _mode(ladder),
        "winner": winner,
        f"winner_{metric.name}": as_number(mean),
        "gap": _gaps(ladder),
        "host_agreement": _lowest_agreement(agreement),
        "device_hours": _device_hours(accounting.totals),
        "path": path(ladder),
    }
