"""The reader of curves: what it reads, and the whole message of everything that it refuses, with its line."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.backtest import curves, mapping, pools
from stages.backtest.curves import DIVERGED, FINISHED, read_curves
from stages.domain.errors import Invalid
from tests.backtest.curves_csv import COLUMNS, HEADER, curve_map, map_value, rows, ruleset, write

GOOD = {"a": [[3.0, 2.0], [3.1, 2.1]], "b": [[3.2, 2.2], [3.3, 2.3]]}
TOP1 = {"gate1": {"R1": {"kind": "top_k", "k": 1}}, "gate2": {"R1": {"kind": "top_k", "k": 1}}}


@pytest.fixture
def csv(tmp_path):
    return tmp_path / "curves.csv"


def refusal(path, lines, header=HEADER, **over):
    with pytest.raises(Invalid) as error:
        read_curves(write(path, lines, header), curve_map(**over))
    return str(error.value).replace(path.as_posix(), "curves.csv")


def test_runs_are_read_in_order_as_whole_millionths(csv):
    found = read_curves(write(csv, reversed(rows(GOOD))), curve_map())
    assert [run.id for run in found.runs] == ["a/0", "a/1", "b/0", "b/1"]
    assert [point.value for point in found.runs[1].points.values()] == [2_100_000, 3_100_000]
    assert (found.configs, found.hosts, found.sign) == (("a", "b"), ("",), 1)


def test_the_tenth_seed_stands_behind_the_second(csv):
    many = {
        "a": [[3.0 + n / 100, 2.0 + n / 100] for n in range(11)],
        "b": [[4.0 + n / 100, 2.5 + n / 100] for n in range(11)],
    }
    found = read_curves(write(csv, rows(many)), curve_map())
    assert [run.seed for run in found.runs if run.config == "a"] == [str(n) for n in range(11)]


def test_where_higher_is_better_values_change_sign(csv):
    found = read_curves(write(csv, rows(GOOD)), curve_map(value={"unit": "accuracy", "direction": "higher"}))
    assert found.runs[0].last.value == -2_000_000


def test_seven_decimals_are_rounded_half_even_as_records_are(csv):
    lines = ["a,0,1,3.0000005", "a,0,2,3.0000015", "a,1,1,3.1", "a,1,2,3.1", "b,0,1,3.2", "b,0,2,3.2"]
    found = read_curves(write(csv, lines), curve_map())
    assert [point.value for point in found.runs[0].points.values()] == [3_000_000, 3_000_002]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a,0,1,nan", "value: found 'nan', expected a number; a run that did not finish is told by a status column"),
        ("a,0,1,inf", "value: found 'inf', expected a number"),
        ("a,0,1,", "value: found '', expected a number"),
        ("a,0,1,1e400", "value: found '1e400', expected a number"),
        ("a,0,1,0.0", "value: found 0.0, expected a value: a crash logged as zero reads as the best; say `diverged` or `failed`"),
        ("a,0,1,0", "value: found 0, expected a value"),
        ("a,0,1,2000000", "value: found 2000000, expected a number between -1000000 and 1000000"),
        ("a,0,1,1_000", "value: found '1_000', expected a number"),
        ("a,0,1,３.2", "value: found '３.2', expected a number"),
        ("a\x1b[2J,0,1,3", "found 'a\\x1b[2J', expected a config of printable text, at most 200"),
        (f"{'a' * 201},0,1,3", f"found '{'a' * 40}', expected a config of printable text"),
        ("a,0,-1,3", "budget: found '-1', expected a number of at least 0"),
        ("a,0,x,3", "budget: found 'x', expected a number of at least 0"),
        ("a,0,1", "found 3 fields, expected 4 as in the header"),
        ("a,,1,3", "found an empty seed (column 'seed'), expected a name"),
        (",0,1,3", "found an empty config (column 'config'), expected a name"),
    ],
)  # fmt: skip
def test_a_row_that_says_nothing_usable_is_refused_by_its_line(csv, line, told):
    assert refusal(csv, [*rows({"b": GOOD["b"]}), line]).startswith(f"curves.csv, line 6: {told}")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("c,0,1,3.0,x,1", "cost: found 'x', expected device-seconds"),
        ("c,0,1,3.0,-1,1", "cost: found '-1', expected device-seconds"),
        ("c,0,2,3.0,1,1", "scheduled: found '1', expected at least the budget, 2"),
        ("c,0,2,3.0,1,x", "scheduled: found 'x', expected at least the budget, 2"),
    ],
)
def test_what_a_run_cost_and_what_it_was_scheduled_for_are_read_as_strictly(csv, line, told):
    columns = {**COLUMNS, "cost": "cost", "scheduled": "scheduled"}
    lines = [f"{row},0,2" for row in rows(GOOD)]
    message = refusal(csv, [*lines, line], f"{HEADER},cost,scheduled", columns=columns)
    assert message.startswith(f"curves.csv, line 10: {told}")


@pytest.mark.parametrize(("seed", "number"), [("9" * 18, int("9" * 18)), ("9" * 19, None), ("x", None)])
def test_seeds_of_up_to_eighteen_digits_are_in_the_order_of_numbers(seed, number):
    expected = (1, 0, seed) if number is None else (0, number, "")
    assert curves._seed_order(seed) == expected


def test_every_bad_line_is_told_up_to_twenty(csv):
    message = refusal(csv, [f"a,{n},1,nan" for n in range(25)])
    assert len(message.splitlines()) == 21
    assert message.endswith("curves.csv: and 5 more lines that are wrong")


def test_a_row_that_stands_twice_is_refused_even_if_equal(csv):
    message = "curves.csv, line 10: a/0 at 1 stands in line 2 already, expected each row once"
    assert refusal(csv, [*rows(GOOD), "a,0,1,3.0"]) == message


def test_one_run_under_two_ids_is_refused(csv):
    lines = [*rows(GOOD), "c,0,1,3.2", "c,0,2,2.2"]
    assert refusal(csv, lines) == (
        "curves.csv, line 10: c/0 repeats b/0 (line 6) value for value: one run under two ids; remove one, or leave the "
        "configuration out with `exclude`"
    )


def test_a_start_that_all_runs_share_is_no_copy(csv):
    lines = [line for name in "ab" for seed in "01" for line in (f"{name},{seed},0,10.8", f"{name},{seed},1,3.{ord(name)}{seed}", f"{name},{seed},2,2.{ord(name)}{seed}")]  # fmt: skip
    assert len(read_curves(write(csv, lines), curve_map()).runs) == 4


def test_separate_runs_that_agree_in_all_they_tell_are_one(csv):
    columns = {**COLUMNS, "scheduled": "length"}
    header = "config,seed,budget,value,length,minutes"
    lines = ["a,0,1,3.0,1,7.25", "a,1,1,3.1,1,7.31", "b,0,1,3.0,1,7.25", "b,1,1,3.0,1,7.26"]
    over = {"columns": columns, "budget": {"unit": "step", "prefix": False}}
    assert refusal(csv, lines, header, **over).startswith(
        "curves.csv, line 4: b/0 repeats a/0 (line 2) value for value"
    )


@pytest.mark.parametrize("factor", [1.4427, 0.6931, 100, 0.01, 60, 1000])
def test_a_value_in_another_unit_is_refused(csv, factor):
    lines = [*rows(GOOD), f"a,2,1,{3.05 * factor:.6f}", "a,2,2,2.05", "a,3,1,3.06", "a,3,2,2.06"]
    assert re.match(
        r"curves.csv, line 10: value: [\d.]+ is [\d.]+ times the median of a at 1, the factor between two units",
        refusal(csv, lines),
    )


def test_a_unit_column_settles_the_unit_of_every_row(csv):
    columns, header = {**COLUMNS, "unit": "unit"}, HEADER + ",unit"
    lines = [f"{line},nats" for line in rows(GOOD)]
    assert read_curves(write(csv, lines, header), curve_map(columns=columns)).configs == ("a", "b")
    message = refusal(csv, [*lines, "a,2,1,4.3,bits"], header, columns=columns)
    assert (
        message
        == "curves.csv, line 10: unit: found 'bits', expected 'nats' as the map declares; mixed units are refused"
    )


def test_points_of_one_run_that_are_declared_separate_runs_are_refused(csv):
    message = refusal(csv, rows(GOOD), budget={"unit": "step", "prefix": False})
    assert message.splitlines()[0] == (
        "curves.csv, line 3: a/0 at 2 and in line 2 at 1: rows of one run are a prefix of it; say `prefix: true` under "
        "`budget`, or, where each budget was trained anew, name the column that says so for each row (columns.scheduled)"
    )


def test_a_row_before_the_end_of_its_schedule_is_a_prefix_whatever_the_map_says(csv):
    header, columns = HEADER + ",planned", {**COLUMNS, "scheduled": "planned"}
    lines = ["a,0,1,3.0,1", "a,1,1,3.1,1", "b,0,1,3.2,2", "b,1,1,3.3,1"]
    message = refusal(csv, lines, header, columns=columns, budget={"unit": "step", "prefix": False})
    assert message == (
        "curves.csv, line 4: b/0 at 1 of 2: a prefix of a longer run and no separate short run; say `prefix: true` under "
        "`budget`, and every figure will say so"
    )


def test_a_run_that_ended_badly_needs_a_status_and_no_value(csv):
    header, columns = HEADER + ",status", {**COLUMNS, "status": "status"}
    lines = [*(f"{line},finished" for line in rows(GOOD)), "a,2,1,,diverged", "a,2,2,,diverged"]
    found = read_curves(write(csv, lines, header), curve_map(columns=columns))
    assert [point.state for point in found.runs[2].points.values()] == [DIVERGED, DIVERGED]
    assert found.runs[0].last.state == FINISHED
    assert refusal(csv, [*lines, "a,3,1,9.9,failed"], header, columns=columns) == (
        "curves.csv, line 12: value: found '9.9', expected nothing, since the run did not finish"
    )
    assert "status: found 'oom', expected one of finished, diverged, failed" in refusal(csv, [*lines, "a,3,1,,oom"], header, columns=columns)  # fmt: skip


def test_hosts_that_are_not_crossed_say_nothing_about_agreement(csv):
    header, columns = HEADER + ",host", {**COLUMNS, "host": "host"}
    apart = [f"{line},h{line[0]}" for line in rows(GOOD)]
    found = read_curves(write(csv, apart, header), curve_map(columns=columns))
    assert found.hosts == ("",)
    assert found.hosts_note.startswith(
        "agreement: not evaluable: hosts (ha, hb) are not crossed with configurations, 0 of 2"
    )
    shifted = {name: [[v + 0.01 for v in run] for run in runs] for name, runs in GOOD.items()}
    crossed = [f"{line},{host}" for host, of in (("ha", GOOD), ("hb", shifted)) for line in rows(of)]
    assert read_curves(write(csv, crossed, header), curve_map(columns=columns)).hosts == ("ha", "hb")


def test_a_file_that_is_no_csv_of_this_map_is_refused(csv):
    assert (
        refusal(csv, [], "config,seed,budget,loss")
        == "curves.csv, line 1: found columns config, seed, budget, loss, expected 'value' (columns.value)"
    )
    assert (
        refusal(csv, [], "config,seed,value,budget,value")
        == "curves.csv, line 1: column 'value' stands twice in the header, expected it once"
    )
    csv.write_bytes(b"config,seed,budget,value\na,0,1,\xff\n")
    with pytest.raises(Invalid, match="line 2: not UTF-8 at byte 31"):
        read_curves(csv, curve_map())
    with pytest.raises(Invalid, match="missing.csv is missing; name a CSV file"):
        read_curves(csv.with_name("missing.csv"), curve_map())


def test_what_is_left_out_must_be_there_and_its_rows_are_not_judged(csv):
    lines = [*rows(GOOD), "broken,0,1,nan"]
    assert read_curves(write(csv, lines), curve_map(exclude={"broken": "crashed"})).configs == ("a", "b")
    assert (
        refusal(csv, rows(GOOD), exclude={"z": "no such"})
        == "map.yaml: exclude: found 'z', expected a configuration of the curves"
    )
    assert refusal(csv, rows({"a": GOOD["a"]})).endswith(
        "fewer than two configurations, expected something to choose from"
    )


def arrange(csv, lines, header=HEADER, seeds=(1, 1), **over):
    known = curve_map(**over)
    return pools.arrange(read_curves(write(csv, lines, header), known), known, ruleset(TOP1, seeds))


def unarranged(csv, lines, header=HEADER, seeds=(1, 1), **over):
    with pytest.raises(Invalid) as error:
        arrange(csv, lines, header, seeds, **over)
    return str(error.value).replace(csv.as_posix(), "curves.csv")


def test_a_run_without_a_row_at_a_rung_is_refused(csv):
    lines = [*rows(GOOD), "b,2,2,2.5"]
    assert unarranged(csv, lines).startswith(
        "curves.csv, line 10: b/2 has no row at 1, expected one at the budget of each rung"
    )


def test_a_seed_that_the_others_have_is_missed(csv):
    three = {
        name: [*runs, [runs[0][0] + 0.05, runs[0][1] + 0.05]]
        for name, runs in {**GOOD, "c": [[3.4, 2.4], [3.5, 2.5]]}.items()
    }
    lines = [line for line in rows(three) if not line.startswith("b,1")]
    assert unarranged(csv, lines).startswith(
        "curves.csv, line 8: b lacks seed 1 at 1, expected the seeds that the others have"
    )


def test_fewer_runs_than_a_rung_has_seeds_are_refused(csv):
    assert unarranged(csv, rows(GOOD), seeds=(1, 3)).startswith(
        "curves.csv: a has 2 runs at rung2 (budget 2.0), expected at least 3"
    )


def test_runs_of_unlike_lengths_do_not_rank_by_their_last_value(csv):
    lines = [*rows(GOOD), "b,0,3,2.0"]
    message = unarranged(csv, lines, final={"kind": "last_budget"})
    assert message.startswith("curves.csv, line 10: b/0 ends at 3 and b/1 (line 9) at 2, expected one last budget")


def test_the_first_step_that_reaches_a_value_is_interpolated(csv):
    final = {"kind": "first_reach", "value": 2.5, "unreached": "omit"}
    values = {
        "a": [[3.0, 2.0], [2.75, 2.25], [3.0, 2.9], [2.5, 2.4]],
        "b": [[2.4, 2.3], [3.5, 2.5], [3.1, 2.6], [3.0, 2.2]],
    }
    found = arrange(csv, rows(values), final=final)
    assert [sorted(one.tolist()) for one in found.final] == [
        [1_000_000, 1_500_000, 1_500_000],
        [1_000_000, 1_625_000, 2_000_000],
    ]
    assert found.unreached == 2
    censored = arrange(csv, rows(values), final={**final, "unreached": "at_end"})
    assert censored.final[0].tolist().count(2_000_000) == 1
    assert censored.unreached == 2


def test_a_configuration_that_never_gets_there_is_named(csv):
    final = {"kind": "first_reach", "value": 2.15, "unreached": "omit"}
    message = unarranged(csv, rows(GOOD), final=final)
    assert (
        message
        == "curves.csv, line 6: b: 0 of its 2 runs have a final value (first_reach), expected at least 2; leave it out with `exclude`"
    )


def test_rules_in_another_unit_are_refused_only_where_they_have_a_threshold():
    gap = {"gate1": {"R1": {"kind": "within_gap", "gap": 0.01}}, "gate2": {"R1": {"kind": "top_k", "k": 1}}}
    mapping.check_pair(curve_map(), ruleset(TOP1, unit="bits"), "map.yaml", "rules.yaml")
    with pytest.raises(
        Invalid, match="rules.yaml: gates.gate1.R1: found a threshold in bits, but map.yaml reads rung1 in nats"
    ):
        mapping.check_pair(curve_map(), ruleset(gap, unit="bits"), "map.yaml", "rules.yaml")


def test_a_threshold_has_no_meaning_where_steps_are_read():
    late = {"gate1": {"R1": {"kind": "top_k", "k": 1}}, "gate2": {"R1": {"kind": "within_gap", "gap": 0.01}}}
    known = curve_map(
        rungs={"rung1": 1.0, "rung2": "final"}, final={"kind": "first_reach", "value": 2.5, "unreached": "omit"}
    )
    with pytest.raises(Invalid, match="reads rung2 in step"):
        mapping.check_pair(known, ruleset(late), "map.yaml", "rules.yaml")


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ({"schema": 2}, "schema: found 2, expected 1; update staged-promotion"),
        ({"columns": {**COLUMNS, "host": "value"}}, "columns: 'value' is named twice"),
        ({"rungs": {"rung2": 1.0}}, "rungs: found rung2, expected rung1 in this order"),
        ({"rungs": {"rung1": 2.0, "rung2": 1.0}}, "budgets climb"),
        ({"rungs": {"rung1": "final", "rung2": 1.0}}, "`final` is the last rung or none"),
        ({"budget": {"unit": "step"}}, "budget.prefix: expected a value: the key is missing"),
        ({"final": {"kind": "best"}}, "final.kind: found 'best', expected one of"),
    ],
)  # fmt: skip
def test_a_map_that_declares_nothing_usable_is_refused(over, told):
    with pytest.raises(Invalid) as error:
        mapping.parse(mapping.CurveMap, map_value(**over), "map.yaml")
    assert told in str(error.value)


@given(
    st.lists(
        st.lists(
            st.text(max_size=4) | st.sampled_from(["a", "b", "1", "2", "3.5", "-1e9", "nan", '"']),
            min_size=1,
            max_size=5,
        ),
        max_size=8,
    )
)
def test_whatever_the_file_holds_is_read_or_refused_with_its_line(tmp_path_factory, fields):
    path = tmp_path_factory.mktemp("fuzz") / "curves.csv"
    path.write_text("\n".join([HEADER, *(",".join(row) for row in fields)]), encoding="utf-8", errors="replace")
    try:
        found = read_curves(path, curve_map())
        assert all(run.points for run in found.runs)
    except Invalid as error:
        assert all(line.startswith(path.as_posix()) for line in str(error).splitlines())


@pytest.mark.parametrize(
    ("limit", "told"),
    [("MAX_ROWS", "line 5: more rows than the 3"), ("MAX_CONFIGS", "found 2 configurations, expected at most 1")],
)
def test_more_than_is_read_is_refused(csv, monkeypatch, limit, told):
    monkeypatch.setattr(curves, limit, 3 if limit == "MAX_ROWS" else 1)
    assert told in refusal(csv, rows(GOOD))


def test_budgets_too_large_to_be_counted_exactly_are_refused(csv):
    lines = [line.replace(",1,", ",1000000,").replace(",2,", ",2000000,") for line in rows(GOOD)]
    message = unarranged(
        csv, lines, final={"kind": "first_reach", "value": 2.5, "unreached": "omit"}, rungs={"rung1": 1e6, "rung2": 2e6}
    )
    assert message.startswith(
        "curves.csv, line 3: budget: found 2e+06, expected less than 1000000, since the final value is a budget"
    )


def test_a_file_that_is_too_large_is_not_read(csv, monkeypatch):
    monkeypatch.setattr(curves, "MAX_BYTES", 10)
    assert refusal(csv, rows(GOOD)).endswith("bytes, expected at most 10")


@pytest.mark.parametrize("over", [{"roles": {"reference": "z"}}, {"roles": {"reference": "c"}, "exclude": {"c": "no"}}])
def test_a_role_is_a_configuration_that_is_kept(csv, over):
    lines = rows({**GOOD, "c": [[3.4, 2.4], [3.5, 2.5]]})
    name = over["roles"]["reference"]
    message = f"map.yaml: roles.reference: found '{name}', expected a configuration that is kept"
    assert refusal(csv, lines, **over) == message
    assert read_curves(write(csv, lines), curve_map(roles={"reference": "c"})).configs == ("a", "b", "c")


def test_one_host_alone_cannot_agree(csv):
    header, columns = "config,seed,budget,value,host", {**COLUMNS, "host": "host"}
    found = read_curves(write(csv, [f"{line},h1" for line in rows(GOOD)], header), curve_map(columns=columns))
    assert (found.hosts, found.hosts_note) == (("",), "agreement: not evaluable: there is one host only, h1")
    found = read_curves(write(csv, rows(GOOD)), curve_map())
    assert (found.hosts, found.hosts_note) == (("",), "agreement: not evaluable: the map declares no host")


@pytest.mark.parametrize(
    ("seeds", "holes"),
    [
        ({"1", "2", "4"}, ["3"]),
        ({"0", "2"}, ["1"]),
        ({"1", "30"}, [str(number) for number in range(2, 30)]),
        ({"1", "31"}, []),
        ({"2", "4"}, []),
        ({"1", "b"}, []),
        ({"1", "3", "1234567890"}, []),
        (set(), []),
    ],
)
def test_seeds_that_are_counted_from_one_have_holes_and_names_or_scattered_numbers_have_none(seeds, holes):
    assert pools._holes(seeds) == holes
