"""Objects of git that git itself would not write: each is read as strictly as `git fsck --strict` reads it."""

from __future__ import annotations

import subprocess
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.repo.git import MAX_FOLDER, Git, object_id
from stages.repo.objects import Commit, Entry, GitRefused, parse_commit, parse_tree
from tests.support.repo import environment

LIKE = "0" * 40
BLOB = object_id("blob", b"x\n", LIKE)
EMPTY = object_id("tree", b"", LIKE)
WHO = b"A B <a@b> 1700000000 +0000"
COMMIT = b"tree %s\nauthor %s\ncommitter %s\n\nwords\n" % (EMPTY.encode(), WHO, WHO)
PARENT = object_id("commit", COMMIT, LIKE).encode()
KEPT = (("blob", b"x\n"), ("tree", b""), ("commit", COMMIT))


def entry(mode: str, name: bytes, oid: str = BLOB) -> bytes:
    return mode.encode() + b" " + name + b"\0" + bytes.fromhex(oid)


FOLDERS = {
    "a file": entry("100644", b"a"),
    "every mode": entry("100644", b"a") + entry("100755", b"b") + entry("120000", b"c") + entry("40000", b"d", EMPTY),
    "a folder sorted as if it ended in a slash": entry("100644", b"a.b") + entry("40000", b"a", EMPTY),
    "a name that is no UTF-8": entry("100644", b"\xff"),
    "a folder mode with a zero in front": entry("040000", b"a", EMPTY),
    "a file mode with a zero in front": entry("0100644", b"a"),
    "a name twice": entry("100644", b"a") + entry("100644", b"a"),
    "a name as a file and as a folder": entry("100644", b"a") + entry("40000", b"a", EMPTY),
    "a name as a file and as a folder, another between": (
        entry("100644", b"a") + entry("100644", b"a.b") + entry("40000", b"a", EMPTY)
    ),
    "names out of order": entry("100644", b"b") + entry("100644", b"a"),
    "a folder sorted as a file": entry("40000", b"a", EMPTY) + entry("100644", b"a.b"),
    "an empty name": entry("100644", b""),
    "a dot": entry("100644", b"."),
    "two dots": entry("40000", b"..", EMPTY),
    "a slash in a name": entry("100644", b"locks/gate1.yaml"),
    "a .git": entry("40000", b".git", EMPTY),
    "a .GIT": entry("40000", b".GIT", EMPTY),
    "a .git that NTFS sees": entry("40000", b".git. .", EMPTY),
    "a short name of .git": entry("40000", b"GIT~1", EMPTY),
    "a .git after a backslash": entry("100644", b"a\\.git"),
    "a .git that HFS+ sees": entry("40000", ".g\u200cit".encode(), EMPTY),
    "a linked .gitmodules": entry("120000", b".gitmodules"),
    "no content": entry("100644", b"a", LIKE),
    "an entry cut off": entry("100644", b"a")[:-1],
    "a byte too many": entry("100644", b"a") + b"1",
    "a mode that is no number": entry("x", b"a"),
}
COMMITS = {
    "as git writes it": COMMIT,
    "without words": COMMIT.partition(b"\n\n")[0] + b"\n",
    "with a parent": COMMIT.replace(b"\nauthor", b"\nparent " + PARENT + b"\nauthor"),
    "with an encoding": COMMIT.replace(b"\n\n", b"\nencoding x\n\n"),
    "with a header of another tool": COMMIT.replace(b"\n\n", b"\nHG:extra a\nHG:extra b\n\n"),
    "with a signature": COMMIT.replace(b"\n\n", b"\ngpgsig -----BEGIN\n parent x\n -----END\n\n"),
    "with an empty name": COMMIT.replace(b"A B <", b" <"),
    "no tree": COMMIT.partition(b"\n")[2],
    "a parent before the tree": b"parent " + PARENT + b"\n" + COMMIT,
    "two trees": b"tree " + EMPTY.encode() + b"\n" + COMMIT,
    "a tree cut off": COMMIT.replace(EMPTY.encode(), EMPTY.encode()[:-1]),
    "a parent that is no id": COMMIT.replace(b"\nauthor", b"\nparent main\nauthor"),
    "a parent between author and committer": COMMIT.replace(b"\ncommitter", b"\nparent " + PARENT + b"\ncommitter"),
    "no author": COMMIT.replace(b"author " + WHO + b"\n", b""),
    "two authors": COMMIT.replace(b"author " + WHO + b"\n", b"author " + WHO + b"\nauthor " + WHO + b"\n"),
    "no committer": COMMIT.replace(b"committer " + WHO + b"\n", b""),
    "committer before author": COMMIT.replace(b"author", b"x")
    .replace(b"committer", b"author")
    .replace(b"x", b"committer"),
    "no name before the address": COMMIT.replace(b"A B <", b"<"),
    "no space before the address": COMMIT.replace(b"A B <", b"A B<"),
    "a bracket in the name": COMMIT.replace(b"A B <", b"A> B <"),
    "a bracket in the address": COMMIT.replace(b"a@b", b"a<b"),
    "no address": COMMIT.replace(b"<a@b> ", b""),
    "no date": COMMIT.replace(b" 1700000000", b""),
    "a date with a zero in front": COMMIT.replace(b"1700000000", b"01700000000"),
    "a date that no clock has": COMMIT.replace(b"1700000000", b"9" * 30),
    "a date of nineteen nines": COMMIT.replace(b"1700000000", b"9" * 19),
    "a date that is no number": COMMIT.replace(b"1700000000", b"today"),
    "a time zone of three digits": COMMIT.replace(b"+0000", b"+000"),
    "no time zone": COMMIT.replace(b" +0000", b""),
    "a NUL in its words": COMMIT + b"a\0b\n",
    "a NUL in its head": COMMIT.replace(b"A B", b"A\0B"),
    "a head that does not end": COMMIT.partition(b"\n\n")[0],
    "empty": b"",
}
#: What fsck lets pass, and no git ever wrote.
STRICTER_FOLDERS = {
    "another mode of a folder": entry("40755", b"a", EMPTY),
    "another mode of a file": entry("100600", b"a"),
}
STRICTER_COMMITS = {
    f"a second {line.split(b' ')[0].decode()} after the committer": COMMIT.replace(b"\n\n", b"\n" + line + b"\n\n")
    for line in (b"tree " + EMPTY.encode(), b"parent " + PARENT, b"author " + WHO, b"committer " + WHO)
} | {
    "two encodings": COMMIT.replace(b"\n\n", b"\nencoding x\nencoding y\n\n"),
    "two signatures": COMMIT.replace(b"\n\n", b"\ngpgsig a\ngpgsig b\n\n"),
    "a tree in capitals": COMMIT.replace(EMPTY.encode(), EMPTY.upper().encode()),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that holds what the objects here name."""
    root = tmp_path_factory.mktemp("objects")
    subprocess.run(["git", "init", "-q", str(root)], check=True, env=environment())
    for kind, data in KEPT:
        write(root, kind, data)
    return root


def write(root: Path, kind: str, data: bytes) -> Path:
    """Put an object into a repository as it is."""
    oid = object_id(kind, data, LIKE)
    path = root / ".git" / "objects" / oid[:2] / oid[2:]
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        path.write_bytes(zlib.compress(f"{kind} {len(data)}\0".encode() + data))
    return path


def fsck_refuses(root: Path, kind: str, data: bytes) -> bool:
    """Whether git itself refuses an object; it is taken away again."""
    path = write(root, kind, data)
    words = ["git", "fsck", "--strict", "--no-dangling", object_id(kind, data, LIKE)]
    done = subprocess.run(words, cwd=root, env=environment(), capture_output=True)
    if (kind, data) not in KEPT:
        path.unlink()
    return done.returncode != 0


def refuses(kind: str, data: bytes) -> bool:
    try:
        (parse_tree if kind == "tree" else parse_commit)(object_id(kind, data, LIKE), data)
    except GitRefused:
        return True
    return False


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_refused_where_fsck_refuses_it(name: str, root: Path):
    assert refuses("tree", FOLDERS[name]) is fsck_refuses(root, "tree", FOLDERS[name])


@pytest.mark.parametrize("name", COMMITS)
def test_a_commit_is_refused_where_fsck_refuses_it(name: str, root: Path):
    assert refuses("commit", COMMITS[name]) is fsck_refuses(root, "commit", COMMITS[name])


@pytest.mark.parametrize("data", STRICTER_FOLDERS.values(), ids=list(STRICTER_FOLDERS))
def test_a_mode_that_is_none_of_gits_is_refused_although_fsck_lets_it_pass(data: bytes):
    assert refuses("tree", data)


@pytest.mark.parametrize("data", STRICTER_COMMITS.values(), ids=list(STRICTER_COMMITS))
def test_a_line_too_many_in_the_head_of_a_commit_is_refused_although_fsck_lets_it_pass(data: bytes):
    assert refuses("commit", data)


NAMES = st.sampled_from([b"a", b"b", b"a.b", b"a0", b".", b".git", b"A", b"", b"a/b", b"\xff"])
MODES = st.sampled_from(["100644", "100755", "120000", "40000", "040000", "100664"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(MODES, NAMES), max_size=4))
def test_any_folder_is_refused_where_fsck_refuses_it(root: Path, entries: list[tuple[str, bytes]]):
    data = b"".join(entry(mode, name, EMPTY if mode.endswith("40000") else BLOB) for mode, name in entries)
    assert refuses("tree", data) is fsck_refuses(root, "tree", data)


LINES = st.sampled_from(
    [
        b"tree " + EMPTY.encode(),
        b"parent " + PARENT,
        b"author " + WHO,
        b"committer " + WHO,
        b"x y",
        b"author A <a> 0 +0",
    ]
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=6))
def test_whatever_commit_fsck_refuses_is_refused(root: Path, lines: list[bytes]):
    data = b"".join(line + b"\n" for line in lines) + b"\nwords\n"
    assert refuses("commit", data) or not fsck_refuses(root, "commit", data)


def test_a_folder_of_as_many_files_as_one_may_have_is_read_in_bounded_memory():
    """256 MB over its size; an eighth of it here."""
    size, entries = MAX_FOLDER // 8, []
    while size > 0:
        entries.append(entry("100644", b"%x" % (0x100000 + len(entries)), f"{len(entries) + 1:040x}"))
        size -= len(entries[-1])
    data = b"".join(entries)
    tracemalloc.start()
    try:
        assert len(parse_tree(LIKE, data)) == len(entries)
        assert tracemalloc.get_traced_memory()[1] < (256 << 20) // 8
    finally:
        tracemalloc.stop()


def test_what_git_writes_is_read(root: Path):
    git = Git(root)
    try:
        assert git.commit(PARENT.decode()) == Commit(EMPTY, (), 1700000000)
        assert git.commit(PARENT.decode()).parents == ()
    finally:
        git.close()
    folder = FOLDERS["a folder sorted as if it ended in a slash"]
    assert parse_tree(LIKE, folder) == {"a.b": Entry("100644", BLOB), "a": Entry("40000", EMPTY)}
