"""DVC as hosts use it: restore what anybody has pushed, take finished runs in, run stages, push.

Everything goes through DVC's command line but `restore`, for which it has no command: `dvc repro --pull` restores a
stage from the run cache or else runs it, and a host must not run what belongs to another. Tried with DVC 3.67.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

from stages.domain import names, yamlio
from stages.domain.errors import Refused
from stages.domain.files import md5_bytes
from stages.domain.runs import Run
from stages.dvcfiles import lockfile
from stages.hosts import processes

#: Windows takes 32,767 characters on a command line; a stage's address has about 60.
AT_ONCE = 200
MAX_LOCK = 256 << 20
#: Where DVC notes which process reads and writes what.
RWLOCK = Path(".dvc/tmp/rwlock")
#: How long a process whose parent was killed may take to die.
DYING_SECONDS = 5.0


class Unreachable(Refused):
    """The DVC remote could not be read or written; what is here is safe and stays."""


def restore(stages: Iterable[str], remote: str | None) -> int:
    """Check out the outputs of every one of `stages` that is in the remote's run cache; how many there were.

    Nothing runs. `stages` are addresses such as stages/rung1/dvc.yaml:run@d8-cpu-1.
    """
    from dvc.config import ConfigError
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.stage.cache import RunCacheNotFoundError, RunCacheNotSupported

    wanted = set(stages)
    logging.getLogger("dvc").setLevel(logging.ERROR)  # what is not in the remote is no news here
    found = 0
    try:
        with Repo(config={"core": {"remote": remote}} if remote else None) as repo:
            repo.stage_cache.pull(remote)
            with repo.lock:
                for path in sorted({address.rpartition(":")[0] or "dvc.yaml" for address in wanted}):
                    for stage in repo.stage.collect(path):
                        if stage.addressing in wanted:
                            try:
                                repo.stage_cache.restore(stage, pull=True)
                                found += 1
                            except RunCacheNotFoundError:
                                continue
    except (ConfigError, RunCacheNotSupported) as error:
        raise Refused(
            f"DVC remote {remote or '(default)'}: {error}; hosts exchange runs through a remote with a run cache: "
            "`dvc remote add -d team PATH-OR-URL` (a folder, S3, GCS, Azure or SSH; not HTTP)"
        ) from None
    except ImportError as error:  # DVC asks for the package of a kind of remote when it first reaches for it
        raise Refused(f"DVC remote {remote or '(default)'}: {error}; install it into this environment") from None
    except DvcException as error:
        raise Unreachable(f"DVC remote {remote or '(default)'}: {error}") from None
    return found


def dvc(*words: str) -> int:
    """Run `dvc WORDS`, its output where this process's goes; its exit status. It ends when this process does."""
    with processes.start(["-m", "stages.hosts.processes", "-m", "dvc", *words]) as child:
        return child.wait()


def heal() -> list[Path]:
    """Remove what a killed DVC left half-written: it writes a dvc.lock and its own rwlock in place, not whole.

    Everything that a dvc.lock says can be had again from the workspace and the run cache (`take`, `dvc repro`).
    """
    broken = []
    for path in (Path("dvc.lock"), *sorted(Path("stages").glob("rung[0-9]*/dvc.lock")), RWLOCK):
        if path.is_file() and not _whole(path):
            path.unlink()
            broken.append(path)
    _forget_the_dead()
    return broken


def _forget_the_dead() -> None:
    """Remove DVC's rwlock once every process that it names has died; one on a leash may still be at it.

    DVC does so itself, but takes a process that is dead and not yet reaped for a living one and refuses to run.
    Where one lives on, the file stays, and DVC says which process it waits for.
    """
    if not RWLOCK.is_file():
        return
    holders = {int(pid) for pid in re.findall(r'"pid": (\d{1,9})', RWLOCK.read_text(encoding="utf-8"))}
    end = time.monotonic() + DYING_SECONDS
    while any(_lives(pid) for pid in holders):
        if time.monotonic() > end:
            return
        time.sleep(0.1)
    RWLOCK.unlink()


def _lives(pid: int) -> bool:
    try:
        return processes.lives(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def _whole(path: Path) -> bool:
    """Whether a file that DVC wrote can be read and, if it is a dvc.lock, ends behind a whole stage."""
    data = path.read_bytes()
    try:
        value = yamlio.loads(data, path.as_posix(), max_bytes=MAX_LOCK, max_nodes=MAX_LOCK)
    except yamlio.BadYaml:
        return False
    if path.suffix != ".lock":
        return True
    stages = value.get("stages")
    return data.endswith(b"\n") and isinstance(stages, dict) and all(_made(stage) for stage in stages.values())


def _made(stage: object) -> bool:
    outs = stage.get("outs") if isinstance(stage, dict) else None
    return isinstance(outs, list) and bool(outs) and all(isinstance(out, dict) and "md5" in out for out in outs)


def repro(stages: Sequence[str]) -> bool:
    """Run exactly these stages, nothing upstream of them; False if one of them failed."""
    good = True
    for start in range(0, len(stages), AT_ONCE):
        good &= dvc("repro", "--single-item", "--keep-going", *stages[start : start + AT_ONCE]) == 0
    return good


def push(remote: str | None) -> None:
    """Push what is here, run cache included; `Unreachable` where that fails."""
    if dvc("push", "--run-cache", *(("--remote", remote) if remote else ())):
        raise Unreachable(f"DVC remote {remote or '(default)'}: not everything was pushed; the next push goes on")


def not_taken(runs: Iterable[Run]) -> list[Run]:
    """Those finished runs that their rung's dvc.lock does not hold yet: made elsewhere, or just before a crash."""
    locks: dict[str, set[str]] = {}
    found = []
    for run in runs:
        if run.rung not in locks:
            locks[run.rung] = _taken(run.rung)
        if md5_bytes(names.record_path(run.id).read_bytes()) not in locks[run.rung]:
            found.append(run)
    return found


def _taken(rung: str) -> set[str]:
    """The MD5 of everything that a rung's dvc.lock holds."""
    path = lockfile.path_of(rung)
    return set(_MD5.findall(path.read_text(encoding="utf-8"))) if path.is_file() else set()


def holds(rung: str, runs: Iterable[Run]) -> bool:
    """Whether a rung's dvc.lock holds these runs and the decision of its gate as they lie here."""
    decision = names.GATES / names.gate_of(rung) / "decision.json"
    return not not_taken(runs) and md5_bytes(decision.read_bytes()) in _taken(rung)


def take(runs: Iterable[Run]) -> list[Run]:
    """Have DVC take finished runs for what their stages made: into its cache, its run cache and the rung's dvc.lock."""
    missing = not_taken(runs)
    stages = [run.stage for run in missing]
    for start in range(0, len(stages), AT_ONCE):
        if dvc("commit", "--force", *stages[start : start + AT_ONCE]):
            raise Refused(f"`dvc commit` refused {stages[start]} or one after it; see above")
    return missing


def settle(rung: str, runs: Iterable[Run]) -> None:
    """Give the dvc.lock of a rung that was judged here the one order; DVC lists stages as they ended on each host."""
    lockfile.put_in_order(lockfile.path_of(rung), [*(run.stage.rpartition(":")[2] for run in runs), "gate"])


_MD5 = re.compile(r"md5: ([0-9a-f]{32})$", re.MULTILINE)
