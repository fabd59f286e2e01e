"""Several real workers on one study: one is killed, then the dispatcher; nothing is lost and nothing runs twice."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from stages.domain import canonical, names
from stages.hosts.cluster import create_cluster, is_loopback
from tests.hosts import mini
from tests.hosts.conftest import PATIENCE, wait_for
from tests.hosts.test_listening import list_listening
from tests.support.repo import Repo


def of(repo: Repo, words: str) -> list[psutil.Process]:
    """The processes in a clone whose command line holds `words`."""
    found = []
    for process in psutil.process_iter():
        try:
            if words in " ".join(process.cmdline()) and Path(process.cwd()).resolve() == repo.root.resolve():
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def kill_a_worker(repo: Repo) -> None:
    """Kill the worker process of one run that trains right now, in a process of its own or forked."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for run in of(repo, "-m stages.run") + of(repo, "-m stages.hosts.fork_server"):
            try:
                if run.cmdline()[2] == "stages.hosts.fork_server" and run.parent().cmdline() != run.cmdline():
                    continue  # the server itself
                # In a virtual environment of Windows, python.exe is a process that starts another one.
                own = ("stages.run", "stages.hosts.fork_server")
                worker = next(parent for parent in run.parents() if not set(own) & set(parent.cmdline()))
                worker.kill()
                run.wait(10)  # the watchdog ends it
            except (psutil.NoSuchProcess, AttributeError):
                continue
            return
    raise AssertionError("no run to kill")


@pytest.mark.slow
def test_killed_workers_and_a_killed_dispatcher_lose_nothing_and_run_nothing_twice(tmp_path, start):
    value = mini.params([0.5], floor_seeds=[91, 92])
    value["gates"]["gate1"] = {
        "R1": {"kind": "complete_cells"},
        "R2": {"kind": "fixed_environment"},
        "R3": {"kind": "above_noise_floor", "multiple": 2.0},
        "R4": {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 1e-06},
    }
    repo = mini.frozen(tmp_path / "study", value)
    elsewhere = repo.copy(tmp_path / "elsewhere")
    logs = [tmp_path / "first.log", tmp_path / "second.log", tmp_path / "elsewshown.log"]

    # One worker is killed in the middle of a run, which another one takes; then the dispatcher itself is killed.
    first = start(repo, logs[0], "dispatch", "--slots", "2")
    wait_for("started$", logs[0], first)
    listening = list_listening(psutil.Process(first.pid))
    assert listening and all(is_loopback(host) for host, _ in listening), listening
    kill_a_worker(repo)
    wait_for(r"dispatch: rung\S+: started again, after its worker died", logs[0], first)
    wait_for("finished, val_bpb", logs[0], first)
    first.kill()
    first.wait()
    end = time.monotonic() + PATIENCE
    while left := of(repo, "stages.run") + of(repo, "fork_server") + of(repo, "dask_worker"):
        assert time.monotonic() < end, f"{left} outlived the dispatcher"
        time.sleep(0.1)

    # Started again, it goes on with workers in another clone: what ended is neither lost nor trained again.
    before = {path: path.read_bytes() for path in repo.root.glob("artifacts/records/*/*/*/*.json")}
    assert before
    address = f"127.0.0.1:{free_port()}"
    folder = create_cluster(tmp_path / "cluster").folder
    second = start(repo, logs[1], "dispatch", "--slots", "0", "--listen", address, "--cluster", str(folder))
    wait_for(f"workers may join: `promotion dispatch --join tls://{address} --cluster", logs[1], second)
    joined = start(
        elsewhere, logs[2], "dispatch", "--join", f"tls://{address}", "--cluster", str(folder), "--slots", "2"
    )
    assert second.wait(PATIENCE) == 0, logs[1].read_text(encoding="utf-8")
    assert joined.wait(PATIENCE) == 0, "a worker that joined ends with the dispatcher"
    assert all(path.read_bytes() == line for path, line in before.items())
    again = re.findall(r"^dispatch: (rung\S+): started", logs[1].read_text(encoding="utf-8"), re.MULTILINE)
    assert not {path.relative_to(repo.root / names.RECORDS).with_suffix("").as_posix() for path in before} & set(again)

    # The ledger holds every run once, made by the command that DVC knows: nothing is left to do for `dvc repro`.
    pipelines = [path.relative_to(repo.root).as_posix() for path in repo.root.glob("stages/ladder/rung1/**/dvc.yaml")]
    assert "up to date" in repo.dvc("status", *pipelines).stdout
    done = repo.dvc("repro", "ledger")
    assert "stages.run" not in done.stdout
    lines = [canonical.loads(line) for line in (repo.root / "ledger" / "runs.jsonl").read_bytes().splitlines()]
    ids = [names.run_id(r["rung"], r["config"], r["host"], r["seed"], r["purpose"]) for r in lines]
    assert len(ids) == len(set(ids)) == 8
    assert all(line["status"] == "finished" for line in lines)

    # The records carry what the blocks report, and the gate saw that its threshold lies below the noise.
    assert all(set(line["environment"]) == {"torch", "system"} for line in lines)
    decision = canonical.loads((repo.root / "artifacts" / "gates" / "gate1" / "decision.json").read_bytes())
    assert decision["outcome"] == "blocked"
    assert decision["blocked_by"] == ["R3"]
    assert {host: reported["runs"] for host, reported in decision["floor"].items()} == {"cpu-bf16": 2, "cpu-fp32": 2}


@pytest.mark.slow
def test_a_clone_without_the_cache_trains_everything_once_and_makes_the_same_ledger(smoke, tmp_path, start):
    """What `make study` does in a clean clone: the dvc.lock files name every record already, and nothing is cached."""
    subprocess.run(["git", "clone", "-q", str(smoke.root), str(tmp_path / "clone")], check=True)
    clone = Repo(tmp_path / "clone")
    log = tmp_path / "dispatch.log"
    assert start(clone, log, "dispatch").wait(PATIENCE) == 0, log.read_text(encoding="utf-8")
    assert "stages.run" not in clone.dvc("repro").stdout
    assert clone.git("status", "--porcelain").split() in ([], ["M", "dvc.lock"])
