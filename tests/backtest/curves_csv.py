"""Small CSV files of curves, with a map and rules, for tests of the reader and the replay."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stages.backtest import curves, mapping, pools
from stages.domain.schema import parse

HEADER = "config,seed,budget,value"
COLUMNS = {"config": "config", "seed": "seed", "budget": "budget", "value": "value"}
RUNGS = {"rung1": 1.0, "rung2": 2.0}


def map_value(**over: Any) -> dict[str, Any]:
    """The content of a map.yaml; `over` replaces sections."""
    value: dict[str, Any] = {
        "schema": 1,
        "source": "made for a test",
        "columns": COLUMNS,
        "value": {"unit": "nats", "direction": "lower"},
        "budget": {"unit": "step", "prefix": True},
        "final": {"kind": "at_budget", "budget": 2.0},
        "rungs": RUNGS,
    }
    return {**value, **over}


def curve_map(**over: Any) -> mapping.CurveMap:
    """The same, validated."""
    return parse(mapping.CurveMap, map_value(**over), "map.yaml")


def ruleset(
    gates: dict[str, Any], seeds: Iterable[int] = (1, 1), unit: str = "nats", roles: dict[str, str] | None = None
) -> mapping.Ruleset:
    """Rules from gates; one number of seeds a rung."""
    rungs = {f"rung{n}": {"seeds": many} for n, many in enumerate(seeds, start=1)}
    value = {"schema": 1, "unit": unit, "roles": roles or {}, "rungs": rungs, "gates": gates}
    return mapping._rules_of_file(value, "rules.yaml")


def rows(values: dict[str, list[list[float]]]) -> list[str]:
    """CSV lines of config -> runs -> value at budget 1, 2, ..."""
    return [
        f"{config},{seed},{budget},{value}"
        for config, runs in values.items()
        for seed, points in enumerate(runs)
        for budget, value in enumerate(points, start=1)
    ]


def write(path: Path, lines: Iterable[str], header: str = HEADER) -> Path:
    """A CSV file."""
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8", newline="\n")
    return path


def arranged(
    path: Path, values: dict[str, list[list[float]]], rules: mapping.Ruleset, continued: bool = False, **over: Any
) -> pools.Pools:
    """The pools of such values."""
    known = curve_map(**over)
    return pools.arrange(curves.read_curves(write(path, rows(values)), known), known, rules, continued)
