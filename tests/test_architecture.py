"""The house keeps its own plan: which room may import which, as the table in docs/architecture.md says, both ways."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.repo import PROJECT

ROOTS = ("trainer", "stages", "report", "bench")
EVERY_STAGE, EVERY = "every room of stages", "every room"
ROW = re.compile(r"\| `([a-z/]+)` \|(.*)\|")


@cache
def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    paths = [path for root in ROOTS for path in sorted((PROJECT / root).rglob("*.py"))]
    return {".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def room_of(module: str) -> str:
    """The room of a module: its folder below stages/, or the root that it lies in."""
    parts = module.split(".")
    inside = parts[0] == "stages" and len(parts) > 1 and (PROJECT / "stages" / parts[1]).is_dir()
    return "/".join(parts[: 2 if inside else 1])


def statements_of(body: list[ast.stmt], inside_functions: bool) -> Iterator[ast.AST]:
    """Every node of these statements; without those of functions, only what runs when the module is imported."""
    for statement in body:
        is_lazy = isinstance(statement, ast.FunctionDef | ast.ClassDef) or (
            isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"
        )
        if inside_functions or not is_lazy:
            yield from ast.walk(statement)


def imports_of(module: str, inside_functions: bool = True) -> Iterator[str]:
    """The modules of the project that a module imports, wherever in it the import stands."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    for node in statements_of(tree.body, inside_functions):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in ROOTS)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import; write the whole path"
            base = node.module or ""
            if base.partition(".")[0] in ROOTS:
                inner = [f"{base}.{alias.name}" for alias in node.names]
                yield from (name if name in modules() else base for name in inner)


@cache
def arrows() -> dict[tuple[str, str], list[str]]:
    """Every arrow between two rooms, with the imports that draw it."""
    drawn: dict[tuple[str, str], list[str]] = {}
    for module in modules():
        for target in imports_of(module):
            if room_of(module) != room_of(target):
                drawn.setdefault((room_of(module), room_of(target)), []).append(f"{module} imports {target}")
    return drawn


@cache
def table() -> dict[str, set[str]]:
    """The import table of docs/architecture.md: room -> the rooms that it may import."""
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.split("\n## Imports\n")[1].split("\n## ")[0]
    rows = {match[1]: match[2].replace("`", "").strip() for match in ROW.finditer(section)}
    stages = {room for room in rows if room.startswith("stages")}
    wide = {EVERY_STAGE: stages, EVERY: set(rows)}
    return {
        room: wide[text] - {room} if text in wide else {word.strip() for word in text.split(",") if word.strip()}
        for room, text in rows.items()
    }


@cache
def wide_rooms() -> set[str]:
    """The rooms whose line says `every room`, of which no single arrow is promised."""
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return {match[1] for match in ROW.finditer(text) if match[2].replace("`", "").strip() in (EVERY_STAGE, EVERY)}


def test_every_room_has_its_line_in_the_table():
    assert set(table()) == {room_of(module) for module in modules()}


def test_no_room_imports_what_its_line_does_not_name():
    forbidden = [line for (room, target), lines in arrows().items() if target not in table()[room] for line in lines]
    assert forbidden == []


def test_every_import_that_the_table_allows_is_used():
    listed = {(room, target) for room, targets in table().items() if room not in wide_rooms() for target in targets}
    assert sorted(listed - set(arrows())) == []


def test_the_table_has_no_circle():
    left = {room: set(targets) for room, targets in table().items()}
    while left:
        low = [room for room, targets in left.items() if not targets & set(left)]
        assert low, f"a circle among {sorted(left)}"
        for room in low:
            del left[room]


def test_no_module_takes_part_in_a_circle_of_imports():
    """A package may open its door to its own modules in a function; what is imported at once must have an order."""
    left = {module: set(imports_of(module, inside_functions=False)) - {module} for module in modules()}
    while left:
        low = [module for module, targets in left.items() if not targets & set(left)]
        assert low, f"a circle among {sorted(left)}"
        for module in low:
            del left[module]


@pytest.mark.parametrize(("target", "only"), [("trainer", {"stages.runners.builtin"}), ("report", set())])
def test_nothing_in_stages_imports_the_trainer_but_its_runner_and_nothing_imports_the_report(target, only):
    importing = {
        module
        for module in modules()
        if module.startswith("stages") and any(name.partition(".")[0] == target for name in imports_of(module))
    }
    assert importing == only


#: What writes to a stream without the door of stages/domain/foreign_text.py, and the modules that may.
WAYS_OUT = {
    r"\bConsole\(": {"stages/terminal.py"},
    r"rich\.markup|markup=True|from_markup": set(),
    r"sys\.__std(out|err)__|\bstd(out|err)\.buffer|os\.write\(": {
        "stages/hosts/fork_server.py"
    },  # to the pipe of whoever asked for a run
    r"StreamHandler|basicConfig": set(),
    r"xml\.|Markup\(": {"stages/verify/formats.py", "report/render.py", "report/tables.py"},
}
#: Programs that print nothing that others wrote: the watchdogs of child processes.
SILENT = {"stages.hosts.fork_server", "stages.hosts.processes", "stages.runners.process_tree"}


@pytest.mark.parametrize("pattern", WAYS_OUT)
def test_text_has_one_way_out(pattern):
    using = {
        path.relative_to(PROJECT).as_posix()
        for module, path in modules().items()
        if room_of(module) not in ("trainer", "bench") and re.search(pattern, path.read_text(encoding="utf-8"))
    }
    assert using <= WAYS_OUT[pattern] | {"stages/domain/foreign_text.py"}


def test_every_program_begins_at_the_door():
    programs = {
        module: path.read_text(encoding="utf-8")
        for module, path in modules().items()
        if "__main__" in path.read_text(encoding="utf-8")
        and room_of(module) not in ("trainer", "bench")
        and module not in SILENT
    }
    assert [module for module, text in programs.items() if "    main_guard(" not in text] == []


def test_lines_end_where_those_who_own_a_format_end_them():
    """`splitlines` ends a line at ten characters besides LF: whoever writes one of them shows two programs two files."""
    rooms = [path for module, path in modules().items() if room_of(module) not in ("trainer", "bench")]
    assert [path.as_posix() for path in rooms if "splitlines" in path.read_text(encoding="utf-8")] == []
