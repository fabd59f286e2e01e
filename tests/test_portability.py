"""What a run, a gate and verify use works on Windows by construction: the source holds nothing that does not.

The rules look at the syntax tree, so a name in a comment or a string is no matter.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repo import PROJECT

SOURCES = sorted(
    path
    for part in ("stages", "trainer", "report")
    for path in (PROJECT / part).rglob("*.py")
    if "__pycache__" not in path.parts
)
#: Modules that Windows lacks. `resource` and `fcntl` may be imported where an ImportError is caught.
UNIX_ONLY = {"fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"}
#: Attributes of `os` and `signal` that Windows lacks, or that mean something else there.
MISSING = {
    "os": {"fork", "forkpty", "killpg", "setsid", "mkfifo", "getuid", "geteuid", "chown", "rename", "symlink", "wait"}
    | {"uname", "getpgid", "WNOHANG", "O_DIRECTORY", "statvfs"},
    "signal": {"SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "alarm", "pause", "setitimer"},
    "socket": {"AF_UNIX"},
    "time": {"tzset"},
}
#: What a module may use that has another way on Windows: runs are forked where `fork_server.can_fork` says so alone,
#: and one process writes all pages where `writer.count_processes` says so.
ANOTHER_WAY = {
    "stages/hosts/fork_server.py": {"os.fork", "os.WNOHANG", "signal.SIGKILL"},
    "report/writer.py": {"the fork start method"},
}
TEXT_MODES = {"open", "read_text", "write_text"}
PROCESS = {"run", "Popen", "check_output", "check_call", "call"}


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call, with the last name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def keywords(call: ast.Call) -> set[str]:
    return {one.arg for one in call.keywords if one.arg}


def says_binary(call: ast.Call) -> bool:
    texts = [arg.value for arg in [*call.args, *(k.value for k in call.keywords)] if isinstance(arg, ast.Constant)]
    return any(isinstance(text, str) and re.fullmatch(r"[rwax]\+?b\+?|[rwax]b\+?", text) for text in texts)


def guarded(tree: ast.AST) -> set[ast.AST]:
    """Nodes inside a `try` that catches ImportError."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and any("ImportError" in ast.dump(h.type) for h in node.handlers if h.type):
            found |= {inner for statement in node.body for inner in ast.walk(statement)}
    return found


def unportable(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and complaint of everything that Windows lacks."""
    safe = guarded(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and node not in safe:
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from ((node.lineno, f"imports {one}") for one in modules if one.split(".")[0] in UNIX_ONLY)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            absent = node.attr in MISSING.get(node.value.id, ())
            yield from [(node.lineno, f"{node.value.id}.{node.attr}")] if absent else []
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("/tmp"):
            yield node.lineno, f"the path {node.value!r}"
    for call, name in calls(tree):
        if name in TEXT_MODES and not says_binary(call) and "encoding" not in keywords(call) and is_file(call, name):
            yield call.lineno, f"{name}() without encoding="
        if name in PROCESS and "subprocess" in ast.dump(call.func):
            given = {one.arg: one.value for one in call.keywords}
            if isinstance(given.get("shell"), ast.Constant) and given["shell"].value:
                yield call.lineno, "shell=True"
            if {"text", "universal_newlines"} & set(given) and "encoding" not in given:
                yield call.lineno, "text from a process without encoding="
        if name == "symlink_to" or name == "hardlink_to":
            yield call.lineno, f"{name}(): Windows asks for a privilege"
        if name == "get_context" and any(isinstance(a, ast.Constant) and a.value == "fork" for a in call.args):
            yield call.lineno, "the fork start method"


def is_file(call: ast.Call, name: str) -> bool:
    """Whether `open` opens a file: not that of `webbrowser`, `zipfile`, `tarfile` and the like."""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    return not (name == "open" and isinstance(owner, ast.Name) and owner.id in ("webbrowser", "os", "safetensors"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_nothing_in_the_source_needs_anything_but_windows(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    allowed = ANOTHER_WAY.get(path.relative_to(PROJECT).as_posix(), set())
    assert [f"{path.name}:{line}: {what}" for line, what in unportable(tree) if what not in allowed] == []


@pytest.mark.parametrize(
    "code",
    [
        "import fcntl",
        "from resource import getrusage",
        "import os; os.fork()",
        "import signal; signal.SIGKILL",
        "open('x')",
        "open('x', 'w')",
        "path.read_text()",
        "path.write_text('x', newline='')",
        "import subprocess; subprocess.run('ls', shell=True)",
        "import subprocess; subprocess.run(['ls'], text=True)",
        "place = '/tmp/x'",
        "os.rename(a, b)",
        "a.symlink_to(b)",
        "multiprocessing.get_context('fork')",
    ],
)
def test_the_scan_sees_what_windows_lacks(code):
    assert list(unportable(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "open('x', 'rb')",
        "open('x', encoding='utf-8')",
        "path.open('wb')",
        "try:\n    import resource\nexcept ImportError:\n    resource = None",
        "import subprocess; subprocess.run(['git'], encoding='utf-8')",
        "# os.fork in a comment",
        "os.replace(a, b)",
    ],
)
def test_the_scan_lets_pass_what_windows_has(code):
    assert not list(unportable(ast.parse(code)))


def test_no_tracked_name_is_one_that_windows_refuses():
    """Reserved names, trailing dots or spaces, forbidden characters, and names that differ in case alone."""
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, encoding="utf-8", check=True).stdout
    paths = [Path(one) for one in listed.split("\0") if one]
    reserved = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
    for path in paths:
        for part in path.parts:
            assert not reserved.fullmatch(part), path
            assert not re.search(r'[<>:"\\|?*]|[ .]$', part), path
    lower = [path.as_posix().lower() for path in paths]
    assert len(set(lower)) == len(lower)
    assert max(len(path.as_posix()) for path in paths) < 180  # of the 260 that a Windows path may have


def test_text_is_checked_out_with_line_feeds_everywhere():
    """What is hashed must have one form: git on Windows would otherwise turn LF into CRLF."""
    rules = (PROJECT / ".gitattributes").read_text(encoding="utf-8")
    assert re.search(r"^\* +text=auto +eol=lf", rules, re.MULTILINE)
