"""The tables that are plotted: a row for every ranked configuration and for every mean on two hosts."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from stages.summary.tables import agreement, csv_bytes, paths


def rung(number: int, ranked: dict[str, Any], candidates: Any = None, stopped: Any = None, last: bool = False) -> Any:
    means = {name: Fraction(mean) for name, mean in ranked.items()}
    evidence = SimpleNamespace(mean=means.get) if ranked else None
    return SimpleNamespace(
        name=f"rung{number}", gate=f"gate{number}", candidates=candidates, rank=dict(zip(ranked, (1, 2, 3), strict=False)),
        frozen=SimpleNamespace(budget_seconds=2.0 * number, last=last), evidence=evidence,
        decision=None if stopped is None else SimpleNamespace(stopped=stopped),
    )  # fmt: skip


def ladder(*rungs: Any, winner: str | None = None) -> Any:
    return SimpleNamespace(rungs=rungs, winner=winner)


def test_a_table_has_a_head_and_lf_line_ends_and_quotes_what_needs_it():
    assert csv_bytes(("a", "b"), [(1, None), ("x,y", 'é"')]) == 'a,b\n1,\n"x,y","é"""\n'.encode()
    assert csv_bytes(("a",), []) == b"a\n"


FIRST = {"c": 1.5, "a": 1.75, "b": 2.0}
HEAD = "config,rung,budget_seconds,rank,mean,fate\n"


@pytest.mark.parametrize(
    ("rungs", "winner", "rows"),
    [
        ([rung(1, FIRST, "abc")], None, "a,rung1,2.0,2,1.75,going on\nb,rung1,2.0,3,2.0,going on\nc,rung1,2.0,1,1.5,going on\n"),
        (
            [rung(1, FIRST, "abc", "b"), rung(2, {"a": 1.25}, "ac", (), last=True)],
            None,
            "a,rung1,2.0,2,1.75,last rung\nb,rung1,2.0,3,2.0,stopped at gate1\nc,rung1,2.0,1,1.5,last rung\n"
            "a,rung2,4.0,1,1.25,last rung\n",
        ),
        (
            [rung(1, FIRST, "abc", "b"), rung(2, {"a": 1.25}, "ac", "ac", last=True)],
            "a",
            "a,rung1,2.0,2,1.75,winner\nb,rung1,2.0,3,2.0,stopped at gate1\nc,rung1,2.0,1,1.5,last rung\n"
            "a,rung2,4.0,1,1.25,winner\n",
        ),
        (
            [rung(1, {"a": 1.5}, "ab", ("b",)), rung(2, {}, None, None, last=True)],
            None,
            "a,rung1,2.0,1,1.5,going on\n",
        ),
    ],
)  # fmt: skip
def test_the_way_of_each_configuration_ends_where_it_was_stopped(rungs, winner, rows):
    assert paths(ladder(*rungs, winner=winner)).decode() == HEAD + rows


def test_a_mean_that_one_host_of_a_pair_lacks_is_no_point():
    pairs = [SimpleNamespace(hosts=hosts) for hosts in (["g", "h"], ["g", "i"])]
    means = {
        "a": {"g": 1.0, "h": 2.0, "i": 3.0},
        "b": {"g": 1.5, "h": None, "i": 2.5},
        "c": {"g": None, "h": 1.0, "i": 1.0},
    }
    summary: Any = SimpleNamespace(rungs={"rung1": SimpleNamespace(pairs=pairs, means=means)})
    assert agreement(summary) == (
        b"rung,hosts,config,first,second\nrung1,g and h,a,1.0,2.0\nrung1,g and i,a,1.0,3.0\nrung1,g and i,b,1.5,2.5\n"
    )
