"""One host's share of a study: take what others have pushed, run this host's runs, push, until nothing is left.

    promotion work --host linux-l40s

Hosts exchange results through the DVC remote and its run cache alone. Any host may be killed at any moment and started
again: a finished run is committed, an unfinished one resumes from its checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from stages.domain.errors import Refused
from stages.domain.formatting import count
from stages.domain.runs import gate_stage, runs_of
from stages.domain.study import Study
from stages.hosts import machine, remote
from stages.hosts.processes import hold_lock
from stages.hosts.recovery import DYING_SECONDS, heal
from stages.hosts.worklist import RungWork, is_decided, read_rung_work

#: So much budget is run between two pushes, so that short runs share one.
PUSH_SECONDS = 120.0


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"work: {text}", flush=True)


def refresh_rung(study: Study, rung: str, remote_name: str | None) -> RungWork:
    """The work of a rung, after restoring what others have pushed and committing what was finished in this clone."""
    before = read_rung_work(study, rung)
    if not before.closed and (missing := [*before.to_train, *before.to_stop]):
        remote.restore_outputs([run.stage for run in missing], remote_name)
    work = read_rung_work(study, rung)
    if committed := remote.commit_runs(work.done):
        say(f"{rung}: took in {count(len(committed), 'finished run')}")
    return work


def is_finished(work: RungWork) -> bool:
    """Whether a rung is done, judged, and committed to DVC: nothing is left to do, and its dvc.lock stays as it is."""
    if work.closed or work.to_train or work.to_stop:
        return False
    return is_decided(work.name) and remote.is_committed(work.name, work.done)


def prepare_study(remote_name: str | None) -> None:
    """Remove what a killed DVC left; then the corpus, from the remote if it is there, and the protocol."""
    for path in heal(DYING_SECONDS):
        say(f"{path.as_posix()} was left half-written; it is written anew")
    remote.restore_outputs(["corpus"], remote_name)
    if remote.run_dvc("repro", "protocol"):
        raise Refused("the protocol did not let this study through; see above")


@dataclass
class HostWorker:
    """Works as one host. `sleep` waits so many seconds between two looks at the remote."""

    study: Study
    host: str
    remote: str | None
    once: bool
    poll: float
    sleep: Callable[[float], None] = time.sleep

    def work(self) -> int:
        """Work until nothing is left for this host; the exit status."""
        block = self.study.hosts.get(self.host)
        if block is None:
            raise Refused(f"{self.host}: no such host; params.yaml has {', '.join(self.study.hosts)}")
        machine.require_host(self.host, block)
        with hold_lock("work", "`promotion work` is running"):
            prepare_study(self.remote)
            for rung in self.study.rungs:
                if (status := self._work_on(rung)) is not None:
                    return status
        say(f"every run of {self.host} is done and every gate has decided; `dvc repro` makes the ledger and the site")
        return 0

    def _work_on(self, rung: str) -> int | None:
        """Work on one rung until its gate has decided; the exit status where this host has to stop before."""
        reported = ""
        while True:
            work = self._refresh(rung)
            if is_finished(work):
                return None
            if work.closed:
                say(f"{rung}: {work.closed}; commit the lock, `git pull` it here, and start again")
                return 1
            if (failed := self._run_own(work)) is not None:
                return failed
            work = self._refresh(rung)
            if not work.to_train:
                return self._judge(work)
            missing = ", ".join(f"{count(runs, 'run')} of {host}" for host, runs in work.waits_for().items())
            if missing != reported:
                say(f"{rung}: waits for {missing}")
                reported = missing
            if self.once:
                return 0
            self.sleep(self.poll)

    def _refresh(self, rung: str) -> RungWork:
        """The rung with what others have pushed or, where the remote is out of reach just now, without it."""
        try:
            return refresh_rung(self.study, rung, self.remote)
        except remote.RemoteUnreachable as error:  # a host that waits for another must not end because a network did
            say(f"{error}; going on with what is here")
            return read_rung_work(self.study, rung)

    def _run_own(self, work: RungWork) -> int | None:
        """Run this host's runs of a rung, each once; the exit status if some failed."""
        own = [run for run in work.to_train if run.host == self.host]
        budget = self.study.rungs[work.name].budget_seconds
        size = max(1, math.floor(PUSH_SECONDS / budget))
        succeeded = True
        for start in range(0, len(own), size):
            say(f"{work.name}: {count(len(own) - start, 'run')} to train")
            succeeded &= remote.run_stages([run.stage for run in own[start : start + size]])
            self._push()
        if succeeded:
            return None
        left = [run.id for run in read_rung_work(self.study, work.name).to_train if run in own]
        say(
            f"{work.name}: {count(len(left), 'run')} did not end, see above: {', '.join(left)}; "
            "what did is pushed; start again to try once more"
        )
        return 2

    def _judge(self, work: RungWork) -> int | None:
        """Everything is trained: record the runs without a ticket, and run the gate. The same on every host."""
        if not remote.run_stages([run.stage for run in work.to_stop]):
            raise Refused(f"{work.name}: a stopped run could not be recorded; see above")
        if not remote.run_stages([gate_stage(work.name)]):
            raise Refused(f"{work.name}: its gate could not judge; see above")
        remote.order_entries(runs_of(self.study, work.name))
        self._push()
        return None

    def _push(self) -> None:
        try:
            remote.push_results(self.remote)
        except remote.RemoteUnreachable as error:  # an hour of training must not end because a network did
            say(f"{error}")
