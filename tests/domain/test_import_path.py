"""A program of this project imports its own packages from the working folder and nothing else, and no metadata there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.domain.import_path import (
    OwnPackageFinder,
    is_starting_program,
    leave_working_folder,
    return_to_working_folder,
)
from tests.support.repo import PROJECT, environment

#: Code that says that it ran.
MARK = "import pathlib; pathlib.Path('ran').touch()\n"
#: What stands at the root of a hostile study: torch asks for the first two, and it and pydantic load entry points.
HOSTILE = {
    "a namespace that torch asks for": {"torchcomms/_comms.py": MARK},
    "a namespace of a driver": {"cuda/bindings/driver.py": MARK},
    "an entry point of torch": {
        "evil-1.0.dist-info/entry_points.txt": "[torch.backends]\nevil = evilmod.x:f\n",
        "evilmod/x.py": MARK + "def f(): pass\n",
    },
    "an entry point of torch in an egg-info": {
        "evil.egg-info/entry_points.txt": "[torch.backends]\nevil = evilmod.x:f\n",
        "evilmod/x.py": MARK + "def f(): pass\n",
    },
    "a plugin of pydantic": {
        "evil-1.0.dist-info/entry_points.txt": "[pydantic]\nevil = evilmod.x:f\n",
        "evilmod/x.py": MARK + "def f(): pass\n",
    },
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    for package in ("stages", "trainer", "report"):
        shutil.copytree(PROJECT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(params=HOSTILE, ids=str)
def hostile(request: pytest.FixtureRequest, project: Path):
    """The root of a study that wants to be imported; `ran` in it says that it was."""
    for path, text in HOSTILE[request.param].items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text, encoding="utf-8")
    yield project
    for path in HOSTILE[request.param]:
        shutil.rmtree(project / path.split("/")[0], ignore_errors=True)
    (project / "ran").unlink(missing_ok=True)


def run_python(root: Path, *words: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    variables = environment() | ({"PYTHONPATH": path} if path is not None else {})
    return subprocess.run([sys.executable, *words], cwd=root, env=variables, capture_output=True, encoding="utf-8")


@pytest.mark.parametrize("path", [None, "", ".", "ROOT", "stages/.."])
def test_a_run_imports_nothing_from_the_root_of_a_study_but_the_packages_of_this_project(hostile: Path, path):
    done = run_python(hostile, "-m", "stages.run", path=path and path.replace("ROOT", str(hostile)))
    assert done.returncode == 2 and "usage" in done.stderr, done.stderr
    assert not (hostile / "ran").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="runs are forked on Linux alone")
def test_the_server_that_imports_torch_for_runs_imports_nothing_from_there_either(hostile: Path):
    request = {"arguments": ["-m", "stages.run"], "log": str(hostile / "log"), "load": True}
    words = [sys.executable, "-m", "stages.hosts.fork_server"]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, cwd=hostile, env=environment(), encoding="utf-8", **streams) as server:
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        assert server.stdout.readline() == "2\n"
        server.stdin.close()
    assert "usage" in (hostile / "log").read_text(encoding="utf-8")
    assert not (hostile / "ran").exists()


def test_a_process_that_trains_loads_torch_without_the_root_of_a_study(hostile: Path):
    """As `stages.run` does, whose first import of `stages` finds Python looking for a program."""
    code = "import sys; sys.path.insert(0, ''); sys.argv = ['-m']; import stages; import trainer.loop; print(stages.__file__, trainer.__file__)"
    done = run_python(hostile, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(hostile / name / "__init__.py") for name in ("stages", "trainer")]
    assert not (hostile / "ran").exists()


@pytest.mark.parametrize("module", ["stages.gate", "stages.ledger", "stages.cli", "stages.hosts.dvc_commit", "report"])
def test_so_does_every_program_of_the_project(project: Path, module: str):
    code = {"evil-1.0.dist-info/entry_points.txt": "[pydantic]\nevil = evilmod.x:f\n", "evilmod/x.py": MARK}
    for path, text in code.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text, encoding="utf-8")
    run_python(project, "-m", module)
    for path in code:
        shutil.rmtree(project / path.split("/")[0])
    assert not (project / "ran").exists()


def test_whoever_imports_the_project_keeps_his_import_path(project: Path):
    code = "import sys; before = list(sys.path), list(sys.meta_path); import stages, report; print(before == (sys.path, sys.meta_path))"
    assert run_python(project, "-c", code).stdout == "True\n"


def test_a_program_that_was_started_without_the_working_folder_takes_nothing_from_it(project: Path, tmp_path: Path):
    shutil.copytree(project / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "__init__.py").write_text(MARK, encoding="utf-8")
    run_python(tmp_path, "-P", "-m", "report", path=str(project))
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def import_path(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))


def test_every_spelling_of_the_working_folder_is_taken_off(import_path, tmp_path: Path, monkeypatch):
    (tmp_path / "stages").mkdir()
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "__init__.py").touch()
    (tmp_path / "other.py").touch()
    monkeypatch.chdir(tmp_path)
    kept = ["stages", str(tmp_path.parent), str(tmp_path / "python311.zip")]
    sys.path[:] = ["", ".", str(tmp_path), f"{tmp_path}{os.sep}", str(tmp_path / "stages" / ".."), *kept]
    leave_working_folder()
    assert sys.path == kept
    (finder,) = [finder for finder in sys.meta_path if isinstance(finder, OwnPackageFinder)]
    spec = finder.find_spec("trainer")
    assert spec is not None and spec.origin == str(tmp_path / "trainer" / "__init__.py")
    assert finder.find_spec("stages") is None, "a folder without __init__.py is no package"
    assert finder.find_spec("other") is None and finder.find_spec("trainer.stages", [str(tmp_path)]) is None
    leave_working_folder()
    assert sum(isinstance(finder, OwnPackageFinder) for finder in sys.meta_path) == 1
    return_to_working_folder()
    assert sys.path == [str(tmp_path), *kept]
    assert not any(isinstance(finder, OwnPackageFinder) for finder in sys.meta_path)


@pytest.mark.parametrize(
    ("words", "starting"), [(["-m"], True), (["-m", "x"], True), (["x", "-m"], False), (["x"], False), ([], False)]
)
def test_python_looks_for_a_program_where_its_words_begin_so(words: list[str], starting: bool, monkeypatch):
    monkeypatch.setattr(sys, "argv", words)
    assert is_starting_program() is starting


def test_the_packages_of_this_project_are_looked_for_first_and_only_where_the_folder_was_on_the_path(
    import_path, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    finders = list(sys.meta_path)
    sys.path[:] = kept = [str(tmp_path.parent)]
    leave_working_folder()
    assert (sys.path, sys.meta_path) == (kept, finders)
    sys.path[:] = [*kept, ""]
    leave_working_folder()
    assert sys.path == kept
    assert isinstance(sys.meta_path[0], OwnPackageFinder) and sys.meta_path[1:] == finders
    assert sys.meta_path[0].find_spec("trainer") is None
