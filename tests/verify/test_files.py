"""What V01 and V17 name and do not fail: it may be honest, and may as well be there to be taken for something else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.repo.git import Git
from stages.repo.objects import EXECUTABLE, FILE, FOLDER, LINK, REPOSITORY
from stages.repo.tree import WorkTree
from stages.verify import files
from stages.verify.check import Case, Options, Problem
from stages.verify.files import _OWN
from stages.verify.look_alikes import fold_name, is_short_name_of, loosen_name
from tests.support.repo import PROJECT, environment
from tests.verify.forger import Forger, failed

FOLDERS = "folders at the root with modules that nothing freezes: {}; runs cannot import them, but a trainer that is started in the root can"


def notes_of(clone: Forger, check: str) -> list[str]:
    results = clone.verify(clone.commit())
    assert failed(results) == []
    return [note for result in results if result.check.id == check for note in result.notes]


@pytest.mark.parametrize(
    ("path", "note"),
    [
        ("torchcomms/_comms.py", FOLDERS.format("torchcomms")),
        ("cuda/bindings/driver.py", FOLDERS.format("cuda")),
        ("triton/driver.cpython-311-x86_64-linux-gnu.so", FOLDERS.format("triton")),
        ("evilmod/x.pyw", FOLDERS.format("evilmod")),
        ("python311.zip", "at the root, and read by nothing here: python311.zip"),
        ("pyvenv.cfg", "at the root, and read by nothing here: pyvenv.cfg"),
        ("Dvcfile", "at the root, and read by nothing here: Dvcfile"),
        ("5tages/run.txt", "'5tages' at the root reads like stages, and nothing here reads it"),
        ("pararns.yaml", "'pararns.yaml' at the root reads like params.yaml, and nothing here reads it"),
        ("params.yml", "'params.yml' at the root reads like params.yaml, and nothing here reads it"),
        ("dvc.yml", "'dvc.yml' at the root reads like dvc.yaml, and nothing here reads it"),
    ],
)
def test_what_may_be_honest_is_named_and_does_not_fail(clone: Forger, path: str, note: str):
    clone.write(path, b"x = 1\n")
    clone.git("add", "-f", path)
    assert notes_of(clone, "V01") == [note]


@pytest.mark.parametrize("path", ["docs/page.md", "my-trainer/train.py", "data/text.txt", "test.sh", "params.md"])
def test_what_nobody_takes_for_anything_else_is_not_named(clone: Forger, path: str):
    clone.write(path, b"x = 1\n")
    assert notes_of(clone, "V01") == []


@pytest.mark.parametrize("path", ["mine/.dvcignore", "mine/.dvc/config"])
def test_files_of_dvc_in_a_folder_of_a_team_are_named(clone: Forger, path: str):
    clone.write(path, b"")
    clone.git("add", "-f", path)
    assert notes_of(clone, "V17") == [f"files of DVC that are none of the study's, which nothing here looks at: {path}"]


@pytest.mark.parametrize("git", [True, False])
def test_what_pip_leaves_where_the_program_was_installed_from_is_no_metadata_of_the_study(clone: Forger, git: bool):
    """In the workspace, where git ignores it; without git, under the project's own name."""
    own, other = "staged_promotion.egg-info", "torch_evil.egg-info"
    with (clone.root / ".git" / "info" / "exclude").open("a", encoding="utf-8") as exclude:
        exclude.write("*.egg-info\n")
    for folder in (own, other):
        clone.write(f"{folder}/entry_points.txt", b"")
    case = Case(clone.root, WorkTree(clone.root), Git(clone.root) if git else None, None, Options("git"))
    assert [problem.file for problem in files._metadata(case)] == ([] if git else [other])
    commit = replace(case, commit="a" * 40)
    assert sorted(problem.file for problem in files._metadata(commit)) == [own, other]


def test_names_of_the_study_are_told_apart():
    assert len({loosen_name(name) for name in _OWN}) == len({fold_name(name) for name in _OWN}) == len(_OWN)
    assert not any(is_short_name_of(name, own) for name in _OWN for own in _OWN)


@pytest.mark.parametrize("own", ["locks", "params.yaml", ".dvcignore"])
@pytest.mark.parametrize(
    "unseen", ["\u200b", "\u3164", "\u115f", "\uffa0", "\u2800", "\x7f", " ", "\t", "\n", "\u0301"]
)
def test_what_shows_nothing_changes_no_name(own: str, unseen: str):
    assert {fold_name(own[:at] + unseen + own[at:]) for at in range(len(own) + 1)} == {fold_name(own)}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such a name")
@pytest.mark.parametrize("path", [b"trainer/b\xff.py", b"stages/b\xff.py", b"locks/b\xff.yaml", b"ledger/b\xff.jsonl"])
def test_a_name_that_is_no_utf8_is_named_and_breaks_nothing(clone: Forger, path: bytes):
    clone.write(os.fsdecode(path), b"x = 1\n")
    commit = clone.commit()
    for words in (["--rev", commit], ["--rev", commit, "--json"], ["--rev", commit, "--against", "HEAD~1"], []):
        done = promotion(clone, "verify", *words)
        assert (done.returncode, done.stderr) == (1, ""), done.stderr
        assert "b\\xff" in done.stdout or "b\\udcff" in done.stdout
    for command in ("status", "dag"):
        done = promotion(clone, command)
        assert "Traceback" not in done.stderr
        if path.startswith(b"trainer/"):
            expected = r"error: trainer/b\xff.py: found a name that is no UTF-8, expected one that is; rename it, or take it away"
            assert (done.returncode, done.stderr.strip()) == (2, expected)


def promotion(clone: Forger, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line, by the code under test and not by the copy in the clone."""
    variables = environment() | {"PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-P", "-m", "stages.cli", *words]
    return subprocess.run(command, cwd=clone.root, env=variables, capture_output=True, encoding="utf-8")


def test_a_folder_that_git_ignores_is_not_named_in_the_workspace(clone: Forger):
    clone.write("build/lib/x.py", b"x = 1\n")
    clone.write("mine/x.py", b"x = 1\n")
    (plain,) = (result for result in clone.verify(None) if result.check.id == "V01")
    assert plain.notes == (FOLDERS.format("mine"),)


# The same of a tree of a few files


@dataclass
class Tree:
    """A tree of these files, plain ones where no mode says otherwise."""

    files: Mapping[str, bytes]
    modes: Mapping[str, str] = field(default_factory=dict)

    def paths(self, folder: str = "") -> list[str]:
        return sorted(path for path in self.files if not folder or path.startswith(f"{folder}/"))

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def mode(self, path: str) -> str | None:
        return self.modes.get(path, FILE) if path in self.files else None


@dataclass
class Ignoring:
    """A repository that ignores these paths, and keeps what it was asked for."""

    paths: frozenset[str] = frozenset()
    asked: list[list[str]] = field(default_factory=list)

    root = Path("study")

    def run(self, *words: str, stdin: bytes) -> Any:
        self.asked.append(stdin.decode().split("\0")[:-1])
        return SimpleNamespace(returncode=0, stdout="".join(f"{path}\0" for path in sorted(self.paths)).encode())


def looked_at(
    paths: Mapping[str, bytes] | list[str], commit: str | None = "c", git: Any = None, **modes: str
) -> tuple[list[Problem], list[str], tuple[str, ...]]:
    """What V01 says of a tree: problems, notes, and the files that it takes for those of the study."""
    contents = paths if isinstance(paths, Mapping) else dict.fromkeys(paths, b"")
    tree: Any = Tree(contents, {path.replace("__", "/"): mode for path, mode in modes.items()})
    case = Case(Path("study"), tree, git, commit, Options("git"))
    problems = list(files.check_plain_files(case))
    return problems, case.notes, case.get(files.PlainFiles).paths


LOOK_ALIKE = "a look-alike name can hide which file is read"
PLAIN_NAME = "a name of ASCII letters, digits, '.', '_', '-', '@'"
STRANGER = ("a file that nothing here writes", "no such file", "it may be taken for evidence")
COMPILED = ("compiled code", "its source alone", "Python may run it in the place of the source that is hashed")
NO_MODULE = ("a file that is no module", "the modules of the runner alone", "the frozen runner's digest leaves it out")
POINTS = "what it points to is not what was committed"


def test_the_files_of_a_study_are_plain_and_are_handed_on_in_their_order():
    own = ["params.yaml", "dvc.yaml", "dvc.lock", "locks/README.md", "locks/gate1.yaml", "locks/gate10.yaml.sig"]
    own += [f"ledger/{name}" for name in (".gitignore", "README.md", "decisions.jsonl", "hindsight.jsonl")]
    own += ["ledger/metrics.json", "ledger/runs.jsonl", "trainer/loop.py", "stages/ladder/rung1/a/dvc.lock"]
    own += ["stages/notes.txt"]
    assert looked_at([*own, "docs/x.md"]) == ([], [], tuple(own))
    assert looked_at(own[1:]) == ([], [], tuple(own[1:]))


@pytest.mark.parametrize(
    ("path", "mode", "problem"),
    [
        ("trainer/a.py", EXECUTABLE, None),
        ("trainer/a.py", LINK, ("a symbolic link", "a file", POINTS)),
        ("params.yaml", REPOSITORY, ("another repository", "a file", POINTS)),
        ("locks/gate1.yaml", FOLDER, ("no regular file", "a file", POINTS)),
        ("locks", FILE, ("a file", "a folder", "what should stand in it is hidden")),
        ("stages", LINK, ("a symbolic link", "a file", POINTS)),
        ("stages/a b.py", FILE, ("the name 'stages/a b.py'", PLAIN_NAME, LOOK_ALIKE)),
        ("stages/\u00e9.py", FILE, ("the name 'stages/\\xe9.py'", PLAIN_NAME, LOOK_ALIKE)),
        ("locks/gate0.yaml", FILE, STRANGER),
        ("locks/gate100.yaml", FILE, STRANGER),
        ("locks/gate99.yaml", FILE, None),
        ("locks/gate1.yaml.bak", FILE, STRANGER),
        ("ledger/other.jsonl", FILE, STRANGER),
        ("ledger/gate1.yaml", FILE, STRANGER),
        ("stages/a.pyc", FILE, COMPILED),
        ("stages/__pycache__/a.txt", FILE, COMPILED),
        ("trainer/a.so", FILE, COMPILED),
        ("trainer/a.txt", FILE, NO_MODULE),
        ("stages/a.txt", FILE, None),
    ],
)
def test_a_file_that_is_none_or_does_not_belong_there_is_told(path, mode, problem):
    problems, notes, own = looked_at([path], **{path.replace("/", "__"): mode})
    assert problems == ([Problem(path, *problem)] if problem else [])
    assert (notes, own) == ([], (path,))


CONFLICT = b"a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> topic\n"
END = ("a last line that does not end", "a whole file", "the end may be missing")
RETURN = ("a carriage return", "LF line ends", "its digest is not the recorded one")
MERGE = ("a merge conflict", "one side of it", "nobody decided yet what it says")
NO_UTF8 = ("no UTF-8 at byte 2", "UTF-8", "the file is not the one that was written")


@pytest.mark.parametrize(
    ("path", "data", "problems"),
    [
        ("params.yaml", b"", []),
        ("params.yaml", b"a\n", []),
        ("params.yaml", b"a", [(END, None)]),
        ("locks/gate1.yaml", b"a", [(END, None)]),
        ("locks/gate1.yaml.sig", b"a", []),
        ("locks/README.md", b"a", []),
        ("ledger/runs.jsonl", b"a", [(END, None)]),
        ("ledger/metrics.json", b"a", [(END, None)]),
        ("stages/ladder/dvc.lock", b"a", [(END, None)]),
        ("dvc.lock", b"a\r\n", [(RETURN, 1)]),
        ("dvc.lock", b"a\nb\n\rc\n", [(RETURN, 3)]),
        ("dvc.lock", CONFLICT, [(MERGE, 2)]),
        ("dvc.yaml", CONFLICT, [(MERGE, 2)]),
        ("dvc.yaml", b"a\r\n\xff", []),
        ("stages/notes.txt", CONFLICT, []),
        ("params.yaml", b"a\n\xff\r", [(NO_UTF8, None), (RETURN, 2), (END, None)]),
    ],
)
def test_a_file_of_text_is_utf8_with_line_feeds_whole_and_without_conflicts(path, data, problems):
    reported = [Problem(path, *text, line=line) for text, line in problems]
    assert looked_at({path: data})[0] == reported


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("a.py", True),
        ("A.PY", True),
        ("a.pyw", True),
        ("a.so", True),
        ("a.pyd", True),
        ("a.txt", False),
        ("mine-x/a.py", False),
        ("mine-x/__init__.py", True),
        ("mine-x/__init__.pyc", True),
        ("mine-x/sub/__init__.py", False),
        ("tests/__init__.py", False),
        ("locks-x/__init__x.py", False),
    ],
)
def test_what_python_would_import_from_the_root_is_told(path, problem):
    meaning = "Python looks at the root first, and could import it in the place of what a run means to import"
    reported = Problem(path, "an importable module", "none at the root: move it into a folder", meaning)
    assert looked_at([path])[:2] == ([reported] if problem else [], [])


@pytest.mark.parametrize("name", ["a.dist-info", "A.EGG-INFO", "a.egg", "a.egg-link", "a.pth", "python311._pth. "])
def test_metadata_of_packages_at_the_root_is_told_once(name):
    meaning = "a package that looks for entry points would run the code that it names"
    reported = Problem(name, "metadata of a Python package", "none at the root of a study", meaning)
    assert looked_at([f"{name}/RECORD", f"{name}/other"])[0] == [reported]
    assert looked_at([f"docs/{name}/RECORD"])[0] == []
    git = Ignoring(frozenset({name}))
    assert looked_at([f"{name}/RECORD"], commit=None, git=git)[0] == []
    assert git.asked == [[name]]
    assert looked_at([f"{name}/RECORD"], commit="c", git=git)[0] == [reported]
    assert looked_at([f"{name}/RECORD"], commit=None, git=Ignoring(frozenset({"other"})))[0] == [reported]


def test_git_is_not_asked_where_nothing_is_suspicious():
    git = Ignoring()
    assert looked_at(["docs/a.md", "params.yaml"], commit=None, git=git)[:2] == ([], [])
    assert git.asked == []


def test_folders_of_modules_are_named_without_those_that_git_ignores_or_the_runner_freezes():
    paths = ["b/x.py", "a/deep/y.PYW", "a/z.py", "data/x.txt", "no-name/x.py", "stages/x.py", "bench/y.py"]
    assert looked_at(paths)[:2] == ([], [FOLDERS.format("a and b")])
    git = Ignoring(frozenset({"a/"}))
    assert looked_at(paths, commit=None, git=git)[:2] == ([], [FOLDERS.format("b")])
    assert git.asked == [["a/", "b/"]]
    assert looked_at(paths, commit="c", git=git)[1] == [FOLDERS.format("a and b")]
    assert looked_at(paths, commit=None)[1] == [FOLDERS.format("a and b")]
    frozen = {**dict.fromkeys(paths, b""), "params.yaml": b"runner:\n  files: [a/z.py, b/x.py, 7]\n"}
    assert looked_at(frozen)[1] == [FOLDERS.format("a")], "a/deep/y.PYW is not frozen"
    frozen["params.yaml"] = b"runner:\n  files: [a/z.py, a/deep/y.PYW]\n"
    assert looked_at(frozen)[1] == [FOLDERS.format("b")]


@pytest.mark.parametrize(
    "params", [b"runner: 1\n", b"runner:\n  files: a/z.py\n", b"other: 1\n", b"{\n", b"runner:\n  kind: x\n"]
)
def test_where_params_yaml_freezes_no_files_every_folder_of_modules_is_named(params):
    assert looked_at({"a/z.py": b"", "params.yaml": params})[1] == [FOLDERS.format("a")]


def test_what_people_take_for_something_that_is_read_is_named():
    paths = ["Dvcfile", "pyvenv.cfg. ", "python3.zip", "python.zip", "locks5/x", "l0cks", "dvc.yml/x", "dvc.yml/y"]
    problems, notes, _ = looked_at(paths)
    assert [(problem.file, problem.found) for problem in problems] == [("l0cks", "the name 'l0cks'")]
    assert notes == [
        "at the root, and read by nothing here: Dvcfile, python.zip, python3.zip and pyvenv.cfg. ",
        "'dvc.yml' at the root reads like dvc.yaml, and nothing here reads it",
    ]


def test_a_name_that_is_one_of_the_study_s_elsewhere_is_told_once():
    other, reader = "'Locks'", "on another file system, or to a reader, the one is the other"
    reported = Problem("Locks/a", f"the name {other}", "none that looks like locks", reader)
    assert looked_at(["Locks/a", "Locks/b", "locks/README.md"])[0] == [reported]
    short = Problem("PARAMS~1.YAM", "the name 'PARAMS~1.YAM'", "none that looks like params.yaml", reader)
    assert looked_at(["PARAMS~1.YAM"])[0] == [short]
    assert looked_at(["params.yaml", "docs/Locks/a"])[0] == []


def test_two_names_in_a_folder_of_the_study_that_differ_in_spelling_are_told():
    meaning = "a file system that does not tell the two apart holds one of them"

    def told(path: str, first: str) -> Problem:
        return Problem(path, f"a name that differs from {first!a} in spelling alone", "one of the two", meaning)

    assert looked_at(["stages/A.txt", "stages/a.txt"])[0] == [told("stages/a.txt", "stages/A.txt")]
    assert looked_at(["stages/A/x.txt", "stages/a/y.txt"])[0] == [told("stages/a/y.txt", "stages/A")]
    assert looked_at(["stages/A/x.txt", "stages/A/y.txt", "tests/a"])[0] == []
    assert looked_at(["docs/A.txt", "docs/a.txt"])[0] == []


def test_what_git_ignores_in_the_workspace_is_named(tmp_path):
    for path in ("locks/README.md", "stages/b~", "stages/a~"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    git: Any = Ignoring(frozenset({"stages/a~", "stages/b~"}))
    case = Case(tmp_path, WorkTree(tmp_path, git), git, None, Options("git"))
    assert list(files.check_plain_files(case)) == []
    assert case.notes == [
        f"'stages/{name}~' is not looked at: git ignores it, and no commit holds it" for name in ("a", "b")
    ]
    assert case.get(files.PlainFiles).paths == ("locks/README.md",)
