"""The `data` section of params.yaml, and the manifest of the corpus that is built from it.

    python -m stages.corpus        builds what this section says

Nothing here touches a disk: whether the files exist and are the pinned ones, `stages.corpora` finds out.
"""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from stages.domain.schema import WHOLE, Sha256, Strict

# Pair counts are 32-bit inside rustbpe; below this many bytes none of them can overflow.
MAX_TOKENIZER_BYTES = 2_000_000_000

_TEXT = "The key of the text; nested ones joined by dots."
_DOCUMENT = "Keys: neighbouring lines that agree in all of them are one document."


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
    if not path.isprintable():
        raise ValueError("a path of printable characters")
    return path


RelativePath = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(inside)]


class PackageSource(Strict):
    """A JSON-lines file inside an installed Python package, which is never imported.

    Neighbouring lines that agree in all keys of `document` are one document: their `text` values, one a line.
    """

    kind: Literal["package"]
    package: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Its name on PyPI.")]
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+!-]*$")]
    file: Annotated[RelativePath, Field(description="The file's path inside the package.")]
    sha256: Annotated[Sha256, Field(description="SHA-256 of the file.")]
    text: Annotated[str, Field(description=_TEXT)] = "text"
    document: Annotated[list[str], Field(default_factory=list, description=_DOCUMENT)]


class PinnedFile(Strict):
    """A file of the repository, a folder (every file in it) or a pattern such as `data/*.jsonl`, and its digest.

    The digest of a folder or pattern is that of the list `sha256sum` prints of its files, sorted by path.
    Without a digest the build stops and says it.
    """

    path: Annotated[RelativePath, Field(description="Relative to the repository.")]
    sha256: Annotated[Sha256 | None, Field(description="Its digest; left out, the build stops and says it.")] = None


class _Files(Strict):
    files: Annotated[list[PinnedFile], Field(min_length=1, description="Read in this order.")]

    @model_validator(mode="after")
    def _no_file_twice(self) -> _Files:
        paths = [file.path for file in self.files]
        twice = sorted({path for path in paths if paths.count(path) > 1})
        if twice:
            raise ValueError(f"each file once, but {twice[0]!r} stands there more than once")
        return self


class TextSource(_Files):
    """UTF-8 text files, plain, `.gz` or `.zst`. A document ends at a blank line or only at the end of its file."""

    kind: Literal["text"]
    separator: Annotated[Literal["blank-line", "end-of-file"], Field(description="What ends a document.")] = (
        "blank-line"
    )


class JsonLinesSource(_Files):
    """Files of one JSON object a line, plain, `.gz` or `.zst`; `text` is a key, or keys joined by dots.

    Neighbouring lines of a file that agree in all keys of `document` are one document: their texts, one a line.
    """

    kind: Literal["jsonl"]
    text: Annotated[str, Field(min_length=1, description=_TEXT)] = "text"
    document: Annotated[list[str], Field(default_factory=list, description=_DOCUMENT)]


class ParquetSource(_Files):
    """Parquet shards, one document a row, in the string or binary column `column`, nested ones joined by dots."""

    kind: Literal["parquet"]
    column: Annotated[str, Field(min_length=1, description="The column of text; nested ones joined by dots.")] = "text"


FileSource = TextSource | JsonLinesSource | ParquetSource
Source = Annotated[PackageSource | FileSource, Field(discriminator="kind")]


class DataFiles(_Files):
    """Files that a command reads as they are. `root` is their folder, inside the repository or anywhere else.

    What the trainer writes beside them, such as a cache of tokens, is no part of the data.
    """

    kind: Literal["files"]
    root: Annotated[
        str, Field(min_length=1, max_length=1000, description="The folder of the files, what `{data}` stands for.")
    ]


class Data(Strict):
    """The whole section. Splits are in thousandths of the documents; the rest is the training split.

    `vocab_size` counts the one special token; `tokenizer_bytes` caps the training text that the tokenizer
    learns from; a split of fewer than `min_split_tokens` tokens is refused.
    """

    source: Annotated[PackageSource | FileSource | DataFiles, Field(discriminator="kind")]
    #: 0 where a command reads files as they are and has a tokenizer of its own.
    vocab_size: Annotated[int, Field(ge=257, le=65536, description="Token ids, the special one included."), WHOLE] = 0
    val_per_mille: Annotated[
        int, Field(ge=1, le=499, description="Thousandths of the documents that every gate looks at."), WHOLE
    ] = 30
    locked_per_mille: Annotated[
        int, Field(ge=1, le=499, description="Thousandths that the last rung alone is scored on, for no rule."), WHOLE
    ] = 30
    tokenizer_bytes: Annotated[
        int, Field(ge=1, le=MAX_TOKENIZER_BYTES, description="Training text that the tokenizer learns from."), WHOLE
    ] = 1_000_000_000
    min_split_tokens: Annotated[int, Field(ge=1, description="A split with fewer tokens is refused."), WHOLE] = 16_384

    @model_validator(mode="after")
    def _vocabulary(self) -> Data:
        if not self.vocab_size and not isinstance(self.source, DataFiles):
            raise ValueError("data.vocab_size: missing; the tokenizer learns so many tokens")
        return self


class CorpusFile(Strict):
    """A file of the corpus folder and its SHA-256 (hex)."""

    file: str
    sha256: str


class SplitFile(CorpusFile):
    """A token file, with its tokens, and the documents and bytes of text that they spell."""

    tokens: int
    bytes: int
    documents: int


class TokenizerFile(CorpusFile):
    """The tokenizer's file; `vocab_size` counts the special token, whose id is `bos`."""

    vocab_size: int
    bos: int


class Manifest(Strict):
    """artifacts/corpus/manifest.json: what the corpus was built from, and the digest of every other file of it."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    source: Source
    tokenizer: TokenizerFile
    token_bytes: CorpusFile
    splits: dict[str, SplitFile]

    def to_json(self) -> dict[str, Any]:
        """The value that the manifest's canonical bytes say."""
        return self.model_dump(mode="json", by_alias=True)
