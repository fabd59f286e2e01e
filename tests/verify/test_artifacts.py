"""What lies in the workspace may be anything: no pipe hangs a verification, no link or missing library ends in a traceback."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.domain import yamlio
from stages.domain.errors import Unreadable
from stages.dvcfiles.cache import Cache, files_in, md5_path
from stages.verify import derived
from stages.verify.result import CheckResult
from tests.support.repo import PROJECT, Repo, environment
from tests.verify.forger import Forger, failed

WEIGHTS = "artifacts/winner/model.safetensors"


@pytest.fixture
def study(smoke: Repo, tmp_path: Path) -> Forger:
    return Forger(smoke.copy(tmp_path / "study").root)


def results(study: Forger) -> dict[str, CheckResult]:
    return {one.check.name: one for one in study.verify(None, "artifacts")}


def pipe(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(path)


def endless(path: Path) -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("this system has no endless device")
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (pipe, "no regular file"),
        (endless, "no regular file"),
        (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
        (lambda path: path.symlink_to(path.parent.parent, target_is_directory=True), "a link to a folder"),
    ],
)
def test_what_is_no_file_is_a_problem_with_its_path(make: Callable[[Path], None], found: str, study: Forger):
    make(study.path("artifacts/winner/other"))
    problem = results(study)["artifacts"].problems[0]
    assert (problem.file, problem.found) == ("artifacts/winner/other", found)


def test_an_output_that_is_a_pipe_is_a_problem(study: Forger):
    study.delete("artifacts/curves.csv")
    pipe(study.path("artifacts/curves.csv"))
    assert failed(study.verify(None, "artifacts")) == ["artifacts"]


def test_links_that_dvc_makes_into_its_cache_are_files(study: Forger, tmp_path: Path):
    study.path(WEIGHTS).replace(tmp_path / "cached")
    study.path(WEIGHTS).symlink_to(tmp_path / "cached")
    assert failed(study.verify(None, "artifacts")) == []


@pytest.mark.parametrize(
    "listing",
    [
        b'[{"relpath": "x", "md5": "../../../../params.yaml"}, 7]',
        b'[{"relpath": "x", "md5": "../../../../params.yaml"}]',
        b"{{{",
        b"7",
    ],
)
def test_a_listing_in_the_cache_leads_nowhere_else(listing: bytes, tmp_path: Path):
    (tmp_path / "aa").mkdir()
    (tmp_path / "aa" / "a.dir").write_bytes(listing)
    with pytest.raises(Unreadable):
        Cache(tmp_path).listing("aaa.dir")


def test_a_folder_with_a_link_to_a_folder_has_no_digest(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(Unreadable, match="a link to a folder, expected the folder"):
        files_in(tmp_path / "a")
    with pytest.raises(OSError):
        md5_path(tmp_path / "none")


def test_a_site_that_cannot_be_built_from_what_lies_here_is_a_problem_and_no_traceback(study: Forger):
    study.write("artifacts/summary/accounting.json", b"[]\n")
    problem = results(study)["site"].problems[0]
    assert problem.file == "site"
    assert "accounting.json" in problem.found


def test_the_site_is_built_by_the_code_that_verifies_and_never_by_that_of_the_study(study: Forger):
    study.write("report/__main__.py", b"raise SystemExit('the code of the study ran')\n")
    assert results(study)["site"].status == "passed"


def test_a_site_that_takes_too_long_to_build_is_a_problem(study: Forger, monkeypatch):
    monkeypatch.setattr(derived, "SITE_SECONDS", 0.01)
    assert results(study)["site"].problems[0].found == "no site after 0.01 seconds"


@pytest.mark.parametrize("library", ["scipy", "numpy"])
def test_without_a_library_that_only_the_summaries_need_they_are_skipped(library: str, smoke: Repo):
    block = (
        "import sys\nclass Block:\n def find_spec(self, name, path=None, target=None):\n"
        f"  if name.split('.')[0] == '{library}': raise ModuleNotFoundError(name, name='{library}')\n"
        "sys.meta_path.insert(0, Block())\nfrom stages.cli import main\nmain(sys.argv[1:])"
    )
    words = [sys.executable, "-c", block, "verify", "--repo", str(smoke.root), "--rev", "HEAD", "--depth", "git"]
    done = subprocess.run(words, cwd=PROJECT, env=environment(), capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("folder", ["locks", "ledger", "trainer", "stages"])
def test_a_folder_that_cannot_be_read_is_not_an_empty_one(folder, clone: Forger, monkeypatch):
    refuse(monkeypatch, clone.path(folder))
    assert "plain-files" in failed(clone.verify())


@pytest.mark.parametrize("folder", ["artifacts/records", "artifacts/records/rung1", "artifacts/gates/gate2"])
def test_records_and_decisions_that_cannot_be_read_are_not_passed(folder, study: Forger, monkeypatch):
    refuse(monkeypatch, study.path(folder))
    assert "artifacts" in failed(study.verify(None, "artifacts"))


def refuse(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the system refuse a folder, as it does where its mode says so and the reader is not root."""
    scandir = os.scandir

    def refusing(path: str | int = ".") -> Any:
        if not isinstance(path, int) and Path(path) == folder:  # an open folder goes by its number
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)


# What params.yaml says, and not how it is written


def comment(text: str) -> str:
    return f"# a comment\n{text}\n\n# and another\n"


def other_order(text: str) -> str:
    lines = text.split("\n")
    at = next(number for number, line in enumerate(lines) if line.startswith("  d1-a:"))
    lines[at], lines[at + 1] = lines[at + 1], lines[at]
    return "\n".join(lines)


def other_layout(text: str) -> str:
    def turn(value: Any) -> Any:
        """The keys of every mapping the other way round, but for rungs and gates, whose order means something."""
        if not isinstance(value, dict):
            return value
        return {key: value[key] if key in ("rungs", "gates") else turn(value[key]) for key in reversed(value)}

    return json.dumps(turn(yamlio.loads(text.encode(), "params.yaml")), indent=3) + "\n"


def other_numbers(text: str) -> str:
    assert "budget_seconds: 0.1," in text
    return text.replace("budget_seconds: 0.1,", "budget_seconds: 1.0e-1,")


@pytest.mark.parametrize("change", [comment, other_order, other_layout, other_numbers])
def test_how_params_yaml_is_written_changes_no_verdict_and_nothing_for_dvc(change, study: Forger):
    data = study.read("params.yaml").decode("utf-8")
    study.write("params.yaml", change(data).encode("utf-8"))
    assert study.read("params.yaml").decode("utf-8") != data
    outcome = results(study)
    assert [name for name, result in outcome.items() if result.status == "failed"] == []
    assert outcome["site"].status == "passed"


def test_what_params_yaml_says_does(study: Forger):
    study.params(lambda value: value["study"].update(title="Another title"))
    outcome = results(study)
    assert {name for name, result in outcome.items() if result.status == "failed"} >= {"parameters", "site"}


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        (-9, "", "the process that builds the site was killed"),
        (2, "error: could not write FOLDER/site/index.html: No space left on device", "the temporary folder/site"),
    ],
)
def test_what_this_machine_lacks_is_no_fault_of_the_study(code, text, reason, study: Forger, monkeypatch):
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        folder = str(Path(command[command.index("--out") + 1]).parent)
        return subprocess.CompletedProcess(command, code, b"", text.replace("FOLDER", folder).encode())

    fake = SimpleNamespace(run=run, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(derived, "subprocess", fake)
    result = results(study)["site"]
    assert (result.status, reason in result.reason) == ("skipped", True), result


def test_a_full_folder_for_temporary_files_skips_what_needs_one(study: Forger, monkeypatch):
    def full(*_: object, **__: object) -> object:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/anything")

    monkeypatch.setattr(derived.tempfile, "TemporaryDirectory", full)
    result = results(study)["site"]
    assert (result.status, result.reason) == ("skipped", "/tmp/anything: No space left on device")
