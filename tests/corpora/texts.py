"""Made-up text for the tests of the corpus stage."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

_LETTERS = random.Random(0)
WORDS = ["".join(_LETTERS.choices("aeioubcdlmnrst", k=2 + number % 7)) for number in range(400)]


def prose(documents: int, seed: int = 0) -> list[str]:
    """Documents of some sixty made-up words, two lines each."""
    rng = random.Random(seed)
    lines = (" ".join(rng.choices(WORDS, k=30)) for _ in range(2 * documents))
    return ["\n".join(pair) for pair in zip(lines, lines, strict=True)]


def joined(texts: list[str]) -> bytes:
    """A text file whose documents end at blank lines."""
    return "\n\n".join(texts).encode()


def pin(path: Path, root: Path) -> dict[str, str]:
    """The entry of `files` in params.yaml for a file."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"path": path.relative_to(root).as_posix(), "sha256": digest}
