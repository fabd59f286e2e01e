"""What is asked of DVC, with which words, and what its answers mean; DVC itself is not started."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from dvc.config import ConfigError
from dvc.exceptions import DvcException
from dvc.stage.cache import RunCacheNotFoundError, RunCacheNotSupported

from stages.domain import names
from stages.domain.errors import Refused
from stages.domain.runs import Run, runs_of
from stages.hosts import processes, remote
from stages.hosts.remote import RemoteUnreachable

RUNG = "stages/ladder/rung1/d1/dvc.yaml"
#: What each dvc.yaml has.
STAGES = {
    "dvc.yaml": ["corpus", "protocol"],
    RUNG: [f"{RUNG}:run@cpu-1", f"{RUNG}:run@cpu-2", f"{RUNG}:run@cpu-3"],
}


class FakeRepo:
    """A DVC repository of which a remote has `cached`; notes what is asked of it, and fails as `failure` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[object] = []
        self.cached: set[str] = set()
        self.failure: Exception | None = None
        self.locked = False
        self.stage_cache = SimpleNamespace(pull=self.pull, restore=self.restore)
        self.stage = SimpleNamespace(collect=self.collect)
        monkeypatch.setattr("dvc.repo.Repo", self.open)

    def open(self, config: object = None) -> FakeRepo:
        self.asked.append(("open", config))
        return self

    def __enter__(self) -> FakeRepo:
        return self

    def __exit__(self, *_: object) -> None:
        self.asked.append("close")

    @property
    @contextmanager
    def lock(self) -> Iterator[None]:
        self.locked = True
        yield
        self.locked = False

    def pull(self, remote_name: str | None) -> None:
        self.asked.append(("pull", remote_name))
        if self.failure:
            raise self.failure

    def collect(self, path: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(addressing=address) for address in STAGES[path]]

    def restore(self, stage: SimpleNamespace, pull: bool) -> None:
        assert self.locked, "another DVC would write the same files"
        self.asked.append((stage.addressing, pull))
        if stage.addressing not in self.cached:
            raise RunCacheNotFoundError(stage)


@pytest.fixture
def repo(monkeypatch) -> Iterator[FakeRepo]:
    logger = logging.getLogger("dvc")
    level = logger.level
    yield FakeRepo(monkeypatch)
    logger.setLevel(level)


def test_each_stage_that_the_remote_has_is_restored_and_counted_and_no_other_one_is_touched(repo):
    logging.getLogger("dvc").setLevel(logging.DEBUG)
    wanted = ["corpus", f"{RUNG}:run@cpu-1", f"{RUNG}:run@cpu-2", f"{RUNG}:run@cpu-3"]
    repo.cached = {"corpus", "protocol", wanted[1], wanted[3]}
    assert remote.restore_outputs(iter(wanted), "team") == 3
    restored = [(stage, True) for stage in wanted]
    assert repo.asked == [("open", {"core": {"remote": "team"}}), ("pull", "team"), *restored, "close"]
    assert logging.getLogger("dvc").level == logging.ERROR, "a stage that the remote lacks is no news"


@pytest.mark.parametrize("stages", [["corpus"], []])
def test_what_the_remote_lacks_is_not_counted_and_the_default_remote_needs_no_name(repo, stages):
    assert remote.restore_outputs(stages, None) == 0
    assert repo.asked == [("open", None), ("pull", None), *((stage, True) for stage in stages), "close"]


@pytest.mark.parametrize(("name", "shown"), [("team", "team"), (None, "(default)")])
@pytest.mark.parametrize(
    ("failure", "kind", "rest"),
    [
        (
            failure,
            Refused,
            "hosts exchange runs through a remote with a run cache: "
            "`dvc remote add -d team PATH-OR-URL` (a folder, S3, GCS, Azure or SSH; not HTTP)",
        )
        for failure in (ConfigError("no default remote"), RunCacheNotSupported("no run cache"))
    ]
    + [
        (ImportError("needs dvc-s3"), Refused, "install it into this environment"),
        (DvcException("no route"), RemoteUnreachable, ""),
    ],
)
def test_a_remote_that_does_not_serve_is_refused_and_one_out_of_reach_is_told_apart(
    repo, name, shown, failure, kind, rest
):
    repo.failure = failure
    with pytest.raises(Refused) as refused:
        remote.restore_outputs(["corpus"], name)
    assert type(refused.value) is kind
    assert str(refused.value) == f"DVC remote {shown}: {failure}" + (f"; {rest}" if rest else "")


class Programs:
    """Notes the programs that are started, which end with `statuses`, or with 0."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *statuses: int) -> None:
        self.started, self.statuses = list[list[str]](), list(statuses)
        monkeypatch.setattr(processes, "start_child", self.start)

    @contextmanager
    def start(self, words: list[str]) -> Iterator[SimpleNamespace]:
        assert words[:3] == ["-m", "stages.hosts.processes", "-m"], "under the watchdog"
        self.started.append(words[3:])
        yield SimpleNamespace(wait=lambda: self.statuses.pop(0) if self.statuses else 0)


def test_dvc_runs_under_the_watchdog_and_its_status_is_handed_on(monkeypatch):
    programs = Programs(monkeypatch, 0, 3)
    assert [remote.run_dvc("status"), remote.run_dvc("repro", "corpus")] == [0, 3]
    assert programs.started == [["dvc", "status"], ["dvc", "repro", "corpus"]]


@pytest.mark.parametrize(
    ("statuses", "succeeded"), [((0, 0, 0), True), ((1, 0, 0), False), ((0, 0, 255), False), ((0, 1, 0), False)]
)
def test_stages_run_alone_in_batches_and_one_that_fails_does_not_stop_the_others(monkeypatch, statuses, succeeded):
    monkeypatch.setattr(remote, "BATCH", 2)
    programs = Programs(monkeypatch, *statuses)
    assert remote.run_stages(["a", "b", "c", "d", "e"]) is succeeded
    words = ["dvc", "repro", "--single-item", "--keep-going"]
    assert programs.started == [[*words, "a", "b"], [*words, "c", "d"], [*words, "e"]]


def test_no_stage_starts_no_dvc(monkeypatch):
    programs = Programs(monkeypatch)
    assert remote.run_stages([]) is True
    assert programs.started == []


@pytest.mark.parametrize(("name", "words", "shown"), [("team", ["--remote", "team"], "team"), (None, [], "(default)")])
def test_outputs_are_pushed_with_the_run_cache_and_a_failure_is_told(monkeypatch, name, words, shown):
    programs = Programs(monkeypatch, 0, 1)
    remote.push_results(name)
    with pytest.raises(RemoteUnreachable) as failed:
        remote.push_results(name)
    assert programs.started == [["dvc", "push", "--run-cache", *words]] * 2
    assert str(failed.value) == f"DVC remote {shown}: not everything was pushed; the next push goes on"


def test_runs_are_committed_in_batches_and_a_refusal_names_the_batch(monkeypatch):
    runs = [Run("rung1", "d1", "cpu", seed, "candidate") for seed in range(3)]
    monkeypatch.setattr(remote, "BATCH", 2)
    monkeypatch.setattr(remote, "find_uncommitted", lambda given: [run for run in given if run.seed != 7])
    programs = Programs(monkeypatch, 0, 0, 0, 1)
    committed = remote.commit_runs([*runs, Run("rung1", "d1", "cpu", 7, "candidate")])
    assert committed == runs
    stages = [run.stage for run in runs]
    batches = [["stages.hosts.dvc_commit", *stages[:2]], ["stages.hosts.dvc_commit", stages[2]]]
    assert programs.started == batches
    with pytest.raises(Refused) as refused:
        remote.commit_runs(runs)
    assert programs.started == batches * 2
    assert str(refused.value) == f"`dvc commit` refused {stages[2]} or one after it; see above"
    assert remote.commit_runs([]) == []
    assert len(programs.started) == 4


def test_a_run_without_a_dvc_lock_is_not_committed(judged):
    runs = runs_of(judged, "rung1")
    assert not any(run.lock_path.exists() for run in runs)
    assert remote.find_uncommitted(runs) == runs


def test_only_whole_digests_at_the_end_of_a_line_are_those_of_a_lock(tmp_path):
    lock = tmp_path / "dvc.lock"
    assert remote._read_digests(lock) == set()
    lines = [f"      md5: {'a' * 32}", f"      md5: {'b' * 32}.dir", f"      md5: {'c' * 31}", f"    md5: {'d' * 32}"]
    lock.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert remote._read_digests(lock) == {"a" * 32, "d" * 32}


def test_a_committed_rung_needs_all_of_its_runs_and_its_decision(judged, monkeypatch):
    runs = runs_of(judged, "rung1")
    decision = remote.md5_bytes(names.decision_path("gate1").read_bytes())
    asked: list[list[Run]] = []
    missing: list[Run] = []
    monkeypatch.setattr(remote, "find_uncommitted", lambda given: asked.append(list(given)) or missing)
    lock = names.pipeline_folder("rung1") / "dvc.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(f"md5: {decision}\n", encoding="utf-8")
    assert remote.is_committed("rung1", runs) is True
    missing.append(runs[0])
    assert remote.is_committed("rung1", runs) is False
    missing.clear()
    lock.write_text(f"md5: {'0' * 32}\n", encoding="utf-8")
    assert remote.is_committed("rung1", runs) is False
    assert asked == [runs] * 3


@pytest.mark.parametrize(("in_lock", "cached"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_run_is_committed_if_its_record_is_in_the_lock_and_in_the_cache(judged, in_lock, cached):
    run = runs_of(judged, "rung1")[0]
    data = names.record_path(run.id).read_bytes()
    md5 = remote.md5_bytes(data)
    run.lock_path.parent.mkdir(parents=True, exist_ok=True)
    run.lock_path.write_text(f"md5: {md5 if in_lock else '0' * 32}\n", encoding="utf-8")
    if cached:
        path = Path(".dvc/cache/files/md5") / md5[:2] / md5[2:]
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    assert remote.find_uncommitted([run]) == ([] if in_lock and cached else [run])
