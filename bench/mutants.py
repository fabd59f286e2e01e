"""Do the tests notice? Small changes of the code, drawn at random, each tried against the tests of its folder.

    make mutants SEED=1                                     100 mutants, as many of each folder as of any other
    python -m bench.mutants --seed 1 --count 12 --rooms stages/domain stages/repo

A mutant is one change of one node of a module's syntax: a comparison turned, a number one larger, `and` for `or`, a
condition negated, a `return` of None, a statement left out. It is made in a copy of the files that git tracks, where
the tests of the folder's room run until the first failure. Prints the score of each folder and every survivor.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOTS = ("stages", "report", "trainer")
#: Seconds for the tests of one mutant: one that loops for ever is killed by the limit.
LIMIT_SECONDS = 900
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.BitOr: ast.BitAnd,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A changed module: its path, the line, the text before and after, and the whole changed source."""

    path: str
    line: int
    before: str
    after: str
    source: str

    @property
    def room(self) -> str:
        """The folder by which scores are counted."""
        parts = Path(self.path).parts
        return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


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
    if isinstance(node, ast.Return) and node.value is not None:
        yield lambda n: setattr(n, "value", ast.Constant(None))


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
        for node in (inner for statement in function.body for inner in ast.walk(statement)):
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
    return Mutant(name, node.lineno, data[start:end].decode("utf-8"), text, changed)


def draw(root: Path, seed: int, count: int, rooms: Sequence[str]) -> list[Mutant]:
    """So many mutants, as many of each room as of any other, the same ones for the same seed and code."""
    by_room: dict[str, list[Mutant]] = defaultdict(list)
    for path in sorted(path for top in ROOTS for path in (root / top).rglob("*.py")):
        for mutant in mutants_of(path, root):
            if (not rooms or mutant.room in rooms) and _parses(mutant.source):
                by_room[mutant.room].append(mutant)
    chance = random.Random(seed)
    for mutants in by_room.values():
        chance.shuffle(mutants)
    drawn: list[Mutant] = []
    while len(drawn) < count and any(by_room.values()):
        for room in sorted(by_room):
            if by_room[room] and len(drawn) < count:
                drawn.append(by_room[room].pop())
    return drawn


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def select_tests(mutant: Mutant, root: Path) -> list[str]:
    """The tests of a mutant's room, those of the module's own name first; for stages itself those of the pipeline."""
    parts = Path(mutant.path).parts
    room = parts[1] if parts[0] == "stages" and len(parts) > 2 else parts[0]
    folders = ["commands", "pipeline"] if room == "stages" else [room]
    named = sorted((root / "tests").rglob(f"test_{Path(mutant.path).stem}.py"))  # those of its own name first
    tests = [path.relative_to(root).as_posix() for path in named]
    return tests + [f"tests/{folder}" for folder in folders if (root / "tests" / folder).is_dir()]


def is_killed(mutant: Mutant, copy_root: Path, only: Sequence[str]) -> bool:
    """Whether a test of the room fails where the mutant stands in the place of its module."""
    path = copy_root / mutant.path
    whole = path.read_bytes()
    path.write_text(mutant.source, encoding="utf-8", newline="\n")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *only]
    words = [*command, *select_tests(mutant, copy_root)]
    options = {**os.environ, "PYTHONPATH": str(copy_root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(words, cwd=copy_root, env=options, capture_output=True, timeout=LIMIT_SECONDS)
        return done.returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_bytes(whole)


def copy_tracked(root: Path, target: Path) -> None:
    """Copy the files that git tracks, and the environment as a link."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True).stdout
    for name in filter(None, listed.decode("utf-8").split("\0")):
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((root / name).read_bytes())
    subprocess.run(["git", "init", "-q"], cwd=target, check=True)


def main() -> None:
    """Draw, try, and print the scores and the survivors."""
    parser = argparse.ArgumentParser(prog="python -m bench.mutants", description="Try the tests on changed code.")
    parser.add_argument("--seed", type=int, default=0, help="which mutants are drawn (%(default)s)")
    parser.add_argument("--count", type=int, default=100, help="how many (%(default)s)")
    parser.add_argument("--rooms", nargs="*", default=[], metavar="FOLDER", help="such as stages/domain; default: all")
    parser.add_argument("--quick", action="store_true", help="only tests that are neither slow nor need a browser")
    arguments = parser.parse_args()
    root, only = Path.cwd(), ["-m", "not slow and not browser"] if arguments.quick else []
    outcomes: dict[str, list[tuple[Mutant, bool]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy_tracked(root, Path(folder))
        for number, mutant in enumerate(draw(root, arguments.seed, arguments.count, arguments.rooms), start=1):
            killed = is_killed(mutant, Path(folder), only)
            outcomes[mutant.room].append((mutant, killed))
            print(f"{number}: {'killed' if killed else 'SURVIVED'} {mutant.path}:{mutant.line}", file=sys.stderr)
    for room, tried in sorted(outcomes.items()):
        print(f"{room}: {sum(killed for _, killed in tried)} of {len(tried)} killed")
    for mutant, killed in (pair for tried in outcomes.values() for pair in tried):
        if not killed:
            print(f"\nsurvived: {mutant.path}:{mutant.line}\n- {mutant.before}\n+ {mutant.after}")


if __name__ == "__main__":
    main()
