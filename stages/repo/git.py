"""Git by its own command, read-only: a bare checkout and any version of Git will do.

    Git(Path(".")).resolve("HEAD~3")

Nothing here writes, reaches a network, or runs what the repository's own configuration names. Replacement objects,
grafts and the commit-graph are switched off, because they show a history that nobody else has.

An object's id is the digest of its content. Git checks that when objects travel, and not when it reads what lies in
.git: a folder that was handed over may hold any content under any id. So every commit, folder and file is hashed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import select
import subprocess
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import IO

from stages.domain.errors import Invalid, Unreadable
from stages.repo.objects import FOLDER, Commit, Entry, GitAbsent, GitNotInstalled, GitRefused, parse_commit, parse_tree

_QUIET = {
    "GIT_ALLOW_PROTOCOL": ":",  # none: a clone that left objects out would fetch them where it meets one
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
    # No object that is read here is as large: git itself must not unpack a small one into gigabytes.
    "GIT_ALLOC_LIMIT": "256m",
}
#: Git's own variables that it may see: where its programs and a person's settings lie. Any other could make it look
#: elsewhere than in the folder that it is asked about, or read paths and revisions in another way.
_KEPT = frozenset(
    f"GIT_{name}"
    for name in [
        *("CONFIG_GLOBAL", "CONFIG_SYSTEM", "CONFIG_NOSYSTEM", "EXEC_PATH"),
        *("CEILING_DIRECTORIES", "DISCOVERY_ACROSS_FILESYSTEM", "TEST_ASSUME_DIFFERENT_OWNER"),
    ]
)
_ALTERNATES = "GIT_ALTERNATE_OBJECT_DIRECTORIES"
_OPTIONS = {
    "core.quotePath": "off",
    "core.commitGraph": "false",
    "core.fsmonitor": "false",
    "core.bigFileThreshold": "8m",
    "core.hooksPath": os.devnull,
    "log.diffMerges": "separate",
    "log.showSignature": "false",
    "protocol.allow": "never",
}
#: How many bytes of a file are read, unless whoever asks knows better; and of a commit, or of one folder.
MAX_BLOB, MAX_COMMIT, MAX_FOLDER = 64 << 20, 1 << 20, 16 << 20
#: Files of at most so many bytes are kept, up to so many bytes of them in all.
SMALL_BLOB, MAX_SMALL_BLOBS = 16 << 10, 32 << 20
#: Folders are kept up to so many bytes of them in all; read, they take about eight times as much.
MAX_FOLDERS = 8 << 20
#: So many bytes of commits or folders are read at once.
MAX_GROUP = 8 << 20
#: How many answers to "what stands at this path of this folder" are kept: the history is read for each commit verified.
MAX_PLACES = 100_000
#: A command of git that takes longer is ended.
MAX_SECONDS = 300
#: So many bytes of a file are in memory at a time where only its digest is wanted.
BLOCK = 1 << 20
#: What brings the rest of a shallow clone.
UNSHALLOW = "git fetch --unshallow"


def object_id(kind: str, data: bytes, like: str) -> str:
    """The id of an object; `like` is any id of the repository, whose length tells SHA-1 from SHA-256."""
    digest = _begin_id(kind, len(data), like)
    digest.update(data)
    return digest.hexdigest()


def _begin_id(kind: str, size: int, like: str) -> hashlib._Hash:
    """The digest that is an object's id once its content follows."""
    head = f"{kind} {size}\0".encode("ascii")
    return hashlib.sha256(head) if len(like) == 64 else hashlib.sha1(head, usedforsecurity=False)


def verify_object(oid: str, kind: str, data: bytes) -> bytes:
    """`data`, if it is what `oid` names; else `GitRefused`."""
    _require_id(oid, object_id(kind, data, oid))
    return data


def _require_id(oid: str, actual: str) -> None:
    if actual != oid:
        message = "found another content than its id names, expected its own: the repository was tampered with"
        raise GitRefused.at(f"object {oid}", f"{message}; clone it anew")


def environment() -> dict[str, str]:
    """The environment of every git command: nothing in it points to another repository."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key in _KEPT}
    return kept | _quarantined_objects() | _QUIET


def _quarantined_objects() -> dict[str, str]:
    """Where a hook finds the objects that git has not taken in yet (`pre-receive`), beside the repository's own.

    Every object is hashed when it is read, so that a folder of objects more can show nothing that is not so.
    """
    if "GIT_QUARANTINE_PATH" not in os.environ:
        return {}
    folders = (os.environ.get(f"GIT_{name}") for name in ("QUARANTINE_PATH", "OBJECT_DIRECTORY"))
    quoted = [_quote_folder(str(Path(folder).absolute())) for folder in folders if folder]
    return {_ALTERNATES: os.pathsep.join(dict.fromkeys([*quoted, *filter(None, [os.environ.get(_ALTERNATES)])]))}


def _quote_folder(folder: str) -> str:
    """A folder as git reads it in a list of folders."""
    if os.pathsep not in folder and not folder.startswith('"'):
        return folder
    return '"' + folder.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Git:
    """The repository around `root`, read-only. Paths are given and returned relative to `root`, with '/'."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._reader: subprocess.Popen[bytes] | None = None
        #: By the id of a folder, its size and its entries, in the order in which they were read.
        self._folders: dict[str, tuple[int, dict[str, Entry]]] = {}
        self._folder_bytes = 0
        self._places: dict[tuple[str, str], Entry | None] = {}
        self._commits: dict[str, Commit] = {}
        self._blobs: dict[str, bytes] = {}
        self._blob_bytes = 0
        self._md5s: dict[str, tuple[str, int]] = {}

    @property
    def _command(self) -> list[str]:
        options = [word for key, value in _OPTIONS.items() for word in ("-c", f"{key}={value}")]
        return ["git", "-C", str(self.root), *options]

    def run(self, *arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """One git command, whatever its exit status; `GitRefused` only if there is no git."""
        try:
            return subprocess.run(
                [*self._command, *arguments],
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                env=environment(),
                check=False,
                timeout=MAX_SECONDS,
            )
        except FileNotFoundError:
            message = "git is not installed, and the history cannot be read without it; install git"
            raise GitNotInstalled(message) from None
        except subprocess.TimeoutExpired:
            message = f"git {arguments[0]}: no end after {MAX_SECONDS} seconds, expected one in a fraction of them"
            raise GitRefused(f"{message}; `git count-objects -v` and `git fsck` tell more of the repository") from None

    def ask(self, *arguments: str, stdin: bytes | None = None) -> str:
        """What a git command printed; `GitRefused` with its complaint where it failed."""
        done = self.run(*arguments, stdin=stdin)
        if done.returncode:
            complaint = done.stderr.decode("utf-8", "replace").strip() or f"exit status {done.returncode}"
            if "promisor remote" in complaint:
                raise self.absent(f"what `git {arguments[0]}` needs")
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

    @cached_property
    def partial(self) -> bool:
        """Whether this clone left objects out on purpose (`git clone --filter`)."""
        keys = r"^(extensions\.partialclone|remote\..*\.promisor)$"
        return bool(self.run("config", "--get-regexp", keys).stdout.strip())

    def absent(self, what: str) -> GitAbsent:
        """The error that something is not here, with the command that brings it."""
        if self.partial:
            message = f"{what} is not in this repository: a partial clone, whose rest is not fetched unasked"
        else:
            message = f"{what} is not in this repository"
        return GitAbsent(message, "git fetch --refetch --no-filter")

    def holds(self, rev: str) -> bool:
        """Whether `rev` names a commit that is here."""
        return self._commit_of(rev) is not None

    def resolve(self, rev: str) -> str:
        """The full id of the commit that `rev` names."""
        if not rev.strip() or rev.startswith("-"):
            raise GitRefused(f"{rev!r} is no revision; name a commit, a tag or a branch")
        commit = self._commit_of(rev)
        if commit is None:
            command = UNSHALLOW if self.shallow else "git fetch"
            raise GitRefused(f"{rev!r} names no commit here; `{command}` may bring it")
        return commit

    def _commit_of(self, rev: str) -> str | None:
        done = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}")
        return None if done.returncode else done.stdout.decode("ascii").split()[-1]

    @property
    def head(self) -> str | None:
        """The id of the commit that is checked out; None before the first one, `GitRefused` if nobody can tell."""
        done = self.run("rev-parse", "--verify", "--quiet", "HEAD")
        commit = done.stdout.decode("ascii").strip()
        if not commit:
            branch = self.run("symbolic-ref", "--quiet", "HEAD").stdout.decode("utf-8", "surrogateescape").strip("\n")
            path = self.root / self.ask("rev-parse", "--git-path", branch or "HEAD").strip("\n")
            if path.is_file() or not branch:  # a branch before its first commit has no file
                raise GitRefused(f"HEAD: git cannot read {branch or 'it'}: the repository is damaged; `git fsck`")
        return commit or None

    def merge_base(self, first: str, second: str) -> str | None:
        """The merge base of two commits; None where they have no common ancestor, or it is not here."""
        done = self.run("merge-base", first, second)
        return done.stdout.decode("ascii").split()[0] if done.returncode == 0 else None

    def read(self, oid: str, kind: str, most: int = MAX_BLOB) -> bytes:
        """The content of an object of a kind (blob, tree, commit, tag), which is what its id names.

        `Unreadable` where it has more than `most` bytes, `GitRefused` where it is not here or is something else.
        """
        with self._answer(oid) as out:
            return self._object(out, oid, kind, most)

    @contextlib.contextmanager
    def _answer(self, oid: str) -> Iterator[IO[bytes]]:
        """Where git prints an object that is asked for."""
        if self._reader is None:
            self._reader = subprocess.Popen(
                [*self._command, "cat-file", "--batch"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment(),
            )
        into, out = self._reader.stdin, self._reader.stdout
        assert into is not None
        assert out is not None
        try:
            into.write(oid.encode("ascii") + b"\n")
            into.flush()
            self._await(out, oid)
            yield out
        except (Invalid, OSError):
            self.close()  # what is left in the pipe would be taken for the next answer
            raise

    def _await(self, out: IO[bytes], oid: str) -> None:
        """Wait for the answer, and not for ever: a `.git` that was handed over may hold a pipe for an object."""
        if hasattr(select, "poll"):  # not on Windows, which has no such files
            answer = select.poll()
            answer.register(out, select.POLLIN)
            if not answer.poll(MAX_SECONDS * 1000):
                assert self._reader is not None
                self._reader.kill()
                raise GitRefused.at(f"object {oid}", f"git gives no answer in {MAX_SECONDS} seconds; `git fsck`")

    def blob(self, oid: str, most: int = MAX_BLOB) -> bytes:
        """The content of a file, by its id. Small ones are kept: several checks, and many commits, read the same."""
        data = self._blobs.get(oid)
        if data is None or len(data) > most:
            data = self.read(oid, "blob", most)
            if len(data) <= SMALL_BLOB and self._blob_bytes + len(data) <= MAX_SMALL_BLOBS:
                self._blobs[oid] = data
                self._blob_bytes += len(data)
        return data

    def md5(self, oid: str, most: int = MAX_BLOB) -> tuple[str, int]:
        """The MD5 and the size of a file, by its id. Its content is read once, in blocks, and not kept."""
        if oid not in self._md5s:
            md5 = hashlib.md5(usedforsecurity=False)
            with self._answer(oid) as out:
                size = self._size(out, oid, "blob", most)
                actual, left = _begin_id("blob", size, oid), size
                while left and (block := out.read(min(left, BLOCK))):
                    md5.update(block)
                    actual.update(block)
                    left -= len(block)
                out.read(1)
                _require_id(oid, actual.hexdigest())
            self._md5s[oid] = (md5.hexdigest(), size)
        digest, size = self._md5s[oid]
        _require_size(oid, size, most)
        return digest, size

    def commit(self, oid: str) -> Commit:
        """What a commit says."""
        if oid not in self._commits:
            self._commits[oid] = parse_commit(oid, self.read(oid, "commit", MAX_COMMIT))
        return self._commits[oid]

    def folder(self, oid: str) -> dict[str, Entry]:
        """The entries of a folder, by its id. Those that were read last are kept."""
        kept = self._folders.get(oid)
        if kept is None:
            data = self.read(oid, "tree", MAX_FOLDER)
            while self._folders and self._folder_bytes + len(data) > MAX_FOLDERS:
                size, _ = self._folders.pop(next(iter(self._folders)))
                self._folder_bytes -= size
            kept = self._folders[oid] = len(data), parse_tree(oid, data)
            self._folder_bytes += len(data)
        return kept[1]

    def entry(self, commit: str, path: str) -> Entry | None:
        """What a commit holds at a path relative to `root` (a file, a folder, a link), or None. '' is `root` itself."""
        key = self.commit(commit).tree, path
        if key not in self._places:
            entry = self.top_entry(commit, f"{self.prefix}{path}")
            if len(self._places) >= MAX_PLACES:
                return entry
            self._places[key] = entry
        return self._places[key]

    def top_entry(self, commit: str, path: str) -> Entry | None:
        """The same at a path relative to the top of the repository."""
        entry = Entry(FOLDER, self.commit(commit).tree)
        for name in filter(None, path.split("/")):
            inside = self.folder(entry.oid) if entry.mode == FOLDER else {}
            if name not in inside:
                return None
            entry = inside[name]
        return entry

    def ancestry(self, commit: str) -> dict[str, Commit]:
        """A commit and all that came before it, parents first; at the edge of a shallow clone commits have none."""
        listed = self.run("rev-list", commit)  # where it fails, the walk below tells which commit is to blame
        self.read_commits(listed.stdout.decode("ascii").split() if listed.returncode == 0 else ())
        order: dict[str, Commit] = {}
        stack: list[tuple[str, bool]] = [(commit, False)]
        while stack:
            oid, seen = stack.pop()
            if oid in order:
                continue
            parents = () if oid in self.shallow else self.commit(oid).parents
            if seen:
                order[oid] = self.commit(oid)
            else:
                stack.append((oid, True))
                stack.extend((parent, False) for parent in reversed(parents))
        return order

    def read_commits(self, oids: Iterable[str]) -> None:
        """Read many commits at once, so far as they are here; `commit` tells of another what is wrong with it."""
        for group in self.read_groups((oid for oid in oids if oid not in self._commits), "commit"):
            for oid, data in group.items():
                if len(data) <= MAX_COMMIT:
                    self._commits[oid] = parse_commit(oid, data)

    def read_groups(self, oids: Iterable[str], kind: str) -> Iterator[dict[str, bytes]]:
        """Objects of a kind by id, in groups of at most MAX_GROUP bytes; larger ones and what is not here are left out.

        A command reads a whole group: to ask for ten thousand of them one by one takes a second.
        """
        asked = "".join(f"{oid}\n" for oid in oids).encode("ascii")
        sizes = self.run("cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)", stdin=asked)
        group: list[str] = []
        room = MAX_GROUP
        for line in io.BytesIO(sizes.stdout):
            words = line.decode("ascii").split()
            if len(words) != 3 or words[1] != kind or int(words[2]) > MAX_GROUP:
                continue
            if int(words[2]) > room:
                yield self._read_group(group, kind)
                group, room = [], MAX_GROUP
            group.append(words[0])
            room -= int(words[2])
        yield self._read_group(group, kind)

    def _read_group(self, oids: list[str], kind: str) -> dict[str, bytes]:
        asked = "".join(f"{oid}\n" for oid in oids).encode("ascii")
        out = io.BytesIO(self.run("cat-file", "--batch", stdin=asked).stdout)
        return {oid: self._object(out, oid, kind, MAX_GROUP) for oid in oids}

    def _object(self, out: IO[bytes], oid: str, kind: str, most: int) -> bytes:
        """The next object that `git cat-file --batch` printed."""
        data = out.read(self._size(out, oid, kind, most))
        out.read(1)
        return verify_object(oid, kind, data)

    def _size(self, out: IO[bytes], oid: str, kind: str, most: int) -> int:
        """The size of the next object that `git cat-file --batch` printed, as the line before its content says."""
        head = out.readline().split()
        if len(head) != 3:
            if b"error: " not in self.run("cat-file", "-t", oid).stderr:
                raise self.absent(f"object {oid}")
            raise GitRefused(f"object {oid}: git cannot read it: the repository is damaged; `git fsck` tells more")
        if head[1] != kind.encode("ascii"):
            raise GitRefused(f"object {oid}: found a {head[1].decode('ascii', 'replace')}, expected a {kind}")
        size = int(head[2])
        _require_size(oid, size, most)
        return size

    def close(self) -> None:
        """End the reader."""
        if self._reader is not None:
            for stream in (self._reader.stdin, self._reader.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            self._reader.wait()
            self._reader = None


def _require_size(oid: str, size: int, most: int) -> None:
    if size > most:
        raise Unreadable.at(f"object {oid}", f"{size} bytes, expected at most {most}")


def open_git(root: Path, *, required: bool = False) -> Git | None:
    """The repository around `root`, or None where there is none, or no git to read it with (`why_no_git` tells).

    With `required`, a repository that is there without a git to read it is refused, because its history matters.

    A repository that git refuses to read, or that is damaged, is an error in git's own words: it is not "no
    repository", and another one in a folder above does not stand in for it.
    """
    git = Git(root)
    nearest = _nearest_repository(root)
    try:
        done = git.run("rev-parse", "--git-dir")
        if nearest is not None and (done.returncode == 0 or _NO_REPOSITORY in done.stderr):
            # Git passes over a .git that is none, and looks further up.
            done = git.run("rev-parse", "--resolve-git-dir", str(nearest))
    except GitNotInstalled:
        if required and nearest is not None:
            raise
        return None
    if done.returncode == 0:
        return git
    if nearest is None and _NO_REPOSITORY in done.stderr:
        return None
    complaint = done.stderr.decode("utf-8", "replace").strip()
    remedy = ""
    if "dubious ownership" in complaint:
        remedy = "\nit belongs to somebody else; if you trust them: `git config --global --add safe.directory FOLDER`"
    raise GitRefused(f"{root.as_posix()}: git will not read this repository: {complaint}{remedy}")


_NO_REPOSITORY = b"not a git repository"


def _nearest_repository(root: Path) -> Path | None:
    """What stands as `.git` in the folder or in the nearest one above it, whatever it is."""
    folder = root.resolve()
    places = (place / ".git" for place in (folder, *folder.parents))
    return next((place for place in places if os.path.lexists(place)), None)


def why_no_git(root: Path) -> str:
    """Why there is no history at `root`, where `open_git` found none."""
    return "git is not installed" if _nearest_repository(root) else "this is not a git repository"
