"""Doors: artifacts/protocol/rungN.json, what a rung may rely on. Written by `protocol` from the lock of its gate.

A run and a gate read nothing else of what was frozen. An open door holds the frozen content, flat, and the lock's
digest; a closed one says which gate is not frozen yet. Light to import: a stopped run pays for it.
"""

from __future__ import annotations

from typing import Any

from stages.domain import canonical, names
from stages.domain.errors import Refused

SCHEMA = 1
Door = dict[str, Any]
#: What an open door holds besides: the content of `Frozen` in locks.py, save amendments, and the lock's digest.
_FROZEN = ("rules", "roles", "budget_seconds", "seeds", "floor_seeds", "earlier_seeds", "clock", "hosts", "configs")
_OPEN = frozenset((*_FROZEN, "gate", "lock", "settings", "last", "runner", "corpus"))


def read(rung: str) -> Door | None:
    """The door of a rung, open or closed; None where `protocol` has not run. Refuses what is no door."""
    path = names.PROTOCOL / f"{rung}.json"
    if not path.is_file():
        return None
    try:
        value = canonical.loads(path.read_bytes())
    except canonical.NotCanonical as error:
        raise Refused(f"{path.as_posix()}: {error}; `dvc repro --force protocol` writes it anew") from None
    if not isinstance(value, dict) or value.get("schema") != SCHEMA or value.get("rung") != rung:
        raise Refused(f"{path.as_posix()}: found no door of {rung}, schema {SCHEMA}; `dvc repro --force protocol`")
    if value.get("open") is not False and (missing := sorted(_OPEN - value.keys())):
        raise Refused(
            f"{path.as_posix()}: {missing[0]} is missing; another version wrote it: `dvc repro protocol` writes it anew"
        )
    return value


def read_open(rung: str) -> Door:
    """The door of a rung, which must be open; refuses with what to do first."""
    door = read(rung)
    if door is None:
        raise Refused(f"{(names.PROTOCOL / f'{rung}.json').as_posix()} is missing; `dvc repro protocol` writes it")
    if not door["open"]:
        gate = door["gate"]
        raise Refused(
            f"{names.lock_path(gate).as_posix()} is missing, so {rung} may not start: "
            "a rule comes before its evidence; "
            f"look at gates.{gate} in params.yaml, then `promotion freeze {gate}` and `dvc repro`"
        )
    return door


def configs_of(door: Door) -> list[str] | None:
    """The configurations that may enter here, sorted; None beyond the first rung, where the gate before decides."""
    return None if door["configs"] is None else sorted(door["configs"])
