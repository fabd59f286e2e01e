"""A judged study without training, as the summaries take it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from stages import ledger
from stages.domain import canonical, study
from stages.domain.decision import Decision
from stages.domain.locks import Lock
from stages.domain.records import Record, parse_line
from stages.summary import build
from stages.summary.ladder import Ladder
from tests.support import synthetic


@dataclass(frozen=True)
class Case:
    """What `stages.summary` is given."""

    root: Path
    configs: tuple[str, ...]
    locks: dict[str, Lock]
    records: tuple[Record, ...]
    decisions: dict[str, Decision]

    def ladder(self, mode: str = "frozen") -> Ladder:
        return build(mode, self.configs, self.locks, self.records, self.decisions)

    def without(self, *gates: str, records: bool = False) -> Case:
        """The same before these gates decided, and before their rungs ran with `records`."""
        rungs = {gate.replace("gate", "rung") for gate in gates}
        kept = tuple(run for run in self.records if not records or run.rung not in rungs)
        return replace(self, decisions={g: d for g, d in self.decisions.items() if g not in gates}, records=kept)

    def rescored(self, rung: str, value: Callable[[Record], float | None]) -> Case:
        """The same with other val_bpb at one rung, where `value` gives one; the decisions stay as they are."""
        records = []
        for run in self.records:
            new = value(run) if run.rung == rung and run.executed else None
            if new is not None:
                body = run.model_dump(by_alias=True)
                body["facts"]["val_bpb"] = new
                records.append(parse_line(canonical.dumps(body), run.id))
            else:
                records.append(run)
        return replace(self, records=tuple(records))


def make(root: Path, value: dict[str, Any] | None = None) -> Case:
    synthetic.build(root, value)
    with chdir(root):
        known = study.load()
        gates = ledger.read_frozen_gates()
        lines = ledger.read_records(gates, set(known.configs))
        decisions = ledger.read_decisions(gates)
    return Case(root, tuple(sorted(known.configs)), gates, tuple(record for record, _ in lines), decisions)


def paper_like() -> dict[str, Any]:
    """The published budgets with one split of candidates that adds up to the published 25.2 h of screening."""
    value = synthetic.params(configs=18)
    value["clock"] = {"kind": "wall"}
    for rung, seconds in zip(value["rungs"].values(), (120, 300, 600, 3600, 43200), strict=True):
        rung["budget_seconds"], rung["floor_seeds"] = seconds, []
    for gate, k in (("gate1", 12), ("gate2", 9), ("gate3", 4), ("gate4", 3)):
        value["gates"][gate] = {"R1": {"kind": "complete_cells"}, "R2": {"kind": "top_k", "k": k}}
    return value


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The synthetic study of twelve configurations."""
    return make(tmp_path_factory.mktemp("synthetic"))


@pytest.fixture(scope="session")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A study with the published budgets and numbers of candidates."""
    return make(tmp_path_factory.mktemp("paper"), paper_like())
