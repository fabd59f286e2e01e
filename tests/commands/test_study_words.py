"""What `promotion study` asks, says and clears, word by word, without a study that ran."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stages.cli import build_parser
from stages.commands import study as command
from stages.domain import files, yamlio
from stages.domain.errors import Refused
from stages.domain.study import parse_study
from stages.repo import history_reader, past_studies
from tests.support import synthetic
from tests.support.repo import Repo


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> int:
    return command.run(build_parser("study").parse_args(["study", *words]))


def refusal(*words: str) -> str:
    with pytest.raises(Refused) as caught:
        run(*words)
    return str(caught.value)


def write(path: str, **changes: Any) -> dict[str, Any]:
    value = synthetic.params(3, 1)
    value["study"] |= changes
    files.write_whole(Path(path), (json.dumps(value) + "\n").encode())
    return value


SUMMARY = "3 configurations, 2 hosts, 5 rungs of 2, 5, 10, 60, 720 s, rated clock"


def test_a_study_is_shown_checked_and_found_by_name_or_path(capsys: pytest.CaptureFixture[str]) -> None:
    write("studies/mine.yaml", title="Mine", question="Why?", note="A note.")
    assert (run("show", "mine"), run("check", "studies/mine.yaml")) == (0, 0)
    assert capsys.readouterr().out.splitlines() == [
        "Mine", "Why?", "A note.", SUMMARY,
        f"studies/mine.yaml: {SUMMARY}; nothing is wrong that shows without the corpus",
    ]  # fmt: skip
    write("mine")
    assert command.find_study("mine") == Path("studies/mine.yaml")
    assert command.find_study("./mine") == Path("./mine")
    write("studies/other.yaml")
    assert refusal("show", "third") == "third: no such study, and no such file; ready studies: mine, other"


def test_only_the_sections_that_differ_are_named_with_what_that_costs() -> None:
    old = write("a.yaml")
    value = write("b.yaml", title="Another")
    value["clock"], value["gates"]["gate1"]["R4"]["k"] = {"kind": "wall"}, 1
    new = json.dumps(value).encode()
    assert command.list_differing(json.dumps(old).encode(), new) == [
        "study: the site and the ledger",
        "clock: all evidence",
        "gates: the locks of the gates that differ, and the evidence that they judge",
    ]
    assert command.list_differing(new, new) == []
    assert [line.partition(":")[0] for line in command.list_differing(b"{", new)] == [
        *("study", "data", "runner", "clock", "hosts", "configs", "roles", "rungs", "gates"),
    ]


def test_what_belongs_to_a_study_is_listed_and_the_locks_of_the_ladder_are_counted() -> None:
    belongings = [
        "artifacts/a", "dvc.lock", "ledger/decisions.jsonl", "ledger/runs.jsonl", "locks/gate1.yaml",
        "locks/gate1.yaml.sig", "site/index.html", "stages/ladder/rung1/a/dvc.lock", "stages/ladder/rung1/dvc.lock",
        "stages/rung1/dvc.lock",
    ]  # fmt: skip
    for path in [*belongings, "locks/README.md", "ledger/notes.md", "stages/ladder/rung1/dvc.yaml", "dvc.yaml"]:
        files.write_whole(Path(path), b"x: 1\n")
    paths = command.list_belongings()
    names = ["artifacts", *belongings[1:6], "site", *belongings[7:]]
    assert [path.as_posix() for path in paths] == names
    assert command.list_cleared(paths) == [*names[:7], "stages/rung1/dvc.lock", "2 dvc.lock files in stages/ladder"]
    assert command.list_cleared(paths[-2:-1]) == ["1 dvc.lock file in stages/ladder"]
    assert command.list_cleared(paths[:2]) == ["artifacts", "dvc.lock"]


@pytest.mark.skipif(os.name != "posix", reason="Windows asks for a privilege to make links")
def test_folders_are_removed_with_what_is_read_only_and_without_what_a_link_leads_to(folder: Path) -> None:
    kept = folder / "kept" / "file"
    files.write_whole(kept, b"x\n")
    kept.chmod(stat.S_IRUSR)
    files.write_whole(Path("artifacts/deep/file"), b"x\n")
    Path("artifacts/deep/file").chmod(stat.S_IRUSR)
    Path("artifacts/link").symlink_to(kept)
    Path("artifacts/folder").symlink_to(kept.parent)
    Path("site").symlink_to(kept.parent)
    command.clear([Path("artifacts"), Path("site")])
    assert sorted(path.name for path in folder.iterdir()) == ["kept"]
    assert (kept.read_bytes(), stat.S_IMODE(kept.stat().st_mode)) == (b"x\n", stat.S_IRUSR)


def test_what_is_read_only_is_made_writable_first_because_windows_removes_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remove, writable = Path.unlink, []

    def unlink(path: Path) -> None:
        writable.append((path.as_posix(), bool(path.stat().st_mode & stat.S_IWRITE)))
        remove(path)

    for path in ("artifacts/file", "dvc.lock"):
        files.write_whole(Path(path), b"x\n")
        Path(path).chmod(stat.S_IRUSR)
    monkeypatch.setattr(Path, "unlink", unlink)
    command.clear([Path("artifacts"), Path("dvc.lock")])
    assert writable == [("artifacts/file", True), ("dvc.lock", True)]
    assert not Path("artifacts").exists()


def test_outside_git_nothing_keeps_the_old_study() -> None:
    with pytest.raises(Refused) as caught:
        command.list_uncommitted()
    message = "this is not a git repository, and so nothing keeps the old study; --force goes on"
    assert str(caught.value) == message


def test_a_repository_that_no_git_can_read_is_not_taken_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("stages.repo.git.open_git", lambda root, *, required: asked.append((root, required)))
    with pytest.raises(Refused, match="nothing keeps the old study"):
        command.list_uncommitted()
    assert asked == [(Path(), True)]


def test_uncommitted_changes_are_those_of_what_is_cleared(folder: Path) -> None:
    repo = Repo(folder)
    repo.git("init", "-q")
    for path in ("study/params.yaml", "study/notes.md", "study/locks/gate1.yaml", "study/dvc.lock"):
        files.write_whole(Path(path), b"a: 1\n")
    repo.commit("A study")
    os.chdir("study")
    assert command.list_uncommitted() == []
    for path in ("params.yaml", "notes.md", "dvc.lock"):
        files.write_whole(Path(path), b"b: 1\n")
    Path("locks/gate1.yaml").unlink()
    files.write_whole(Path("ledger/runs.jsonl"), b"{}\n")
    assert sorted(command.list_uncommitted()) == [
        " D study/locks/gate1.yaml", " M study/dvc.lock", " M study/params.yaml", "?? study/ledger/",
    ]  # fmt: skip
    assert command.list_uncommitted(["notes.md"]) == [" M study/notes.md"]


@pytest.mark.parametrize(
    ("answer", "agreed"), [("y", True), (" YES ", True), ("n", False), ("", False), ("yess", False)]
)
def test_a_person_is_asked_and_nobody_agrees_to_nothing(monkeypatch, answer: str, agreed: bool) -> None:
    asked: list[str] = []
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda prompt: asked.append(prompt) or answer)
    assert command.ask_to_go_on() is agreed
    assert asked == ["go on? [y/N] "]
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(Refused, match="^nobody to ask: --yes agrees to what is listed above$"):
        command.ask_to_go_on()


def test_the_study_that_stands_there_already_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    write("params.yaml")
    write("mine.yaml")
    assert run("use", "mine.yaml") == 0
    assert capsys.readouterr().out == (
        "params.yaml already is mine.yaml; nothing to do; --afresh clears its locks and its evidence\n"
    )


@pytest.mark.parametrize("afresh", [False, True])
def test_what_differs_and_goes_is_listed_before_it_does(afresh: bool, capsys: pytest.CaptureFixture[str]) -> None:
    write("params.yaml")
    write("mine.yaml", **({} if afresh else {"name": "mine"}))
    files.write_whole(Path("locks/gate1.yaml"), b"x: 1\n")
    words = ["use", "mine.yaml", "--yes", "--force", *["--afresh"] * afresh]
    assert run(*words) == 0
    name = "synthetic" if afresh else "mine"
    repro = "dvc repro --no-run-cache" if afresh else "dvc repro"
    cache = (
        "DVC's run cache, here and in a remote, still knows the old runs: --no-run-cache trains anew, and "
        "`promotion work` would restore them"
    )
    assert capsys.readouterr().out.splitlines() == [
        f"{name}: {SUMMARY}",
        *["  differs in study: the site and the ledger"] * (not afresh),
        "  will be cleared: locks/gate1.yaml",
        f"params.yaml is now {name}, and from now on the file to edit. Next: `dvc repro corpus`, `promotion plan`, "
        f"`promotion freeze`, the commit that it prints, `{repro}`",
        *[cache] * afresh,
    ]
    assert not Path("locks/gate1.yaml").exists()
    assert Path("params.yaml").read_bytes() == Path("mine.yaml").read_bytes()
    assert Path("stages/ladder/rung5/dvc.yaml").is_file()


def test_where_no_study_was_before_nothing_differs_and_nothing_goes(capsys: pytest.CaptureFixture[str]) -> None:
    write("mine.yaml")
    assert run("use", "mine.yaml", "--yes", "--force") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"synthetic: {SUMMARY}"
    assert lines[1].startswith("params.yaml is now synthetic")
    assert len(lines) == 2


def test_a_study_that_git_has_seen_is_an_amendment(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen = SimpleNamespace(locks_with_evidence_of=lambda name: {"gate1": [name]})
    monkeypatch.setattr(history_reader, "history_at_head", lambda: seen)
    study = parse_study(synthetic.params(3, 1), "params.yaml")
    for again in (True, False):
        command._next_steps(study, again)
        assert capsys.readouterr().out.splitlines() == [
            "params.yaml is now synthetic, and from now on the file to edit. Next: `dvc repro corpus`, `promotion plan`, "
            '`promotion freeze --amend --reason "..."`, the commit that it prints, `dvc repro`',
            "git holds evidence of a study that is called synthetic: to make it anew is an amendment, which shows; a study "
            "of your own has another study.name and other seeds",
        ]


def test_a_new_study_has_a_name_of_its_own_and_what_nobody_said_by_default(capsys) -> None:
    message = "'Mine' is no name for a study, expected lower-case letters, digits, '_' and '-'"
    assert refusal("new", "Mine") == message
    assert run("new", "mine") == 0
    study = yamlio.read(Path("studies/mine.yaml"), "")
    assert study["study"]["title"] == "mine"
    assert study["study"]["question"] == "Which configuration earns the next budget?"
    assert [rung["budget_seconds"] for rung in study["rungs"].values()] == [60, 300, 1500]
    assert {len(rung["seeds"]) for rung in study["rungs"].values()} == {2}
    out = capsys.readouterr().out
    assert out.startswith(
        "studies/mine.yaml: 6 configurations, 1 host, 3 rungs of 60, 300, 1500 s, rated clock; edit it"
    )
    assert out.endswith("then `promotion study check studies/mine.yaml` and `promotion study use mine`\n")
    message = "studies/mine.yaml exists; give the new study another name, or edit that file"
    assert refusal("new", "mine") == message
    for path in ("a.txt", "b.jsonl"):
        files.write_whole(Path(path), b"{}\n")
    message = "--text: found files of kinds jsonl, text, expected files of one kind"
    assert refusal("new", "two", "--text", "a.txt", "--text", "b.jsonl") == message


def past(**changes: Any) -> Any:
    known = {
        "name": "old", "commit": "0123456789abcdef", "present": False, "missing": None, "leader": "a", "path": "3 -> 1",
        "verdicts": {"R4": True, "R5": False, "R6": None}, "to_json": lambda: {"name": "old"},
    }  # fmt: skip
    return SimpleNamespace(**known | changes)


def test_what_came_of_past_studies_is_a_line_each(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    write("studies/mine.yaml", title="Mine")
    monkeypatch.setattr(past_studies, "read_past_studies", list)
    mine = f"mine         Mine: {SUMMARY}"
    assert run("list") == 0
    assert capsys.readouterr().out.splitlines() == [mine]
    known = [past(present=True), past(leader=None, verdicts={}), past(missing="gate5 has not decided")]
    monkeypatch.setattr(past_studies, "read_past_studies", lambda: cast("Any", known))
    assert run("list") == 0
    assert capsys.readouterr().out.splitlines() == [
        mine,
        "",
        "in git's history, * the present one; `promotion study back NAME` brings one back:",
        "* old          0123456789ab  3 -> 1; a has the lowest mean; R4 holds; R5 fails; R6 cannot be evaluated",
        "  old          0123456789ab  3 -> 1; nobody leads",
        "  old          0123456789ab  not whole: gate5 has not decided",
    ]
    assert run("list", "--json") == 0
    value = {"schema": 1, "ready": [{"name": "mine", "title": "Mine"}], "past": [{"name": "old"}] * 3}
    assert json.loads(capsys.readouterr().out) == value
