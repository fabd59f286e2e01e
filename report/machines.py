"""The host blocks as they really are: what was declared, and which machines the telemetry names.

    python -m pytest tests/report/test_machines.py

Telemetry knows a machine by hostname, system and device and by nothing else, so that is all that is said of it.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

from report.load import Audit
from report.traces import read_telemetry
from stages.domain import formatting

#: Runs that are looked at for each host block: machines change between rungs, hardly inside one.
MOST_RUNS = 200


class Machine(NamedTuple):
    """What tells machines apart; empty where a run does not report it. A system is its name without the release,
    which one machine changes with an update."""

    hostname: str
    system: str
    device: str

    def __str__(self) -> str:
        told = ", ".join(filter(None, (self.device, self.system)))
        return f"{self.hostname} ({told})" if told else self.hostname


def _machine(told: dict[str, Any]) -> dict[str, str]:
    """The machine part of a telemetry, wherever it stands; what is no text is not told."""
    found = told.get("machine")
    part = found if isinstance(found, dict) else told
    values = {
        "hostname": part.get("hostname"),
        "device": part.get("device_name") or part.get("cpu"),
        "torch": part.get("torch"),
        "system": part.get("system"),
    }
    return {key: value if isinstance(value, str) else "" for key, value in values.items()}


@lru_cache(maxsize=1)
def _told(audit: Audit) -> dict[str, list[dict[str, str]]]:
    """By host block, what its latest runs report."""
    found: dict[str, list[dict[str, str]]] = {host: [] for host in audit.study.hosts}
    for run in reversed(audit.executed):
        mine = found.get(run.record.host)
        if mine is not None and len(mine) < MOST_RUNS:
            mine.append(_machine(read_telemetry(audit.root, run.record.id)))
    return found


def seen(audit: Audit) -> dict[str, dict[str, list[str]]]:
    """By host block: hostnames, processors or GPUs, torch versions and systems that its runs report, sorted."""
    return {
        host: {key: sorted({one[key] for one in told} - {""}) for key in ("hostname", "device", "torch", "system")}
        for host, told in _told(audit).items()
    }


def _machines(told: list[dict[str, str]]) -> frozenset[Machine]:
    return frozenset(
        Machine(one["hostname"], one["system"].partition(" ")[0], one["device"]) for one in told if one["hostname"]
    )


def plainly(audit: Audit) -> str:
    """Whether the blocks are several machines, in one honest sentence."""
    named = {host: _machines(told) for host, told in _told(audit).items()}
    if not all(named.values()):
        return "No telemetry here names the machine of every host block: how many there were is not known."
    everything = sorted(frozenset[Machine]().union(*named.values()))
    if len(named) == 1:
        return f"There is one host block; its runs report {formatting.count(len(everything), 'machine')}."
    blocks = f"{'Both' if len(named) == 2 else f'All {len(named)}'} host blocks"
    if len(everything) == 1:
        what = "one hostname and one device" if everything[0].device else "one hostname"
        return f"{blocks} report {what}, {everything[0]}: they differ in what they declare, such as precision."
    if shared := [(pair, both) for pair in combinations(named, 2) if (both := named[pair[0]] & named[pair[1]])]:
        told = "; ".join(f"{a} and {b} ({_list(both, everything)})" for (a, b), both in shared)
        return f"Some host blocks report the same machine: {told}."
    if any(one[:2] == other[:2] for one, other in combinations(everything, 2)):
        return (
            "Host blocks report one hostname and system with several devices, which may be one machine or several: "
            f"{_list(everything, everything)}."
        )
    return f"The host blocks report different machines: {_list(everything, everything)}."


def _list(these: frozenset[Machine] | list[Machine], everything: list[Machine]) -> str:
    """Machines by hostname, with device and system where a hostname does not tell them apart."""
    alone = len({one.hostname for one in everything}) == len(everything)
    return formatting.listed([one.hostname if alone else str(one) for one in sorted(these)])
