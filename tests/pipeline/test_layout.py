"""The repository as DVC, git and a newcomer see it: the graph, the arrows, the files that must agree."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages import rungs
from stages.domain import study
from tests.support.repo import PROJECT

SOURCES = sorted(
    path
    for part in ("stages", "trainer", "report")
    for path in (PROJECT / part).rglob("*.py")
    if "__pycache__" not in path.parts
)


def imports(path: Path) -> set[str]:
    """The modules that a file imports, function bodies included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def room(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def test_the_committed_rungs_are_what_the_generator_writes():
    default = study.load(PROJECT / "params.yaml")
    generated = [file for rung in (*default.rungs, "hindsight") for file in rungs.pipeline_files(default, rung)]
    committed = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "stages").rglob("dvc.yaml")}
    assert committed == {file.path for file in generated}
    for file in generated:
        text = (PROJECT / file.path).read_bytes().decode("utf-8")
        assert text == file.text, "regenerate with `python -m stages.rungs --hindsight`"


def test_params_yaml_is_the_default_study():
    assert (PROJECT / "params.yaml").read_bytes() == (PROJECT / "studies" / "laptop.yaml").read_bytes()


@pytest.mark.parametrize(
    ("file", "name"), [("laptop", "laptop-3"), ("screen", "screen-2"), ("paper", "paper"), ("smoke", "smoke")]
)
def test_every_ready_study_is_valid(file, name):
    assert study.load(PROJECT / "studies" / f"{file}.yaml").study.name == name


def test_the_domain_imports_nothing_of_ours_but_itself():
    for path in SOURCES:
        if room(path).startswith("stages/domain/"):
            ours = {name for name in imports(path) if name.split(".")[0] in ("stages", "trainer", "report")}
            assert all(name == "stages.domain" or name.startswith("stages.domain.") for name in ours), room(path)


def test_the_trainer_knows_no_rule_and_no_study():
    for path in SOURCES:
        if room(path).startswith("trainer/"):
            assert not {name for name in imports(path) if name.split(".")[0] in ("stages", "report")}, room(path)


def test_nothing_imports_the_report():
    outside = [path for path in SOURCES if not room(path).startswith(("report/", "stages/commands/"))]
    for path in outside:
        assert not {name for name in imports(path) if name.split(".")[0] == "report"}, room(path)


def test_only_the_runner_and_what_describes_its_device_import_torch():
    for path in SOURCES:
        if not room(path).startswith(("trainer/", "stages/runners/device.py")):
            assert not {name for name in imports(path) if name.split(".")[0] == "torch"}, room(path)


def test_no_gate_no_verification_and_no_site_pays_for_torch_or_dvc():
    for module in ("stages.gate", "stages.run", "stages.ledger", "stages.verify", "stages.cli", "report.__main__"):
        code = f"import sys, {module}; print(sorted({{'torch', 'dvc'}} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, encoding="utf-8")
        assert done.stdout.strip() == "[]", f"{module}: {done.stdout}{done.stderr}"


def code_of(module: str, found: set[str]) -> set[str]:
    """The files of ours that a module imports, itself included, imports inside functions too."""
    path = PROJECT / (module.replace(".", "/") + ".py")
    path = path if path.is_file() else PROJECT / module.replace(".", "/") / "__init__.py"
    name = path.relative_to(PROJECT).as_posix()
    if path.is_file() and name not in found:
        found.add(name)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                for one in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                    if one.split(".")[0] in ("stages", "trainer", "report"):
                        code_of(one, found)
    return found


@pytest.mark.parametrize("stage", ["corpus", "protocol", "ledger", "confidence", "winner", "site", "gate", "summary"])
def test_a_stage_declares_all_the_code_that_it_runs(stage):
    folder = {"gate": "stages/ladder/rung2", "summary": "stages/ladder/hindsight"}.get(stage, "")
    path = PROJECT / folder / "dvc.yaml"
    reported = YAML(typ="safe").load(path)["stages"][stage]
    module = reported["cmd"].split()[2]
    package = (PROJECT / module.replace(".", "/") / "__main__.py").is_file()
    code = code_of(f"{module}.__main__" if package else module, set()) - {"stages/__init__.py"}
    undeclared = [one for one in code if not any(one == dep or one.startswith(f"{dep}/") for dep in reported["deps"])]
    assert not undeclared


def test_every_stage_says_what_it_is_for():
    for path in (PROJECT / "dvc.yaml", *sorted((PROJECT / "stages").glob("ladder/**/dvc.yaml"))):
        stages = YAML(typ="safe").load(path)["stages"]
        assert all(stage.get("desc") for stage in stages.values()), path


def test_no_command_of_the_pipeline_needs_a_shell():
    for path in (PROJECT / "dvc.yaml", *sorted((PROJECT / "stages").glob("ladder/**/dvc.yaml"))):
        for name, stage in YAML(typ="safe").load(path)["stages"].items():
            assert re.fullmatch(
                r"python -m [a-z_.]+( [a-z0-9]+)?( \$\{item\.[a-z]+\}| [a-z0-9._-]+)*( --floor| --hindsight)?",
                stage["cmd"],
            ), f"{path}: {name}"


def test_no_file_speaks_of_a_machine():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, encoding="utf-8").stdout
    for name in listed.split("\0"):
        path = PROJECT / name
        if not name or path.suffix in (".png", ".js", ".bin") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for trace in ("/work/" + "main", "/home/" + "user", "/root/" + "."):
            assert trace not in text, f"{name} holds {trace}"
