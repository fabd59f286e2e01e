"""Check V01: what is read is plain files, and nothing stands among them that Python would import in their place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from stages.domain import names, yamlio
from stages.domain.conflicts import find_conflict
from stages.domain.errors import Invalid
from stages.domain.formatting import listed
from stages.repo.checkout import list_ignored
from stages.repo.objects import EXECUTABLE, FILE, LINK, REPOSITORY
from stages.repo.tree import COMPILED, WorkTree
from stages.verify.check import Case, Problem
from stages.verify.look_alikes import fold_name, is_short_name_of, loosen_name, system_name

PARAMS = names.PARAMS.as_posix()
FOLDERS = ("locks", "ledger", "trainer", "stages")
#: What may be imported from the root of a study. Python looks there first, so a module more could pass for another.
PACKAGES = frozenset({"stages", "trainer", "report", "tests", "bench"})
#: The ends of files that Python imports, here or on Windows.
_MODULES = (".py", ".pyw", *COMPILED)
_PLAIN = re.compile(r"[A-Za-z0-9._@/-]+")
_LOCKS = re.compile(r"locks/(gate[1-9][0-9]?\.yaml(\.sig)?|README\.md)")
_LEDGER = re.compile(r"ledger/(runs\.jsonl|hindsight\.jsonl|decisions\.jsonl|metrics\.json|README\.md|\.gitignore)")
_FOLDERS = PACKAGES | set(FOLDERS)
#: Names at the root that mean something here.
_OWN = (
    *(PARAMS, "dvc.yaml", "dvc.lock", ".dvcignore", ".dvc", ".git", ".gitattributes", ".gitignore"),
    *(*sorted(_FOLDERS), "artifacts", "site"),
)
_METADATA = re.compile(r".*\.(?:dist-info|egg-info|egg|egg-link|pth|_pth)", re.I | re.S)
#: What `pip install -e .` leaves behind.
_OWN_METADATA = "staged_promotion.egg-info"
#: What stands at the root of an interpreter or of its library, and what DVC once read or people take it to read.
_ODD = re.compile(r"pyvenv\.cfg|python3?[0-9]*\.zip|dvcfile", re.I)
#: How many bytes are decoded at a time, up to the end of a line.
_BLOCK = 1 << 20
_KINDS = {LINK: "a symbolic link", REPOSITORY: "another repository"}


@dataclass(frozen=True)
class PlainFiles:
    """The files of the study, known to be files."""

    paths: tuple[str, ...]


def check_plain_files(case: Case) -> Iterator[Problem]:
    """All files that are read are plain files with plain names, UTF-8 and LF, and no unexpected file is among them.

    No link and no other repository is in their place, no other name looks like theirs or is theirs on another file
    system, and at the root is nothing that Python would import.
    """
    top = [path for path in (PARAMS, "dvc.yaml", "dvc.lock", *FOLDERS) if case.tree.mode(path)]
    paths = top + [path for folder in FOLDERS for path in case.tree.paths(folder)]
    for path in paths:
        yield from _path(path, case)
    for path in sorted(case.tree.ignored) if isinstance(case.tree, WorkTree) else ():
        case.note(f"{path!a} is not looked at: git ignores it, and no commit holds it")
    yield from _importable(case)
    yield from _metadata(case)
    yield from _colliding(case)
    _note_strangers(case)
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
    elif path.endswith("dvc.yaml"):
        yield from _conflict(path, case.tree.read(path) or b"")


def _unexpected(path: str) -> tuple[str, str, str] | None:
    """(found, expected, meaning) of a file that does not belong where it stands."""
    folder = path.partition("/")[0]
    pattern = {"locks": _LOCKS, "ledger": _LEDGER}.get(folder)
    if pattern and pattern.fullmatch(path) is None:
        return "a file that nothing here writes", "no such file", "it may be taken for evidence"
    if "__pycache__" in path or path.endswith(COMPILED):
        return "compiled code", "its source alone", "Python may run it in the place of the source that is hashed"
    if folder == "trainer" and not path.endswith(".py"):
        return "a file that is no module", "the modules of the runner alone", "the frozen runner's digest leaves it out"
    return None


def _importable(case: Case) -> Iterator[Problem]:
    """Modules and packages at the root that are not this project's."""
    for path in case.tree.paths():
        folder, _, name = path.partition("/")
        module = not name and path.casefold().endswith(_MODULES)
        package = name.startswith("__init__.") and folder not in PACKAGES
        if module or package:
            meaning = "Python looks at the root first, and could import it in the place of what a run means to import"
            yield Problem(path, "an importable module", "none at the root: move it into a folder", meaning)


def _metadata(case: Case) -> Iterator[Problem]:
    """What at the root tells Python which code to load: metadata of packages, and files of paths.

    What git ignores is left out: pip writes such a folder where this program is installed from its source.
    """
    tops = sorted({path.partition("/")[0] for path in case.tree.paths()})
    suspects = [top for top in tops if _METADATA.fullmatch(top.rstrip(". "))]  # Windows leaves these ends out
    if case.commit is None and suspects:
        ignored = list_ignored(case.git, suspects) if case.git else {_OWN_METADATA}
        suspects = [top for top in suspects if top not in ignored]
    for top in suspects:
        meaning = "a package that looks for entry points would run the code that it names"
        yield Problem(top, "metadata of a Python package", "none at the root of a study", meaning)


def _note_strangers(case: Case) -> None:
    """Name what at the root may be honest, and may as well be there to be imported or read by mistake."""
    tops = sorted({path.partition("/")[0] for path in case.tree.paths()})
    folders = _module_folders(case)
    if case.commit is None and case.git and folders:
        ignored = list_ignored(case.git, [f"{top}/" for top in folders])
        folders = [top for top in folders if f"{top}/" not in ignored]
    if folders:
        case.note(
            f"folders at the root with modules that nothing freezes: {listed(folders)}; runs cannot import them, but "
            "a trainer that is started in the root can"
        )
    if odd := [top for top in tops if _ODD.fullmatch(top.rstrip(". "))]:
        case.note(f"at the root, and read by nothing here: {listed(odd)}")
    loose = {loosen_name(name): name for name in _OWN}
    for top in tops:
        if _own_name(top) is None and (name := loose.get(loosen_name(top))):
            case.note(f"{top!a} at the root reads like {name}, and nothing here reads it")


def _module_folders(case: Case) -> list[str]:
    """The folders at the root, of nobody known, that hold what Python can import and `runner.files` does not freeze."""
    paths = [
        path
        for path in case.tree.paths()
        if path.casefold().endswith(_MODULES) and "/" in path and path.partition("/")[0] not in _FOLDERS
    ]
    paths = [path for path in paths if path.partition("/")[0].isidentifier()]
    frozen = _frozen_files(case) if paths else frozenset()
    return sorted({path.partition("/")[0] for path in paths if path not in frozen})


def _frozen_files(case: Case) -> frozenset[str]:
    """`runner.files` of params.yaml; what is wrong with that file is said by V02."""
    try:
        runner = yamlio.loads(case.tree.read(PARAMS) or b"", PARAMS).get("runner")
    except Invalid:
        return frozenset()
    files = runner.get("files") if isinstance(runner, dict) else None
    return frozenset(path for path in files if isinstance(path, str)) if isinstance(files, list) else frozenset()


@lru_cache(maxsize=4096)
def _own_name(top: str) -> str | None:
    """The name of the study's own that a name at the root is, or looks like, or is the short form of."""
    folded = fold_name(top)
    return next((name for name in _OWN if fold_name(name) == folded or is_short_name_of(top, name)), None)


def _colliding(case: Case) -> Iterator[Problem]:
    """Names that look like the study's own at the root, and two names in its folders that are one elsewhere."""
    alike: set[str] = set()
    spelled: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in case.tree.paths():
        top, _, rest = path.partition("/")
        name = _own_name(top)
        if name is not None and name != top and top not in alike:
            alike.add(top)
            meaning = "on another file system, or to a reader, the one is the other"
            yield Problem(path, f"the name {top!a}", f"none that looks like {name}", meaning)
        elif rest and top in _FOLDERS:
            other = _other_spelling(path, folders, spelled)
            if other:
                meaning = "a file system that does not tell the two apart holds one of them"
                yield Problem(path, f"a name that differs from {other!a} in spelling alone", "one of the two", meaning)


def _other_spelling(path: str, folders: dict[str, str], spelled: dict[str, str]) -> str:
    """An earlier file or folder that another file system takes for this one, or for a folder above it.

    `spelled`: by the name that it has there, each file and folder so far; `folders`: that name of each folder.
    """
    place, waiting = path, []
    while place not in folders and "/" in place:
        waiting.append(place)
        place = place.rpartition("/")[0]
    name = folders.get(place) or system_name(place)
    for place in reversed(waiting):
        name = f"{name}/{system_name(place.rpartition('/')[2])}"
        name = place if name == place else name  # kept once
        first = spelled.setdefault(name, place)
        if first != place:
            return first
        if place != path:
            folders[place] = name
    return ""


def _text(path: str, case: Case) -> Iterator[Problem]:
    data = case.tree.read(path) or b""
    if (bad := _find_no_utf8(data)) is not None:
        yield Problem(path, f"no UTF-8 at byte {bad}", "UTF-8", "the file is not the one that was written")
    yield from _conflict(path, data)
    if b"\r" in data:
        line = data[: data.index(b"\r")].count(b"\n") + 1
        yield Problem(path, "a carriage return", "LF line ends", "its digest is not the recorded one", line=line)
    if path.endswith((".jsonl", ".json", ".yaml", ".lock")) and data and not data.endswith(b"\n"):
        yield Problem(path, "a last line that does not end", "a whole file", "the end may be missing")


def _find_no_utf8(data: bytes) -> int | None:
    """The first byte that is no UTF-8. Line by line: as one text, a letter of four bytes would make it four times."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + _BLOCK) + 1 or len(data)
        try:
            data[start:end].decode("utf-8")
        except UnicodeDecodeError as error:
            return start + error.start
        start = end
    return None


def _conflict(path: str, data: bytes) -> Iterator[Problem]:
    if line := find_conflict(data):
        yield Problem(path, "a merge conflict", "one side of it", "nobody decided yet what it says", line=line)
