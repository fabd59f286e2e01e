"""The host blocks as they really are: what was declared, and which machines the telemetry names.

Telemetry knows a machine by hostname, system and device and by nothing else, so that is all that is said of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from report.load import LedgerRun
from report.traces import read_telemetry
from stages.domain import formatting
from stages.domain.study import Study

#: Runs that are looked at for each host block: machines change between rungs, hardly inside one.
MOST_RUNS = 200
_UNKNOWN = (
    "Telemetry that names the machine of every host block is not here, so nothing recorded here says which machines "
    "they were."
)


class Machine(NamedTuple):
    """What tells machines apart; empty where a run does not report it. A system is its name without the release,
    which one machine changes with an update."""

    hostname: str
    system: str
    device: str

    def __str__(self) -> str:
        details = ", ".join(filter(None, (self.device, self.system)))
        return f"{self.hostname} ({details})" if details else self.hostname


#: What the telemetry of a run says of its machine, and the torch that it had.
MachineReport = tuple[Machine, str]


@dataclass(frozen=True)
class HostMachines:
    """By host block, what its latest runs report. `noted`: the study has a note of its author."""

    reports: dict[str, list[MachineReport]]
    noted: bool = False

    def values(self, host: str, key: str) -> list[str]:
        """What the runs of a host block report under `hostname`, `device` or `torch`, each once, sorted."""
        reports = self.reports[host]
        return sorted({torch if key == "torch" else getattr(machine, key) for machine, torch in reports} - {""})

    @property
    def sentence(self) -> str:
        """Whether the blocks are several machines, in one honest sentence."""
        named = {
            host: frozenset(machine for machine, _ in rows if machine.hostname) for host, rows in self.reports.items()
        }
        if not all(named.values()):
            said = " What the study's note says of them is its author's statement." if self.noted else ""
            return f"{_UNKNOWN}{said}"
        machines = sorted(frozenset[Machine]().union(*named.values()))
        if len(named) == 1:
            return f"There is one host block; its runs report {formatting.count(len(machines), 'machine')}."
        if len(machines) == 1:
            blocks = f"{'Both' if len(named) == 2 else f'All {len(named)}'} host blocks"
            what = "one hostname and one device" if machines[0].device else "one hostname"
            return f"{blocks} report {what}, {machines[0]}: they differ in what they declare, such as precision."
        if shared := [(pair, both) for pair in combinations(named, 2) if (both := named[pair[0]] & named[pair[1]])]:
            pairs = "; ".join(f"{a} and {b} ({_list(both, machines)})" for (a, b), both in shared)
            return f"Some host blocks report the same machine: {pairs}."
        if any(a[:2] == b[:2] for a, b in combinations(machines, 2)):
            return (
                "Host blocks report one hostname and system with several devices, which may be one machine or several: "
                f"{_list(machines, machines)}."
            )
        return f"The host blocks report different machines: {_list(machines, machines)}."


def read_machines(root: Path, study: Study, executed: list[LedgerRun]) -> HostMachines:
    """What the telemetry under `root` says of the machines, of so many runs a host block."""
    reports: dict[str, list[MachineReport]] = {host: [] for host in study.hosts}
    for run in reversed(executed):
        rows = reports.get(run.record.host)
        if rows is not None and len(rows) < MOST_RUNS:
            rows.append(_report(read_telemetry(root, run.record.id)))
    return HostMachines(reports, bool(study.study.note))


def _report(telemetry: Mapping[str, object]) -> MachineReport:
    """The machine part of a telemetry, wherever it stands; what is no text counts as not reported."""
    part = telemetry.get("machine")
    values: Mapping[str, object] = part if isinstance(part, dict) else telemetry
    keys = (values.get("hostname"), values.get("system"), values.get("device_name") or values.get("cpu"))
    hostname, system, device, torch = (
        value if isinstance(value, str) else "" for value in (*keys, values.get("torch"))
    )
    return Machine(hostname, system.partition(" ")[0], device), torch


def _list(machines: Iterable[Machine], everything: list[Machine]) -> str:
    """Machines by hostname, with device and system where a hostname does not tell them apart."""
    unique = len({machine.hostname for machine in everything}) == len(everything)
    return formatting.listed([machine.hostname if unique else str(machine) for machine in sorted(machines)])
