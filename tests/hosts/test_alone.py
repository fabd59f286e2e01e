"""One process at a time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stages.hosts.alone import Busy, alone
from tests.support.repo import PROJECT

HOLD = "from stages.hosts.alone import alone\nwith alone('a/b', 'x'): print('held', flush=True); sys.stdin.read()"


def holder(folder) -> subprocess.Popen[bytes]:
    code = f"import sys; sys.path.insert(0, {str(PROJECT)!r}); {HOLD}"
    child = subprocess.Popen([sys.executable, "-c", code], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline().strip() == b"held"
    return child


def test_a_second_process_is_told_who_is_at_it_and_a_dead_one_holds_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    child = holder(tmp_path)
    told = r"scratch/locks/a\.b\.lock: held by another process of this clone: it is trained"
    with pytest.raises(Busy, match=told), alone("a/b", "it is trained"):
        pytest.fail("two at a time")
    with alone("a/c", "another thing"):
        pass
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    with alone("a/b", "it is trained", wait=5):
        pass
