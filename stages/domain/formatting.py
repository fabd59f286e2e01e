"""How numbers, times, states and names read: one place, so that pages and commands say the same thing the same way.

Pages use typographic signs (a true minus, no-break spaces); `spell`, `duration`, `elapsed` and `unit` serve terminals.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar

T = TypeVar("T")

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
NB = "\N{NO-BREAK SPACE}"
GROUP = "\N{NARROW NO-BREAK SPACE}"
MOST_TEXT = 300
_HYPHEN_MINUS = re.compile(r"(?<![\w.-])-(?=\d)")

#: State of a configuration at a rung -> (glyph, words). Colour is never the only sign.
STATES = {
    "winner": ("★", "winner"),
    "leader": ("☆", "leader"),
    "tied": ("=", "tied for the first place"),
    "finalist": ("●", "finalist"),
    "promoted": ("▲", "promoted"),
    "kept": ("◆", "kept by role"),
    "stopped": ("✕", "stopped"),
    "blocked": ("■", "gate blocked"),
    "missing": ("?", "missing"),
    "waiting": ("…", "not decided"),
    "unrun": ("○", "promoted, not run"),
    "absent": ("", "not a candidate"),
}

HOLDS: dict[bool | None, tuple[str, str, str]] = {
    True: ("✓", "holds", "yes"),
    False: ("✕", "does not hold", "no"),
    None: ("?", "not evaluable", "unknown"),
}


def _fixed(value: float, digits: int, sign: str = "") -> str:
    """The decimal that a number is written as, rounded half to even.

    Not the binary float behind it: 1.8829905 and 1.8939365 would round to different sides there. With this rule a value
    and its margin still add up to an even threshold where both lie half-way.
    """
    return format(Decimal(repr(float(value))), f"{sign}.{digits}f")


def number(value: float | None, digits: int) -> str:
    """A number with a fixed count of decimals and a true minus; an en dash where there is none."""
    if value is None:
        return DASH
    text = _fixed(value, digits)
    return text.replace("-", MINUS if text.strip("-0.") else "")


def bpb(value: float | None) -> str:
    """A val_bpb as recorded: six decimals (means may have more; they are rounded for reading)."""
    return number(value, 6)


def signed(value: float | None, digits: int = 6) -> str:
    """A difference with its sign: +0.001200 or −0.001200; what rounds to zero has none."""
    if value is None:
        return DASH
    text = _fixed(value, digits, "+")
    return (text if text.strip("+-0.") else text[1:]).replace("-", MINUS)


def plain(value: Any) -> str:
    """A number without needless zeros: counts as integers, val_bpb to six decimals, large counts in groups."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", GROUP).replace("-", MINUS)
    if isinstance(value, float):
        if (value.is_integer() or abs(value) >= 1e6) and abs(value) < 1e15:
            return plain(round(value))
        text = _fixed(value, 6).rstrip("0").rstrip(".") if abs(value) >= 1e-6 else f"{value:.3g}"
        return text.replace("-", MINUS)
    return str(value)


def percent(share: float) -> str:
    """A share in words: never 100 % of what was not always so, and never 0 % of what happened."""
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    return f"{min(max(100 * share, 0.1), 99.9):.1f} %"


def count(value: int, singular: str, plural: str | None = None) -> str:
    """1 run, 2 runs."""
    return f"{plain(value)} {singular if value == 1 else plural or singular + 's'}"


def seconds(value: float) -> str:
    """A budget as people say it: 90 s, 10 min, 12 h."""
    for size, unit in ((3600, "h"), (60, "min")):
        if value >= size * (2 if unit == "min" else 1) and round(value / size, 2) * size == value:
            return f"{plain(value / size)}{NB}{unit}"
    return f"{plain(float(value))}{NB}s"


def device_time(hours: float | None) -> str:
    """Device-hours at the scale of the study: 144 h, 2.8 min, 40 s."""
    if hours is None:
        return DASH
    if hours >= 1:
        return f"{hours:,.1f}".removesuffix(".0").replace(",", GROUP) + f"{NB}h"
    if hours * 60 >= 1:
        return f"{hours * 60:.1f}".removesuffix(".0") + f"{NB}min"
    return f"{hours * 3600:.3g}{NB}s"


def time_unit(hours: float) -> tuple[float, str]:
    """What to multiply device-hours with, and the unit that `device_time` would say so many in."""
    return (1.0, "h") if hours >= 1 else (60.0, "min") if hours * 60 >= 1 else (3600.0, "s")


def typeset(text: str) -> str:
    """A sentence that was written with hyphens for minus signs, as a page shows it."""
    return _HYPHEN_MINUS.sub(MINUS, text)


def ordinal(value: int) -> str:
    """first, second, ... twelfth, 13th, 21st."""
    if value <= len(_ORDINALS):
        return _ORDINALS[value - 1]
    ending = "th" if value % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{plain(value)}{ending}"


_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth"),
    *("seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"),
)


def shortened(text: str, most: int) -> str:
    """A name cut in its middle: beginnings repeat and ends differ, so both are kept."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def short_names(names: Iterable[str], most: int) -> dict[str, str]:
    """Every name in at most so many letters, still different from the others: what they share goes first."""
    short: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        short.setdefault(shortened(name, most), []).append(name)
    shortest = {}
    for text, alike in short.items():
        if len(alike) == 1:
            shortest[alike[0]] = text
            continue
        columns = enumerate(zip(*alike, strict=False))
        shared = next((n for n, letters in columns if len(set(letters)) > 1), min(map(len, alike)))
        rest = short_names((name[shared:] for name in alike), most - 1)
        shortest |= {name: f"…{rest[name[shared:]]}" for name in alike}
    return shortest


def first_few(items: Sequence[T], most: int) -> tuple[Sequence[T], int]:
    """So many items, and how many are left. One more is shown rather than counted: it takes no more room."""
    few = items if len(items) <= most + 1 else items[:most]
    return few, len(items) - len(few)


def listed(items: list[str], most: int = 6) -> str:
    """a, b and c; or a, b and 7 more."""
    few, more = first_few(items, most)
    if more:
        return ", ".join(few) + f" and {plain(more)} more"
    return items[0] if len(items) == 1 else " and ".join([", ".join(items[:-1]), items[-1]] if items else ["none"])


def leaves(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """A nested value as (dotted name, value), in its own order. A list of plain values is one."""
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in leaves(item, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return [pair for n, item in enumerate(value) for pair in leaves(item, f"{prefix}.{n}")]
    return [(prefix, value)]


def value_text(value: Any) -> str:
    """A value of params.yaml or of a lock in the words of these files; `nothing` where there is none.

    A list stands by its items, an object by its leaves.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {value_text(item)}" for key, item in leaves(value)) or "nothing"
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value)) or "nothing"
    return "nothing" if value is None else str(value)


def leaf(key: str, value: Any) -> str:
    """One plain value under its key: seeds are no quantities, val_bpb has six decimals. Long texts are cut."""
    if key == "seed":
        text = str(value)
    elif key.endswith("bpb") and isinstance(value, float):
        text = bpb(value)
    else:
        text = (", ".join(plain(item) for item in value) or DASH) if isinstance(value, list) else plain(value)
    return text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + " …"


def capital(text: str) -> str:
    """The text with its first letter as a sentence begins; the rest as it is."""
    return text[:1].upper() + text[1:]


def rung_title(rung: str) -> str:
    """rung3 -> Rung 3."""
    return "Rung " + rung.removeprefix("rung")


def gate_title(gate: str) -> str:
    """gate3 -> Gate 3."""
    return "Gate " + gate.removeprefix("gate")


def html_text(text: str) -> str:
    """A text as Plotly's labels take it: they read a little HTML, so its signs are escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


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


def elapsed(seconds: float) -> str:
    """Time that passed, as people read it.

    >>> elapsed(3.21), elapsed(75), elapsed(43200)
    ('3.2 s', '1 min 15 s', '12 h 0 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def unit(seconds: float) -> tuple[int, str]:
    """The seconds and the name of the unit in which a table that adds up to so much device time reads best.

    >>> unit(456), unit(5 * 3600), unit(169.2 * 3600)
    ((1, 'seconds'), (60, 'minutes'), (3600, 'hours'))
    """
    for size, name in ((3600, "hours"), (60, "minutes")):
        if seconds >= 10 * size:
            return size, name
    return 1, "seconds"
