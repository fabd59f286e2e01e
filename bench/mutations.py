"""Small changes of a module, each as the whole changed source: what `bench.mutants` draws from.

    mutants_of(root / "stages/gate.py", root)       every mutant of its functions

A mutant is one change of one node of a module's syntax: a comparison turned, a number one larger, `and` for `or`, a
condition negated, a `return` of None, a statement left out. All else stays as it is written.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.BitOr: ast.BitAnd,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A changed module: its path, the lines of the change, the text before and after, and the whole changed source."""

    path: str
    line: int
    last_line: int
    before: str
    after: str
    source: str

    @property
    def key(self) -> str:
        """What tells it from every other one."""
        return f"{self.path}:{self.line}-{self.last_line}: {self.before!r} -> {self.after!r}"

    @property
    def room(self) -> str:
        """The folder by which scores are counted."""
        return room_of(Path(self.path))


def room_of(path: Path) -> str:
    """The folder of a module, by its path from the root: `stages/domain`, `report`."""
    return "/".join(path.parts[:2]) if len(path.parts) > 2 else path.parts[0]


def changes_of(node: ast.AST) -> Iterator[Callable[[ast.AST], None]]:
    """The small changes that a node can have, each as what changes a copy of it in place."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARISONS:
        yield lambda n: n.ops.__setitem__(0, _COMPARISONS[type(n.ops[0])]())  # type: ignore[attr-defined]
    if isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield lambda n: setattr(n, "op", other())
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        yield lambda n: setattr(n, "op", _OPERATORS[type(n.op)]())  # type: ignore[attr-defined]
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield lambda n: setattr(n, "value", not n.value)  # type: ignore[attr-defined]
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield lambda n: setattr(n, "value", n.value + 1)  # type: ignore[attr-defined]
    if isinstance(node, ast.Return) and node.value is not None and not _is_nothing(node.value):
        yield lambda n: setattr(n, "value", ast.Constant(None))


def _is_nothing(value: ast.expr) -> bool:
    """Whether a value is empty or false whatever happens: who asks for its truth alone does not tell it from None."""
    elements = [getattr(value, name) for name in ("elts", "keys") if hasattr(value, name)]
    return not value.value if isinstance(value, ast.Constant) else elements == [[]]


def droppable(body: Sequence[ast.stmt]) -> Iterator[int]:
    """The places of statements that can be left out: calls, assignments into something, raises."""
    for place, statement in enumerate(body):
        if isinstance(statement, ast.Raise | ast.AugAssign | ast.Continue | ast.Break) or (
            isinstance(statement, ast.Expr) and not isinstance(statement.value, ast.Constant)
        ):
            yield place


def mutants_of(path: Path, root: Path) -> list[Mutant]:
    """Every mutant of a module's functions."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    name, mutants = path.relative_to(root).as_posix(), []
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for node in (inner for statement in function.body for inner in walk_evaluated(statement)):
            for change in changes_of(node):
                changed = copy.deepcopy(node)
                change(changed)
                mutants.append(_write(name, source, node, ast.unparse(changed)))
            if isinstance(node, ast.If | ast.While | ast.IfExp):
                mutants.append(_write(name, source, node.test, f"not ({ast.unparse(node.test)})"))
            for field in ("body", "orelse", "finalbody"):
                body = getattr(node, field, None)
                if isinstance(body, list):
                    mutants += [_write(name, source, body[place], "pass") for place in droppable(body)]
    return list({(entry.line, entry.source): entry for entry in mutants}.values())


def walk_evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below one, itself included, without annotations: with `from __future__` those are never evaluated."""
    yield node
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from walk_evaluated(child)


def _write(name: str, source: str, node: ast.AST, after: str) -> Mutant:
    """The source with the text of a node replaced; the rest stays as it is written."""
    assert isinstance(node, ast.expr | ast.stmt)
    lines = source.encode("utf-8").split(b"\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    start = starts[node.lineno - 1] + node.col_offset
    end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
    data = source.encode("utf-8")
    text = f"({after})" if isinstance(node, ast.expr) else after
    changed = (data[:start] + text.encode("utf-8") + data[end:]).decode("utf-8")
    return Mutant(name, node.lineno, node.end_lineno or node.lineno, data[start:end].decode("utf-8"), text, changed)
