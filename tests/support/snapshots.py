"""Outputs that are kept word by word in tests/data/snapshots/, so that the diff of a commit shows what changed in them.

    SNAPSHOTS=write python -m pytest -k snapshot        writes them anew, where a change is meant

The numbers are cut to a few digits: what comes behind those depends on the processor.
"""

from __future__ import annotations

import difflib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "data" / "snapshots"


def check_snapshots(folder: str, texts: Mapping[str, str]) -> None:
    """The texts by their names are what a folder of tests/data/snapshots/ holds, and it holds no others."""
    place = FOLDER / folder
    if os.environ.get("SNAPSHOTS") == "write":
        shutil.rmtree(place, ignore_errors=True)
        for name, text in texts.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text, encoding="utf-8", newline="\n")
    kept = {path.relative_to(place).as_posix(): path.read_text(encoding="utf-8") for path in place.rglob("*.txt")}
    changed = [
        line
        for name in sorted({*kept, *texts})
        for line in difflib.unified_diff(
            kept.get(name, "").splitlines(), texts.get(name, "").splitlines(), name, "now", lineterm="", n=0
        )
    ]
    assert not changed, "\n".join(["where this is meant: SNAPSHOTS=write", *changed[:40]])


def describe_json(value: Any, digits: int = 5, place: str = "") -> Iterator[str]:
    """A line for each key that holds no other, with its floats cut."""
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from describe_json(value[key], digits, f"{place}.{key}")
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        for number, entry in enumerate(value):
            yield from describe_json(entry, digits, f"{place}.{number}")
    else:
        yield f"{place.removeprefix('.')}: {json.dumps(cut_numbers(value, digits), ensure_ascii=False)}"


def cut_numbers(value: Any, digits: int) -> Any:
    """The same with so many digits of its floats."""
    if isinstance(value, dict):
        return {key: cut_numbers(entry, digits) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [cut_numbers(entry, digits) for entry in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def json_text(value: Any, digits: int = 5) -> str:
    """The lines of a JSON value."""
    return "".join(f"{line}\n" for line in describe_json(value, digits))
