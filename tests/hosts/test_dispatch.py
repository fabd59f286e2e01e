"""Runs go to workers, and what comes back is checked, taken in and judged, rung by rung."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.domain import canonical, names
from stages.domain.errors import Refused
from stages.domain.runs import Run, runs_of
from stages.hosts import dispatch, remote
from stages.hosts.dispatch import Dispatcher, StartedCluster
from stages.hosts.job import Job, RunFailed, execute_job, read_outputs
from stages.hosts.processes import hold_lock
from stages.hosts.worklist import read_rung_work
from tests.hosts.test_dispatch_view import view
from tests.hosts.test_waiting_report import JOIN, WAITING


class Returned:
    """A future that has come back."""

    def __init__(self, outcome: object, released: list[object]) -> None:
        self.outcome, self.released = outcome, released

    def result(self) -> object:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def release(self) -> None:
        """What Dask forgets is safe here."""
        self.released.append(self.outcome)


class Workers:
    """Stands for the scheduler and its workers: `outcomes` by run id."""

    def __init__(self, outcomes: dict[str, object]) -> None:
        self.outcomes, self.submitted, self.released, self.topics = outcomes, [], [], []

    def scheduler_info(self) -> dict[str, object]:
        """A worker of each host is there."""
        return {"workers": {"one": {"resources": {"cpu-fp32": 1, "cpu-bf16": 1}}}}

    def subscribe_topic(self, topic: str, heard: object) -> None:
        """Nothing is told."""
        self.topics.append(topic)

    def submit(self, function: object, job: str, **options: object) -> Returned:
        run = Job.loads(job).run
        assert (function, options["retries"], options["pure"]) == (execute_job, 2, False)
        self.submitted.append((run.id, options["resources"], options["key"]))
        return Returned(self.outcomes[run.id], self.released)


@pytest.fixture
def engine(judged, monkeypatch):
    """Two runs of rung 1 are missing; returns (runs, their outputs, what DVC was asked to take and to run)."""
    asked: list[str] = []
    monkeypatch.setattr(dispatch, "as_completed", iter)
    monkeypatch.setattr(remote, "run_dvc", lambda *words: 0)
    monkeypatch.setattr(remote, "commit_runs", lambda runs: asked.extend(f"take {run.id}" for run in runs))
    monkeypatch.setattr(remote, "run_stages", lambda stages: asked.extend(f"repro {one}" for one in stages) or True)
    monkeypatch.setattr(remote, "order_entries", lambda runs: asked.append(f"settle {next(iter(runs)).rung}"))
    monkeypatch.setattr(remote, "is_committed", lambda rung, runs: True)
    runs = [run for run in runs_of(judged, "rung1") if run.config == "d1-c000"]
    outputs = {run.id: read_outputs(run) for run in runs}
    for run in runs:
        names.record_path(run.id).unlink()
    return runs, outputs, asked


def work_through(study, outcomes: dict[str, object]) -> tuple[int, Workers, str]:
    workers = Workers(outcomes)
    shown, out = view(terminal=False)
    return Dispatcher(study, StartedCluster(workers, [], JOIN), shown).dispatch(), workers, out.getvalue()


def test_a_run_goes_to_a_worker_of_its_host_block_under_a_key_of_run_and_rule(judged, engine):
    runs, outputs, asked = engine
    _, workers, _ = work_through(judged, outputs)
    lock = canonical.loads(Path("artifacts/protocol/rung1.json").read_bytes())["lock"]
    assert workers.submitted == [(run.id, {run.host: 1}, f"{run.id}-{lock[:16]}") for run in runs]
    assert workers.released == [outputs[run.id] for run in runs], "what the workspace holds the scheduler forgets"
    assert workers.topics == ["promotion"]
    assert [f"take {run.id}" for run in runs] == [one for one in asked if one.split()[-1] in outputs]
    assert "repro stages/ladder/rung1/dvc.yaml:gate" in asked
    assert "settle rung1" in asked and "settle rung2" not in asked


def test_a_finished_study_is_left_as_it_is(judged, engine):
    runs, outputs, asked = engine
    for run in runs:
        names.record_path(run.id).write_bytes(outputs[run.id][names.record_path(run.id).as_posix()])
    status, workers, out = work_through(judged, {})
    assert (status, workers.submitted, asked) == (0, [], [])
    assert out == "dispatch: every gate has decided; `dvc repro` makes the ledger and the site\n"


def test_a_run_that_fails_is_named_the_others_are_taken_in_and_nothing_is_judged(judged, engine):
    runs, outputs, asked = engine
    failure = RunFailed(f"{runs[0].id}: exit status 2:\nerror: out of coffee")
    status, _, out = work_through(judged, outputs | {runs[0].id: failure})
    assert status == 2
    bpb = canonical.loads(outputs[runs[1].id][names.record_path(runs[1].id).as_posix()])["facts"]["val_bpb"]
    assert out.splitlines() == [
        "dispatch: rung1: 2 runs to train, 10 done before",
        f"dispatch: {runs[0].id}: failed; 1 left at rung1",
        f"dispatch: {runs[1].id}: finished, val_bpb {bpb}; 0 left at rung1",
        f"dispatch: {runs[0].id}: RunFailed: {runs[0].id}: exit status 2:",
        "error: out of coffee",
        "dispatch: rung1: 1 run failed; what ended well is taken in; start again to retry",
    ]
    taken = [run.id for run in runs_of(judged, "rung1") if run != runs[0]]
    assert sorted(asked) == sorted(f"take {run}" for run in taken)
    assert not names.record_path(runs[0].id).exists()
    assert not [one for one in asked if one.startswith("repro")]


def test_what_a_worker_makes_up_is_not_taken_in(judged, engine):
    runs, outputs, _ = engine
    forged = dict(outputs[runs[0].id])
    path = names.record_path(runs[0].id).as_posix()
    forged[path] = forged[path].replace(b'"runner":"1111', b'"runner":"2222')
    status, _, out = work_through(judged, outputs | {runs[0].id: forged})
    assert status == 2
    assert "runner: found 2222" in out
    assert not names.record_path(runs[0].id).exists()


def ask(judged, engine, monkeypatch, **refusals: object) -> str:
    """What the dispatcher refuses with where a part of DVC answers otherwise."""
    for name, answer in refusals.items():
        monkeypatch.setattr(remote, name, answer)
    with pytest.raises(Refused) as refused:
        work_through(judged, engine[1])
    return str(refused.value)


def test_a_protocol_that_fails_and_a_gate_that_cannot_judge_are_refused(judged, engine, monkeypatch):
    words: list[tuple[str, ...]] = []
    message = ask(judged, engine, monkeypatch, run_dvc=lambda *asked: words.append(asked) or 1)
    assert message == "the protocol did not let this study through; see above"
    assert words == [("repro", "protocol")]
    message = ask(judged, engine, monkeypatch, run_dvc=lambda *asked: 0, run_stages=lambda stages: False)
    assert message == "rung1: its gate could not judge; see above"


def test_one_dispatcher_works_in_a_clone_and_heals_what_a_killed_one_left(judged, engine):
    with hold_lock("work", "x"), pytest.raises(Refused) as refused:
        work_through(judged, {})
    message = "scratch/locks/work.lock: held by another process of this clone: "
    assert str(refused.value).startswith(f"{message}`promotion work` or `promotion dispatch` is running; ")
    Path("dvc.lock").write_bytes(b"")
    _, _, out = work_through(judged, engine[1])
    assert out.startswith("dispatch: dvc.lock was left half-written; it is written anew\n")


def test_a_rung_that_is_closed_ends_the_dispatch_with_the_reason(judged, engine):
    for run, outputs in engine[1].items():
        names.record_path(run).write_bytes(outputs[names.record_path(run).as_posix()])
    (names.PROTOCOL / "rung2.json").unlink()
    status, _, out = work_through(judged, {})
    assert (status, out) == (1, "dispatch: rung2: `dvc repro protocol` first\n")


def test_a_rung_of_which_only_stopped_runs_are_missing_is_committed_and_judged(judged, engine, monkeypatch):
    for run, outputs in engine[1].items():
        names.record_path(run).write_bytes(outputs[names.record_path(run).as_posix()])
    before, asked = read_rung_work(judged, "rung3"), engine[2]
    stopped = next(run for run in before.done if run not in before.trained)
    names.record_path(stopped.id).unlink()
    recorded: list[object] = []
    monkeypatch.setattr(dispatch, "_record_stopped", recorded.append)
    shown, out = view(terminal=False)
    dispatcher = Dispatcher(judged, StartedCluster(Workers({}), [], JOIN), shown)
    monkeypatch.delattr(dispatcher, "_waiting_report")  # nobody waits for what needs no worker
    assert dispatcher._dispatch_rung("rung3") is None
    assert recorded == [(stopped,)]
    assert out.getvalue() == f"dispatch: rung3: 0 runs to train, {len(before.trained)} done before\n"
    taken = [*(run for run in before.done if run != stopped), stopped]
    assert asked == [*(f"take {run.id}" for run in taken), "repro stages/ladder/rung3/dvc.yaml:gate", "settle rung3"]


def test_short_runs_share_a_commit_and_after_a_while_each_has_its_own(judged, engine, monkeypatch):
    runs, outputs, _ = engine
    commits: list[list[str]] = []
    now = iter([1000.0, 1000.0 + dispatch.COMMIT_SECONDS, 2000.0])
    monkeypatch.setattr(remote, "commit_runs", lambda given: commits.append([run.id for run in given]))
    shown, _ = view(terminal=False)
    dispatcher = Dispatcher(judged, StartedCluster(Workers(outputs), [], JOIN), shown)
    dispatcher._committed_at = 1000.0
    work = read_rung_work(judged, "rung1")
    monkeypatch.setattr(dispatch, "WATCH_SECONDS", 1000.0)
    monkeypatch.setattr(dispatch, "time", SimpleNamespace(monotonic=lambda: next(now)))
    done = [run.id for run in work.done]
    dispatcher._train(work)  # looks at 1000 and at exactly COMMIT_SECONDS later, and commits at 2000
    assert commits == [[*done, *(run.id for run in runs)]]
    assert dispatcher._committed_at == 2000.0


def test_a_run_that_ends_long_after_the_last_commit_is_committed_at_once(judged, engine, monkeypatch):
    runs, outputs, _ = engine
    commits: list[list[str]] = []
    monkeypatch.setattr(remote, "commit_runs", lambda given: commits.append([run.id for run in given]))
    shown, _ = view(terminal=False)
    dispatcher = Dispatcher(judged, StartedCluster(Workers(outputs), [], JOIN), shown)
    monkeypatch.setattr(dispatch, "COMMIT_SECONDS", -1.0)
    work = read_rung_work(judged, "rung1")
    dispatcher._train(work)
    assert commits == [[*(run.id for run in work.done), runs[0].id], [runs[1].id], []]


def test_the_waiting_runs_are_those_that_have_not_come_back(judged, engine, monkeypatch):
    runs, outputs, _ = engine
    left: list[tuple[str, set[Run]]] = []

    class Watched:
        def __init__(self, *_: object) -> None:
            pass

        @contextmanager
        def watch(self, rung, list_waiting):
            left.append((rung, set(list_waiting())))
            yield
            left.append((rung, set(list_waiting())))

    monkeypatch.setattr(dispatch, "WaitingReport", Watched)
    work_through(judged, outputs)
    assert left == [("rung1", set(runs)), ("rung1", set())]


@pytest.fixture
def server(tmp_path, monkeypatch) -> list[object]:
    """Stands for the server that forks runs; notes what it is asked for, and ends the second run with 1 if `broken`."""
    monkeypatch.chdir(tmp_path)
    asked: list[object] = []

    class FakeServer:
        def __enter__(self):
            asked.append("open")
            return self

        def __exit__(self, *_: object) -> None:
            asked.append("close")

        def start(self, words, log, load):
            asked.append((words, log.as_posix(), load))
            with log.open("a", encoding="utf-8") as output:
                output.write(f"{words[3]}\n")
            return SimpleNamespace(wait=lambda: int(words[3] == "broken"))

    monkeypatch.setattr(dispatch, "ForkServer", FakeServer)
    return asked


def test_stopped_runs_are_recorded_one_after_the_other_by_one_server_without_the_trainer(server):
    for _ in range(2):
        dispatch._record_stopped(WAITING[:2])
        assert Path("scratch/dispatch/stopped.log").read_text(encoding="utf-8") == "a\na\n"
    each = [(run.command, "scratch/dispatch/stopped.log", False) for run in WAITING[:2]]
    assert server == ["open", *each, "close"] * 2


def test_a_stopped_run_that_cannot_be_recorded_is_named_with_what_it_printed(server):
    broken = Run("rung1", "broken", "cpu", 1, "candidate")
    with pytest.raises(Refused) as refused:
        dispatch._record_stopped([WAITING[0], broken, WAITING[1]])
    assert str(refused.value) == "rung1/broken/cpu/1: could not be recorded as stopped:\na\nbroken"
    assert len(server) == 4


def test_where_nothing_can_be_forked_dvc_records_stopped_runs(server, monkeypatch):
    monkeypatch.setattr(dispatch, "can_fork", lambda: False)
    asked: list[list[str]] = []
    monkeypatch.setattr(remote, "run_stages", lambda stages: asked.append(stages) or len(stages) > 1)
    dispatch._record_stopped(WAITING)
    with pytest.raises(Refused) as refused:
        dispatch._record_stopped(WAITING[:1])
    assert str(refused.value) == "a stopped run could not be recorded; see above"
    assert asked == [[run.stage for run in WAITING], [WAITING[0].stage]]
    assert server == []


@pytest.fixture
def dask(monkeypatch) -> list[object]:
    """Stands for Dask and for the workers of this machine; notes what is started, and what is ended at last."""
    calls: list[object] = []

    class FakeScheduler:
        scheduler_address = "tls://10.0.0.5:8786"

        def __init__(self, **options: object) -> None:
            calls.append((options, dispatch.dask.config.get("distributed.scheduler.http.routes")))

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            calls.append("scheduler ended")

    @contextmanager
    def client(cluster: object):
        yield f"client of {cluster.scheduler_address}"

    @contextmanager
    def certificates(listen: str, folder: Path | None):
        calls.append((listen, folder))
        yield SimpleNamespace(folder=Path("certificates"), make_security=lambda: "security")

    monkeypatch.setattr(dispatch, "LocalCluster", FakeScheduler)
    monkeypatch.setattr(dispatch, "Client", client)
    monkeypatch.setattr(dispatch, "use_cluster", certificates)
    local = {
        "find_slots": lambda study, hosts, number: calls.append((hosts, number)) or ["slot"],
        "start_workers": lambda slots, address, cluster: calls.append((slots, address)) or ["worker"],
        "stop_workers": lambda workers: calls.append(f"ended {workers}"),
    }
    for name, function in local.items():
        monkeypatch.setattr(dispatch.workers, name, function)
    return calls


@pytest.mark.parametrize(("cpu_slots", "slots"), [(None, ["slot"]), (3, ["slot"]), (0, [])])
def test_a_scheduler_listens_where_it_is_told_to_and_has_the_workers_of_this_machine(judged, dask, cpu_slots, slots):
    with dispatch.start_cluster(judged, "10.0.0.5:8786", Path("folder"), ["cpu-fp32"], cpu_slots) as cluster:
        join = "promotion dispatch --join tls://10.0.0.5:8786 --cluster certificates"
        assert cluster == StartedCluster("client of tls://10.0.0.5:8786", ["worker"], join)
    options = {
        "n_workers": 0,
        "host": "10.0.0.5",
        "scheduler_port": 8786,
        "protocol": "tls://",
        "security": "security",
        "dashboard_address": None,
        "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},
        "silence_logs": 40,
    }
    asked = [(["cpu-fp32"], cpu_slots)] if slots else []
    begin = [("10.0.0.5:8786", Path("folder")), *asked, (options, [])]
    assert dask == [*begin, (slots, "tls://10.0.0.5:8786"), "ended ['worker']", "scheduler ended"]


def test_whatever_ends_a_dispatch_ends_its_workers(judged, dask):
    with pytest.raises(KeyboardInterrupt), dispatch.start_cluster(judged, "127.0.0.1:0", None, [], 1):
        raise KeyboardInterrupt
    assert dask[-2:] == ["ended ['worker']", "scheduler ended"]
