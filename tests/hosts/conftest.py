"""A judged study without training, in whose folder a test stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.domain.study import Study
from tests.support import synthetic


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Six configurations, two hosts, five rungs, all done and judged; the test stands in its folder."""
    study = synthetic.build(tmp_path / "study", synthetic.params(6, 2))
    monkeypatch.chdir(tmp_path / "study")
    return study
