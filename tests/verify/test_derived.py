"""Summaries, winner and site made again, and every other value that lies here in their place."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages import winner
from stages.domain import canonical
from stages.domain.errors import Invalid
from stages.dvcfiles.cache import md5_file, md5_folder
from stages.verify import derived
from stages.verify.check import Case, Problem, Skip
from stages.verify.dvc_locks import DvcLocks
from stages.verify.locks import Params
from stages.verify.pending import EvidenceRules
from tests.verify.cases import alter

METRICS = "ledger/metrics.json"
NUMBER = "a published number is not what the evidence adds up to"


def recorded(case: Case, path: str, md5: str, lock: str = "dvc.lock") -> DvcLocks:
    """What DVC recorded, with another digest of an output in one lock, wherever it stands there."""
    locks = case.get(DvcLocks)
    stages = {
        name: replace(
            stage,
            deps={key: replace(file, md5=md5) if key == path else file for key, file in stage.deps.items()},
            outs={key: replace(file, md5=md5) if key == path else file for key, file in stage.outs.items()},
        )
        for name, stage in locks.recorded[lock].items()
    }
    return replace(locks, recorded={**locks.recorded, lock: stages})


@pytest.fixture
def copy(judged: Case, tmp_path: Path) -> Case:
    """The study in a folder of its own, to change what lies there."""
    root = tmp_path / "study"
    shutil.copytree(judged.root, root, ignore=shutil.ignore_patterns(".git"))
    return alter(judged, root=root)


# V23


def summary(case: Case, *values: object, **files: bytes | None) -> list[Problem]:
    return list(derived.check_summary(alter(case, *values, files=files)))


def test_other_metrics_are_told_value_by_value_and_no_more_than_five(judged):
    data = judged.tree.read(METRICS)
    value = json.loads(data)
    assert summary(judged) == []
    assert summary(judged, **{METRICS: None}) == [Problem(METRICS, "no file", "the metrics of the ledger", NUMBER)]
    other = canonical.dumps({**value, "winner": "d1-c000"})
    reported = Problem(METRICS, "'d1-c000'", repr(value["winner"]), NUMBER, pointer="/winner")
    assert summary(judged, **{METRICS: other}) == [reported]
    many = canonical.dumps({**value, **dict.fromkeys("abcdef", 1)})
    assert [problem.pointer for problem in summary(judged, **{METRICS: many})] == ["/a", "/b", "/c", "/d", "/e"]
    assert summary(judged, **{METRICS: data + b"\n"}) == [
        Problem(METRICS, "the same values in other bytes", "the bytes that the ledger stage writes", NUMBER)
    ]
    with pytest.raises(Invalid) as error:
        summary(judged, **{METRICS: b"{{{"})
    assert str(error.value).startswith("ledger/metrics.json: ")
    assert str(error.value).endswith("; the ledger stage writes it")


def test_another_digest_of_the_summaries_is_told_wherever_dvc_noted_it(judged):
    meaning = "the tables of agreement, stability or cost are not what the evidence adds up to"
    locks = judged.get(DvcLocks).recorded["dvc.lock"]
    md5 = locks["ledger"].outs["artifacts/summary"].md5
    at = locks["ledger"].outs["artifacts/summary"].at, locks["site"].deps["artifacts/summary"].at
    assert summary(judged, recorded(judged, "artifacts/summary", "0.dir")) == [
        Problem("dvc.lock", "0.dir", md5, meaning, pointer=f"/stages/ledger/outs/{at[0]}/md5"),
        Problem("dvc.lock", "0.dir", md5, meaning, pointer=f"/stages/site/deps/{at[1]}/md5"),
    ]


def test_a_difference_that_other_code_may_have_made_is_no_verdict(judged, monkeypatch):
    asked: list[Any] = []

    def other_code(case: Case, stage: str, paths: tuple[str, ...]) -> str:
        asked.append((stage, paths))
        return paths[0]

    monkeypatch.setattr(derived, "other_code", other_code)
    assert summary(judged) == []
    assert asked == []
    with pytest.raises(Skip) as skip:
        summary(judged, **{METRICS: None})
    assert skip.value.reason == "stages/summary installed here is not the one that made the summary"
    assert skip.value.enable == "verify with that commit's own code"
    assert asked == [("ledger", ("stages/summary", "stages/domain"))]


# V28


def winner_problems(case: Case, *values: object) -> tuple[list[Problem], list[str]]:
    altered = alter(case, *values)
    return list(derived.check_winner(altered)), altered.notes


def folder(case: Case, path: str = "artifacts/winner") -> DvcLocks:
    """What DVC recorded, with the digest that a folder has now."""
    return recorded(case, path, md5_folder(case.root / path))


def skipped(case: Case, *values: object) -> tuple[str, str, bool]:
    with pytest.raises(Skip) as skip:
        winner_problems(case, *values)
    return skip.value.reason, skip.value.enable, skip.value.applies


def test_a_winner_that_is_not_here_or_not_recorded_is_not_looked_at(copy):
    locks = copy.get(DvcLocks)
    root = {name: stage for name, stage in locks.recorded["dvc.lock"].items() if name != "winner"}
    assert winner_problems(copy) == ([], [])
    without = replace(locks, recorded={**locks.recorded, "dvc.lock": root})
    assert skipped(copy, without) == ("dvc.lock records no winner", "dvc repro winner", False)
    shutil.rmtree(copy.root / "artifacts" / "winner")
    absent = ("artifacts/winner is not here as dvc.lock records it", "dvc repro winner", True)
    assert skipped(copy) == absent


def test_files_more_or_less_beside_the_winner_are_told(copy):
    place, meaning = copy.root / "artifacts" / "winner", "the winner stage would not have left it so"
    (place / "more").write_bytes(b"x")
    assert winner_problems(copy, folder(copy))[0] == [
        Problem("artifacts/winner/more", "a file", "no such file", meaning)
    ]
    (place / "more").unlink()
    (place / "model.safetensors").unlink()
    assert winner_problems(copy, folder(copy))[0] == [
        Problem("artifacts/winner/model.safetensors", "no file", "a file", meaning)
    ]


def test_other_weights_than_those_that_the_run_kept_are_told(copy):
    place = copy.root / "artifacts" / "winner" / "model.safetensors"
    kept, run = md5_file(place), json.loads((place.parent / "model.json").read_bytes())
    place.write_bytes(b"junk")
    problems, _ = winner_problems(copy, folder(copy))
    name = f"rung5/{run['config']}/{run['host']}/{run['seed']}"
    reported = Problem(
        "artifacts/winner/model.safetensors",
        f"MD5 {md5_file(place)}",
        f"MD5 {kept}",
        f"these are not the weights that {name} trained",
    )
    assert problems[0] == reported
    assert {problem.file for problem in problems[1:]} == {"artifacts/winner/model.json"}
    trace = copy.root / "artifacts" / "traces" / name
    lock = f"stages/ladder/rung5/{run['config']}/dvc.lock"
    (trace / winner.KEPT).unlink()
    locks = recorded(alter(copy, folder(copy)), f"artifacts/traces/{name}", md5_folder(trace), lock)
    problems, _ = winner_problems(copy, locks)
    assert problems[0] == replace(reported, expected="none: the run kept no weights")
    shutil.rmtree(trace)
    assert skipped(copy, folder(copy)) == (
        f"the trace of {name}, whose weights won, is not here as dvc.lock records it",
        "dvc repro",
        True,
    )


def test_another_description_of_the_winner_is_told_value_by_value(copy):
    place = copy.root / "artifacts" / "winner" / "model.json"
    data, meaning = place.read_bytes(), "what is said of the winner is not what the ledger says"
    value = json.loads(data)

    def told(text: bytes) -> list[Problem]:
        place.unlink()
        place.write_bytes(text)
        return winner_problems(copy, folder(copy))[0]

    path = "artifacts/winner/model.json"
    assert told(canonical.dumps({**value, "config": "x" * 300})) == [
        Problem(path, repr("x" * 300)[:200], repr(value["config"]), meaning, pointer="/config")
    ]
    assert told(data + b"\n") == [
        Problem(path, "'the same values in other bytes'", "'the bytes of the winner stage'", meaning)
    ]
    (problem,) = told(b"{{{")
    assert (problem.file, problem.expected, problem.pointer) == (path, "'canonical JSON'", None)


def test_curves_that_do_not_follow_from_the_traces_are_told_and_without_traces_are_noted(copy):
    locks = copy.get(DvcLocks).recorded["dvc.lock"]["winner"].outs["artifacts/curves.csv"]
    problems, notes = winner_problems(copy, recorded(copy, "artifacts/curves.csv", "0"))
    assert (problems, notes) == (
        [
            Problem(
                "dvc.lock",
                "0",
                str(locks.md5),
                "artifacts/curves.csv does not show the curves in the traces",
                pointer=f"/stages/winner/outs/{locks.at}/md5",
            )
        ],
        [],
    )
    loser = "rung5/d2-c001/cpu-bf16/5000"
    model = json.loads((copy.root / "artifacts/winner/model.json").read_bytes())
    assert not loser.startswith(f"rung5/{model['config']}/{model['host']}/") or model["seed"] != 5000
    curve = copy.root / "artifacts" / "traces" / loser / "curve.csv"
    lock = "stages/ladder/rung5/d2-c001/dvc.lock"
    curve.write_bytes(b"\xff\xfe,,,\nabc\n")
    (problem,), _ = winner_problems(copy, recorded(copy, f"artifacts/traces/{loser}", md5_folder(curve.parent), lock))
    assert problem.found.startswith("UnicodeDecodeError: ")
    assert replace(problem, found="") == Problem(
        "artifacts/curves.csv", "", "curves that can be read", "the trace of a run is not what it wrote"
    )
    shutil.rmtree(curve.parent)
    note = f"artifacts/curves.csv was not made again: the trace of {loser} is not here; `dvc repro` brings it"
    assert winner_problems(copy) == ([], [note])
    curve.parent.mkdir()
    (curve.parent / "other").write_bytes(b"")
    other = recorded(copy, f"artifacts/traces/{loser}", md5_folder(curve.parent), lock)
    assert winner_problems(copy, other) == ([], [note])


# V29


def site(case: Case, *values: object, **fields: Any) -> list[Problem]:
    return list(derived.check_site(alter(case, *values, **fields)))


def why_no_site(case: Case, *values: object, **fields: Any) -> tuple[str, str]:
    with pytest.raises(Skip) as skip:
        site(case, *values, **fields)
    return skip.value.reason, skip.value.enable


def build(done: Any, made: dict[str, Any] | None = None) -> Any:
    """A stand-in for `subprocess` whose process writes a page and ends so."""

    def run(command: list[str], **options: Any) -> Any:
        (made if made is not None else {}).update(command=command, **options)
        place = Path(command[command.index("--out") + 1])
        place.mkdir()
        (place / "index.html").write_bytes(b"<!doctype html>\n")
        if isinstance(done, BaseException):
            raise done
        code, text = done
        return subprocess.CompletedProcess(command, code, b"", text.replace("FOLDER", str(place.parent)).encode())

    return SimpleNamespace(run=run, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired)


def test_a_site_with_other_pages_is_told_and_the_same_passes(judged, monkeypatch):
    made: dict[str, Any] = {}
    monkeypatch.setattr(derived, "subprocess", build((0, ""), made))
    assert site(judged) == []
    assert made["command"][1:5] == ["-P", "-m", "report", "--out"]
    assert (made["cwd"], made["timeout"], made["stdin"]) == (judged.root, 1800, subprocess.DEVNULL)
    assert made["env"]["PYTHONIOENCODING"] == "utf-8"
    out = judged.get(DvcLocks).recorded["dvc.lock"]["site"].outs["site"]
    meaning = "the pages do not show what the evidence says"
    assert site(judged, recorded(judged, "site", "0.dir")) == [
        Problem("dvc.lock", "0.dir", str(out.md5), meaning, pointer=f"/stages/site/outs/{out.at}/md5")
    ]


def test_the_site_is_given_the_recorded_parameters_where_params_yaml_says_the_same(judged):
    stage = judged.get(DvcLocks).recorded["dvc.lock"]["site"].params["params.yaml"]
    same = alter(judged, Params(dict(reversed(stage.items()))))
    assert json.loads(derived._recorded_params(same) or b"") == stage
    assert derived._recorded_params(alter(judged, Params({**stage, "study": {}}))) is None
    locks = judged.get(DvcLocks)
    assert derived._recorded_params(alter(judged, replace(locks, recorded={}))) is None


def test_given_parameters_stand_in_for_params_yaml(tmp_path, monkeypatch):
    made: dict[str, Any] = {}
    monkeypatch.setattr(derived, "subprocess", build((0, ""), made))
    assert derived._build_site(tmp_path, tmp_path, b"{}") == ""
    assert made["command"][-2:] == ["--params", str(tmp_path / "params.yaml")]
    assert (tmp_path / "params.yaml").read_bytes() == b"{}"
    shutil.rmtree(tmp_path / "site")
    with chdir(tmp_path):
        monkeypatch.setenv("PYTHONPATH", "own")
        assert derived._build_site(tmp_path, tmp_path, None) == ""
    assert "--params" not in made["command"]
    assert made["env"]["PYTHONPATH"].split(derived.os.pathsep)[1:] == [str((tmp_path / "own").resolve())]


@pytest.mark.parametrize(
    ("done", "message"),
    [
        ((1, "first\nerror: " + "x" * 400), ("error: " + "x" * 400)[:300]),
        ((3, ""), "exit status 3"),
        (subprocess.TimeoutExpired("report", 1), "no site after 1800 seconds"),
    ],
)
def test_a_site_that_cannot_be_built_says_why(done, message, judged, monkeypatch):
    monkeypatch.setattr(derived, "subprocess", build(done))
    meaning = "the site cannot be built from what lies here; V26 says what was changed"
    assert site(judged) == [Problem("site", message, "pages", meaning)]


@pytest.mark.parametrize(
    ("done", "reason", "enable"),
    [
        ((-9, ""), "the process that builds the site was killed", "promotion verify, with more memory"),
        (
            (1, "ModuleNotFoundError: No module named 'plotly'"),
            "the report cannot be imported: ModuleNotFoundError: No module named 'plotly'",
            "pip install 'staged-promotion[study]'",
        ),
        (
            (1, "ImportError: x"),
            "the report cannot be imported: ImportError: x",
            "pip install 'staged-promotion[study]'",
        ),
        (
            (1, "python: No module named report"),
            "the report cannot be imported: python: No module named report",
            "pip install 'staged-promotion[study]'",
        ),
        (
            (1, "error: FOLDER/site: " + "x" * 400),
            ("error: the temporary folder/site: " + "x" * 400)[:300],
            "promotion verify, with room for temporary files (TMPDIR)",
        ),
    ],
)
def test_what_this_machine_lacks_for_the_site_is_no_verdict(done, reason, enable, judged, monkeypatch):
    monkeypatch.setattr(derived, "subprocess", build(done))
    assert why_no_site(judged) == (reason, enable)


def test_a_site_that_cannot_be_built_here_is_not_looked_at(judged, copy, monkeypatch):
    locks = judged.get(DvcLocks)
    root = {name: stage for name, stage in locks.recorded["dvc.lock"].items() if name != "site"}
    without = replace(locks, recorded={**locks.recorded, "dvc.lock": root})
    assert why_no_site(judged, without) == ("no dvc.lock records a site", "dvc repro site")
    pending = replace(judged.get(EvidenceRules), pending={"gate2": "amended", "gate4": "frozen"})
    assert why_no_site(judged, pending) == (
        "the site is that of the evidence here, and the evidence of gate2, gate4 is to come",
        "dvc repro",
    )
    assert why_no_site(judged, commit="0123456789abcdef") == (
        "the site of a commit is built from its artifacts",
        "git checkout 0123456789ab && dvc repro",
    )
    for path in ("artifacts/confidence", "artifacts/corpus/manifest.json", "artifacts/protocol", "artifacts/summary",
                 "artifacts/traces"):  # fmt: skip
        place = copy.root / path
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        assert why_no_site(copy) == (f"{path} is not here, and the site is built from it", "dvc repro")
    unrun = {name: stage for name, stage in locks.recorded["dvc.lock"].items() if name != "confidence"}
    (copy.root / "artifacts" / "traces").mkdir()
    assert why_no_site(copy, replace(locks, recorded={**locks.recorded, "dvc.lock": unrun}))[0].startswith(
        "artifacts/summary is not here"
    )
    monkeypatch.setattr(derived, "other_code", lambda case, stage, paths: f"{stage} {paths}")
    assert why_no_site(judged) == (
        "report/ installed here is not the one that built the site",
        "verify with that commit's own code",
    )


def test_a_winner_without_weights_of_its_own_has_none_beside_it(copy, monkeypatch):
    meaning = "the winner stage would not have left it so"
    more = Problem("artifacts/winner/model.safetensors", "a file", "no such file", meaning)
    monkeypatch.setattr(winner, "keeps_weights", lambda run: False)
    assert next(iter(derived.check_winner(alter(copy)))) == more
    monkeypatch.undo()
    summaries = derived._derive_summaries(copy)
    headline = canonical.dumps({**canonical.loads(summaries[METRICS]), "winner": None})
    monkeypatch.setattr(derived, "_derive_summaries", lambda case: {**summaries, METRICS: headline})
    assert winner_problems(copy)[0][0] == more
    monkeypatch.undo()
    (copy.root / "artifacts" / "winner" / "model.json").unlink()
    assert winner_problems(copy, folder(copy))[0] == [
        Problem("artifacts/winner/model.json", "no file", "a file", meaning)
    ]
