"""How numbers read."""

from __future__ import annotations

from decimal import Decimal

import pytest

from stages.domain import formatting

NB = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.0, f"2{NB}s"),
        (0.001, f"0.001{NB}s"),
        (60.0, f"60{NB}s"),
        (90.0, f"90{NB}s"),
        (120.0, f"2{NB}min"),
        (3600.0, f"1{NB}h"),
        (43200.0, f"12{NB}h"),
        (1234567.0, f"1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567{NB}s"),
    ],
)
def test_budgets_read_as_people_say_them(value: float, text: str) -> None:
    assert formatting.seconds(value) == text


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (144.0, f"144{NB}h"),
        (25.2, f"25.2{NB}h"),
        (0.05, f"3{NB}min"),
        (0.01, f"36{NB}s"),
        (12.349 / 3600, f"12.3{NB}s"),
        (99.94 / 60, f"1.7{NB}h"),
        (59.949 / 60, f"59.9{NB}min"),
        (None, "–"),
        (0.0, f"0{NB}s"),
    ],
)
def test_device_hours_read_at_their_scale(hours: float | None, text: str) -> None:
    assert formatting.device_time(hours) == text


def test_differences_carry_their_sign() -> None:
    assert (formatting.signed(0.0015), formatting.signed(-0.0015), formatting.signed(None)) == (
        "+0.001500",
        "−0.001500",
        "–",
    )


def test_decimals_half_way_all_round_to_even_whatever_their_binary_floats_are() -> None:
    assert (formatting.bpb(1.8829905), formatting.bpb(1.8939365)) == ("1.882990", "1.893936")
    assert formatting.plain(1.8829905) == "1.88299"


def test_a_value_half_way_and_its_margin_add_up_to_the_threshold_as_shown() -> None:
    shown = [formatting.number(value, 6) for value in (0.0215785, 0.0784215)]
    assert sum(map(Decimal, shown)) == Decimal("0.1")


@pytest.mark.parametrize("value", [0.0, -0.0, 4e-10, -4e-10])
def test_what_rounds_to_zero_has_no_sign(value: float) -> None:
    assert (formatting.signed(value), formatting.number(value, 4)) == ("0.000000", "0.0000")


def test_sentences_get_true_minus_signs_and_names_keep_their_hyphens() -> None:
    assert (
        formatting.typeset("at least -1 or -0.5, as d1-ar32 and R1-R3 say")
        == "at least −1 or −0.5, as d1-ar32 and R1-R3 say"
    )


def test_a_list_never_counts_a_single_one_that_it_could_name() -> None:
    assert formatting.listed([*"abcdefg"]) == "a, b, c, d, e, f and g"
    assert formatting.listed([*"abcdefgh"]) == "a, b, c, d, e, f and 2 more"
    assert (formatting.listed(["a"]), formatting.listed([])) == ("a", "none")


def test_a_long_name_keeps_both_its_ends() -> None:
    assert formatting.shortened("d1-ar32-b1024-lr2", 20) == "d1-ar32-b1024-lr2"
    assert formatting.shortened("abcdefghijklmnopqrstuvwxyz", 9) == "abcd…wxyz"
    assert {len(formatting.shortened("x" * n, 9)) for n in range(9, 40)} == {9}


def test_long_names_stay_different_when_they_are_cut() -> None:
    names = [f"the-same-beginning-{n}-and-the-same-end-of-it" for n in range(12)]
    short = formatting.short_names([*names, "short"], 16)
    assert short["short"] == "short"
    assert len(set(short.values())) == 13
    assert max(map(len, short.values())) <= 16


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (1, "first"),
        (12, "twelfth"),
        (13, "13th"),
        (21, "21st"),
        (22, "22nd"),
        (23, "23rd"),
        (24, "24th"),
        (111, "111th"),
        (112, "112th"),
        (113, "113th"),
    ],
)
def test_ranks_read_as_ordinals(place: int, text: str) -> None:
    assert formatting.ordinal(place) == text


def test_labels_of_figures_escape_what_plotly_would_read_as_markup() -> None:
    assert formatting.html_text("<b>&") == "&lt;b&gt;&amp;"


def test_long_texts_are_cut_and_seeds_are_no_quantities() -> None:
    assert formatting.leaves({"a": {"seed": 5001, "n": [5001]}}) == [("a.seed", 5001), ("a.n", [5001])]
    assert (formatting.leaf("seed", 5001), formatting.leaf("n", [5001])) == ("5001", "5\N{NARROW NO-BREAK SPACE}001")
    assert formatting.leaf("x", "y" * 999).endswith(" …")


def test_val_bpb_always_has_six_decimals() -> None:
    assert (formatting.leaf("locked_bpb", 1.58059), formatting.bpb(1.58)) == ("1.580590", "1.580000")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (3.21, "3.2 s"),
        (59.94, "59.9 s"),
        (59.95, "1 min 0 s"),
        (60, "1 min 0 s"),
        (119.5, "2 min 0 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (7259, "2 h 0 min"),
        (7260, "2 h 1 min"),
    ],
)
def test_time_that_passed_is_rounded_once_and_carries_over(seconds, text):
    assert formatting.elapsed(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (0.05, "0.05"),
        ("a word", "a word"),
        ([], "nothing"),
        ({}, "nothing"),
        ([1, "b", True], "1, b, true"),
        ((1, 2), "1, 2"),
        (
            {"kind": "gap", "at": {"rung": 3, "seeds": [1, 2]}, "sure": False},
            "kind: gap, at.rung: 3, at.seeds: 1, 2, sure: false",
        ),
    ],
)
def test_values_read_in_the_words_of_params_yaml(value: object, text: str) -> None:
    assert formatting.value_text(value) == text


def test_gates_and_rungs_are_called_by_their_numbers() -> None:
    assert (formatting.gate_title("gate3"), formatting.rung_title("rung12")) == ("Gate 3", "Rung 12")


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1, "100 %"), (0.5, "50.0 %"), (0.99999, "99.9 %"), (0.00001, "0.1 %"), (0.1234, "12.3 %")],
)
def test_a_share_says_always_and_never_only_where_it_is_so(share: float, text: str) -> None:
    assert formatting.percent(share) == text


@pytest.mark.parametrize("hours", [0.0001, 0.0166, 1 / 60, 0.5, 0.9999, 1.0, 144.0])
def test_the_unit_of_a_table_is_the_one_in_which_device_time_reads(hours: float) -> None:
    factor, unit = formatting.time_unit(hours)
    number = float(formatting.device_time(hours).removesuffix(unit))
    assert number == pytest.approx(hours * factor, rel=0.01)


def test_one_item_more_than_fits_is_shown_and_two_more_are_counted() -> None:
    letters = list("abcdefgh")
    assert formatting.first_few(letters[:7], 6) == (letters[:7], 0)
    assert formatting.first_few(letters, 6) == (letters[:6], 2)
    assert formatting.listed(letters, 6) == "a, b, c, d, e, f and 2 more"


def test_a_sentence_begins_with_a_capital_and_keeps_the_rest() -> None:
    assert (formatting.capital("val_bpb of GPUs"), formatting.capital("")) == ("Val_bpb of GPUs", "")
