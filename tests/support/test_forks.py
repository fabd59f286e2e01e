"""A forked command is the command: what it sees, prints, ends with, and who stands above it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from stages.hosts.recovery import is_dvc_command
from tests.support import forks
from tests.support.repo import PROJECT, Repo, environment

pytestmark = pytest.mark.skipif(forks.start_server() is None, reason="commands are forked on Linux alone")
#: Becomes the module `job` of the folder.
JOB = ("-m", "stages.hosts.processes", "-m", "job", "word")
SEES = """\
import json, os, psutil, sys
print(json.dumps({
    "folder": os.getcwd(), "path": sys.path[0], "arguments": [*sys.argv, *sys.orig_argv], "variables": dict(os.environ),
    "processors": sorted(os.sched_getaffinity(0)), "input": sys.stdin.read(), "python": sys.executable, "shown": [word for word in psutil.Process().cmdline() if word], "forked": "torch" in sys.modules,
    "parents": [[word for word in parent.cmdline() if word] for parent in psutil.Process().parents()],
    "stages": sys.modules["stages"].__file__,
}))
"""


def make_repo(root: Path, code: str, *, alone: bool = False) -> Repo:
    root.mkdir(exist_ok=True)
    (root / "job.py").write_text(code, encoding="utf-8")
    return Repo(root, alone=alone)


def look(repo: Repo) -> dict[str, object]:
    return json.loads(repo.python(*JOB).stdout)


def test_it_sees_what_a_process_of_its_own_sees(tmp_path):
    forked, alone = (look(make_repo(tmp_path, SEES, alone=alone)) for alone in (False, True))
    assert forked.pop("parents") != alone.pop("parents")
    assert (forked.pop("forked"), alone.pop("forked")) == (True, False)
    assert (forked.pop("python"), alone.pop("python")) == (forks.python(), sys.executable)
    assert forked["variables"].pop(forks.VARIABLE)
    assert forked == alone


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("print('said')", 0),
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit(True)", 1),
        ("import sys; print('said'); sys.exit('no')", 1),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("import os; os.abort()", -signal.SIGABRT),
        ("import atexit; atexit.register(print, 'at the end'); print('said')", 0),
        ("import threading, time; threading.Thread(target=lambda: (time.sleep(0.2), print('late'))).start()", 0),
    ],
)
def test_it_ends_and_prints_as_a_process_of_its_own_does(tmp_path, code, status):
    forked, alone = (make_repo(tmp_path, code, alone=alone).python(*JOB, check=False) for alone in (False, True))
    assert (forked.returncode, forked.stdout, forked.stderr) == (alone.returncode, alone.stdout, alone.stderr)
    assert forked.returncode == status


def test_an_error_is_told_with_its_traceback(tmp_path):
    done = make_repo(tmp_path, "1 / 0").python(*JOB, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback") and done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_code_that_was_changed_runs_as_it_stands_in_the_folder(tmp_path):
    repo = make_repo(tmp_path, SEES)
    for name in forks.OURS:
        for file, path in forks.list_code(PROJECT / name).items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_bytes(path.read_bytes())
    assert look(repo)["forked"]
    repo.replace("trainer/__init__.py", '"""', '"""Other words. ')
    assert not look(repo)["forked"]
    assert look(repo)["stages"] == str(tmp_path / "stages" / "__init__.py")


def test_another_setting_of_python_and_other_processors_are_those_of_the_command(tmp_path, monkeypatch):
    repo = make_repo(tmp_path, SEES)
    monkeypatch.setenv("PYTHONHASHSEED", "4711")
    assert not look(repo)["forked"]
    monkeypatch.delenv("PYTHONHASHSEED")
    usual = os.sched_getaffinity(0)
    if len(usual) > 1:
        os.sched_setaffinity(0, {min(usual)})
        try:
            seen = look(repo)
        finally:
            os.sched_setaffinity(0, usual)
        assert (seen["processors"], seen["forked"]) == ([min(usual)], False)


def test_what_dvc_starts_is_forked_too_and_has_dvc_above_it(tmp_path):
    repo = make_repo(tmp_path, SEES)
    repo.git("init", "-q")
    repo.dvc("init", "-q")
    stage = f"stages:\n  look:\n    cmd: python {' '.join(JOB)} > seen.json\n    outs: [seen.json]\n"
    (tmp_path / "dvc.yaml").write_text(stage, encoding="utf-8")
    repo.dvc("repro")
    seen = json.loads((tmp_path / "seen.json").read_text(encoding="utf-8"))
    assert seen["forked"]
    assert any(map(is_dvc_command, seen["parents"]))


def test_what_a_command_starts_is_forked_too(tmp_path):
    code = "import json, subprocess, sys; print(subprocess.check_output([sys.executable, *sys.argv[2:]], text=True))"
    repo = make_repo(tmp_path, code)
    (tmp_path / "other.py").write_text(SEES, encoding="utf-8")
    done = repo.python(*JOB, "-m", "stages.hosts.processes", "-m", "other")
    assert json.loads(done.stdout)["forked"]


def test_a_command_ends_with_the_client_that_asked_for_it(tmp_path):
    repo = make_repo(tmp_path, "import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    words, variables = [forks.python(), *JOB], environment() | forks.variables()
    with subprocess.Popen(words, cwd=repo.root, env=variables, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        command = psutil.Process(int(client.stdout.readline()))
        assert command.pid != client.pid
        client.kill()
        command.wait(20)


def test_without_its_server_the_client_is_python(tmp_path):
    words, variables = [forks.python(), "-c", "import sys; print(sys.argv, sys.executable)", "a"], environment()
    done = subprocess.run(words, env=variables, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == f"['-c', 'a'] {sys.executable}\n"


def test_the_address_of_a_killed_process_can_be_taken_by_the_next_one_of_its_number(tmp_path):
    """Numbers of processes come again, every 32,768 of them."""
    for _ in range(2):
        server = forks.Server(str(tmp_path / "0"), str(tmp_path))
        assert (tmp_path / "0").is_socket()
        server.listener.close()
