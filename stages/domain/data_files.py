"""The files that a command reads as they are (`data.source.kind: files`): whether they are the pinned ones.

Data sets are large and lie anywhere, so a digest that was computed is remembered by path, size and time of change. Only
this machine's own scratch holds that memory, and `forget=True` does without it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stages.domain import files, names
from stages.domain.corpus import DataFiles
from stages.domain.errors import Refused

MEMORY = names.SCRATCH / "digests.json"


def find_root(source: DataFiles, study: Path = Path()) -> Path:
    """The folder of the files: as it is written where it is absolute, else inside the study."""
    return study / Path(source.root).expanduser()


def digest_files(source: DataFiles, study: Path = Path(), *, forget: bool = False) -> list[dict[str, Any]]:
    """Path, SHA-256 and bytes of every file, in the order of params.yaml. `Refused` names one that is missing."""
    memory = {} if forget else _read_memory(study)
    rows: list[dict[str, Any]] = []
    for place, file in enumerate(source.files):
        path = find_root(source, study) / file.path
        if not path.is_file():
            raise Refused(
                f"params.yaml: data.source.files.{place}: there is no file {path.as_posix()}; put it there, "
                "or correct data.source.root"
            )
        status = path.stat()
        key = f"{path.absolute().as_posix()}|{status.st_size}|{status.st_mtime_ns}"
        memory[key] = digest = memory.get(key) or files.sha256_file(path)
        rows.append({"path": file.path, "sha256": digest, "bytes": status.st_size})
    if not forget:
        files.write_whole(study / MEMORY, (json.dumps(memory, indent=1, sort_keys=True) + "\n").encode("utf-8"))
    return rows


def _read_memory(study: Path) -> dict[str, str]:
    try:
        value = json.loads((study / MEMORY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def check_files(source: DataFiles, study: Path = Path(), *, forget: bool = False) -> list[dict[str, Any]]:
    """The rows of `digest_files`. `Refused` where a file has no digest in params.yaml, or another one."""
    rows = digest_files(source, study, forget=forget)
    if any(file.sha256 is None for file in source.files):
        lines = "".join(f"\n    - {{path: {row['path']}, sha256: {row['sha256']}}}" for row in rows)
        raise Refused(
            "params.yaml: data.source.files: a file has no sha256; if these are the right files, write:"
            f"\n    files:{lines}"
        )
    for place, (file, row) in enumerate(zip(source.files, rows, strict=True)):
        if row["sha256"] != file.sha256:
            raise Refused(
                f"{(find_root(source, study) / file.path).as_posix()} was changed: found sha256 {row['sha256']}, "
                f"expected {file.sha256} (params.yaml: data.source.files.{place}.sha256); bring the file back, or "
                "write the new digest into params.yaml if the data was meant to change"
            )
    return rows
