"""What GitHub runs is pinned: actions by commit, and the verifier's packages by the hash of their files."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.support.repo import PROJECT

WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
REQUIREMENTS = PROJECT / ".github" / "verify-requirements.txt"


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(path: Path) -> dict[str, str]:
    """Package -> version of a file of requirements."""
    lines = (line.split(" ")[0] for line in path.read_text(encoding="utf-8").splitlines() if re.match(r"\w", line))
    return {normalize(line.split("==")[0]): line.split("==")[1] for line in lines}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit_and_names_its_version(path):
    uses = re.findall(r"uses: *(.*)", path.read_text(encoding="utf-8"))
    assert uses
    for use in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+.*", use), use


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_checkout_leaves_a_token_behind_and_no_expression_reaches_a_shell(path):
    for job in YAML(typ="safe").load(path.read_text(encoding="utf-8"))["jobs"].values():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
            assert "${{" not in step.get("run", ""), step


def test_the_verifier_is_installed_by_hash_in_the_tested_versions():
    lines = [line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if line[0] not in "#-"]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    tested = read_pins(PROJECT / "constraints.txt")
    assert {name: tested.get(name) for name in read_pins(REQUIREMENTS)} == read_pins(REQUIREMENTS)
    text = (PROJECT / ".github" / "workflows" / "verify.yml").read_text(encoding="utf-8")
    assert "--require-hashes -r verifier/.github/verify-requirements.txt" in text
    assert text.count("pip install") == 1


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
