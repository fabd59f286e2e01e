"""The base of every pydantic model here, and the one way in which a failed validation is told.

An error names the file, the path inside it, what was found, what was expected: `params.yaml: rungs.rung2.seeds.0:
found 'x', expected a whole number`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from stages.domain import canonical, names
from stages.domain.canonical import JsonObject
from stages.domain.errors import Invalid, Mistake, mistake

#: More mistakes than this in one file are not listed: the first ones say what is wrong with it.
MAX_MISTAKES = 100
#: The same for a file that this project wrote itself, where the remedy is to write it anew.
MOST_RECORDED_MISTAKES = 3


class Strict(BaseModel):
    """Immutable, unknown keys refused, no coercion: `"2"` is not 2."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def whole_number(value: object) -> object:
    """A float that is a whole number as an int, exactly as its decimal digits say; anything else as it is.

    A float beyond `canonical.MAX_WHOLE` is left one.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) <= canonical.MAX_WHOLE:
        return int(Decimal(repr(value)))
    return value


#: After the constraints of a whole number that people write in YAML, where `1e9` is a float.
WHOLE = BeforeValidator(whole_number)


class Recorded(BaseModel):
    """The base of what is read back from stored JSON: no coercion, no NaN; keys that nobody reads may come and go."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class RecordedFile(Recorded):
    """A whole stored JSON value with its schema."""

    model_config = ConfigDict(populate_by_name=True)

    schema_: Annotated[Literal[1], Field(alias="schema")]

    def to_json(self) -> JsonObject:
        """The JSON value, its keys in the order of the fields."""
        return self.model_dump(by_alias=True)

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        return canonical.dumps(self.to_json())


_OTHER_THAN_TEXT = re.compile(
    r"[0-9_]+|0x[0-9a-f_]+|0o[0-7_]+|0b[01_]+|[0-9][0-9_]*e-?[0-9]+|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*|null|true|false"
)


@lru_cache(maxsize=4096)
def _key(text: str) -> str:
    if names.is_device(text):
        raise ValueError("another name: Windows keeps this one for a device")
    if _OTHER_THAN_TEXT.fullmatch(text):
        raise ValueError("another name: YAML, and so DVC, reads this one as a number, a date, a truth value or null")
    if not names.is_name(text, names.KEY):
        raise ValueError(f"a name without dots: lower-case letters, digits, '_', '-', at most {names.MAX_NAME} of them")
    return text


Key = Annotated[str, AfterValidator(_key)]
_SHA256 = r"^[0-9a-f]{64}$"
_COMMIT = r"^([0-9a-f]{40}|[0-9a-f]{64})$"
_RUNG, _GATE = r"^rung[1-9][0-9]?$", r"^gate[1-9][0-9]?$"
Sha256 = Annotated[str, Field(pattern=_SHA256)]
CommitId = Annotated[str, Field(pattern=_COMMIT)]
RungName = Annotated[str, Field(pattern=_RUNG)]
GateName = Annotated[str, Field(pattern=_GATE)]
Text = Annotated[str, Field(max_length=4000)]

Model = TypeVar("Model", bound=BaseModel)


def _shorten(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else "null" if value is None else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


#: pydantic's name of a mistake -> what was expected, in YAML's words and not in Python's.
_TYPES = {
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a mapping"),
    **dict.fromkeys(("list_type", "tuple_type"), "a list"),
    **dict.fromkeys(("int_type", "int_from_float", "int_parsing"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "text",
}
_PATTERNS = {
    _SHA256: "64 hexadecimal digits in lower case",
    _COMMIT: "the whole id of a commit: 40 or 64 hexadecimal digits in lower case",
    _RUNG: "a rung: rung1, rung2, ...",
    _GATE: "a gate: gate1, gate2, ...",
}
_LEAD = re.compile(r"^(Input should be|(String|List|Dictionary|Tuple) should have|Value error,) ")
_TAIL = re.compile(r" after validation, not \d+$")


def _expected(error: Any) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        return "no such key"
    if kind in ("missing", "union_tag_not_found"):
        return "a value: the key is missing"
    if kind == "union_tag_invalid":
        return f"one of {error['ctx']['expected_tags']}"
    pattern = error["ctx"]["pattern"] if kind == "string_pattern_mismatch" else None
    if pattern in _PATTERNS:
        return _PATTERNS[pattern]
    words = _TYPES.get(kind) or _TAIL.sub("", _LEAD.sub("", str(error["msg"])))
    return words + _hint(kind, error["input"])


def _hint(kind: str, value: object) -> str:
    """What to write instead, where YAML reads something else than its writer meant."""
    if kind == "string_type" and isinstance(value, bool | int | float):
        return ": put it in quotes"
    if kind in ("int_type", "int_from_float", "float_type") and isinstance(value, str):
        return ": take the quotes away" if re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?", value) else ""
    if kind in ("int_type", "int_from_float") and isinstance(whole := whole_number(value), int):
        return f": write {whole}" if not isinstance(value, bool) else ""
    return ""


def _place(error: Any, value: Any) -> str:
    """The dotted path inside the file. pydantic also names the kind of a union that it chose, which no file holds."""
    kept: list[str] = []
    parts = [part for part in error["loc"] if not str(part).endswith("[key]")]
    skipped = False  # a key of the chosen kind may have the kind's own name
    for at, part in enumerate(parts):
        last, absent = at == len(parts) - 1, isinstance(value, dict) and part not in value
        if isinstance(value, list) and not isinstance(part, int):
            continue  # the kind of a union that wants no list
        chosen = isinstance(value, dict) and value.get("kind") == part and not last
        if chosen and not skipped:
            skipped = True
            continue
        skipped = False
        if absent and not (error["type"] == "missing" and last):
            continue
        kept.append(str(part))
        value = value[part] if isinstance(value, dict | list) and not absent else None
    if error["type"].startswith("union_tag_"):
        kept.append(error["ctx"]["discriminator"].strip("'"))
    return ".".join(kept)


def _mistake(error: Any, where: str, value: Any) -> Mistake:
    place, expected = _place(error, value), _expected(error)
    if not place:  # a check over the whole file names its own place
        return mistake(where, "", expected, "")
    if error["type"] in ("missing", "union_tag_not_found"):
        return mistake(where, place, "", expected)
    actual = error["ctx"]["tag"] if error["type"] == "union_tag_invalid" else error["input"]
    return mistake(where, place, _shorten(actual), expected)


def _write_line(entry: Mistake) -> str:
    if not entry.place:
        return entry.found
    actual = f"found {entry.found}, " if entry.found else ""
    return f"{entry.place}: {actual}expected {entry.expected}"


def explain(error: ValidationError, where: str, value: Any = None) -> Invalid:
    """The failed validation of `value` as an error of lines that each stand alone."""
    mistakes = [_mistake(item, where, value) for item in error.errors(include_url=False)[:MAX_MISTAKES]]
    if error.error_count() > MAX_MISTAKES:
        mistakes.append(mistake(where, "", f"and {error.error_count() - MAX_MISTAKES} more mistakes", ""))
    return Invalid("\n".join(f"{where}: {_write_line(entry)}" for entry in mistakes), *mistakes)


def parse(model: type[Model], value: Any, where: str) -> Model:
    """`value` as `model`, or `Invalid` with every mistake on a line of its own."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise explain(error, where, value) from None
    except RecursionError:
        raise Invalid.at(where, "nested too deeply") from None


def parse_recorded(model: type[Model], value: Any, where: str, remedy: str) -> Model:
    """`value`, stored JSON, as `model`; `Invalid` with the first mistakes, their places, and the remedy."""
    if not isinstance(value, dict):
        raise Invalid.at(where, f"found {type(value).__name__}, expected an object; {remedy}")
    try:
        return parse(model, value, where)
    except Invalid as error:
        lines = str(error).split("\n")
        left = len(lines) - MOST_RECORDED_MISTAKES
        more = [f"{where}: and {left} more mistakes"] if left > 0 else []
        message = "\n".join([*lines[:MOST_RECORDED_MISTAKES], *more]) + f"; {remedy}"
        raise Invalid(message, *error.mistakes[:MOST_RECORDED_MISTAKES]) from None
