"""Leave one out: what the frozen rules would have said without one cell, one seed or one host.

A cell is left out for every candidate alike, so that the pairs stay pairs. The real judge decides each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal

from stages.confidence.gates import DecidedGate, fates_of
from stages.confidence.results import Deletion
from stages.domain.contract import Contract
from stages.domain.evidence import Cell, Evidence


@dataclass(frozen=True)
class _PartialContract(Contract):
    """A contract of which one declared cell counts as never declared."""

    without: Cell = ("", -1)

    @property
    def cells(self) -> list[Cell]:
        """The declared cells save one."""
        return [(host, seed) for host in self.hosts for seed in self.seeds if (host, seed) != self.without]


def without_cell(evidence: Evidence, cell: Cell) -> Evidence:
    """The evidence without one cell of every candidate."""
    content = {field.name: getattr(evidence.contract, field.name) for field in fields(Contract)}
    contract = _PartialContract(**content, without=cell)
    return replace(evidence, contract=contract, runs={key: run for key, run in evidence.runs.items() if key[1] != cell})


def without_seed(evidence: Evidence, seed: int) -> Evidence:
    """The evidence without one seed on every host."""
    seeds = tuple(other for other in evidence.contract.seeds if other != seed)
    contract = replace(evidence.contract, seeds=seeds)
    return replace(
        evidence, contract=contract, runs={key: run for key, run in evidence.runs.items() if key[1][1] != seed}
    )


def without_host(evidence: Evidence, host: str) -> Evidence:
    """The evidence without one host. A rule that compares hosts has nothing to say when one is left."""
    hosts = {other: block for other, block in evidence.contract.hosts.items() if other != host}
    if len(hosts) == 1:
        return evidence.only_host(next(iter(hosts)))
    return replace(
        evidence,
        contract=replace(evidence.contract, hosts=hosts),
        runs={key: run for key, run in evidence.runs.items() if key[1][0] != host},
        floor=tuple(run for run in evidence.floor if run.host != host),
    )


def deletions(gate: DecidedGate) -> tuple[Deletion, ...]:
    """Every deletion that leaves some evidence, with what it would have changed."""
    return tuple(
        Deletion(kind, name, gate.fates.changes(fates_of(evidence))) for kind, name, evidence in _left(gate.evidence)
    )


def _left(evidence: Evidence) -> Iterator[tuple[Literal["cell", "seed", "host"], str, Evidence]]:
    """(kind, what is left out, the rest). With one seed a host a cell is its host; with one host a seed is its cell."""
    hosts, seeds = tuple(evidence.contract.hosts), evidence.contract.seeds
    if len(seeds) > 1:
        for host, seed in evidence.contract.cells:
            yield "cell", f"{host}/{seed}", without_cell(evidence, (host, seed))
    if len(hosts) > 1:
        for seed in seeds if len(seeds) > 1 else ():
            yield "seed", str(seed), without_seed(evidence, seed)
        for host in hosts:
            yield "host", host, without_host(evidence, host)


def hangs_on(tried: tuple[Deletion, ...], last: bool) -> tuple[str, ...]:
    """The deletions that change a fate, a verdict or the outcome, and at the last gate the winner."""
    return tuple(
        f"{deletion.kind} {deletion.left_out}"
        for deletion in tried
        if any(last or change.what != "leader" for change in deletion.changes)
    )
