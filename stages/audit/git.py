"""Git, asked by its own command and never by a library: a bare checkout and any version of Git will do.

    Git(Path(".")).resolve("HEAD~3")

Nothing here writes. Replacement objects and grafts are switched off, because they show a history that nobody else has.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

_QUIET = {
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
MAX_BLOB = 1 << 30


class GitRefused(ValueError):
    """Git is not there, or will not answer; the message holds its own words."""


@dataclass(frozen=True)
class Entry:
    """A file of a commit: its mode (`120000` is a symbolic link) and the id of its content."""

    mode: str
    oid: str


class Git:
    """The repository around `root`, read-only. Paths are given and returned relative to `root`, with '/'."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._reader: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """One git command, whatever its exit status; `GitRefused` only if there is no git."""
        command = ["git", "-C", str(self.root), "-c", "core.quotePath=off", "-c", "log.showSignature=false"]
        try:
            return subprocess.run(
                [*command, *arguments],
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                env={**os.environ, **_QUIET},
                check=False,
            )
        except FileNotFoundError:
            raise GitRefused("git is not installed; the history cannot be read without it") from None

    def ask(self, *arguments: str, stdin: bytes | None = None) -> str:
        """What a git command printed; `GitRefused` with its complaint where it failed."""
        done = self.run(*arguments, stdin=stdin)
        if done.returncode:
            complaint = done.stderr.decode("utf-8", "replace").strip() or f"exit status {done.returncode}"
            raise GitRefused(f"git {' '.join(arguments[:3])}: {complaint}")
        return done.stdout.decode("utf-8", "surrogateescape")

    @cached_property
    def prefix(self) -> str:
        """Where `root` lies inside the repository: empty, or a path that ends in '/'."""
        return self.ask("rev-parse", "--show-prefix").strip("\n")

    @cached_property
    def bare(self) -> bool:
        """Whether there is no working tree to read."""
        return self.ask("rev-parse", "--is-inside-work-tree").strip() != "true"

    @cached_property
    def shallow(self) -> frozenset[str]:
        """The commits at which a shallow clone was cut off; empty for a whole one."""
        if self.ask("rev-parse", "--is-shallow-repository").strip() != "true":
            return frozenset()
        path = self.root / self.ask("rev-parse", "--git-path", "shallow").strip("\n")
        return frozenset(path.read_text(encoding="ascii").split()) if path.is_file() else frozenset()

    def resolve(self, rev: str) -> str:
        """The full id of the commit that `rev` names."""
        if rev.startswith("-"):
            raise GitRefused(f"{rev!r} is no revision; name a commit, a tag or a branch")
        done = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}")
        if done.returncode:
            raise GitRefused(f"{rev!r} names no commit here; `git fetch` may bring it")
        return done.stdout.decode("ascii").strip().splitlines()[-1]

    def files(self, commit: str) -> dict[str, Entry]:
        """Every file of a commit under `root`, by path."""
        text = self.ask("ls-tree", "-r", "-z", "--full-tree", commit)
        found: dict[str, Entry] = {}
        for line in filter(None, text.split("\0")):
            head, path = line.split("\t", 1)
            mode, _, oid = head.split(" ")
            if path.startswith(self.prefix):
                found[path.removeprefix(self.prefix)] = Entry(mode, oid)
        return found

    def lookup(self, names: list[str]) -> list[str | None]:
        """The ids of objects named like `COMMIT:path`; None for those that do not exist."""
        if not names:
            return []
        asked = "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")
        lines = self.ask("cat-file", "--batch-check=%(objectname)", stdin=asked).splitlines()
        return [None if line.endswith((" missing", " ambiguous")) else line for line in lines]

    def blob(self, oid: str) -> bytes:
        """The content of an object, by its id."""
        if self._reader is None:
            command = ["git", "-C", str(self.root), "cat-file", "--batch"]
            self._reader = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **_QUIET}
            )
        into, out = self._reader.stdin, self._reader.stdout
        assert into is not None
        assert out is not None
        into.write(oid.encode("ascii") + b"\n")
        into.flush()
        return _object(out, oid)

    def log(self, commit: str, paths: list[str], *options: str) -> list[tuple[str, list[str]]]:
        """Commits up to `commit` that touch `paths`, parents first, each with its nearest such ancestors."""
        text = self.ask(
            "rev-list", "--full-history", "--parents", "--topo-order", "--reverse", *options, commit, "--", *paths
        )
        return [(words[0], words[1:]) for words in (line.split() for line in text.splitlines())]

    def close(self) -> None:
        """End the reader."""
        if self._reader is not None:
            for stream in (self._reader.stdin, self._reader.stdout):
                if stream is not None:
                    stream.close()
            self._reader.wait()
            self._reader = None


def _object(out: IO[bytes], oid: str) -> bytes:
    head = out.readline().split()
    if len(head) != 3:
        raise GitRefused(f"object {oid} is not in this repository; `git fsck` tells more")
    size = int(head[2])
    if size > MAX_BLOB:
        raise GitRefused(f"object {oid}: {size} bytes, expected at most {MAX_BLOB}")
    data = out.read(size)
    out.read(1)
    return data


def open_git(root: Path) -> Git | None:
    """The repository around `root`, or None where there is none (or no git)."""
    git = Git(root)
    try:
        return git if git.run("rev-parse", "--git-dir").returncode == 0 else None
    except GitRefused:
        return None
