"""Names say what a value is: no filler for a local that lives longer than a line, and one class to a name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.repo import PROJECT

#: Words that say nothing of the value that they name.
FILLERS = {"one", "found", "told", "made", "held", "here"}
MOST_FILLERS = 200
#: What stages/ and the trainer both have: the trainer imports nothing of ours, so it declares its side of what it is given
#: (specification) and gives back (progress, errors) itself, and its code is frozen with the evidence.
ALSO_IN_TRAINER = {"Clock", "CorpusError", "Host", "Progress", "Runner"}
MAX_ANY = 60


@cache
def trees(*roots: str) -> dict[str, ast.Module]:
    """The syntax tree of every module below these folders, by path."""
    paths = [path for root in roots for path in sorted((PROJECT / root).rglob("*.py"))]
    return {path.relative_to(PROJECT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def fillers_of(tree: ast.Module) -> Iterator[ast.Name]:
    """Every use of a filler as a name."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in FILLERS)


def long_lived_fillers(tree: ast.AST) -> Iterator[ast.Name]:
    """The fillers that an assignment, a loop or a `with` binds; those of a comprehension end with it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.comprehension):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in FILLERS:
            yield node
        if isinstance(node, ast.ClassDef):  # a field is named for who reads it, `found` beside `expected`
            yield from (
                name for part in node.body if not isinstance(part, ast.AnnAssign) for name in long_lived_fillers(part)
            )
        else:
            yield from long_lived_fillers(node)


def classes_of(path: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(name, path) of every public class of a module."""
    return ((node.name, path) for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_")


def test_hardly_any_name_is_a_filler():
    counts = {path: len(list(fillers_of(tree))) for path, tree in trees("stages", "report", "bench").items()}
    assert sum(counts.values()) < MOST_FILLERS, {path: count for path, count in counts.items() if count}


def test_no_filler_lives_longer_than_a_line():
    lived = [
        f"{path}:{name.lineno}: {name.id}"
        for path, tree in trees("stages", "report", "bench").items()
        for name in long_lived_fillers(tree)
    ]
    assert lived == []


def test_a_public_class_has_a_name_of_its_own():
    places = defaultdict(list)
    for path, tree in trees("stages", "report", "bench", "trainer").items():
        for name, where in classes_of(path, tree):
            places[name].append(where)
    assert {name: where for name, where in places.items() if len(where) > 1 and name not in ALSO_IN_TRAINER} == {}


def test_hardly_any_value_is_a_dictionary_of_anything():
    mentions = {
        path: (PROJECT / Path(path)).read_text(encoding="utf-8").count("dict[str, Any]")
        for path in trees("stages", "report", "bench")
    }
    assert sum(mentions.values()) < MAX_ANY, {path: count for path, count in mentions.items() if count}
