"""Check V01: what is read is plain files, and nothing stands among them that Python would import in their place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stages.domain import names
from stages.repo.objects import EXECUTABLE, FILE, LINK, REPOSITORY
from stages.verify.check import Case, Problem

PARAMS = names.PARAMS.as_posix()
FOLDERS = ("locks", "ledger", "trainer", "stages")
#: What may be imported from the root of a study. Python looks there first, so a module more could pass for another.
PACKAGES = frozenset({"stages", "trainer", "report", "tests", "bench"})
_PLAIN = re.compile(r"[A-Za-z0-9._@/-]+")
_LOCKS = re.compile(r"locks/(gate[1-9][0-9]?\.yaml(\.sig)?|README\.md)")
_LEDGER = re.compile(r"ledger/(runs\.jsonl|decisions\.jsonl|metrics\.json|README\.md|\.gitignore)")
_COMPILED = (".pyc", ".pyo", ".so", ".pyd", ".dll", ".dylib")
_KINDS = {LINK: "a symbolic link", REPOSITORY: "another repository"}


@dataclass(frozen=True)
class PlainFiles:
    """The files of the study, known to be files."""

    paths: tuple[str, ...]


def check_plain_files(case: Case) -> Iterator[Problem]:
    """What is read is plain files with plain names, UTF-8 and LF, and no unexpected file stands among them.

    No link or other repository stands in their place, and at the root is nothing that Python would import.
    """
    top = [path for path in (PARAMS, "dvc.yaml", "dvc.lock", *FOLDERS) if case.tree.mode(path)]
    paths = top + [path for folder in FOLDERS for path in case.tree.paths(folder)]
    for path in paths:
        yield from _path(path, case)
    yield from _importable(case)
    case.learn(PlainFiles(tuple(paths)))


def _path(path: str, case: Case) -> Iterator[Problem]:
    mode = case.tree.mode(path)
    if mode not in (FILE, EXECUTABLE):
        meaning = "what it points to is not what was committed"
        yield Problem(path, _KINDS.get(mode or "", "no regular file"), "a file", meaning)
    elif path in FOLDERS:
        yield Problem(path, "a file", "a folder", "what should stand in it is hidden")
    elif not _PLAIN.fullmatch(path):
        expected = "a name of ASCII letters, digits, '.', '_', '-', '@'"
        yield Problem(path, f"the name {path!a}", expected, "a look-alike name can hide which file is read")
    elif unexpected := _unexpected(path):
        yield Problem(path, *unexpected)
    elif path.startswith(("locks/", "ledger/")) or path.endswith(("dvc.lock", PARAMS)):
        yield from _text(path, case)


def _unexpected(path: str) -> tuple[str, str, str] | None:
    """(found, expected, meaning) of a file that does not belong where it stands."""
    folder = path.partition("/")[0]
    pattern = {"locks": _LOCKS, "ledger": _LEDGER}.get(folder)
    if pattern and pattern.fullmatch(path) is None:
        return "a file that nothing here writes", "no such file", "it may be taken for evidence"
    if "__pycache__" in path or path.endswith(_COMPILED):
        return "compiled code", "its source alone", "Python may run it in the place of the source that is hashed"
    if folder == "trainer" and not path.endswith(".py"):
        return "a file that is no module", "the modules of the runner alone", "the frozen runner's digest leaves it out"
    return None


def _importable(case: Case) -> Iterator[Problem]:
    """Modules and packages at the root that are not this project's."""
    for path in case.tree.paths():
        folder, _, name = path.partition("/")
        module = not name and (path.endswith((".py", *_COMPILED)))
        package = name.startswith("__init__.") and folder not in PACKAGES
        if module or package:
            meaning = "Python looks at the root first, and could import it in the place of what a run means to import"
            yield Problem(path, "an importable module", "none at the root: move it into a folder", meaning)


def _text(path: str, case: Case) -> Iterator[Problem]:
    data = case.tree.read(path) or b""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        yield Problem(path, f"no UTF-8 at byte {error.start}", "UTF-8", "the file is not the one that was written")
    if b"\r" in data:
        line = data[: data.index(b"\r")].count(b"\n") + 1
        yield Problem(path, "a carriage return", "LF line ends", "its digest is not the recorded one", line=line)
    if path.endswith((".jsonl", ".json", ".yaml", ".lock")) and data and not data.endswith(b"\n"):
        yield Problem(path, "a last line that does not end", "a whole file", "the end may be missing")
