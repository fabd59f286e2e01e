"""The shapes of what the site reads besides records and locks: decisions and summaries, as far as pages rely on them.

    python -m pytest tests/report/test_load.py

What does not fit is an error that names the file, the place in it and the remedy: a page must not fail half-way, and a
number that is not there must not read as zero. Keys that no page reads may come and go.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stages.domain.rules import RuleId
from stages.domain.schema import Invalid, Key, parse

#: More mistakes of one file are not told: the first say what is wrong with it.
MOST_MISTAKES = 3

Gate = Annotated[str, Field(pattern=r"^gate[1-9][0-9]?$")]
Rung = Annotated[str, Field(pattern=r"^rung[1-9][0-9]?$")]
Outcome = Literal["decided", "blocked"]
Count = Annotated[int, Field(ge=0)]
Hours = Annotated[float, Field(ge=0)]
Rank = Annotated[int, Field(ge=1)]


class Shape(BaseModel):
    """The base: no coercion, no NaN, other keys allowed."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class Finding(Shape):
    """What one rule says of one candidate."""

    candidate: str
    observed: float | None
    threshold: float | None
    margin: float | None
    holds: bool | None
    note: str


class ToldRule(Shape):
    """One rule with all its findings."""

    id: RuleId
    kind: str
    effect: Literal["require", "promote", "stop", "verdict"]
    text: str
    results: list[Finding]


class Standing(Shape):
    """One line of a ranking."""

    config: Key
    mean: float
    worst_host: float
    hosts: dict[Key, float]


class Stopped(Shape):
    """Which rules stopped a candidate, and which promote rules did not hold."""

    by: list[RuleId]
    unmet: list[RuleId]


class Floor(Shape):
    """The A/A floor of one host block."""

    runs: Count
    variance: Annotated[float, Field(ge=0)]


class Decision(Shape):
    """A line of ledger/decisions.jsonl, as `stages/domain/decision.py` makes it."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    gate: Gate
    rung: Rung
    mode: Literal["frozen", "exploratory"]
    lock: str
    outcome: Outcome
    blocked_by: list[RuleId]
    candidates: list[Key]
    promoted: list[Key]
    stopped: dict[Key, Stopped]
    promoted_by: dict[Key, list[RuleId]]
    verdicts: dict[RuleId, bool | None]
    ranking: list[Standing]
    rules: list[ToldRule]
    floor: dict[Key, Floor]
    evidence: dict[str, str]


class RungCost(Shape):
    """What one rung cost."""

    budget_seconds: Annotated[float, Field(gt=0)]
    cells: Count
    candidates: Count | None
    executed_runs: Count
    stopped_runs: Count
    missing_runs: Count | None
    floor_runs: Count
    planned_hours: Hours | None
    executed_hours: Hours
    floor_hours: Hours
    unscreened_hours: Hours


class Counterfactual(Shape):
    """Unrun work, by accounting."""

    from_rung: Rung
    candidates: Count
    hours: Hours


class Totals(Shape):
    """Sums over the rungs; None while one of them is not known."""

    executed_hours: Hours | None
    floor_hours: Hours | None
    screening_hours: Hours | None
    last_rung_hours: Hours | None


class Accounting(Shape):
    """artifacts/summary/accounting.json."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    rungs: dict[Rung, RungCost]
    totals: Totals
    counterfactuals: list[Counterfactual]


class Pair(Shape):
    """Two host blocks at one rung."""

    hosts: Annotated[list[Key], Field(min_length=2, max_length=2)]
    candidates: Count
    tau_b: float | None
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    discordant: Count
    inversions: list[Annotated[list[Key], Field(min_length=2, max_length=2)]]


class Alone(Shape):
    """What one host block alone would have decided."""

    outcome: Outcome
    promoted: list[Key]
    verdicts: dict[RuleId, bool | None]
    first: Key | None


class Overlap(Shape):
    """Of what each host block alone would have promoted."""

    jaccard: float | None


class RungAgreement(Shape):
    """The host blocks at one rung."""

    hosts: list[Key]
    leaders: dict[Key, Key | None]
    means: dict[Key, dict[Key, float | None]]
    ranks: dict[Key, dict[Key, Rank | None]]
    pairs: list[Pair]
    host_alone: dict[Key, Alone]
    overlap: Overlap


class Agreement(Shape):
    """artifacts/summary/agreement.json."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    level: Annotated[float, Field(gt=0, lt=1)]
    rungs: dict[Rung, RungAgreement]


class Step(Shape):
    """Two neighbouring rungs."""

    from_: Annotated[Rung, Field(alias="from")]
    to: Rung
    candidates: Count
    tau_b: float | None
    leader_from: Key | None
    leader_to: Key | None


class Fate(Shape):
    """What became of the leader of a rung."""

    rung: Rung
    config: Key
    last_rung: Rung
    last_rank: Rank | None
    stopped_at: Gate | None


class Optimism(Shape):
    """The leader of a rung, measured again at the next."""

    rung: Rung
    config: Key
    mean: float | None
    lead: float | None
    next_mean: float | None
    next_rank: Rank | None
    next_lead: float | None
    regret: float | None


class Stability(Shape):
    """artifacts/summary/stability.json."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    steps: list[Step]
    leader_fate: list[Fate]
    optimism: list[Optimism]


class Splits(Shape):
    """artifacts/corpus/manifest.json, as far as the page on method shows it."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    source: dict[str, Any]
    splits: dict[str, dict[str, Any]]


class Shapes(Shape):
    """artifacts/protocol/configs.json: the model that each configuration builds."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    configs: dict[Key, dict[str, Any]]


def check(model: type[Shape], value: Any, where: str, remedy: str) -> dict[str, Any]:
    """`value` itself if it has the shape; else `Invalid` with the first mistakes, their places, and the remedy."""
    try:
        parse(model, value, where)
    except Invalid as error:
        lines = str(error).splitlines()
        more = [f"{where}: and {len(lines) - MOST_MISTAKES} more mistakes"] if len(lines) > MOST_MISTAKES else []
        raise Invalid("\n".join([*lines[:MOST_MISTAKES], *more]) + f"; {remedy}") from None
    assert isinstance(value, dict)
    return value
