"""Git is asked by one module, in an environment of its own: no network, no hook, no lock, nothing that redirects it."""

from __future__ import annotations

import ast
import json
import os
import shutil
import stat
import sys
from contextlib import chdir
from pathlib import Path

import pytest

from stages.commands import study as switching
from stages.repo.git import Git, environment
from stages.repo.history_reader import history_at_head
from tests.support.repo import PROJECT
from tests.verify.forger import Forger
from tests.verify.test_command import verify

HOOKS = (
    "post-index-change",
    "reference-transaction",
    "post-checkout",
    "pre-commit",
    "fsmonitor-watchman",
    "pre-auto-gc",
)


def test_no_other_module_starts_git():
    asked = []
    for path in sorted(file for root in ("stages", "report") for file in (PROJECT / root).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path == PROJECT / "stages" / "repo" / "git.py" or "import subprocess" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.List | ast.Tuple) and node.elts:
                first = node.elts[0]
                if isinstance(first, ast.Constant) and first.value == "git":
                    asked.append(path.name)
            if isinstance(node, ast.Call) and ast.unparse(node).startswith("shutil.which('git')"):
                asked.append(path.name)
    assert asked == []


def test_every_command_is_asked_in_the_same_way(clone: Forger, tmp_path, monkeypatch):
    """A git on the path that writes down how it was asked, and asks the real one."""
    real, log = shutil.which("git"), tmp_path / "asked"
    script = tmp_path / "bin" / "git"
    script.parent.mkdir()
    script.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"kept = {{key: value for key, value in os.environ.items() if key.startswith('GIT_')}}\n"
        f"open({str(log)!r}, 'a').write(json.dumps([sys.argv[1:], kept]) + chr(10))\n"
        f"os.execv({real!r}, ['git', *sys.argv[1:]])\n",
        encoding="utf-8",
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    hostile = [
        "DIR",
        "WORK_TREE",
        "INDEX_FILE",
        "CONFIG_COUNT",
        "SSH_COMMAND",
        "TRACE",
        "ICASE_PATHSPECS",
        "GRAFT_FILE",
    ]
    for name in hostile:
        monkeypatch.setenv(f"GIT_{name}", str(tmp_path / "elsewhere"))
    assert verify(clone.root, "--rev", "HEAD").returncode == 0
    assert verify(clone.root, "--history").returncode == 0
    with chdir(clone.root):
        history_at_head()
        switching.list_uncommitted()
    asked = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert len(asked) > 10
    for words, variables in asked:
        assert words[:2] == ["-C", words[1]]
        assert "core.hooksPath=" + os.devnull in words
        assert {"protocol.allow=never", "core.fsmonitor=false", "core.commitGraph=false"} <= set(words)
        assert variables["GIT_OPTIONAL_LOCKS"] == "0"
        assert variables["GIT_ALLOW_PROTOCOL"] == ":"
        assert variables["GIT_NO_REPLACE_OBJECTS"] == variables["GIT_NO_LAZY_FETCH"] == "1"
        assert variables["GIT_TERMINAL_PROMPT"] == "0"
        assert variables["GIT_GRAFT_FILE"] == os.devnull
        assert not {f"GIT_{name}" for name in hostile if name != "GRAFT_FILE"} & variables.keys()


def test_no_hook_runs_and_no_lock_is_taken(clone: Forger, tmp_path):
    mark, hooks = tmp_path / "ran", tmp_path / "hooks"
    hooks.mkdir()
    for name in HOOKS:
        (hooks / name).write_text(f"#!/bin/sh\ntouch {mark}\n", encoding="utf-8")
        (hooks / name).chmod(0o755)
    clone.git("config", "core.hooksPath", str(hooks))
    index = clone.path(".git/index")
    try:
        os.utime(clone.path("params.yaml"), (1, 1))  # git would write its index anew
        before = index.read_bytes()
        clone.write(".git/index.lock", b"")
        with chdir(clone.root):
            assert switching.list_uncommitted() == []
            history_at_head()
        assert verify(clone.root).returncode == 0
        assert index.read_bytes() == before
        assert not mark.exists()
    finally:
        clone.delete(".git/index.lock")
        clone.git("config", "--unset", "core.hooksPath")


@pytest.mark.parametrize(
    "url", ["ext::sh -c 'touch MARK'", "file:///nowhere", "ssh://example.invalid/x", "http://127.0.0.1:9/"]
)
def test_no_protocol_is_spoken_whatever_the_settings_allow(url, clone: Forger, tmp_path):
    mark = tmp_path / "mark"
    clone.git("config", "protocol.allow", "always")
    for name in ("ext", "file", "ssh", "http"):
        clone.git("config", f"protocol.{name}.allow", "always")
    try:
        done = Git(clone.root).run("ls-remote", url.replace("MARK", str(mark)))
        assert done.returncode == 128
        assert b"not allowed" in done.stderr
        assert not mark.exists()
    finally:
        for name in ("", "ext.", "file.", "ssh.", "http."):
            clone.git("config", "--unset", f"protocol.{name}allow")


def test_a_persons_own_settings_are_kept(monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/home/a/gitconfig")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", "/home")
    kept = environment()
    assert (kept["GIT_CONFIG_GLOBAL"], kept["GIT_CEILING_DIRECTORIES"]) == ("/home/a/gitconfig", "/home")


def test_the_path_of_git_is_this_machines_and_not_the_studys(clone: Forger, monkeypatch):
    """A `git` that lies in the study is not run, whatever folder the command is started in."""
    mark = Path(clone.root) / "ran"
    clone.write("git", f"#!/bin/sh\ntouch {mark}\n".encode())
    clone.path("git").chmod(0o755)
    with chdir(clone.root):
        history_at_head()
    assert not mark.exists()
