"""Where two JSON values differ, by JSON pointer.

>>> list(differences({"a": [1, 2], "b": 3}, {"a": [1, 5]}))
[('/a/1', 2, 5), ('/b', 3, nothing)]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class _Absent:
    """The value of a key or place that one of two values lacks."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT = _Absent()
_PLAIN = frozenset({str, int, float, bool})


def equal(left: Any, right: Any) -> bool:
    """Whether two plain values are equal: true is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def differences(
    actual: Any, expected: Any, pointer: str = "", *, into_lists: bool = True
) -> Iterator[tuple[str, Any, Any]]:
    """(JSON pointer, actual, expected) wherever two JSON values differ; `ABSENT` where one of them has nothing.

    Lists of one length are compared item by item, or with `into_lists=False` as a whole.
    """
    if isinstance(actual, dict) and isinstance(expected, dict):
        for key in sorted(actual.keys() | expected.keys()):
            value, should = actual.get(key, ABSENT), expected.get(key, ABSENT)
            if value is should or (type(value) is type(should) and type(value) in _PLAIN and value == should):
                continue
            at = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            yield from differences(value, should, at, into_lists=into_lists)
    elif into_lists and isinstance(actual, list) and isinstance(expected, list) and len(actual) == len(expected):
        for place, items in enumerate(zip(actual, expected, strict=True)):
            yield from differences(*items, f"{pointer}/{place}")
    elif not equal(actual, expected):
        yield pointer, actual, expected
