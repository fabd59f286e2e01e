"""The seam between pipeline and trainer: what a run is assigned, which runner a study asks for, and what digests cover."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.domain import files
from stages.domain.errors import Invalid
from stages.domain.records import CommandFacts
from stages.runners import (
    Assignment,
    FactMismatch,
    Folder,
    RunResult,
    StudyModels,
    assign,
    digest_named,
    parse_facts,
    report_environment,
    runner_of,
)
from stages.runners.builtin import BuiltinRunner
from stages.runners.command import CommandRunner
from tests.runners.conftest import make_settings
from tests.support.contracts import HOST, make_contract


def test_a_run_is_assigned_what_the_contract_of_its_rung_says_of_its_host() -> None:
    contract = replace(
        make_contract("rung3", budget_seconds=7.5, clock="wall", settings={"head_dim": 16}, last=True),
        hosts={"h1": HOST, "h2": {**HOST, "threads": 4}}, options={"steps": 9},
    )  # fmt: skip
    assert assign(contract, {"depth": 2}, "a", "h2", 31) == Assignment(
        rung="rung3", config="a", host="h2", seed=31, settings={"head_dim": 16}, knobs={"depth": 2},
        block={**HOST, "threads": 4}, clock="wall", seconds=7.5, last=True, options={"steps": 9},
    )  # fmt: skip


def test_a_study_asks_for_a_command_or_for_the_built_in_runner() -> None:
    command = runner_of(make_settings())
    assert isinstance(command, CommandRunner) and command.settings.files == ["small/train.py"]
    for settings in ({}, {"kind": "builtin"}, {"sequence_length": 64}):
        assert isinstance(runner_of(settings), BuiltinRunner)


def test_what_keeps_nothing_aside_has_nothing_to_remove_and_knows_no_notes() -> None:
    result = RunResult("finished", None, None, {})
    result.clear()
    assert (result.trace, result.large, StudyModels({}).notes) == ({}, {}, ())


def make_record(**facts: Any) -> Any:
    return SimpleNamespace(id="rung1/a/h1/1", facts=facts)


def test_facts_are_read_or_each_mistake_in_them_is_told_at_its_place() -> None:
    facts = {"score": 1.5, "printed": "1.5", "reported": {"steps": 3.0}}
    assert parse_facts(CommandFacts, make_record(**facts)) == (CommandFacts(**facts), [])
    read, mismatches = parse_facts(CommandFacts, make_record(score="high", reported={"steps": "many"}))
    assert read is None
    meaning = "no run of this runner says that"
    assert {entry.meaning for entry in mismatches} == {meaning}
    places = [(entry.pointer, entry.recorded) for entry in mismatches]
    assert sorted(places) == [
        ("/facts/printed", "nothing"), ("/facts/reported/steps", "'many'"), ("/facts/score", "'high'")
    ]  # fmt: skip
    (mismatch,) = parse_facts(CommandFacts, make_record(**facts, loss=1.0))[1]
    assert mismatch == FactMismatch("/facts/loss", "1.0", mismatch.expected, meaning)
    assert mismatch.expected


class Tree:
    """Files by path; notes which are read."""

    def __init__(self, **contents: bytes) -> None:
        self.contents, self.asked = contents, list[str]()

    def paths(self, under: str = "") -> list[str]:
        return sorted(self.contents)

    def read(self, path: str) -> bytes | None:
        self.asked.append(path)
        return self.contents.get(path)


def test_a_digest_covers_the_names_and_contents_of_the_files_that_are_there_in_the_order_of_the_names() -> None:
    tree = Tree(x=b"1", y=b"")
    assert digest_named(tree, {"b": "x", "a": "y", "c": "gone"}) == files.digest_of([("a", b""), ("b", b"1")])
    assert tree.asked == ["y", "x", "gone"]
    assert digest_named(tree, {"a": "y"}) == files.digest_of([("a", b"")]), "an empty file is a file"
    assert digest_named(tree, {"c": "gone"}) is None
    assert digest_named(tree, {}) is None


def test_a_name_that_is_no_text_is_refused_with_the_whole_path() -> None:
    with pytest.raises(Invalid, match=r"trainer/bad"):
        digest_named(Tree(), {"bad\udcff": "trainer/bad\udcff"})


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Folder]:
    for path in ("b/y.py", "b/x.py", "a.py"):
        files.write_whole(tmp_path / path, path.encode())
    return Folder(tmp_path)


def test_a_folder_has_what_lies_below_it_sorted_and_reads_files_alone(tree: Folder) -> None:
    assert tree.paths() == ["a.py", "b", "b/x.py", "b/y.py"]
    assert tree.paths("b") == ["b/x.py", "b/y.py"]
    assert tree.paths("gone") == []
    assert (tree.read("b/x.py"), tree.read("b"), tree.read("gone")) == (b"b/x.py", None, None)


def test_what_a_block_asks_for_is_reported_as_text_and_what_nobody_knows_as_unknown() -> None:
    telemetry = {"torch": "2.9", "device_name": 7, "driver": None, "other": "x"}
    assert report_environment(["system", "driver", "device", "torch"], telemetry) == {
        "system": "unknown", "driver": "unknown", "device": "7", "torch": "2.9"
    }  # fmt: skip
    assert report_environment(["torch"], {"torch": ""}) == {"torch": "unknown"}
    assert report_environment([], telemetry) is None
