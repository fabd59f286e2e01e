"""Gates of any size from plain tables of scores, and a study that was judged without training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from stages.confidence.gates import DecidedGate, fates_of
from stages.domain import canonical
from stages.domain.evidence import Evidence, gather
from stages.domain.locks import Frozen, Lock
from stages.domain.records import Record, parse_line
from tests.support.contracts import make_contract

LOCK, RUNNER, CORPUS = "a" * 64, "b" * 64, "c" * 64
ROLES = {"reference": "ref", "comparator": "cmp", "sentinel": "sen"}

Scores = Mapping[str, Sequence[float | None]]


def record(gate: str, config: str, host: str, seed: int, value: float | None, **over: Any) -> Record:
    """A record of a run; without a value it diverged."""
    body = {
        "schema": 1, "rung": gate.replace("gate", "rung"), "config": config, "host": host, "seed": seed,
        "purpose": "candidate", "status": "diverged" if value is None else "finished", "reason": None, "gate": gate,
        "lock": LOCK, "runner": RUNNER, "corpus": CORPUS, "budget": {"clock": "rated", "seconds": 10.0},
        "environment": None, "spec": {}, "facts": {"val_bpb": value} if value is not None else {"steps": 3},
    }  # fmt: skip
    return parse_line(canonical.dumps({**body, **over}), "test")


def evidence(
    gate: Mapping[str, Any],
    scores: Scores,
    *,
    hosts: Sequence[str] = ("h1", "h2"),
    seeds: Sequence[int] = (31, 32),
    floor: Mapping[str, Sequence[float]] | None = None,
    name: str = "gate3",
    extra: Sequence[Record] = (),
    environments: Mapping[tuple[str, str], Any] | None = None,
) -> Evidence:
    """Evidence from scores in the order of the cells; `floor` are A/A runs by host, `...` a run that is missing."""
    floor_seeds = tuple(900 + place for place in range(max((len(v) for v in (floor or {}).values()), default=0)))
    contract = make_contract(
        name.replace("gate", "rung"), hosts=tuple(hosts), seeds=tuple(seeds), floor_seeds=floor_seeds,
        earlier_seeds=(1, 2), roles=ROLES, rules=dict(gate),
    )  # fmt: skip
    cells = [(host, seed) for host in hosts for seed in seeds]
    runs = [
        record(name, config, host, seed, value, environment=(environments or {}).get((config, host)))
        for config, values in scores.items()
        for (host, seed), value in zip(cells, values, strict=True)
        if value is not ...
    ]
    runs += [
        record(name, "ref", host, seed, value, purpose="floor")
        for host, values in (floor or {}).items()
        for seed, value in zip(floor_seeds, values, strict=False)
    ]
    return gather(contract, scores, [*runs, *extra])


def decided(made: Evidence, last: bool = False) -> DecidedGate:
    """A gate that has decided by the frozen rules over `made`."""
    contract = made.contract
    frozen = Frozen.model_construct(gate=contract.gate, rung=contract.rung, roles=dict(contract.roles), last=last)
    lock = Lock.model_construct(schema_=1, frozen=frozen, digest=LOCK)
    return DecidedGate(lock, (*made.runs.values(), *made.floor), made, fates_of(made))


def gate(rule_set: Mapping[str, Any], scores: Scores, *, last: bool = False, **over: Any) -> DecidedGate:
    """`decided(evidence(...))`."""
    return decided(evidence(rule_set, scores, **over), last)


def again(value: Any) -> Any:
    """A value after a journey through JSON."""
    return json.loads(json.dumps(value))
