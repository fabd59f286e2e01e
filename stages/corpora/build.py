"""The corpus folder: splits, token files and a manifest of digests, put in place as a whole.

    python -m stages.corpus

The text is read twice, for the tokenizer and for the tokens, and never held. Where a document goes is a
function of its text alone: two equal documents are always in the same split, whatever stands around them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from stages.corpora.inputs import CorpusError, input_files
from stages.corpora.sources import documents
from stages.corpora.tokenizer import Tokenizer, learn
from stages.domain.canonical import dumps
from stages.domain.corpus import CorpusFile, Data, DataFiles, Manifest, SplitFile, TokenizerFile
from stages.domain.files import naming, sha256_bytes, swap_folder, write_whole

SPLITS = ("train", "val", "locked")
BATCH_BYTES = 4 * 1024 * 1024

Observer = Callable[[str, int], None]  # the step at hand, bytes of text more that it has done


def split_of(document: bytes, data: Data) -> str:
    """The split of a document (UTF-8). Validation takes the first thousandths of the hash, locked the last,
    so changing the share of one moves no document of the other."""
    bucket = int.from_bytes(hashlib.sha256(document).digest()[:8], "big") % 1000
    if bucket < data.val_per_mille:
        return "val"
    return "locked" if bucket >= 1000 - data.locked_per_mille else "train"


class _SplitWriter:
    """One growing token file and what the manifest says of it."""

    def __init__(self, path: Path) -> None:
        self.tokens = self.bytes = self.documents = 0
        self._path = path
        self._digest = hashlib.sha256()
        self._file = path.open("wb")

    def add(self, ids: bytes, text_bytes: int) -> None:
        self._file.write(ids)
        self._digest.update(ids)
        self.tokens += len(ids) // 2
        self.bytes += text_bytes
        self.documents += 1

    def close(self) -> SplitFile:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return SplitFile(
            file=self._path.name,
            sha256=self._digest.hexdigest(),
            tokens=self.tokens,
            bytes=self.bytes,
            documents=self.documents,
        )

    def abandon(self) -> None:
        self._file.close()


def build(data: Data, root: Path, out: Path, observe: Observer = lambda step, size: None) -> Manifest:
    """Build the corpus of `data` in the folder `out` and return its manifest.

    `root`: the repository's folder. Whatever goes wrong (`CorpusError`, `OSError`), `out` stays as it was.
    """
    if isinstance(data.source, DataFiles):
        raise CorpusError("params.yaml: data.source.kind: found files, which a command reads as they are")
    files = input_files(data.source, root)
    tokenizer = learn(_training_texts(documents(data.source, files), data, observe), data.vocab_size)
    beside = out.with_name(f".{out.name}.{os.getpid()}.part")
    with naming(out):
        for left_over in out.parent.glob(f".{out.name}.*.part"):  # of a build that was killed; DVC runs one at a time
            shutil.rmtree(left_over, ignore_errors=True)
        beside.mkdir(parents=True)
        try:
            splits = _write_splits(documents(data.source, files), data, tokenizer, beside, observe)
            _refuse_small(splits, data)
            manifest = _write_rest(data, tokenizer, splits, beside)
            swap_folder(beside, out)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return manifest


def _training_texts(texts: Iterable[str], data: Data, observe: Observer) -> Iterator[str]:
    """What the tokenizer may learn from: training documents only, up to the cap."""
    read = documents_seen = 0
    for text in texts:
        documents_seen += 1
        encoded = text.encode("utf-8")
        if split_of(encoded, data) != "train":
            continue
        yield text
        observe("learning the tokenizer", len(encoded))
        read += len(encoded)
        if read >= data.tokenizer_bytes:
            return
    if not documents_seen:
        raise CorpusError("params.yaml: data.source: no document with text in it; give files that hold text")
    if not read:
        raise CorpusError(
            f"params.yaml: data.source: of {documents_seen} documents none fell into the training split; "
            "give more text, or cut it into more documents"
        )


def _write_splits(
    texts: Iterable[str], data: Data, tokenizer: Tokenizer, folder: Path, observe: Observer
) -> dict[str, SplitFile]:
    files = {name: _SplitWriter(folder / f"{name}.bin") for name in SPLITS}
    try:
        for batch in _batches(texts):
            for text, ids in zip(batch, tokenizer.encode(batch), strict=True):
                encoded = text.encode("utf-8")
                files[split_of(encoded, data)].add(ids.tobytes(), len(encoded))
                observe("writing tokens", len(encoded))
        return {name: file.close() for name, file in files.items()}
    finally:
        for file in files.values():
            file.abandon()


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Enough text at a time to keep all threads of the encoder busy."""
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _refuse_small(splits: dict[str, SplitFile], data: Data) -> None:
    for name, split in splits.items():
        if split.tokens < data.min_split_tokens:
            more = "give more text" if name == "train" else f"give more text or raise data.{name}_per_mille"
            raise CorpusError(
                f"params.yaml: data: the {name} split has {split.tokens} tokens in {split.documents} "
                f"documents, expected at least {data.min_split_tokens} (data.min_split_tokens); {more}"
            )


def _write_rest(data: Data, tokenizer: Tokenizer, splits: dict[str, SplitFile], folder: Path) -> Manifest:
    assert not isinstance(data.source, DataFiles)  # refused before anything was built
    ranks, lengths = tokenizer.to_json(), tokenizer.token_bytes()
    manifest = Manifest(
        source=data.source,
        tokenizer=TokenizerFile(
            file="tokenizer.json",
            sha256=sha256_bytes(ranks),
            vocab_size=tokenizer.vocab_size,
            bos=tokenizer.bos,
        ),
        token_bytes=CorpusFile(file="token_bytes.bin", sha256=sha256_bytes(lengths)),
        splits=splits,
    )
    write_whole(folder / "tokenizer.json", ranks)
    write_whole(folder / "token_bytes.bin", lengths)
    write_whole(folder / "manifest.json", dumps(manifest.to_json()))
    return manifest
