"""A process that imports torch once and forks for every run, where the system can fork.

    with ForkServer() as server:
        server.start(run.command, log, load=True).wait()

A run spends about 1.5 s on starting Python and importing torch, and a short run no more than that on training. The
server is one process with one thread and starts no thread of its own; it has imported what a run imports and computed
nothing, so a forked run does what `python -m stages.run` would, and writes the same bytes. Runs on a GPU, and runs on
systems other than Linux, start alone: `serves` says for which runs it can be used.

It ends with the process that started it, and its runs end with it.
"""

from __future__ import annotations

import json
import os
import runpy
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import psutil

from stages.domain.command import CommandSettings
from stages.domain.study import Study
from stages.hosts import processes
from stages.runners.process_tree import identify

POLL_SECONDS = 0.02


def can_fork() -> bool:
    """Whether a process that has imported torch may be forked here: on Linux (macOS was not tried)."""
    return sys.platform == "linux"


def serves(study: Study, host: str) -> bool:
    """Whether runs of a host block may be forked: on Linux, on the CPU, without the compiler, by the built-in runner.

    The compiler has processes of its own, a driver of a GPU does not survive a fork, and a command is its own process.
    """
    block = study.hosts[host]
    return can_fork() and block.device == "cpu" and not block.compile and not isinstance(study.runner, CommandSettings)


class ForkedRun:
    """A run that the server was asked for; the part of `subprocess.Popen` that is used of it."""

    def __init__(self, server: subprocess.Popen[bytes]) -> None:
        self._server = server
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, None while it runs. A server that ended took its run with it."""
        assert self._server.stdout is not None
        if self.returncode is None and select.select([self._server.stdout], [], [], 0)[0]:
            line = self._server.stdout.readline()
            self.returncode = int(line) if line else processes.ORPHANED
        return self.returncode

    def wait(self) -> int:
        """The exit status, when the run has ended."""
        while self.poll() is None:
            time.sleep(POLL_SECONDS)
        assert self.returncode is not None
        return self.returncode


class ForkServer:
    """The server, started with the first run. One run at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, arguments: list[str], log: Path, load: bool) -> ForkedRun:
        """Start `python ARGUMENTS` (-m MODULE ...), its output appended to `log`; `load` imports the trainer before."""
        if self._process is None or self._process.poll() is not None:
            self._process = processes.start_child(["-m", "stages.hosts.fork_server"], pipe=True)
        assert self._process.stdin is not None
        request = {"arguments": arguments, "log": str(log), "load": load}
        self._process.stdin.write(json.dumps(request).encode("utf-8") + b"\n")
        self._process.stdin.flush()
        return ForkedRun(self._process)

    def close(self) -> None:
        """End the server, and with it a run that has not ended."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


def _run(arguments: list[str], log: str, parent: str) -> None:
    """In the child: become `python ARGUMENTS`. Does not return."""
    status = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        empty = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((empty, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
        os.environ[processes.VARIABLE] = parent
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        if isinstance(end.code, int | None):
            status = end.code or 0
        else:  # what is no number is a message, as the interpreter takes it
            print(end.code, file=sys.stderr)
    except BaseException:  # as the interpreter would, at the end of a program
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _serve() -> None:
    """Fork for each request that comes in, and answer with the exit status; end with the process that asks."""
    identity = identify(psutil.Process())
    requests, answers = sys.stdin.buffer, os.dup(1)
    os.dup2(2, 1)  # what anything prints by mistake is no answer
    while line := requests.readline():
        request = json.loads(line)
        if request["load"]:
            from stages.runners.builtin import BuiltinRunner

            BuiltinRunner().load()
        child = os.fork()
        if child == 0:
            os.close(answers)
            _run(request["arguments"], request["log"], identity)
        os.write(answers, b"%d\n" % _wait(child))


def _wait(child: int) -> int:
    """The exit status of the child; it is killed when the process that asked has ended."""
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if select.select([0], [], [], POLL_SECONDS)[0]:  # no request comes while a run is not answered: it is the end
            os.kill(child, signal.SIGKILL)
            os._exit(processes.ORPHANED)


if __name__ == "__main__":
    _serve()
