"""What is drawn from: final values, the arrays of each rung, and everything that the curves lack."""

from __future__ import annotations

import dataclasses

import pytest

from stages.backtest import curves, pools
from stages.backtest.curves import ABSENT, DIVERGED, FINISHED, CurveRun, RecordedPoint
from stages.domain.errors import Invalid
from tests.backtest.curves_csv import COLUMNS, HEADER, curve_map, rows, ruleset, write

TOP = {"R1": {"kind": "top_k", "k": 1}}
TOPS = {"gate1": TOP, "gate2": TOP}
VALUES = {"a": [[3.0, 2.0], [3.1, 2.1]], "b": [[3.2, 2.2], [3.3, 2.3]]}
MORE = {**VALUES, "c": [[3.4, 2.4], [3.5, 2.5]], "d": [[3.6, 2.6], [3.7, 2.7]]}


def arrange(path, lines, header=HEADER, *, seeds=(1, 1), continued=False, hosts=1, **over):
    known, rules = curve_map(**over), dataclasses.replace(ruleset(TOPS, seeds), hosts=hosts)
    found = curves.read_curves(write(path / "c.csv", lines, header), known)
    return pools.arrange(found, known, rules, continued)


def refusal(path, *words, **over):
    with pytest.raises(Invalid) as caught:
        arrange(path, *words, **over)
    return str(caught.value).replace((path / "c.csv").as_posix(), "c.csv")


def run_of(*points: tuple[float, int | None], last: int = FINISHED) -> CurveRun:
    run = CurveRun("a", "", "0")
    for n, (budget, value) in enumerate(points, start=2):
        state = last if n == len(points) + 1 else FINISHED
        run.points[budget] = RecordedPoint(budget, value, state, budget, n)
    return run


REACH = {"kind": "first_reach", "value": 2.5}


@pytest.mark.parametrize(
    ("final", "points", "last", "value"),
    [
        ({"kind": "at_budget", "budget": 2.0}, [(1.0, 30), (2.0, 20)], FINISHED, 20),
        ({"kind": "at_budget", "budget": 3.0}, [(1.0, 30), (2.0, 20)], FINISHED, None),
        ({"kind": "last_budget"}, [(2.0, 20), (1.0, 30)], FINISHED, 20),
        ({**REACH, "unreached": "omit"}, [(2.0, 2_400_000)], FINISHED, 2_000_000),  # its first row is there already
        ({**REACH, "unreached": "omit"}, [(4.0, 2_000_000), (2.0, 3_000_000)], FINISHED, 3_000_000),
        ({**REACH, "unreached": "omit"}, [(2.0, 3_000_000), (4.0, 2_500_000)], FINISHED, 4_000_000),
        ({**REACH, "unreached": "omit"}, [(2.0, 3_000_000), (4.0, 2_500_001)], FINISHED, None),
        ({**REACH, "unreached": "at_end"}, [(2.0, 3_000_000), (4.0, 2_500_001)], FINISHED, 4_000_000),
        ({**REACH, "unreached": "at_end"}, [(2.0, 3_000_000), (4.0, None)], DIVERGED, None),
        ({**REACH, "unreached": "at_end"}, [(2.0, 2_500_000), (4.0, None)], DIVERGED, 2_000_000),
    ],
)  # fmt: skip
def test_what_finally_counts_of_a_run(final, points, last, value):
    assert pools.final_value(run_of(*points, last=last), curve_map(final=final), 1) == value


def test_where_higher_is_better_a_value_is_reached_from_below():
    over = {"final": {**REACH, "unreached": "omit"}, "value": {"unit": "accuracy", "direction": "higher"}}
    assert pools.final_value(run_of((2.0, -2_000_000), (4.0, -3_000_000)), curve_map(**over), -1) == 3_000_000


def test_the_arrays_hold_every_run_padded_with_absent_ones(tmp_path):
    lines = [
        *(f"{line},finished,{n + 0.5}" for n, line in enumerate(rows(VALUES))),
        "b,2,1,,diverged,9",
        "b,2,2,,diverged,9.5",
    ]
    columns = {**COLUMNS, "status": "status", "cost": "cost"}
    found = arrange(tmp_path, lines, f"{HEADER},status,cost", columns=columns)
    pool = found.rungs["rung1"]
    assert pool.values.tolist() == [[[3_000_000, 3_100_000, 0]], [[3_200_000, 3_300_000, 0]]]
    assert pool.state.tolist() == [[[FINISHED, FINISHED, ABSENT]], [[FINISHED, FINISHED, DIVERGED]]]
    assert pool.cost.tolist() == [[[0.5, 2.5, 0.0]], [[4.5, 6.5, 9.0]]]
    assert (pool.count.tolist(), pool.floor, pool.seeds) == ([[2], [3]], 0, 1)
    assert [values.tolist() for values in found.final] == [[2_000_000, 2_100_000], [2_200_000, 2_300_000]]
    assert (found.truth.tolist(), found.unreached) == ([2_050_000.0, 2_250_000.0], 1)


def test_hosts_of_the_rules_are_that_many_seeds_and_floors_of_one_block(tmp_path):
    known = curve_map()
    rules = dataclasses.replace(ruleset(TOPS), hosts=2)
    sizes = {rung: size.model_copy(update={"floor_seeds": 3}) for rung, size in rules.sizes.items()}
    rules = dataclasses.replace(rules, sizes=sizes)
    found = curves.read_curves(write(tmp_path / "c.csv", rows(VALUES)), known)
    assert [(pool.seeds, pool.floor) for pool in pools.arrange(found, known, rules).rungs.values()] == [(2, 6), (2, 6)]
    crossed = dataclasses.replace(found, hosts=("", "other"))
    with pytest.raises(Invalid, match="a has 0 runs on other at rung1"):
        pools.arrange(crossed, known, rules)


def test_a_rung_that_reads_the_end_has_the_final_values_at_the_cost_of_the_whole_run(tmp_path):
    final = {**REACH, "unreached": "omit"}
    values = {"a": [[3.0, 2.0], [2.5, 2.4], [3.0, 2.9]], "b": [[2.4, 2.3], [3.5, 2.5], [3.2, 2.0]]}
    over = {"final": final, "rungs": {"rung1": 1.0, "rung2": "final"}}
    found = arrange(tmp_path, rows(values), **over)
    assert found.rungs["rung2"].values[:, 0].tolist() == [[1_500_000, 1_000_000, 0], [1_000_000, 2_000_000, 1_583_333]]
    assert found.rungs["rung2"].cost[:, 0].tolist() == [[2.0, 2.0, 0.0], [2.0, 2.0, 2.0]]
    assert found.rungs["rung1"].count.tolist() == [[3], [3]]
    followed = arrange(tmp_path, rows(values), continued=True, **over)
    assert followed.rungs["rung1"].count.tolist() == [[2], [3]]  # who has no end is followed from no start


@pytest.mark.parametrize(("last", "good"), [(999_999, True), (1_000_000, False)])
def test_a_final_value_that_is_a_budget_is_below_a_million(tmp_path, last, good):
    lines = [line.replace(",2,", f",{last},") for line in rows(VALUES)]
    over = {"final": {**REACH, "unreached": "omit"}, "rungs": {"rung1": 1.0, "rung2": last}}
    if good:
        found = arrange(tmp_path, lines, **over)
        assert [values.max() for values in found.final] == pytest.approx([600_000_000_000] * 2, rel=0.5)
        return
    assert refusal(tmp_path, lines, **over).startswith("c.csv, line 3: budget: found 1e+06, expected less than 1000000")
    assert arrange(tmp_path, lines, final={"kind": "at_budget", "budget": last}, rungs=over["rungs"]).unreached == 0


def test_a_configuration_needs_two_final_values_and_twenty_are_named(tmp_path):
    two = {"a": [[3.0, 2.0], [3.1, 2.1], [3.15, 2.6]], "b": VALUES["b"]}
    assert len(arrange(tmp_path, rows(two), final={**REACH, "unreached": "omit"}).final[0]) == 2
    many = {f"c{n:02d}": [[3.0 + n / 100, 2.6 + n / 100], [3.001 + n / 100, 2.0 + n / 100]] for n in range(21)}
    messages = refusal(tmp_path, rows(many), final={**REACH, "unreached": "omit"}).splitlines()
    assert len(messages) == 20
    assert messages[-1] == (
        "c.csv, line 78: c19: 1 of its 2 runs have a final value (first_reach), expected at least 2; leave it out with "
        "`exclude`"
    )


def test_runs_that_lack_the_row_of_a_rung_are_named_and_those_beyond_twenty_counted(tmp_path):
    for runs, more in ((20, []), (21, ["c.csv: and 1 more"])):
        lines = [*rows(VALUES), *(f"b,{n},2,{2.4 + n / 100}" for n in range(2, runs + 2))]
        messages = refusal(tmp_path, lines).splitlines()
        assert messages[20:] == more
        assert messages[0] == (
            "c.csv, line 10: b/2 has no row at 1, expected one at the budget of each rung; choose another budget under "
            "`rungs`, or leave the configuration out with `exclude`"
        )


def numbered(**seeds: list[int]) -> list[str]:
    """Rows at two budgets of configurations with these seeds."""
    return [
        f"{name},{seed},{budget},{5 - budget + n / 10 + at / 1000}"
        for n, (name, of) in enumerate(seeds.items())
        for at, seed in enumerate(of)
        for budget in (1, 2)
    ]


END = "expected the seeds that the others have; a run that crashed belongs in the file with its status"


@pytest.mark.parametrize(
    ("seeds", "told"),
    [
        # more than half have every seed
        ({"a": [0, 1, 2], "b": [0, 1, 2], "c": [0, 1]}, [f"c.csv, line 14: c lacks seed 2 at 1, {END}"]),
        # half of them is no majority
        ({"a": [0, 1, 2], "b": [0, 1]}, []),
        ({"a": [0, 1, 2], "b": [0, 1, 2], "c": [0, 1], "d": [1, 2]}, []),
        # a numbering with a hole that no other has; where two have one it is how the study was made
        ({"a": [0, 1], "b": [0, 2, 3]}, [f"c.csv, line 6: b lacks seed 1 at 1, {END}"]),
        ({"a": [0, 2], "b": [0, 2, 3]}, []),
        # five are named, in the order of numbers
        (
            {"a": list(range(12)), "b": list(range(12)), "c": [0, 1, 3, 4, 5]},
            [f"c.csv, line 50: c lacks seed 2, 6, 7, 8, 9 at 1, {END}"],
        ),
    ],
)
def test_seeds_that_are_missing_at_a_rung(tmp_path, seeds, told):
    if told:
        assert refusal(tmp_path, numbered(**seeds)).splitlines() == told
    else:
        assert len(arrange(tmp_path, numbered(**seeds)).configs) == len(seeds)


@pytest.mark.parametrize(
    ("seed", "order"),
    [("7", (7, "")), ("9" * 18, (int("9" * 18), "")), ("9" * 19, (-1, "9" * 19)), ("x", (-1, "x")), ("-1", (-1, "-1"))],
)
def test_seeds_are_in_the_order_of_their_numbers_after_names(seed, order):
    assert pools._by_number(seed) == order


@pytest.mark.parametrize(("seeds", "good"), [((2, 2), True), ((2, 3), False)])
def test_a_rung_draws_no_more_seeds_than_there_are_runs(tmp_path, seeds, good):
    if good:
        assert [pool.seeds for pool in arrange(tmp_path, rows(VALUES), seeds=seeds).rungs.values()] == [2, 2]
        return
    assert refusal(tmp_path, rows(VALUES), seeds=seeds) == (
        "c.csv: a has 2 runs at rung2 (budget 2.0), expected at least 3: as many as the rung has seeds; lower the seeds "
        "of the rules, or leave the configuration out with `exclude`"
    )


def test_a_rung_of_one_seed_needs_two_runs_on_every_host(tmp_path):
    header, columns = f"{HEADER},host", {**COLUMNS, "host": "host"}
    lines = [f"{line},h1" for line in rows(VALUES)]
    lines += [f"{line[:-1]}{int(line[-1]) + 5},h2" for line in rows(VALUES) if not line.startswith("b,1")]
    anew = {"unit": "step", "prefix": True}
    message = refusal(tmp_path, lines, header, columns=columns, budget=anew)
    assert message.startswith(
        "c.csv: b has 1 runs on h2 at rung1 (budget 1.0), expected at least 2: as many as the rung"
    )


def test_unlike_last_budgets_are_told_by_the_two_shortest(tmp_path):
    lines = [*rows(MORE), "b,0,3,2.0", "c,1,4,1.9"]
    assert refusal(tmp_path, lines, final={"kind": "last_budget"}) == (
        "c.csv, line 18: b/0 ends at 3 and d/1 (line 17) at 2, expected one last budget; runs of unlike lengths do not "
        "rank by their last value: use at_budget or first_reach"
    )
    assert arrange(tmp_path, lines, final={"kind": "at_budget", "budget": 2.0}).truth[0] == 2_050_000
