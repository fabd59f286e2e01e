"""DVC as hosts use it: restore what any host has pushed, commit finished runs, run stages, push.

Everything goes through DVC's command line except `restore_outputs`, for which it has no command: `dvc repro --pull`
restores a stage from the run cache or else runs it, and a host must not run what belongs to another. Tried with DVC
3.67.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from stages.domain import names
from stages.domain.errors import Refused
from stages.domain.files import md5_bytes
from stages.domain.runs import Run
from stages.dvcfiles import lockfile
from stages.dvcfiles.cache import cache_folder
from stages.hosts import processes

#: Stages on one command line: Windows takes 32,767 characters, and a stage's address has about 60.
BATCH = 200
_MD5 = re.compile(r"md5: ([0-9a-f]{32})$", re.MULTILINE)


class RemoteUnreachable(Refused):
    """The DVC remote could not be read or written; what is in this clone is safe and stays."""


def restore_outputs(stages: Iterable[str], remote: str | None) -> int:
    """Check out the outputs of each of `stages` that the remote's run cache holds; the number of those stages.

    Nothing runs. `stages` are addresses such as stages/ladder/rung1/d8/dvc.yaml:run@cpu-1. `Refused` where the remote
    cannot have a run cache, `RemoteUnreachable` where it could not be read.
    """
    from dvc.config import ConfigError
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.stage.cache import RunCacheNotFoundError, RunCacheNotSupported

    wanted = set(stages)
    logging.getLogger("dvc").setLevel(logging.ERROR)  # a stage that is missing from the remote is expected
    restored = 0
    try:
        with Repo(config={"core": {"remote": remote}} if remote else None) as repo:
            repo.stage_cache.pull(remote)
            with repo.lock:
                for path in sorted({address.rpartition(":")[0] or "dvc.yaml" for address in wanted}):
                    for stage in repo.stage.collect(path):
                        if stage.addressing in wanted:
                            try:
                                repo.stage_cache.restore(stage, pull=True)
                                restored += 1
                            except RunCacheNotFoundError:
                                continue
    except (ConfigError, RunCacheNotSupported) as error:
        raise Refused(
            f"DVC remote {remote or '(default)'}: {error}; hosts exchange runs through a remote with a run cache: "
            "`dvc remote add -d team PATH-OR-URL` (a folder, S3, GCS, Azure or SSH; not HTTP)"
        ) from None
    except ImportError as error:  # DVC asks for the package of a kind of remote when it first needs it
        raise Refused(f"DVC remote {remote or '(default)'}: {error}; install it into this environment") from None
    except DvcException as error:
        raise RemoteUnreachable(f"DVC remote {remote or '(default)'}: {error}") from None
    return restored


def run_dvc(*arguments: str) -> int:
    """Run `dvc ARGUMENTS`, its output where this process's goes; its exit status. It ends when this process does."""
    return _run_module("dvc", *arguments)


def _run_module(*words: str) -> int:
    with processes.start_child(["-m", "stages.hosts.processes", "-m", *words]) as child:
        return child.wait()


def run_stages(stages: Sequence[str]) -> bool:
    """Run exactly these stages, nothing upstream of them; False if one of them failed."""
    succeeded = True
    for start in range(0, len(stages), BATCH):
        succeeded &= run_dvc("repro", "--single-item", "--keep-going", *stages[start : start + BATCH]) == 0
    return succeeded


def push_results(remote: str | None) -> None:
    """Push this clone's outputs and run cache; `RemoteUnreachable` where that fails."""
    if run_dvc("push", "--run-cache", *(("--remote", remote) if remote else ())):
        raise RemoteUnreachable(f"DVC remote {remote or '(default)'}: not everything was pushed; the next push goes on")


def find_uncommitted(runs: Iterable[Run]) -> list[Run]:
    """Those finished runs that DVC does not hold: trained elsewhere, just before a crash, or, in a clone, once more.

    DVC holds a run whose record is in its dvc.lock and in the cache. A clone has the lock from git and no cache:
    a run that is repeated there is in the lock already, and `dvc repro` would train it again if it were not cached.
    """
    digests: dict[Path, set[str]] = {}
    cache = cache_folder(Path())
    uncommitted = []
    for run in runs:
        if run.lock_path not in digests:
            digests[run.lock_path] = _read_digests(run.lock_path)
        md5 = md5_bytes(names.record_path(run.id).read_bytes())
        if md5 not in digests[run.lock_path] or not (cache / md5[:2] / md5[2:]).is_file():
            uncommitted.append(run)
    return uncommitted


def _read_digests(path: Path) -> set[str]:
    """The MD5 of everything that a dvc.lock holds."""
    return set(_MD5.findall(path.read_text(encoding="utf-8"))) if path.is_file() else set()


def is_committed(rung: str, runs: Iterable[Run]) -> bool:
    """Whether a rung's dvc.lock files hold these runs and the decision of its gate as they lie in the workspace."""
    decision = names.decision_path(names.gate_of(rung))
    lock = names.pipeline_folder(rung) / "dvc.lock"
    return not find_uncommitted(runs) and md5_bytes(decision.read_bytes()) in _read_digests(lock)


def commit_runs(runs: Iterable[Run]) -> list[Run]:
    """Have DVC commit finished runs as outputs of their stages, to cache, run cache and dvc.lock; those it lacked."""
    uncommitted = find_uncommitted(runs)
    stages = [run.stage for run in uncommitted]
    for start in range(0, len(stages), BATCH):
        if _run_module("stages.hosts.dvc_commit", *stages[start : start + BATCH]):
            raise Refused(f"`dvc commit` refused {stages[start]} or one after it; see above")
    return uncommitted


def order_entries(runs: Iterable[Run]) -> None:
    """Sort the dvc.lock files of these runs, all those of a rung; DVC lists stages in the order in which they ended.

    The order is that in which `dvc repro` ends them: host by host, candidates before A/A runs.
    """
    order: dict[Path, dict[str, list[str]]] = {}
    for run in runs:
        order.setdefault(run.lock_path, {}).setdefault(run.host, []).append(run.stage_name)
    for path, hosts in order.items():
        lockfile.put_in_order(path, [stage for stages in hosts.values() for stage in stages])
