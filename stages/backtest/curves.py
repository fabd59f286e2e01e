"""Reads learning curves from a CSV and its map, and checks them; every error names its line.

    read_curves(Path("curves.csv"), load_map(Path("map.yaml")), "map.yaml")

Values are stored as whole millionths (rounded half-even) with lower as better, so that the replay is exact. Rejected
with their line: a value that is no number; a zero, which is a crash logged as a loss; mixed units; a repeated row; one
run under two ids; points of one run declared as separate runs. `pools` rejects missing seeds.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from statistics import median

from stages.backtest.mapping import CurveMap
from stages.domain import files
from stages.domain.errors import Invalid

MAX_BYTES = 256 << 20
MAX_FIELD = 10_000
MAX_ROWS = 2_000_000
MAX_CONFIGS = 2_000
MAX_NAME = 200
MAX_PROBLEMS = 20
#: One unit of the whole numbers that values are kept as.
SCALE = 10**6
LARGEST = 10**6
FINISHED, DIVERGED, FAILED, ABSENT = 0, 1, 2, 3
STATES = {"finished": FINISHED, "diverged": DIVERGED, "failed": FAILED}
#: Factors between units that are confused: nats and bits, fractions and per cent, seconds and minutes or hours, kilo.
FACTORS = (1.4426950408889634, 60.0, 100.0, 1000.0, 3600.0)
NEAR = 0.01
#: Decimal itself would take `1_000`, `nan` and the digits of every script.
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
MAX_NUMBER = 60


@dataclass(frozen=True)
class RecordedPoint:
    """One row: `value` in millionths, lower is better; None unless the run finished. `cost` is up to this row."""

    budget: float
    value: int | None
    state: int
    cost: float
    line: int


@dataclass
class CurveRun:
    """One run: its rows by budget, in order."""

    config: str
    host: str
    seed: str
    points: dict[float, RecordedPoint] = field(default_factory=dict)
    scheduled: set[float] = field(default_factory=set)
    #: What the CSV says of the run beyond the mapped columns, of its first row.
    rest: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """config/host/seed, or config/seed where no host is declared."""
        return "/".join(part for part in (self.config, self.host, self.seed) if part)

    @property
    def first_line(self) -> int:
        """The line of its first row."""
        return min(point.line for point in self.points.values())

    @property
    def last(self) -> RecordedPoint:
        """The row at the largest budget."""
        return self.points[max(self.points)]


@dataclass(frozen=True)
class Curves:
    """Validated curves. `hosts` is one empty name where none is declared or hosts are not crossed."""

    path: str
    sha256: str
    configs: tuple[str, ...]
    hosts: tuple[str, ...]
    #: Why agreement between hosts says nothing here; empty where it does.
    hosts_note: str
    runs: tuple[CurveRun, ...]
    sign: int
    has_status: bool
    has_cost: bool


class _Problems:
    """What is wrong, line by line, until there is too much of it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lines: list[tuple[int, str]] = []

    def add(self, line: int, message: str) -> None:
        """Note a problem of a line."""
        self._lines.append((line, message))

    def refuse(self) -> None:
        """Raise `Invalid` if there was a problem."""
        if not self._lines:
            return
        shown = [f"{self._path}, line {line}: {message}" for line, message in sorted(self._lines)[:MAX_PROBLEMS]]
        more = len(self._lines) - len(shown)
        raise Invalid("\n".join([*shown, *([f"{self._path}: and {more} more lines that are wrong"] if more else [])]))


def read_curves(path: Path, curve_map: CurveMap, map_path: str = "map.yaml") -> Curves:
    """The curves of a CSV. Raises `Invalid` with one line for each problem, at most `MAX_PROBLEMS` of them."""
    where = path.as_posix()
    if not path.is_file():
        raise Invalid(f"{where} is missing; name a CSV file of learning curves")
    if path.stat().st_size > MAX_BYTES:
        raise Invalid.at(where, f"{path.stat().st_size} bytes, expected at most {MAX_BYTES}")
    data = path.read_bytes()
    problems = _Problems(where)
    runs = _runs(_rows(data, where), curve_map, where, problems)
    problems.refuse()
    _check_excluded(runs, curve_map, map_path)
    kept = [run for run in runs.values() if run.config not in curve_map.exclude]
    if len({run.config for run in kept}) < 2:
        raise Invalid.at(where, "fewer than two configurations, expected something to choose from")
    if (many := len({run.config for run in kept})) > MAX_CONFIGS:
        raise Invalid.at(where, f"found {many} configurations, expected at most {MAX_CONFIGS}")
    for check in (_check_prefix, _check_copies, _check_units):
        check(kept, curve_map, problems)
    problems.refuse()
    hosts, note = _hosts(kept, curve_map)
    return Curves(
        where,
        files.sha256_bytes(data),
        tuple(sorted({run.config for run in kept})),
        hosts,
        note,
        tuple(sorted(kept, key=lambda run: (run.config, run.host, _seed_order(run.seed)))),
        1 if curve_map.value.direction == "lower" else -1,
        curve_map.columns.status is not None,
        curve_map.columns.cost is not None,
    )


def _seed_order(seed: str) -> tuple[int, int, str]:
    return (0, int(seed), "") if seed.isdecimal() and len(seed) < 19 else (1, 0, seed)


def _rows(data: bytes, where: str) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of every row, the header first."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Invalid.at(f"{where}, line {line}", f"not UTF-8 at byte {error.start}") from None
    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for count, fields in enumerate(reader):
            if count > MAX_ROWS:
                raise Invalid.at(f"{where}, line {reader.line_num}", f"more rows than the {MAX_ROWS} that are read")
            yield reader.line_num, fields
    except csv.Error as error:
        raise Invalid.at(f"{where}, line {reader.line_num}", f"not CSV: {error}") from None


def _runs(
    rows: Iterator[tuple[int, list[str]]], curve_map: CurveMap, where: str, problems: _Problems
) -> dict[tuple[str, str, str], CurveRun]:
    _, header = next(rows, (0, []))
    places = _places(header, curve_map, where)
    mapped = set(places.values())
    runs: dict[tuple[str, str, str], CurveRun] = {}
    for line, fields in rows:
        if len(fields) != len(header):
            problems.add(line, f"found {len(fields)} fields, expected {len(header)} as in the header")
            continue
        cell = {name: fields[place].strip() for name, place in places.items()}
        empty = [name for name in ("config", "seed", "host") if name in cell and not cell[name]]
        if empty:
            problems.add(line, f"found an empty {empty[0]} (column {header[places[empty[0]]]!r}), expected a name")
            continue
        strange = [name for name in ("config", "seed", "host") if name in cell and not _is_name(cell[name])]
        if strange:
            problems.add(
                line, f"found {cell[strange[0]][:40]!r}, expected a {strange[0]} of printable text, at most {MAX_NAME}"
            )
            continue
        key = (cell["config"], cell.get("host", ""), cell["seed"])
        if key not in runs:
            rest = tuple(text for place, text in enumerate(fields) if place not in mapped)
            runs[key] = CurveRun(*key, rest=rest)
        if cell["config"] in curve_map.exclude:
            continue
        _add_point(runs[key], cell, line, curve_map, problems)
    return runs


def _is_name(text: str) -> bool:
    return len(text) <= MAX_NAME and text.isprintable()


def _places(header: list[str], curve_map: CurveMap, where: str) -> dict[str, int]:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise Invalid.at(f"{where}, line 1", f"column {twice[0]!r} stands twice in the header, expected it once")
    places: dict[str, int] = {}
    for name, column in curve_map.columns.model_dump().items():
        if column is None:
            continue
        if column not in header:
            raise Invalid.at(
                f"{where}, line 1", f"found columns {', '.join(header)[:300]}, expected {column!r} (columns.{name})"
            )
        places[name] = header.index(column)
    return places


def _number(text: str) -> Decimal | None:
    if len(text) > MAX_NUMBER or _NUMBER.fullmatch(text) is None:
        return None
    number = Decimal(text)
    return number if abs(number.adjusted()) < 30 else None


def _add_point(run: CurveRun, cell: dict[str, str], line: int, curve_map: CurveMap, problems: _Problems) -> None:
    budget, state = _number(cell["budget"]), STATES.get(cell.get("status", "finished"))
    cost = _number(cell["cost"]) if "cost" in cell else budget
    scheduled = _number(cell["scheduled"]) if "scheduled" in cell else None
    if budget is None or budget < 0:
        problems.add(line, f"budget: found {cell['budget']!r}, expected a number of at least 0")
    elif cost is None or cost < 0:
        problems.add(line, f"cost: found {cell['cost']!r}, expected device-seconds")
    elif "scheduled" in cell and (scheduled is None or scheduled < budget):
        problems.add(line, f"scheduled: found {cell['scheduled']!r}, expected at least the budget, {budget}")
    elif state is None:
        problems.add(line, f"status: found {cell['status']!r}, expected one of {', '.join(STATES)}")
    elif cell.get("unit", curve_map.value.unit) != curve_map.value.unit:
        unit = curve_map.value.unit
        problems.add(
            line, f"unit: found {cell['unit']!r}, expected {unit!r} as the map declares; mixed units are refused"
        )
    elif float(budget) in run.points:
        earlier = run.points[float(budget)].line
        problems.add(line, f"{run.id} at {budget} stands in line {earlier} already, expected each row once")
    else:
        value = _value(cell["value"], state, line, curve_map, problems)
        run.points[float(budget)] = RecordedPoint(float(budget), value, state, float(cost), line)
        if scheduled is not None:
            run.scheduled.add(float(scheduled))


def _value(text: str, state: int, line: int, curve_map: CurveMap, problems: _Problems) -> int | None:
    """The value in millionths, lower is better. A run that did not finish has none."""
    if state != FINISHED:
        if text:
            problems.add(line, f"value: found {text!r}, expected nothing, since the run did not finish")
        return None
    number = _number(text)
    if number is None:
        advice = "a run that did not finish is told by a status column (columns.status), or left out with `exclude`"
        problems.add(line, f"value: found {text!r}, expected a number; {advice}")
        return None
    if number == 0:
        advice = "say `diverged` or `failed` in a status column (columns.status) and leave the value empty"
        problems.add(line, f"value: found {text}, expected a value: a crash logged as zero reads as the best; {advice}")
        return None
    if abs(number) >= LARGEST:
        problems.add(line, f"value: found {text}, expected a number between -{LARGEST} and {LARGEST}")
        return None
    whole = int((number * SCALE).to_integral_value())
    return whole if curve_map.value.direction == "lower" else -whole


def _check_excluded(runs: dict[tuple[str, str, str], CurveRun], curve_map: CurveMap, map_path: str) -> None:
    present = {run.config for run in runs.values()}
    for name in curve_map.exclude:
        if name not in present:
            raise Invalid.at(map_path, f"found {name!r}, expected a configuration of the curves", "exclude")
    for role, name in curve_map.roles.items():
        if name not in present or name in curve_map.exclude:
            raise Invalid.at(map_path, f"found {name!r}, expected a configuration that is kept", f"roles.{role}")


def _check_prefix(runs: Iterable[CurveRun], curve_map: CurveMap, problems: _Problems) -> None:
    """A row before the end of its run is a prefix of a long run, whatever the map says."""
    if curve_map.budget.prefix:
        return
    for run in runs:
        points = sorted(run.points.values(), key=lambda point: point.budget)
        early = [point for point in points if run.scheduled and point.budget < max(run.scheduled)]
        if curve_map.columns.scheduled is not None and len(run.scheduled) == 1 and early:
            end = max(run.scheduled)
            problems.add(
                early[0].line,
                f"{run.id} at {early[0].budget:g} of {end:g}: a prefix of a longer run and no separate short run; "
                "say `prefix: true` under `budget`, and every figure will say so",
            )
        elif curve_map.columns.scheduled is None and len(points) > 1:
            problems.add(
                points[1].line,
                f"{run.id} at {points[1].budget:g} and in line {points[0].line} at {points[0].budget:g}: rows of one "
                "run are a prefix of it; say `prefix: true` under `budget`, or, where each budget was trained anew, "
                "name the column that says so for each row (columns.scheduled)",
            )


def _check_copies(runs: Iterable[CurveRun], curve_map: CurveMap, problems: _Problems) -> None:
    """One run under two ids: equal at every budget that both have. A start that all runs share proves nothing."""
    seen: dict[tuple[object, ...], list[CurveRun]] = defaultdict(list)
    for run in runs:
        points = sorted((p.budget, p.value) for p in run.points.values() if p.budget > 0 and p.value is not None)
        if len(points) < 2 and not (points and any(run.rest)):
            continue
        key = (*points[:2], *(run.rest if len(points) < 2 else ()))
        twin = next((other for other in seen[key] if _same(run, other)), None)
        if twin is not None:
            problems.add(
                run.first_line,
                f"{run.id} repeats {twin.id} (line {twin.first_line}) value for value: one run under two ids; "
                "remove one, or leave the configuration out with `exclude`",
            )
        seen[key].append(run)


def _same(run: CurveRun, other: CurveRun) -> bool:
    common = run.points.keys() & other.points.keys()
    return bool(common) and all(run.points[budget].value == other.points[budget].value for budget in common)


def _check_units(runs: list[CurveRun], curve_map: CurveMap, problems: _Problems) -> None:
    """A value that is off its own configuration by the factor between two units. A unit column settles it instead."""
    if curve_map.columns.unit is not None:
        return
    groups: dict[tuple[str, float], list[RecordedPoint]] = defaultdict(list)
    for run in runs:
        for point in run.points.values():
            if point.value is not None:
                groups[run.config, point.budget].append(point)
    for (config, budget), points in groups.items():
        middle = median(abs(point.value or 0) for point in points)
        for point in points:
            ratio = abs(point.value or 0) / middle if middle else 1.0
            factor = next((f for f in FACTORS if abs(ratio / f - 1) < NEAR or abs(ratio * f - 1) < NEAR), None)
            if factor is not None and len(points) > 2:
                problems.add(
                    point.line,
                    f"value: {abs(point.value or 0) / SCALE:g} is {ratio:.4g} times the median of {config} at "
                    f"{budget:g}, the factor between two units ({factor:.4g}): mixed units? Correct it, or name a "
                    "column that gives the unit of each row (columns.unit)",
                )


def _hosts(runs: list[CurveRun], curve_map: CurveMap) -> tuple[tuple[str, ...], str]:
    """The hosts, if every configuration was run on each of them; else one block, and why."""
    if curve_map.columns.host is None:
        return ("",), "agreement: not evaluable: the map declares no host"
    of: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        of[run.config].add(run.host)
    hosts = sorted({run.host for run in runs})
    if len(hosts) == 1:
        return ("",), f"agreement: not evaluable: there is one host only, {hosts[0]}"
    crossed = sum(1 for name in of if len(of[name]) == len(hosts))
    if crossed == len(of):
        return tuple(hosts), ""
    return ("",), (
        f"agreement: not evaluable: hosts ({', '.join(hosts)}) are not crossed with configurations, {crossed} of "
        f"{len(of)} ran on all of them; all runs count as one block, and a difference between hosts stands in for one "
        "between configurations"
    )
