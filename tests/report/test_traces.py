"""Curves and telemetry: what is absent or unreadable is said, and never made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from report.traces import FETCH, read_telemetry, read_trace
from stages.domain import files, names

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
