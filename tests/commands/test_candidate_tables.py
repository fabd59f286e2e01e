"""`promotion candidates`: a table of commits becomes a section of a study, and a hostile one is refused or bounded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.cli import build_parser
from stages.commands import candidates as command
from stages.domain import yamlio
from stages.domain.errors import Refused
from stages.domain.study import parse_study
from tests.runners.test_candidates import HEAD, ROWS, create_bare, make_candidate_params, read_version  # noqa: F401
from tests.support.repo import PROJECT


def test_a_table_becomes_configurations_and_a_word_on_every_row_that_does_not(bare, capsys):
    table = bare.write_table(*ROWS, (1, "0.99", "keep", "the same files again"))
    assert command.run(build_parser("candidates").parse_args(["candidates", table])) == 0
    out, err = capsys.readouterr()
    assert out.startswith("configs:\n  # 0.997900, 12.3 GB: baseline\n")
    assert [bare.commits[n] in out for n in range(4)] == [True, False, False, True]
    assert err.splitlines()[:3] == [
        f"line 3: {bare.commits[1][:7]} left out: crashed, logged as 0.000000 (double the width (OOM))",
        f"line 4: {bare.commits[2][:7]} left out: discarded (switch to GeLU)",
        f"line 6: {bare.commits[1][:7]} left out: the same files as line 5 (the same files again)",
    ]


def test_the_section_is_written_in_the_place_of_the_one_that_stood_there(bare):
    study = Path("mine.yaml")
    runner = make_candidate_params({"a": {}})["runner"]
    study.write_text(
        f"# mine\nrunner: {json.dumps(runner)}\nconfigs:\n  old: {{commit: abcdef0}}\n\n# who is who\nroles: {{reference: old}}\n",
        encoding="utf-8",
    )
    table = bare.write_table(*ROWS)
    command.run(build_parser("candidates").parse_args(["candidates", table, "--study", "mine.yaml", "--write"]))
    written = study.read_text(encoding="utf-8")
    assert written.startswith("# mine\nrunner:")
    assert written.endswith("\n\n# who is who\nroles: {reference: old}\n")
    configs = yamlio.loads(written.encode("utf-8"), "mine.yaml")["configs"]
    assert [value["commit"] for value in configs.values()] == [bare.commits[0], bare.commits[3]]
    assert [value["sha256"] for value in configs.values()] == [
        read_version(commit).digest for commit in (bare.commits[0], bare.commits[3])
    ]


def test_a_study_of_the_built_in_runner_is_told_what_comes_first(bare):
    Path("mine.yaml").write_text("runner: {sequence_length: 64}\nconfigs: {}\n", encoding="utf-8")
    arguments = build_parser("candidates").parse_args(["candidates", bare.write_table(*ROWS), "--study", "mine.yaml"])
    with pytest.raises(Refused, match="found the built-in runner, expected `command`, with `candidate`; write this"):
        command.run(arguments)


def test_the_ready_study_takes_the_configurations_of_a_table():
    ready = (PROJECT / "studies" / "autoresearch.yaml").read_bytes()
    configs = f'configs:\n  baseline: {{commit: "{"a" * 40}", sha256: "{"b" * 64}"}}\n'
    written = command.replace_section(ready, configs, "the study").replace(
        b"reference: 228791fb49", b"reference: baseline"
    )
    study = parse_study(yamlio.loads(written, "the study"), "the study")
    assert list(study.configs) == ["baseline"]


def test_a_file_in_which_the_section_cannot_be_told_apart_stays_as_it_is(bare):
    table, before = bare.write_table(*ROWS), Path("params.yaml").read_bytes()
    with pytest.raises(Refused, match="write the printed section into it by hand"):
        command.run(build_parser("candidates").parse_args(["candidates", table, "--write"]))
    assert Path("params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("abcdef0123\t1.0\t1\tkeep\tx", "line 2: 'abcdef0123' names no commit here"),
        ("HEAD\t1.0\t1\tkeep\tx", "line 2: commit: found 'HEAD'"),
        ("--help7\t1.0\t1\tkeep\tx", "line 2: commit: found '--help7'"),
        ("abcdef0\tnan\t1\tkeep\tx", "line 2: val_bpb: found 'nan'"),
        ("abcdef0\t1.0\t1\tgreat\tx", "line 2: status: found 'great', expected keep, discard, crash"),
        ("abcdef0\t1.0\t1\tkeep", "line 2: found 4 cells, expected 5"),
        ("abcdef0\t1.0\t1\tkeep\tx\ty", "line 2: found 6 cells, expected 5"),
    ],
)
def test_a_row_that_is_none_is_refused_with_its_line(bare, row, why):
    Path("results.tsv").write_text(HEAD + row + "\n", encoding="utf-8")
    with pytest.raises(Refused) as error:
        command.run(build_parser("candidates").parse_args(["candidates", "results.tsv"]))
    assert why in str(error.value)


def test_a_hostile_table_is_bounded_and_says_nothing_to_the_terminal(bare, capsys):
    bare.write_table((0, "1.0", "keep", "\x1b[2J\x07evil\u2028roles: {}\x85x" + "y" * 500), ROWS[2])
    command.run(build_parser("candidates").parse_args(["candidates", "results.tsv"]))
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert len(out.splitlines()) == 3
    assert max(map(len, out.splitlines())) < 180
    Path("results.tsv").write_bytes(b"\xff\xfe" * (3 << 20))
    with pytest.raises(Refused, match="expected at most"):
        command.run(build_parser("candidates").parse_args(["candidates", "results.tsv"]))
    Path("results.tsv").write_text(HEAD + "x\n" * 20_000, encoding="utf-8")
    with pytest.raises(Refused, match="20001 lines, expected at most"):
        command.run(build_parser("candidates").parse_args(["candidates", "results.tsv"]))
    Path("results.tsv").write_text(HEAD + "x\n" * 100, encoding="utf-8")
    with pytest.raises(Refused, match="and 80 more"):
        command.run(build_parser("candidates").parse_args(["candidates", "results.tsv"]))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.one_of(st.text(max_size=9), st.sampled_from(["abcdef0", "1.0", "keep"])), max_size=6)))
def test_any_table_is_read_or_refused_and_what_is_shown_of_it_is_printable(rows):
    data = (HEAD + "\n".join("\t".join(cells) for cells in rows)).encode("utf-8", errors="surrogatepass")
    try:
        shown = "".join(str(row) for row in command.read_table(data, "results.tsv"))
    except Refused as error:
        shown = str(error).replace("\n", "")
    assert shown.isprintable()


def test_a_commit_that_looks_like_a_number_is_a_name_all_the_same():
    assert command.name_of("1234567890" + "0" * 30) == "c1234567890"
    assert command.name_of("12e4567890" + "0" * 30) == "c12e4567890"
    assert command.name_of("a1b2c3d4e5" + "0" * 30) == "a1b2c3d4e5"
