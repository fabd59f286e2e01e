"""What the tests of hosts share: a judged study without training, and processes that end with their test."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages.domain.study import Study
from stages.hosts.cluster import Cluster, create_cluster
from tests.support import synthetic
from tests.support.repo import Repo, environment

PATIENCE = 240.0
#: Starts `promotion WORDS` in a clone, what it prints going to a log.
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(scope="session")
def judged_source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study]:
    """A judged study to copy, and where it lies."""
    root = tmp_path_factory.mktemp("judged") / "study"
    return root, synthetic.build(root, synthetic.params(6, 2))


@pytest.fixture
def judged(judged_source: tuple[Path, Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Six configurations, two hosts, five rungs, all done and judged; the test stands in its folder."""
    root, study = judged_source
    shutil.copytree(root, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    return study


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `promotion WORDS` in a clone; whatever still runs when the test ends is killed, and the watchdog ends the rest."""
    started: list[subprocess.Popen[bytes]] = []

    def start(repo: Repo, log: Path, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "stages.cli", *words]
        with log.open("ab") as output:
            started.append(subprocess.Popen(command, cwd=repo.root, env=environment(), stdout=output, stderr=output))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The certificates of a cluster."""
    return create_cluster(tmp_path_factory.mktemp("clusters") / "ours")


def wait_for(pattern: str, log: Path, process: subprocess.Popen[bytes]) -> str:
    """The first match of a pattern in the log of a process, which must live until it comes."""
    end = time.monotonic() + PATIENCE
    while True:
        ended = process.poll() is not None
        text = log.read_text(encoding="utf-8")
        if found := re.search(pattern, text, re.MULTILINE):
            return found[0]
        assert not ended, f"ended without {pattern!r}: {text}"
        assert time.monotonic() < end, f"{pattern!r} never came: {text}"
        time.sleep(0.05)
