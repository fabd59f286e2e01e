"""The host blocks as they really are, in one honest sentence."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from report.load import load
from report.machines import read_machines
from report.views import view_study
from tests.report.conftest import copy_of, make_study
from tests.support import synthetic


@pytest.fixture
def copied(default_study: Path, tmp_path: Path) -> Path:
    return copy_of(default_study, tmp_path / "study")


def report(root: Path, host: str, **told: str) -> None:
    """Let the telemetry of a host block tell something else."""
    for path in (root / "artifacts" / "telemetry").glob(f"*/*/{host}/*.json"):
        value = json.loads(path.read_bytes())
        path.write_text(json.dumps({**value, **told}), encoding="utf-8")


def test_blocks_that_nothing_tells_apart_report_one_hostname(default_study: Path) -> None:
    assert view_study(default_study).machines.sentence == (
        "Both host blocks report one hostname, example: they differ in what they declare, such as precision."
    )


def test_blocks_on_two_machines_are_named(copied: Path) -> None:
    report(copied, "cpu-bf16", hostname="other")
    assert view_study(copied).machines.sentence == "The host blocks report different machines: example and other."
    assert view_study(copied).machines.values("cpu-bf16", "hostname") == ["other"]


def test_one_hostname_under_two_systems_is_two_machines(copied: Path) -> None:
    report(copied, "cpu-fp32", hostname="localhost", system="Windows 11", device_name="A100")
    report(copied, "cpu-bf16", hostname="localhost", system="Linux 6.8", device_name="L40S")
    assert view_study(copied).machines.sentence == (
        "The host blocks report different machines: localhost (L40S, Linux) and localhost (A100, Windows)."
    )


def test_one_hostname_with_two_devices_may_be_one_machine_or_two(copied: Path) -> None:
    for host, device in (("cpu-fp32", "A100"), ("cpu-bf16", "EPYC")):
        report(copied, host, system="Linux 6.8", device_name=device)
    assert view_study(copied).machines.sentence == (
        "Host blocks report one hostname and system with several devices, which may be one machine or several: "
        "example (A100, Linux) and example (EPYC, Linux)."
    )


def test_another_release_of_a_system_is_no_other_machine(copied: Path) -> None:
    report(copied, "cpu-fp32", system="Linux 6.8", device_name="CPU")
    report(copied, "cpu-bf16", system="Linux 6.9", device_name="CPU")
    assert view_study(copied).machines.sentence.startswith(
        "Both host blocks report one hostname and one device, example (CPU, Linux)"
    )


def test_two_of_three_blocks_that_report_one_machine_are_named(tmp_path: Path) -> None:
    value = synthetic.params(4, 1)
    value["hosts"]["third"] = {**value["hosts"]["cpu-fp32"], "title": "Third"}
    root = make_study(tmp_path / "study", value)
    for host, machine in (("cpu-fp32", "alpha"), ("cpu-bf16", "alpha"), ("third", "beta")):
        report(root, host, hostname=machine)
    assert (
        view_study(root).machines.sentence == "Some host blocks report the same machine: cpu-fp32 and cpu-bf16 (alpha)."
    )


def test_without_telemetry_the_machines_are_not_known_and_the_note_is_called_its_authors(copied: Path) -> None:
    shutil.rmtree(copied / "artifacts" / "telemetry")
    machines = view_study(copied).machines
    unknown = "nothing recorded here says which machines they were."
    assert replace(machines, noted=False).sentence.endswith(unknown)
    assert replace(machines, noted=True).sentence.endswith(
        f"{unknown} What the study's note says of them is its author's statement."
    )
    study = load(copied).study
    for note in ("", "Two modes of one CPU."):
        noted = study.model_copy(update={"study": study.study.model_copy(update={"note": note})})
        assert read_machines(copied, noted, []).noted is bool(note)
