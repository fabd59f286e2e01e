"""The result of a backtest as a typed value: `promotion backtest --json` writes it and the page reads it.

Shares are of all ladders unless a field says otherwise; a share that cannot be computed is null.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field

from stages.backtest.mapping import Label
from stages.domain import canonical
from stages.domain.errors import Invalid
from stages.domain.schema import Sha256, Strict, Text, parse

SCHEMA = 1
Result = TypeVar("Result", bound="StoredResult")
Share = Annotated[float, Field(ge=0, le=1)]
#: A share of a cost: a method may cost more than everything at the last rung.
Ratio = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(max_length=500)]


class StoredResult(Strict):
    """A result that is stored as one line of canonical JSON."""

    schema_: Annotated[Literal[1], Field(alias="schema")]

    def dumps(self) -> bytes:
        """The result as one line of canonical JSON."""
        return canonical.dumps(self.model_dump(by_alias=True, mode="json"))


class Source(Strict):
    """The curves."""

    name: Name
    sha256: Sha256
    source: Text
    configs: Count
    runs: Count
    hosts: list[Name]
    #: `evaluable`, or why agreement between hosts says nothing.
    agreement: Text
    unit: Label
    direction: Literal["lower", "higher"]
    budget_unit: Label
    prefix: bool


class File(Strict):
    """A file that the result depends on."""

    name: Name
    sha256: Sha256


class Final(Strict):
    """What finally counts, and its unit, which regret has too."""

    text: Text
    unit: Label


class Standing(Strict):
    """A configuration by its mean final value over all its runs."""

    config: Name
    rank: Count
    final: float
    seed_sd: float
    runs: Count
    #: Share of redraws of all runs of all configurations in which it is the best.
    first_in_redraws: Share


class RungFigures(Strict):
    """What the curves say at one budget, before any rule."""

    rung: Name
    budget: float | Literal["final"]
    unit: Label
    runs_each: Count
    seed_sd: float | None
    tau_b: float | None
    #: Share of pairs of configurations that the means of all runs order as in the end.
    accuracy_all_runs: Share | None
    #: The same with as many runs as the rung has, on average over draws.
    accuracy: Share | None


class RuleFigures(Strict):
    """How often a rule held: candidates (or, for a rule about the gate, hosts or verdicts) a ladder."""

    id: Name
    kind: Name
    effect: Name
    text: Text
    evaluated: bool
    why_not: Text
    holds: float | None
    fails: float | None
    unknown: float | None


class GateFigures(Strict):
    """What a gate did. `best_dropped` and `top3_dropped` are of all ladders; at the last gate they mean: not chosen."""

    gate: Name
    rung: Name
    last: bool
    candidates: float
    promoted: float
    blocked: Share
    best_reached: Share
    best_dropped: Share
    best_dropped_error: Share
    top3_dropped: Share
    cost_share: Ratio
    rules: list[RuleFigures]


class Regret(Strict):
    """How far the choice is behind the best, over ladders with a choice; `error` is the standard error of the mean."""

    mean: float | None
    error: float | None
    p90: float | None
    largest: float | None


class MethodFigures(Strict):
    """What one method chose. `best_lost`: the best was not run at the last rung; `top3_lost`: one of three was not."""

    method: Name
    title: Text
    best_picked: Share
    best_picked_error: Share
    best_lost: Share
    top3_lost: Share
    nobody: Share
    regret: Regret
    finalists: float
    cost: float
    cost_share: Ratio


class Backtest(StoredResult):
    """The whole result."""

    kind: Literal["backtest"]
    curves: Source
    map: File
    rules: File
    rules_unit: Label
    ladders: Count
    seed: Count
    resampling: Literal["fresh", "continued"]
    final: Final
    cost_unit: Label
    statements: list[Text]
    truth: Annotated[list[Standing], Field(min_length=2)]
    rungs: Annotated[list[RungFigures], Field(min_length=1)]
    gates: Annotated[list[GateFigures], Field(min_length=1)]
    methods: Annotated[list[MethodFigures], Field(min_length=1)]

    @property
    def best(self) -> Standing:
        """The eventual best."""
        return self.truth[0]

    @property
    def basis(self) -> str:
        """What every figure rests on, in words: it stands beside each of them."""
        return "prefixes of one long run" if self.curves.prefix else "separate runs"


def read_result(model: type[Result], command: str, data: bytes, where: str) -> Result:
    """The result that `promotion COMMAND --json` wrote into a file; `Invalid` says what is wrong with it."""
    expected = f"expected what `promotion {command} --json` writes"
    try:
        value = canonical.loads(data)
    except canonical.NotCanonical as error:
        raise Invalid.at(where, f"{error}, {expected}") from None
    if not isinstance(value, dict):
        raise Invalid.at(where, f"found {type(value).__name__}, {expected}")
    if isinstance(value.get("schema"), int) and value["schema"] > SCHEMA:
        raise Invalid.at(where, f"found {value['schema']}, expected {SCHEMA}; update staged-promotion", "schema")
    return parse(model, value, where)


def loads(data: bytes, where: str) -> Backtest:
    """The backtest in such a file."""
    return read_result(Backtest, "backtest", data, where)
