"""The reader of curves at its limits: the last that is read, the first that is refused, and every combination between."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from stages.backtest import curves
from stages.backtest.curves import FINISHED, CurveRun, RecordedPoint, read_curves
from stages.domain.errors import Invalid
from tests.backtest.curves_csv import COLUMNS, HEADER, curve_map, rows, write

GOOD = {"a": [[3.0, 2.0], [3.1, 2.1]], "b": [[3.2, 2.2], [3.3, 2.3]]}
SEPARATE = {"unit": "step", "prefix": False}


@pytest.fixture
def csv(tmp_path):
    return tmp_path / "curves.csv"


def read(path, lines, header=HEADER, **over):
    return read_curves(write(path, lines, header), curve_map(**over))


def refusal(path, lines, header=HEADER, **over):
    with pytest.raises(Invalid) as error:
        read(path, lines, header, **over)
    return str(error.value).replace(path.as_posix(), "curves.csv")


def test_a_file_of_as_many_bytes_rows_and_configurations_as_are_read_is_read(csv, monkeypatch):
    path = write(csv, rows(GOOD))
    for limit, most in (("MAX_BYTES", path.stat().st_size), ("MAX_ROWS", 8), ("MAX_CONFIGS", 2)):
        with monkeypatch.context() as patch:
            patch.setattr(curves, limit, most)
            assert read_curves(path, curve_map()).configs == ("a", "b")
            patch.setattr(curves, limit, most - 1)
            with pytest.raises(Invalid, match=f"{most - 1}"):
                read_curves(path, curve_map())


def test_a_field_has_so_many_characters_and_quotes_are_closed(csv):
    header = f"{HEADER},note"
    assert read(csv, [f"{line},{'x' * curves.MAX_FIELD}" for line in rows(GOOD)], header).configs == ("a", "b")
    long = [f"{line},{'x' * (curves.MAX_FIELD + 1)}" for line in rows(GOOD)]
    assert refusal(csv, long, header) == "curves.csv, line 2: not CSV: field larger than field limit (10000)"
    assert refusal(csv, [*rows(GOOD), '"a"b,0,1,3']).startswith("curves.csv, line 10: not CSV: ")


def test_a_byte_order_mark_is_no_part_of_the_first_column(csv):
    csv.write_bytes(b"\xef\xbb\xbf" + write(csv, rows(GOOD)).read_bytes())
    assert read_curves(csv, curve_map()).configs == ("a", "b")


@pytest.mark.parametrize(("name", "good"), [("a" * 200, True), ("a" * 201, False), ("a\tb", False), ("é", True)])
def test_a_name_is_printable_and_of_two_hundred_characters_at_most(name, good):
    assert curves._is_name(name) is good


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1e29", Decimal("1e29")), ("1e30", None), ("1e-29", Decimal("1e-29")), ("1e-30", None),
        ("0." + "1" * 58, Decimal("0." + "1" * 58)), ("0." + "1" * 59, None), ("-.5", Decimal("-0.5")), ("5.", Decimal(5)),
        ("+1E+2", Decimal(100)), ("1e1000", None), ("1e", None), (".", None), ("", None), (" 1", None),
    ],
)  # fmt: skip
def test_a_number_has_sixty_characters_and_twenty_nine_places_at_most(text, number):
    assert curves._number(text) == number


@pytest.mark.parametrize(("value", "whole"), [("999999.999999", 999_999_999_999), ("-999999.999999", -999_999_999_999)])
def test_values_just_inside_the_largest_are_read(csv, value, whole):
    found = read(csv, [f"a,0,1,{value}", "a,1,1,3", "b,0,1,3.5", "b,1,1,3.6"])
    assert found.runs[0].points[1.0].value == whole
    message = "line 6: value: found {}, expected a number between -1000000 and 1000000"
    assert message.format("1e6") in refusal(csv, [*rows({"a": GOOD["a"]}), "b,0,1,1e6"])
    assert message.format("-1e6") in refusal(csv, [*rows({"a": GOOD["a"]}), "b,0,1,-1e6"])


def test_a_budget_and_a_cost_of_nothing_and_a_schedule_that_ends_here_are_read(csv):
    columns = {**COLUMNS, "cost": "cost", "scheduled": "scheduled"}
    lines = [f"{name},{seed},0,1{n}{seed},0,0" for n, name in enumerate("ab") for seed in (0, 1)]
    found = read(csv, lines, f"{HEADER},cost,scheduled", columns=columns)
    point = found.runs[0].points[0.0]
    assert point == RecordedPoint(0.0, 100_000_000, FINISHED, 0.0, 2)
    assert (found.runs[0].scheduled, found.has_cost, found.has_status) == ({0.0}, True, False)


def test_what_a_run_cost_is_its_budget_where_no_column_says_so(csv):
    found = read(csv, rows(GOOD))
    assert [point.cost for point in found.runs[0].points.values()] == [1.0, 2.0]
    assert (found.runs[0].scheduled, found.has_cost, found.has_status) == (set(), False, False)


@pytest.mark.parametrize(
    ("count", "shown", "more"), [(20, 20, ""), (21, 20, "curves.csv: and 1 more lines that are wrong")]
)
def test_twenty_problems_are_listed_in_the_order_of_their_lines(csv, count, shown, more):
    lines = refusal(csv, [f"a,{n},1,nan" for n in range(count)]).splitlines()
    assert [line.split(":")[0] for line in lines[:shown]] == [f"curves.csv, line {n}" for n in range(2, shown + 2)]
    assert lines[shown:] == ([more] if more else [])


def test_of_a_header_three_hundred_characters_are_shown(csv):
    long = ",".join(["config", "seed", "budget", "x" * 400])
    message = (
        f"curves.csv, line 1: found columns {'config, seed, budget, ' + 'x' * 278}, expected 'value' (columns.value)"
    )
    assert refusal(csv, [], long) == message


def test_rows_that_were_trained_anew_for_each_budget_are_no_prefix(csv):
    header, columns = f"{HEADER},planned", {**COLUMNS, "scheduled": "planned"}
    anew = [f"{line},{line.split(',')[2]}" for line in rows(GOOD)]
    assert read(csv, anew, header, columns=columns, budget=SEPARATE).runs[0].scheduled == {1.0, 2.0}
    single = [f"{name},{seed},1,{value}" for name, of in GOOD.items() for seed, (value, _) in enumerate(of)]
    assert len(read(csv, single, budget=SEPARATE).runs) == 4
    # the later row first: the line of the earliest budget is the one that is named
    followed = [f"{line},3" for line in reversed(rows(GOOD))]
    messages = refusal(csv, followed, header, columns=columns, budget=SEPARATE).splitlines()
    end = "a prefix of a longer run and no separate short run; say `prefix: true` under `budget`, and every figure will say so"
    assert messages[0] == f"curves.csv, line 3: b/1 at 1 of 3: {end}"
    assert len(messages) == 4
    assert len(read(csv, followed, header, columns=columns).runs) == 4


def test_the_second_budget_of_a_run_is_named_wherever_its_rows_stand(csv):
    messages = refusal(csv, list(reversed(rows(GOOD))), budget=SEPARATE).splitlines()
    assert messages[0].startswith(
        "curves.csv, line 2: b/1 at 2 and in line 3 at 1: rows of one run are a prefix of it; "
    )


@pytest.mark.parametrize(
    ("a", "b", "rest", "copy"),
    [
        ([3.0, 2.0], [3.0, 2.0], ("x", "y"), True),  # whatever else is told of two rows that are equal
        ([3.0, 2.0], [3.0, 2.1], ("x", "x"), False),
        ([3.0, 2.0, 1.0], [3.0, 2.0, 1.1], ("x", "x"), False),
        ([3.0, 2.0, 1.0], [3.0, 2.0], ("x", "y"), True),
        ([3.0], [3.0], ("x", "x"), True),
        ([3.0], [3.0], ("x", "y"), False),
        ([3.0], [3.0], ("", ""), False),  # one value that is equal, and nothing else is told
        ([3.0], [3.1], ("x", "x"), False),
    ],
)  # fmt: skip
def test_a_copy_agrees_at_every_budget_that_both_have(csv, a, b, rest, copy):
    lines = [
        f"{name},0,{n},{value},{text}"
        for name, values, text in (("a", a, rest[0]), ("b", b, rest[1]))
        for n, value in enumerate(values, start=1)
    ]
    header = f"{HEADER},minutes"
    if copy:
        line = len(a) + 2
        message = refusal(csv, lines, header)
        assert message.startswith(
            f"curves.csv, line {line}: b/0 repeats a/0 (line 2) value for value: one run under two ids;"
        )
    else:
        assert len(read(csv, lines, header).runs) == 2


def run_of(*values: int | None) -> CurveRun:
    run = CurveRun("a", "", "0")
    run.points = {float(n): RecordedPoint(float(n), value, FINISHED, 1.0, n) for n, value in enumerate(values, start=1)}
    return run


def test_two_runs_without_a_budget_in_common_are_not_the_same():
    assert curves._same(run_of(1, 2), run_of(1, 2, 3))
    assert not curves._same(run_of(1, 2), run_of(1, 3))
    assert not curves._same(run_of(1), run_of())
    assert (run_of(1, 2).first_line, run_of(1, 2).last.budget) == (1, 2.0)


@pytest.mark.parametrize(
    ("last", "told"),
    [
        ("300", "300 is 100 times the median of a at 1, the factor between two units (100)"),
        ("303", ""),  # one per cent off is no factor
        ("302.9", "302.9 is 101 times the median of a at 1, the factor between two units (100)"),
        ("10800", "10800 is 3600 times the median of a at 1, the factor between two units (3600)"),
        ("0.0008333", "0.000833 is 0.0002777 times the median of a at 1, the factor between two units (3600)"),
        ("2.0794", "2.0794 is 0.6931 times the median of a at 1, the factor between two units (1.443)"),
        ("-300", "300 is 100 times the median of a at 1, the factor between two units (100)"),
        ("3.9", ""),
    ],
)
def test_a_value_that_is_off_by_the_factor_between_two_units_is_named(csv, last, told):
    lines = ["a,0,1,3", "a,1,1,3", f"a,2,1,{last}", "b,0,1,7", "b,1,1,7"]
    if not told:
        assert len(read(csv, lines).runs) == 5
        return
    advice = "mixed units? Correct it, or name a column that gives the unit of each row (columns.unit)"
    assert refusal(csv, lines) == f"curves.csv, line 4: value: {told}: {advice}"


def test_of_two_runs_nobody_knows_which_has_the_other_unit(csv):
    assert len(read(csv, ["a,0,1,3", "a,1,1,300", "b,0,1,7", "b,1,1,7"]).runs) == 4


def test_hosts_on_which_some_configurations_ran_are_counted(csv):
    header, columns = f"{HEADER},host", {**COLUMNS, "host": "host"}
    lines = [*(f"{line},h1" for line in rows(GOOD)), "a,2,1,3.5,h2", "a,2,2,2.5,h2"]
    found = read(csv, lines, header, columns=columns)
    assert (found.hosts, found.hosts_note) == (
        ("",),
        "agreement: not evaluable: hosts (h1, h2) are not crossed with configurations, 1 of 2 ran on all of them; all "
        "runs count as one block, and a difference between hosts stands in for one between configurations",
    )
    assert [run.id for run in found.runs] == ["a/h1/0", "a/h1/1", "a/h2/2", "b/h1/0", "b/h1/1"]


def test_a_role_of_a_configuration_that_is_left_out_and_one_that_was_never_there_are_told_alike(csv):
    lines = rows({**GOOD, "c": [[3.4, 2.4], [3.5, 2.5]]})
    over: dict[str, Any] = {"exclude": {"c": "no"}}
    assert read(csv, lines, roles={"reference": "a"}, **over).configs == ("a", "b")
    for name in ("c", "z"):
        message = f"map.yaml: roles.reference: found '{name}', expected a configuration that is kept"
        assert refusal(csv, lines, roles={"reference": name}, **over) == message


@pytest.mark.parametrize("column", ["seed", "host"])
def test_a_seed_and_a_host_have_names_too(csv, column):
    header, columns = f"{HEADER},host", {**COLUMNS, "host": "host"}
    lines = [f"{line},h1" for line in rows(GOOD)]
    bad = {"seed": ("a,\x07,1,3.0,h1", "a,,1,3.0,h1"), "host": ("a,9,1,3.0,\x07", "a,9,1,3.0, ")}[column]
    messages = refusal(csv, [*lines, *bad], header, columns=columns).splitlines()
    assert messages == [
        f"curves.csv, line 10: found '\\x07', expected a {column} of printable text, at most 200",
        f"curves.csv, line 11: found an empty {column} (column '{column}'), expected a name",
    ]
