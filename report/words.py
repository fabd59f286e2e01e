"""How numbers, budgets and states read: one place, so that every page says the same thing the same way.

python -m pytest tests/site/test_words.py
"""

from __future__ import annotations

from typing import Any

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
MOST_TEXT = 300

#: State of a configuration at a rung -> (glyph, words). Colour is never the only sign.
STATES = {
    "winner": ("★", "winner"),
    "finalist": ("●", "finalist"),
    "promoted": ("▲", "promoted"),
    "kept": ("◆", "kept by role"),
    "stopped": ("✕", "stopped"),
    "blocked": ("■", "gate blocked"),
    "missing": ("?", "missing"),
    "waiting": ("…", "not decided"),
    "absent": ("", "not a candidate"),
}

HOLDS: dict[bool | None, tuple[str, str, str]] = {
    True: ("✓", "holds", "yes"),
    False: ("✕", "does not hold", "no"),
    None: ("?", "not evaluable", "unknown"),
}


def number(value: float | None, digits: int) -> str:
    """A number with a fixed count of decimals and a true minus; an en dash where there is none."""
    return DASH if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def bpb(value: float | None) -> str:
    """A val_bpb as recorded: six decimals (means may have more; they are rounded for reading)."""
    return number(value, 6)


def signed(value: float | None, digits: int = 6) -> str:
    """A difference with its sign: +0.001200 or −0.001200."""
    if value is None:
        return DASH
    return f"{value:+.{digits}f}".replace("-", MINUS)


def plain(value: Any) -> str:
    """A number without needless zeros: counts as integers, val_bpb to six decimals, large counts in groups."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", MINUS)
    if isinstance(value, float):
        if (value.is_integer() or abs(value) >= 1e6) and abs(value) < 1e15:
            return plain(round(value))
        text = f"{value:.6f}".rstrip("0") if abs(value) >= 1e-6 else f"{value:.3g}"
        return text.replace("-", MINUS)
    return str(value)


def count(value: int, one: str, many: str | None = None) -> str:
    """1 run, 2 runs."""
    return f"{plain(value)} {one if value == 1 else many or one + 's'}"


def seconds(value: float) -> str:
    """A budget as people say it: 90 s, 10 min, 12 h."""
    for size, unit in ((3600, "h"), (60, "min")):
        if value >= size * (2 if unit == "min" else 1) and round(value / size, 2) * size == value:
            return f"{value / size:g}\N{NO-BREAK SPACE}{unit}"
    return f"{value:g}\N{NO-BREAK SPACE}s"


def device_time(hours: float | None) -> str:
    """Device-hours at the scale of the study: 144 h, 2.8 min, 40 s."""
    if hours is None:
        return DASH
    if hours >= 1:
        return f"{hours:,.1f}".removesuffix(".0").replace(",", "\N{NARROW NO-BREAK SPACE}") + "\N{NO-BREAK SPACE}h"
    if hours * 60 >= 1:
        return f"{hours * 60:.1f}".removesuffix(".0") + "\N{NO-BREAK SPACE}min"
    return f"{hours * 3600:.3g}\N{NO-BREAK SPACE}s"


def listed(items: list[str], most: int = 6) -> str:
    """a, b and c; or a, b and 7 more."""
    if len(items) > most:
        return ", ".join(items[:most]) + f" and {len(items) - most} more"
    return items[0] if len(items) == 1 else " and ".join([", ".join(items[:-1]), items[-1]] if items else ["none"])


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A nested value as (dotted name, text), in its own order. Long texts are cut; the JSON file is whole."""
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in flat(item, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return [pair for n, item in enumerate(value) for pair in flat(item, f"{prefix}.{n}")]
    if prefix.endswith("seed"):
        text = str(value)
    else:
        text = (", ".join(plain(item) for item in value) or DASH) if isinstance(value, list) else plain(value)
    return [(prefix, text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + " …")]


def rung_title(rung: str) -> str:
    """rung3 -> Rung 3."""
    return "Rung " + rung.removeprefix("rung")


def gate_title(gate: str) -> str:
    """gate3 -> Gate 3."""
    return "Gate " + gate.removeprefix("gate")


def html_text(text: str) -> str:
    """A text as Plotly's labels take it: they read a little HTML, so its signs are escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
