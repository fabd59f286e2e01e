"""docs/params.md and docs/schemas/params.json say what the schema of params.yaml says, and nothing else.

python -m tests.test_params        write both anew
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any, get_args

import jsonschema
import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from stages.domain import rules
from stages.domain.command import CommandSettings, Score, Timeout
from stages.domain.corpus import Data, DataFiles, JsonLinesSource, PackageSource, ParquetSource, PinnedFile, TextSource
from stages.domain.origin import Origin
from stages.domain.study import About, Clock, Host, Rung, Study
from tests.support.repo import PROJECT
from trainer import spec

PAGE = PROJECT / "docs" / "params.md"
SCHEMA = PROJECT / "docs" / "schemas" / "params.json"
REGENERATE = "python -m tests.test_params writes it anew"
JSON = dict[str, Any]  # a JSON Schema, whose form is pydantic's

INTRODUCTION = """# params.yaml

Every key of a study's file. `promotion study check FILE` judges a file by what stands here and by what the keys must be together;
its messages name line and key. Whole numbers may be written `1e9`, seeds may not: DVC puts them into commands as they are written.

Written by `python -m tests.test_params` from the schema in `stages/domain/study.py`, `stages/domain/corpus.py` and
`stages/domain/rules.py`. [schemas/params.json](schemas/params.json) is the same for editors, which then complete and check keys: begin
a file in `studies/` with

```yaml
# yaml-language-server: $schema=../docs/schemas/params.json
```

or, in VS Code with the YAML extension, map the schema to all of them in `.vscode/settings.json`:

```json
{"yaml.schemas": {"docs/schemas/params.json": ["params.yaml", "studies/*.yaml"]}}
```
"""
SECTIONS: tuple[tuple[str, str, tuple[type[BaseModel], ...]], ...] = (
    ("study", "", (About,)),
    ("study.from", "Written by `promotion study extend`, and held against git by `promotion verify` (V31).", (Origin,)),
    ("data", "", (Data,)),
    ("data.source", "One of five kinds.", (PackageSource, TextSource, JsonLinesSource, ParquetSource, DataFiles)),
    ("data.source.files", "Of every kind but `package`.", (PinnedFile,)),
    ("clock", "", (Clock,)),
    ("hosts.NAME", "", (Host,)),
    ("rungs.rungN", "", (Rung,)),
    ("runner, of kind `command`", "", (CommandSettings,)),
    ("runner.score", "", (Score,)),
    ("runner.timeout", "", (Timeout,)),
)
KNOBS = (
    ("runner", "The settings of the built-in runner (`trainer/`), the same for every run.", spec.Runner),
    ("configs.NAME", "The knobs of the built-in runner (`trainer/`), by which configurations differ.", spec.Config),
)


def number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def described_type(value: JSON) -> str:
    """The type and bounds of a key in words."""
    if "$ref" in value or "oneOf" in value:
        return "a mapping; see below"
    if "anyOf" in value:
        return " or ".join(described_type(option) for option in value["anyOf"] if option.get("type") != "null")
    if "enum" in value or "const" in value:
        return " or ".join(f"`{option}`" for option in value.get("enum", [value.get("const")]))
    if value["type"] == "array":
        low, high = value.get("minItems", 0), value.get("maxItems")
        size = f", {low} to {high} of them" if high else ", at least 1" if low else ""
        return f"a list{size}: {described_type(value['items'])}"
    if value["type"] == "object":
        return "a mapping"
    kind = {"string": "text", "integer": "a whole number", "number": "a number", "boolean": "`true` or `false`"}
    words = kind[value["type"]]
    low, high = value.get("minimum", value.get("exclusiveMinimum")), value.get("maximum")
    above = "more than " if "exclusiveMinimum" in value else ""
    if low is not None and high is not None:
        words += (
            f", {above}{number(low)} to {number(high)}"
            if not above
            else f", {above}{number(low)}, at most {number(high)}"
        )
    elif low is not None:
        words += f", {above}{number(low)}" + ("" if above else " or more")
    if "maxLength" in value:
        words += f", at most {value['maxLength']} characters"
    if value.get("pattern") == "^[0-9a-f]{64}$":
        words = "64 hexadecimal digits"
    return words


def default(value: JSON, required: bool) -> str:
    if required:
        return "required"
    given = value.get("default")
    return (
        {None: "none", "": "empty"}.get(given) or f"`{json.dumps(given).strip(chr(34))}`"
        if "default" in value
        else "`{}`"
        if value.get("type") == "object" or "$ref" in value
        else "`[]`"
    )


def table(model: type[BaseModel]) -> Iterator[str]:
    """The keys of a model, one a row."""
    schema = model.model_json_schema(by_alias=True)
    yield "| key | value | default | |"
    yield "|---|---|---|---|"
    for key, value in schema["properties"].items():
        options = value.get("anyOf", [value])
        described = described_type({**value, **options[0]} if len(options) == 2 else value)
        given = default(value, key in schema.get("required", []))
        yield f"| `{key}` | {described} | {given} | {value.get('description', '')} |"


def prose(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def knob_table(kind: type) -> Iterator[str]:
    yield "| key | value | default |"
    yield "|---|---|---|"
    for item in dataclasses.fields(kind):
        kinds = {"int": "a whole number", "float": "a number", "str": "text", "bool": "`true` or `false`"}
        words = kinds[str(item.type).split(" ")[0]]
        if "low" in item.metadata:
            words += f", {number(item.metadata['low'])} to {number(item.metadata['high'])}"
        missing = item.default is dataclasses.MISSING
        given = "required" if missing else "none" if item.default is None else f"`{item.default}`"
        yield f"| `{item.name}` | {words} | {given} |"


def rule_kinds() -> list[type[BaseModel]]:
    return list(get_args(get_args(rules.Rule)[0]))


def page() -> str:
    """docs/params.md."""
    lines = [INTRODUCTION]
    top = Study.model_json_schema(by_alias=True)
    lines += ["## Sections", "", "| section | |", "|---|---|"]
    models = {"study": About, "data": Data, "clock": Clock}
    for key, value in top["properties"].items():
        words = value.get("description") or prose(models[key])
        lines.append(f"| `{key}` | {words} |")
    for title, words, kinds in SECTIONS:
        lines += ["", f"## {title}", ""] + ([words, ""] if words else [])
        for model in kinds:
            lines += [prose(model), "", *table(model), ""]
        lines.pop()
    for title, words, kind in KNOBS:
        lines += ["", f"## {title}", "", words, "", *knob_table(kind)]
    lines += [
        "",
        "## gates.gateN",
        "",
        "A mapping from rule id (R1 to R999) to a rule. What a rule that holds does is its effect:",
    ]
    lines += [
        "`require` must hold, or the gate promotes nobody; `promote` lets a candidate through; `stop` stops one, save a kept"
    ]
    lines += ["role; `verdict` is a statement and promotes nobody."]
    for model in rule_kinds():
        kind = model.model_fields["kind"].annotation
        (name,) = get_args(kind)
        lines += ["", f"### {name}", "", f"Effect: `{rules.EFFECTS[name]}`. {prose(model)}"]
        rows = [row for row in table(model) if not row.startswith("| `kind` ")]
        if len(rows) > 2:
            lines += ["", *(row.removesuffix("  |") + " |" if row.endswith("|  |") else row for row in rows)]
    return "\n".join(lines) + "\n"


def knob_schema(kind: type) -> JSON:
    """The JSON Schema of the built-in runner's own settings."""
    types = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}
    properties: JSON = {}
    for item in dataclasses.fields(kind):
        names = [types.get(name, "null") for name in str(item.type).split(" | ")]
        value: JSON = {"type": names[0] if len(names) == 1 else names}
        if "low" in item.metadata:
            value |= {"minimum": item.metadata["low"], "maximum": item.metadata["high"]}
        properties[item.name] = value
    required = [item.name for item in dataclasses.fields(kind) if item.default is dataclasses.MISSING]
    return {"type": "object", "properties": properties, "required": required}


def json_schema() -> JSON:
    """docs/schemas/params.json: pydantic's own, and the built-in runner's settings where no other runner is asked for."""
    schema = Study.model_json_schema(by_alias=True)
    other = {"properties": {"runner": {"required": ["kind"], "properties": {"kind": {"not": {"const": "builtin"}}}}}}
    runner, config = knob_schema(spec.Runner), {**knob_schema(spec.Config), "additionalProperties": False}
    runner["additionalProperties"] = False
    runner["properties"]["kind"] = {"const": "builtin"}
    builtin = {"properties": {"runner": runner, "configs": {"additionalProperties": config}}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "if": other, "else": builtin}


def schema_text() -> str:
    return json.dumps(json_schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def test_the_reference_of_params_yaml_is_what_its_schema_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), REGENERATE


def test_the_schema_for_editors_is_the_one_that_is_used() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(), REGENERATE


def test_every_key_of_a_section_is_explained() -> None:
    for model in (
        About,
        Origin,
        Data,
        PackageSource,
        TextSource,
        JsonLinesSource,
        ParquetSource,
        PinnedFile,
        Clock,
        Host,
        Rung,
        DataFiles,
        CommandSettings,
        Score,
        Timeout,
    ):
        plain = {"kind", "source", "version"}
        assert [key for key, field in model.model_fields.items() if not field.description and key not in plain] == []


def test_every_kind_of_rule_has_a_heading_and_its_numbers() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for kind in rules.EFFECTS:
        assert f"\n### {kind}\n" in text
    for key in ("`k`", "`by`", "`gap`", "`of`", "`tau`", "`multiple`", "`margin`", "`most`", "`role`", "`to`"):
        assert f"| {key} |" in text


def study(name: str) -> JSON:
    value: JSON = YAML(typ="safe").load((PROJECT / "studies" / f"{name}.yaml").read_text(encoding="utf-8"))
    return value


@pytest.mark.parametrize(
    "name", ["autoresearch", "laptop", "litgpt", "nanochat", "nanogpt", "paper", "smoke", "smoke-gpu"]
)
def test_the_ready_studies_are_what_the_schema_for_editors_expects(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(study(name), json_schema())


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("study", "mode", "frozzen"),
        ("study", "titel", "x"),
        ("data", "vocab_size", "512"),
        ("runner", "head_dmi", 8),
        ("clock", "kind", "sun"),
        ("hosts", "cpu-fp32", {}),
        ("configs", "d1-a", {"depth": "1"}),
        ("rungs", "rung1", {"seeds": []}),
        ("gates", "gate1", {"R1": {"kind": "vibes"}}),
        ("gates", "gate1", {"R1": {"kind": "top_k", "k": 0}}),
    ],
)
def test_an_editor_marks_what_is_wrong(section: str, key: str, value: Any) -> None:
    wrong = study("smoke")
    wrong[section][key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, json_schema())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
    SCHEMA.write_text(schema_text(), encoding="utf-8", newline="\n")
