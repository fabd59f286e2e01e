"""A run as it goes to a worker and comes back: plain bytes both ways, checked at both ends.

A `Job` holds what the run reads that only the dispatching clone may know yet: the door of its rung and the tickets. The
rest (code, params.yaml, corpus) a worker has from git and DVC; that it is the same is checked by the run itself. What
comes back is checked like evidence of unknown origin before it touches the workspace.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from stages.domain import canonical, files, names
from stages.domain.fail import Refused
from stages.domain.records import Record
from stages.domain.study import Study
from stages.hosts.runs import Door, Run, parse_record

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


def accept(run: Run, results: dict[str, bytes], study: Study, door: Door, worker: str) -> Record:
    """Write what a worker sent, the record last; `Invalid` or `Refused` unless it is exactly what `run` should make."""
    record_path = names.record_path(run.id).as_posix()
    trace = {(names.trace_path(run.id) / name).as_posix() for name in TRACE_FILES}
    sent = dict(results)
    line = sent.pop(record_path, None)
    if line is None:
        raise Refused(f"{worker} sent no {record_path}")
    if strangers := set(sent) - trace:
        raise Refused(f"{worker} sent {sorted(strangers)[0]}, which no run makes")
    record = parse_record(line, study, door, run, trained=True, where=f"{record_path} from {worker}")
    for path, data in sorted(sent.items()):
        files.write_whole(names.PARAMS.parent / path, data)
    files.write_whole(names.record_path(run.id), line)
    return record
