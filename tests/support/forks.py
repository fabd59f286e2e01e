"""A server that has imported what the commands of a study import, and forks for each: a test pays for no import twice.

    subprocess.run([forks.python(), "-m", "dvc", "repro"], env=environment() | forks.variables())

Starting Python and importing costs a command 0.2 to 0.5 s and a trained run 1.4 s, many times what most of them do in a
test. The client is a small program in the place of `python`: it hands its arguments, folder, environment and standard
streams to the server, waits, and ends as the command ended; where the client is killed, so is the command.

A fork does what a process of its own would: it has imported modules and called none of them, and where anything is not
as it was when the server started - the code in the study's folder, Python's variables, the processors allowed - or the
module is not one of this project's or DVC, it becomes `python ARGUMENTS` by `exec`. What a fork starts as
`sys.executable` is forked too; a DVC has a server of its own for what it starts as `python`, so that it stands among the
parents of its runs as it does everywhere, and each shows its own words in the list of processes. On other systems than
Linux every command is a process from the start.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import marshal
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

PROJECT = Path(__file__).resolve().parents[2]
OURS = ("stages", "trainer", "report")
#: What DVC and the modules of this project import once they know what is asked of them.
LATE = (
    "dvc.cachemgr",
    "dvc.cli.parser",
    "dvc.commands.experiments.run",
    "dvc.data_cloud",
    "dvc.repo.graph",
    "dvc.repo.reproduce",
    "dvc.repo.trie",
    "dvc.rwlock",
    "dvc.stage.run",
    "dvc.utils.strictyaml",
    "dvc_data.hashfile.status",
    "dvc_data.index.checkout",
    "networkx",
    "scipy.stats",
    "scmrepo.git",
    "statsmodels.regression.linear_model",
    "statsmodels.stats.multitest",
    "statsmodels.stats.power",
    "torch",
)
#: Where the server listens.
VARIABLE = "STAGED_PROMOTION_FORKS"
#: Room in the server's own arguments for those of a fork.
TITLE_BYTES = 2000
PR_SET_PDEATHSIG = 1
#: The code that the server has imported: its packages, their files, when each was changed and what it holds.
CODE: dict[str, dict[str, tuple[int, bytes]]] = {}

CLIENT = """\
#!{python} -IS
import _socket, marshal, os, sys

words = sys.argv[1:]
try:
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    server.connect(os.environ["{variable}"])
except (KeyError, OSError):
    os.execv("{python}", ["{python}", *words])
request = marshal.dumps((words, os.getcwd(), dict(os.environ), sorted(os.sched_getaffinity(0))))
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in range(3))
server.sendmsg([len(request).to_bytes(8, "little")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
server.sendall(request)
status = int(server.recv(16) or -9)
if status < 0:
    os.kill(os.getpid(), -status)
os._exit(status)
"""


@functools.cache
def start_server() -> tuple[str, Path] | None:
    """Start this process's server; its address and the client's path. None where the system has none."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return None
    from tests.support.repo import environment

    folder = Path(tempfile.mkdtemp(prefix="forks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    client = folder / "bin" / "python"
    client.parent.mkdir()
    client.write_text(CLIENT.format(python=sys.executable, variable=VARIABLE), encoding="utf-8")
    client.chmod(0o700)
    address = str(folder / "0")
    words = [sys.executable, "-m", "tests.support.forks", address, str(client.parent), " " * TITLE_BYTES]
    server = subprocess.Popen(
        words, cwd=PROJECT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert server.stdin is not None and server.stdout is not None
    atexit.register(server.kill)
    if server.stdout.read(1) != b"!":  # it listens
        raise RuntimeError(f"`{' '.join(words).strip()}` ended with {server.wait()}")
    return address, client


def python() -> str:
    """What to call in the place of Python."""
    server = start_server()
    return str(server[1]) if server else sys.executable


def variables() -> dict[str, str]:
    """What it has to find among its variables."""
    server = start_server()
    return {VARIABLE: server[0]} if server else {}


class Server:
    """Forks for whoever connects to `address`. `clients` is the folder of the client, which is called `python`."""

    def __init__(self, address: str, clients: str) -> None:
        self.address, self.clients = address, clients
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        Path(address).unlink(missing_ok=True)  # of a process that was killed and had this number
        self.listener.bind(address)
        self.listener.listen(64)

    def serve(self, parent: int | None = None) -> NoReturn:
        """Answer until the other end of `parent`, a pipe, is closed; then kill what still runs, and leave nothing."""
        poll = select.poll()
        for number in filter(None.__ne__, (self.listener.fileno(), parent)):
            poll.register(number, select.POLLIN)
        commands: dict[int, tuple[int, int, socket.socket]] = {}  # by process and by connection
        while True:
            for number, _ in poll.poll():
                if number == parent:
                    for child, _, _ in commands.values():
                        os.kill(child, signal.SIGKILL)
                    shutil.rmtree(Path(self.address).parent, ignore_errors=True)
                    os._exit(0)
                if number == self.listener.fileno():
                    connection = self.listener.accept()[0]
                    child = self._fork(connection)
                    process = os.pidfd_open(child)
                    for key in (process, connection.fileno()):
                        commands[key] = (child, process, connection)
                        poll.register(key, select.POLLIN)
                elif number in commands:
                    child, process, connection = commands[number]
                    if number != process:  # the client has gone
                        os.kill(child, signal.SIGKILL)
                    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                    with contextlib.suppress(OSError):
                        connection.sendall(b"%d" % status)
                    for key in (process, connection.fileno()):
                        poll.unregister(key)
                        del commands[key]
                    os.close(process)
                    connection.close()

    def _fork(self, connection: socket.socket) -> int:
        size, streams, _, _ = socket.recv_fds(connection, 8, 3)
        request = b""
        while len(request) < int.from_bytes(size, "little"):
            request += connection.recv(1 << 20)
        child = os.fork()
        if child == 0:
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            os.closerange(3, 1024)
            become(*marshal.loads(request), self)
        for stream in streams:
            os.close(stream)
        return child


def become(words: list[str], folder: str, variables: dict[str, str], processors: list[int], server: Server) -> NoReturn:
    """In a fork: be `python WORDS` in a folder with these variables, on these processors, and end with its status."""
    status, helper = 1, 0
    try:
        usual = sorted(os.sched_getaffinity(0)) == processors and _pythons(variables) == _pythons(os.environ)
        os.sched_setaffinity(0, processors)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        address = os.environ.pop(VARIABLE)
        if not usual or not _is_known(words):
            os.execv(sys.executable, [sys.executable, *words])
        if ("-m", "dvc") in pairwise(words):
            own = Server(f"{server.address}.{os.getpid()}", server.clients)
            helper = os.fork()
            if helper == 0:
                _end_with_parent()
                own.serve()
            own.listener.close()
            address = own.address
            os.environ["PATH"] = f"{own.clients}{os.pathsep}{os.environ['PATH']}"
        os.environ[VARIABLE] = address
        sys.orig_argv = [sys.executable, *words]
        _show(sys.orig_argv)
        sys.executable = str(Path(server.clients, "python"))
        sys.path[0] = folder
        status = _run(words[1:])
    finally:
        if helper:
            os.kill(helper, signal.SIGKILL)
            os.waitpid(helper, 0)
            Path(f"{server.address}.{os.getpid()}").unlink(missing_ok=True)
        os._exit(status)


def _run(words: list[str]) -> int:
    """What the interpreter does with `-m WORDS`, from the arguments to the end of the program."""
    sys.argv = words
    if not hasattr(sys.modules[words[0]], "__path__"):  # of a package, `__main__` runs, which is not imported
        del sys.modules[words[0]]
    status = 0
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)
    except BaseException:
        status = 1
        sys.excepthook(*sys.exc_info())
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return status & 0xFF


def _pythons(variables: object) -> dict[str, str]:
    return {key: value for key, value in dict(variables).items() if key.startswith("PYTHON")}


def _is_known(words: list[str]) -> bool:
    """Whether the words name a module that a fork has, with the code that it has."""
    if words[:1] != ["-m"] or len(words) < 2:
        return False
    return words[1] == "dvc" or (words[1].partition(".")[0] in OURS and all(map(_is_same, OURS)))


def _is_same(package: str) -> bool:
    """Whether a package in this folder is the one that was imported, to the byte; or is not there."""
    if not Path(package).is_dir():
        return True
    here, imported = list_code(Path(package)), CODE[package]
    return here.keys() == imported.keys() and all(
        path.stat().st_mtime_ns == mtime or path.read_bytes() == data
        for path, (mtime, data) in ((here[name], imported[name]) for name in here)
    )


def list_code(package: Path) -> dict[str, Path]:
    """The files of a package that a study does not write itself, by their names in it."""
    paths = (path for path in package.rglob("*") if path.suffix not in (".pyc", ".yaml", ".lock") and path.is_file())
    return {path.relative_to(package).as_posix(): path for path in paths}


def _show(words: list[str]) -> None:
    """Stand with these words in the list of processes, as far as they fit."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, see proc(5)
    title = b"\0".join(map(os.fsencode, words))[: end - begin - 1]
    ctypes.memmove(begin, title.ljust(end - begin, b"\0"), end - begin)


def _end_with_parent() -> None:
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def load() -> None:
    """Import what the commands of a study import."""
    for name in OURS:
        files = list_code(PROJECT / name).items()
        CODE[name] = {file: (path.stat().st_mtime_ns, path.read_bytes()) for file, path in files}
    for name in LATE:
        importlib.import_module(name)
    for name in OURS:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for finalizer in list(weakref.finalize._registry):  # what the server made is not undone at the end of every fork
        finalizer.atexit = False
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    load()
    server = Server(*sys.argv[1:3])
    os.write(1, b"!")
    server.serve(parent=0)
