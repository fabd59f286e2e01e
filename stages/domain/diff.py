"""Where two JSON values differ, by JSON pointer.

>>> list(differences({"a": [1, 2], "b": 3}, {"a": [1, 5]}))
[('/a/1', 2, 5), ('/b', 3, nothing)]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class _Absent:
    """What stands where one of two values has nothing."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT = _Absent()


def equal(one: Any, two: Any) -> bool:
    """Whether two plain values are one: true is not 1."""
    return isinstance(one, bool) == isinstance(two, bool) and bool(one == two)


def differences(
    found: Any, expected: Any, pointer: str = "", *, into_lists: bool = True
) -> Iterator[tuple[str, Any, Any]]:
    """(JSON pointer, found, expected) wherever two JSON values differ; `ABSENT` where one of them has nothing.

    Lists of one length are compared item by item, or with `into_lists=False` as a whole.
    """
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted({*found, *expected}):
            at = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            yield from differences(found.get(key, ABSENT), expected.get(key, ABSENT), at, into_lists=into_lists)
    elif into_lists and isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for place, items in enumerate(zip(found, expected, strict=True)):
            yield from differences(*items, f"{pointer}/{place}")
    elif not equal(found, expected):
        yield pointer, found, expected
