"""Git's objects as they are stored, each held against its own name: an id is the digest of what it names.

Git checks that when objects travel, and not when it reads what lies in .git: a folder handed over may hold any content
under any id. So every commit, folder and file that an audit looks at is hashed here again.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from stages.domain.mistakes import Invalid

#: Git's modes: a folder, a file, an executable file, a symbolic link, another repository.
FOLDER, FILE, EXECUTABLE, LINK, REPOSITORY = "40000", "100644", "100755", "120000", "160000"
_SECONDS = re.compile(rb"committer [^\n]*> (\d+) [+-]\d{4}")


class GitRefused(Invalid):
    """Git is not there, will not answer, or holds what it should not; the message says which."""


@dataclass(frozen=True)
class Entry:
    """One name in a commit: its mode and the id of its content."""

    mode: str
    oid: str


@dataclass(frozen=True)
class Commit:
    """What a commit says: the id of its folder, its parents, its committer's clock (seconds since 1970), its bytes."""

    tree: str
    parents: tuple[str, ...]
    seconds: int
    data: bytes


def object_id(kind: str, data: bytes, like: str) -> str:
    """The id of an object; `like` is any id of the repository, whose length tells SHA-1 from SHA-256."""
    whole = f"{kind} {len(data)}\0".encode("ascii") + data
    digest = hashlib.sha256(whole) if len(like) == 64 else hashlib.sha1(whole, usedforsecurity=False)
    return digest.hexdigest()


def true(oid: str, kind: str, data: bytes) -> bytes:
    """`data`, if it is what `oid` names; else `GitRefused`."""
    if object_id(kind, data, oid) != oid:
        told = "found another content than its id names, expected its own: the repository was tampered with"
        raise GitRefused.at(f"object {oid}", f"{told}; clone it anew")
    return data


def parse_tree(oid: str, data: bytes) -> dict[str, Entry]:
    """The entries of a folder by name."""
    found: dict[str, Entry] = {}
    at, size = 0, len(oid) // 2
    while at < len(data):
        space = data.find(b" ", at)
        end = data.find(b"\0", space)
        if min(space, end) < 0:
            raise GitRefused.at(f"object {oid}", "is no folder that git wrote; `git fsck` tells more")
        mode, name = data[at:space].decode("ascii", "replace"), data[space + 1 : end].decode("utf-8", "surrogateescape")
        at = end + 1 + size
        found[name] = Entry(mode, data[end + 1 : at].hex())
    return found


def parse_commit(oid: str, data: bytes) -> Commit:
    """What a commit says in its head."""
    head = data.partition(b"\n\n")[0].split(b"\n")
    trees = [line[5:].decode("ascii", "replace") for line in head if line.startswith(b"tree ")]
    parents = tuple(line[7:].decode("ascii", "replace") for line in head if line.startswith(b"parent "))
    clock = next(filter(None, map(_SECONDS.fullmatch, head)), None)
    if not trees:
        raise GitRefused.at(f"object {oid}", "is no commit that git wrote; `git fsck` tells more")
    return Commit(trees[0], parents, int(clock[1]) if clock else 0, data)
