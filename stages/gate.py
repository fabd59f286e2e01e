"""A gate: judges the records of a rung by the frozen rules and writes who may go on.

    python -m stages.gate rung3        (run by `dvc repro`)

Writes artifacts/gates/gateN/decision.json (one canonical line: every rule, every candidate, every margin) and
promotions.yaml (the tickets). With `study.mode: exploratory` the rules and roles of params.yaml decide instead; the
decision says so, and tickets that only they grant read `what-if`, which trains nothing.
"""

from __future__ import annotations

import sys
from typing import Any

from stages.domain import contract, decision, files, names, promotions, rules, yamlio
from stages.domain.errors import Refused, main_guard
from stages.domain.evidence import Door, door_from, gather
from stages.domain.records import read_rung
from stages.domain.schema import Strict, parse


class _Gate(Strict):
    rules: rules.Gate


def parse_rules(value: Any, where: str) -> dict[str, rules.Rule]:
    """The rules of one gate, validated."""
    return dict(parse(_Gate, {"rules": value}, where).rules)


def entrants(door: contract.Door) -> dict[str, promotions.Ticket]:
    """The tickets for a rung: of every frozen configuration at the first one, then those of the gate before."""
    everybody = contract.configs_of(door)
    if everybody is not None:
        return dict.fromkeys(everybody, "true")
    return promotions.read(names.GATES / f"gate{int(door['rung'].removeprefix('rung')) - 1}" / "promotions.yaml")


def judge(rung: str, params: dict[str, Any]) -> tuple[decision.Decision, dict[str, promotions.Ticket]]:
    """The decision of a rung's gate and the tickets that it hands out."""
    value = contract.read_open(rung)
    records = [record for record, _ in read_rung(rung).values()]
    held = entrants(value)
    who = [name for name, ticket in held.items() if ticket != "false"]
    frozen_door = door_from(value, parse_rules(value["rules"], f"artifacts/protocol/{rung}.json"), value["roles"])
    frozen = decision.decide(gather(frozen_door, who, records))
    shown = frozen
    if params["study"]["mode"] == "exploratory":
        own = parse_rules(params["gates"][value["gate"]], "params.yaml: gates." + value["gate"])
        door: Door = door_from(value, own, {**value["roles"], **params["roles"]})
        shown = decision.decide(gather(door, who, records), mode="exploratory", frozen_promoted=frozen.promoted)
    return shown, decision.hand_out_tickets(frozen, shown, sorted(held))


def main() -> None:
    """Judge one rung and write the decision."""
    if len(sys.argv) != 2 or not names.is_name(sys.argv[1]):
        raise Refused("usage: python -m stages.gate RUNG")
    rung = sys.argv[1]
    made, held = judge(rung, yamlio.read(names.PARAMS, "run this in the root of a study"))
    folder = names.GATES / made.gate
    files.write_whole(folder / "decision.json", made.to_bytes())
    files.write_whole(folder / "promotions.yaml", promotions.dumps(held))
    if made.blocked:
        told = "\n  ".join(decision.why_blocked(made))
        print(f"{made.gate} is blocked and promotes nobody:\n  {told}", file=sys.stderr)


if __name__ == "__main__":
    main_guard(main)
