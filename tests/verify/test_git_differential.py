"""Any history says here what it says to git: files, modes, parents, changes, and what a signature covers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.repo.folders import list_files
from stages.repo.git import Git, object_id
from stages.repo.objects import Entry
from stages.repo.tree import CommitTree
from stages.verify.signatures import _tags, _unsigned
from tests.repo.test_objects import LIKE, WHO, write
from tests.support.fuzzing import budget
from tests.support.repo import environment

NAMES = st.sampled_from(
    [b"a", b"a.b", b"a-b", b"a0", b"b", b"a b", b'"a"', b"\xff", "é".encode(), b"a\nb", b"\\", b"-r"]
)
MODES = st.sampled_from(["100644", "100755", "120000", "160000"])
FOLDERS: st.SearchStrategy[dict] = st.recursive(
    st.dictionaries(NAMES, st.tuples(MODES, st.binary(max_size=2)), max_size=3),
    lambda inner: st.dictionaries(NAMES, st.tuples(MODES, st.binary(max_size=2)) | inner, max_size=3),
    max_leaves=4,
)
#: A history: of each commit its folder, its parents among those before it, and its clock.
HISTORIES = st.lists(
    st.tuples(FOLDERS, st.sets(st.integers(0, 7), max_size=3), st.integers(0, 3)), min_size=1, max_size=7
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("history")
    subprocess.run(["git", "init", "-q", str(root)], check=True, env=environment())
    return root


def git(root: Path, *words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=root, env=environment(), capture_output=True, check=True).stdout


def put(root: Path, kind: str, data: bytes) -> str:
    write(root, kind, data)
    return object_id(kind, data, LIKE)


def put_folder(root: Path, folder: dict) -> str:
    """Write a folder as git sorts it; its id."""
    entries = []
    for name, item in folder.items():
        if isinstance(item, dict):
            entries.append((name + b"/", b"40000 " + name, put_folder(root, item)))
        else:
            mode, data = item
            oid = object_id("commit", data, LIKE) if mode == "160000" else put(root, "blob", data)
            entries.append((name, mode.encode() + b" " + name, oid))
    return put(root, "tree", b"".join(head + b"\0" + bytes.fromhex(oid) for _, head, oid in sorted(entries)))


def put_history(root: Path, history: list) -> list[str]:
    """Write a history; the ids of its commits."""
    oids: list[str] = []
    for folder, parents, clock in history:
        who = WHO.replace(b"1700000000", str(1_700_000_000 + clock).encode())
        lines = [f"parent {oids[at]}\n".encode() for at in sorted(parents) if at < len(oids)]
        head = b"tree %s\n%sauthor %s\ncommitter %s\n\n" % (
            put_folder(root, folder).encode(),
            b"".join(lines),
            who,
            who,
        )
        oids.append(put(root, "commit", head + str(len(oids)).encode()))
    return oids


def text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


@given(HISTORIES)
@budget(25)
def test_files_parents_and_changes_are_those_that_git_names(root: Path, history: list):
    oids = put_history(root, history)
    reader = Git(root)
    try:
        for oid in oids:
            listed = (line.partition(b"\t") for line in git(root, "ls-tree", "-r", "-z", oid).split(b"\0") if line)
            expected = {text(path): Entry(text(head.split()[0]), text(head.split()[2])) for head, _, path in listed}
            assert list_files(reader, oid) == expected
            assert all(reader.entry(oid, path) == entry for path, entry in expected.items())
        order = list(reader.ancestry(oids[-1]))
        rows = [line.split() for line in git(root, "rev-list", "--parents", oids[-1]).decode().splitlines()]
        assert {row[0]: tuple(row[1:]) for row in rows} == {oid: reader.commit(oid).parents for oid in order}
        assert len(order) == len(rows), "each one once"
        for oid in order:
            assert all(order.index(parent) < order.index(oid) for parent in reader.commit(oid).parents)
        first, last = oids[0], oids[-1]
        named = git(root, "diff-tree", "-r", "-z", "--name-only", "--no-renames", first, last).split(b"\0")
        changed = CommitTree(reader, last).changed(CommitTree(reader, first))
        assert changed == sorted({text(path) for path in named if path})
    finally:
        reader.close()


HEADERS = st.lists(
    st.sampled_from([b"encoding latin-1", b"gpgsig SSH\n line\n \n end", b"gpgsig-sha256 OTHER\n line", b"HG:extra a\n b",
                     b"mergetag object x\n type commit\n gpgsig no"]),
    unique=True, max_size=4,
)  # fmt: skip
BODIES = st.sampled_from([b"", b"words\n", b"gpgsig no\n", b"\n\n", b"words\n-----BEGIN SSH SIGNATURE-----\nx\n"])


def catch_payload(root: Path, folder: Path, *words: str) -> tuple[bytes, bytes] | None:
    """What git hands to the program that checks a signature: what was signed, and the signature."""
    folder.mkdir(exist_ok=True)
    program = folder / "check"
    program.write_text(
        f'#!/bin/sh\nwhile [ "$#" -gt 0 ]; do [ "$1" = -s ] && cat "$2" > "{folder}/signature"; shift; done\n'
        f'cat > "{folder}/payload"\n[ -s "{folder}/payload" ] && echo alice\nexit 0\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    for name in ("payload", "signature"):
        (folder / name).unlink(missing_ok=True)
    options = [f"gpg.ssh.program={program}", "gpg.format=ssh", "gpg.ssh.allowedSignersFile=/dev/null"]
    command = ["git", *(word for option in options for word in ("-c", option)), *words]
    subprocess.run(command, cwd=root, env=environment(), capture_output=True)
    if not (folder / "signature").exists():
        return None
    return (folder / "payload").read_bytes(), (folder / "signature").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
@given(HEADERS, BODIES)
@budget(25)
def test_what_a_commits_signature_covers_is_what_git_checks(root: Path, tmp_path_factory, headers, body):
    headers = [header.replace(b"gpgsig SSH", b"gpgsig -----BEGIN SSH SIGNATURE-----") for header in headers]
    head = b"tree %s\nauthor %s\ncommitter %s\n" % (put(root, "tree", b"").encode(), WHO, WHO)
    data = head + b"".join(header + b"\n" for header in headers) + b"\n" + body
    caught = catch_payload(root, tmp_path_factory.getbasetemp() / "program", "verify-commit", put(root, "commit", data))
    payload, signature = _unsigned(data)
    if caught is None:
        assert not signature.startswith(b"-----BEGIN SSH SIGNATURE-----")
    else:
        assert (payload, signature.rstrip(b"\n")) == (caught[0], caught[1].rstrip(b"\n"))


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
@pytest.mark.parametrize("body", [b"words\n", b"", b"two\n\nparts\n"])
def test_what_a_tags_signature_covers_is_what_git_checks(root: Path, tmp_path, body):
    commit = put_history(root, [({}, set(), 0)])[0]
    signature = b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"
    head = f"object {commit}\ntype commit\ntag v1\ntagger ".encode() + WHO + b"\n\n"
    oid = put(root, "tag", head + body + signature)
    git(root, "update-ref", "refs/tags/v1", oid)
    reader = Git(root)
    try:
        (signed,) = _tags(reader, commit)
    finally:
        reader.close()
        git(root, "update-ref", "-d", "refs/tags/v1")
    assert (signed.payload, signed.signature) == catch_payload(root, tmp_path / "program", "verify-tag", oid)
    assert (signed.title, signed.seconds) == ("tag v1", 1_700_000_000)
