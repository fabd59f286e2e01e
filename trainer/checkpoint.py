"""Checkpoints of a long run: atomic, two kept, nothing unpickled, never taken up by another run.

A checkpoint is NAME.safetensors (tensors) and NAME.json (the rest, the tensors' digest and its own), in a folder
named after the digest of specification, corpus and runner. The JSON is written last: a checkpoint without it is
not one. A newest checkpoint that is damaged, or that the run cannot take up, gives way to the older one, which is
reported. A scratch folder belongs to one run: when it ends, what other versions of it left there goes too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainer.whole import write_utf8, write_whole

SCHEMA = 2
KEPT = 2
MAX_JSON = 64 << 20
BLOCK = 1 << 22
FOLDER = re.compile(r"[0-9a-f]{32}")

Restore = Callable[[int, dict[str, Tensor], dict[str, Any]], None]


def run_key(*parts: Any) -> str:
    """SHA-256 (hex) of the JSON of `parts`: all that determines a run."""
    return _digest(list(parts))


class Checkpoints:
    """The checkpoints of the run `key` under `scratch`."""

    def __init__(self, scratch: Path, key: str) -> None:
        self.folder = scratch / key[:32]
        self._key = key

    def any(self) -> bool:
        """Whether there is one."""
        return bool(self._stems())

    def save(self, step: int, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
        """Writes the state before step number `step` and drops all but two; `OSError` leaves the older ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        stem = f"step-{step:012d}"
        body = self.folder / f"{stem}.safetensors"
        try:
            write_whole(body, lambda part: save_file({k: v.detach().contiguous() for k, v in tensors.items()}, part))
            about = {
                "schema": SCHEMA,
                "key": self._key,
                "step": step,
                "sha256": _sha256(body),
                "rest": rest,
            }
            write_utf8(self.folder / f"{stem}.json", _canonical({**about, "digest": _digest(about)}) + "\n")
        except OSError:
            body.unlink(missing_ok=True)
            raise
        for old in self._stems()[:-KEPT]:
            self._drop(old)

    def load(self, restore: Restore, damaged: Callable[[str], None]) -> bool:
        """Has `restore` take up the newest sound checkpoint as (step, tensors, rest); whether there was one.

        `restore` takes all of it or raises. `damaged` hears of every checkpoint that gave way to an older one.
        """
        self._sweep()
        for stem in reversed(self._stems()):
            try:
                restore(*self._read(stem))
                return True
            except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
                damaged(f"checkpoint {stem} is damaged ({type(error).__name__}: {error}); trying the one before it")
                self._drop(stem)
        return False

    def clear(self) -> None:
        """Removes the run's folder and those of its other versions: it ended, and its result stands elsewhere."""
        scratch = self.folder.parent
        for path in scratch.iterdir() if scratch.is_dir() else ():
            if path.is_dir() and FOLDER.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)

    def _read(self, stem: str) -> tuple[int, dict[str, Tensor], dict[str, Any]]:
        about_path, body = self.folder / f"{stem}.json", self.folder / f"{stem}.safetensors"
        if about_path.stat().st_size > MAX_JSON:
            raise ValueError(f"{about_path.name} is larger than {MAX_JSON} bytes")
        about = json.loads(about_path.read_bytes())
        if not isinstance(about, dict) or about.get("schema") != SCHEMA or about.get("key") != self._key:
            raise ValueError(f"{about_path.name} belongs to another run or schema")
        if about.pop("digest", None) != _digest(about):
            raise ValueError(f"{about_path.name} does not have the digest that it holds")
        if _sha256(body) != about["sha256"]:
            raise ValueError(f"{body.name} does not have the digest that {about_path.name} holds")
        return int(about["step"]), load_file(body), about["rest"]

    def _stems(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("step-*.json"))

    def _sweep(self) -> None:
        """Removes what a process that was killed while it saved has left."""
        whole = {f"{stem}{suffix}" for stem in self._stems() for suffix in (".json", ".safetensors")}
        for path in self.folder.glob("step-*"):
            if path.name not in whole:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _drop(self, stem: str) -> None:
        for suffix in (".json", ".safetensors"):
            (self.folder / f"{stem}{suffix}").unlink(missing_ok=True)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value).encode("utf-8")).hexdigest()


def _sha256(path: Path) -> str:
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            whole.update(block)
    return whole.hexdigest()
