"""The corpus stage: the `data` section of params.yaml becomes a folder of tokens, split, pinned and digested.

    python -m stages.corpus [--params params.yaml] [--out artifacts/corpus]

Prints what it built as `key: value` lines, progress on stderr. Ends with 0, or with 1 and one clear error.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from pydantic import BaseModel
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from stages.corpora.build import build
from stages.corpora.inputs import CorpusError
from stages.domain import canonical, files, names, yamlio
from stages.domain.corpus import Data, DataFiles, Manifest
from stages.domain.data_files import check_files
from stages.domain.errors import Invalid, Refused, main_guard
from stages.domain.schema import parse
from stages.terminal import console

REFRESH_SECONDS = 0.25


class _Params(BaseModel):
    """params.yaml as this stage sees it: the other sections are other stages' business."""

    data: Data


def _read(params: Path) -> Data:
    """The `data` section of params.yaml; `Invalid` tells every mistake with its line."""
    content, where = yamlio.read_bytes(params, "run this in the root of a study"), params.as_posix()
    value = yamlio.loads(content, where)
    try:
        return parse(_Params, value, where).data
    except Invalid as error:
        raise yamlio.with_lines(error, content, where) from None


class _ProgressLine:
    """One line on a terminal's stderr: the step at hand, megabytes done, time; nothing where nobody looks."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("checking the files", total=None, done=0.0)
        self._step = ""
        self._bytes = 0
        self._shown = 0.0

    def __call__(self, step: str, size: int) -> None:
        self._bytes = self._bytes + size if step == self._step else size
        now = time.monotonic()
        # A document is some kilobytes: telling rich about each would cost more than the work.
        if step != self._step or now - self._shown > REFRESH_SECONDS:
            self._progress.update(self._task, description=step, done=self._bytes / 1e6)
            self._step, self._shown = step, now


def _progress() -> Progress:
    to = console(sys.stderr)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}: {task.fields[done]:.1f} MB", markup=False),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=to, transient=True, disable=not to.is_terminal)


def pin_files(source: DataFiles, out: Path) -> str:
    """Check the files that a command reads, write the manifest with their digests, and say what they are."""
    rows = check_files(source)
    value = {"schema": 1, "source": source.model_dump(mode="json"), "files": rows, "splits": {}}
    files.write_whole(out / "manifest.json", canonical.dumps(value))
    return f"corpus: {out.as_posix()}\nfiles: {len(rows)}, {sum(row['bytes'] for row in rows)} bytes, all as pinned"


def _summary(manifest: Manifest, out: Path) -> str:
    lines = [f"corpus: {out.as_posix()}", f"vocab_size: {manifest.tokenizer.vocab_size}"]
    for name, split in manifest.splits.items():
        lines.append(
            f"{name}: {split.documents} documents, {split.bytes} bytes, {split.tokens} tokens, "
            f"{split.bytes / split.tokens:.3f} bytes/token"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m stages.corpus", description="Build the corpus folder.")
    parser.add_argument("--params", type=Path, default=names.PARAMS, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=names.CORPUS, help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        data = _read(options.params)
        if isinstance(data.source, DataFiles):
            print(pin_files(data.source, options.out))
            return 0
        with _progress() as progress:
            manifest = build(data, Path.cwd(), options.out, _ProgressLine(progress))
    except (CorpusError, Invalid, Refused, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(_summary(manifest, options.out))
    return 0


if __name__ == "__main__":
    main_guard(main)
