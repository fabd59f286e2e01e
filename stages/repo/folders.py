"""What folders of git hold at any depth, however often one stands in another.

    list_files(git, commit)                             every file of a commit by path
    NamedFiles(git, {"runs.jsonl"}).paths(folders)      where files of some names are, in any of many folders

A folder may hold another under ten names, that one a third, and so on: ten small objects name ten thousand million
files, or as many empty folders. So whoever lists does so up to a limit, and whoever searches reads each different
folder once; git itself, asked for the commits that touch a path, would walk them all.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator

from stages.domain.errors import Invalid, Unreadable
from stages.repo.git import MAX_BLOB, MAX_GROUP, Git
from stages.repo.objects import FOLDER, Entry, scan_tree, split_tree

#: What a list of paths may take in memory, and what each takes beside its letters.
MAX_LISTED, PATH_BYTES = 192 << 20, 250
#: How many letters a path may have that is listed.
MAX_PATH = 4096
#: The mode of a folder, and how it begins; tools of old wrote 040000.
_FOLDER, _FOLDER_STARTS = FOLDER.encode("ascii"), b"40"


def list_files(git: Git, commit: str, most: int = MAX_LISTED) -> dict[str, Entry]:
    """Every file of a commit under the root that `git` was opened at, by path."""
    place = git.entry(commit, "")
    return list_inside(git, place.oid, most, f"commit {commit[:12]}") if place and place.mode == FOLDER else {}


def list_inside(git: Git, folder: str, most: int = MAX_LISTED, what: str = "") -> dict[str, Entry]:
    """Every file of a folder, given by its id, by its path inside it, sorted.

    `Unreadable` where the paths of its files and folders take more than `most` bytes of memory; `what` is its name.
    """
    files: dict[str, Entry] = {}
    taken, waiting = 0, [("", folder)]
    while waiting:
        path, oid = waiting.pop()
        for name, entry in git.folder(oid).items():
            place = f"{path}{name}"
            taken += PATH_BYTES + sys.getsizeof(place)  # one letter of four bytes makes four times as many of all
            _require_room(what or f"object {folder}", taken, most)
            if len(place) > MAX_PATH:
                message = f"a path of {len(place)} letters, expected at most {MAX_PATH}, as a file system has it"
                raise Unreadable.at(what or f"object {folder}", message)
            if entry.mode == FOLDER:
                waiting.append((f"{place}/", entry.oid))
            else:
                files[place] = entry
    return dict(sorted(files.items()))


def _require_room(what: str, taken: int, most: int) -> None:
    if taken > most:
        message = f"its files and folders take more than {most} bytes of memory to list, expected at most so many"
        raise Unreadable.at(what, f"{message}; is a folder there under many names? `git ls-tree` shows them")


def scan_folder(git: Git, folder: str) -> Iterator[tuple[str, bytes, bytes]]:
    """The mode, name and id of each entry of a folder, given by its id, as leniently as git reads them."""
    return scan_tree(folder, git.read(folder, "tree", MAX_BLOB))


class NamedFiles:
    """The files of some names at any depth of folders. Each folder is read once, and as leniently as git reads it."""

    def __init__(self, git: Git, names: Iterable[str]) -> None:
        self._git = git
        self._names = frozenset(name.encode("utf-8") for name in names)
        #: By the id of a folder; empty where it holds none.
        self._digests: dict[bytes, bytes] = {}
        #: The contents of folders that were read last, by id.
        self._group: dict[str, bytes] = {}
        self._room = MAX_GROUP
        self._paths: set[bytes] = set()
        #: Where folders with such files stand, and what that takes in memory.
        self._seen: set[tuple[bytes, bytes]] = set()
        self._taken = 0

    def learn(self, commit: str) -> None:
        """Read all folders up to a commit, many at once: what is asked afterwards reads none without such a file."""
        options = ("--objects", "--filter=blob:none", "--no-object-names", "--end-of-options", commit)
        listed = self._git.run("rev-list", *options)  # where it fails, whoever reads the folders alone learns why
        oids = listed.stdout.decode("ascii").split() if listed.returncode == 0 else []
        for group in self._git.read_groups(oids, "tree"):
            self._group, self._room = group, MAX_GROUP
            for folder in list(group):
                self.digest(folder)

    def digest(self, folder: str) -> str:
        """A digest of the paths and contents of the files inside a folder, given by its id; empty where it has none."""
        waiting = [bytes.fromhex(folder)]
        while waiting:
            if waiting[-1] in self._digests:
                waiting.pop()
            else:
                waiting += self._digest_if_known(waiting[-1])
        return self._digests[bytes.fromhex(folder)].hex()

    def _digest_if_known(self, folder: bytes) -> set[bytes]:
        """Digest a folder, or return those in it that are to be digested before."""
        digest, unknown, empty = hashlib.sha256(), set(), True
        for mode, name, oid in self._entries(folder):
            if mode == _FOLDER and oid not in self._digests:
                unknown.add(oid)
            elif content := self._digests[oid] if mode == _FOLDER else oid:
                digest.update(b"%s %s\0%s" % (mode, name, content))
                empty = False
        if not unknown:
            self._digests[folder] = b"" if empty else digest.digest()
        return unknown

    def paths(self, folders: Iterable[str]) -> list[str]:
        """The paths of the files in any of the folders, given by their ids, that were asked for so far; sorted.

        `Unreadable` where they take too much memory, with the folders that they are in.
        """
        try:
            self._find_paths(folders)
        except Invalid:
            self._paths, self._seen, self._taken = set(), set(), 0  # nothing counts as looked at that was not
            raise
        return sorted(path.decode("utf-8", "surrogateescape") for path in self._paths)

    def _find_paths(self, folders: Iterable[str]) -> None:
        waiting = []
        for folder in dict.fromkeys(folders):
            place = b"", bytes.fromhex(folder)
            if place not in self._seen and self.digest(folder):
                self._seen.add(place)
                waiting.append(place)
        inside: dict[bytes, list[tuple[bytes, bytes, bytes]]] = {}
        while waiting:
            path, oid = waiting.pop()
            if oid not in inside:
                inside[oid] = [entry for entry in self._entries(oid) if entry[0] != _FOLDER or self._digests[entry[2]]]
                self._take(oid, PATH_BYTES * len(inside[oid]))
            for mode, name, content in inside[oid]:
                if mode != _FOLDER:
                    self._paths.add(path + name)
                elif (inner := (b"%s%s/" % (path, name), content)) not in self._seen:
                    self._take(oid, PATH_BYTES + len(inner[0]))
                    self._seen.add(inner)
                    waiting.append(inner)
        self._taken -= PATH_BYTES * sum(map(len, inside.values()))

    def _take(self, folder: bytes, size: int) -> None:
        self._taken += size
        _require_room(f"object {folder.hex()}", self._taken, MAX_LISTED)

    def _entries(self, folder: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
        """The folders and the named files right in a folder: the mode, the name, the id. Not folders known as empty."""
        oid = folder.hex()
        data = self._read(oid)
        names = [name for name in self._names if name in data]
        for start, end, after in split_tree(oid, data):
            if data[start] in _FOLDER_STARTS:
                if self._digests.get(data[end + 1 : after]) == b"":
                    continue
            elif not names:
                continue
            mode, _, name = data[start:end].partition(b" ")
            if mode.lstrip(b"0") == _FOLDER:
                yield _FOLDER, name, data[end + 1 : after]
            elif name in names:
                yield mode, name, data[end + 1 : after]

    def _read(self, oid: str) -> bytes:
        if oid not in self._group:
            data = self._git.read(oid, "tree", MAX_BLOB)
            if len(data) > MAX_GROUP:
                return data
            if len(data) > self._room:
                self._group, self._room = {}, MAX_GROUP
            self._group[oid] = data
            self._room -= len(data)
        return self._group[oid]
