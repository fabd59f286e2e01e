"""A rung's dvc.lock as text: its stages, each as DVC wrote it, so that some can be taken away or all put in order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from stages.domain import files

_STAGE = re.compile(r"^  ([a-z]\S*):\n", re.MULTILINE)


def path_of(rung: str) -> Path:
    """Where the dvc.lock of a rung lies."""
    return Path("stages") / rung / "dvc.lock"


def read(path: Path) -> tuple[str, dict[str, str]]:
    """What stands before the stages, and the text of each stage by name, in their order; nothing where no file is."""
    if not path.is_file():
        return "", {}
    head, *parts = _STAGE.split(path.read_text(encoding="utf-8"))
    return head, dict(zip(parts[::2], parts[1::2], strict=True))


def write(path: Path, head: str, stages: dict[str, str]) -> None:
    """Write these stages in their order; a lock without any is no file."""
    if stages:
        body = "".join(f"  {name}:\n{text}" for name, text in stages.items())
        files.write_whole(path, (head + body).encode("utf-8"))
    else:
        path.unlink(missing_ok=True)


def put_in_order(path: Path, names: Iterable[str]) -> None:
    """List the stages as `names` has them, others behind; a lock that does already is not written."""
    head, stages = read(path)
    known = [name for name in names if name in stages]
    order = [*known, *(name for name in stages if name not in known)]
    if order != list(stages):
        write(path, head, {name: stages[name] for name in order})
