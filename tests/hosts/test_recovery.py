"""What a killed process leaves half-written is removed, and nothing else: no whole file, and nothing of a living DVC."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from stages.domain import files
from stages.hosts import recovery


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which the test stands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    return tmp_path


LOCK = """\
schema: '2.0'
stages:
  run@d1-a-cpu-1:
    cmd: python -m stages.run rung1 d1-a cpu 1
    outs:
    - path: artifacts/records/rung1/d1-a/cpu/1.json
      hash: md5
      md5: 5020de8010eabc588cef891c1707d3f1
      size: 1462
  gate:
    cmd: python -m stages.gate rung1
    outs:
    - path: artifacts/gates/gate1/decision.json
      hash: md5
      md5: c6b7413c018d1d314f7b7ddd0edebc79
      size: 99
"""


@pytest.mark.parametrize("length", range(0, len(LOCK), 7))
def test_a_lock_that_ends_anywhere_but_behind_a_stage_is_removed(tmp_path, monkeypatch, length):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "stages/ladder/rung1/d1-a/dvc.lock"
    path.parent.mkdir(parents=True)
    path.write_text(LOCK[:length], encoding="utf-8")
    kept = LOCK[:length].endswith(("f1\n", "size: 1462\n", "79\n"))
    assert recovery.remove_broken_files() == ([] if kept else [path.relative_to(tmp_path)])
    assert path.exists() is kept


def test_a_whole_lock_stays_and_a_half_written_rwlock_goes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.lock").write_text(LOCK, encoding="utf-8")
    rwlock = tmp_path / ".dvc" / "tmp" / "rwlock"
    rwlock.parent.mkdir(parents=True)
    rwlock.write_text('{"read": {}, "write": {}}', encoding="utf-8")
    assert recovery.remove_broken_files() == []
    rwlock.write_text('{"read": {}, "wr', encoding="utf-8")
    assert [path.as_posix() for path in recovery.remove_broken_files()] == [".dvc/tmp/rwlock"]
    assert (tmp_path / "dvc.lock").exists()


def format_rwlock(pid: int) -> str:
    info = {"pid": pid, "cmd": "dvc repro"}
    return json.dumps({"write": {"/study/artifacts/protocol": info}, "read": {"/study/params.yaml": [info]}})


@pytest.mark.skipif(os.name != "posix", reason="only there are the dead kept until somebody asks")
def test_what_a_dead_dvc_held_is_free_even_where_nobody_has_reaped_it_yet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rwlock = tmp_path / ".dvc" / "tmp" / "rwlock"
    rwlock.parent.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:  # Popen has not asked for its status
            time.sleep(0.01)
        rwlock.write_text(format_rwlock(child.pid), encoding="utf-8")
        recovery.remove_broken_files(wait=20.0)
        assert not rwlock.exists()
    rwlock.write_text(format_rwlock(child.pid), encoding="utf-8")
    recovery.remove_broken_files()
    assert not rwlock.exists()


def test_what_a_living_process_holds_stays_and_a_dying_one_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rwlock = tmp_path / ".dvc" / "tmp" / "rwlock"
    rwlock.parent.mkdir(parents=True)
    rwlock.write_text(format_rwlock(os.getpid()), encoding="utf-8")
    recovery.remove_broken_files()
    assert rwlock.exists()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.5)"]) as child:
        rwlock.write_text(format_rwlock(child.pid), encoding="utf-8")
        recovery.remove_broken_files(wait=20.0)
        assert not rwlock.exists()


@pytest.fixture
def dvc(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the folder that looks like a DVC at work."""
    command = [sys.executable, "-c", "print('up', flush=True); input()", "-m", "dvc", "repro"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline().strip() == b"up"
        yield process
        process.kill()


def test_nothing_is_removed_while_a_dvc_is_at_work_here(folder, dvc):
    """It may just be writing what looks cut off."""
    (folder / "dvc.lock").write_bytes(LOCK.encode()[:100])
    recovery.RWLOCK.write_bytes(b"")
    assert recovery.remove_broken_files() == []
    assert (folder / "dvc.lock").exists() and recovery.RWLOCK.exists()
    dvc.kill()
    dvc.wait()
    assert recovery.remove_broken_files() == [Path("dvc.lock"), recovery.RWLOCK]


def test_a_dvc_in_another_folder_is_no_matter(folder, dvc, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("another"))
    Path("dvc.lock").write_bytes(b"")
    assert recovery.remove_broken_files() == [Path("dvc.lock")]


@pytest.mark.parametrize(
    "command",
    [
        ["/study/.venv/bin/python", "/study/.venv/bin/dvc", "repro"],
        ["dvc", "repro"],
        ["python", "-m", "stages.hosts.processes", "-m", "dvc", "repro"],
        ["C:/study/.venv/Scripts/DVC.EXE", "repro"],
    ],
)
def test_dvc_is_known_by_its_command_however_it_was_started(command):
    assert recovery.is_dvc_command(command) is True


@pytest.mark.parametrize(
    "command", [[], ["vim", "dvc.lock"], ["python", "-m", "stages.run", "dvc"], ["less", "x", "dvc"]]
)
def test_what_only_names_dvc_is_no_dvc(command):
    assert recovery.is_dvc_command(command) is False


@pytest.mark.parametrize(
    "text",
    [
        LOCK.replace("  gate:\n", "<<<<<<< HEAD\n  gate:\n=======\n>>>>>>> theirs\n  gate:\n"),
        LOCK + "  a-teams-own-check:\n    cmd: make check\n",
        LOCK.replace("\n", "\r\n"),
    ],
)
def test_a_lock_with_a_conflict_and_one_with_a_stage_of_a_team_are_left_alone(folder, text):
    (folder / "dvc.lock").write_bytes(text.encode())
    assert recovery.remove_broken_files() == []
    assert (folder / "dvc.lock").read_bytes() == text.encode()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"read": {}}x', "\0"])
def test_an_rwlock_that_dvc_could_not_read_is_removed(folder, text):
    recovery.RWLOCK.write_text(text, encoding="utf-8")
    assert recovery.remove_broken_files() == [recovery.RWLOCK]


def find_free_pid() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    return child.pid


def test_what_a_killed_process_was_writing_goes_and_what_a_living_one_writes_stays(folder):
    records = folder / "artifacts" / "records" / "rung1"
    records.mkdir(parents=True)
    dead = [records / f".1.json.{find_free_pid()}.part", folder / "artifacts" / f".corpus.{find_free_pid()}.part"]
    dead[0].write_text("{", encoding="utf-8")
    dead[1].mkdir()
    (dead[1] / "text.bin").write_text("x", encoding="utf-8")
    kept = [records / f".2.json.{os.getpid()}.part", records / "a.part", records / "1.json"]
    for path in kept:
        path.write_text("{", encoding="utf-8")
    assert {path.resolve() for path in recovery.heal()} == {path.resolve() for path in dead}
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in dead)


def test_a_process_that_has_the_id_of_a_dead_one_by_now_is_another(folder):
    part = folder / f".1.json.{os.getpid()}.part"
    part.write_text("{", encoding="utf-8")
    long_ago = psutil.Process().create_time() - 3600
    os.utime(part, (long_ago, long_ago))
    assert files.is_abandoned(part)


def test_a_file_that_is_written_again_takes_the_place_of_what_was_left(folder):
    for pid in (find_free_pid(), find_free_pid()):
        (folder / f".1.json.{pid}.part").write_text("{", encoding="utf-8")
    (folder / f".2.json.{find_free_pid()}.part").write_text("{", encoding="utf-8")
    files.write_whole(folder / "1.json", b"{}")
    assert (folder / "1.json").read_bytes() == b"{}"
    assert [path.name.split(".")[1] for path in folder.glob(".*part")] == ["2"]


class Clock:
    """A clock that moves only while somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.sleeps = 100.0, list[float]()
        monkeypatch.setattr(recovery, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep))

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.mark.parametrize(("wait", "looks", "holds"), [(0.0, 1, False), (0.25, 4, False), (0.25, 3, True)])
def test_a_condition_is_looked_at_ten_times_a_second_until_the_wait_is_over(monkeypatch, wait, looks, holds):
    clock, answers = Clock(monkeypatch), iter([False] * (looks - 1) + [holds])
    assert recovery._wait_until(lambda: next(answers), wait) is holds
    assert clock.sleeps == [0.1] * (looks - 1)
    assert next(answers, None) is None


def test_a_dvc_that_ends_while_it_is_waited_for_is_no_dvc_at_work(folder, monkeypatch):
    Clock(monkeypatch)
    (folder / "dvc.lock").write_bytes(b"")
    looks = iter([[4711], [4711], []])
    monkeypatch.setattr(recovery, "_find_dvc_processes", lambda: iter(next(looks)))
    assert recovery.heal(wait=1.0) == [Path("dvc.lock")]
    assert not (folder / "dvc.lock").exists()


def test_what_somebody_else_removes_meanwhile_is_removed(folder, monkeypatch):
    part = folder / "artifacts" / f".1.json.{find_free_pid()}.part"
    part.parent.mkdir()
    part.write_bytes(b"{")
    for path in (folder / "dvc.lock", folder / recovery.RWLOCK):
        path.write_bytes(b"")

    def look(wait: float) -> bool:
        (folder / "dvc.lock").unlink()
        recovery.RWLOCK.unlink()
        return False

    monkeypatch.setattr(recovery, "_is_dvc_running", look)
    monkeypatch.setattr(recovery, "is_abandoned", lambda path: path.unlink() is None)
    assert recovery.heal() == [Path("dvc.lock"), recovery.RWLOCK, part.relative_to(folder)]


def test_an_rwlock_that_its_dead_holder_takes_along_is_gone(folder, monkeypatch):
    recovery.RWLOCK.write_text(format_rwlock(4711), encoding="utf-8")
    monkeypatch.setattr(recovery, "_is_pid_alive", lambda pid: recovery.RWLOCK.unlink() is not None)
    assert recovery.heal() == []
    assert not recovery.RWLOCK.exists()


@pytest.mark.parametrize("living", [4711, 4712])
def test_an_rwlock_stays_as_long_as_one_of_its_holders_lives_and_is_waited_for(folder, monkeypatch, living):
    clock = Clock(monkeypatch)
    text = json.dumps({"write": {"a": {"pid": 4711}}, "read": {"b": [{"pid": 4712}]}})
    recovery.RWLOCK.write_text(text, encoding="utf-8")
    monkeypatch.setattr(recovery, "_is_pid_alive", lambda pid: pid == living)
    assert recovery.heal(wait=0.15) == []
    assert recovery.RWLOCK.read_text(encoding="utf-8") == text
    assert clock.sleeps == [0.1, 0.1]


def test_an_rwlock_without_holders_stays_and_nobody_is_waited_for(folder, monkeypatch):
    clock = Clock(monkeypatch)
    recovery.RWLOCK.write_text('{"read": {}}', encoding="utf-8")
    assert recovery.heal(wait=5.0) == []
    assert recovery.RWLOCK.exists() and clock.sleeps == []
    recovery.RWLOCK.unlink()
    assert recovery._read_rwlock() == "{}"
    assert recovery.heal() == []


def test_an_rwlock_that_is_nested_too_deep_is_cut_off_too(folder):
    recovery.RWLOCK.write_text("[" * 200_000, encoding="utf-8")
    assert recovery.remove_broken_files() == [recovery.RWLOCK]


def test_whether_a_process_lives_is_asked_of_the_system(monkeypatch):
    assert recovery._is_pid_alive(os.getpid()) is True
    assert recovery._is_pid_alive(find_free_pid()) is False


class FakeProcess:
    """An entry in the list of processes; `failure` is what the question for its folder raises."""

    def __init__(self, pid: int, *words: str, cwd: Path, failure: Exception | None = None, alive: bool = True) -> None:
        self.pid, self.words, self.folder, self.failure, self.alive = pid, list(words), cwd, failure, alive

    def cmdline(self) -> list[str]:
        return self.words

    def is_running(self) -> bool:
        return self.alive

    def status(self) -> str:
        return psutil.STATUS_RUNNING

    def cwd(self) -> str:
        if self.failure:
            raise self.failure
        return str(self.folder)


def test_a_dvc_counts_if_it_runs_here_or_nobody_may_know_where(folder, monkeypatch):
    repro = ("python", "-m", "dvc", "repro")
    (folder / "below").mkdir()
    each = [
        FakeProcess(1, *repro, cwd=folder),
        FakeProcess(2, *repro, cwd=folder / "below"),
        FakeProcess(3, *repro, cwd=folder.parent),
        FakeProcess(4, *repro, cwd=folder, failure=psutil.AccessDenied(4)),
        FakeProcess(5, *repro, cwd=folder, failure=psutil.NoSuchProcess(5)),
        FakeProcess(6, *repro, cwd=folder, failure=FileNotFoundError(2, "gone")),
        FakeProcess(7, *repro, cwd=folder, alive=False),
        FakeProcess(8, "python", "-m", "pytest", cwd=folder),
        FakeProcess(9, "dvc", "pull", cwd=folder),
    ]
    monkeypatch.setattr(psutil, "process_iter", lambda: iter(each))
    assert list(recovery._find_dvc_processes()) == [1, 2, 4, 9]
    assert recovery._is_dvc_running(0.0) is True
    each[:] = each[2:3]
    assert recovery._is_dvc_running(0.0) is False


def test_every_dvc_lock_of_the_ladder_is_looked_at_and_no_other_one(folder):
    paths = ("dvc.lock", "stages/ladder/rung1/d1/dvc.lock", "stages/ladder/rung1/dvc.lock", "elsewhere/dvc.lock")
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"schema:")
    assert recovery.heal() == [Path(path) for path in paths[:3]]
    assert [Path(path).exists() for path in paths] == [False, False, False, True]


@pytest.mark.parametrize("top", ["artifacts", "ledger", "locks", "scratch", "stages"])
def test_what_was_being_written_goes_wherever_this_project_writes(folder, top):
    pid = find_free_pid()
    inner = folder / top / "deep" / f".folder.{pid}.part"
    (inner / f".inner.{pid}.part").mkdir(parents=True)
    parts = [inner, folder / top / "deep" / f".b.{pid}.part", folder / top / f".a.{pid}.part"]
    for path in (*parts[1:], folder / top / "deep" / "kept.txt", folder / f".outside.{pid}.part"):
        path.write_bytes(b"x")
    assert recovery.heal() == sorted(path.relative_to(folder) for path in parts)
    assert not any(path.exists() for path in parts)
    assert (folder / top / "deep" / "kept.txt").exists()
    assert (folder / f".outside.{pid}.part").exists()


@pytest.mark.parametrize(
    ("change", "whole"),
    [
        (("", ""), True),
        (("  gate:\n", "  'gate':\n"), True),
        (("  gate:\n", '  "run@a-1":\n'), True),
        (("      md5: c6b7413c018d1d314f7b7ddd0edebc79\n", "      md5: c6b7413c018d1d314f7b7ddd0edebc79.dir\n"), True),
        (("      md5: c6b7413c018d1d314f7b7ddd0edebc79\n", "      md5: c6b7413c018d1d314f7b7ddd0edebc7\n"), False),
        (("      md5: c6b7413c018d1d314f7b7ddd0edebc79\n", ""), False),
        (("    - path: artifacts/gates/gate1/decision.json\n", "    - path: a\n    - path: b\n"), False),
        (("    outs:\n    - path: artifacts/gates", "    - path: artifacts/gates"), False),
        (("      size: 99\n", "      size: 99"), False),
    ],
)
def test_a_lock_is_whole_if_every_output_of_its_last_stage_has_a_digest(folder, change, whole):
    path = folder / "dvc.lock"
    path.write_text(LOCK.replace(*change), encoding="utf-8")
    assert recovery._is_whole_lock(path) is whole


def test_an_rwlock_of_dead_processes_goes_although_a_dvc_is_at_work_if_nothing_is_broken(folder, monkeypatch):
    monkeypatch.setattr(recovery, "_find_dvc_processes", lambda: pytest.fail("nobody has to be looked for"))
    monkeypatch.setattr(recovery, "_is_pid_alive", lambda pid: False)
    recovery.RWLOCK.write_text(format_rwlock(4711), encoding="utf-8")
    assert recovery.heal() == []
    assert not recovery.RWLOCK.exists()
