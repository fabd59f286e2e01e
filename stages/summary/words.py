"""Numbers as people write them, for sentences and tables in the terminal."""

from __future__ import annotations

from fractions import Fraction


def spell(value: float | Fraction) -> str:
    """Hours or another quantity, with four significant digits at least.

    >>> spell(144), spell(Fraction(126, 5)), spell(0.0133333333), spell(1200)
    ('144', '25.2', '0.01333', '1200')
    """
    number = float(value)
    return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.4g}"


def duration(seconds: float) -> str:
    """A budget.

    >>> duration(2.0), duration(0.05), duration(90), duration(600), duration(5400), duration(43200)
    ('2 s', '0.05 s', '90 s', '10 min', '90 min', '12 h')
    """
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def unit(seconds: float) -> tuple[int, str]:
    """The seconds and the name of the unit in which a table that adds up to so much device time reads best.

    >>> unit(456), unit(5 * 3600), unit(169.2 * 3600)
    ((1, 'seconds'), (60, 'minutes'), (3600, 'hours'))
    """
    for size, name in ((3600, "hours"), (60, "minutes")):
        if seconds >= 10 * size:
            return size, name
    return 1, "seconds"
