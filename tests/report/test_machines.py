"""The host blocks as they really are, in one honest sentence."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from report import machines as module
from report.load import load
from report.machines import HostMachines, Machine, read_machines
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


A, B = Machine("a", "Linux", "A100"), Machine("b", "Linux", "A100")


@pytest.mark.parametrize(
    ("reports", "sentence"),
    [
        ({"x": [A]}, "There is one host block; its runs report 1 machine."),
        ({"x": [A, B, A]}, "There is one host block; its runs report 2 machines."),
        (
            {"x": [A], "y": [A], "z": [A]},
            "All 3 host blocks report one hostname and one device, a (A100, Linux): they differ in what they declare, such as "
            "precision.",
        ),
        (
            {"x": [A._replace(device="")], "y": [A._replace(device="")]},
            "Both host blocks report one hostname, a (Linux): they differ in what they declare, such as precision.",
        ),
        ({"x": [A], "y": [B], "z": [A, B]}, "Some host blocks report the same machine: x and z (a); y and z (b)."),
        ({"x": [A], "y": [A._replace(system="Windows")]}, "The host blocks report different machines: a (A100, Linux) and a (A100, Windows)."),
        (
            {"x": [A], "y": [A._replace(device="L4")], "z": [B]},
            "Host blocks report one hostname and system with several devices, which may be one machine or several: a (A100, "
            "Linux), a (L4, Linux) and b (A100, Linux).",
        ),
    ],
)  # fmt: skip
def test_one_sentence_says_whether_the_blocks_are_several_machines(
    reports: dict[str, list[Machine]], sentence: str
) -> None:
    rows = {host: [(machine, "2.1") for machine in machines] for host, machines in reports.items()}
    assert HostMachines(rows).sentence == sentence


@pytest.mark.parametrize("reports", [{"x": [A], "y": []}, {"x": [A], "y": [A._replace(hostname="")]}])
def test_a_block_whose_machine_nothing_names_leaves_it_unknown(reports: dict[str, list[Machine]]) -> None:
    rows = {host: [(machine, "") for machine in machines] for host, machines in reports.items()}
    assert HostMachines(rows, noted=False).sentence.endswith("which machines they were.")
    assert HostMachines(rows).values("x", "torch") == []


def test_a_machine_is_named_with_what_is_known_of_it() -> None:
    assert [str(Machine(*parts)) for parts in (("a", "", ""), ("a", "Linux", ""), ("a", "", "L4"))] == [
        "a",
        "a (Linux)",
        "a (L4)",
    ]


@pytest.mark.parametrize(
    ("telemetry", "report"),
    [
        ({}, (Machine("", "", ""), "")),
        (
            {"hostname": "a", "system": "Linux 6.8", "cpu": "EPYC", "torch": "2.1"},
            (Machine("a", "Linux", "EPYC"), "2.1"),
        ),
        (
            {"machine": {"hostname": "a", "device_name": "A100", "cpu": "EPYC"}, "hostname": "b"},
            (Machine("a", "", "A100"), ""),
        ),
        ({"machine": "a", "hostname": 3, "torch": None}, (Machine("", "", ""), "")),
    ],
)
def test_a_machine_is_read_wherever_the_telemetry_has_it(telemetry: dict[str, object], report: object) -> None:
    assert module._report(telemetry) == report


def test_the_latest_runs_of_each_declared_host_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_telemetry", lambda root, run: {"hostname": run})
    runs = [SimpleNamespace(record=SimpleNamespace(host=host, id=f"{host}{n:03}")) for n in range(202) for host in "xz"]
    study = SimpleNamespace(hosts={"x": 0, "y": 0}, study=SimpleNamespace(note=""))
    machines = read_machines(tmp_path, study, runs)  # type: ignore[arg-type]
    assert machines.values("x", "hostname") == [f"x{n:03}" for n in range(2, 202)]
    assert (machines.reports["y"], machines.noted) == ([], False)
