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
    assert b"".join(sorted(promotions.dumps(held).splitlines(True))) == b"".join(sorted(data.splitlines(True)))


@pytest.mark.parametrize("data", [b"a: yes\n", b"a: true", b"a: true\na: true\n", b"../a: true\n", b"a: true\r\n"])
def test_a_line_that_no_gate_wrote_is_refused(data):
    with pytest.raises(promotions.BadTickets):
        promotions.loads(data)
