"""Whatever git holds, verification takes bounded memory over what is honestly there, and names what is too large."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages.domain.errors import Unreadable
from stages.domain.files import md5_bytes
from stages.repo import git as git_module
from stages.repo import tree as tree_module
from stages.repo.objects import GitRefused
from stages.repo.tree import CommitTree, WorkTree, file_md5
from stages.verify import files
from tests.support import dvclock
from tests.support.memory import peak_bytes
from tests.support.repo import PROJECT, environment, reading_git
from tests.verify.forger import Forger

PROBE = """
import sys
from pathlib import Path
from stages.verify import Options, verify
from tests.support.memory import peak_bytes
report = verify(Path(sys.argv[1]), sys.argv[2], Options("git"))
print(*[problem for result in report.results for problem in result.problems], sep="\\n")
print(peak_bytes())
"""
MOST = 256 << 20
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("large") / "study"
    dvclock.build(root, configs=2, seeds=1)
    return root


@pytest.fixture(scope="module")
def usual(study: Path) -> int:
    """The peak of memory of the honest study."""
    problems, peak = verify_apart(study, "HEAD")
    assert problems == []
    return peak


@pytest.fixture
def forger(study: Path) -> Iterator[Forger]:
    forger = Forger(study)
    head = forger.git("rev-parse", "HEAD")
    yield forger
    forger.git("reset", "-q", "--hard", head)


def verify_apart(root: Path, rev: str) -> tuple[list[str], int]:
    """What a verification in a process of its own finds, and its peak of memory."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(root), rev],
        cwd=PROJECT,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    *problems, peak = done.stdout.splitlines()
    return [problem for problem in problems if problem], int(peak)


def add(forger: Forger, size: int, *paths: str, byte: bytes = b"\0") -> str:
    """A commit with one content of so many bytes under several names."""
    forger.write(paths[0], byte * (size // len(byte)))
    oid = forger.git("hash-object", "-w", "--no-filters", paths[0])
    forger.delete(paths[0])
    for path in paths:
        forger.git("update-index", "--add", "--cacheinfo", f"100644,{oid},{path}")
    forger.git("commit", "-q", "-m", "large")
    return forger.git("rev-parse", "HEAD")


def one_in_trainer(forger: Forger) -> str:
    add(forger, 255 * MEBIBYTE, "trainer/a.py", "trainer/b.py", "trainer/c.py")
    return "trainer/a.py: found object"


def one_in_report(forger: Forger) -> str:
    add(forger, 255 * MEBIBYTE, *(f"report/{name}.bin" for name in "abcd"))
    return "report/a.bin: found object"


def many_names_in_trainer(forger: Forger) -> str:
    add(forger, 16 * MEBIBYTE, *(f"trainer/a{n}.py" for n in range(30)))
    return "bytes of code up to this file"


def many_names_in_stages(forger: Forger) -> str:
    add(forger, 16 * MEBIBYTE, *(f"stages/domain/a{n}.txt" for n in range(30)), byte=b"\r\n")
    return "bytes of code up to this file"


def notes_beside_the_ledger(forger: Forger) -> str:
    add(forger, 64 * MEBIBYTE, "ledger/README.md", byte=b"x")
    return ""


def locks_of_the_past(forger: Forger) -> str:
    add(forger, 60 * MEBIBYTE, *(f"locks/a{n}.bin" for n in range(12)))
    for n in range(12):
        forger.git("rm", "-q", "--cached", f"locks/a{n}.bin")
    forger.git("commit", "-q", "-m", "gone")
    return ""


def letters_of_four_bytes(forger: Forger) -> str:
    add(forger, 64 * MEBIBYTE, "ledger/metrics.json", byte="\U0001f600".encode())
    return "ledger/metrics.json"


def pipelines(forger: Forger) -> str:
    paths = [line for line in forger.git("ls-files", "stages/ladder").splitlines() if line.endswith("dvc.yaml")]
    add(forger, 4 * MEBIBYTE, *paths, byte=b"\n")
    return "for what it has to say"


def pipeline_locks(forger: Forger) -> str:
    paths = [line for line in forger.git("ls-files", "stages/ladder").splitlines() if line.endswith("dvc.lock")]
    add(forger, 60 * MEBIBYTE, *paths, byte=b"\n")
    return "for what it has to say"


def write_object(forger: Forger, kind: str, data: bytes) -> str:
    command = ["git", "hash-object", "-t", kind, "-w", "--stdin"]
    done = subprocess.run(command, cwd=forger.root, input=data, env=environment(), capture_output=True, check=True)
    return done.stdout.decode("ascii").strip()


def commit_in_turn(forger: Forger, *changes: bytes) -> None:
    """Commits of such changes as `git fast-import` reads them, each on the one before, and one that takes all back."""
    head, tree = forger.git("rev-parse", "HEAD"), forger.git("rev-parse", "HEAD^{tree}")
    stream = b"blob\nmark :1\ndata 2\nx\n\n"
    for number, change in enumerate((*changes, b'M 040000 %s ""\n' % tree.encode())):
        start = b"from %s\n" % head.encode() if number == 0 else b""
        stream += b"commit refs/heads/main\ncommitter a <a@b> 1800000000 +0000\ndata 1\nx\n" + start + change
    command = ["git", "fast-import", "--quiet", "--force"]
    subprocess.run(command, cwd=forger.root, input=stream, env=environment(), check=True)


def folders_of_the_past(forger: Forger) -> str:
    blob = bytes.fromhex(forger.git("rev-parse", "HEAD:params.yaml"))
    many = b"".join(b"100644 f%06d\0%s" % (n, blob) for n in range(150_000))
    folders = (write_object(forger, "tree", many + b"100644 g%d\0%s" % (n, blob)) for n in range(12))
    commit_in_turn(forger, *(b"M 040000 %s stages/ladder/rung1\n" % oid.encode() for oid in folders))
    return ""


def ledgers_of_the_past(forger: Forger) -> str:
    lines = b"".join(b"%d\n" % n for n in range(150_000))
    ledgers = (lines.replace(b"\n", b" of %d\n" % n) for n in range(12))
    commit_in_turn(
        forger, *(b"M 100644 inline ledger/runs.jsonl\ndata %d\n%s\n" % (len(data), data) for data in ledgers)
    )
    return "with it what is read of the history takes more than"


def decisions_of_the_past(forger: Forger) -> str:
    line = b'{"evidence":{"x":1},"gate":"gate%d","lock":"%064d"}\n'
    changes = (b"".join(line % (1 + n % 5, at * 200_000 + n) for n in range(200_000)) for at in range(6))
    commit_in_turn(
        forger, *(b"M 100644 inline ledger/decisions.jsonl\ndata %d\n%s\n" % (len(data), data) for data in changes)
    )
    return "with it what is read of the history takes more than"


def long_messages_of_the_past(forger: Forger) -> str:
    head, tree = (forger.git("rev-parse", name) for name in ("HEAD", "HEAD^{tree}"))
    message = b"x" * 5000
    stream = b"".join(
        b'commit refs/heads/main\ncommitter a <a@b> 1800000000 +0000\ndata 5000\n%s\nfrom %s\nM 040000 %s ""\n'
        % (message, b"refs/heads/main^0" if n else head.encode(), tree.encode())
        for n in range(40_000)
    )
    subprocess.run(["git", "fast-import", "--quiet"], cwd=forger.root, input=stream, env=environment(), check=True)
    return ""


def write_bomb(forger: Forger, place: str, innermost: bytes) -> None:
    """A folder that holds another under ten names, that one a third, ten deep, in a commit that the next takes back."""
    oid = write_object(forger, "tree", innermost)
    for _ in range(10):
        oid = write_object(forger, "tree", b"".join(b"40000 %d\0" % n + bytes.fromhex(oid) for n in range(10)))
    commit_in_turn(forger, f"M 040000 {oid} {place}\n".encode())


def files_in_folders_of_the_past(forger: Forger) -> str:
    write_bomb(forger, "docs", b"100644 a\0" + bytes.fromhex(forger.git("rev-parse", "HEAD:params.yaml")))
    return ""


def empty_folders_in_folders_of_the_past(forger: Forger) -> str:
    write_bomb(forger, "stages/more", b"")
    return ""


def ledgers_in_folders_of_the_past(forger: Forger) -> str:
    write_bomb(forger, "docs", b"40000 ledger\0" + bytes.fromhex(forger.git("rev-parse", "HEAD:ledger")))
    return "its files and folders take more than"


@pytest.mark.slow
@pytest.mark.skipif(peak_bytes() is None, reason="needs /proc")
@pytest.mark.parametrize(
    "make",
    [
        one_in_trainer,
        one_in_report,
        many_names_in_trainer,
        many_names_in_stages,
        notes_beside_the_ledger,
        locks_of_the_past,
        letters_of_four_bytes,
        pipelines,
        pipeline_locks,
        folders_of_the_past,
        ledgers_of_the_past,
        decisions_of_the_past,
        long_messages_of_the_past,
        files_in_folders_of_the_past,
        empty_folders_in_folders_of_the_past,
        ledgers_in_folders_of_the_past,
    ],
)
def test_content_of_any_size_takes_bounded_memory_and_is_named(
    make: Callable[[Forger], str], forger: Forger, usual: int
):
    words = make(forger)
    problems, peak = verify_apart(forger.root, "HEAD")
    assert peak - usual < MOST, f"{(peak - usual) >> 20} MiB more than the honest study takes"
    assert (words in "\n".join(problems)) if words else not [text for text in problems if "bytes" in text], problems


def test_the_digest_of_content_is_made_once_in_blocks(forger: Forger, monkeypatch):
    monkeypatch.setattr(git_module, "BLOCK", 10)
    commit = add(forger, 95, "report/a.bin", "report/b.bin", byte=b"x")
    expected = (md5_bytes(b"x" * 95), 95)
    with reading_git(forger.root) as git:
        tree = CommitTree(git, commit)
        assert file_md5(tree, "report/a.bin") == expected
        assert tree.read("dvc.yaml") == forger.read("dvc.yaml"), "the next answer is read from its begin"
        monkeypatch.setattr(git, "_answer", None)
        assert file_md5(tree, "report/b.bin") == expected, "it is not read again"
        monkeypatch.setattr(tree_module, "MAX_CODE_FILE", 94)
        with pytest.raises(Unreadable, match="report/b.bin: object .*: 95 bytes, expected at most 94"):
            file_md5(tree, "report/b.bin")
        assert file_md5(tree, "report/none") is None


def test_content_that_is_not_what_its_id_names_has_no_digest(forger: Forger):
    oid = forger.git("hash-object", "-w", "--no-filters", "dvc.yaml")
    other = forger.git("hash-object", "-w", "--no-filters", "params.yaml")
    place = forger.path(f".git/objects/{oid[:2]}/{oid[2:]}")
    for name in (oid, other):
        if not forger.path(f".git/objects/{name[:2]}/{name[2:]}").is_file():
            pytest.skip("git packed it")
    data = place.read_bytes()
    place.chmod(0o644)
    try:
        place.write_bytes(forger.read(f".git/objects/{other[:2]}/{other[2:]}"))
        with reading_git(forger.root) as git, pytest.raises(GitRefused, match=f"object {oid}: found another content"):
            git.md5(oid)
    finally:
        place.write_bytes(data)


@pytest.mark.parametrize("committed", [True, False])
def test_all_code_has_a_limit_and_the_file_that_passes_it_is_named(forger: Forger, monkeypatch, committed):
    for name in ("trainer/a.py", "stages/a.py", "report/a.py"):
        forger.write(name, b"#" * 100)
    monkeypatch.setattr(tree_module, "MAX_CODE", 299)
    with reading_git(forger.root) as git:
        tree = CommitTree(git, forger.commit()) if committed else WorkTree(forger.root)
        assert len(tree.read("trainer/a.py") or b"") == len(tree.read("stages/a.py") or b"") == 100
        assert tree.read("trainer/a.py"), "a file that is read again counts once"
        assert tree.read("stages/ladder/rung1/dvc.yaml"), "files of DVC have limits of their own"
        with pytest.raises(Unreadable, match="report/a.py: 300 bytes of code up to this file, expected at most 299"):
            tree.read("report/a.py")
    for name in ("trainer/a.py", "stages/a.py", "report/a.py"):
        forger.path(name).unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("data", "bad"),
    [
        (b"", None),
        (b"abc\nabc", None),
        ("\u00e9\n".encode() * 9, None),
        (b"ab\xff", 2),
        (b"aaaaaa\nbb\xffbb\n", 9),
        (b"aaaaaa\nbbbbbb\ncc\xc3\n", 16),
        (b"a\xc3", 1),
    ],
)
@pytest.mark.parametrize("block", [1, 4, 100])
def test_the_first_byte_that_is_no_utf8_is_found_block_by_block(data, bad, block, monkeypatch):
    monkeypatch.setattr(files, "_BLOCK", block)
    assert files._find_no_utf8(data) == bad
