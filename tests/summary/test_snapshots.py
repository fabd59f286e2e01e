"""What the summaries of six studies hold, number by number."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.domain import canonical, names
from tests.support.snapshots import check_snapshots, json_text
from tests.support.studies import STUDIES


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_the_summaries_hold_what_their_snapshots_do(name: str, tmp_path: Path) -> None:
    STUDIES[name](tmp_path)
    folder = tmp_path / names.SUMMARY
    texts = {f"{path.stem}.txt": json_text(canonical.loads(path.read_bytes())) for path in folder.glob("*.json")}
    texts |= {f"{path.stem}-csv.txt": path.read_text(encoding="utf-8") for path in folder.glob("*.csv")}
    check_snapshots(f"summary/{name}", texts)
