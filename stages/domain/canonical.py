"""Canonical JSON: one value, one sequence of bytes, on every machine.

Everything that is hashed or compared goes through `dumps`: keys sorted, no spaces, UTF-8, one newline at the
end, so a line of the ledger is the same bytes as the file of the record. `loads` is the only reader of such
files and refuses what JSON leaves open: duplicate keys, NaN and infinities, lone surrogates, bombs.

>>> dumps({"b": 1, "a": [True, None, "é"]})
b'{"a":[true,null,"\\xc3\\xa9"],"b":1}\\n'
>>> loads(b'{"a":1,"a":2}')
Traceback (most recent call last):
...
stages.domain.canonical.NotCanonical: key 'a' stands twice in one object
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections import Counter
from decimal import Decimal
from typing import Any

from stages.domain.conflicts import CONFLICT, find_conflict, is_marker

#: A JSON object as it is read or written, before or after it is one of the project's types.
JsonObject = dict[str, Any]
MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 64
#: No whole number of a study is as large. Python has larger ones, and no float of them.
MAX_WHOLE = 10**21
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class NotCanonical(ValueError):
    """The bytes or the value have no canonical form."""


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NotCanonical(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        if not value.isascii():
            _check_text(value)
    elif value is None or isinstance(value, bool):
        return
    elif isinstance(value, int):
        if abs(value) > MAX_WHOLE:
            raise NotCanonical(f"a whole number of {value.bit_length()} bits, expected at most {MAX_WHOLE:.0e}")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise NotCanonical(f"{value} is not a finite number")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise NotCanonical(f"key {key!r} is {type(key).__name__}, not str")
            if not key.isascii():
                _check_text(key)
            _check(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item, depth + 1)
    else:
        raise NotCanonical(f"{type(value).__name__} has no canonical form")


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise NotCanonical("a string holds a lone surrogate, which UTF-8 cannot say") from None


def dumps(value: Any) -> bytes:
    """The canonical bytes of `value`, one line ending in a newline; `NotCanonical` where it has none."""
    _check(value, 0)
    return _encode(value)


def _encode(value: Any) -> bytes:
    return _ENCODER.encode(value).encode("utf-8") + b"\n"


def _pairs(pairs: list[tuple[str, Any]]) -> JsonObject:
    members = dict(pairs)
    if len(members) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise NotCanonical(f"key {twice!r} stands twice in one object")
    return members


def _refuse_constant(name: str) -> Any:
    raise NotCanonical(f"{name} is not a number that JSON has")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NotCanonical(f"{text} is too large for a number")
    return value


def _small(digits: str) -> int:
    if len(digits) > 21:
        raise ValueError("perhaps larger than MAX_WHOLE")
    return int(digits)


_PLAIN_DECODER = json.JSONDecoder(parse_int=_small)


def loads(data: bytes) -> Any:
    """The value that `data` says; `NotCanonical` names what is wrong with it. Need not be canonical bytes."""
    if len(data) > MAX_BYTES:
        raise NotCanonical(f"{len(data)} bytes are more than the {MAX_BYTES} that are read")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_pairs,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise NotCanonical(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        if is_marker(data) or find_conflict(data):
            raise NotCanonical(CONFLICT) from None
        raise NotCanonical(f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise NotCanonical("nested too deeply") from None
    except ValueError as error:
        raise error if isinstance(error, NotCanonical) else NotCanonical(str(error)) from None
    _check(value, 0)
    return value


def loads_canonical(data: bytes) -> Any:
    """Like `loads`, and refuses bytes that are not exactly the canonical ones of their value."""
    # Bytes that are those of their value hold no key twice and no NaN. What else JSON leaves open takes an escape, a
    # long number or that many brackets, and most lines have none of them.
    if not (b"\\u" in data or data.count(b"{") + data.count(b"[") > MAX_DEPTH):
        with contextlib.suppress(ValueError):  # `loads` names what is wrong
            value = _PLAIN_DECODER.decode(data.decode("utf-8"))
            if _encode(value) == data:
                return value
    value = loads(data)
    if _encode(value) != data:  # `loads` has checked the value
        raise NotCanonical("the bytes are not the canonical form of what they say")
    return value


def sha256(value: Any) -> str:
    """SHA-256 (hex) of the canonical bytes of `value`."""
    return hashlib.sha256(dumps(value)).hexdigest()


def exact(number: float | int | Decimal) -> Decimal:
    """The decimal number that was recorded, exactly: six recorded decimals stay six decimals.

    `repr` of a float is the shortest text that reads back as it, so this undoes nothing and adds nothing.

    >>> exact(0.1) + exact(0.2)
    Decimal('0.3')
    """
    return number if isinstance(number, Decimal) else Decimal(repr(number))
