"""What can be run now, and what waits for whom.

    promotion pending                          every host
    promotion pending --host linux-l40s        this host's runs by name
    promotion pending --fetch                  after taking in what others have pushed

Counts runs that were trained, as `promotion status` does. Reads the workspace alone, unless --fetch says otherwise.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass

from stages.domain.errors import Refused
from stages.domain.formatting import count, duration
from stages.domain.runs import gate_stage
from stages.domain.study import Study, load
from stages.hosts.worklist import RungWork, is_decided, read_rung_work


@dataclass(frozen=True)
class PendingRung:
    """One rung: what is trained, what each host can train now (run ids), how many stopped runs are to be recorded."""

    budget_seconds: float
    closed: str | None
    decided: bool
    done: int
    floor_done: int
    to_stop: int
    to_train: dict[str, list[str]]

    def format(self, name: str) -> str:
        """The rung in one line."""
        head = f"{name}  {duration(self.budget_seconds)}"
        if self.closed:
            return f"{head}: waits: {self.closed}"
        done = f"{count(self.done, 'run')} done" + (f", {self.floor_done} A/A" if self.floor_done else "")
        waits = [f"{count(len(runs), 'run')} of {host}" for host, runs in self.to_train.items() if runs]
        if self.to_stop:
            waits.append(f"{count(self.to_stop, 'record')} of stopped runs")
        if waits:
            return f"{head}: {done}; its gate waits for {', '.join(waits)}"
        return f"{head}: {done}; " + ("judged" if self.decided else f"`dvc repro {gate_stage(name)}`")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion pending`."""
    parser.add_argument("--host", help="name the runs that this host can do now")
    parser.add_argument("--fetch", action="store_true", help="first take in what others have pushed")
    parser.add_argument("--remote", help="with --fetch: the DVC remote; the default one unless given")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def summarize_work(study: Study, work: RungWork) -> PendingRung:
    """What is pending at a rung."""
    return PendingRung(
        budget_seconds=study.rungs[work.name].budget_seconds,
        closed=work.closed,
        decided=work.closed is None and is_decided(work.name),
        done=sum(run.purpose == "candidate" for run in work.trained),
        floor_done=sum(run.purpose == "floor" for run in work.trained),
        to_stop=len(work.to_stop),
        to_train={host: [run.id for run in work.to_train if run.host == host] for host in study.hosts},
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what is pending."""
    study = load()
    if arguments.host is not None and arguments.host not in study.hosts:
        raise Refused(f"{arguments.host}: no such host; params.yaml has {', '.join(study.hosts)}")
    rungs = {name: summarize_work(study, _read_work(study, name, arguments)) for name in study.rungs}
    if arguments.json:
        print(json.dumps({name: asdict(rung) for name, rung in rungs.items()}, indent=1, sort_keys=True))
        return 0
    for name, rung in rungs.items():
        print(rung.format(name))
    if arguments.host is not None:
        runs = [run_id for rung in rungs.values() for run_id in rung.to_train[arguments.host]]
        print(f"{arguments.host} can run now: {len(runs)}")
        for run_id in runs:
            print(f"  {run_id}")
    return 0


def _read_work(study: Study, rung: str, arguments: argparse.Namespace) -> RungWork:
    if not arguments.fetch:
        return read_rung_work(study, rung)
    from stages.hosts.work import refresh_rung

    return refresh_rung(study, rung, arguments.remote)
