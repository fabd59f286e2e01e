"""The base of every pydantic model here, and the one way in which a failed validation is told.

An error names the file, the path inside it, what was found, what was expected: `params.yaml: rungs.rung2.seeds.0:
found 'x', expected a valid integer`.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from stages.domain import names

#: More mistakes than this in one file are not told: the first ones say what is wrong with it.
MAX_MISTAKES = 100


class Strict(BaseModel):
    """Immutable, unknown keys refused, no coercion: `"2"` is not 2."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Invalid(ValueError):
    """A file that does not fit its schema. The message stands alone: file, place, found, expected, remedy."""


def _name(text: str) -> str:
    if not names.is_name(text):
        raise ValueError(f"a name: lower-case letters, digits, '.', '_', '-', at most {names.MAX_NAME} of them")
    return text


def _key(text: str) -> str:
    if not names.is_name(text, names.KEY):
        raise ValueError(f"a name without dots: lower-case letters, digits, '_', '-', at most {names.MAX_NAME} of them")
    return text


Name = Annotated[str, AfterValidator(_name)]
Key = Annotated[str, AfterValidator(_key)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=4000)]

Model = TypeVar("Model", bound=BaseModel)


def _found(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _expected(error: Any) -> str:
    kind, message = error["type"], error["msg"]
    if kind == "extra_forbidden":
        return "no such key"
    if kind == "missing":
        return "a value: the key is missing"
    if kind == "value_error":
        return str(message).removeprefix("Value error, ")
    return str(message).removeprefix("Input should be ")


def explain(error: ValidationError, where: str) -> str:
    """The failed validation as lines that each stand alone."""
    lines = []
    for item in error.errors(include_url=False)[:MAX_MISTAKES]:
        place = ".".join(str(part) for part in item["loc"] if not str(part).endswith("[key]")) or "(top)"
        found = "" if item["type"] == "missing" else f"found {_found(item['input'])}, "
        lines.append(f"{where}: {place}: {found}expected {_expected(item)}")
    if error.error_count() > MAX_MISTAKES:
        lines.append(f"{where}: and {error.error_count() - MAX_MISTAKES} more mistakes")
    return "\n".join(lines)


def parse(model: type[Model], value: Any, where: str) -> Model:
    """`value` as `model`, or `Invalid` with every mistake on a line of its own."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Invalid(explain(error, where)) from None
    except RecursionError:
        raise Invalid(f"{where}: nested too deeply") from None
