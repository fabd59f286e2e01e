"""Curves and telemetry: what is absent or unreadable is said, and never made up."""

from __future__ import annotations

import json
import math
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report import labels, machines, traces
from report.pages import runs
from report.traces import FETCH, read_telemetry, read_trace
from stages.domain import files, names
from stages.dvcfiles import telemetry
from tests.support.fuzzing import budget

RUN = "rung1/a/b/1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "artifacts" / "traces" / RUN
    found.mkdir(parents=True)
    return found


def test_no_trace_is_told_with_the_remedy(tmp_path: Path) -> None:
    trace = read_trace(tmp_path, RUN)
    assert (trace.points, trace.curve_sha256, trace.telemetry) == ([], None, {})
    assert trace.problem == f"artifacts/traces/rung1/a/b/1/curve.csv is missing; {FETCH} brings it"


def test_a_curve_without_its_columns_is_no_curve(tmp_path: Path, folder: Path) -> None:
    (folder / "curve.csv").write_text("step,loss\n1,2\n", encoding="utf-8")
    trace = read_trace(tmp_path, RUN)
    assert trace.points == []
    assert "is no curve: KeyError" in trace.problem
    assert trace.curve_sha256 is not None


def test_a_loss_that_is_no_number_is_a_gap(tmp_path: Path, folder: Path) -> None:
    (folder / "curve.csv").write_text(
        "step,tokens,seconds,train_loss,lr_factor\n1,2,0.1,nan,1\n2,4,0.2,3.5,1\n", encoding="utf-8"
    )
    assert [one["train_loss"] for one in read_trace(tmp_path, RUN).points] == [None, 3.5]


@pytest.mark.parametrize("data", [b"[1]", b"{", b"\xff", b"null"])
def test_a_telemetry_that_is_no_object_reads_as_absent(tmp_path: Path, data: bytes) -> None:
    files.write_whole(tmp_path / names.telemetry_path(RUN), data)
    assert read_telemetry(tmp_path, RUN) == {}


#: Keys that the pages treat in a way of their own.
KEYS = st.sampled_from(["value_layers", "train_seconds", "mfu", "peak_memory_bytes", "tokens_per_second", "seed",
                        "model_flops_per_second", "val_bpb", "segments", "machine", "hostname", "system", "cpu"])  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(10**20, 10**400) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(KEYS | st.text(max_size=3), VALUES, max_size=5))
@budget(300)
def test_whatever_a_telemetry_holds_can_be_shown(content: dict[str, object]) -> None:
    value = telemetry.parse(json.dumps(content).encode())
    for label, text in labels.pairs(runs._telemetry(value)):
        assert f"{label}: {text}".encode()
    machine, torch = machines._report(value)
    assert isinstance(str(machine), str) and isinstance(torch, str)


@given(st.binary(max_size=120) | st.lists(st.sampled_from(
    [b"step,tokens,seconds,train_loss,lr_factor\n", b"1,2,0.1,3.5,1\n", b"nan,inf,,1e999,x\n", b'"', b",", b"\r", b"\0",
     b"9" * 400, b"\xff", b"\n\n"]), max_size=6).map(b"".join))  # fmt: skip
@budget(300)
def test_whatever_a_curve_holds_is_read_as_points_or_called_no_curve(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files.write_whole(Path(folder) / names.trace_path(RUN) / "curve.csv", data)
        trace = read_trace(Path(folder), RUN)
    assert not (trace.points and trace.problem)
    assert all(value is None or math.isfinite(value) for point in trace.points for value in point.values())
    assert runs.curve_table(trace, RUN, "wall", "nats") and runs.curve_figure(trace, "wall", "nats")


def test_a_curve_as_large_as_one_may_be_is_read_in_bounded_memory(tmp_path: Path, folder: Path) -> None:
    """256 MB over the size of the file, which is 16 MB of the shortest rows."""
    head, row = b"step,tokens,seconds,train_loss,lr_factor\n", b"1,1,1,1,1\n"
    rows = (traces.MAX_BYTES - len(head)) // len(row) // 8
    (folder / "curve.csv").write_bytes(head + row * rows)
    tracemalloc.start()
    try:
        trace = read_trace(tmp_path, RUN)
        assert tracemalloc.get_traced_memory()[1] < (256 << 20) // 8
    finally:
        tracemalloc.stop()
    assert (trace.rows, len(trace.points)) == (rows, traces.MOST_POINTS)


def test_a_curve_is_thinned_and_keeps_its_first_and_last_point(tmp_path: Path, folder: Path) -> None:
    lines = "".join(f"{n},{n},{n},{n},1\n" for n in range(100))
    (folder / "curve.csv").write_text(f"step,tokens,seconds,train_loss,lr_factor\n{lines}", encoding="utf-8")
    trace = read_trace(tmp_path, RUN)
    steps = [point["step"] for point in trace.points]
    assert trace.rows == 100 and len(steps) == traces.MOST_POINTS
    assert (steps[0], steps[-1]) == (0, 99) and steps == sorted(set(steps))
    assert steps[1] - steps[0] < steps[-1] - steps[-2], "closer where a loss falls steeply"


def test_a_curve_as_a_table_counts_in_whole_numbers_and_says_what_is_absent(tmp_path: Path, folder: Path) -> None:
    (folder / "curve.csv").write_text(
        "step,tokens,seconds,train_loss,lr_factor\n0,0,0.0,5.5,1.0\n1,128,0.123456789,,0.5\n", encoding="utf-8"
    )
    table = runs.curve_table(read_trace(tmp_path, RUN), RUN, "rated clock", "nats")
    assert table.values == [[0, 0, 0.0, 5.5, 1.0], [1, 128, 0.123457, None, 0.5]]
    assert [type(value) for value in table.values[1][:2]] == [int, int]


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        (0, []),
        (24, list(range(24))),
        (100, [0, 1, 3, 5, 7, 10, 13, 17, 20, 24, 28, 33, 37, 42, 47, 52, 57, 63, 69, 74, 80, 86, 93, 99]),
    ],
)
def test_points_are_closer_at_the_beginning(rows: int, kept: list[int]) -> None:
    assert sorted(traces._places(rows)) == kept
    assert len(traces._places(25)) == 21


def test_a_file_is_read_up_to_its_limit_and_not_beyond(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert traces._read(path) is None and traces._read(tmp_path) is None
    path.write_bytes(b"1234")
    assert (traces._read(path, 4), traces._read(path, 3)) == (b"1234", None)
    assert traces.MAX_BYTES == 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("text", "value"), [("", None), ("nan", None), ("-inf", None), ("0", 0.0), (" 1.5 ", 1.5), ("-2", -2.0)]
)
def test_a_number_of_a_curve_is_finite_or_absent(text: str, value: float | None) -> None:
    assert traces._number(text) == value


def test_columns_stand_in_any_order_and_a_row_may_end_early(tmp_path: Path, folder: Path) -> None:
    data = b"train_loss,step,more,tokens,seconds,lr_factor\n3.5,1,x,2,0.5,1\n\n4.5,2\n"
    (folder / "curve.csv").write_bytes(data)
    files.write_whole(tmp_path / names.telemetry_path(RUN), b'{"hostname": "a"}')
    trace = read_trace(tmp_path, RUN)
    nothing = dict.fromkeys(("tokens", "seconds", "lr_factor"))
    assert trace.points == [
        {"step": 1.0, "tokens": 2.0, "seconds": 0.5, "train_loss": 3.5, "lr_factor": 1.0}, {"step": 2.0, "train_loss": 4.5, **nothing},
    ]  # fmt: skip
    assert (trace.rows, trace.problem, trace.telemetry) == (2, "", {"hostname": "a"})
    assert trace.curve_sha256 == files.sha256_bytes(data)
    assert trace.telemetry_sha256 == files.sha256_bytes(b'{"hostname": "a"}')
