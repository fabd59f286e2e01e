"""A gate: judges the records of a rung by the frozen rules and writes who may go on.

    python -m stages.gate rung3        (run by `dvc repro`)

Writes artifacts/gates/gateN/decision.json (one canonical line: every rule, every candidate, every margin) and
promotions.json (the tickets). With `study.mode: exploratory` the rules and roles of params.yaml decide instead; the
decision says so, and tickets that only they grant read `what-if`, which trains nothing.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from stages.domain import decision, files, names, promotions, yamlio
from stages.domain.contract import Contract, read_open
from stages.domain.errors import Refused, main_guard
from stages.domain.evidence import gather
from stages.domain.records import read_rung
from stages.domain.rules import parse_rules


def read_tickets(contract: Contract) -> dict[str, promotions.Ticket]:
    """The tickets for a rung: of every frozen configuration at the first one, then those of the gate before."""
    gate = names.gate_before(contract.rung)
    return (
        dict.fromkeys(contract.entrants or (), "true") if gate is None else promotions.read(names.promotions_path(gate))
    )


def judge(rung: str, params: dict[str, Any]) -> tuple[decision.Decision, dict[str, promotions.Ticket]]:
    """The decision of a rung's gate and the tickets that it hands out."""
    contract = read_open(rung)
    records = [record for record, _ in read_rung(rung).values()]
    entrants = read_tickets(contract)
    candidates = [name for name, ticket in entrants.items() if ticket != "false"]
    frozen = decision.decide(gather(contract, candidates, records))
    shown = frozen
    if params["study"]["mode"] == "exploratory":
        rules = params["gates"][contract.gate]
        parse_rules(rules, f"params.yaml: gates.{contract.gate}")
        asked = replace(contract, rules=rules, roles={**contract.roles, **params["roles"]})
        shown = decision.decide(gather(asked, candidates, records), mode="exploratory", frozen_promoted=frozen.promoted)
    return shown, decision.hand_out_tickets(frozen, shown, sorted(entrants))


def main() -> None:
    """Judge one rung and write the decision."""
    if len(sys.argv) != 2 or not names.is_name(sys.argv[1]):
        raise Refused("usage: python -m stages.gate RUNG")
    rung = sys.argv[1]
    outcome, tickets = judge(rung, yamlio.read(names.PARAMS, "run this in the root of a study"))
    files.write_whole(names.decision_path(outcome.gate), outcome.to_bytes())
    files.write_whole(names.promotions_path(outcome.gate), promotions.dumps(tickets))
    if outcome.blocked:
        reasons = "\n  ".join(decision.why_blocked(outcome))
        print(f"{outcome.gate} is blocked and promotes nobody:\n  {reasons}", file=sys.stderr)


if __name__ == "__main__":
    main_guard(main)
