"""The host blocks as they really are: what was declared, and which machines the telemetry names.

python -m pytest tests/site/test_machines.py
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from report import words
from report.curves import read_telemetry
from report.load import Audit

#: Runs that are looked at for each host block: machines change between rungs, hardly inside one.
MOST_RUNS = 200


def _machine(told: dict[str, Any]) -> dict[str, Any]:
    """The machine part of a telemetry, wherever it stands."""
    found = told.get("machine")
    return found if isinstance(found, dict) else told


@lru_cache(maxsize=1)
def seen(audit: Audit) -> dict[str, dict[str, list[str]]]:
    """By host block: hostnames, processors or GPUs, and torch versions that its runs report, sorted."""
    found: dict[str, dict[str, set[str]]] = {
        host: {"hostname": set(), "device": set(), "torch": set(), "system": set()} for host in audit.study.hosts
    }
    looked = dict.fromkeys(found, 0)
    for run in reversed(audit.executed):
        host = run.record.host
        if host not in found or looked[host] >= MOST_RUNS:
            continue
        looked[host] += 1
        machine = _machine(read_telemetry(audit.root, run.record.id))
        for key, value in (
            ("hostname", machine.get("hostname")),
            ("device", machine.get("device_name") or machine.get("cpu")),
            ("torch", machine.get("torch")),
            ("system", machine.get("system")),
        ):
            if isinstance(value, str) and value:
                found[host][key].add(value)
    return {host: {key: sorted(values) for key, values in told.items()} for host, told in found.items()}


def plainly(audit: Audit) -> str:
    """Whether the blocks are several machines, in one honest sentence."""
    hosts = list(audit.study.hosts)
    named = {host: frozenset(told["hostname"]) for host, told in seen(audit).items()}
    if any(not one for one in named.values()):
        return "No telemetry here names the machine of every host block: how many there were is not known."
    everything = frozenset[str]().union(*named.values())
    if len(everything) == 1 and len(hosts) > 1:
        return (
            f"{'Both' if len(hosts) == 2 else f'All {len(hosts)}'} host blocks ran on one machine "
            f"({next(iter(everything))}): they differ in what they declare, "
            "such as precision, and are not different machines."
        )
    if len(hosts) == 1:
        return f"There is one host block, run on {words.count(len(everything), 'machine')}."
    shared = frozenset.intersection(*named.values())
    if shared:
        return f"Some host blocks share a machine ({words.listed(sorted(shared))})."
    return f"The host blocks ran on different machines: {words.listed(sorted(everything))}."
