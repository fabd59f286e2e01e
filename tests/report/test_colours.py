"""Colours stay apart for every kind of colour blindness, in light, dark and print.

Simulated by the matrices of Machado, Oliveira and Fernandes (2009) at full severity, on linear RGB; distances are those
of Oklab, times 100: about 2 is just seen, and lines are told apart by dash and mark besides.
"""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

CSS = (Path(__file__).parents[2] / "report" / "assets" / "site.css").read_text(encoding="utf-8")
SERIES = ("c0", "c1", "c2", "c3", "c4")
STATES = ("accent", "good", "bad")
Colour = tuple[float, float, float]
Matrix = tuple[Colour, Colour, Colour]
VISION: dict[str, Matrix] = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
_TO_LMS: Matrix = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_TO_LAB: Matrix = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def palette(scheme: str) -> dict[str, Colour]:
    """The colours of a scheme as linear RGB; what dark or print does not set is as in light."""
    blocks = {"light": CSS.split("@media")[0], "dark": CSS.split("(prefers-color-scheme: dark)")[1].split("}")[0]}
    blocks["print"] = CSS.split("@media print")[1]
    found = re.findall(r"--(\w[\w-]*): (#[0-9a-f]{3,6});", blocks["light"] + blocks[scheme])
    return {name: linear(code) for name, code in found}


def linear(code: str) -> Colour:
    digits = code[1:] if len(code) == 7 else "".join(2 * digit for digit in code[1:])
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return red, green, blue


def times(matrix: Matrix, colour: Colour) -> Colour:
    one, two, three = (sum(a * b for a, b in zip(row, colour, strict=True)) for row in matrix)
    return one, two, three


def oklab(colour: Colour) -> Colour:
    one, two, three = (value ** (1 / 3) for value in times(_TO_LMS, colour))
    return times(_TO_LAB, (one, two, three))


def distance(one: Colour, other: Colour, vision: str) -> float:
    seen = [[min(1.0, max(0.0, value)) for value in times(VISION[vision], colour)] for colour in (one, other)]
    a, b = (oklab((red, green, blue)) for red, green, blue in seen)
    return 100 * sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_the_series_of_a_figure_are_told_apart(scheme: str, vision: str) -> None:
    colours = palette(scheme)
    near = {(a, b): distance(colours[a], colours[b], vision) for a, b in combinations(SERIES, 2)}
    assert min(near.values()) >= 9, min(near.items(), key=lambda item: item[1])


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_promoted_kept_and_stopped_are_told_apart_besides_by_their_signs(scheme: str, vision: str) -> None:
    colours = palette(scheme)
    near = {(a, b): distance(colours[a], colours[b], vision) for a, b in combinations(STATES, 2)}
    assert min(near.values()) >= 6, min(near.items(), key=lambda item: item[1])


def test_the_simulation_sees_what_it_is_for() -> None:
    red, green = linear("#c05000"), linear("#808000")
    assert distance(red, green, "normal") > 2 * distance(red, green, "deutan")
    assert distance(linear("#6db1f2"), linear("#4fc7a3"), "tritan") < 4
