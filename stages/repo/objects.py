"""Git's objects, read as strictly as `git fsck --strict` reads them, and in two things stricter.

    parse_tree(oid, data)       the entries of a folder by name
    scan_tree(oid, data)        the same, as leniently as git reads them
    parse_commit(oid, data)     the folder, the parents and the clock of a commit

Git reads leniently what it would never write: a folder that names a file twice, or a commit with a second list of
parents. Whoever makes such an object by hand shows one content to git and another to whoever reads it by other rules.
So everything that fsck refuses is `GitRefused`. So are file modes other than git's own, and repeated or misplaced
header lines of a commit; fsck lets both pass. Source: fsck.c of git, `fsck_tree`, `fsck_commit` and `fsck_ident`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stages.domain.errors import Invalid

#: Git's modes: a folder, a file, an executable file, a symbolic link, another repository.
FOLDER, FILE, EXECUTABLE, LINK, REPOSITORY = "40000", "100644", "100755", "120000", "160000"
#: Git wrote 100664 before 2005, and fsck still knows it.
_MODES = frozenset({FOLDER, FILE, EXECUTABLE, LINK, REPOSITORY, "100664"})
#: The same by their bytes: a folder may have a million entries, which share these.
_MODE_OF = {mode.encode("ascii"): mode for mode in _MODES}
_ID = rb"[0-9a-f]{40}(?:[0-9a-f]{24})?"
_IDENT = rb"[^<>\n]* <[^<>\n]*> (?P<%s>0|[1-9][0-9]{0,18}) [+-][0-9]{4}"
_COMMIT = re.compile(
    rb"tree (?P<tree>" + _ID + rb")\n"
    rb"(?P<parents>(?:parent " + _ID + rb"\n)*)"
    rb"author " + _IDENT % b"authored" + rb"\n"
    rb"committer " + _IDENT % b"committed" + rb"\n"
    rb"(?P<more>(?:[^\n]+\n)*)"
    rb"(?:\n|\Z)"
)
#: Headers that stand once in a commit, in this order or not at all; `mergetag` and those of other tools may repeat.
_ONCE = frozenset({b"tree", b"parent", b"author", b"committer"})
_AT_MOST_ONCE = frozenset({b"encoding", b"gpgsig", b"gpgsig-sha256"})
_MAX_SECONDS = (1 << 63) - 1
#: What HFS+ leaves out of a name (git's utf8.c), so that other text can stand for `.git`.
_INVISIBLE = {*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF}
_NTFS_DOTGIT = re.compile(r"(?:^|\\)(?:\.git|git~1)[. ]*(?:$|[\\/:])", re.I | re.A)


class GitRefused(Invalid):
    """Git is not there, will not answer, or holds what it should not; the message says which."""


class GitNotInstalled(GitRefused):
    """There is no git to ask."""


class GitAbsent(GitRefused):
    """What git would need is not here, and nothing says that it is wrong. `enable` is the command that brings it."""

    def __init__(self, message: str, enable: str) -> None:
        super().__init__(f"{message}; `{enable}` brings it")
        self.reason, self.enable = message, enable


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a commit: its mode and the id of its content."""

    mode: str
    oid: str


@dataclass(frozen=True)
class Commit:
    """What a commit says: the id of its folder, its parents, its committer's clock (seconds since 1970)."""

    tree: str
    parents: tuple[str, ...]
    seconds: int


def _refused(oid: str, what: str) -> GitRefused:
    return GitRefused.at(f"object {oid}", f"found {what}, expected what git writes; `git fsck --strict` tells more")


def parse_tree(oid: str, data: bytes) -> dict[str, Entry]:
    """The entries of a folder by name; `GitRefused` for what git would not write."""
    entries: dict[str, Entry] = {}
    last = b""
    for mode, name, content in scan_tree(oid, data):
        text = name.decode("utf-8", "surrogateescape")
        if mode not in _MODES:
            raise _refused(oid, f"the mode {mode!a} of {text!a} in a folder")
        if text in entries:
            raise _refused(oid, f"{text!a} twice in a folder")
        if name in (b"", b".", b"..") or b"/" in name or _stands_for_git(text):
            raise _refused(oid, f"the name {text!a} in a folder")
        if mode == LINK and text.casefold() == ".gitmodules":
            raise _refused(oid, f"a symbolic link {text!a} in a folder")
        if not content.strip(b"\0"):
            raise _refused(oid, f"no content of {text!a} in a folder")
        # Git sorts a folder as if its name ended in '/'.
        key = name + b"/" if mode == FOLDER else name
        if key <= last:
            raise _refused(oid, f"{text!a} out of order in a folder")
        entries[text], last = Entry(mode, content.hex()), key
    return entries


def scan_tree(oid: str, data: bytes) -> Iterator[tuple[str, bytes, bytes]]:
    """The mode, name and id of each entry of a folder, whatever they are; `GitRefused` where one is cut off."""
    for start, end, after in split_tree(oid, data):
        mode, blank, name = data[start:end].partition(b" ")
        if not blank:
            raise _cut_off(oid)
        yield _MODE_OF.get(mode) or mode.decode("ascii", "replace"), name, data[end + 1 : after]


def split_tree(oid: str, data: bytes) -> Iterator[tuple[int, int, int]]:
    """Where each entry of a folder begins, where its name ends, and where the next entry begins."""
    start, size = 0, len(oid) // 2 + 1
    while start < len(data):
        end = data.find(b"\0", start)
        after = end + size
        if end < 0 or after > len(data):
            raise _cut_off(oid)
        yield start, end, after
        start = after


def _cut_off(oid: str) -> GitRefused:
    return _refused(oid, "an entry that is cut off in a folder")


def _stands_for_git(name: str) -> bool:
    """Whether HFS+ or NTFS would take a name for `.git`."""
    visible = "".join(letter for letter in name if ord(letter) not in _INVISIBLE)
    return visible.lower() == ".git" or bool(_NTFS_DOTGIT.search(name))


def parse_commit(oid: str, data: bytes) -> Commit:
    """What a commit says in its head; `GitRefused` for what git would not write."""
    head = _COMMIT.match(data)
    if head is None:
        raise _refused(oid, "a commit whose head is not tree, parents, author and committer")
    if b"\0" in data:
        raise _refused(oid, "a NUL in a commit")
    if max(int(head["authored"]), int(head["committed"])) > _MAX_SECONDS:
        raise _refused(oid, "a time that no clock has in a commit")
    names = [line.partition(b" ")[0] for line in head["more"].split(b"\n") if line and not line.startswith(b" ")]
    for name in names:
        if name in _ONCE or (name in _AT_MOST_ONCE and names.count(name) > 1):
            raise _refused(oid, f"a line {name.decode('ascii')!a} too many in the head of a commit")
    parents = tuple(line[7:].decode("ascii") for line in head["parents"].split(b"\n")[:-1])
    if len({len(head["tree"]), len(oid), *map(len, parents)}) > 1:
        raise _refused(oid, "ids of two lengths in a commit")
    return Commit(head["tree"].decode("ascii"), parents, int(head["committed"]))
