"""What folders of git hold at any depth, however often one stands in another.

    list_files(git, commit)                             every file of a commit by path
    NamedFiles(git, {"runs.jsonl"}).paths(folders)      where files of some names are, in any of many folders

A folder may hold another under ten names, that one a third, and so on: ten small objects name ten thousand million
files, or as many empty folders. So whoever lists does so up to a limit, and whoever searches reads each different
folder once; git itself, asked for the commits that touch a path, would walk them all.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator

from stages.domain.errors import Unreadable
from stages.repo.git import MAX_BLOB, Git
from stages.repo.objects import FOLDER, Entry, scan_tree, split_tree

#: What a list of paths may take in memory, and what each takes beside its letters.
MAX_LISTED, PATH_BYTES = 128 << 20, 300
#: So many bytes of folders are read at once.
MAX_GROUP = 8 << 20
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
            taken += PATH_BYTES + len(place)
            _require_room(what or f"object {folder}", taken, most)
            if entry.mode == FOLDER:
                waiting.append((f"{place}/", entry.oid))
            else:
                files[place] = entry
    return dict(sorted(files.items()))


def _require_room(what: str, taken: int, most: int) -> None:
    if taken > most:
        message = f"its files and folders take more than {most} bytes of memory to list, expected at most so many"
        raise Unreadable.at(what, f"{message}; `git ls-tree` shows what stands there under many names")


def scan_folder(git: Git, folder: str) -> Iterator[tuple[str, bytes, bytes]]:
    """The mode, name and id of each entry of a folder, given by its id, as leniently as git reads them."""
    return scan_tree(folder, git.read(folder, "tree", MAX_BLOB))


def read_folders(git: Git, commit: str) -> Iterator[dict[str, bytes]]:
    """The different folders of a history by id, each before what is in it, in groups of at most MAX_GROUP bytes.

    Larger ones are left out, and all where git cannot list them: whoever reads them alone learns why.
    """
    options = ("--objects", "--filter=blob:none", "--no-object-names", "--end-of-options", commit)
    listed = git.run("rev-list", *options)
    form = "--batch-check=%(objectname) %(objecttype) %(objectsize)"
    sizes = git.run("cat-file", form, stdin=listed.stdout if listed.returncode == 0 else b"")
    group: list[str] = []
    room = MAX_GROUP
    for line in io.BytesIO(sizes.stdout):
        words = line.decode("ascii").split()
        if len(words) != 3 or words[1] != "tree" or int(words[2]) > MAX_GROUP:
            continue
        if int(words[2]) > room:
            yield dict(zip(group, git.read_many(group, "tree", MAX_GROUP), strict=True))
            group, room = [], MAX_GROUP
        group.append(words[0])
        room -= int(words[2])
    yield dict(zip(group, git.read_many(group, "tree", MAX_GROUP), strict=True))


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

    def learn(self, commit: str) -> None:
        """Read all folders of a history, many at once: what is asked afterwards reads none that says nothing."""
        for group in read_folders(self._git, commit):
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
        """The paths of the files in any of some folders, given by their ids; each once, sorted.

        `Unreadable` where they take too much memory, with the folders that they are in.
        """
        paths: set[bytes] = set()
        waiting = [(b"", bytes.fromhex(folder)) for folder in dict.fromkeys(folders) if self.digest(folder)]
        seen, taken = set(waiting), 0
        while waiting:
            path, folder = waiting.pop()
            for mode, name, oid in self._entries(folder):
                place = path + name
                if mode != _FOLDER:
                    paths.add(place)
                elif self._digests[oid] and (inner := (place + b"/", oid)) not in seen:
                    taken += PATH_BYTES + len(place)
                    _require_room(f"object {folder.hex()}", taken, MAX_LISTED)
                    seen.add(inner)
                    waiting.append(inner)
        return sorted(path.decode("utf-8", "surrogateescape") for path in paths)

    def _entries(self, folder: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
        """The folders and the named files right in a folder: the mode, the name, the id."""
        oid = folder.hex()
        data = self._read(oid)
        names = [name for name in self._names if name in data]
        for start, end, after in split_tree(oid, data):
            if names or data[start] in _FOLDER_STARTS:
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
