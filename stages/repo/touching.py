"""Which commits changed what somebody looks at.

    list_touching(git, ["HEAD"], watch_paths(git, ("locks", "ledger")))

This is what `git rev-list -- PATHS` lists, but each different folder is read once. Git walks a folder as often as it
stands in another, and ten small objects can make that ten thousand million times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stages.repo.folders import NamedFiles
from stages.repo.git import Git
from stages.repo.objects import FOLDER

#: What is looked at of a commit: equal for two where it does not differ. No part of it is true where nothing is there.
State = tuple[object, ...]


def watch_paths(git: Git, paths: Sequence[str], built: Sequence[str] = ()) -> Callable[[str], State]:
    """The state of a commit: what is at some paths, and the files of the names `built` anywhere in stages/."""
    named = NamedFiles(git, built)

    def state_of(commit: str) -> State:
        stages = git.entry(commit, "stages") if built else None
        inside = named.digest(stages.oid) if stages and stages.mode == FOLDER else ""
        return (*(git.entry(commit, path) for path in paths), inside)

    return state_of


def list_touching(
    git: Git, revisions: Sequence[str], state_of: Callable[[str], State], *, simplified: bool = False
) -> list[str]:
    """The commits among some revisions of git that have another state than one of their parents, the newest first.

    `simplified` passes over sides of a merge that brought nothing, as `git log` does; `revisions` is one commit then.
    """
    states: dict[str, State] = {}
    same: dict[State, State] = {}  # most commits have the state of their parents, which is kept once

    def state(commit: str) -> State:
        if commit not in states:
            value = state_of(commit)
            states[commit] = same.setdefault(value, value)
        return states[commit]

    listed = git.ask("rev-list", "--topo-order", *revisions, "--").split()
    reached = set(listed[:1] if simplified else listed)
    touching = []
    for commit in (commit for commit in listed if commit in reached):
        parents = () if commit in git.shallow else git.commit(commit).parents
        unchanged = [parent for parent in parents if state(parent) == state(commit)]
        if simplified and unchanged:
            reached.add(unchanged[0])
            continue
        reached.update(parents)
        if len(unchanged) < len(parents) or (not parents and any(state(commit))):
            touching.append(commit)
    return touching
