"""The tamper suite: a real study, more than a hundred ways to falsify it, and the check that catches each.

    python -m tests.verify          builds the smoke study, makes every manipulation, prints the table

Each manipulation is a function over a `Forger`; `@caught("digests", "...")` says which check must fail. Those marked
`depth="artifacts"` are looked for where artifacts are; all others in a clone that has nothing but git.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.verify.check import Depth
from stages.verify.result import CheckResult
from tests.verify.forger import Forger


@dataclass(frozen=True)
class Manipulation:
    """One way to falsify a study. `committed` ones are looked for in the commit, the others in the workspace."""

    check: str
    text: str
    make: Callable[[Forger], None]
    depth: Depth
    committed: bool

    @property
    def id(self) -> str:
        return self.make.__name__

    def attempt(self, study: Path, clone: Path, scratch: Path) -> tuple[CheckResult, ...]:
        """Falsify a copy of the `study` (for artifacts) or its `clone` (git alone), and verify it."""
        if self.depth == "artifacts":
            root = scratch / self.id
            shutil.copytree(study, root, symlinks=True)
        else:
            root = clone
            restore(clone)
        forger = Forger(root)
        self.make(forger)
        commit = forger.commit() if self.committed else None
        return forger.verify(commit, self.depth)


#: What of a place or of words is one machine's or one commit's own: digests, scores, sizes, runs by name.
_OWN = re.compile(
    r"(?<=files/md5/)[0-9a-f]{2}|[0-9a-f]{7,}(?:\.dir)?|\d+\.dir|(?:rung\d|hindsight)(?:/[\w.-]+){3}|(?<=run@)[\w.-]+|(?<=floor@)[\w.-]+"
    r"|(?<![a-z])d\d-[a-z]\b|\d+\.\d+(?:e-?\d+)?|\d{4,}"
)
PLACES = Path(__file__).with_name("places.tsv")
#: How many problems of one manipulation are kept, of those that differ in more than what is a machine's own.
_KEPT = 3


def describe_problems(results: tuple[CheckResult, ...], check: str) -> list[str]:
    """What a manipulation is told as, without what differs between machines: a line for each of the first problems.

    Each with the file, the line, the place in it, what was found, what was expected, and what that means.
    """
    result = next(result for result in results if result.check.name == check)
    texts: dict[str, None] = {}
    for problem in result.problems:
        line = str(problem.line or "")
        words = (problem.file, line, problem.pointer or "", problem.found, problem.expected, problem.meaning)
        texts["\t".join(" ".join(_OWN.sub("#", word).split()) for word in words)] = None
    return list(texts)[:_KEPT]


def read_places() -> dict[str, list[str]]:
    """What every manipulation is told as, by its id: `python -m tests.verify --write-places` writes it."""
    places: dict[str, list[str]] = {}
    for line in PLACES.read_text(encoding="utf-8").splitlines():
        name, _, words = line.partition("\t")
        places.setdefault(name, []).append(words)
    return places


def restore(clone: Path) -> None:
    """Bring a clone back to what was cloned."""
    forger = Forger(clone)
    for name in forger.git("replace", "-l").split():
        forger.git("replace", "-d", name)
    shutil.rmtree(clone / "ledger" / ".git", ignore_errors=True)
    forger.git("checkout", "-q", "-f", "origin/main")
    forger.git("checkout", "-q", "-f", "-B", "main", "origin/main")
    forger.git("clean", "-q", "-f", "-f", "-d", "-x")
    forger.git("branch", "-q", "-D", "rewritten") if forger.git("branch", "--list", "rewritten") else None


MANIPULATIONS: list[Manipulation] = []


def caught(check: str, text: str, *, depth: Depth = "git", committed: bool = True) -> Callable[[Any], Any]:
    """Register a manipulation with the check that must catch it."""

    def register(make: Callable[[Forger], None]) -> Callable[[Forger], None]:
        MANIPULATIONS.append(Manipulation(check, text, make, depth, committed))
        return make

    return register
