"""What `promotion` says of a hostile repository, and how it ends, whoever reads it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ruamel.yaml import YAML

from stages.cli import main
from tests.domain.test_errors import FULL, needs_full_disk
from tests.domain.test_foreign_text import hidden
from tests.support import dvclock
from tests.support.repo import PROJECT, environment

#: An author who would clear the line and print a verdict of his own, in bytes that are no UTF-8 at the end.
AUTHOR = b"Eve\x1b[2K\rverified\xe2\x80\xae @everyone [x](https://evil.example) `|` \xff"


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that verifies."""
    root = tmp_path_factory.mktemp("honest") / "study"
    dvclock.build(root, 3)
    return root


@pytest.fixture(scope="session")
def forged(honest: Path) -> Path:
    """The same with a changed score, committed by somebody with a hostile name; a hostile file lies beside."""
    root = honest.parent / "forged"
    git = ["git", "-c", "core.autocrlf=false"]
    subprocess.run([*git, "clone", "-q", str(honest), str(root)], check=True)
    runs = root / "ledger" / "runs.jsonl"
    runs.write_bytes(runs.read_bytes().replace(b'"val_bpb":', b'"val_bpb":9', 1))
    if sys.platform != "win32":
        (root / "locks" / "x\n\x1b[2Kall verified.yaml").write_bytes(b"")
    subprocess.run([*git, "add", "-A"], cwd=root, check=True)
    tree = subprocess.run([*git, "write-tree"], cwd=root, check=True, capture_output=True).stdout.strip()
    head = subprocess.run([*git, "rev-parse", "HEAD"], cwd=root, check=True, capture_output=True).stdout.strip()
    commit = b"tree %b\nparent %b\nauthor %b <e@x> 1700000000 +0000\ncommitter %b <e@x> 1700000000 +0000\n\nx\n"
    data = commit % (tree, head, AUTHOR, AUTHOR)
    hash_it = [*git, "hash-object", "-t", "commit", "-w", "--stdin"]
    oid = subprocess.run(hash_it, cwd=root, check=True, capture_output=True, input=data).stdout.strip().decode()
    subprocess.run([*git, "update-ref", "HEAD", oid], cwd=root, check=True)
    return root


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "stages.cli", *words]


def status_of(root: Path, *words: str, head: int | None = None) -> int:
    """The exit status of a verification whose output goes to a program that reads so many lines and leaves."""
    verify = command("verify", "--repo", str(root), *words)
    with subprocess.Popen(verify, cwd=PROJECT, env=environment(), stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        for _ in range(head or 0):
            program.stdout.readline()
        program.stdout.close()
        return program.wait()


@pytest.mark.parametrize(("words", "head"), [((), 3), (("--json",), 0)])
def test_the_status_is_the_verdict_whatever_reads_the_output(honest, forged, words, head):
    assert status_of(honest, "--rev", "HEAD", *words, head=head) == 0
    assert status_of(forged, "--rev", "HEAD", *words, head=head) == 1


@needs_full_disk
@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_report_that_cannot_be_written_is_an_error(honest, words):
    with FULL.open("w") as full:
        verify = command("verify", "--repo", str(honest), *words)
        done = subprocess.run(verify, cwd=PROJECT, env=environment(), stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2 and b"No space left on device" in done.stderr


def said(*words: str) -> tuple[int, str]:
    """What a command, run in this process, printed on both streams."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed), pytest.raises(SystemExit) as ending:
        main(list(words))
    return int(ending.value.code or 0), printed.getvalue()


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--history",),
        ("--against", "HEAD~1"),
        ("--rev", "v1\x1b[2K"),
        ("--range", "a\u202e..b"),
        ("--require", "x\x1b]0;t\x07"),
        ("--signers", "\udcff\x1b"),
        ("--\x1b[2Kverified",),
    ],
)
def test_no_hostile_text_moves_the_terminal(forged, words):
    status, text = said("verify", "--repo", str(forged), *words)
    assert status in (1, 2), text
    assert hidden(text) <= {"\n"}


def test_the_history_names_its_author_visibly(forged, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    text = said("verify", "--repo", str(forged), "--history")[1]
    assert r"Eve\x1b[2K\rverified\u202e @everyone [x](https://evil.example) `|` \xff" in text


@pytest.mark.skipif(sys.platform == "win32", reason="no such file name on Windows")
def test_a_file_name_adds_no_line_to_a_report(forged, tmp_path):
    formats = ["--markdown", str(tmp_path / "c.md"), "--junit", str(tmp_path / "j.xml")]
    text = said("verify", "--repo", str(forged), "--rev", "HEAD", *formats)[1]
    assert r"locks/x\n\x1b[2Kall verified.yaml" in text
    assert not any(line.startswith("all verified") for line in text.split("\n"))
    comment = (tmp_path / "c.md").read_text(encoding="utf-8")
    assert hidden(comment) == {"\n"} and r"`locks/x\n\x1b[2Kall verified.yaml`" in comment
    junit = (tmp_path / "j.xml").read_text(encoding="utf-8")
    assert hidden(junit) == {"\n"}
    ElementTree.fromstring(junit.encode("utf-8"))


@pytest.mark.parametrize(
    "words", [("status",), ("plan",), ("dag",), ("dag", "--mermaid"), ("pending",), ("study", "show", "\x1b[2K")]
)
def test_a_hostile_study_moves_no_terminal(honest, tmp_path, monkeypatch, words):
    params = json.loads(json.dumps(YAML(typ="safe").load((honest / "params.yaml").read_text(encoding="utf-8"))))
    params["study"]["title"] = "[/x] [bold]verified \x1b[2K \u202e :warning:"
    (tmp_path / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    status, text = said(*words)
    assert hidden(text) <= {"\n"}
    if words == ("status",):
        assert status == 0 and r"[/x] [bold]verified \x1b[2K \u202e :warning:" in text, text
