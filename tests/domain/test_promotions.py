"""Promotions: the tickets that a gate hands out, read back as written; no other bytes are tickets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.domain import promotions

names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True)


@given(st.dictionaries(names, st.sampled_from(["true", "false", "what-if"])))
def test_tickets_read_back_as_written(held):
    assert promotions.loads(promotions.dumps(held)) == held


@given(st.binary(max_size=60))
def test_any_other_bytes_are_no_tickets(data):
    try:
        held = promotions.loads(data)
    except promotions.BadTickets:
        return
    assert promotions.loads(promotions.dumps(held)) == held


@pytest.mark.parametrize(
    "data",
    [
        b"a: true\n", b"{}\n", b'{"schema":1}\n', b'{"schema":2,"tickets":{}}\n', b'{"schema":1,"tickets":[]}\n',
        b'{"schema":1,"tickets":{"a":"true"}}\n', b'{"schema":1,"tickets":{"a":1}}\n',
        b'{"schema":1,"tickets":{"a":true,"a":true}}\n', b'{"schema":1,"tickets":{"../a":true}}\n',
        b'{"schema":1,"tickets":{"a":true}',
    ],
)  # fmt: skip
def test_a_file_that_no_gate_wrote_is_refused(data):
    with pytest.raises(promotions.BadTickets):
        promotions.loads(data)


def test_tickets_of_exactly_the_limit_are_read_and_one_byte_more_is_refused(monkeypatch):
    data = promotions.dumps({"a": "true"})
    monkeypatch.setattr(promotions, "MAX_BYTES", len(data))
    assert promotions.loads(data) == {"a": "true"}
    monkeypatch.setattr(promotions, "MAX_BYTES", len(data) - 1)
    with pytest.raises(promotions.BadTickets, match=f"{len(data)} bytes, expected at most {len(data) - 1}"):
        promotions.loads(data)


def test_tickets_that_are_missing_say_what_writes_them_and_others_are_read(tmp_path):
    path = tmp_path / "promotions.json"
    with pytest.raises(promotions.BadTickets) as error:
        promotions.read(path)
    assert str(error.value) == f"{path.as_posix()}: is missing; `dvc repro` runs the gate that writes it"
    path.write_bytes(promotions.dumps({"a": "true", "b": "what-if", "c": "false"}))
    assert promotions.read(path) == {"a": "true", "b": "what-if", "c": "false"}
