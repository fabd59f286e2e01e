"""`study.from`: the finished study whose gate a study goes on from, and who of its candidates may.

An extension is a study of its own: its locks, records and decisions are new files, and those of the earlier study stay
in git as they are. `promotion verify` holds what is said here against the commit (`stages/verify/origin.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from stages.domain.schema import CommitId, GateName, Key, Sha256, Strict

if TYPE_CHECKING:
    from stages.domain.decision import Decision


class Origin(Strict):
    """The gate of an earlier study, at a commit of this history, whose candidates this study takes on."""

    study: Annotated[Key, Field(description="The `study.name` of the earlier study.")]
    commit: Annotated[CommitId, Field(description="The commit that holds its evidence, in full.")]
    gate: Annotated[GateName, Field(description="The gate that judged them.")]
    decision: Annotated[Sha256, Field(description="The SHA-256 of that gate's line in its `ledger/decisions.jsonl`.")]


def who_may_go_on(decision: Decision, *, same_budget: bool) -> list[str]:
    """The candidates that a study may take from a gate.

    Where it begins at the gate's own budget, for more seeds: all that it judged. At any other budget, such as one more
    rung, or the first rung of a ladder whose candidates a screen chose: those that it promoted; of a gate without a
    rule that promotes, such as one that gives the verdicts, those that no rule stopped, if it is not blocked.
    """
    if same_budget:
        return list(decision.candidates)
    if any(rule.effect == "promote" for rule in decision.rules):
        return list(decision.promoted)
    return [name for name in decision.candidates if not (decision.blocked or decision.stopped[name].by)]
