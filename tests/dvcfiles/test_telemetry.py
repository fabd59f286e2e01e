"""Telemetry comes from other machines: whatever a file holds, it is read within bounds, or as absent."""

from __future__ import annotations

import json
import tracemalloc
from contextlib import chdir
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.domain import canonical, files, names
from stages.dvcfiles import telemetry
from tests.support.fuzzing import budget

RUN, RECORD = "rung1/a/b/1", "0" * 32
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
#: What JSON leaves open, and Python reads.
OPEN = ["NaN", "-Infinity", "1e999", "9" * 400, r'"\ud800"', r'{"\udfff": 1}', '{"a": 1, "a": 2}', "[" * 70 + "]" * 70]


@given(st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
@budget(200)
def test_any_bytes_are_a_telemetry_that_can_be_written_again_or_read_as_absent(data):
    value = telemetry.parse(data)
    assert canonical.loads(canonical.dumps(value)) == value
    if value:
        assert json.loads(data) == value, "what is read is what JSON says"


@pytest.mark.parametrize("text", OPEN)
def test_what_json_leaves_open_reads_as_absent(text):
    assert telemetry.parse(f'{{"device": "cpu", "x": {text}}}'.encode()) == {}


@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=4))
@budget(60)
def test_what_a_run_keeps_is_read_again_by_its_record_alone(tmp_path_factory, content):
    with chdir(tmp_path_factory.mktemp("study")):
        data = telemetry.dumps(RUN, RECORD, content)
        telemetry.store(RECORD, data)
        assert telemetry.read(RUN, RECORD) == telemetry.parse(data)
        assert telemetry.read(RUN, "1" * 32) == telemetry.read("rung1/a/b/2", RECORD) == {}


@pytest.mark.parametrize("piece", [b"[],", b'"a",', b"1,", b"[", b'{"a":'])
def test_a_telemetry_as_large_as_one_may_be_is_read_in_bounded_memory(tmp_path, piece):
    """256 MB over the size of the file."""
    count = (telemetry.MAX_BYTES - 20) // len(piece)
    data = b'{"x":[' + (piece * count).rstrip(b",") + b"]}"
    assert len(data) <= telemetry.MAX_BYTES
    with chdir(tmp_path):
        telemetry.store(RECORD, data)
        tracemalloc.start()
        try:
            telemetry.read(RUN, RECORD)
            assert tracemalloc.get_traced_memory()[1] < (256 << 20) + len(data)
        finally:
            tracemalloc.stop()


def test_a_telemetry_that_is_too_large_is_absent(tmp_path: Path):
    with chdir(tmp_path):
        data = telemetry.dumps(RUN, RECORD, {"x": "y" * telemetry.MAX_BYTES})
        telemetry.store(RECORD, data)
        files.write_whole(names.telemetry_path(RUN), data)
        assert telemetry.read(RUN, RECORD) == {}
        telemetry.gather([(RUN, RECORD)])
        assert not names.telemetry_path(RUN).exists(), "what is not here stays absent"


def test_a_telemetry_names_its_run_and_record_and_is_kept_in_the_run_cache(tmp_path):
    data = telemetry.dumps(RUN, RECORD, {"b": 1.5, "a": {"y": "é", "x": []}})
    assert (
        data
        == (
            '{\n "a": {\n  "x": [],\n  "y": "\\u00e9"\n },\n "b": 1.5,\n'
            f' "record": "{RECORD}",\n "run": "{RUN}",\n "schema": 1\n}}\n'
        ).encode()
    )
    assert telemetry.stored_path(RECORD, tmp_path) == tmp_path / ".dvc/cache/runs/telemetry" / f"{RECORD}.json"
    assert [telemetry.parse(text) for text in (None, b"", b"null", b"[1]", b"{", b'{"a": 1}')] == [{}] * 5 + [{"a": 1}]


def test_of_the_same_run_what_it_kept_counts_and_else_what_was_gathered(tmp_path):
    kept, gathered = (telemetry.dumps(RUN, RECORD, {"x": x}) for x in (1, 2))
    with chdir(tmp_path):
        files.write_whole(names.telemetry_path(RUN), gathered)
        assert telemetry.read(RUN, RECORD)["x"] == 2
        telemetry.store(RECORD, telemetry.dumps("rung1/a/b/9", RECORD, {}))
        assert telemetry.read(RUN, RECORD)["x"] == 2, "another run's is passed over"
        telemetry.store(RECORD, kept)
        assert telemetry.read(RUN, RECORD) == {"x": 1, "schema": 1, "run": RUN, "record": RECORD}


def test_what_is_gathered_is_that_of_the_runs_named_and_the_folder_stands_even_when_empty(tmp_path):
    other = "rung1/a/b/2"
    with chdir(tmp_path):
        telemetry.gather([])
        assert list(names.TELEMETRY.iterdir()) == []
        data = telemetry.dumps(RUN, RECORD, {})
        telemetry.store(RECORD, data)
        files.write_whole(names.telemetry_path(other), telemetry.dumps(other, RECORD, {}))
        telemetry.gather([(RUN, RECORD), ("rung1/a/b/3", "1" * 32)])
        assert {path.as_posix(): path.read_bytes() for path in names.TELEMETRY.rglob("*.json")} == {
            names.telemetry_path(RUN).as_posix(): data
        }


def test_a_telemetry_of_exactly_the_limit_is_read_and_one_byte_more_is_absent(tmp_path, monkeypatch):
    data = telemetry.dumps(RUN, RECORD, {})
    with chdir(tmp_path):
        telemetry.store(RECORD, data)
        monkeypatch.setattr(telemetry, "MAX_BYTES", len(data))
        assert telemetry.read(RUN, RECORD) == json.loads(data)
        monkeypatch.setattr(telemetry, "MAX_BYTES", len(data) - 1)
        assert telemetry.read(RUN, RECORD) == {}
