"""`promotion candidates`: which table and which study it takes, word by word, and what it writes where."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stages.cli import build_parser
from stages.commands import candidates
from stages.commands.candidates import ResultRow
from stages.domain import yamlio
from stages.domain.errors import Refused
from stages.domain.formatting import shortened
from tests.runners.test_candidates import HEAD, AgentRepo, create_bare, make_candidate_params  # noqa: F401

ROW = "abcdef0\t1.0\t1\tkeep\tx"


def run(*words: str) -> int:
    return candidates.run(build_parser("candidates").parse_args(["candidates", *words]))


def refusal(*words: str) -> str:
    with pytest.raises(Refused) as caught:
        run(*words)
    return str(caught.value)


def read(text: str) -> list[ResultRow]:
    return candidates.read_table((HEAD + text).encode("utf-8"), "t.tsv")


def test_a_table_is_read_row_by_row_with_its_lines() -> None:
    assert read(f"{ROW}\r\nabcdef1\t0.000\t2.5\tcrash\t out of memory \n\n") == [
        ResultRow(2, "abcdef0", "1.0", "1", "keep", "x"),
        ResultRow(3, "abcdef1", "0.000", "2.5", "crash", "out of memory"),
    ]
    assert candidates.read_table(b"\xef\xbb\xbf" + HEAD.encode(), "t.tsv") == []


@pytest.mark.parametrize(
    ("status", "score", "why"),
    [
        ("keep", "0.5", ""),
        ("keep", "0.000", "crashed, logged as 0.000"),
        ("crash", "0.7", "crashed, logged as 0.7"),
        ("discard", "0.7", "discarded"),
        ("discard", "0", "crashed, logged as 0"),
    ],
)
def test_why_a_row_is_left_out(status: str, score: str, why: str) -> None:
    assert ResultRow(2, "abcdef0", score, "1", status, "x").why_left_out == why


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (ROW.replace("abcdef0", "abcdef"), "commit: found 'abcdef', expected 7 to 64 hexadecimal digits"),
        (ROW.replace("abcdef0", "a" * 65), f"commit: found '{'a' * 65}', expected 7 to 64 hexadecimal digits"),
        (ROW.replace("1.0", "inf"), "val_bpb: found 'inf', expected a number"),
        (ROW.replace("1.0", "low"), "val_bpb: found 'low', expected a number"),
        (ROW.replace("keep", "kept"), "status: found 'kept', expected keep, discard, crash"),
        ("x", "found 1 cell, expected 5"),
    ],
)
def test_a_row_that_is_none_is_refused_whole(row: str, told: str) -> None:
    with pytest.raises(Refused) as caught:
        read(f"{ROW}\n{row}\n")
    assert str(caught.value) == f"t.tsv, line 3: {told}"


def test_every_bad_row_is_named_and_another_head_is_no_table() -> None:
    with pytest.raises(Refused) as caught:
        read("x\n" + ROW + "\ny\n")
    assert str(caught.value).splitlines() == [
        "t.tsv, line 2: found 1 cell, expected 5",
        "t.tsv, line 4: found 1 cell, expected 5",
    ]
    with pytest.raises(Refused) as caught:
        candidates.read_table(b"commit\tval_bpb\n", "t.tsv")
    message = "found 'commit?val_bpb', expected commit val_bpb memory_gb status description, with tabs between"
    assert str(caught.value) == f"t.tsv, line 1: {message}"


def test_a_table_has_a_size_and_a_number_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(HEAD) + len(ROW) + 1
    monkeypatch.setattr(candidates, "MAX_BYTES", size)
    monkeypatch.setattr(candidates, "MAX_ROWS", 2)
    assert len(read(ROW + "\n")) == 1
    with pytest.raises(Refused) as caught:
        read(ROW + "xx")
    assert str(caught.value) == f"t.tsv: found {size + 1} bytes, expected at most {size}"
    monkeypatch.setattr(candidates, "MAX_ROWS", 1)
    with pytest.raises(Refused) as caught:
        read(ROW + "\n")
    assert str(caught.value) == "t.tsv: found 2 lines, expected at most 1"


def test_problems_are_listed_up_to_a_number() -> None:
    assert candidates.listed_lines(["a", "b"], most=2) == "a\nb"
    assert candidates.listed_lines(["a", "b", "c"], most=2) == "a\nb\nand 1 more"
    assert candidates.listed_lines([str(n) for n in range(20)]).count("\n") == 19
    assert candidates.listed_lines([str(n) for n in range(22)]).endswith("19\nand 2 more")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("configs: {a: {x: 1}}\n", "NEW"),
        ("a: 1\nconfigs:\n  # of mine\n  a: {x: 1}\n\n# of b\nb: 2\n", "a: 1\nNEW\n# of b\nb: 2\n"),
        ("configs:\n  a: {x: 1}\nb: 2\n", "NEWb: 2\n"),
        ("configs:\n  a: {x: 1}\n\n\n", "NEW\n\n"),
        ("# configs:\nconfigs:\n\ta: 1\nb: 2\n", None),
    ],
)
def test_the_section_alone_is_replaced(before: str, after: str | None) -> None:
    section = "configs:\n  new: {x: 2}\n"
    if after is None:
        with pytest.raises(yamlio.BadYaml):
            candidates.replace_section(before.encode(), section, "s.yaml")
        return
    assert candidates.replace_section(before.encode(), section, "s.yaml").decode() == after.replace("NEW", section)


def test_a_section_that_cannot_be_told_apart_is_written_by_hand() -> None:
    with pytest.raises(Refused) as caught:
        candidates.replace_section(b"{configs: {}}\n", "configs: {}\n", "s.yaml")
    message = "found no line that begins with `configs:`; write the printed section into it by hand"
    assert str(caught.value) == f"s.yaml: {message}"
    with pytest.raises(Refused) as caught:
        candidates.replace_section(b'configs: {a: {x: "1\nb: 2"}}\n', "configs: {}\n", "s.yaml")
    message = "its `configs` cannot be told from what follows; write the printed section by hand"
    assert str(caught.value) == f"s.yaml: {message}"


def test_the_section_is_printed_or_written_and_what_was_made_is_counted(bare: AgentRepo, capsys) -> None:
    table = bare.write_table((0, "0.9979", "keep", "baseline"), (2, "0.99", "keep", "faster"))
    assert run(table) == 0
    out, err = capsys.readouterr()
    first, second = (bare.commits[n] for n in (0, 2))
    names = [candidates.name_of(commit) for commit in (first, second)]
    assert err == f"2 configurations: {names[0]} and {names[1]}\n"
    lines = out.splitlines()
    assert lines[:2] == ["configs:", "  # 0.9979, 12.3 GB: baseline"]
    assert lines[2].startswith(f'  {names[0]}: {{commit: "{first}", sha256: "')
    assert lines[3] == "  # 0.99, 12.3 GB: faster"
    assert len(lines) == 5
    section = out
    value = make_candidate_params({"a": {"commit": "0" * 40}})
    study = Path("mine.yaml")
    study.write_text(f"configs: {{}}\nrunner: {json.dumps(value['runner'])}\n", encoding="utf-8")
    assert run(table, "--study", "mine.yaml", "--write") == 0
    message = "written into mine.yaml; roles.reference names the one that the others are compared with\n"
    assert capsys.readouterr().out == message
    assert study.read_text(encoding="utf-8") == f"{section}runner: {json.dumps(value['runner'])}\n"


def test_what_stands_in_the_way_is_named_before_anything_is_read(bare: AgentRepo) -> None:
    table = bare.write_table((1, "0.0", "crash", "x"), (2, "1.0", "discard", "y"))
    assert refusal(table) == "results.tsv: no row was kept, so there is nothing to compare"
    assert refusal("absent.tsv") == "absent.tsv: there is no such file"
    params = make_candidate_params({"a": {"commit": "0" * 40}})
    del params["runner"]["candidate"]
    Path("params.yaml").write_text(json.dumps(params), encoding="utf-8")
    message = "params.yaml: runner.candidate: missing; name the file that the commits are versions of"
    assert refusal(table) == message
    built_in = (
        "params.yaml: runner.kind: found the built-in runner, expected `command`, with `candidate`; write this section "
        "first (docs/your-trainer.md), or name the file of another study with --study"
    )
    for runner in ({"kind": "other"}, ["command"]):
        Path("params.yaml").write_text(json.dumps(params | {"runner": runner}), encoding="utf-8")
        assert refusal(table) == built_in


def test_without_git_no_version_is_found(bare: AgentRepo) -> None:
    table = bare.write_table((0, "1.0", "keep", "x"))
    shutil.rmtree(".git")
    assert refusal(table) == "a candidate is a version of a file in git, but there is no git repository here"


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (" " * 999 + "x", "x"),
        (" " * 1000 + "x", ""),
        ("y" * 80, "y" * 80),
        ("y" * 81, shortened("y" * 81, 80)),
        ("a\x1b[31m\u202eb", "a?[31m?b"),
    ],
)
def test_a_strangers_cell_is_printable_and_short(cell: str, shown: str) -> None:
    assert candidates._clean(cell) == shown
    assert len(shown) <= 80


@pytest.mark.parametrize(
    ("commit", "name"),
    [("abcdef0123456", "abcdef0123"), ("1234567890ab", "c1234567890"), ("12e45678901", "c12e4567890")],
)
def test_a_configuration_is_called_after_its_commit_unless_yaml_reads_a_number(commit: str, name: str) -> None:
    assert candidates.name_of(commit) == name
