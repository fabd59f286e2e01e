"""Configurations that are versions of a file in git: what is refused, what a run gets, and how they differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.domain.command import CommandSettings, find_problems
from stages.domain.errors import Invalid, Refused
from stages.domain.schema import parse
from stages.domain.study import parse_study
from stages.runners import runner_of
from stages.runners.candidates import (
    CandidateFiles,
    _compare,
    check_out,
    describe_candidates,
    find_candidate_mismatch,
    read_candidate,
)
from tests.runners.conftest import make_settings
from tests.runners.foreign_study import HOST, REQUIRE, make_params
from tests.support.repo import Repo, reading_git

HEAD = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
#: A trainer of which each version has another constant; the settings of the study reach all of them.
TRAINER = """import random, sys
from helper import STEPS
RATE = {rate}  # <script>
noise = random.Random(int(sys.argv[1]))
x = 5.0
for step in range(int(sys.argv[2]) * STEPS):
    x -= RATE * (2 * x + noise.gauss(0, 0.2))
print("val_bpb:", f"{{x * x + 1:.7f}}")
"""


def make_candidate_params(configs: dict) -> dict:
    """A two-rung study of versions of agent/train.py."""
    params = make_params()
    return params | {
        "runner": make_settings(
            files=["agent/helper.py"], candidate=["agent/train.py"], folder="agent",
            command=["python", "train.py", "{seed}", "{with.steps}"],
            score={"name": "val_bpb", "unit": "bits/byte", "line": "val_bpb: {score}"}, facts={}, progress=None,
        ),
        "hosts": {"any": HOST},
        "configs": configs,
        "roles": {"reference": next(iter(configs))},
        "rungs": {
            "rung1": {"budget_seconds": 1, "with": {"steps": 3}, "seeds": [1]},
            "rung2": {"budget_seconds": 2, "with": {"steps": 6}, "seeds": [2, 3]},
        },
        "gates": {
            "gate1": {**REQUIRE, "R4": {"kind": "keep_role", "role": "reference"}, "R5": {"kind": "top_k", "k": 2}},
            "gate2": {**REQUIRE, "R4": {"kind": "first_in_all_cells", "role": "reference"}},
        },
    }  # fmt: skip


class AgentRepo:
    """A repository whose branch `agent` has a version of agent/train.py a commit; the main branch has none of them."""

    def __init__(self, repo: Repo, rates: tuple[float, ...] = (0.05, 0.1, 0.2, 0.1)) -> None:
        self.repo = repo
        folder = repo.root / "agent"
        folder.mkdir()
        (folder / "helper.py").write_text("STEPS = 1\n", encoding="utf-8")
        repo.commit("What every candidate shares")
        repo.git("checkout", "-q", "-b", "agent")
        self.commits: list[str] = []
        for number, rate in enumerate(rates):
            (folder / "train.py").write_text(TRAINER.format(rate=rate), encoding="utf-8")
            self.commits.append(repo.commit(f"Experiment {number}"))
        repo.git("checkout", "-q", "main")

    def write_table(self, *rows: tuple[int, str, str, str]) -> str:
        """results.tsv of these rows: number of the commit, score, status, description."""
        lines = [f"{self.commits[n][:7]}\t{score}\t12.3\t{status}\t{text}\n" for n, score, status, text in rows]
        (self.repo.root / "results.tsv").write_text(HEAD + "".join(lines), encoding="utf-8")
        return "results.tsv"


@pytest.fixture(name="bare")
def create_bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AgentRepo:
    """The versions in a repository that holds nothing else."""
    root = tmp_path / "study"
    root.mkdir()
    repo = Repo(root)
    repo.git("init", "-q", "-b", "main")
    agent = AgentRepo(repo)
    (root / "params.yaml").write_text(
        json.dumps(make_candidate_params({"a": {"commit": "0" * 40}}), indent=1), encoding="utf-8"
    )
    monkeypatch.chdir(root)
    return agent


def settings_of() -> CommandSettings:
    return CommandSettings.model_validate(make_candidate_params({"a": {}})["runner"])


def read_version(commit: str) -> CandidateFiles:
    """A candidate's files, of the repository around the current folder."""
    with reading_git(Path()) as git:
        return read_candidate(git, settings_of(), commit)


ROWS = (
    (0, "0.997900", "keep", "baseline"),
    (1, "0.000000", "crash", "double the width (OOM)"),
    (2, "1.005000", "discard", "switch to GeLU"),
    (3, "0.993200", "keep", "raise the rate"),
)


def test_a_checkout_has_the_fixed_files_and_the_files_of_its_commit(bare):
    version = read_version(bare.commits[2][:9])
    check_out(settings_of(), {"commit": version.commit, "sha256": version.digest}, Path("place"))
    assert "RATE = 0.2" in Path("place/agent/train.py").read_text(encoding="utf-8")
    assert Path("place/agent/helper.py").read_text(encoding="utf-8") == "STEPS = 1\n"
    with pytest.raises(Invalid, match=r"sha256: found .*, expected [0-9a-f]{64}, the digest of agent/train.py at"):
        check_out(settings_of(), {"commit": bare.commits[1], "sha256": version.digest}, Path("place"))


def test_a_digest_that_is_left_out_is_told_before_anything_is_frozen(bare):
    study = parse_study(make_candidate_params({"a": {"commit": bare.commits[0]}}), "params.yaml")
    digest = read_version(bare.commits[0]).digest
    with pytest.raises(
        Invalid, match=f"configs.a.sha256: found nothing, expected {digest}, the digest of agent/train.py"
    ):
        runner_of(study.runner).validate(study)


def test_a_commit_of_the_trainers_own_repository_has_its_files_at_the_root(bare):
    repo = bare.repo
    repo.git("checkout", "-q", "--orphan", "upstream")
    repo.git("rm", "-rfq", "--cached", ".")
    (repo.root / "train.py").write_text("print(1)\n", encoding="utf-8")
    repo.git("add", "train.py")
    repo.git("commit", "-q", "-m", "Somebody's own repository")
    version = read_version(repo.git("rev-parse", "HEAD"))
    assert version.contents == (("agent/train.py", b"print(1)\n"),)


def test_a_link_in_the_place_of_a_candidate_is_refused(bare):
    repo = bare.repo
    repo.git("checkout", "-q", "-b", "links")
    (repo.root / "agent" / "train.py").symlink_to("/etc/passwd")
    commit = repo.commit("A link")
    with pytest.raises(Invalid, match=rf"^commit {commit[:12]} has no file agent/train\.py$"):
        read_version(commit)


def refusal(act) -> str:
    with pytest.raises((Invalid, Refused)) as refused:
        act()
    return str(refused.value)


def commit_file(bare: AgentRepo, content: bytes) -> str:
    """A commit whose candidate has this content."""
    bare.repo.git("checkout", "-q", "agent")
    (bare.repo.root / "agent" / "train.py").write_bytes(content)
    commit = bare.repo.commit("Another version")
    bare.repo.git("checkout", "-q", "main")
    return commit


def test_a_file_of_more_than_a_mebibyte_is_no_candidate(bare):
    assert len(read_version(commit_file(bare, b"#" * (1 << 20))).contents[0][1]) == 1 << 20
    commit = commit_file(bare, b"#" * ((1 << 20) + 1))
    assert refusal(lambda: read_version(commit)).endswith(
        f"commit {commit[:12]}: agent/train.py has 1048577 bytes, expected at most 1048576"
    )


def test_a_mismatch_says_what_git_holds_and_what_was_expected(bare):
    first, second = bare.commits[:2]
    digest, other = read_version(first).digest, read_version(second).digest
    with reading_git(Path()) as git:
        assert find_candidate_mismatch(git, settings_of(), {"commit": first, "sha256": digest}) is None
        assert find_candidate_mismatch(git, settings_of(), {"commit": second, "sha256": digest}) == (other, digest)
        assert find_candidate_mismatch(git, settings_of(), {"commit": second}) == (other, "None")
        message, expected = find_candidate_mismatch(git, settings_of(), {"commit": "a" * 40, "sha256": digest})
    assert "a" * 12 in message
    assert expected == "the files of runner.candidate at that commit"


def study_of(bare: AgentRepo, *numbers: int, reference: bool = True):
    """A study of these versions, by their numbers."""
    configs = {
        f"c{number}": {"commit": bare.commits[number], "sha256": read_version(bare.commits[number]).digest}
        for number in numbers
    }
    params = make_candidate_params(configs)
    if not reference:
        params["roles"] = {}
        params["gates"]["gate1"].pop("R4")
        params["gates"]["gate2"].pop("R4")
    return parse_study(params, "params.yaml")


def test_each_version_is_described_by_its_commit_and_its_diff_from_the_reference(bare):
    described = describe_candidates(study_of(bare, 0, 1), settings_of())
    assert described == {
        "c0": {"commit": bare.commits[0], "diff": []},
        "c1": {
            "commit": bare.commits[1],
            "diff": [
                "agent/train.py",
                "@@ -1,6 +1,6 @@",
                " import random, sys",
                " from helper import STEPS",
                "-RATE = 0.05  # <script>",
                "+RATE = 0.1  # <script>",
                " noise = random.Random(int(sys.argv[1]))",
                " x = 5.0",
                " for step in range(int(sys.argv[2]) * STEPS):",
            ],
        },
    }
    plain = describe_candidates(study_of(bare, 0, 1, reference=False), settings_of())
    assert [entry["diff"] for entry in plain.values()] == [[], []]
    models = runner_of(study_of(bare, 0, 1).runner).validate(study_of(bare, 0, 1)).by_config
    assert models == {name: {"same_model_as": [], **entry} for name, entry in described.items()}


def test_a_long_diff_is_cut_and_says_how_much_more_there_is(bare):
    before = commit_file(bare, b"".join(b"line %d\n" % n for n in range(600)))
    for lines, added, length, rest in ((197, 0, 399, None), (197, 1, 400, None), (198, 0, 401, 1), (199, 0, 401, 3)):
        changed = [b"x" * 300] * lines + [b"y"] * added + [b"line %d" % n for n in range(lines, 600)]
        after = commit_file(bare, b"".join(line + b"\n" for line in changed))
        with reading_git(Path()) as git:
            base, version = (read_candidate(git, settings_of(), commit) for commit in (before, after))
            shown = _compare(git, base, version)
        assert len(shown) == length
        assert max(map(len, shown[:400])) == 200
        assert shown[-1] == (f"... and {rest} more" if rest else " line 199")


def test_a_version_that_git_does_not_hold_or_that_was_changed_is_told_at_its_place(bare):
    (digest,) = {read_version(bare.commits[0]).digest}
    assert refusal(lambda: check_out(settings_of(), {"commit": "a" * 40, "sha256": digest}, Path("place"))).startswith(
        "params.yaml: configs.aaaaaaaaaaaa.commit: "
    )
    assert refusal(lambda: check_out(settings_of(), {"commit": bare.commits[1]}, Path("place"))) == (
        f"params.yaml: configs.{bare.commits[1][:12]}.sha256: found nothing, expected "
        f"{read_version(bare.commits[1]).digest}, the digest of agent/train.py at {bare.commits[1][:12]}"
    )
    assert not Path("place").exists()


def test_a_checkout_is_made_anew(bare):
    version = read_version(bare.commits[2])
    knobs = {"commit": version.commit, "sha256": version.digest}
    Path("place").mkdir()
    Path("place/left.txt").write_text("of an earlier run", encoding="utf-8")
    check_out(settings_of(), knobs, Path("place"))
    files = sorted(path.as_posix() for path in Path("place").rglob("*") if path.is_file())
    assert files == ["place/agent/helper.py", "place/agent/train.py"]


def test_without_a_repository_there_are_no_versions(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert refusal(lambda: check_out(settings_of(), {"commit": "a" * 40}, Path("place"))) == (
        "runner.candidate: a configuration is a version in git, but there is no git repository here"
    )


DIGEST = "0" * 64


@pytest.mark.parametrize(
    ("configs", "why"),
    [
        ({"a": {"sha256": DIGEST}}, "configs.a.commit: missing"),
        ({"a": {"commit": 1234567}}, "configs.a.commit: found 1234567, expected the whole id of a commit"),
        ({"a": {"commit": "abcdef0"}}, "configs.a.commit: found 'abcdef0', expected the whole id of a commit"),
        ({"a": {"commit": "HEAD"}}, "configs.a.commit: found 'HEAD'"),
        ({"a": {"commit": "a" * 40, "sha256": "12"}}, "configs.a.sha256: found '12'"),
        (
            {"a": {"commit": "a" * 40, "sha256": DIGEST}, "b": {"commit": "b" * 40, "sha256": DIGEST}},
            "configs.b: the same files as a",
        ),
    ],
)
def test_a_configuration_that_is_no_version_is_refused_with_its_place(configs, why):
    options = {"rung1": {"steps": 3}, "rung2": {"steps": 6}}
    assert any(why in problem for problem in find_problems(settings_of(), configs, options, "given"))


def test_a_file_is_either_fixed_or_a_candidate():
    with pytest.raises(Invalid, match="either in files, the same for all, or in candidate"):
        parse(CommandSettings, make_settings(candidate=["small/train.py"]), "runner")
