"""A synthetic study as the working directory of a command."""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from stages import ledger
from stages.domain import files, names
from tests.support import synthetic


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole judged study with its ledger. Read it, or take `workspace`; never change it."""
    root = tmp_path_factory.mktemp("judged")
    synthetic.build(root)
    with chdir(root):
        ledger.main()
        files.write_whole(names.SITE / "index.html", b"<!doctype html>\n")
    return root


@pytest.fixture
def workspace(judged: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the judged study that a test may change, as the working directory."""
    root = tmp_path / "study"
    shutil.copytree(judged, root)
    with chdir(root):
        yield root


class Command:
    """Runs a subcommand in this process; what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, name: str, *words: str) -> str:
        module = importlib.import_module(f"stages.commands.{name}")
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        assert module.run(parser.parse_args(words)) == 0
        return self._capsys.readouterr().out

    def json(self, name: str, *words: str) -> Any:
        return json.loads(self(name, *words, "--json"))


@pytest.fixture
def promotion(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """`promotion("status")`: the output of a subcommand, on a wide terminal."""
    monkeypatch.setenv("COLUMNS", "200")
    return Command(capsys)
