"""One host's share of a study: the order in which it fetches, runs, pushes, waits and judges."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stages.domain import canonical, names
from stages.domain.errors import Refused
from stages.domain.runs import Run, runs_of
from stages.domain.study import load
from stages.hosts import machine, remote
from stages.hosts import work as work_module
from stages.hosts.processes import hold_lock
from stages.hosts.work import HostWorker
from stages.hosts.worklist import read_rung_work


class Hosts:
    """DVC and the machine, for tests of the order of things: what was run, pushed and waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.makes: dict[str, tuple[Path, bytes]] = {}
        self.broken: set[str] = set()
        self.reachable = True
        monkeypatch.setattr(remote, "run_stages", self.repro)
        monkeypatch.setattr(remote, "push_results", self.push)
        monkeypatch.setattr(remote, "restore_outputs", lambda stages, remote_name: 0)
        monkeypatch.setattr(remote, "commit_runs", lambda runs: [])
        monkeypatch.setattr(remote, "is_committed", lambda rung, runs: True)
        monkeypatch.setattr(remote, "run_dvc", lambda *words: 0)
        monkeypatch.setattr(machine, "require_host", lambda name, block: None)

    def repro(self, stages: list[str]) -> bool:
        self.done += stages
        for path, line in (self.makes[one] for one in stages if one in self.makes and one not in self.broken):
            path.write_bytes(line)
        return not self.broken & set(stages)

    def push(self, remote_name: str | None) -> None:
        self.done.append("push")
        if not self.reachable:
            raise remote.RemoteUnreachable("DVC remote (default): not everything was pushed")


@pytest.fixture
def hosts(judged, monkeypatch) -> Hosts:
    return Hosts(monkeypatch)


def forget(*runs: str) -> None:
    for run in runs:
        Path(f"artifacts/records/{run}.json").unlink()


def worker(host: str = "cpu-fp32", **options: object) -> HostWorker:
    return HostWorker(load(), host, None, **{"once": True, "poll": 9.0, **options})


def test_a_finished_study_runs_nothing(hosts, capsys):
    assert worker().work() == 0
    assert hosts.done == []
    message = "every run of cpu-fp32 is done and every gate has decided; `dvc repro` makes the ledger and the site"
    assert capsys.readouterr().out == f"work: {message}\n"


def test_a_host_runs_its_own_runs_pushes_them_and_waits_for_the_others(hosts, capsys):
    own, other = "rung1/d1-c000/cpu-fp32/1000", "rung1/d1-c000/cpu-bf16/1000"
    forget(own, other)
    assert worker().work() == 0
    assert hosts.done == ["stages/ladder/rung1/d1-c000/dvc.yaml:run@cpu-fp32-1000", "push"]
    assert capsys.readouterr().out.splitlines() == [
        "work: rung1: 1 run to train",
        "work: rung1: waits for 1 run of cpu-fp32, 1 run of cpu-bf16",
    ]


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
    assert capsys.readouterr().out.splitlines()[:-1] == ["work: rung1: waits for 1 run of cpu-bf16"]


def lose(hosts: Hosts, rung: str) -> list[Run]:
    """Forget what cpu-fp32 has trained at a rung; `hosts` makes it again when its stages run."""
    runs = [run for run in read_rung_work(load(), rung).trained if run.host == "cpu-fp32"]
    hosts.makes = {run.stage: (path := names.record_path(run.id), path.read_bytes()) for run in runs}
    forget(*(run.id for run in runs))
    return runs


def test_long_runs_are_pushed_one_by_one_and_short_ones_together(hosts):
    long = lose(hosts, "rung5")
    assert worker().work() == 0
    assert len(long) > 1
    each = [one for run in long for one in (run.stage, "push")]  # 720 s
    assert hosts.done == [*each, "stages/ladder/rung5/dvc.yaml:gate", "push"]

    hosts.done.clear()
    short = lose(hosts, "rung1")
    assert worker().work() == 0
    together = [*(run.stage for run in short), "push"]  # 2 s each
    assert hosts.done == [*together, "stages/ladder/rung1/dvc.yaml:gate", "push"]


def test_an_unreachable_remote_does_not_end_the_work(hosts, capsys):
    forget("rung1/d1-c000/cpu-fp32/1000")
    hosts.reachable = False
    assert worker().work() == 0
    assert capsys.readouterr().out.splitlines() == [
        "work: rung1: 1 run to train",
        "work: DVC remote (default): not everything was pushed",
        "work: rung1: waits for 1 run of cpu-fp32",
    ]


def test_a_host_that_waits_outlives_a_remote_that_cannot_be_read_for_a_while(hosts, monkeypatch, capsys):
    other = Path("artifacts/records/rung1/d1-c000/cpu-bf16/1000.json")
    line, waits = other.read_bytes(), []
    other.unlink()

    def restore(stages: list[str], remote_name: str | None) -> int:
        if stages != ["corpus"] and len(waits) < 2:
            raise remote.RemoteUnreachable("DVC remote (default): no route")
        return 0

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            other.write_bytes(line)

    monkeypatch.setattr(remote, "restore_outputs", restore)
    assert worker(once=False, sleep=sleep).work() == 0
    assert "DVC remote (default): no route; going on with what is here" in capsys.readouterr().out


def test_a_remote_whose_package_is_missing_is_refused_in_words(judged, monkeypatch):
    def absent(**_: object) -> None:
        raise ImportError("ssh is supported, but requires 'dvc-ssh' to be installed")

    monkeypatch.setattr("dvc.repo.Repo", absent)
    with pytest.raises(Refused, match="requires 'dvc-ssh' to be installed; install it into this environment"):
        remote.restore_outputs(["corpus"], None)


def test_a_run_that_fails_ends_the_work_when_the_others_have_run_and_is_named(hosts, capsys):
    broken, *others = lose(hosts, "rung5")
    hosts.broken = {broken.stage}
    assert worker().work() == 2
    assert hosts.done == [one for run in (broken, *others) for one in (run.stage, "push")]
    assert [run.id for run in read_rung_work(load(), "rung5").to_train] == [broken.id]
    message = (
        f"work: rung5: 1 run did not end, see above: {broken.id}; what did is pushed; start again to try once more"
    )
    assert message in capsys.readouterr().out.splitlines()


def test_a_gate_that_is_not_frozen_ends_the_work_and_says_so(hosts, capsys):
    closed = {"schema": 1, "open": False, "rung": "rung3", "gate": "gate3"}
    Path("artifacts/protocol/rung3.json").write_bytes(canonical.dumps(closed))
    Path("locks/gate3.yaml").unlink()
    assert worker().work() == 1
    assert hosts.done == []
    message = (
        "rung3: gate3 is not frozen: `promotion freeze gate3`; commit the lock, `git pull` it here, and start again"
    )
    assert capsys.readouterr().out == f"work: {message}\n"


def test_the_wrong_machine_is_refused_before_anything_is_fetched(judged, monkeypatch):
    monkeypatch.setattr(remote, "restore_outputs", lambda stages, remote_name: pytest.fail("it fetched"))
    monkeypatch.setattr(machine, "find_mismatches", lambda block, here: ["system: found linux, expected windows"])
    with pytest.raises(Refused, match="this machine is not that host"):
        worker().work()
    with pytest.raises(Refused, match=r"nowhere: no such host; params\.yaml has cpu-fp32, cpu-bf16"):
        worker("nowhere").work()


def test_what_is_missing_is_restored_from_the_remote_and_what_was_finished_here_is_taken_in(hosts, monkeypatch, capsys):
    study = load()
    runs = [run for run in read_rung_work(study, "rung3").done if run.host == "cpu-fp32"]
    trained = next(run for run in runs if run in read_rung_work(study, "rung3").trained)
    stopped = next(run for run in runs if run not in read_rung_work(study, "rung3").trained)
    path = names.record_path(trained.id)
    line, asked = path.read_bytes(), []
    forget(trained.id, stopped.id)

    def restore(stages, remote_name):
        asked.append((stages, remote_name))
        path.write_bytes(line)

    monkeypatch.setattr(remote, "restore_outputs", restore)
    monkeypatch.setattr(remote, "commit_runs", lambda given: [run for run in given if run == trained])
    refreshed = work_module.refresh_rung(study, "rung3", "team")
    assert asked == [([trained.stage, stopped.stage], "team")]
    assert refreshed == read_rung_work(study, "rung3")
    assert (refreshed.to_train, refreshed.to_stop) == ((), (stopped,))
    assert capsys.readouterr().out == "work: rung3: took in 1 finished run\n"


def test_nothing_is_asked_of_the_remote_where_nothing_is_missing_or_the_rung_is_closed(hosts, monkeypatch, capsys):
    monkeypatch.setattr(remote, "restore_outputs", lambda stages, remote_name: pytest.fail("it was asked"))
    assert work_module.refresh_rung(load(), "rung1", None) == read_rung_work(load(), "rung1")
    (names.PROTOCOL / "rung2.json").unlink()
    assert work_module.refresh_rung(load(), "rung2", None).closed == "`dvc repro protocol` first"
    assert capsys.readouterr().out == ""


def test_a_rung_is_finished_when_it_is_done_and_judged_and_committed(hosts, monkeypatch):
    study = load()
    work = read_rung_work(study, "rung1")
    asked = []
    monkeypatch.setattr(remote, "is_committed", lambda rung, runs: asked.append((rung, runs)) or True)
    assert work_module.is_finished(work) is True
    assert asked == [("rung1", work.done)]
    run = work.done[0]
    for left in ({"closed": "why"}, {"to_train": (run,)}, {"to_stop": (run,)}):
        assert work_module.is_finished(replace(work, **left)) is False
    assert len(asked) == 1
    monkeypatch.setattr(remote, "is_committed", lambda rung, runs: False)
    assert work_module.is_finished(work) is False
    monkeypatch.setattr(remote, "is_committed", lambda rung, runs: True)
    names.decision_path("gate1").unlink()
    assert work_module.is_finished(work) is False


def test_a_study_is_prepared_with_the_corpus_of_the_remote_and_its_protocol(hosts, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(remote, "restore_outputs", lambda stages, remote_name: asked.append((stages, remote_name)))
    monkeypatch.setattr(remote, "run_dvc", lambda *words: asked.append(words))
    monkeypatch.setattr(work_module, "heal", lambda wait: asked.append(wait) or [Path("dvc.lock")])
    work_module.prepare_study("team")
    assert asked == [5.0, (["corpus"], "team"), ("repro", "protocol")]
    assert capsys.readouterr().out == "work: dvc.lock was left half-written; it is written anew\n"


def test_a_protocol_that_does_not_let_the_study_through_ends_the_work(hosts, monkeypatch):
    monkeypatch.setattr(remote, "run_dvc", lambda *words: 1)
    with pytest.raises(Refused) as refused:
        worker().work()
    assert str(refused.value) == "the protocol did not let this study through; see above"
    assert hosts.done == []


def test_one_process_works_in_a_clone(hosts):
    with hold_lock("work", "x"), pytest.raises(Refused) as refused:
        worker().work()
    message = "scratch/locks/work.lock: held by another process of this clone: `promotion work` is running; "
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("seconds", "sizes"), [(3.9, [1, 1, 1]), (4.0, [2, 1]), (5.9, [2, 1]), (6.0, [3]), (0.1, [1, 1, 1])]
)
def test_as_many_runs_as_fit_between_two_pushes_share_one(hosts, monkeypatch, capsys, seconds, sizes):
    monkeypatch.setattr(work_module, "PUSH_SECONDS", seconds)  # a run of rung1 has 2 s
    runs = [run for run in read_rung_work(load(), "rung1").trained if run.host == "cpu-fp32"][:3]
    hosts.makes = {run.stage: (path := names.record_path(run.id), path.read_bytes()) for run in runs}
    forget(*(run.id for run in runs))
    assert worker().work() == 0
    expected, left, reported = [], list(runs), []
    for size in sizes:
        reported.append(f"work: rung1: {len(left)} run{'s' if len(left) > 1 else ''} to train")
        expected += [*(run.stage for run in left[:size]), "push"]
        left = left[size:]
    assert hosts.done == [*expected, "stages/ladder/rung1/dvc.yaml:gate", "push"]
    assert capsys.readouterr().out.splitlines()[:-1] == reported


def test_runs_without_a_ticket_are_recorded_before_the_gate_and_the_locks_are_put_in_order_after_it(hosts, monkeypatch):
    study = load()
    work = read_rung_work(study, "rung3")
    stopped = [run for run in work.done if run not in work.trained]
    ordered = []
    monkeypatch.setattr(remote, "order_entries", lambda runs: ordered.append((list(runs), list(hosts.done))))
    forget(*(run.id for run in stopped))
    assert worker()._judge(read_rung_work(study, "rung3")) is None
    stages = [*(run.stage for run in stopped), "stages/ladder/rung3/dvc.yaml:gate"]
    assert ordered == [(runs_of(study, "rung3"), stages)]
    assert hosts.done == [*stages, "push"]
    for broken, reported in (
        (stages[0], "rung3: a stopped run could not be recorded; see above"),
        (stages[-1], "rung3: its gate could not judge; see above"),
    ):
        hosts.broken = {broken}
        with pytest.raises(Refused) as refused:
            worker()._judge(read_rung_work(study, "rung3"))
        assert str(refused.value) == reported


@pytest.mark.parametrize(("module", "name"), [("hosts.work", "say"), ("commands.dispatch", "_say")])
def test_what_is_said_is_out_at_once_although_the_output_is_no_terminal(module, name):
    code = f"import os; from stages.{module} import {name}; {name}('rung1: 3 runs'); os._exit(0)"
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    done = subprocess.run([sys.executable, "-c", code], env=buffered, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.endswith(": rung1: 3 runs\n")
