"""The `data` section of params.yaml: which text a study reads, how it is split, how large its vocabulary is.

    python -m stages.corpus        builds what this section says

Nothing here touches a disk: whether the files exist and are the pinned ones, `stages.corpora` finds out.
"""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from stages.domain.schema import Sha256, Strict

# Pair counts are 32-bit inside rustbpe; below this many bytes none of them can overflow.
MAX_TOKENIZER_BYTES = 2_000_000_000


def inside(path: str) -> str:
    """`path`, if it is a POSIX path that leaves its folder on no system; else ValueError."""
    plain = PurePosixPath(path)
    if "\\" in path:
        raise ValueError("a path written with '/' and without backslashes, also on Windows")
    if plain.is_absolute() or PureWindowsPath(path).drive:
        raise ValueError("a path relative to the folder that holds it, not an absolute one")
    if ".." in plain.parts:
        raise ValueError("a path that stays inside its folder, without '..'")
    if plain.as_posix() != path or path == ".":
        raise ValueError(f"the plain path of a file, such as {plain.as_posix()!r}")
    return path


RelativePath = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(inside)]


class PackageSource(Strict):
    """A JSON-lines file inside an installed Python package, which is never imported.

    Neighbouring lines that agree in all keys of `document` are one document: their `text` values, one a line.
    """

    kind: Literal["package"]
    package: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+!-]*$")]
    file: RelativePath
    sha256: Sha256
    text: str = "text"
    document: list[str] = Field(default_factory=list)


class PinnedFile(Strict):
    """A file of the repository and what it must hold. Without a digest the build stops and says it."""

    path: RelativePath
    sha256: Sha256 | None = None


class _Files(Strict):
    files: Annotated[list[PinnedFile], Field(min_length=1)]

    @model_validator(mode="after")
    def _no_file_twice(self) -> _Files:
        paths = [file.path for file in self.files]
        twice = sorted({path for path in paths if paths.count(path) > 1})
        if twice:
            raise ValueError(f"each file once, but {twice[0]!r} stands there more than once")
        return self


class TextSource(_Files):
    """UTF-8 text files. A document ends at a blank line or only at the end of its file."""

    kind: Literal["text"]
    separator: Literal["blank-line", "end-of-file"] = "blank-line"


class ParquetSource(_Files):
    """Parquet shards, one document a row, in the string column `column`."""

    kind: Literal["parquet"]
    column: Annotated[str, Field(min_length=1)] = "text"


class FilesSource(_Files):
    """Files that a command reads as they are. `root` is their folder, inside the repository or anywhere else.

    What the trainer writes beside them, such as a cache of tokens, is no part of the data.
    """

    kind: Literal["files"]
    root: Annotated[str, Field(min_length=1, max_length=1000)]


#: What the corpus stage makes tokens of.
TokenSource = PackageSource | TextSource | ParquetSource
Source = Annotated[TokenSource | FilesSource, Field(discriminator="kind")]


class Data(Strict):
    """The whole section. Splits are in thousandths of the documents; the rest is the training split.

    `vocab_size` counts the one special token; `tokenizer_bytes` caps the training text that the tokenizer
    learns from; a split of fewer than `min_split_tokens` tokens is refused.
    """

    source: Source
    #: 0 where a command reads files as they are and has a tokenizer of its own.
    vocab_size: Annotated[int, Field(ge=257, le=65536)] = 0
    val_per_mille: Annotated[int, Field(ge=1, le=499)] = 30
    locked_per_mille: Annotated[int, Field(ge=1, le=499)] = 30
    tokenizer_bytes: Annotated[int, Field(ge=1, le=MAX_TOKENIZER_BYTES)] = 1_000_000_000
    min_split_tokens: Annotated[int, Field(ge=1)] = 16_384

    @model_validator(mode="after")
    def _vocabulary(self) -> Data:
        if not self.vocab_size and not isinstance(self.source, FilesSource):
            raise ValueError("data.vocab_size: missing; the tokenizer learns so many tokens")
        return self
