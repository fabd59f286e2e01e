"""What commands print of six studies, line by line, on a wide terminal and on a narrow one."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path

import pytest

from stages.confidence import __main__ as confidence
from tests.commands.conftest import Command
from tests.support.snapshots import check_snapshots
from tests.support.studies import STUDIES

COMMANDS = (
    ("status",),
    ("status", "--json"),
    ("plan",),
    ("plan", "--workers", "3"),
    ("plan", "--json"),
    ("dag",),
    ("dag", "--mermaid"),
    ("dag", "--dot"),
)
#: What is asked of the ladders, and of the screen.
LADDER = (
    ("what_if", "gate2.R5.k=1"),
    ("what_if", "gate3.R7.k=3", "gate4.R5=off"),
    ("what_if", "gate3.R8.gap=0.01", "gate3.R8.of=reference", "--json"),
)
SCREEN = (("what_if", "gate1.R2.k=2"), ("screen", "effects"), ("screen", "effects", "--json"))


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_commands_print_what_their_snapshots_hold(
    name: str, tmp_path: Path, promotion: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    STUDIES[name](tmp_path)
    texts = {}
    with chdir(tmp_path):
        if name != "waiting":  # what the commands say where nobody has asked how sure the study is
            confidence.main()
        capsys.readouterr()
        for words in (*COMMANDS, *(SCREEN if name in ("screened", "gapped") else LADDER)):
            texts["_".join(words).replace("--", "").replace("=", "-") + ".txt"] = promotion(*words)
        monkeypatch.setenv("COLUMNS", "80")
        for command in ("status", "plan"):
            texts[f"{command}-narrow.txt"] = promotion(command)
    check_snapshots(f"commands/{name}", texts)
