"""Hands the runs of a study to workers and takes in what they make, rung by rung.

    promotion dispatch

The engine is Dask distributed (docs/hosts.md says why): host blocks are worker resources, one run a worker, and a run
whose worker dies is given to another one. What comes back is checked, written to the workspace and committed by
`dvc commit`; the gates run as DVC runs them. So nothing that a killed worker, dispatcher or machine does can put a run
into the ledger twice, and nothing that was finished is trained again.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dask
from distributed import Client, Future, LocalCluster, as_completed

from stages.domain.contract import Contract
from stages.domain.errors import Refused
from stages.domain.formatting import count
from stages.domain.runs import Run, gate_stage, runs_of
from stages.domain.study import Study
from stages.hosts import remote, workers
from stages.hosts.cluster import parse_address, use_cluster
from stages.hosts.dispatch_view import DispatchView
from stages.hosts.fork_server import ForkServer, can_fork
from stages.hosts.job import LOGS, accept_outputs, execute_job, make_job, read_log_end
from stages.hosts.processes import hold_lock
from stages.hosts.recovery import DYING_SECONDS, heal
from stages.hosts.work import is_finished
from stages.hosts.workers import WorkerProcess
from stages.hosts.worklist import RungWork, read_current_contract, read_rung_work

#: How often Dask tries a run again whose worker died.
RETRIES = 2
#: How long finished runs may wait for a `dvc commit`, so that short ones share one.
COMMIT_SECONDS = 30.0
WATCH_SECONDS = 2.0
REMIND_SECONDS = 600.0


class WaitingReport:
    """Reports which hosts of the waiting runs no worker offers, and which workers of this machine have ended.

    `say` prints one line.
    """

    def __init__(self, cluster: StartedCluster, say: Callable[[str], None]) -> None:
        self._cluster, self._say = cluster, say
        self._missing: dict[str, int] = {}
        self._reported_at = 0.0
        self._ended: set[int] = set()

    @contextmanager
    def watch(self, rung: str, list_waiting: Callable[[], Sequence[Run]]) -> Iterator[None]:
        """Report now and then while the body waits for runs of a rung."""
        over = threading.Event()

        def repeat() -> None:
            while not over.wait(WATCH_SECONDS):
                self.report(rung, list_waiting())

        thread = threading.Thread(target=repeat, name="waiting report", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def report(self, rung: str, waiting: Sequence[Run]) -> None:
        """Report what has changed since the last call."""
        for worker in self._cluster.processes:
            if not worker.is_running() and worker.process.pid not in self._ended:
                self._ended.add(worker.process.pid)
                self._say(f"a worker of this machine ended: {worker.describe_end()}")
        offered = self._list_offered()
        missing = {host: runs for host, runs in Counter(run.host for run in waiting).items() if host not in offered}
        now = time.monotonic()
        if missing and (missing != self._missing or now - self._reported_at >= REMIND_SECONDS):
            hosts = ", ".join(f"{host} ({count(runs, 'run')})" for host, runs in missing.items())
            self._say(f"{rung} waits for a worker of {hosts}: `{self._cluster.join}` on such a machine")
            self._reported_at = now
        self._missing = missing

    def _list_offered(self) -> set[str]:
        """The hosts that a worker offers, or will offer when its process on this machine has started."""
        connected = self._cluster.client.scheduler_info()["workers"].values()
        offered = {host for worker in connected for host in worker["resources"]}
        return offered | {
            host for worker in self._cluster.processes if worker.is_running() for host in worker.slot.hosts
        }


@dataclass(frozen=True)
class StartedCluster:
    """A scheduler's client, the workers of this machine, and the command with which others join."""

    client: Client
    processes: list[WorkerProcess]
    join: str


@contextmanager
def start_cluster(
    study: Study, listen: str, folder: Path | None, hosts: list[str], cpu_slots: int | None
) -> Iterator[StartedCluster]:
    """A scheduler that listens at `listen` (ADDRESS:PORT), and the workers of this machine, one in every slot.

    `folder` holds the certificates of the cluster; needed beyond the loopback. Its HTTP server listens on the loopback
    and has no page.
    """
    host, port = parse_address(listen)
    with use_cluster(listen, folder) as cluster, dask.config.set({"distributed.scheduler.http.routes": []}):
        slots = [] if cpu_slots == 0 else workers.find_slots(study, hosts, cpu_slots)
        local = LocalCluster(
            n_workers=0,
            host=host,
            scheduler_port=port,
            protocol="tls://",
            security=cluster.make_security(),
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            silence_logs=40,
        )
        with local, Client(local) as client:
            address = local.scheduler_address
            started = workers.start_workers(slots, address, cluster)
            join = f"promotion dispatch --join {address} --cluster {cluster.folder.as_posix()}"
            try:
                yield StartedCluster(client, started, join)
            finally:
                workers.stop_workers(started)


@dataclass
class Dispatcher:
    """Works through a study with the workers of a cluster."""

    study: Study
    cluster: StartedCluster
    view: DispatchView
    failed: dict[str, str] = field(default_factory=dict)
    _committed_at: float = 0.0

    def __post_init__(self) -> None:
        self._waiting_report = WaitingReport(self.cluster, self.view.say)

    def dispatch(self) -> int:
        """Dispatch until every gate has decided; the exit status."""
        with hold_lock("work", "`promotion work` or `promotion dispatch` is running"), self.view:
            for path in heal(DYING_SECONDS):
                self.view.say(f"{path.as_posix()} was left half-written; it is written anew")
            self.cluster.client.subscribe_topic("promotion", self.view.receive_progress)
            if remote.run_dvc("repro", "protocol"):
                raise Refused("the protocol did not let this study through; see above")
            for rung in self.study.rungs:
                if (status := self._dispatch_rung(rung)) is not None:
                    return status
        self.view.say("every gate has decided; `dvc repro` makes the ledger and the site")
        return 0

    def _dispatch_rung(self, rung: str) -> int | None:
        """Train and judge a rung; the exit status where this cannot go on, or None."""
        work = read_rung_work(self.study, rung)
        if is_finished(work):
            return None
        if work.closed:
            self.view.say(f"{rung}: {work.closed}")
            return 1
        _record_stopped(work.to_stop)
        self._train(work)
        if self.failed:
            for run, error in self.failed.items():
                self.view.say(f"{run}: {error}")
            failed = count(len(self.failed), "run")
            self.view.say(f"{rung}: {failed} failed; what ended well is taken in; start again to retry")
            return 2
        if not remote.run_stages([gate_stage(rung)]):
            raise Refused(f"{rung}: its gate could not judge; see above")
        remote.order_entries(runs_of(self.study, rung))
        return None

    def _train(self, work: RungWork) -> None:
        self.view.start_rung(work.name, self.study.rungs[work.name].budget_seconds, len(work.trained), work.to_train)
        contract = read_current_contract(work.name)
        accepted = [*work.done, *work.to_stop]
        if not work.to_train or contract is None:
            self._commit(accepted)
            return
        futures = {self._submit(run, contract.lock): run for run in work.to_train}
        waiting = set(work.to_train)
        with self._waiting_report.watch(work.name, lambda: tuple(waiting)):
            for future in as_completed(list(futures)):
                run = futures[future]
                waiting.discard(run)
                if self._accept(future, run, contract):
                    accepted.append(run)
                future.release()  # what the workspace holds the scheduler may forget
                if time.monotonic() - self._committed_at > COMMIT_SECONDS:
                    self._commit(accepted)
            self._commit(accepted)

    def _submit(self, run: Run, lock: str) -> Future[dict[str, bytes]]:
        # The key names the run and its lock: the same run is never twice in one scheduler.
        key = f"{run.id}-{lock[:16]}"
        return self.cluster.client.submit(
            execute_job, make_job(run).dumps(), key=key, resources={run.host: 1}, retries=RETRIES, pure=False
        )

    def _accept(self, future: Future[dict[str, bytes]], run: Run, contract: Contract) -> bool:
        try:
            record = accept_outputs(run, future.result(), self.study, contract, "a worker")
        except Exception as error:  # whatever is raised on a worker is raised here again
            self.failed[run.id] = f"{type(error).__name__}: {error}"
            self.view.end_run(run.id, "failed")
            return False
        value = "" if record.val_bpb is None else f", val_bpb {record.val_bpb:f}"
        self.view.end_run(run.id, f"{record.status}{value}")
        return True

    def _commit(self, accepted: list[Run]) -> None:
        remote.commit_runs(accepted)
        accepted.clear()
        self._committed_at = time.monotonic()


def _record_stopped(runs: Sequence[Run]) -> None:
    """Write the records of runs without a ticket, which take milliseconds each once Python has started."""
    if not can_fork():
        if not remote.run_stages([run.stage for run in runs]):
            raise Refused("a stopped run could not be recorded; see above")
        return
    log = LOGS / "stopped.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    with ForkServer() as server:
        for run in runs:
            if server.start(run.command, log, load=False).wait():
                raise Refused(f"{run.id}: could not be recorded as stopped:\n{read_log_end(log)}")
