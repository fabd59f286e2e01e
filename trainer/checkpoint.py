"""Checkpoints of a long run: atomic, two kept, nothing unpickled, never taken up by another run.

A checkpoint is NAME.safetensors (tensors) and NAME.json (the rest, and the tensors' digest), in a folder named
after the digest of specification, corpus and runner. The JSON is written last: a checkpoint without it is not
one. A newest checkpoint that is damaged gives way to the older one, which is reported.

    python -m pytest tests/trainer/test_checkpoint.py
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

SCHEMA = 1
KEPT = 2
MAX_JSON = 64 << 20
BLOCK = 1 << 22


def run_key(*parts: Any) -> str:
    """SHA-256 (hex) of the JSON of `parts`: all that determines a run."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


class Checkpoints:
    """The checkpoints of the run `key` under `scratch`."""

    def __init__(self, scratch: Path, key: str) -> None:
        self.folder = scratch / key[:32]
        self._key = key

    def save(self, step: int, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
        """Writes the state before step number `step` and drops all but two; `OSError` leaves the older ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        stem = f"step-{step:012d}"
        body = self.folder / f"{stem}.safetensors"
        try:
            _whole(body, lambda part: save_file({k: v.detach().contiguous() for k, v in tensors.items()}, part))
            about = {
                "schema": SCHEMA,
                "key": self._key,
                "step": step,
                "sha256": _sha256(body),
                "rest": dict(rest),
            }
            text = json.dumps(about, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"
            _whole(self.folder / f"{stem}.json", lambda part: _write(part, text))
        except SafetensorError as error:  # how safetensors reports a full disk
            body.unlink(missing_ok=True)
            raise OSError(str(error)) from error
        except OSError:
            body.unlink(missing_ok=True)
            raise
        for old in self._stems()[:-KEPT]:
            self._drop(old)

    def load(self, damaged: Callable[[str], None]) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
        """The newest sound checkpoint as (step, tensors, rest), or None; `damaged` hears of the others."""
        for stem in reversed(self._stems()):
            try:
                return self._read(stem)
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                damaged(f"checkpoint {stem} is damaged ({error}); trying the one before it")
                self._drop(stem)
        return None

    def clear(self) -> None:
        """Removes the run's folder: it ended, and its result stands elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, stem: str) -> tuple[int, dict[str, Tensor], dict[str, Any]]:
        about_path, body = self.folder / f"{stem}.json", self.folder / f"{stem}.safetensors"
        if about_path.stat().st_size > MAX_JSON:
            raise ValueError(f"{about_path.name} is larger than {MAX_JSON} bytes")
        about = json.loads(about_path.read_bytes())
        if not isinstance(about, dict) or about.get("schema") != SCHEMA or about.get("key") != self._key:
            raise ValueError(f"{about_path.name} belongs to another run or schema")
        if _sha256(body) != about["sha256"]:
            raise ValueError(f"{body.name} does not have the digest that {about_path.name} holds")
        return int(about["step"]), load_file(body), about["rest"]

    def _stems(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("step-*.json"))

    def _drop(self, stem: str) -> None:
        for suffix in (".json", ".safetensors"):
            (self.folder / f"{stem}{suffix}").unlink(missing_ok=True)


def _whole(path: Path, write: Callable[[Path], None]) -> None:
    """Has `write` fill a file beside `path`, brings it to the disk and puts it in place in one move."""
    part = path.with_name(path.name + ".part")
    try:
        write(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _sha256(path: Path) -> str:
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            whole.update(block)
    return whole.hexdigest()
