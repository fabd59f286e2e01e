"""The door of hindsight: what was stopped is trained at the last budget only after the last decision is recorded.

    decision = read_last_decision(contract)
    decision.digest                 what every record in hindsight carries

No gate reads such a record: it lies outside artifacts/records, its purpose is one that no rule counts, and it names a
decision that had to be made first.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from stages.domain import names
from stages.domain.contract import Contract
from stages.domain.decision import Decision, parse_decision
from stages.domain.errors import Refused
from stages.domain.files import sha256_bytes

LEDGER = names.LEDGER / "hindsight.jsonl"
DECISIONS = names.LEDGER / "decisions.jsonl"
#: Its dvc.yaml and dvc.lock lie where those of a rung do.
FOLDER = "hindsight"


@dataclass(frozen=True)
class LastDecision:
    """The decision of the last gate as the ledger records it, and the SHA-256 of its line."""

    decision: Decision
    digest: str

    @property
    def ran_at(self) -> str:
        """Why a configuration that reached the last rung is not trained again."""
        return f"it ran at {self.decision.rung} itself"


def read_last_decision(contract: Contract, root: Path = Path()) -> LastDecision:
    """The recorded decision of the last gate, or `Refused` with what has to come first."""
    where = DECISIONS.as_posix()
    if not contract.last or contract.rung == "rung1":
        raise Refused(f"{contract.rung}: hindsight trains at the last of several rungs what was stopped before it")
    lines = list(io.BytesIO((root / DECISIONS).read_bytes())) if (root / DECISIONS).is_file() else []
    place = names.number_of(contract.rung)
    if len(lines) < place:
        raise Refused(f"{where} holds no decision of {contract.gate}, and hindsight comes after it; `dvc repro` first")
    decision = parse_decision(lines[place - 1], f"{where}, line {place}", "`dvc repro -s ledger` writes it anew")
    if problem := _find_problem(decision, contract):
        raise Refused(f"{where}, line {place}: {problem}; hindsight comes after a decision that stands")
    return LastDecision(decision, sha256_bytes(lines[place - 1]))


def _find_problem(decision: Decision, contract: Contract) -> str | None:
    """Why nothing may follow this decision, or None."""
    if (decision.gate, decision.lock) != (contract.gate, contract.lock):
        return f"found a decision of {decision.gate} by lock {decision.lock[:12]}, expected one by {contract.lock[:12]}"
    if decision.mode != "frozen":
        return "an exploratory decision is none"
    return f"{decision.gate} is blocked by {', '.join(decision.blocked_by)}" if decision.blocked else None
