"""Ways to break a study that the tests of the site share: each changes one thing that a reader must be told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.domain import canonical, locks


def params(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change params.yaml, which a synthetic study writes as JSON."""
    path = root / "params.yaml"
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def lines(root: Path, name: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Rewrite ledger/`name` line by line; a line for which `change` gives None goes."""
    path = root / "ledger" / name
    values = [change(json.loads(line)) for line in path.read_bytes().splitlines()]
    path.write_bytes(b"".join(canonical.dumps(value) for value in values if value is not None))


def score(root: Path, run: tuple[str, str, str, int], value: float) -> None:
    """Give one run another val_bpb in the ledger."""

    def change(record: dict[str, Any]) -> dict[str, Any]:
        if (record["rung"], record["config"], record["host"], record["seed"]) == run:
            record["facts"]["val_bpb"] = value
        return record

    lines(root, "runs.jsonl", change)


def decision(root: Path, gate: str, **changed: Any) -> None:
    """Change a recorded decision."""
    lines(root, "decisions.jsonl", lambda value: {**value, **changed} if value["gate"] == gate else value)


def drop(root: Path, *gates: str) -> None:
    """Take decisions away."""
    lines(root, "decisions.jsonl", lambda value: None if value["gate"] in gates else value)


def lock(root: Path, gate: str, **changed: Any) -> None:
    """Freeze a gate otherwise: a whole lock with a digest of its own, which no record names."""
    path = root / "locks" / f"{gate}.yaml"
    frozen = locks.loads(path.read_bytes(), gate).frozen
    path.write_bytes(locks.dumps(frozen.model_copy(update=changed)))
