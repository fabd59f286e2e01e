"""What the page Method says of the text that was trained on."""

from __future__ import annotations

from typing import Any

import pytest
from ruamel.yaml import YAML

from report.pages.method import text_of
from stages.domain.schema import parse
from stages.domain.study import Study
from tests.support.repo import PROJECT

FILES = [{"path": f"{name}.txt", "sha256": "0" * 64} for name in "abcd"]


def read_study(name: str) -> dict[str, Any]:
    """What a ready study says."""
    value: dict[str, Any] = YAML(typ="safe").load((PROJECT / "studies" / f"{name}.yaml").read_text(encoding="utf-8"))
    return value


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"kind": "files", "files": FILES[:1]}, "The trainer reads files of its own: a.txt."),
        ({"kind": "files", "files": FILES}, "The trainer reads files of its own: a.txt, b.txt, c.txt"),
    ],
)
def test_files_that_the_trainer_reads_itself_are_named(source: dict[str, Any], words: str) -> None:
    value = read_study("litgpt")
    value["data"]["source"] |= source
    study = parse(Study, value, "params.yaml")
    assert text_of(study, None).startswith(words)


def test_the_text_of_a_package_is_named_with_its_version_and_what_a_document_is() -> None:
    study = parse(Study, read_study("laptop"), "params.yaml")
    source = study.data.source
    assert source.kind == "package"
    text = text_of(study, None)
    assert f"{source.file} of the Python package {source.package} {source.version}" in text
    assert ("one document for each" in text) == bool(source.document)
