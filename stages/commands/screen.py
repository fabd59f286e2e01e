"""Design a screening study, and see the effects of its factors.

    promotion screen design studies/screen.yaml --resolution 5
                                    print the configurations of the smallest design that keeps main effects and
                                    interactions of two factors apart, with its generators and aliases
    promotion screen design studies/screen.yaml --resolution 5 --write      and put them into the file
    promotion screen effects        the effects at every budget on every host, from locks and ledger

`factors` in the file say what is varied; knobs that no factor sets are those of its `configs`. A screen is an ordinary
study after that: freeze, run, verify. docs/screen.md says how to read the effects.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.domain import canonical, files, yamlio
from stages.domain.errors import Invalid
from stages.domain.factors import Factors, Scalar, describe_level
from stages.domain.formatting import count

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

    from stages.screen.design import FactorialDesign
    from stages.screen.effects import Effect, FactorCourse
    from stages.screen.recorded import Screen

#: What belongs to a section after its last value: the rest of that line, and indented comments right below.
_REST = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?:(?:\r\n|[\r\n])(?:[ \t]*(?:\r\n|[\r\n]))*[ \t]+#[^\r\n]*)*")
_COLON = re.compile(r"[ \t]*:")
_LINE_END = re.compile(r"\r\n|[\r\n]")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion screen`."""
    actions = parser.add_subparsers(dest="action", metavar="design|effects", required=True)
    design = actions.add_parser("design", help="the configurations of a factorial design")
    design.add_argument("file", type=Path, metavar="FILE", help="a study's file with `factors`")
    design.add_argument(
        "--resolution", type=int, choices=(3, 4, 5), default=5, help="of the fraction (default: %(default)s)"
    )
    design.add_argument("--write", action="store_true", help="put the configurations into FILE")
    effects = actions.add_parser("effects", help="the effects of the factors, from locks and ledger")
    effects.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Design, or show effects."""
    if arguments.action == "design":
        return _design(arguments.file, arguments.resolution, arguments.write)
    return _effects(arguments.json)


def _design(path: Path, resolution: int, write: bool) -> int:
    from stages.screen.design import find_template, make_design, write_configs

    where = path.as_posix()
    data = yamlio.read_bytes(path, "name a study's file with `factors`")
    value = yamlio.loads(data, where)
    if not value.get("factors"):
        raise Invalid.at(where, "missing, expected two factors or more, such as {depth: {depth: [1, 2]}}", "factors")
    factors = _parse_section(value, "factors", Factors, where)
    template = find_template(factors, _parse_section(value, "configs", dict[str, dict[str, Scalar]], where))
    design = make_design(factors, resolution)
    configs = write_configs(design, template)
    for line in describe(design):
        print(f"# {line}")
    section = _section(configs)
    if not write:
        print(section, end="")
        return 0
    changed = _replace_section(data.decode("utf-8"), "configs", section).encode("utf-8")
    if not _says(changed, {**value, "configs": configs}):
        raise Invalid.at(where, "the section cannot be replaced where it stands; put the printed one into the file")
    files.write_whole(path, changed)
    print(f"{where}: {count(len(configs), 'configuration')} written; next: `promotion study check {where}`")
    return 0


def _parse_section(value: Mapping[str, object], name: str, kind: Any, where: str) -> Any:
    """A section of a file that is no valid study yet; empty where it is absent."""
    from pydantic import TypeAdapter, ValidationError

    from stages.domain.schema import explain

    content = value.get(name) or {}
    try:
        return TypeAdapter(kind).validate_python(content, strict=True)
    except ValidationError as error:
        raise explain(error, f"{where}: {name}", content) from None


def _replace_section(text: str, key: str, section: str) -> str:
    """The text with the value of a key of the first level, and what is said inside it, replaced by `section`.

    A file without the key gets it at its end. The places are the parser's. Where the whole file is one flow mapping, or
    the key does not begin its line, the result is no YAML or says something else, which the caller must look at.
    """
    from ruamel.yaml import YAML

    ending = _LINE_END.search(text)
    newline = ending[0] if ending else "\n"
    root = YAML(typ="safe", pure=True).compose(text)
    node = next(((name, value) for name, value in root.value if name.value == key), None)
    first = (node or root.value[0])[0].start_mark
    section = "".join(f"{' ' * first.column}{line}{newline}" for line in section.removesuffix("\n").split("\n"))
    if node is None:
        return f"{text.rstrip()}{newline}{newline}{section}"
    start = first.index - first.column
    end = _find_end(*node, text)
    rest = text[end:]
    return text[:start] + section + (rest[len(line_end[0]) :] if (line_end := _LINE_END.match(rest)) else rest)


def _find_end(name: Node, value: Node, text: str) -> int:
    """Where a section ends: a block ends with its last value, not where the parser meets the next key."""
    from ruamel.yaml.nodes import MappingNode, ScalarNode

    while isinstance(value, MappingNode) and not value.flow_style and value.value:
        name, value = value.value[-1]
    end = max(value.end_mark.index, name.end_mark.index)
    if isinstance(value, ScalarNode) and value.value == "" and value.style is None:  # nothing stands there
        colon = _COLON.match(text, name.end_mark.index)
        end = colon.end() if colon else end
    rest = _REST.match(text, len(text[:end].rstrip()))
    assert rest is not None  # it may be empty
    return rest.end()


def _says(data: bytes, value: Mapping[str, object]) -> bool:
    try:
        return yamlio.loads(data, "the file") == value
    except yamlio.BadYaml:
        return False


def describe(design: FactorialDesign) -> Iterator[str]:
    """The design in words: size, resolution, letters, generators, aliases."""
    full = 1
    for factor in design.factors.values():
        full *= len(next(iter(factor.values())))
    kind = f"resolution {design.resolution}" if design.resolution else "full factorial"
    yield f"{count(len(design.rows), 'configuration')} of {full} combinations, {kind}"
    yield ", ".join(f"{letter} {name}" for name, letter in design.letters.items())
    for generator in design.generators:
        yield f"generator {generator}"
    for alias in design.aliases:
        yield f"alias {alias}"


def _section(configs: Mapping[str, Mapping[str, Scalar]]) -> str:
    lines = []
    for name, knobs in configs.items():
        inside = ", ".join(f"{knob}: {json.dumps(value, ensure_ascii=False)}" for knob, value in knobs.items())
        lines.append(f"  {name}: {{{inside}}}\n")
    return "configs:\n" + "".join(lines)


def _effects(as_json: bool) -> int:
    from stages.commands.what_if import read_ledger, read_locks
    from stages.screen.recorded import read_screen

    screen = read_screen(read_locks(), read_ledger())
    if as_json:
        value = {**asdict(screen.effects()), "choices": [asdict(choice) for choice in screen.choices()], "schema": 1}
        print(canonical.dumps(json.loads(json.dumps(value))).decode("utf-8"), end="")
        return 0
    for line in lines(screen):
        print(line)
    return 0


def lines(screen: Screen) -> Iterator[str]:
    """Courses of the factors, then the effects of each budget, the largest first, then the cheaper choices."""
    result = screen.effects()
    for course in result.courses:
        yield say_course(course, screen.factors)
    for gap in result.missing:
        yield f"{gap.rung} on {gap.host}: not evaluable: {gap.reason}"
    for rung, host in dict.fromkeys((effect.rung, effect.host) for effect in result.effects):
        yield f"{rung} on {host}"
        of_budget = [effect for effect in result.effects if (effect.rung, effect.host) == (rung, host)]
        for effect in sorted(of_budget, key=lambda effect: -abs(effect.estimate)):
            yield f"  {_say_effect(effect)}"
    for choice in screen.choices():
        picked = f" ({choice.config})" if choice.config else ""
        yield f"{choice.name}{picked}: {choice.seconds:g} device-seconds, regret {choice.regret:.6f}"


def say_course(course: FactorCourse, factors: Factors) -> str:
    """What becomes of a main effect, in a sentence."""
    from stages.screen.effects import COURSES

    level = describe_level(factors[course.factor], course.penalised)
    return (
        f"{course.factor} on {course.host}: {level} costs {abs(course.first):.6f} at the first budget; "
        f"{COURSES[course.course]} ({course.first:+.6f}, then {course.last:+.6f})"
    )


def _say_effect(effect: Effect) -> str:
    interval = "" if effect.lower is None else f" [{effect.lower:+.6f}, {effect.upper:+.6f}]"
    test = "not replicated, so not tested" if effect.corrected is None else f"corrected p {effect.corrected:.4f}"
    aliases = f"; aliased with {', '.join(effect.aliases)}" if effect.aliases else ""
    return f"{effect.name}: {effect.estimate:+.6f}{interval}, {test}{aliases}"
