"""Hands the runs of a study to workers and takes in what they make, rung by rung.

    promotion dispatch

The engine is Dask distributed (docs/hosts.md says why): host blocks are worker resources, one run a worker, a run whose
worker dies is given to another one. What comes back is checked, written to the workspace and taken in by `dvc commit`;
the gates run as DVC runs them. So nothing that a killed worker, dispatcher or machine does can put a run into the
ledger twice, and nothing that was finished is trained again.

Who is there for what waits: `promotion dispatch` says for whom it waits, and which of its own workers ended.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, Future, LocalCluster, as_completed

from stages.domain.contract import Contract
from stages.domain.errors import Refused
from stages.domain.runs import Run, gate_stage, runs_of
from stages.domain.study import Study
from stages.hosts import remote, workers
from stages.hosts import workers as crews
from stages.hosts.dispatch_view import View
from stages.hosts.job import accept, execute, job_of
from stages.hosts.machine import count
from stages.hosts.processes import alone
from stages.hosts.work import finished
from stages.hosts.workers import Member
from stages.hosts.worklist import Rung, look, read_current_contract

LOOK_SECONDS = 2.0
REMIND_SECONDS = 600.0


class Attendance:
    """Compares the hosts of the runs that wait with those that a worker of the scheduler offers.

    `client` is Dask's, `crew` the workers of this machine, `say` takes one line that stays.
    """

    def __init__(self, client: Any, crew: Sequence[Member], say: Callable[[str], None]) -> None:
        self._client, self._crew, self._say = client, crew, say
        self._missing: dict[str, int] = {}
        self._said_at = 0.0
        self._ended: set[int] = set()

    @contextmanager
    def during(self, rung: str, waiting: Callable[[], Sequence[Run]]) -> Iterator[None]:
        """Look now and then while the body waits for runs of a rung."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(LOOK_SECONDS):
                self.look(rung, waiting())

        thread = threading.Thread(target=look, name="attendance", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def look(self, rung: str, waiting: Sequence[Run]) -> None:
        """Say what has changed: which hosts no worker is there for, and which worker of this machine ended."""
        for member in self._crew:
            if not member.works() and member.process.pid not in self._ended:
                self._ended.add(member.process.pid)
                self._say(f"a worker of this machine ended: {member.told()}")
        offered = self._offered()
        missing = {host: runs for host, runs in Counter(run.host for run in waiting).items() if host not in offered}
        now = time.monotonic()
        if missing and (missing != self._missing or now - self._said_at >= REMIND_SECONDS):
            whom = ", ".join(f"{host} ({count(runs, 'run')})" for host, runs in missing.items())
            address = self._client.scheduler_info()["address"]
            self._say(f"{rung} waits for a worker of {whom}: `promotion dispatch --join {address}` on such a machine")
            self._said_at = now
        self._missing = missing

    def _offered(self) -> set[str]:
        """The hosts for which a worker is there, or is just being started here."""
        workers = self._client.scheduler_info()["workers"].values()
        there = {host for worker in workers for host in worker["resources"]}
        return there | {host for member in self._crew if member.works() for host in member.slot.hosts}


RETRIES = 2
TAKE_SECONDS = 30.0


@contextmanager
def cluster(study: Study, listen: str, hosts: list[str], size: int | None) -> Iterator[tuple[Client, list[Member]]]:
    """A scheduler that listens at `listen` (address:port), and the workers of this machine, one in every slot."""
    address, _, port = listen.rpartition(":")
    if not address or not port.isdigit():
        raise Refused(f"--listen: found {listen!r}, expected ADDRESS:PORT, such as 127.0.0.1:8786")
    here = [] if size == 0 else workers.slots_of(study, hosts, size)
    local = LocalCluster(
        n_workers=0, host=address, scheduler_port=int(port), dashboard_address=None, silence_logs=40, protocol="tcp://"
    )
    with local, Client(local) as client:
        crew = crews.start(here, local.scheduler_address)
        try:
            yield client, crew
        finally:
            crews.stop(crew)


@dataclass
class Dispatcher:
    """Works through a study with the workers of `client`."""

    study: Study
    client: Client
    view: View
    crew: list[Member] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    _took: float = 0.0

    def __post_init__(self) -> None:
        self._attendance = Attendance(self.client, self.crew, self.view.say)

    def dispatch(self) -> int:
        """Dispatch until every gate has decided; the exit status."""
        with alone("work", "`promotion work` or `promotion dispatch` is running"), self.view:
            for path in remote.heal():
                self.view.say(f"{path.as_posix()} was left half-written; it is written anew")
            self.client.subscribe_topic("promotion", self.view.heard)
            if remote.dvc("repro", "protocol"):
                raise Refused("the protocol did not let this study through; see above")
            for rung in self.study.rungs:
                if (status := self._rung(rung)) is not None:
                    return status
        self.view.say("every gate has decided; `dvc repro` makes the ledger and the site")
        return 0

    def _rung(self, rung: str) -> int | None:
        now = look(self.study, rung)
        if finished(now):
            return None
        if now.closed:
            self.view.say(f"{rung}: {now.closed}")
            return 1
        remote.take(now.done)
        if now.to_stop and not remote.repro([run.stage for run in now.to_stop]):
            raise Refused(f"{rung}: a stopped run could not be recorded; see above")
        self._train(now)
        if self.failed:
            for run, told in self.failed.items():
                self.view.say(f"{run}: {told}")
            told = count(len(self.failed), "run")
            self.view.say(f"{rung}: {told} failed; what ended well is taken in; start again to retry")
            return 2
        if not remote.repro([gate_stage(rung)]):
            raise Refused(f"{rung}: its gate could not judge; see above")
        remote.settle(rung, runs_of(self.study, rung))
        return None

    def _train(self, now: Rung) -> None:
        self.view.rung(now.name, self.study.rungs[now.name].budget_seconds, len(now.trained), now.to_train)
        contract = read_current_contract(now.name)
        if not now.to_train or contract is None:
            return
        futures = {self._submit(run, contract.lock): run for run in now.to_train}
        waiting = set(now.to_train)
        accepted: list[Run] = []
        with self._attendance.during(now.name, lambda: tuple(waiting)):
            for future in as_completed(list(futures)):
                run = futures[future]
                waiting.discard(run)
                if self._accept(future, run, contract):
                    accepted.append(run)
                future.release()  # the scheduler forgets what is safe here
                if time.monotonic() - self._took > TAKE_SECONDS:
                    self._take(accepted)
            self._take(accepted)

    def _submit(self, run: Run, lock: str) -> Future[dict[str, bytes]]:
        # The key names the run and its rule: the same run is never twice in one scheduler.
        key = f"{run.id}-{lock[:16]}"
        return self.client.submit(
            execute, job_of(run).dumps(), key=key, resources={run.host: 1}, retries=RETRIES, pure=False
        )

    def _accept(self, future: Future[dict[str, bytes]], run: Run, contract: Contract) -> bool:
        try:
            record = accept(run, future.result(), self.study, contract, "a worker")
        except Exception as error:  # whatever a worker raises arrives here as it was there
            self.failed[run.id] = f"{type(error).__name__}: {error}"
            self.view.ended(run.id, "failed")
            return False
        value = "" if record.val_bpb is None else f", val_bpb {record.val_bpb:f}"
        self.view.ended(run.id, f"{record.status}{value}")
        return True

    def _take(self, accepted: list[Run]) -> None:
        remote.take(accepted)
        accepted.clear()
        self._took = time.monotonic()
