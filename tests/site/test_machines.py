"""The host blocks as they really are, in one honest sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from report.load import load
from report.machines import plainly, seen
from tests.site.conftest import copy_of


@pytest.fixture
def copied(default_study: Path, tmp_path: Path) -> Path:
    return copy_of(default_study, tmp_path / "study")


def rename(root: Path, host: str, machine: str) -> None:
    for path in (root / "artifacts" / "traces").glob(f"*/*/{host}/*/telemetry.json"):
        value = json.loads(path.read_bytes())
        path.write_text(json.dumps({**value, "hostname": machine}), encoding="utf-8")


def test_blocks_on_one_machine_are_said_to_be_on_one(default_study: Path) -> None:
    assert plainly(load(default_study)) == (
        "Both host blocks ran on one machine (example): they differ in what they declare, such as precision, and are not "
        "different machines."
    )


def test_blocks_on_two_machines_are_named(copied: Path) -> None:
    rename(copied, "cpu-bf16", "other")
    assert plainly(load(copied)) == "The host blocks ran on different machines: example and other."
    assert seen(load(copied))["cpu-bf16"]["hostname"] == ["other"]


def test_without_telemetry_the_machines_are_not_known(copied: Path) -> None:
    shutil.rmtree(copied / "artifacts" / "traces")
    assert plainly(load(copied)).startswith("No telemetry here names the machine of every host block")
