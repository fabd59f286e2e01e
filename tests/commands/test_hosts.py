"""`promotion host`, `promotion pending` and `promotion work` as a person reads and types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stages.cli import build_parser
from stages.commands import host, work
from stages.domain import canonical, names
from stages.domain.errors import Refused
from stages.hosts import machine
from stages.hosts import work as working
from stages.hosts.worklist import read_rung_work
from tests.commands.conftest import Command

SMALL = machine.MachineDescription(
    system="linux", machine="x86_64", cpu="A CPU", threads=2, gpus=(), compiler=None, triton=False
)


@pytest.fixture
def study(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The judged study, whose second host needs more CPUs than this machine has."""
    value = json.loads(names.PARAMS.read_bytes())
    value["hosts"]["cpu-bf16"]["threads"] = 3
    names.PARAMS.write_text(json.dumps(value), encoding="utf-8")
    monkeypatch.setattr(host, "describe_machine", lambda: SMALL)
    return workspace


def run_host(*words: str) -> int:
    return host.run(build_parser("host").parse_args(["host", *words]))


def test_a_machine_is_held_against_every_host_block(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_host() == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"this machine: {machine.format_machine(SMALL)}"
    assert shown[1].startswith("fits     cpu-fp32: ") and shown[2].startswith("differs  cpu-bf16: ")
    assert shown[3:] == ["           threads: found 2 usable CPUs, expected at least 3"]
    assert run_host("--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert value["machine"]["cpu"] == "A CPU"
    reported = {name: block["mismatches"] for name, block in value["blocks"].items()}
    assert reported == {"cpu-fp32": [], "cpu-bf16": ["threads: found 2 usable CPUs, expected at least 3"]}
    assert shown[1] == f"fits     cpu-fp32: {value['blocks']['cpu-fp32']['says']}"


def test_a_machine_that_is_no_host_ends_with_1(study: Path, monkeypatch, capsys) -> None:
    small = machine.MachineDescription(**{**vars(SMALL), "threads": 1})
    monkeypatch.setattr(host, "describe_machine", lambda: small)
    assert (run_host(), run_host("--json")) == (1, 1)


def unfinished(config: str) -> list[str]:
    """Take a run of every cell of a configuration at the last rung away, and what was judged; what is to do."""
    shutil.rmtree(names.GATES / "gate5")
    taken = []
    for path in sorted((names.RECORDS / "rung5" / config).rglob("*.json")):
        if canonical.loads(path.read_bytes())["status"] == "finished":
            path.unlink()
            taken.append(path.relative_to(names.RECORDS).with_suffix("").as_posix())
    return taken


def test_what_is_pending_is_told_by_rung_and_the_runs_of_a_host_by_name(workspace, promotion: Command) -> None:
    taken = unfinished("d8-c007")
    own = [run for run in taken if "/cpu-fp32/" in run]
    last = f"rung5  12 min: 4 runs done; its gate waits for {len(own)} runs of cpu-fp32, 2 runs of cpu-bf16"
    lines = promotion("pending").splitlines()
    assert lines[:3] == [
        "rung1  2 s: 24 runs done; judged",
        "rung2  5 s: 24 runs done; judged",
        "rung3  10 s: 40 runs done, 6 A/A; judged",
    ]
    assert lines[4:] == [last]
    asked = promotion("pending", "--host", "cpu-fp32").splitlines()
    assert asked[4:] == [last, "cpu-fp32 can run now: 2", *(f"  {run}" for run in own)]
    rungs = promotion.json("pending")
    assert rungs["rung5"] == {
        "budget_seconds": 720.0,
        "closed": None,
        "decided": False,
        "done": 4,
        "floor_done": 0,
        "to_stop": 0,
        "to_train": {"cpu-fp32": own, "cpu-bf16": [run for run in taken if run not in own]},
    }
    with pytest.raises(Refused, match=r"^gpu: no such host; params\.yaml has cpu-fp32, cpu-bf16$"):
        promotion("pending", "--host", "gpu")


def test_what_others_pushed_is_taken_in_rung_by_rung_where_it_is_asked_for(workspace, promotion, monkeypatch) -> None:
    asked: list[Any] = []

    def refresh(study: Any, rung: str, remote: str | None) -> Any:
        asked.append((rung, remote))
        return read_rung_work(study, rung)

    monkeypatch.setattr(working, "refresh_rung", refresh)
    whole = promotion("pending")
    assert asked == []
    assert promotion("pending", "--fetch", "--remote", "team") == whole
    assert asked == [(f"rung{number}", "team") for number in range(1, 6)]


def test_a_host_works_as_it_was_asked_to(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Worker:
        def __init__(self, study: Any, *words: Any) -> None:
            asked.append(words)

        def work(self) -> int:
            return 1

    monkeypatch.setattr(working, "HostWorker", Worker)
    parser = build_parser("work")
    assert work.run(parser.parse_args(["work", "--host", "cpu-fp32"])) == 1
    words = ["work", "--host", "cpu-bf16", "--once", "--remote", "team", "--poll", "5"]
    assert work.run(parser.parse_args(words)) == 1
    assert asked == [("cpu-fp32", None, False, 60.0), ("cpu-bf16", "team", True, 5.0)]
