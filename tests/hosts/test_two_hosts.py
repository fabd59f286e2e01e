"""Two hosts and a third clone around one remote: real processes, real DVC, one of them killed on the way."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.hosts import mini
from tests.hosts.conftest import PATIENCE, Start, wait_for
from tests.support.repo import Repo


def clone(origin: Repo, name: str) -> Repo:
    root = origin.root.parent / name
    origin.git("clone", "-q", str(origin.root), str(root))
    return Repo(root)


def work(start: Start, repo: Repo, host: str, log: Path) -> subprocess.Popen[bytes]:
    """Start `promotion work` in a clone."""
    return start(repo, log, "work", "--host", host, "--poll", "1")


def locks(repo: Repo) -> dict[str, bytes]:
    paths = [repo.root / "dvc.lock", *sorted((repo.root / "stages/ladder").rglob("dvc.lock"))]
    return {path.relative_to(repo.root).as_posix(): path.read_bytes() for path in paths}


def decisions(repo: Repo) -> list[bytes]:
    return [path.read_bytes() for path in sorted(repo.root.glob("artifacts/gates/*/decision.json"))]


def trained(log: Path) -> list[str]:
    """The runs that ended in this log, by id."""
    return re.findall(r"^(rung\S+): finished", log.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.slow
def test_two_hosts_one_killed_on_the_way_and_a_third_clone_that_trains_nothing(tmp_path, start):
    origin = mini.frozen(tmp_path / "origin", mini.params([0.05, 0.1]))
    origin.dvc("remote", "add", "-d", "team", str(tmp_path / "remote"))
    origin.dvc("push", "--run-cache")  # the text: no host builds it anew
    origin.commit("The remote that the hosts share")
    first, second, third = (clone(origin, name) for name in ("a", "b", "c"))
    logs = {name: tmp_path / f"{name}.log" for name in ("a", "a again", "b")}

    # Host A is killed when its first run has ended, and with it the next run; a dvc.lock is left half-written.
    killed = work(start, first, "cpu-fp32", logs["a"])
    wait_for("> python -m stages.run rung1 d1-b", logs["a"], killed)
    killed.kill()
    killed.wait()
    lock = first.root / "stages/ladder/rung1/d1-a/dvc.lock"
    lock.write_bytes(lock.read_bytes()[:300])

    # It is started again, and a second time beside itself; host B works at the same time.
    hosts = [work(start, first, "cpu-fp32", logs["a again"]), work(start, second, "cpu-bf16", logs["b"])]
    wait_for("work: stages/ladder/rung1/d1-a/dvc.lock was left half-written", logs["a again"], hosts[0])
    twice = first.promotion("work", "--host", "cpu-fp32", check=False)
    assert twice.returncode == 2
    assert "held by another process of this clone: `promotion work` is running" in twice.stderr
    message = "every run of cpu-.{4} is done and every gate has decided"
    assert all(wait_for(message, logs[name], host) for name, host in zip(("a again", "b"), hosts, strict=True))
    assert [host.wait(PATIENCE) for host in hosts] == [0, 0]

    assert "python -m stages.corpus" not in "".join(log.read_text(encoding="utf-8") for log in logs.values())

    # Every run once, on its own host; both clones hold the same locks and decisions, byte for byte.
    ended = [*trained(logs["a"]), *trained(logs["a again"])]
    assert [run.split("/")[2] for run in ended] == ["cpu-fp32"] * 3
    assert [run.split("/")[2] for run in trained(logs["b"])] == ["cpu-bf16"] * 3
    assert len({*ended, *trained(logs["b"])}) == 6
    assert decisions(first) == decisions(second)
    assert locks(first) == locks(second)

    # Both commit what they have, and git merges it without a word.
    first.commit("The evidence, as host A has it")
    second.commit("The evidence, as host B has it")
    first.git("fetch", "-q", str(second.root))
    first.git("merge", "-q", "--no-edit", "FETCH_HEAD")

    # The third clone has the rules alone. It restores everything and trains nothing.
    done = third.dvc("repro", "--pull", "stages/ladder/rung2/dvc.yaml:gate")
    assert "python -m stages.run" not in done.stdout
    assert "python -m stages.gate" not in done.stdout
    assert decisions(third) == decisions(first)
    measured = {path.name: path.read_bytes() for path in (first.root / ".dvc/cache/runs/telemetry").glob("*.json")}
    assert len(measured) == 6
    for other in (second, third):  # what each run measured travels with the run cache
        assert {
            path.name: path.read_bytes() for path in (other.root / ".dvc/cache/runs/telemetry").iterdir()
        } == measured

    # Its dvc.lock lists the stages as they came; where that is a conflict, either side is right.
    third.commit("The evidence, as it was restored")
    third.git("fetch", "-q", str(first.root))
    third.git("merge", "-q", "--no-edit", "FETCH_HEAD", check=False)
    third.git("checkout", "--theirs", "--", "*dvc.lock", check=False)
    third.commit("Merged")
    done = third.dvc("repro", "--pull", "stages/ladder/rung2/dvc.yaml:gate")
    assert "python -m" not in done.stdout
    assert locks(third)["stages/ladder/rung2/dvc.lock"] == locks(first)["stages/ladder/rung2/dvc.lock"]
