"""One host's share of a study: take what the others have pushed, run what is this host's, push, until nothing is left.

    promotion work --host linux-l40s

Nothing but the DVC remote and its run cache stands between the hosts. Any of them may be killed at any moment and
started again: a finished run is taken in, an unfinished one goes on from its checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from stages.domain.errors import Refused
from stages.domain.runs import gate_stage, runs_of
from stages.domain.study import Study
from stages.hosts import machine
from stages.hosts.processes import alone
from stages.hosts.remote import Unreachable, dvc, heal, holds, push, repro, restore, settle, take
from stages.hosts.worklist import Rung, decided, look

#: So much budget is run between two pushes, so that short runs share one.
PUSH_SECONDS = 120.0


def say(text: str) -> None:
    """One line for whoever watches."""
    print(f"work: {text}", flush=True)


def refresh(study: Study, rung: str, remote: str | None) -> Rung:
    """The rung, after taking in what was pushed by others and what was made here and not yet taken in."""
    before = look(study, rung)
    if not before.closed and (missing := [*before.to_train, *before.to_stop]):
        restore([run.stage for run in missing], remote)
    now = look(study, rung)
    if taken := take(now.done):
        say(f"{rung}: took in {machine.count(len(taken), 'finished run')}")
    return now


def finished(rung: Rung) -> bool:
    """Whether a rung is done, judged, and taken in by DVC: nothing is left to do, and its dvc.lock stays as it is."""
    if rung.closed or rung.to_train or rung.to_stop:
        return False
    return decided(rung.name) and holds(rung.name, rung.done)


def prepare(remote: str | None) -> None:
    """Mend what a killed DVC left; then the corpus, from the remote if it is there, and the protocol."""
    for path in heal():
        say(f"{path.as_posix()} was left half-written; it is written anew")
    restore(["corpus"], remote)
    if dvc("repro", "protocol"):
        raise Refused("the protocol did not let this study through; see above")


@dataclass
class Worker:
    """What one host does. `sleep` is asked to wait so many seconds between two looks at the remote."""

    study: Study
    host: str
    remote: str | None
    once: bool
    poll: float
    sleep: Callable[[float], None] = time.sleep

    def work(self) -> int:
        """Work until nothing is left for this host; the exit status."""
        declared = self.study.hosts.get(self.host)
        if declared is None:
            raise Refused(f"{self.host}: no such host; params.yaml has {', '.join(self.study.hosts)}")
        machine.require(self.host, declared.model_dump())
        with alone("work", "`promotion work` is running"):
            prepare(self.remote)
            for rung in self.study.rungs:
                if (status := self._rung(rung)) is not None:
                    return status
        say(f"every run of {self.host} is done and every gate has decided; `dvc repro` makes the ledger and the site")
        return 0

    def _rung(self, rung: str) -> int | None:
        """Work on one rung until its gate has decided; the exit status where this host has to stop before."""
        told = ""
        while True:
            now = self._refresh(rung)
            if finished(now):
                return None
            if now.closed:
                say(f"{rung}: {now.closed}; commit the lock, `git pull` it here, and start again")
                return 1
            if (failed := self._run_own(now)) is not None:
                return failed
            now = self._refresh(rung)
            if not now.to_train:
                return self._gate(now)
            missing = ", ".join(f"{machine.count(runs, 'run')} of {host}" for host, runs in now.waits_for().items())
            if missing != told:
                say(f"{rung}: waits for {missing}")
                told = missing
            if self.once:
                return 0
            self.sleep(self.poll)

    def _refresh(self, rung: str) -> Rung:
        """The rung with what others have pushed, or, where the remote is out of reach just now, with what is here."""
        try:
            return refresh(self.study, rung, self.remote)
        except Unreachable as error:  # a host that waits for another must not end because a network did
            say(f"{error}; going on with what is here")
            return look(self.study, rung)

    def _run_own(self, now: Rung) -> int | None:
        """Run this host's runs of a rung, each once; the exit status if some did not end well."""
        own = [run for run in now.to_train if run.host == self.host]
        budget = self.study.rungs[now.name].budget_seconds
        size = max(1, math.floor(PUSH_SECONDS / budget))
        good = True
        for start in range(0, len(own), size):
            say(f"{now.name}: {machine.count(len(own) - start, 'run')} to train")
            good &= repro([run.stage for run in own[start : start + size]])
            self._push()
        if good:
            return None
        left = [run.id for run in look(self.study, now.name).to_train if run in own]
        say(
            f"{now.name}: {machine.count(len(left), 'run')} did not end, see above: {', '.join(left)}; "
            "what did is pushed; start again to try once more"
        )
        return 2

    def _gate(self, now: Rung) -> int | None:
        """Everything is trained: record what nobody had a ticket for, and judge. The same on every host."""
        if not repro([run.stage for run in now.to_stop]):
            raise Refused(f"{now.name}: a stopped run could not be recorded; see above")
        if not repro([gate_stage(now.name)]):
            raise Refused(f"{now.name}: its gate could not judge; see above")
        settle(now.name, runs_of(self.study, now.name))
        self._push()
        return None

    def _push(self) -> None:
        try:
            push(self.remote)
        except Unreachable as error:  # an hour of training must not end because a network did
            say(f"{error}")
