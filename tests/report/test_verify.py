"""The inputs of a site on the page Verify: what git holds has git's id there, and what DVC holds has none."""

from __future__ import annotations

import hashlib

from report.load import digest_file
from report.pages.verify import inputs_table


def test_a_file_of_git_has_the_id_of_its_blob_and_an_artifact_has_none() -> None:
    data = b"one line\n"
    sources = {path: digest_file(data) for path in ("ledger/runs.jsonl", "artifacts/summary/paths.csv")}
    cells = {path: list(rest) for path, *rest in inputs_table(sources).values}
    blob = hashlib.sha1(b"blob 9\0" + data, usedforsecurity=False).hexdigest()
    sha256 = hashlib.sha256(data).hexdigest()
    assert cells == {"ledger/runs.jsonl": [blob, sha256], "artifacts/summary/paths.csv": [None, sha256]}
