"""One run as it goes to a worker of `promotion dispatch`, is trained there, and comes back.

    promotion dispatch --join tcp://10.0.0.5:8786        starts such workers

A `Job` holds what the run reads that only the dispatching clone may have yet: the contract of its rung and the tickets.
The rest (code, params.yaml, corpus) a worker has from git and DVC; the run itself checks that it is the same. The
worker runs, in the clone in which it was started, the very command that DVC would run. A record that its clone already
holds is sent as it is, and a run that another worker of the clone is training is waited for. What comes back is checked
as evidence of unknown origin before it touches the workspace.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from stages.domain import canonical, files, names, records
from stages.domain.contract import Contract, path_of
from stages.domain.errors import Refused
from stages.domain.records import Record
from stages.domain.runs import Run
from stages.domain.study import Study, load
from stages.dvcfiles import telemetry
from stages.hosts import processes
from stages.hosts.fork_server import ForkedRun, ForkServer, serves
from stages.hosts.processes import hold_lock
from stages.hosts.worklist import explain_difference, parse_record, read_current_contract

TRACE_FILES = ("curve.csv", "weights.safetensors")
#: What a run measured travels under this name.
TELEMETRY = "telemetry"
LOGS = names.SCRATCH / "dispatch"
#: How long a run whose worker died may take to notice.
ORPHAN_SECONDS = 30.0
FOREVER = -1.0
POLL_SECONDS = 0.05
REPORT_SECONDS = 2.0
LOG_END_BYTES = 2000

#: Called with the seconds of the budget's clock that a run has used up.
ReportProgress = Callable[[float], None]


#: Of this worker, which has one run at a time; started with the first run that it serves.
_server = ForkServer()


class RunFailed(Refused):
    """The command of a run failed; the message holds the end of what it printed."""


@dataclass(frozen=True)
class Job:
    """One run to train. `files` are texts by path; `params` is the SHA-256 of params.yaml."""

    run: Run
    params: str
    files: dict[str, str]

    def dumps(self) -> str:
        """As canonical JSON."""
        return canonical.dumps({"run": asdict(self.run), "params": self.params, "files": self.files}).decode("utf-8")

    @staticmethod
    def loads(text: str) -> Job:
        """From JSON; `Refused` where it brings a file that is no input of its run."""
        value = canonical.loads(text.encode("utf-8"))
        job = Job(Run(**value["run"]), value["params"], value["files"])
        if unexpected := set(job.files) - set(_list_inputs(job.run)):
            raise Refused(f"a job for {job.run.id} may not bring {sorted(unexpected)[0]}")
        return job


def _list_inputs(run: Run) -> list[str]:
    gate = names.gate_before(run.rung)
    tickets = [] if gate is None else [names.promotions_path(gate).as_posix()]
    return [path_of(run.rung), names.knobs_path(run.config).as_posix(), *tickets]


def make_job(run: Run) -> Job:
    """The job of a run, from this clone's workspace."""
    texts = {path: (names.PARAMS.parent / path).read_bytes().decode("utf-8") for path in _list_inputs(run)}
    return Job(run, files.sha256_file(names.PARAMS), texts)


def read_outputs(run: Run) -> dict[str, bytes]:
    """The outputs of a finished run, by path: what goes back to the dispatching clone."""
    trace = [names.trace_path(run.id) / name for name in TRACE_FILES]
    present = [path for path in trace if path.is_file()]
    outputs = {path.as_posix(): path.read_bytes() for path in [*present, names.record_path(run.id)]}
    measured = telemetry.stored_path(files.md5_bytes(outputs[names.record_path(run.id).as_posix()]))
    return outputs | ({TELEMETRY: measured.read_bytes()} if measured.is_file() else {})


def accept_outputs(run: Run, outputs: dict[str, bytes], study: Study, contract: Contract, worker: str) -> Record:
    """Write what a worker sent, the record last; `Invalid` or `Refused` unless it is exactly what `run` should make."""
    record_path = names.record_path(run.id).as_posix()
    trace_paths = {(names.trace_path(run.id) / name).as_posix() for name in TRACE_FILES}
    trace = dict(outputs)
    line, measured = trace.pop(record_path, None), trace.pop(TELEMETRY, None)
    if line is None:
        raise Refused(f"{worker} sent no {record_path}")
    if unexpected := set(trace) - trace_paths:
        raise Refused(f"{worker} sent {sorted(unexpected)[0]}, which no run makes")
    record = parse_record(line, study, contract, run, trained=True, where=f"{record_path} from {worker}")
    for path, data in sorted(trace.items()):
        files.write_whole(names.PARAMS.parent / path, data)
    if measured is not None:
        telemetry.store(record.md5, measured)
    files.write_whole(names.record_path(run.id), line)
    return record


def execute_job(text: str) -> dict[str, bytes]:
    """Run one job and return its outputs by path. This function is what is sent to a Dask worker."""
    from distributed import get_worker

    worker = get_worker()
    job = Job.loads(text)

    def report(seconds: float) -> None:
        worker.log_event("promotion", {"run": job.run.id, "worker": str(worker.name), "seconds": seconds})

    return run_job(job, report)


def run_job(job: Job, report: ReportProgress) -> dict[str, bytes]:
    """Run one job in this clone and return its outputs by path."""
    params = files.sha256_file(names.PARAMS) if names.PARAMS.is_file() else "none"
    if params != job.params:
        raise Refused(f"{Path.cwd()}: params.yaml is not that of the dispatching clone; `git pull` in both")
    for path, content in job.files.items():
        files.write_whole(Path(path), content.encode("utf-8"))
    study = load()
    report(0.0)
    with hold_lock(f"slot.{job.run.id}", f"another worker runs {job.run.id}", wait=FOREVER):
        if not _is_trained(study, job.run):
            _train(job.run, report, _server if serves(study, job.run.host) else None)
        if not _is_trained(study, job.run):
            raise RunFailed(f"{job.run.id}: its command ended well but left no record of it")
        return read_outputs(job.run)


def _is_trained(study: Study, run: Run) -> bool:
    record, contract = records.read(run.id), read_current_contract(run.rung)
    if record is None or contract is None:
        return False
    return explain_difference(record, study, contract, run, trained=True) is None


def _train(run: Run, report: ReportProgress, server: ForkServer | None) -> None:
    """Run the command of a run as a watched child; `RunFailed` unless its exit status is 0."""
    curve = names.LIVE / f"{run.id}.csv"
    log = LOGS / f"{run.id.replace('/', '.')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with hold_lock(run.id, f"{run.id} is being trained", wait=ORPHAN_SECONDS):
        pass  # whatever trained it before has ended
    log.write_bytes(b"")
    if server is not None:
        status = _follow(server.start(run.command, log, load=True), curve, report)
    else:
        with log.open("wb") as output, processes.start_child(run.command, output.fileno()) as child:
            status = _follow(child, curve, report)
    if status:
        raise RunFailed(f"{run.id}: exit status {status}:\n{read_log_end(log)}")


def read_log_end(log: Path) -> str:
    """The end of what a process printed into a log."""
    return log.read_bytes()[-LOG_END_BYTES:].decode("utf-8", errors="replace").rstrip()


def _follow(child: subprocess.Popen[bytes] | ForkedRun, curve: Path, report: ReportProgress) -> int:
    """The exit status of a run, its progress reported meanwhile."""
    reported_at = time.monotonic()
    while (status := child.poll()) is None:
        time.sleep(POLL_SECONDS)
        if time.monotonic() - reported_at >= REPORT_SECONDS:
            reported_at = time.monotonic()
            report(_read_seconds(curve))
    return status


def _read_seconds(curve: Path) -> float:
    """The budget that is used up, by the last whole line of the live curve."""
    try:
        lines = curve.read_bytes().decode("utf-8", "replace").split("\n")[:-1]
        return float(lines[-1].split(",")[2])
    except (OSError, ValueError, IndexError):  # not there yet, or just being written
        return 0.0
