"""The text in a field of a record: a string, or strings further down in objects and lists.

text: text                  {"text": "..."}
text: document.body         {"document": {"body": "..."}}
text: messages.content      {"messages": [{"content": "..."}, {"content": "..."}]}, joined by LF
"""

from __future__ import annotations

from typing import Any

from stages.corpora.inputs import CorpusError
from stages.corpora.streams import decode


def text_at(value: Any, field: str, place: str) -> str:
    """The text in `field`, keys joined by dots, of a foreign value; '' where there is none.

    A key that itself holds the dots comes first. A list gives the texts of its items, one a line. `CorpusError` names
    `place` where something else than text is found.
    """
    return "\n".join(_texts(value, field, place, field))


def _texts(value: Any, rest: str, place: str, field: str) -> list[str]:
    """The texts below `value`; `rest` are the keys of `field` that are still to go."""
    if value is None:
        return []
    if isinstance(value, list):
        return [text for item in value for text in _texts(item, rest, place, field)]
    if isinstance(value, dict) and rest:
        key, _, below = (rest, "", "") if rest in value else rest.partition(".")
        if key not in value:
            raise CorpusError(f"{place}: no key {key!r} on the way to {field!r}; found {', '.join(sorted(value)[:20])}")
        return _texts(value[key], below, place, field)
    if isinstance(value, str) and not rest:
        return [value]
    if isinstance(value, bytes) and not rest:
        if (at := value.find(b"\0")) >= 0:
            raise CorpusError(f"{place}: byte {at} is NUL, which no text holds; is it binary data?")
        return [decode(value, place, 0)]
    raise CorpusError(f"{place}: {field!r} is a {type(value).__name__}, expected text")
