"""Which commits changed what somebody looks at.

    list_touching(git, ["HEAD"], watch_paths(git, ("locks", "ledger")))

This is what `git rev-list -- PATHS` lists, but each different folder is read once. Git walks a folder as often as it
stands in another, and ten small objects can make that ten thousand million times. Folders are read as leniently as git
reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from stages.repo.folders import NamedFiles, scan_folder
from stages.repo.git import Git
from stages.repo.objects import FOLDER

#: What is looked at of a commit, as a digest: equal for two where nothing of it differs, empty where nothing is there.
StateOf = Callable[[str], bytes]


def digest_parts(parts: Sequence[tuple[str, bytes, bytes]]) -> bytes:
    """A digest of modes, names and contents; empty without any."""
    digest = hashlib.sha256()
    for mode, name, content in parts:
        digest.update(b"%s %s\0%d %s" % (mode.encode("ascii", "replace"), name, len(content), content))
    return digest.digest() if parts else b""


def scan_root(git: Git, commit: str) -> list[tuple[str, bytes, bytes]]:
    """The mode, name and id of what a commit holds right in the folder that `git` was opened at."""
    oid = git.commit(commit).tree
    for part in filter(None, git.prefix.encode("utf-8", "surrogateescape").split(b"/")):
        inner = [content for mode, name, content in scan_folder(git, oid) if name == part and is_folder(mode)]
        if not inner:
            return []
        oid = inner[0].hex()
    return list(scan_folder(git, oid))


def is_folder(mode: str) -> bool:
    """Whether a mode is that of a folder; tools of old wrote 040000."""
    return mode.lstrip("0") == FOLDER


def watch_paths(git: Git, paths: Sequence[str], built: Sequence[str] = ()) -> StateOf:
    """The state of a commit: what has some names at the root, and the files named `built` anywhere in stages/."""
    names = frozenset(path.encode("ascii") for path in paths)
    named = NamedFiles(git, built)

    def state_of(commit: str) -> bytes:
        parts = []
        for mode, name, content in scan_root(git, commit):
            if name in names:
                parts.append((mode, name, content))
            elif built and name == b"stages" and is_folder(mode):
                inside = bytes.fromhex(named.digest(content.hex()))
                parts += [(mode, name, inside)] if inside else []
        return digest_parts(parts)

    return state_of


def list_touching(git: Git, revisions: Sequence[str], state_of: StateOf, *, simplified: bool = False) -> list[str]:
    """The commits among some revisions of git that have another state than one of their parents, the newest first.

    Of a merge those parents count that are among the revisions or bound them (`^COMMIT`), if any are. `simplified`
    passes over sides of a merge that brought nothing, as `git log` does; `revisions` is one commit then.
    """
    states: dict[str, bytes] = {}

    def state(commit: str) -> bytes:
        if commit not in states:
            states[commit] = state_of(commit)
        return states[commit]

    listed = git.ask("rev-list", "--topo-order", *revisions, "--").split()
    git.read_commits(listed)
    near = {*listed, *(word[1:] for word in revisions if word.startswith("^"))}
    reached = set(listed[:1] if simplified else listed)
    touching = []
    for commit in (commit for commit in listed if commit in reached):
        everyone = () if commit in git.shallow else git.commit(commit).parents
        parents = [parent for parent in everyone if parent in near] or everyone
        unchanged = [parent for parent in parents if state(parent) == state(commit)]
        if simplified and unchanged:
            reached.add(unchanged[0])
            continue
        reached.update(parents)
        if len(unchanged) < len(parents) or (not parents and state(commit)):
            touching.append(commit)
    return touching
