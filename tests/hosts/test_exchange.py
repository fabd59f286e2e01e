"""Two hosts and a third clone around one remote: real processes, real DVC, one of them killed on the way."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from stages.domain import canonical
from stages.domain.fail import Refused
from stages.domain.study import load
from stages.hosts import exchange, store
from stages.hosts.exchange import Worker
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
    paths = [repo.root / "dvc.lock", *sorted((repo.root / "stages").glob("rung*/dvc.lock"))]
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
    origin.commit("The remote that the hosts share")
    first, second, third = (clone(origin, name) for name in ("a", "b", "c"))
    logs = {name: tmp_path / f"{name}.log" for name in ("a", "a again", "b")}

    # Host A is killed when its first run has ended, and with it the next run; a dvc.lock is left half-written.
    killed = work(start, first, "cpu-fp32", logs["a"])
    wait_for("> python -m stages.run rung1 d1-b", logs["a"], killed)
    killed.kill()
    killed.wait()
    lock = first.root / "stages" / "rung1" / "dvc.lock"
    lock.write_bytes(lock.read_bytes()[:300])

    # It is started again, and a second time beside itself; host B works at the same time.
    hosts = [work(start, first, "cpu-fp32", logs["a again"]), work(start, second, "cpu-bf16", logs["b"])]
    wait_for("work: stages/rung1/dvc.lock was left half-written", logs["a again"], hosts[0])
    twice = first.promotion("work", "--host", "cpu-fp32", check=False)
    assert twice.returncode == 2
    assert "held by another process of this clone: `promotion work` is running" in twice.stderr
    told = "every run of cpu-.{4} is done and every gate has decided"
    assert all(wait_for(told, logs[name], host) for name, host in zip(("a again", "b"), hosts, strict=True))
    assert [host.wait(PATIENCE) for host in hosts] == [0, 0]

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
    done = third.dvc("repro", "--pull", "stages/rung2/dvc.yaml:gate")
    assert "python -m stages.run" not in done.stdout
    assert "python -m stages.gate" not in done.stdout
    assert decisions(third) == decisions(first)

    # Its dvc.lock lists the stages as they came; where that is a conflict, either side is right.
    third.commit("The evidence, as it was restored")
    third.git("fetch", "-q", str(first.root))
    third.git("merge", "-q", "--no-edit", "FETCH_HEAD", check=False)
    third.git("checkout", "--theirs", "--", "*dvc.lock", check=False)
    third.commit("Merged")
    done = third.dvc("repro", "--pull", "stages/rung2/dvc.yaml:gate")
    assert "python -m" not in done.stdout
    assert locks(third)["stages/rung2/dvc.lock"] == locks(first)["stages/rung2/dvc.lock"]


class Hosts:
    """DVC and the machine, for tests of the order of things: what was run, pushed and waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.good, self.reachable = True, True
        monkeypatch.setattr(store, "repro", self.repro)
        monkeypatch.setattr(store, "push", self.push)
        monkeypatch.setattr(store, "restore", lambda stages, remote: 0)
        monkeypatch.setattr(store, "take", lambda runs: [])
        monkeypatch.setattr(store, "settled", lambda rung, runs: True)
        monkeypatch.setattr(store, "dvc", lambda *words: 0)
        monkeypatch.setattr(exchange.block, "require", lambda name, block: None)

    def repro(self, stages: list[str]) -> bool:
        self.done += stages
        return self.good

    def push(self, remote: str | None) -> None:
        self.done.append("push")
        if not self.reachable:
            raise store.Unreachable("DVC remote (default): not everything was pushed")


@pytest.fixture
def hosts(judged, monkeypatch) -> Hosts:
    return Hosts(monkeypatch)


def forget(*runs: str) -> None:
    for run in runs:
        Path(f"artifacts/records/{run}.json").unlink()


def worker(host: str = "cpu-fp32", **options: object) -> Worker:
    return Worker(load(), host, None, **{"once": True, "poll": 9.0, **options})


def test_a_finished_study_runs_nothing(hosts, capsys):
    assert worker().work() == 0
    assert hosts.done == []
    assert "every run of cpu-fp32 is done and every gate has decided" in capsys.readouterr().out


def test_a_host_runs_its_own_runs_pushes_them_and_waits_for_the_others(hosts, capsys):
    own, other = "rung1/d1-c000/cpu-fp32/1000", "rung1/d1-c000/cpu-bf16/1000"
    forget(own, other)
    assert worker().work() == 0
    assert hosts.done == ["stages/rung1/dvc.yaml:run@d1-c000-cpu-fp32-1000", "push"]
    assert "rung1: waits for 1 runs of cpu-fp32, 1 runs of cpu-bf16" in capsys.readouterr().out


def test_waiting_is_told_once_and_ends_when_the_others_have_pushed(hosts, capsys):
    other = Path("artifacts/records/rung1/d1-c000/cpu-bf16/1000.json")
    line, waits = other.read_bytes(), []
    other.unlink()

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            other.write_bytes(line)

    assert worker(once=False, sleep=sleep).work() == 0
    assert waits == [9.0] * 3
    assert capsys.readouterr().out.count("waits for") == 1


def test_long_runs_are_pushed_one_by_one_and_short_ones_together(hosts):
    records = [p for p in Path("artifacts/records/rung5").glob("*/cpu-fp32/*.json") if b'"finished"' in p.read_bytes()]
    for path in records:
        path.unlink()
    worker().work()
    assert len(records) > 1
    assert hosts.done == [one for p in sorted_runs(records) for one in (p, "push")]  # 720 s each

    hosts.done.clear()
    short = list(Path("artifacts/records/rung1").glob("*/cpu-fp32/*.json"))
    for path in short:
        path.unlink()
    worker().work()
    assert hosts.done == [*sorted_runs(short), "push"]  # 2 s each


def sorted_runs(paths: list[Path]) -> list[str]:
    order = list(load().configs)
    found = sorted((order.index(p.parts[3]), int(p.stem), f"{p.parts[2]} {p.parts[3]} {p.parts[4]}") for p in paths)
    return [f"stages/{t.split()[0]}/dvc.yaml:run@{t.split()[1]}-{t.split()[2]}-{seed}" for _, seed, t in found]


def test_an_unreachable_remote_does_not_end_the_work(hosts, capsys):
    forget("rung1/d1-c000/cpu-fp32/1000")
    hosts.reachable = False
    worker().work()
    assert "not everything was pushed" in capsys.readouterr().out


def test_a_run_that_fails_ends_the_work_with_what_ended_well_pushed(hosts, capsys):
    forget("rung1/d1-c000/cpu-fp32/1000")
    hosts.good = False
    assert worker().work() == 2
    assert hosts.done[-1] == "push"
    assert "start again to try once more" in capsys.readouterr().out


def test_a_gate_that_is_not_frozen_ends_the_work_and_says_so(hosts, capsys):
    closed = {"schema": 1, "open": False, "rung": "rung3", "gate": "gate3"}
    Path("artifacts/protocol/rung3.json").write_bytes(canonical.dumps(closed))
    Path("locks/gate3.yaml").unlink()
    assert worker().work() == 1
    assert "rung3: gate3 is not frozen: `promotion freeze gate3`" in capsys.readouterr().out


def test_the_wrong_machine_is_refused_before_anything_is_fetched(judged, monkeypatch):
    monkeypatch.setattr(store, "restore", lambda stages, remote: pytest.fail("it fetched"))
    monkeypatch.setattr(exchange.block, "mismatches", lambda block, here: ["system: found linux, expected windows"])
    with pytest.raises(Refused, match="this machine is not that host"):
        worker().work()
    with pytest.raises(Refused, match=r"nowhere: no such host; params\.yaml has cpu-fp32, cpu-bf16"):
        worker("nowhere").work()
