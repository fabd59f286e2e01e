"""The import path of a program of this project: the working folder gives its own packages and nothing else.

`python -m stages.run` puts the working folder, the root of a study, before everything that is installed. Whatever is
there could then be imported for something else: a folder `torchcomms/` that torch asks for where it is installed, or
the metadata of a package (`*.dist-info`), whose entry points torch and pydantic load. So `stages/__init__.py` and
`report/__init__.py` take that folder off, before anything that is installed is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

#: What a program may import from the working folder.
OWN_PACKAGES = frozenset({"stages", "trainer", "report"})


class OwnPackageFinder:
    """Finds the packages of this project in one folder. It finds no metadata, so no entry points either."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a package of this project is; None for other modules, and for a folder that is no package."""
        if path is not None or fullname not in OWN_PACKAGES:
            return None
        spec = PathFinder.find_spec(fullname, [self.folder])
        return spec if spec is not None and spec.has_location else None


def is_starting_program() -> bool:
    """Whether Python is looking for the module of `python -m`: only then nobody else has imported this project."""
    return sys.argv[:1] == ["-m"]


def leave_working_folder() -> None:
    """Take the working folder off `sys.path`, under every spelling, and find the packages of this project there.

    Does nothing where it is not on the path, as with `python -P`: then its packages are not to be imported either.
    """
    folder = _resolve("")
    kept = [entry for entry in sys.path if _resolve(entry) != folder]
    if len(kept) < len(sys.path):
        sys.path[:] = kept
        sys.meta_path.insert(0, OwnPackageFinder(os.getcwd()))  # noqa: PTH109  # this is imported before pathlib


def return_to_working_folder() -> None:
    """Undo `leave_working_folder`, for a foreign program whose own processes look for this project on `sys.path`."""
    for finder in [finder for finder in sys.meta_path if isinstance(finder, OwnPackageFinder)]:
        sys.meta_path.remove(finder)
        sys.path.insert(0, finder.folder)


def _resolve(entry: str) -> str:
    """A folder of the path under its one name: absolute, without links, as the file system spells it."""
    return os.path.normcase(os.path.realpath(entry or os.curdir))
