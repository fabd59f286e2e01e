"""`promotion study new` and `check`: what is written is right, and what is wrong is said before anything is changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages import cli
from stages.corpora.inputs import input_files
from stages.domain.study import load
from tests.support.repo import PROJECT


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def promotion(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(["study", *words])
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--budget", "10"],
        ["--budget", "1", "--budget", "1", "--budget", "2.5", "--budget", "1e4", "--budget", "1e5", "--budget", "1e6"],
        ["--clock", "wall", "--seeds", "64"],
        ["--title", 'It\'s: "odd" # {and} \\n', "--question", "Is - it?\nYes: 'no'"],
    ],
)
def test_a_new_study_is_commented_and_right(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert promotion("new", "mine", *flags) == 0
    assert promotion("check", "mine") == 0
    study = load(Path("studies/mine.yaml"))
    assert study.study.name == "mine" and len(study.rungs) == (flags.count("--budget") or 3)
    if "--title" in flags:
        assert (study.study.title, study.study.question) == (flags[1], "Is - it? Yes: 'no'")
    text = Path("studies/mine.yaml").read_text(encoding="utf-8")
    assert text.count("#") > 8
    schema = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (PROJECT / "studies" / schema).is_file()
    assert max(len(line) for line in text.splitlines() if "seeds:" not in line) <= 124
    assert "studies/mine.yaml: 6 configurations, 1 host, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        ("data/it's, odd.txt", b"text\n", "text"),
        ("data/a.jsonl.gz", b"{}", "jsonl"),
        ("data/*.txt", b"text\n", "text"),
    ],
)
def test_the_text_of_a_new_study_is_pinned(path: str, content: bytes, kind: str, tmp_path: Path) -> None:
    Path("data").mkdir()
    Path(path.replace("*", "a")).write_bytes(content)
    if path.endswith(".gz"):
        import gzip

        Path(path).write_bytes(gzip.compress(content, mtime=0))
    assert promotion("new", "mine", "--text", path) == 0
    source = load(Path("studies/mine.yaml")).data.source
    assert source.kind == kind
    assert [file.name for file in input_files(source, tmp_path)] == [path.replace("*", "a")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["new", "Mine"], "'Mine' is no name for a study, expected lower-case letters"),
        (["new", "../up"], "'../up' is no name for a study"),
        (["new", "mine", "--budget", "-1"], "rungs.rung1.budget_seconds: found -1, expected greater than 0"),
        (["new", "mine", "--budget", "5", "--budget", "2"], "rungs.rung2.budget_seconds: smaller than that of rung1"),
        (["new", "mine", "--seeds", "0"], "rungs.rung1.seeds: found [], expected at least 1 item"),
        (["new", "mine", "--text", "gone.txt"], "--text.0.path: there is no file gone.txt; put it there"),
        (["new", "mine", "--text", "a.txt", "--text", "b.parquet"], "--text: found files of kinds parquet, text"),
        (["new", "mine", "--text", "../a.txt"], "expected a path that stays inside its folder, without '..'"),
        (["check", "gone.yaml"], "gone.yaml: no such study, and no such file"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert promotion(*words) == 2
    assert message in capsys.readouterr().err
    assert not Path("studies").exists()


def test_a_study_that_exists_is_never_written_over(capsys: pytest.CaptureFixture[str]) -> None:
    assert promotion("new", "mine") == 0
    before = Path("studies/mine.yaml").read_bytes()
    assert promotion("new", "mine", "--seeds", "3") == 2
    assert Path("studies/mine.yaml").read_bytes() == before
    assert "studies/mine.yaml exists; give the new study another name" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["study", "use", "wrong.yaml", "--yes", "--force"], ["study", "show", "wrong.yaml"],
                                   ["study", "check", "wrong.yaml"], ["plan"]])  # fmt: skip
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("d2-a: {depth: 2,", "d2-a: {deepth: 2,", "configs.d2-a.deepth is not a key of this section"),
        ("d2-a: {depth: 2,", "d2-a: {depth: '2',", "configs.d2-a.depth is '2', expected a whole number"),
        ("d2-a: {depth: 2,", "d2-a: {depth: 1e30,", "configs.d2-a.depth is 1e+30, expected a whole number"),
    ],
)
def test_a_wrong_knob_is_refused_before_anything_is_cleared_or_priced(
    words: list[str], old: str, new: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (PROJECT / "studies" / "smoke.yaml").read_text(encoding="utf-8")
    assert YAML(typ="safe").load(text)["configs"]["d2-a"]["depth"] == 2
    name = "params.yaml" if words == ["plan"] else "wrong.yaml"
    Path(name).write_text(text.replace(old, new), encoding="utf-8")
    Path("locks").mkdir()
    Path("locks/gate1.yaml").write_bytes(b"a lock of the old study\n")
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == 2
    assert f"{name}, line {text.split(old)[0].count(chr(10)) + 1}: {message}" in capsys.readouterr().err
    assert Path("locks/gate1.yaml").read_bytes() == b"a lock of the old study\n"
