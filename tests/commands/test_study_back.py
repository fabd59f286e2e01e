"""`promotion study back`: an earlier study comes back whole, on top of today's history, and the state verifies."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.commands import study as command
from stages.commands import study_back
from stages.commands.study_back import bring_back
from stages.domain.errors import Refused
from stages.repo.past_studies import read_past_studies
from stages.verify import Options, verify
from tests.support import dvclock, synthetic
from tests.support.repo import Repo, enter_copy

OF_A_STUDY = ("params.yaml", "locks", "ledger", "dvc.lock", "dvc.yaml", "stages/ladder/**/dvc.*")


def params(name: str) -> dict[str, Any]:
    value = synthetic.params(4, 1)
    value["study"] |= {"name": name, "title": f"The study {name}"}
    if name == "second":
        value["rungs"] = {key: value["rungs"][key] for key in list(value["rungs"])[:3]}
        value["gates"] = {key: value["gates"][key] for key in value["rungs"] for key in [key.replace("rung", "gate")]}
        for at, rung in enumerate(value["rungs"].values()):
            rung["seeds"] = [7000 + 10 * at]
            rung["floor_seeds"] = [7900 + 10 * at + more for more in range(len(rung["floor_seeds"]))]
    return value


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose first study was left for a second one of fewer rungs."""
    root = tmp_path_factory.mktemp("back") / "study"
    dvclock.build_study(root, params("first"))
    dvclock.add_study(root, params("second"))
    return root


@pytest.fixture
def repo(built: Path, tmp_path: Path) -> Any:
    with enter_copy(built, tmp_path / "study") as copy:
        yield copy


def content(repo: Repo, rev: str) -> str:
    return repo.git("ls-tree", "-r", rev, "--", "params.yaml", "locks", "ledger", "dvc.lock", "dvc.yaml") + repo.git(
        "ls-tree", "-r", rev, "--", "stages/ladder"
    )


def test_the_earlier_study_comes_back_byte_for_byte_and_verifies_when_it_is_committed(repo: Repo, capsys: Any):
    past = {study.name: study for study in read_past_studies()}["first"]
    assert bring_back("first", yes=True) == 0
    printed = capsys.readouterr().out
    assert f"first, commit {past.commit[:12]}, whole" in printed
    assert "comes back: locks/gate5.yaml" in printed
    assert "`dvc checkout`" in printed
    assert not Path("artifacts").exists()
    words = printed.split("`git add ")[1].split(" && ")[0].split()
    repo.git("add", *words)
    repo.git("commit", "-q", "-m", "back")
    assert repo.git("status", "--porcelain", "--", *OF_A_STUDY) == ""
    assert content(repo, "HEAD") == content(repo, past.commit)
    report = verify(Path(), "HEAD", Options(depth="git"))
    assert report.verdict == "verified", report.summary()
    assert [study.name for study in read_past_studies() if study.present] == ["first"]
    assert bring_back("second", yes=True) == 0
    assert not Path("locks/gate4.yaml").exists()
    assert not Path("stages/ladder/rung4").exists()
    assert verify(Path(), None, Options(depth="git")).verdict == "verified"


@pytest.mark.parametrize("path", ["params.yaml", "locks/gate2.yaml", "dvc.yaml", "stages/ladder/rung2/dvc.lock"])
def test_uncommitted_changes_of_what_it_overwrites_are_refused(repo: Repo, path: str):
    with Path(path).open("ab") as file:
        file.write(b"# changed\n")
    before = Path(path).read_bytes()
    with pytest.raises(Refused, match=f"uncommitted changes would be lost.*\n.*{path}"):
        bring_back("first", yes=True)
    assert Path(path).read_bytes() == before


def test_a_change_elsewhere_stands_in_nobodys_way(repo: Repo):
    Path("notes.md").write_bytes(b"a word\n")
    assert bring_back("first", yes=True) == 0


def test_what_does_not_verify_here_changes_nothing(repo: Repo):
    trainer = next(Path("trainer").glob("*.py"))
    trainer.write_bytes(trainer.read_bytes() + b"\n# another runner\n")
    repo.commit("another runner")
    files = [
        *Path("locks").iterdir(),
        *Path("ledger").iterdir(),
        *Path("stages").glob("ladder/**/dvc.*"),
        Path("params.yaml"),
    ]
    before = {path: path.read_bytes() for path in files}
    with pytest.raises(Refused, match=r"does not verify here, and nothing was changed: it failed at V10 one-runner"):
        bring_back("first", yes=True)
    assert {path: path.read_bytes() for path in files} == before
    assert repo.git("status", "--porcelain") == ""
    assert Path("artifacts").exists()


def test_nobody_agrees_and_nothing_changes(repo: Repo, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(Refused, match="--yes agrees to what is listed above"):
        bring_back("first", yes=False)
    assert repo.git("status", "--porcelain") == ""


def test_an_unknown_name_tells_the_known_ones_and_the_study_here_is_nothing_to_do(repo: Repo, capsys: Any):
    with pytest.raises(Refused, match="holds no study of this name; it holds second, first"):
        bring_back("third", yes=True)
    assert bring_back("second", yes=True) == 0
    assert "already is second" in capsys.readouterr().out


def test_a_link_in_the_place_of_a_file_is_not_followed(repo: Repo):
    Path("dvc.lock").unlink()
    Path("dvc.lock").symlink_to("/etc/passwd")
    repo.commit("a link")
    with pytest.raises(Refused, match=r"dvc.lock: found a link, expected a file"):
        bring_back("second", yes=True)


def test_the_command_line_brings_it_back(repo: Repo):
    parser = command.argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args(["back", "first", "--yes"])) == 0
    assert b"first" in Path("params.yaml").read_bytes()


def test_somebody_who_says_no_changes_nothing(repo: Repo, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setattr(study_back, "ask_to_go_on", lambda: False)
    assert bring_back("first", yes=False) == 1
    assert repo.git("status", "--porcelain") == ""
    lines = capsys.readouterr().out.splitlines()
    commit = repo.git("log", "-1", "--format=%h", "--abbrev=12", "--skip=2")
    assert lines[0] == f"first, commit {commit}, whole"
    assert lines[-2:] == ["  will be cleared, and the DVC cache keeps it: site", "nothing was changed"]
    assert "  comes back: params.yaml" in lines and "  comes back: locks/gate5.yaml" in lines
    assert not any("goes, and git keeps it" in line for line in lines), "a smaller study leaves nothing behind"
    monkeypatch.setattr(study_back, "ask_to_go_on", lambda: True)
    assert bring_back("first", yes=False) == 0


@pytest.mark.parametrize("earlier", [True, False])
def test_a_study_of_an_earlier_layout_comes_back_with_the_way_to_its_code(repo: Repo, earlier, monkeypatch, capsys):
    read = study_back._read_files
    path = "stages/rung1/dvc.lock" if earlier else "stages/ladder/rung1/more/dvc.lock"
    monkeypatch.setattr(study_back, "_read_files", lambda *words: read(*words) | {path: b"schema: '2.0'\n"})
    checked = SimpleNamespace(exit_status=0, summary=lambda: "verified")
    monkeypatch.setattr(study_back, "verify", lambda *words: checked)
    commit = repo.git("log", "-1", "--format=%h", "--abbrev=12", "--skip=2")
    assert bring_back("first", yes=True) == 0
    layout = (
        "its DVC files have an earlier layout: it verifies, and its artifacts can be checked out; "
        f"`git worktree add ../first {commit}` has the code of then, which repeats it"
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines[-3:] if line in ("verified", layout)] == ["verified", *[layout] * earlier]
    assert lines[-1] == (
        "params.yaml, rules and evidence are those of first again. Next: `dvc checkout` (`dvc repro` where the cache "
        "lacks them) brings the artifacts, `git add -A dvc.lock dvc.yaml ledger locks params.yaml stages && git commit` "
        "keeps this state"
    )
    assert not Path("artifacts").exists() and not Path("site").exists()
