"""What DVC itself costs, and how that grows with the number of configurations.

    python -m bench pipeline                          12, 120 and 1,000 configurations x 5 rungs x 2 hosts x 2 seeds
    python -m bench pipeline --configs 12,120 --profile

One seed a host at rungs 1 and 2, as in the default study: 198, 1,926 and 16,006 runs. Each study is a committed
repository with synthetic evidence, dvc.yaml files as `stages.rungs` writes them, dvc.lock files like DVC's and a full
cache, so nothing is trained. Measured are `dvc status` and `dvc repro` with nothing to do, and a slice of the run
stages: run by `dvc repro --single-item` with a `python` that puts their artifacts back, and committed as
`promotion dispatch` commits them. From the slice follows what DVC takes for all stages of a study; the locks are whole
already, so this is an upper bound. Compare CPU seconds: wall time is shared with whatever else runs.
"""

from __future__ import annotations

import json
import math
import os
import pstats
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from stages.domain import names, study
from stages.domain.runs import Run, all_runs
from stages.dvcfiles import lockfile
from stages.dvcfiles.cache import cache_folder, files_in, md5_file
from stages.hosts.remote import BATCH
from tests.support import dvclock

SIZES = (12, 120, 1_000)
#: Run stages that are really run and committed at every size.
SLICE = 40
#: What of DVC is looked for in a profile: (module, function), none of which calls another one of them.
_PARTS = {
    "yaml": {("_yaml.py", "parse_yaml"), ("_yaml.py", "_dump")},
    "json": {("_json.py", "parse_json")},
    "git_index": {("repo.py", "open_index")},
    "rwlock": {("rwlock.py", "_edit_rwlock")},
}
_SHIM = """#!{python} -IS
import os, shutil, sys, time
shutil.copytree(os.path.join({stored!r}, "-".join(sys.argv[1:])), os.curdir, dirs_exist_ok=True)
with open({log!r}, "a", encoding="utf-8") as log:
    log.write(f"{{time.process_time()}}\\n")
"""


@dataclass(frozen=True)
class Seconds:
    """What a process and its children took."""

    wall: float
    cpu: float

    def minus(self, other: Seconds, parts: int = 1) -> Seconds:
        """A `parts`-th of the difference."""
        return Seconds((self.wall - other.wall) / parts, (self.cpu - other.cpu) / parts)

    def rounded(self, digits: int = 2) -> dict[str, float]:
        """As JSON."""
        return {name: round(value, digits) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Workspace:
    """A drawn study, whose stages DVC holds all."""

    root: Path
    runs: list[Run]

    @property
    def stages(self) -> int:
        """How many stages DVC sees."""
        return sum(len(lockfile.parse(path.read_bytes(), path.as_posix())) for path in self.root.rglob("dvc.lock"))

    def count_tracked(self) -> int:
        """How many files git tracks: for every output that DVC saves it reads git's whole index."""
        return subprocess.check_output(["git", "ls-files", "-z"], cwd=self.root).count(b"\0")

    def time_dvc(self, *arguments: str, profile: Path | None = None, path: Path | None = None) -> Seconds:
        """How long `dvc ARGUMENTS` takes; `RuntimeError` where it fails. `path` comes first on its PATH."""
        return self._time("dvc", *arguments, profile=profile, path=path)

    def time_commit(self, addresses: Sequence[str], profile: Path | None = None) -> Seconds:
        """How long dispatch takes to have DVC commit these stages."""
        return self._time("stages.hosts.dvc_commit", *addresses, profile=profile)

    def _time(self, module: str, *arguments: str, profile: Path | None = None, path: Path | None = None) -> Seconds:
        profiler = ["-m", "cProfile", "-o", str(profile)] if profile else []
        environment = {**os.environ, "PATH": os.pathsep.join([*([str(path)] if path else []), os.environ["PATH"]])}
        before, began = os.times(), time.perf_counter()
        done = subprocess.run(
            [sys.executable, *profiler, "-m", module, *arguments],
            cwd=self.root,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        wall, after = time.perf_counter() - began, os.times()
        if done.returncode:
            raise RuntimeError(
                f"{module} {' '.join(arguments[:2])} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
            )
        cpu = after.children_user - before.children_user + after.children_system - before.children_system
        if arguments == ("status",) and "up to date" not in done.stdout:
            raise RuntimeError(f"the drawn study is not up to date:\n{done.stdout[:2000]}")
        return Seconds(wall, cpu)


def _fill_cache(root: Path) -> None:
    """Put every output that a dvc.lock records into DVC's cache."""
    cache = cache_folder(root)

    def put(md5: str, data: bytes) -> None:
        path = cache / md5[:2] / md5[2:]
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o444)

    for lock in root.rglob("dvc.lock"):
        for stage in lockfile.parse(lock.read_bytes(), lock.as_posix()).values():
            for name, output in stage.outs.items():
                path = root / name
                if path.is_dir():
                    inside = files_in(path)
                    listed = [{"md5": md5_file(file), "relpath": at} for at, file in sorted(inside.items())]
                    for entry, file in zip(listed, (inside[at] for at in sorted(inside)), strict=True):
                        put(entry["md5"], file.read_bytes())
                    put(str(output.md5), json.dumps(listed, sort_keys=True).encode())
                else:
                    put(str(output.md5), path.read_bytes())


@contextmanager
def draw(configs: int) -> Iterator[Workspace]:
    """A study of so many configurations in a temporary repository."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "study"
        dvclock.build(root, configs)
        subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=root, check=True)
        (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n    check_update = false\n", "utf-8")
        _fill_cache(root)
        with chdir(root):
            yield Workspace(root, all_runs(study.load()))


def _choose_slice(runs: Sequence[Run], length: int) -> list[Run]:
    """Runs spread evenly over the study."""
    return list(runs[:: max(1, len(runs) // length)])[:length]


def _time_runs(workspace: Workspace, runs: Sequence[Run]) -> Seconds:
    """DVC's share of running these stages: all but the processes that stand in for the runs."""
    with tempfile.TemporaryDirectory() as folder:
        stored, tools, log = Path(folder) / "stored", Path(folder) / "bin", Path(folder) / "log"
        for run in runs:
            record, trace = names.record_path(run.id), names.trace_path(run.id)
            kept = stored / "-".join(run.command)
            (kept / record).parent.mkdir(parents=True)
            shutil.copy(workspace.root / record, kept / record)
            shutil.copytree(workspace.root / trace, kept / trace)
        tools.mkdir()
        shim = tools / "python"
        shim.write_text(_SHIM.format(python=sys.executable, stored=str(stored), log=str(log)), encoding="utf-8")
        shim.chmod(0o755)
        stages = [run.stage for run in runs]
        total = workspace.time_dvc("repro", "--single-item", "--force", "--no-run-cache", *stages, path=tools)
        inside = sum(map(float, log.read_text(encoding="utf-8").split()))
        return total.minus(Seconds(inside, inside))


def _share(profile: Path) -> dict[str, float]:
    """Which part of a profiled process each of _PARTS took."""
    statistics: dict[tuple[str, int, str], tuple[int, int, float, float, object]]
    statistics = pstats.Stats(str(profile)).strip_dirs().stats  # type: ignore[attr-defined]
    whole = sum(own for _, _, own, _, _ in statistics.values())
    return {
        part: round(
            sum(
                both for (module, _, function), (_, _, _, both, _) in statistics.items() if (module, function) in places
            )
            / whole,
            3,
        )
        for part, places in _PARTS.items()
    }


def measure_size(configs: int, profile: bool = False, length: int = SLICE) -> dict[str, object]:
    """DVC's seconds at one size."""
    with draw(configs) as workspace:
        stages = workspace.stages
        workspace.time_dvc("status")  # fills DVC's database of digests
        figures: dict[str, object] = {"stages": stages, "tracked_files": workspace.count_tracked()}
        status, idle = workspace.time_dvc("status"), workspace.time_dvc("repro")
        chosen = _choose_slice(workspace.runs, length)
        addresses = [run.stage for run in chosen]
        start = workspace.time_commit(addresses[:1])
        commit = workspace.time_commit(addresses).minus(start, len(chosen) - 1)
        run = _time_runs(workspace, chosen).minus(_time_runs(workspace, chosen[:1]), len(chosen) - 1)
        calls = math.ceil(len(workspace.runs) / BATCH) + len({each.rung for each in workspace.runs})
        figures |= {
            "status": status.rounded(),
            "repro_idle": idle.rounded(),
            "commit_a_stage": commit.rounded(4),
            "run_a_stage": run.rounded(4),
            # As dispatch does it: commits in batches, a gate a rung by itself, then `dvc repro` for the rest.
            "dispatch_cpu_minutes": round((stages * commit.cpu + calls * start.cpu + idle.cpu) / 60, 1),
            "repro_cpu_minutes": round((stages * run.cpu + idle.cpu) / 60, 1),
        }
        if profile:
            path = workspace.root.parent / "profile"
            workspace.time_dvc("status", profile=path)
            figures["status_share"] = _share(path)
            workspace.time_commit(addresses, profile=path)
            figures["commit_share"] = _share(path)
        return figures


def exponent_between(small: dict[str, object], large: dict[str, object], what: str) -> float:
    """How CPU seconds grow between two sizes: 1 is linear."""
    cpu = [float(figures[what]["cpu"]) for figures in (small, large)]  # type: ignore[index]
    return round(math.log(cpu[1] / cpu[0]) / math.log(int(str(large["stages"])) / int(str(small["stages"]))), 2)


def measure(configs: Sequence[int] = SIZES, profile: bool = False) -> dict[str, dict[str, object]]:
    """DVC's seconds by number of configurations, and between neighbours the exponents of status and of idle repro."""
    sizes: dict[str, dict[str, object]] = {}
    before: dict[str, object] | None = None
    for size in sorted(configs):
        figures = measure_size(size, profile)
        if before:
            figures["exponents"] = {what: exponent_between(before, figures, what) for what in ("status", "repro_idle")}
        before = sizes[str(size)] = figures
        print(f"pipeline: {json.dumps(figures)}", file=sys.stderr)
    return sizes
