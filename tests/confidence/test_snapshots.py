"""What is said of how sure six studies are, number by number, and what other rules would have decided."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path

import pytest

from stages.confidence import __main__ as stage
from stages.confidence import stored
from stages.domain import canonical
from tests.support.snapshots import check_snapshots, json_text
from tests.support.studies import STUDIES


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_how_sure_a_study_is_stands_in_its_snapshot(name: str, tmp_path: Path) -> None:
    STUDIES[name](tmp_path)
    with chdir(tmp_path):
        stage.main()
        texts = {
            f"{path.stem}.txt": json_text(canonical.loads(path.read_bytes()))
            for path in (stored.RESULT, stored.METRICS)
        }
    check_snapshots(f"confidence/{name}", texts)
