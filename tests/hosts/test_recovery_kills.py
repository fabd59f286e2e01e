"""A study that is killed at any moment goes on with one command and ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from stages.hosts import recovery
from stages.hosts.processes import is_alive
from tests.hosts.conftest import PATIENCE
from tests.support import forks
from tests.support.repo import Repo, environment

#: So many kills, wherever they fit in; without it as many as fit into this time.
KILLS = int(os.environ.get("STAGED_PROMOTION_KILLS", "0"))
KILL_SECONDS = 45.0
#: Seconds for a whole smoke study, however busy the machine is.
REPRO_SECONDS = 3000.0
#: DVC is killed within so many times the seconds of its start here, long enough for a rung.
STARTS = 3.0


def copy_unrun(smoke: Repo, root: Path) -> Repo:
    """The smoke study at the commit that froze its rules, with its text and without anything that has run."""
    smoke.git("clone", "-q", str(smoke.root), str(root))
    study = Repo(root)
    study.git("checkout", "-q", "-B", "main", "HEAD~1")
    shutil.copytree(smoke.root / ".dvc" / "cache" / "files", root / ".dvc" / "cache" / "files")
    shutil.copytree(smoke.root / "artifacts" / "corpus", root / "artifacts" / "corpus")
    return study


def list_processes(study: Repo) -> list[psutil.Process]:
    """Whatever runs in a study's folder."""
    processes = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(study.root.resolve()) and is_alive(process):
                processes.append(process)
        except (psutil.Error, OSError):
            continue
    return processes


def is_dvc(process: psutil.Process) -> bool:
    try:
        return recovery.is_dvc_command(process.cmdline())
    except psutil.Error:  # it has ended
        return False


def kill_some(study: Repo, chance: random.Random) -> None:
    """Kill DVC alone, or what it runs alone, or both."""
    victims = list_processes(study)
    dvc = [process for process in victims if is_dvc(process)]
    others = [process for process in victims if process not in dvc]
    for process in chance.choice([dvc, others, victims]) or victims:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def repeat_with_kills(study: Repo, chance: random.Random, log: Path, kills: int, end: float) -> int:
    """Start `dvc repro` until it ends well, and kill it at random moments meanwhile; the number of kills."""
    killed, begin = 0, time.monotonic()
    study.dvc("repro", "protocol")
    longest = STARTS * (time.monotonic() - begin)
    while True:
        before = killed
        with (
            log.open("wb") as output,
            subprocess.Popen(
                [forks.python(), "-m", "dvc", "repro", "ledger"],
                cwd=study.root,
                env=environment() | forks.variables(),
                stdout=output,
                stderr=output,
            ) as process,
        ):
            status = None
            while status is None:  # what was killed may have been a run of an earlier start, and DVC goes on
                goes_on = killed < kills if KILLS else time.monotonic() < end
                try:
                    status = process.wait(chance.uniform(0.0, longest) if goes_on else REPRO_SECONDS)
                except subprocess.TimeoutExpired:
                    assert goes_on, log.read_text(encoding="utf-8")
                    kill_some(study, chance)
                    killed += 1
                    if process.poll() is None and not chance.randrange(2):
                        process.kill()
        wait_until_idle(study, is_dvc)
        text = log.read_text(encoding="utf-8")
        assert "rwlock" not in text.lower() and "dvc.lock' is" not in text, text
        if status == 0:
            return killed
        if killed == before:  # a run that outlived its DVC still trains
            assert "held by another process of this clone" in text or "failed to reproduce" in text, text
            wait_until_idle(study)
        study.promotion("heal")


def wait_until_idle(study: Repo, counts: Callable[[psutil.Process], bool] = is_alive) -> None:
    """Wait until no process that counts runs in the study's folder."""
    end = time.monotonic() + PATIENCE
    while processes := list(filter(counts, list_processes(study))):
        assert time.monotonic() < end, processes
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(900 + 120 * KILLS)
def test_a_study_that_is_killed_at_random_moments_ends_with_the_undisturbed_ledger(smoke, tmp_path):
    chance, total, end = random.Random(20261125), 0, time.monotonic() + KILL_SECONDS
    for number in range(1000):
        study = copy_unrun(smoke, tmp_path / str(number))
        total += repeat_with_kills(study, chance, tmp_path / "log", KILLS - total, end)
        wait_until_idle(study)
        for name in ("runs.jsonl", "decisions.jsonl"):
            assert (study.root / "ledger" / name).read_bytes() == (smoke.root / "ledger" / name).read_bytes()
        assert list(study.root.rglob("*.part")) == []
        if total >= KILLS if KILLS else time.monotonic() > end:
            break
    assert total > 0
    print(f"{total} kills")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["heal", "status"])
def test_after_a_kill_one_command_lets_dvc_start_again(study, command):
    rwlock = study.root / recovery.RWLOCK
    rwlock.parent.mkdir(parents=True, exist_ok=True)
    rwlock.write_bytes(b"")
    assert study.dvc("repro", "protocol", check=False).returncode != 0, "DVC itself refuses"
    healed = study.promotion(command)
    assert ".dvc/tmp/rwlock: left half-written by a process that was killed; removed" in healed.stderr
    study.dvc("repro", "protocol")
    assert "nothing was left half-written" in study.promotion("heal").stdout
