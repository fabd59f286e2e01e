"""A clone of this project in a temporary folder with a study of its own, driven by the real git and dvc."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, closing, contextmanager
from pathlib import Path

from stages.repo.git import Git
from tests.support import forks

PROJECT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
#: What a run of the pipeline reads; tests, docs and the committed study stay behind.
PARTS = (
    "pyproject.toml",
    ".gitignore",
    ".gitattributes",
    ".dvcignore",
    "dvc.yaml",
    "stages",
    "trainer",
    "report",
    "studies",
    "live",
)


def environment() -> dict[str, str]:
    """The environment of every command: this interpreter first, git identified, nothing of the user's."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "DVC_"))}
    return keep | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "",
        "GIT_AUTHOR_NAME": "A Founder",
        "GIT_AUTHOR_EMAIL": "founder@example.org",
        "GIT_COMMITTER_NAME": "A Founder",
        "GIT_COMMITTER_EMAIL": "founder@example.org",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "DVC_NO_ANALYTICS": "1",
        "NO_COLOR": "1",
        "COLUMNS": "160",
    }


class Failed(AssertionError):
    """A command that ended badly; the message holds all that it printed."""


class Repo:
    """A repository at `root` and the commands that a person would type in it.

    `python`, and so `promotion` and `dvc`, are forks of a server that has imported what they import
    (tests/support/forks.py); with `alone`, processes from the start, as on a team's machines.
    """

    def __init__(self, root: Path, *, alone: bool = False) -> None:
        self.root, self.alone = root, alone

    def run(self, *command: str, check: bool = True, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a command in the repository; with `check`, a bad exit status fails the test with its output."""
        needs_server = not self.alone and command[0] != "git"  # whose start takes seconds
        variables = environment() | (forks.variables() if needs_server else {})
        done = subprocess.run(
            command, cwd=self.root, env=variables, capture_output=True, encoding="utf-8", timeout=timeout
        )
        if check and done.returncode:
            raise Failed(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def python(self, *words: str, **kwargs: bool | float) -> subprocess.CompletedProcess[str]:
        """Run `python WORDS`."""
        return self.run(sys.executable if self.alone else forks.python(), *words, **kwargs)

    def promotion(self, *words: str, **kwargs: bool | float) -> subprocess.CompletedProcess[str]:
        """Run `promotion WORDS`."""
        return self.python("-m", "stages.cli", *words, **kwargs)

    def dvc(self, *words: str, **kwargs: bool | float) -> subprocess.CompletedProcess[str]:
        """Run `dvc WORDS`."""
        return self.python("-m", "dvc", *words, **kwargs)

    def git(self, *words: str, **kwargs: bool | float) -> str:
        """Run `git WORDS`; what it printed."""
        return self.run("git", *words, **kwargs).stdout.strip()

    def commit(self, message: str) -> str:
        """Commit everything; the new commit's id."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def replace(self, path: str, old: str, new: str, count: int = 1) -> None:
        """Replace text in a file; the old text must be there."""
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {path}"
        file.write_bytes(text.replace(old, new, count).encode("utf-8"))

    def copy(self, root: Path) -> Repo:
        """An independent copy, cache and all."""
        shutil.copytree(self.root, root, symlinks=True)
        return Repo(root, alone=self.alone)


@contextmanager
def reading_git(root: Path) -> Iterator[Git]:
    """The repository around `root`, whose reader ends with the block."""
    with closing(Git(root)) as git:
        yield git


@contextmanager
def enter_copy(source: Path, root: Path) -> Iterator[Repo]:
    """A copy of a repository at `root`, as the working directory."""
    shutil.copytree(source, root)
    with chdir(root):
        yield Repo(root)


def create(root: Path, study: str = "smoke") -> Repo:
    """A new repository with the project's code, the named study and its rungs, committed; nothing frozen, nothing run."""
    root.mkdir(parents=True)
    ignore = shutil.ignore_patterns("__pycache__", "dvc.lock", "rung[0-9]*", "hindsight")
    for part in PARTS:
        source = PROJECT / part
        if source.is_dir():
            shutil.copytree(source, root / part, ignore=ignore)
        else:
            shutil.copy(source, root / part)
    shutil.copy(PROJECT / "studies" / f"{study}.yaml", root / "params.yaml")
    (root / "locks").mkdir()
    shutil.copy(PROJECT / "locks" / "README.md", root / "locks" / "README.md")
    repo = Repo(root)
    repo.git("init", "-q", "-b", "main")
    repo.dvc("init", "-q")
    shutil.copytree(PROJECT / ".dvc" / "plots", root / ".dvc" / "plots")
    repo.python("-m", "stages.rungs")
    repo.commit("A study, nothing frozen")
    return repo
