"""What GitHub runs is pinned: actions by commit, and the verifier's packages by the hash of their files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bench import workflows
from tests.support.repo import PROJECT

WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
ACTION = PROJECT / "verify" / "action.yml"
#: A workflow's own step, taken from the checkout of the base branch.
LOCAL = re.compile(r"\./verifier/verify  # .*")
REQUIREMENTS = PROJECT / ".github" / "verify-requirements.txt"


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(path: Path) -> dict[str, str]:
    """Package -> version of a file of requirements."""
    lines = (line.split(" ")[0] for line in path.read_text(encoding="utf-8").splitlines() if re.match(r"\w", line))
    return {normalize(line.split("==")[0]): line.split("==")[1] for line in lines}


@pytest.mark.parametrize("path", [*WORKFLOWS, ACTION], ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit_and_names_its_version(path):
    uses = re.findall(r"uses: *(.*)", path.read_text(encoding="utf-8"))
    assert uses
    for use in (use for use in uses if not LOCAL.fullmatch(use) and "OWNER" not in use and "<" not in use):
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+.*", use), use


@pytest.mark.parametrize("path", [*WORKFLOWS, ACTION], ids=lambda path: path.name)
def test_no_checkout_leaves_a_token_behind_and_no_expression_reaches_a_shell(path):
    value = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    for job in value["jobs"].values() if "jobs" in value else [value["runs"]]:
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
            assert "${{" not in step.get("run", ""), step


def test_the_verifier_is_installed_by_hash_in_the_tested_versions():
    lines = [line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if line[0] not in "#-"]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    tested = read_pins(PROJECT / "constraints.txt")
    assert {name: tested.get(name) for name in read_pins(REQUIREMENTS)} == read_pins(REQUIREMENTS)
    text = ACTION.read_text(encoding="utf-8")
    assert '--require-hashes -r "$ACTION/../.github/verify-requirements.txt"' in text
    assert text.count("pip install") == 1
    assert "pip install" not in (PROJECT / ".github" / "workflows" / "verify.yml").read_text(encoding="utf-8")


def test_verifying_imports_no_package_but_those():
    code = """
import sys
before = set(sys.modules)  # a .pth file of the environment may import something of its own
sys.argv = ["promotion", "verify", "--repo", ".", "--rev", "HEAD", "--depth", "git", "--json", "--against", "HEAD"]
from stages.cli import main
try:
    main()
except SystemExit:
    pass
print("\\n", *sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, encoding="utf-8", check=True)
    imported = set(done.stdout.splitlines()[-1].split())
    owners = packages_distributions()
    needed = {normalize(owner) for name in imported for owner in owners.get(name, []) if name in owners}
    assert "pydantic" in needed, "the verification ran"
    optional = {"charset-normalizer"}  # numpy.f2py takes it where it is
    assert needed - {*read_pins(REQUIREMENTS), "staged-promotion"} - optional == set()


@pytest.fixture
def linter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a program of that name, which says a version and how it was called, on an otherwise empty path."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / "bin").mkdir()

    def write(name: str, version: str = workflows.VERSION, status: int = 0) -> None:
        program = tmp_path / "bin" / name
        tell = f'if [ "$1" = -version ]; then echo {version}; exit; fi\n'
        go = f'if [ "$1" = install ]; then printf "#!/bin/sh\\necho {version}\\n" > "$GOBIN/actionlint"; '
        go += f'/bin/chmod +x "$GOBIN/actionlint"; echo "$2"; exit {status}; fi\n'
        program.write_text(f'#!/bin/sh\n{tell}{go}echo "linted $@"\nexit {status}\n', encoding="utf-8")
        program.chmod(0o755)

    return write


@pytest.mark.skipif(os.name == "nt", reason="the program that is tried is a shell script")
def test_the_pinned_actionlint_is_part_of_the_check_where_it_can_be_had(linter, capfd):
    assert workflows.main() == 0
    assert f"actionlint {workflows.VERSION} was NOT run" in capfd.readouterr().err
    linter("actionlint", "1.6.0")
    assert workflows.main() == 0, "another version is none"
    assert "was NOT run" in capfd.readouterr().err
    linter("go", status=1)
    assert workflows.main() == 0, "a Go without a network builds nothing"
    assert "was NOT run" in capfd.readouterr().err
    linter("go")
    assert workflows.main() == 0
    assert f"github.com/rhysd/actionlint/cmd/actionlint@v{workflows.VERSION}" in capfd.readouterr().out
    linter("actionlint", status=1)
    assert workflows.main() == 1, "what it finds fails the check"
    assert capfd.readouterr() == ("linted -shellcheck= -pyflakes=\n", "")


def test_the_check_and_the_workflow_run_one_version_of_actionlint():
    assert "python -m bench.workflows" in (PROJECT / "Makefile").read_text(encoding="utf-8")
    text = (PROJECT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert f"actionlint@v{workflows.VERSION} {' '.join(workflows.OPTIONS)}" in text


def normalized_names(requirements: list[str]) -> set[str]:
    return {normalize(re.split(r"[\[<>=;]", line)[0].strip()) for line in requirements}


def test_the_install_without_an_extra_is_what_the_verifier_needs_and_a_study_has_an_extra_of_its_own():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core, extras = normalized_names(project["dependencies"]), project["optional-dependencies"]
    assert core <= set(read_pins(REQUIREMENTS))
    assert extras["verify"] == []
    assert {"torch", "dvc"} <= normalized_names(extras["study"])
    assert not {"torch", "dvc"} & core


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "--repo . --depth git --require R --rev HEAD"),
        ({"RANGE": "A..B", "KNOWN": "main"}, "--repo . --depth git --require R --range A..B --known main"),
        (
            {"REV": "v1.0", "SIGNERS": "s; rm -rf x"},
            "--repo . --depth git --require R --rev v1.0 --signers s; rm -rf x",
        ),
    ],
)
def test_the_action_hands_its_inputs_to_the_verifier_as_they_are(tmp_path: Path, given: dict[str, str], words: str):
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("no bash")
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$PYTHONPATH" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    steps = YAML(typ="safe").load(ACTION.read_text(encoding="utf-8"))["runs"]["steps"]
    (step,) = (step for step in steps if step["name" if "name" in step else "id"] == "Verify")
    inputs = {"REPO": ".", "RANGE": "", "KNOWN": "", "REV": "HEAD", "REQUIRE": "R", "SIGNERS": ""} | given
    reported = {**os.environ, "FOLDER": str(tmp_path), "ACTION": "/action", **inputs}
    done = subprocess.run(
        [shell, "-e", "-c", step["run"]], env=reported, capture_output=True, encoding="utf-8", check=True
    )
    path, *rest = done.stdout.splitlines()
    reports = [word for kind, name in (("json", "json"), ("junit", "xml"), ("markdown", "md"))
               for word in (f"--{kind}", f"{tmp_path}/verify.{name}")]  # fmt: skip
    assert path == "/action/.."
    assert rest[:4] == ["-P", "-m", "stages.cli", "verify"]
    assert " ".join(rest[4:-6]) == words
    assert rest[-6:] == reports
