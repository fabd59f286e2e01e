"""The shapes of what the site reads besides records and locks: decisions and summaries, as far as pages rely on them.

    python -m pytest tests/report/test_load.py

What does not fit is an error that names the file, the place in it and the remedy: a page must not fail half-way, and a
number that is not there must not read as zero. Keys that no page reads may come and go.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from stages.domain.rules import RuleId
from stages.domain.schema import Key, Recorded

Gate = Annotated[str, Field(pattern=r"^gate[1-9][0-9]?$")]
Rung = Annotated[str, Field(pattern=r"^rung[1-9][0-9]?$")]
Outcome = Literal["decided", "blocked"]
Count = Annotated[int, Field(ge=0)]
Hours = Annotated[float, Field(ge=0)]
Rank = Annotated[int, Field(ge=1)]


class RungCost(Recorded):
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


class Counterfactual(Recorded):
    """Unrun work, by accounting."""

    from_rung: Rung
    candidates: Count
    hours: Hours


class Totals(Recorded):
    """Sums over the rungs; None while one of them is not known."""

    executed_hours: Hours | None
    floor_hours: Hours | None
    screening_hours: Hours | None
    last_rung_hours: Hours | None


class Accounting(Recorded):
    """artifacts/summary/accounting.json."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    rungs: dict[Rung, RungCost]
    totals: Totals
    counterfactuals: list[Counterfactual]


class HostPairAgreement(Recorded):
    """Two host blocks at one rung."""

    hosts: Annotated[list[Key], Field(min_length=2, max_length=2)]
    candidates: Count
    tau_b: float | None
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    discordant: Count
    inversions: list[Annotated[list[Key], Field(min_length=2, max_length=2)]]


class HostAlone(Recorded):
    """What one host block alone would have decided."""

    outcome: Outcome
    promoted: list[Key]
    verdicts: dict[RuleId, bool | None]
    first: Key | None


class Overlap(Recorded):
    """Of what each host block alone would have promoted."""

    jaccard: float | None


class RungAgreement(Recorded):
    """The host blocks at one rung."""

    hosts: list[Key]
    leaders: dict[Key, Key | None]
    means: dict[Key, dict[Key, float | None]]
    ranks: dict[Key, dict[Key, Rank | None]]
    pairs: list[HostPairAgreement]
    host_alone: dict[Key, HostAlone]
    overlap: Overlap


class Agreement(Recorded):
    """artifacts/summary/agreement.json."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    level: Annotated[float, Field(gt=0, lt=1)]
    rungs: dict[Rung, RungAgreement]


class RungStep(Recorded):
    """Two neighbouring rungs."""

    from_: Annotated[Rung, Field(alias="from")]
    to: Rung
    candidates: Count
    tau_b: float | None
    leader_from: Key | None
    leader_to: Key | None


class LeaderFate(Recorded):
    """What became of the leader of a rung."""

    rung: Rung
    config: Key
    last_rung: Rung
    last_rank: Rank | None
    stopped_at: Gate | None


class Optimism(Recorded):
    """The leader of a rung, measured again at the next."""

    rung: Rung
    config: Key
    mean: float | None
    lead: float | None
    next_mean: float | None
    next_rank: Rank | None
    next_lead: float | None
    regret: float | None


class Stability(Recorded):
    """artifacts/summary/stability.json."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    steps: list[RungStep]
    leader_fate: list[LeaderFate]
    optimism: list[Optimism]


class CorpusManifest(Recorded):
    """artifacts/corpus/manifest.json, as far as the page on method shows it."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    source: dict[str, Any]
    splits: dict[str, dict[str, Any]]


class ModelFile(Recorded):
    """artifacts/protocol/configs.json: the model that each configuration builds."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    configs: dict[Key, dict[str, Any]]
