"""Fixtures of the tests of the corpus stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.domain.corpus import Data
from stages.domain.schema import parse
from tests.corpora.texts import pin


@pytest.fixture
def text_data(tmp_path: Path) -> Callable[..., Data]:
    """Writes files of text into the repository `tmp_path` and gives the data section that reads them."""

    def make(*files: bytes, separator: str = "blank-line", **rest: Any) -> Data:
        pins = []
        for number, data in enumerate(files):
            path = tmp_path / f"text{number}.txt"
            path.write_bytes(data)
            pins.append(pin(path, tmp_path))
        source = {"kind": "text", "files": pins, "separator": separator}
        section = {"source": source, "vocab_size": 300, "min_split_tokens": 1, **rest}
        return parse(Data, section, "params.yaml")

    return make
