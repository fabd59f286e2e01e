"""Curves of runs, as their traces hold them, and their telemetry. What is absent or unreadable reads as missing."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

from stages.domain import files, names

COLUMNS = ("step", "tokens", "seconds", "train_loss", "lr_factor")
#: Points that a page and its files carry; the whole curve is the trace's, whose digest the page names.
MOST_POINTS = 24
MAX_BYTES = 16 << 20
#: What brings an artifact that is missing: not every repository has a DVC remote.
FETCH = "`dvc pull` (where a DVC remote is set up) or `dvc repro`"
#: A row of the curve, by its columns; None for a number that is not finite.
CurvePoint = dict[str, float | None]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Trace:
    """A run's curve, thinned, and its telemetry; the digests are of the whole files, None where one is missing."""

    points: list[CurvePoint]
    rows: int
    curve_sha256: str | None
    telemetry: Mapping[str, object]
    telemetry_sha256: str | None
    problem: str = ""


def _number(text: str) -> float | None:
    value = float(text or "nan")  # a trainer that is not this project's prints what it likes
    return value if math.isfinite(value) else None


def _thin(rows: list[Item]) -> list[Item]:
    """At most `MOST_POINTS` of the rows, closer where a loss falls steeply; the first and the last among them."""
    if len(rows) <= MOST_POINTS:
        return rows
    places = (round((n / (MOST_POINTS - 1)) ** 1.5 * (len(rows) - 1)) for n in range(MOST_POINTS))
    return [rows[place] for place in dict.fromkeys(places)]


def _point(header: list[str], row: list[str]) -> CurvePoint:
    values = dict(zip_longest(header, row[: len(header)], fillvalue=""))
    return {key: _number(values[key]) for key in COLUMNS}


def _read(path: Path) -> bytes | None:
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        return None
    return path.read_bytes()


def read_trace(root: Path, run: str) -> Trace:
    """The trace of a run under `root`."""
    data = _read(root / names.trace_path(run) / "curve.csv")
    problem, points, count = "", [], 0
    if data is None:
        problem = f"{names.trace_path(run).as_posix()}/curve.csv is missing; {FETCH} brings it"
    else:
        try:
            header, *rows = list(csv.reader(io.StringIO(data.decode("utf-8")))) or [[]]
            rows = list(filter(None, rows))
            count = len(rows)
            points = [_point(header, row) for row in _thin(rows)]
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            problem = f"{names.trace_path(run).as_posix()}/curve.csv is no curve: {type(error).__name__}: {error}"
            points = []
    telemetry = _read(root / names.telemetry_path(run))
    digests = [None if part is None else files.sha256_bytes(part) for part in (data, telemetry)]
    return Trace(points, count, digests[0], parse_telemetry(telemetry), digests[1], problem)


def read_telemetry(root: Path, run: str) -> Mapping[str, object]:
    """A run's telemetry under `root`, as `parse_telemetry` takes it."""
    return parse_telemetry(_read(root / names.telemetry_path(run)))


def parse_telemetry(data: bytes | None) -> Mapping[str, object]:
    """What the file holds. It is for people and read by no rule: what is not a JSON object is shown as absent."""
    try:
        value = json.loads(data or b"null")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
