"""Curves of runs, as their traces hold them, and their telemetry. What is absent or unreadable reads as missing."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.domain import files, names
from stages.dvcfiles import telemetry

COLUMNS = ("step", "tokens", "seconds", "train_loss", "lr_factor")
#: Points that a page and its files carry; the whole curve is the trace's, whose digest the page names.
MOST_POINTS = 24
MAX_BYTES = 16 << 20
#: What brings an artifact that is missing: not every repository has a DVC remote.
FETCH = "`dvc pull` (where a DVC remote is set up) or `dvc repro`"
#: A row of the curve, by its columns; None for a number that is not finite.
CurvePoint = dict[str, float | None]


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


def _places(rows: int) -> frozenset[int]:
    """At most `MOST_POINTS` of so many rows, closer where a loss falls steeply; the first and the last among them."""
    if rows <= MOST_POINTS:
        return frozenset(range(rows))
    return frozenset(round((n / (MOST_POINTS - 1)) ** 1.5 * (rows - 1)) for n in range(MOST_POINTS))


def _rows(data: bytes) -> tuple[list[str], Iterator[list[str]]]:
    """The header and the rows, one at a time: as a list, those of a large file take sixty times as much memory."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(data), "utf-8", newline=""))
    return next(reader, []), filter(None, reader)


def _point(columns: dict[str, int], row: list[str]) -> CurvePoint:
    """`columns`: the place of each by its name. A row that ends early has nothing there."""
    return {key: _number(row[columns[key]] if columns[key] < len(row) else "") for key in COLUMNS}


def _read(path: Path, most: int = MAX_BYTES) -> bytes | None:
    if not path.is_file() or path.stat().st_size > most:
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
            count = sum(1 for _ in _rows(data)[1])
            places, (header, rows) = _places(count), _rows(data)
            columns = {key: place for place, key in enumerate(header)}
            points = [_point(columns, row) for place, row in enumerate(rows) if place in places]
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            problem = f"{names.trace_path(run).as_posix()}/curve.csv is no curve: {type(error).__name__}: {error}"
            points = []
    measured = _read(root / names.telemetry_path(run), telemetry.MAX_BYTES)
    digests = [None if part is None else files.sha256_bytes(part) for part in (data, measured)]
    return Trace(points, count, digests[0], telemetry.parse(measured), digests[1], problem)


def read_telemetry(root: Path, run: str) -> Mapping[str, object]:
    """A run's telemetry under `root`, as `stages.dvcfiles.telemetry` reads it."""
    return telemetry.parse(_read(root / names.telemetry_path(run), telemetry.MAX_BYTES))
