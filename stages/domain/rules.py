"""The rules a gate may be made of: what each kind is called, which numbers it takes, what it does.

A gate is a mapping from rule id to rule. An effect says what a rule that holds does:

    require   must hold, or the gate is blocked and promotes nobody
    promote   one that holds is enough to promote a candidate
    stop      one that holds stops a candidate, whoever promotes it, save a kept role
    verdict   a final statement; promotes nobody

How each kind is decided stands in `judge.py`, one function a kind, under the same name.
Source: arXiv:2606.11387 names the promotion paths, the kept roles and the two thresholds at 12 h; the other
kinds are what a team needs to state such rules for a study of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from stages.domain.schema import WHOLE, Key, Strict, parse

Effect = Literal["require", "promote", "stop", "verdict"]
By = Literal["mean", "worst_host", "each_host"]
Gap = Annotated[float, Field(gt=0, le=100)]


class CompleteCells(Strict):
    """Every candidate has a finished, diverged or failed run in every cell of the rung."""

    kind: Literal["complete_cells"]


class FixedRunner(Strict):
    """Every run was made by the runner that the lock froze."""

    kind: Literal["fixed_runner"]


class FixedData(Strict):
    """Every run was made on the corpus that the lock froze."""

    kind: Literal["fixed_data"]


class FreshSeeds(Strict):
    """No run used a seed of an earlier rung, and every run used a declared one."""

    kind: Literal["fresh_seeds"]


class FixedEnvironment(Strict):
    """Inside each host block every run reports the same environment: what `hosts.*.report` names."""

    kind: Literal["fixed_environment"]


class AboveNoiseFloor(Strict):
    """Every threshold in val_bpb of this gate is at least `multiple` x the A/A noise floor of every host."""

    kind: Literal["above_noise_floor"]
    multiple: Annotated[float, Field(gt=0, le=100)] = 2.0


class MinHostAgreement(Strict):
    """Kendall's tau-b between the two hosts' means over the candidates is at least `tau`, for every pair of hosts."""

    kind: Literal["min_host_agreement"]
    tau: Annotated[float, Field(ge=-1, le=1)]


class BudgetKept(Strict):
    """No finished run of a command reports (`runner.facts.seconds`) more than `tolerance`, a share, over its budget."""

    kind: Literal["budget_kept"]
    tolerance: Annotated[float, Field(ge=0, le=10, description="A share of the budget.")] = 0.05


class KeepRole(Strict):
    """The configuration in this role goes on whatever it scores, even past a stop rule."""

    kind: Literal["keep_role"]
    role: Key


class TopK(Strict):
    """Among the best k by mean over cells, by the worst host's mean, or by any one host's mean. Ties break by name."""

    kind: Literal["top_k"]
    k: Annotated[int, Field(ge=1, le=10_000), WHOLE]
    by: By = "mean"


class WithinGap(Strict):
    """At most `gap` above the best candidate (or above a role), by mean or on the worst host."""

    kind: Literal["within_gap"]
    gap: Gap
    of: Key = "best"
    by: Literal["mean", "worst_host"] = "mean"


class ExceedsGap(Strict):
    """More than `gap` above the best candidate (or above a role), by mean or on the worst host."""

    kind: Literal["exceeds_gap"]
    gap: Gap
    of: Key = "best"
    by: Literal["mean", "worst_host"] = "mean"


class Diverged(Strict):
    """At least one run met a loss that is not finite."""

    kind: Literal["diverged"]


class Failed(Strict):
    """At least one run could not be carried out, such as for want of memory."""

    kind: Literal["failed"]


class FirstInAllCells(Strict):
    """The configuration in this role has the lowest val_bpb in every cell. A tie is not first."""

    kind: Literal["first_in_all_cells"]
    role: Key


class NearEquivalent(Strict):
    """The mean paired gap between two roles is at most `margin`, in either direction."""

    kind: Literal["near_equivalent"]
    role: Key
    to: Key
    margin: Gap


class MeanGap(Strict):
    """The mean paired gap of one role above another is at most `most`."""

    kind: Literal["mean_gap"]
    role: Key
    to: Key
    most: Gap


Rule = Annotated[
    CompleteCells
    | FixedRunner
    | FixedData
    | FreshSeeds
    | FixedEnvironment
    | AboveNoiseFloor
    | MinHostAgreement
    | BudgetKept
    | KeepRole
    | TopK
    | WithinGap
    | ExceedsGap
    | Diverged
    | Failed
    | FirstInAllCells
    | NearEquivalent
    | MeanGap,
    Field(discriminator="kind"),
]

EFFECTS: dict[str, Effect] = {
    "complete_cells": "require",
    "fixed_runner": "require",
    "fixed_data": "require",
    "fresh_seeds": "require",
    "fixed_environment": "require",
    "above_noise_floor": "require",
    "min_host_agreement": "require",
    "budget_kept": "require",
    "keep_role": "promote",
    "top_k": "promote",
    "within_gap": "promote",
    "exceeds_gap": "stop",
    "diverged": "stop",
    "failed": "stop",
    "first_in_all_cells": "verdict",
    "near_equivalent": "verdict",
    "mean_gap": "verdict",
}


def _rule_id(text: str) -> str:
    if re.fullmatch(r"R[1-9][0-9]{0,2}", text) is None:
        raise ValueError("a rule id: R1 to R999")
    return text


RuleId = Annotated[str, AfterValidator(_rule_id)]
Gate = Annotated[dict[RuleId, Rule], Field(min_length=1, max_length=999)]


class _Rules(Strict):
    rules: Gate


def parse_rules(value: Any, where: str) -> dict[str, Rule]:
    """The rules of one gate, validated; `Invalid` names what is wrong at `where`."""
    return dict(parse(_Rules, {"rules": value}, where).rules)


def in_order(rules: Mapping[str, Rule]) -> list[tuple[str, Rule]]:
    """The rules in the order of their number: R2 before R10."""
    return sorted(rules.items(), key=lambda item: int(item[0][1:]))


def roles_named(rule: Rule) -> list[str]:
    """The roles that a rule speaks of."""
    named = [getattr(rule, key) for key in ("role", "to") if hasattr(rule, key)]
    of = getattr(rule, "of", "best")
    return named if of == "best" else [*named, of]


def threshold_in_bpb(rule: Rule) -> float | None:
    """The rule's threshold if it is a difference of val_bpb: what the noise floor is held against."""
    for key in ("gap", "margin", "most"):
        if hasattr(rule, key):
            return float(getattr(rule, key))
    return None


def say(rule: Rule) -> str:
    """The rule as one English sentence, with its own numbers."""
    match rule:
        case CompleteCells():
            return "Every candidate has a run in every cell."
        case FixedRunner():
            return "Every run was made by the frozen runner."
        case FixedData():
            return "Every run was made on the frozen corpus."
        case FreshSeeds():
            return "Every seed is a declared one that no earlier rung used."
        case FixedEnvironment():
            return "Inside each host block, every run reports the same environment."
        case AboveNoiseFloor():
            return f"Every val_bpb threshold of this gate is at least {rule.multiple:g} × the A/A noise floor."
        case MinHostAgreement():
            return f"Kendall's tau-b between any two hosts is at least {rule.tau:g}."
        case BudgetKept():
            return f"No run took more than {rule.tolerance:.1%} over its budget, as its trainer reports it."
        case KeepRole():
            return f"Promote the {rule.role}, whatever it scores."
        case TopK():
            return f"Promote the best {rule.k} {_BY[rule.by]}."
        case WithinGap():
            return f"Promote what is at most {rule.gap:g} above the {rule.of} {_BY[rule.by]}."
        case ExceedsGap():
            return f"Stop what is more than {rule.gap:g} above the {rule.of} {_BY[rule.by]}."
        case Diverged():
            return "Stop what diverged in any cell."
        case Failed():
            return "Stop what failed in any cell."
        case FirstInAllCells():
            return f"The {rule.role} is first in every cell."
        case NearEquivalent():
            return f"The {rule.role} is within {rule.margin:g} of the {rule.to}, by mean paired gap."
        case MeanGap():
            return f"The {rule.role} is at most {rule.most:g} above the {rule.to}, by mean paired gap."


_BY = {"mean": "by mean over cells", "worst_host": "on its worst host", "each_host": "on any one host"}
