"""The digest of the runner's own source, so that a checkpoint of another version is never taken up."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


@cache
def source_digest() -> str:
    """SHA-256 (hex) over the names and the bytes of this folder's modules, line ends as in git."""
    whole = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        data = path.read_bytes().replace(b"\r\n", b"\n")
        whole.update(f"{path.name} {len(data)}\n".encode())
        whole.update(data)
    return whole.hexdigest()
