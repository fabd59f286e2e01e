"""The corpus folder as the runner sees it: token files mapped into memory, documents found by their BOS.

A folder holds manifest.json, token_bytes.bin and one little-endian uint16 file a split, each document being a
BOS and its tokens. Every digest of the manifest that training relies on is checked before the first step.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import CorpusError

SCHEMA = 1
MAX_MANIFEST = 1 << 20
BLOCK = 1 << 24
REMEDY = "build it again: python -m stages.corpus"

Tokens = NDArray[np.uint16]
Index = NDArray[np.int64]


class Corpus:
    """A corpus folder, checked; splits are read on demand and never loaded whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest_path = folder / "manifest.json"
        data = self._manifest()
        self.digest = hashlib.sha256(data).hexdigest()
        self._manifest_value = self._parse(data)
        tokenizer = self._get("tokenizer")
        self.vocab_size = self._whole(tokenizer, "vocab_size", "tokenizer", 2, 1 << 16)
        self.bos = self._whole(tokenizer, "bos", "tokenizer", 0, self.vocab_size - 1)

    def _manifest(self) -> bytes:
        try:
            if self.manifest_path.stat().st_size > MAX_MANIFEST:
                raise CorpusError(f"{self.manifest_path}: larger than {MAX_MANIFEST} bytes, no manifest: {REMEDY}")
            return self.manifest_path.read_bytes()
        except FileNotFoundError:
            raise CorpusError(f"{self.manifest_path}: no such file: {REMEDY}") from None

    def _parse(self, data: bytes) -> dict[str, Any]:
        try:
            value = json.loads(data)
        except ValueError as error:
            raise CorpusError(f"{self.manifest_path}: not JSON ({error}): {REMEDY}") from None
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            found = value.get("schema") if isinstance(value, dict) else type(value).__name__
            raise CorpusError(f"{self.manifest_path}: schema is {found!r}, this runner reads {SCHEMA}: {REMEDY}")
        return value

    def _get(self, *keys: str) -> dict[str, Any]:
        value: Any = self._manifest_value
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, dict):
            raise CorpusError(f"{self.manifest_path}: {'.'.join(keys)} is missing: {REMEDY}")
        return value

    def _whole(self, section: dict[str, Any], key: str, where: str, low: int, high: int) -> int:
        value = section.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise CorpusError(f"{self.manifest_path}: {where}.{key} is {value!r}, expected {low} to {high}: {REMEDY}")
        return value

    def _file(self, entry: dict[str, Any], where: str) -> Path:
        """The entry's file, inside the folder and with the digest that the manifest holds."""
        name = entry.get("file")
        if not isinstance(name, str) or Path(name).name != name:
            raise CorpusError(f"{self.manifest_path}: {where}.file is {name!r}, expected a plain file name: {REMEDY}")
        path = self.folder / name
        whole = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while block := file.read(BLOCK):
                    whole.update(block)
        except FileNotFoundError:
            raise CorpusError(f"{path}: no such file: {REMEDY}") from None
        if whole.hexdigest() != entry.get("sha256"):
            raise CorpusError(
                f"{path}: sha256 is {whole.hexdigest()}, {self.manifest_path} has {entry.get('sha256')}: {REMEDY}"
            )
        return path

    def token_bytes(self) -> NDArray[np.uint16]:
        """UTF-8 bytes of each token, shape (vocab_size,); 0 for special tokens."""
        path = self._file(self._get("token_bytes"), "token_bytes")
        found = np.fromfile(path, dtype="<u2")
        if found.size != self.vocab_size:
            raise CorpusError(f"{path}: {found.size} entries, expected vocab_size {self.vocab_size}: {REMEDY}")
        return found

    def split(self, name: str) -> Split:
        """The split `name` (train, val, locked), mapped into memory."""
        where = f"splits.{name}"
        path = self._file(self._get("splits", name), where)
        size = path.stat().st_size
        if size == 0 or size % 2:
            raise CorpusError(f"{path}: {size} bytes, expected a positive even number: {REMEDY}")
        tokens: Tokens = np.memmap(path, dtype="<u2", mode="r")
        starts, highest = _scan(tokens, self.bos)
        if highest >= self.vocab_size:
            raise CorpusError(f"{path}: token id {highest}, expected less than {self.vocab_size}: {REMEDY}")
        if starts.size == 0 or starts[0] != 0:
            raise CorpusError(f"{path}: does not begin with the BOS token {self.bos}: {REMEDY}")
        return Split(path, tokens, starts)


class Split:
    """One token file: `tokens` on disk, and where each document's own tokens begin and end (BOS left out)."""

    def __init__(self, path: Path, tokens: Tokens, starts: Index) -> None:
        self.path = path
        self.tokens = tokens
        begins = starts + 1
        ends = np.append(starts[1:], tokens.size)
        kept = ends > begins  # a BOS alone is an empty document: nothing to learn from it
        self.begins: Index = begins[kept]
        self.ends: Index = ends[kept]
        if self.begins.size == 0:
            raise CorpusError(f"{path}: no document has a token: {REMEDY}")


def _scan(tokens: Tokens, bos: int) -> tuple[Index, int]:
    """Positions of BOS and the highest token id, block by block, so that memory stays bounded."""
    found: list[Index] = []
    highest = 0
    for at in range(0, tokens.size, BLOCK):
        block = np.asarray(tokens[at : at + BLOCK])
        found.append(np.flatnonzero(block == bos).astype(np.int64) + at)
        highest = max(highest, int(block.max()))
    return np.concatenate(found), highest
