"""The summaries made from the ledger where their files are absent: git alone is enough for cost, agreement, stability.

    python -m pytest tests/site/test_load.py

The same functions that `python -m stages.ledger` calls, over the same locks, records and decisions, so a page says the
same with the files and without them. Two or more host blocks cost the half second that scipy takes to import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from stages.domain.locks import Lock
from stages.domain.records import Record
from stages.summary import Ladder, build
from stages.summary.accounting import accounting
from stages.summary.agreement import agreement
from stages.summary.stability import stability

#: By name of the file in artifacts/summary/.
MAKERS = {"accounting.json": accounting, "agreement.json": agreement, "stability.json": stability}


class Sums:
    """Locks, records and decisions, added up once somebody asks."""

    def __init__(
        self,
        mode: str,
        configs: Sequence[str],
        locks: Mapping[str, Lock],
        records: Sequence[Record],
        decisions: Mapping[str, dict[str, Any]],
    ) -> None:
        self._given = (mode, sorted(configs), locks, records, decisions)

    @cached_property
    def ladder(self) -> Ladder:
        """The frozen rungs with their evidence."""
        return build(*self._given)

    def make(self, name: str) -> dict[str, Any]:
        """What artifacts/summary/`name` holds."""
        return MAKERS[name](self.ladder)


def models(records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """By configuration, the model that its runs built, as artifacts/protocol/configs.json has it."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        model = (record.facts or {}).get("model")
        if record.config not in found and isinstance(model, dict):
            found[record.config] = {key: value for key, value in sorted(model.items()) if key != "digest"}
    alike: dict[str, list[str]] = {}
    for name, model in found.items():
        alike.setdefault(repr(model), []).append(name)
    return {
        name: {**model, "same_model_as": sorted(other for other in alike[repr(model)] if other != name)}
        for name, model in found.items()
    }
