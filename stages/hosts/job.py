"""A run as it goes to a worker and comes back: plain bytes both ways, checked at both ends.

A `Job` holds what the run reads that only the dispatching clone may know yet: the contract of its rung and the tickets.
The rest (code, params.yaml, corpus) a worker has from git and DVC; the run itself checks that it is the same. What
comes back is checked like evidence of unknown origin before it touches the workspace.

What a worker of `promotion dispatch` does with one run. It runs in the clone in which the worker was started.

    promotion dispatch --join tcp://10.0.0.5:8786        starts such workers

The run itself is the very command that DVC would run. A finished record is never made twice: one that this clone
already holds is sent as it is, and one that another worker of this clone is at work on is waited for.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stages.domain import canonical, files, names, records
from stages.domain.contract import Contract
from stages.domain.errors import Refused
from stages.domain.records import Record
from stages.domain.study import Study, load
from stages.hosts import processes
from stages.hosts.processes import alone
from stages.hosts.worklist import Run, differs, parse_record, read_current_contract

TRACE_FILES = ("curve.csv", "telemetry.json", "weights.safetensors")


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
        """From JSON; refuses files elsewhere than where a job's files belong."""
        value: dict[str, Any] = canonical.loads(text.encode("utf-8"))
        job = Job(Run(**value["run"]), value["params"], value["files"])
        if strangers := set(job.files) - set(_inputs(job.run)):
            raise Refused(f"a job for {job.run.id} may not bring {sorted(strangers)[0]}")
        return job


def _inputs(run: Run) -> list[str]:
    number = int(run.rung.removeprefix("rung"))
    found = [names.PROTOCOL / f"{run.rung}.json"]
    if number > 1:
        found.append(names.GATES / f"gate{number - 1}" / "promotions.yaml")
    return [path.as_posix() for path in found]


def job_of(run: Run) -> Job:
    """The job of a run, from this clone's workspace."""
    texts = {path: (names.PARAMS.parent / path).read_bytes().decode("utf-8") for path in _inputs(run)}
    return Job(run, files.sha256_file(names.PARAMS), texts)


def results_of(run: Run) -> dict[str, bytes]:
    """The outputs of a finished run, by path: what goes back to the dispatching clone."""
    trace = [names.trace_path(run.id) / name for name in TRACE_FILES]
    found = [path for path in trace if path.is_file()]
    return {path.as_posix(): path.read_bytes() for path in [*found, names.record_path(run.id)]}


def accept(run: Run, results: dict[str, bytes], study: Study, contract: Contract, worker: str) -> Record:
    """Write what a worker sent, the record last; `Invalid` or `Refused` unless it is exactly what `run` should make."""
    record_path = names.record_path(run.id).as_posix()
    trace = {(names.trace_path(run.id) / name).as_posix() for name in TRACE_FILES}
    sent = dict(results)
    line = sent.pop(record_path, None)
    if line is None:
        raise Refused(f"{worker} sent no {record_path}")
    if strangers := set(sent) - trace:
        raise Refused(f"{worker} sent {sorted(strangers)[0]}, which no run makes")
    record = parse_record(line, study, contract, run, trained=True, where=f"{record_path} from {worker}")
    for path, data in sorted(sent.items()):
        files.write_whole(names.PARAMS.parent / path, data)
    files.write_whole(names.record_path(run.id), line)
    return record


LOGS = names.SCRATCH / "dispatch"
#: A run whose worker died needs a moment to notice.
LEASH_SECONDS = 30.0
FOREVER = -1.0
LOOK_SECONDS = 0.2
TELL_SECONDS = 2.0
TAIL = 2000

#: Hears the seconds of the budget's clock that a run has used up.
Tell = Callable[[float], None]


class RunFailed(Refused):
    """The command of a run ended badly; the message holds the end of what it printed."""


def execute(text: str) -> dict[str, bytes]:
    """Do one job and return its outputs by path. This is what is sent to a Dask worker."""
    from distributed import get_worker

    worker = get_worker()
    job = Job.loads(text)

    def tell(seconds: float) -> None:
        worker.log_event("promotion", {"run": job.run.id, "worker": str(worker.name), "seconds": seconds})

    return do(job, tell)


def do(job: Job, tell: Tell) -> dict[str, bytes]:
    """Do one job in this clone."""
    found = files.sha256_file(names.PARAMS) if names.PARAMS.is_file() else "none"
    if found != job.params:
        raise Refused(f"{Path.cwd()}: params.yaml is not that of the dispatching clone; `git pull` in both")
    for path, content in job.files.items():
        files.write_whole(Path(path), content.encode("utf-8"))
    study = load()
    tell(0.0)
    with alone(f"slot.{job.run.id}", f"another worker runs {job.run.id}", wait=FOREVER):
        if not _done(study, job.run):
            _command(job.run, tell)
        if not _done(study, job.run):
            raise RunFailed(f"{job.run.id}: its command ended well but left no record of it")
        return results_of(job.run)


def _done(study: Study, run: Run) -> bool:
    record, contract = records.read(run.id), read_current_contract(run.rung)
    return record is not None and contract is not None and differs(record, study, contract, run, trained=True) is None


def _command(run: Run, tell: Tell) -> None:
    """Run the command on a leash; `RunFailed` unless it ends well."""
    log = LOGS / f"{run.id.replace('/', '.')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with alone(run.id, f"{run.id} is being trained", wait=LEASH_SECONDS):
        pass  # whoever trained it before is gone now
    with log.open("wb") as output, processes.start(run.command, output.fileno()) as child:
        _follow(child, names.LIVE / f"{run.id}.csv", tell)
    if child.returncode:
        raise RunFailed(f"{run.id}: exit status {child.returncode}:\n{tail(log)}")


def tail(log: Path) -> str:
    """The end of what a process printed into a log."""
    return log.read_bytes()[-TAIL:].decode("utf-8", errors="replace").rstrip()


def _follow(child: subprocess.Popen[bytes], curve: Path, tell: Tell) -> None:
    told = time.monotonic()
    while child.poll() is None:
        time.sleep(LOOK_SECONDS)
        if time.monotonic() - told >= TELL_SECONDS:
            told = time.monotonic()
            tell(_seconds(curve))


def _seconds(curve: Path) -> float:
    """The budget that is used up, by the last whole line of the live curve."""
    try:
        lines = curve.read_text(encoding="utf-8").splitlines(keepends=True)
        return float([line for line in lines if line.endswith("\n")][-1].split(",")[2])
    except (OSError, ValueError, IndexError):  # not there yet, or just being written
        return 0.0
