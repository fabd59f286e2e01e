"""The first place of the last rung: who holds it, and whether the lead is larger than the noise that was measured.

python -m pytest tests/site/test_verdict.py
"""

from __future__ import annotations

from dataclasses import dataclass

from report import ladder, words
from report.deciding import nearest_floor
from report.load import Audit
from stages.domain import names

#: Below so many standard deviations of the A/A floor, luck could have decided.
LUCK = 2.0


@dataclass(frozen=True)
class Lead:
    """Whose the lowest mean is. `gap` is the distance in val_bpb to the second, and None where there is no second;
    `noise` is `gap` in standard deviations of the A/A floor of `floor`, and None where none was measured."""

    first: str
    mean: float
    second: str | None = None
    gap: float | None = None
    #: Who has the same mean; the order between them is that of their names.
    equals: tuple[str, ...] = ()
    noise: float | None = None
    floor: str = ""

    @property
    def clear(self) -> bool:
        """Whether nothing that was measured says that luck could have decided."""
        return not self.equals and (self.noise is None or self.noise >= LUCK)

    @property
    def verb(self) -> str:
        """What its holder does, as a sentence says it."""
        if self.equals:
            return f"ties with {words.listed(list(self.equals))}"
        return "wins" if self.clear else "leads, within noise"


def lead(audit: Audit) -> Lead | None:
    """The lead at the last rung; None while its gate is undecided or blocked, or ranks nobody."""
    first = ladder.winner(audit)
    if first is None:
        return None
    gate = names.gate_of(audit.study.last_rung)
    best, *others = audit.decisions[gate].value["ranking"]
    if not others:
        return Lead(first, best["mean"])
    gap, floor = others[0]["mean"] - best["mean"], nearest_floor(audit, gate)
    return Lead(
        first,
        best["mean"],
        others[0]["config"],
        gap,
        tuple(one["config"] for one in others if one["mean"] == best["mean"]),
        gap / floor[1] if floor else None,
        names.rung_of(floor[0]) if floor else "",
    )
