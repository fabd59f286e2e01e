"""What git is in the middle of: a merge, a rebase, a cherry-pick or a revert that stopped at a conflict."""

from __future__ import annotations

from collections import defaultdict

from stages.repo.git import Git

#: By what lies in .git meanwhile: the command that ends it once every file is decided. It opens no editor.
_ENDINGS = {
    "MERGE_HEAD": "git commit --no-edit",
    "rebase-merge": "git -c core.editor=true rebase --continue",
    "rebase-apply": "git -c core.editor=true rebase --continue",
    "CHERRY_PICK_HEAD": "git -c core.editor=true cherry-pick --continue",
    "REVERT_HEAD": "git -c core.editor=true revert --continue",
}
OURS, THEIRS = 2, 3


def find_ending(git: Git) -> str | None:
    """The command that ends what git is in the middle of, or None."""
    places = git.ask("rev-parse", *(word for name in _ENDINGS for word in ("--git-path", name))).split("\n")
    ended = zip(places, _ENDINGS.values(), strict=False)
    return next((ending for place, ending in ended if (git.root / place).exists()), None)


def list_unmerged(git: Git) -> dict[str, frozenset[int]]:
    """The files that git has not merged, in the whole repository, with the sides that have each: OURS, THEIRS."""
    sides: dict[str, set[int]] = defaultdict(set)
    for entry in filter(None, git.ask("ls-files", "--unmerged", "-z", "--", ":/").split("\0")):
        head, _, path = entry.partition("\t")
        sides[path].add(int(head.split()[2]))
    return {path: frozenset(numbers) for path, numbers in sides.items()}
