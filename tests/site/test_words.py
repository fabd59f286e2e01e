"""How numbers read."""

from __future__ import annotations

import pytest

from report import words

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
    ],
)
def test_budgets_read_as_people_say_them(value: float, text: str) -> None:
    assert words.seconds(value) == text


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (144.0, f"144{NB}h"),
        (25.2, f"25.2{NB}h"),
        (0.05, f"3{NB}min"),
        (0.01, f"36{NB}s"),
        (None, "–"),
        (0.0, f"0{NB}s"),
    ],
)
def test_device_hours_read_at_their_scale(hours: float | None, text: str) -> None:
    assert words.device_time(hours) == text


def test_differences_carry_their_sign() -> None:
    assert (words.signed(0.0015), words.signed(-0.0015), words.signed(None)) == ("+0.001500", "−0.001500", "–")


def test_labels_of_figures_escape_what_plotly_would_read_as_markup() -> None:
    assert words.html_text("<b>&") == "&lt;b&gt;&amp;"


def test_long_texts_are_cut_and_seeds_are_no_quantities() -> None:
    assert words.flat({"a": {"seed": 5001, "n": 5001}}) == [
        ("a.seed", "5001"),
        ("a.n", "5\N{NARROW NO-BREAK SPACE}001"),
    ]
    assert words.flat({"x": "y" * 999})[0][1].endswith(" …")
