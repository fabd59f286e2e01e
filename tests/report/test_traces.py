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
