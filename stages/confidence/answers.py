"""How sure? and What next?: one line each for a whole study, by rules that docs/confidence.md writes down.

Both follow from figures of this library alone. Neither changes what the frozen rules decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stages.confidence import comparisons
from stages.confidence.comparisons import Margin, Pair
from stages.confidence.gates import DecidedGate
from stages.confidence.noise import NOT_MEASURED
from stages.confidence.redraws import COUNT
from stages.confidence.results import (
    LEVEL,
    Comparison,
    GateConfidence,
    Grade,
    HowSure,
    WhatNext,
    Winner,
    weakest_gate,
)
from stages.domain.formatting import percent

#: Shares of redraws from which a study is called sure, and likely.
SURE, LIKELY = 0.95, 0.80
#: How many seeds What next asks for.
MORE_SEEDS = 2
REFERENCE, COMPARATOR = "reference", "comparator"


def how_sure(gates: Mapping[str, GateConfidence], winner: Winner | None, lead: Comparison | None) -> HowSure:
    """The grade and its line. `winner` and `lead` are None until the last gate has decided and somebody leads."""
    if not gates:
        return HowSure("unknown", "Unknown: no gate has decided yet.", "No gate has decided yet.", ())
    hanging = _dependences(gates)
    blind = [gate.gate for gate in gates.values() if not gate.noise.known and reads_scores(gate)]
    grade = _grade(winner, bool(blind), bool(hanging))
    parts = [f"{NOT_MEASURED} for {_listed(blind)}"] if blind else []
    parts += _about_winner(winner, lead)
    if (weakest := weakest_gate(gates)) is not None:
        parts.append(f"the least certain gate is {_again(weakest)}{_source(weakest)}")
    if verdict := _doubtful_verdict(gates):
        parts.append(f"the least certain verdict is {verdict}")
    parts.append("; ".join(hanging[:3]) if hanging else "no outcome depends on one cell, seed or host")
    if len(hanging) > 3:
        parts[-1] += f" and {len(hanging) - 3} more"
    text = "; ".join(parts)
    short = _short(winner, blind, weakest)
    if verdict and not blind:
        short += f"; the least certain verdict is {verdict}"
    return HowSure(grade, f"{grade.capitalize()}: {short}.", f"{text[0].upper()}{text[1:]}.", hanging)


def _dependences(gates: Mapping[str, GateConfidence]) -> tuple[str, ...]:
    """What outcomes depend on, one phrase for all the gates that depend on the same cell, seed or host."""
    by_part: dict[str, list[str]] = {}
    for gate in gates.values():
        for part in gate.hangs_on:
            by_part.setdefault(part.removeprefix("host "), []).append(gate.gate)
    return tuple(f"{_gates(names)} would decide otherwise without {part}" for part, names in by_part.items())


def _gates(names: Sequence[str]) -> str:
    """gate2 alone; gates 2 and 4 together."""
    return names[0] if len(names) == 1 else f"gates {_listed([name.removeprefix('gate') for name in names])}"


def _doubtful_verdict(gates: Mapping[str, GateConfidence]) -> str:
    """The verdict that is repeated least often, where that is in less than the share of `likely`; else nothing."""
    flips = {
        f"{gate.gate}.{rule_id}": share
        for gate in gates.values()
        if gate.redraws is not None
        for rule_id, share in gate.redraws.verdict_flips.items()
    }
    name = max(flips, key=lambda key: flips[key], default="")
    return f"{name}, the same in {percent(1 - flips[name])}" if name and 1 - flips[name] < LIKELY else ""


def _grade(winner: Winner | None, blind: bool, hanging: bool) -> Grade:
    """The table of grades in docs/confidence.md."""
    if winner is None or blind:
        return "unknown"
    if winner.same < LIKELY:
        return "unsure"
    return "likely" if winner.same < SURE or hanging else "sure"


def _about_winner(winner: Winner | None, lead: Comparison | None) -> Iterator[str]:
    """The share of redraws that the winner wins, and by how much it leads."""
    if lead is not None and lead.mean is not None:
        between = ""
        if lead.lower is not None and lead.upper is not None:
            between = f", {lead.lower:.4f} to {lead.upper:.4f} with {LEVEL:.0%} confidence".replace("%", " %")
        yield f"on these hosts {lead.against} leads {lead.config} by {lead.mean:.4f}{between}"
    if winner is None:
        return
    given = f", with {_listed(winner.fixed)} as decided" if winner.fixed else ""
    yield f"the same configuration comes first in {percent(winner.same)} of {COUNT:,} redraws{given}"
    if winner.unless:
        yield f"in {percent(winner.unless)} more it does unless one that was stopped untrained would have beaten it"


def _short(winner: Winner | None, blind: Sequence[str], weakest: GateConfidence | None) -> str:
    """The answer in the space of a table cell."""
    if blind:
        return f"{NOT_MEASURED} for {_listed(blind)}"
    answer = "no configuration leads yet"
    if winner is not None:
        most = f" to {percent(winner.same + winner.unless)}" if winner.unless else ""
        answer = f"the same first place in {percent(winner.same)}{most} of redraws"
    return answer if weakest is None else f"{answer}; least certain is {_again(weakest)}"


def _again(gate: GateConfidence) -> str:
    return f"{gate.gate}, the same in {percent(gate.kept)}"


def _source(gate: GateConfidence) -> str:
    return f" by noise {gate.noise.text.split(':')[0]}" if gate.noise.borrowed else ""


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def rivals(gate: DecidedGate, confidence: GateConfidence, near: Margin | None) -> list[Comparison]:
    """Every other ranked candidate of the last gate against its winner, the nearest first."""
    ranking = gate.evidence.ranking()
    if gate.fates.outcome != "decided" or not ranking:
        return []
    hosts = tuple(gate.evidence.contract.hosts)
    pairs = [Pair("", "winner", name, ranking[0], "best", hosts, near, True, None) for name in ranking[1:]]
    return [comparisons.compare(pair, gate.evidence, confidence.noise) for pair in pairs[: comparisons.LISTED]]


def what_next(
    gates: Mapping[str, GateConfidence],
    last: DecidedGate | None,
    winner: Winner | None,
    against: Sequence[Comparison],
) -> WhatNext:
    """The first row of the table in docs/confidence.md that applies."""
    if last is None or last.fates.leader is None or last.fates.outcome != "decided":
        return WhatNext("wait", "N1", "Wait: no configuration leads the last gate yet.", None, ())
    confidence, leader = gates[last.name], last.fates.leader
    rung = confidence.rung
    if not confidence.noise.known:
        text = f"Add {MORE_SEEDS} seeds at {rung}: no noise was measured there, so no gap means anything yet."
        return WhatNext("add seeds", "N2", text, rung, (leader,))
    if ties := [rival for rival in against if rival.outcome == "equivalent"]:
        return _tie(last, leader, ties)
    if near_ones := [rival for rival in against if rival.lower is not None and rival.lower <= 0]:
        return _seeds_for(last, confidence, leader, near_ones)
    weakest = weakest_gate(gates)
    if weakest is not None and winner is not None and winner.same < SURE:
        share = percent(weakest.kept)
        text = f"Add {MORE_SEEDS} seeds at {weakest.rung}: {weakest.gate} decides the same in {share} of redraws only."
        return WhatNext("add seeds", "N5", text, weakest.rung, ())
    if blind := [gate for gate in gates.values() if not gate.noise.known and reads_scores(gate)]:
        text = (
            f"Add {MORE_SEEDS} seeds, or A/A runs, at {blind[0].rung}: {blind[0].gate} cut by scores of unknown noise."
        )
        return WhatNext("add seeds", "N6", text, blind[0].rung, ())
    if hanging := next((gate for gate in gates.values() if gate.hangs_on), None):
        text = (
            f"Add {MORE_SEEDS} seeds at {hanging.rung}: what {hanging.gate} decided depends on {hanging.hangs_on[0]}."
        )
        return WhatNext("add seeds", "N7", text, hanging.rung, ())
    if (raised := _raised(last, leader)) is not None:
        return raised
    return WhatNext("nothing", "N9", _nothing(), None, ())


def _nothing() -> str:
    return "Nothing: the first is ahead of everybody by more than noise explains, and the ladder repeats itself."


def reads_scores(gate: GateConfidence) -> bool:
    """Whether other scores could have changed the decision: a gate that has room for all needs no noise."""
    return bool(gate.comparisons) or any(threshold.kind == "min_host_agreement" for threshold in gate.thresholds)


def _tie(gate: DecidedGate, leader: str, ties: Sequence[Comparison]) -> WhatNext:
    """Among equivalent configurations the one that costs fewest operations a token."""
    names = [leader, *(tie.config for tie in ties)]
    costs = {name: cost for name in names if (cost := flops_per_token(gate, name)) is not None}
    margin = ties[0].margin
    tied = f"{_listed(names)} are equivalent within {margin:g}"
    if len(costs) < len(names):
        return WhatNext("tie", "N3", f"A tie: {tied}; take the cheaper.", gate.frozen.rung, tuple(names))
    cheapest = min(names, key=lambda name: (costs[name], names.index(name)))
    text = f"A tie: {tied}; take the cheaper, {cheapest} ({costs[cheapest]:,} FLOPs a token)."
    return WhatNext("tie", "N3", text, gate.frozen.rung, (cheapest, *(name for name in names if name != cheapest)))


def flops_per_token(gate: DecidedGate, config: str) -> int | None:
    """What a configuration's model costs a token, as its records say; None where they do not."""
    for run in gate.evidence.of(config):
        model: Any = (run.facts or {}).get("model")
        cost = model.get("flops_per_token") if isinstance(model, dict) else None
        if isinstance(cost, int) and not isinstance(cost, bool):
            return cost
    return None


def _seeds_for(gate: DecidedGate, confidence: GateConfidence, leader: str, rivals: Sequence[Comparison]) -> WhatNext:
    """More seeds at the last rung, with what these would let it see."""
    rung, seeds = confidence.rung, len(gate.evidence.contract.seeds)
    names = [rival.config for rival in rivals]
    lead = min(rival.mean for rival in rivals if rival.mean is not None)
    now, then = (
        comparisons.detectable(confidence.noise, tuple(gate.evidence.contract.hosts), seeds + more)
        for more in (0, MORE_SEEDS)
    )
    seen = ""
    if now is not None and then is not None:
        seen = f"; with the present seeds a difference of {now:.4f} would be detectable"
        seen += f", with {MORE_SEEDS} more {then:.4f}"
    lead_text = f"{leader} leads {_listed(names)} by {lead:.4f}, which noise can explain"
    text = f"Add {MORE_SEEDS} seeds at {rung}: {lead_text}{seen}."
    return WhatNext("add seeds", "N4", text, rung, (leader, *names))


def _raised(gate: DecidedGate, leader: str) -> WhatNext | None:
    """The winner is not the reference: the next study has a better one to compare with."""
    roles = gate.frozen.roles
    reference = roles.get(REFERENCE)
    if reference is None or leader == reference:
        return None
    role = "comparator" if roles.get(COMPARATOR) == leader else "leader"
    how = "beats" if reference in gate.evidence.candidates else "went further than"
    text = f"Raise the {role}: {leader} {how} the reference {reference}; make it the reference of the next study."
    return WhatNext("raise", "N8", text, None, (leader, reference))
