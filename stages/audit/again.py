"""Check V30: runs trained again. `promotion verify` never trains; it says what would.

promotion replay --sample 3
"""

from __future__ import annotations

from collections.abc import Iterable

from stages.audit.ledger import Ledger
from stages.audit.model import Case, CheckFailed, Problem, Skip


class ReplayDiffers(CheckFailed):
    """V30: a run trained again gave another record."""


def replay(case: Case) -> Iterable[Problem]:
    """V30: only training shows that a score was ever reached."""
    executed = sum(1 for run in case.get(Ledger).runs if run.record.executed)
    raise Skip(f"{executed} runs were trained, and reading does not train", "promotion replay --sample 3")
