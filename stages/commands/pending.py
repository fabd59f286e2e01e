"""What can be run now, and what waits for whom.

    promotion pending                          every host
    promotion pending --host linux-l40s        this host's runs by name
    promotion pending --fetch                  after taking in what others have pushed

Counts runs that were trained, as `promotion status` does. Reads the workspace alone, unless --fetch says otherwise.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from stages.domain.errors import Refused
from stages.domain.formatting import duration
from stages.domain.runs import gate_stage
from stages.domain.study import Study, load
from stages.hosts.machine import count
from stages.hosts.worklist import Rung, decided, look


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion pending`."""
    parser.add_argument("--host", help="name the runs that this host can do now")
    parser.add_argument("--fetch", action="store_true", help="first take in what others have pushed")
    parser.add_argument("--remote", help="with --fetch: the DVC remote; the default one unless given")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def survey(study: Study, rungs: dict[str, Rung]) -> dict[str, Any]:
    """By rung: what is trained, what each host can train now, how many records of stopped runs are to write."""
    return {
        name: {
            "budget_seconds": study.rungs[name].budget_seconds,
            "closed": rung.closed,
            "decided": rung.closed is None and decided(name),
            "done": sum(run.purpose == "candidate" for run in rung.trained),
            "floor_done": sum(run.purpose == "floor" for run in rung.trained),
            "to_stop": len(rung.to_stop),
            "to_train": {host: [run.id for run in rung.to_train if run.host == host] for host in study.hosts},
        }
        for name, rung in rungs.items()
    }


def tell(name: str, found: dict[str, Any]) -> str:
    """One rung in one line."""
    head = f"{name}  {duration(found['budget_seconds'])}"
    if found["closed"]:
        return f"{head}: waits: {found['closed']}"
    done = f"{count(found['done'], 'run')} done" + (f", {found['floor_done']} A/A" if found["floor_done"] else "")
    waits = [f"{count(len(runs), 'run')} of {host}" for host, runs in found["to_train"].items() if runs]
    if found["to_stop"]:
        waits.append(f"{count(found['to_stop'], 'record')} of stopped runs")
    if waits:
        return f"{head}: {done}; its gate waits for {', '.join(waits)}"
    return f"{head}: {done}; " + ("judged" if found["decided"] else f"`dvc repro {gate_stage(name)}`")


def run(arguments: argparse.Namespace) -> int:
    """Print what is pending."""
    study = load()
    if arguments.host is not None and arguments.host not in study.hosts:
        raise Refused(f"{arguments.host}: no such host; params.yaml has {', '.join(study.hosts)}")
    rungs = {name: _rung(study, name, arguments) for name in study.rungs}
    found = survey(study, rungs)
    if arguments.json:
        print(json.dumps(found, indent=1, sort_keys=True))
        return 0
    for name, told in found.items():
        print(tell(name, told))
    if arguments.host is not None:
        now = [one for told in found.values() for one in told["to_train"][arguments.host]]
        print(f"{arguments.host} can run now: {len(now)}")
        for one in now:
            print(f"  {one}")
    return 0


def _rung(study: Study, name: str, arguments: argparse.Namespace) -> Rung:
    if not arguments.fetch:
        return look(study, name)
    from stages.hosts.work import refresh

    return refresh(study, name, arguments.remote)
