"""Leave one out: what the frozen rules would have said without one cell, one seed or one host.

A cell is left out for every candidate alike, so that the pairs stay pairs. The real judge decides each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal

from stages.confidence.gates import DecidedGate, fates_of
from stages.confidence.results import Deletion
from stages.domain.evidence import Cell, Door, Evidence


@dataclass(frozen=True)
class _PartialDoor(Door):
    """A door of which one declared cell counts as never declared."""

    without: Cell = ("", -1)

    @property
    def cells(self) -> list[Cell]:
        """The declared cells save one."""
        return [(host, seed) for host in self.hosts for seed in self.seeds if (host, seed) != self.without]


def without_cell(evidence: Evidence, cell: Cell) -> Evidence:
    """The evidence without one cell of every candidate."""
    door = _PartialDoor(**{field.name: getattr(evidence.door, field.name) for field in fields(Door)}, without=cell)
    return replace(evidence, door=door, runs={key: run for key, run in evidence.runs.items() if key[1] != cell})


def without_seed(evidence: Evidence, seed: int) -> Evidence:
    """The evidence without one seed on every host."""
    door = replace(evidence.door, seeds=tuple(other for other in evidence.door.seeds if other != seed))
    return replace(evidence, door=door, runs={key: run for key, run in evidence.runs.items() if key[1][1] != seed})


def without_host(evidence: Evidence, host: str) -> Evidence:
    """The evidence without one host. A rule that compares hosts has nothing to say when one is left."""
    hosts = tuple(other for other in evidence.door.hosts if other != host)
    if len(hosts) == 1:
        return evidence.only_host(hosts[0])
    return replace(
        evidence,
        door=replace(evidence.door, hosts=hosts),
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
    hosts, seeds = evidence.door.hosts, evidence.door.seeds
    if len(seeds) > 1:
        for host, seed in evidence.door.cells:
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
