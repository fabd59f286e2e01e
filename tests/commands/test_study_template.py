"""The text of a new study, word by word."""

from __future__ import annotations

import pytest

from stages.domain.corpus import PinnedFile
from stages.domain.study import parse_bytes
from stages.study_template import NewStudy, format_study, source_kind
from tests.support.snapshots import check_snapshots

DIGESTS = [letter * 64 for letter in "ab"]
STUDIES = {
    "one-rung": NewStudy("mine", "Mine", "Which one?", [0.5], 1, "rated"),
    "three-rungs": NewStudy("mine", "It's\n  mine", "Which: 'one'?", [1.0, 60.0, 1234567.5], 3, "wall"),
    "text": NewStudy(
        "mine", "Mine", "Which one?", [1.0, 2.0, 3.0, 4.0, 5.0], 2, "rated",
        [PinnedFile(path=path, sha256=digest) for path, digest in zip(["a's.jsonl", "b.jsonl.gz"], DIGESTS, strict=True)],
    ),
}  # fmt: skip


def test_the_text_of_a_new_study_is_its_snapshot_and_a_study() -> None:
    texts = {f"{name}.txt": format_study(new) for name, new in STUDIES.items()}
    for name, new in STUDIES.items():
        study = parse_bytes(texts[f"{name}.txt"].encode(), name)
        assert [rung.budget_seconds for rung in study.rungs.values()] == list(new.budgets)
        assert [len(rung.seeds) for rung in study.rungs.values()] == [new.seeds] * len(new.budgets)
    check_snapshots("study_template", texts)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.txt", "text"),
        ("a", "text"),
        ("a.JSONL", "jsonl"),
        ("a.ndjson.zst", "jsonl"),
        ("a.jsonl.gz", "jsonl"),
        ("a.parquet", "parquet"),
        ("a.parquet.txt", "text"),
        ("a.gz", "text"),
    ],
)
def test_the_ending_of_a_name_tells_what_reads_the_file(path: str, kind: str) -> None:
    assert source_kind(path) == kind
