"""`promotion freeze` in a committed study of which three gates have decided: what it prints, writes and refuses."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stages import verify as front_door
from stages.cli import build_parser
from stages.commands import freeze
from stages.domain import locks, names
from stages.domain.errors import Refused
from stages.domain.locks import LockRefused
from stages.domain.study import load
from tests.support import dvclock, synthetic
from tests.support.repo import Repo, enter_copy

OWN = '`promotion freeze gate2 --amend --reason "..."`; the evidence is then made anew'
COMMIT = "`git add locks && git commit -m 'Freeze the rules'`"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("freeze") / "study"
    dvclock.build_study(root, synthetic.params(3, 1), 3)
    return root


@pytest.fixture
def repo(built: Path, tmp_path: Path) -> Iterator[Repo]:
    with enter_copy(built, tmp_path / "study") as copy:
        yield copy


@pytest.fixture
def run(repo: Repo, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Freeze, and what it printed, without the digests."""

    def run(*words: str) -> str:
        assert freeze.run(build_parser("freeze").parse_args(["freeze", *words])) == 0
        return re.sub(r" [0-9a-f]{16}\n", " DIGEST\n", capsys.readouterr().out)

    return run


def change(edit: Callable[[dict[str, Any]], Any]) -> None:
    value = json.loads(names.PARAMS.read_bytes())
    edit(value)
    names.PARAMS.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def keep(number: int) -> None:
    """Let so many go on at gate 2, where four may."""
    change(lambda value: value["gates"]["gate2"]["R5"].update(k=number))


def digests() -> list[str]:
    return [lock.digest for number in range(1, 6) if (lock := locks.read(f"gate{number}"))]


def amendments(gate: str) -> list[Any]:
    lock = locks.read(gate)
    assert lock is not None
    return [(amendment.reason, amendment.replaces, dict(amendment.changed)) for amendment in lock.frozen.amendments]


def refusal(run: Callable[..., str], *words: str) -> str:
    before = digests()
    with pytest.raises((Refused, LockRefused)) as caught:
        run(*words)
    assert digests() == before
    return str(caught.value)


def told(*changes: str, commit: str = COMMIT) -> str:
    rules = (5, 5, 8, 7, 6)
    lines = [
        f"gate{n}: {what}, {count} rules, DIGEST\n"
        for n, (what, count) in enumerate(zip(changes, rules, strict=False), 1)
    ]
    end = f"commit this before the evidence: {commit}; then `promotion status` says what comes next\n"
    return "".join(lines) + (end if commit else "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gate9"], "gate9: no such gate; params.yaml has gate1, gate2, gate3, gate4, gate5"),
        (["gate5"], "gate5: gate4 before it is not frozen; `promotion freeze gate4`"),
        (["--amend"], '--amend needs --reason "...": it stays in the lock for ever'),
        (["--amend", "--reason", " "], '--amend needs --reason "...": it stays in the lock for ever'),
        (["--reason", "x"], "--reason goes with --amend"),
    ],
)
def test_words_that_mean_nothing_are_refused(run, words: list[str], message: str) -> None:
    assert refusal(run, *words) == message


def test_what_is_frozen_stays_and_what_was_asked_for_is_new(run) -> None:
    before = digests()
    assert run("gate1", "gate2") == told("unchanged", "unchanged", "unchanged", commit="")
    assert run("gate4") == told("unchanged", "unchanged", "unchanged", "frozen")
    assert run() == told("unchanged", "unchanged", "unchanged", "unchanged", "frozen")
    assert digests()[:3] == before
    assert run("gate1") == told(*["unchanged"] * 5)


def test_before_its_evidence_a_rule_changes_freely_and_later_locks_follow(run) -> None:
    run()
    before = digests()
    change(lambda value: (value["gates"]["gate4"]["R7"].update(gap=0.03), value["gates"]["gate5"]["R6"].update(most=1)))
    commit = "`git add locks params.yaml && git commit -m 'Freeze the rules'`"
    anew = ["unchanged"] * 3 + ["frozen anew"] * 2
    assert run("gate4") == told(*anew, commit=commit)
    after = locks.read("gate5")
    assert after is not None
    assert (digests()[:3], after.frozen.previous) == (before[:3], digests()[3])
    assert after.frozen.rules["R6"].most == 0.02, "nobody asked for that of gate5"
    assert after.frozen.amendments == []
    change(lambda value: value["rungs"]["rung4"].update(seeds=[4007]))
    run("gate4")
    after = locks.read("gate5")
    assert after is not None
    assert after.frozen.earlier_seeds == [1000, 2000, 3000, 3900, 3901, 3902, 4007]


def test_a_rule_that_was_judged_is_amended_or_stays(run) -> None:
    first = digests()
    keep(1)
    change_told = f"rules.R5.k: frozen 4, now 1\n  take the change back, or own it: {OWN}"
    assert (
        refusal(run, "gate2") == f"locks/gate2.yaml: evidence of rung2 exists, and the rule differs:\n  {change_told}"
    )
    commit = "`git add locks params.yaml && git commit -m 'Freeze the rules'`"
    anew = ["unchanged", "frozen anew", "frozen anew"]
    assert run("gate2", "--amend", "--reason", " too many ") == told(*anew, commit=commit)
    second = digests()
    assert amendments("gate2") == [("too many", first[1], {"rules.R5.k": {"was": 4, "is": 1}})]
    assert amendments("gate3") == [("too many", first[2], {"previous": {"was": first[1], "is": second[1]}})]
    assert (second[0] == first[0], second[1] == first[1]) == (True, False)
    keep(4)
    assert run("gate2") == told(*anew, commit="")
    assert digests() == first, "an amendment that judged nothing is taken back"


def test_the_same_rule_is_amended_where_its_evidence_is_to_be_made_again(run) -> None:
    first = digests()
    assert run("gate2", "--amend", "--reason", "a disk failed") == told("unchanged", "frozen anew", "frozen anew")
    assert amendments("gate2") == [("a disk failed", first[1], {})]
    assert [reason for reason, *_ in amendments("gate3")] == ["a disk failed"]
    second = digests()
    assert run("gate2") == told(*["unchanged"] * 3)
    assert (digests() == second, second[1:] == first[1:]) == (True, False)


def test_an_amendment_that_was_judged_stays_and_another_one_is_added(run, repo: Repo) -> None:
    first = digests()
    keep(1)
    run("gate2", "--amend", "--reason", "one")
    repo.commit("Freeze")
    second = digests()
    assert run("gate2") == told(*["unchanged"] * 3, commit="")
    keep(2)
    assert run("gate2", "--amend", "--reason", "two")
    changed = {"rules.R5.k": {"was": 4, "is": 2}}
    assert amendments("gate2") == [("two", first[1], changed)], "under the first amendment nothing was judged"
    assert second[1] != digests()[1]


def test_a_lock_that_is_gone_is_not_made_anew_over_its_evidence(run) -> None:
    Path("locks/gate2.yaml").unlink()
    message = "locks/gate2.yaml is missing, but evidence of rung2 exists; `git checkout -- locks/gate2.yaml`"
    assert refusal(run) == message


def test_another_study_is_begun_with_its_own_name_and_its_own_seeds(run) -> None:
    change(lambda value: value["study"].update(name="other"))
    assert refusal(run, "gate1").endswith(
        "  study: frozen 'synthetic', now 'other'\n"
        f"  take the change back, or own it: {OWN.replace('gate2', 'gate1')}; "
        "a study of its own begins with `promotion study use FILE`"
    )
    clear()
    seen = (
        "params.yaml: rungs.rung1.seeds: found 1000, with which git holds evidence of the study synthetic; expected seeds "
        "that no study of this history used: a rule is no rule for what was seen before"
    )
    assert refusal(run) == seen
    change(lambda value: value["rungs"]["rung1"].update(seeds=[1200, 1001, 1000]))
    assert refusal(run) == seen
    change(lambda value: value["rungs"]["rung1"].update(seeds=[1000], budget_seconds=1.0))
    assert "rungs.rung2.seeds: found 2000" in refusal(run)
    for number in (1, 2, 3):
        change(lambda value, n=number: value["rungs"][f"rung{n}"].update(seeds=[n * 10], budget_seconds=float(n)))
    assert run().startswith("gate1: frozen, 5 rules")


def clear() -> None:
    for folder in ("locks", "ledger", "artifacts/records", "artifacts/gates"):
        shutil.rmtree(folder)
    for path in Path("stages/ladder").rglob("dvc.lock"):
        path.unlink()


def test_evidence_that_git_alone_holds_is_evidence(run) -> None:
    clear()
    digest = json.loads(Path("artifacts/protocol/rung1.json").read_bytes())["lock"]
    back = "bring that back (`promotion study back synthetic`), or own it: " + OWN.replace("gate2", "gate1")
    own = "a study with another study.name and other seeds starts without a past"
    head = f"locks/gate1.yaml: git holds evidence of rung1 under lock {digest[:12]} of this study"
    assert refusal(run) == f"{head}; {back}; {own}"
    change(lambda value: value["gates"]["gate1"]["R4"].update(k=2))
    assert refusal(run) == f"{head}; what differs now:\n  rules.R4.k: frozen 3, now 2\n  {back}; {own}"
    assert run("--amend", "--reason", "anew").startswith("gate1: frozen, 5 rules")
    assert amendments("gate1") == [("anew", digest, {"rules.R4.k": {"was": 3, "is": 2}})]


def test_a_what_if_is_not_frozen(run) -> None:
    change(lambda value: value["study"].update(mode="exploratory"))
    message = "params.yaml: study.mode: found 'exploratory', expected 'frozen': what-ifs are not frozen"
    assert refusal(run) == message


def test_a_lock_is_signed_with_it_and_a_signature_of_the_lock_before_is_taken_away(run, monkeypatch) -> None:
    monkeypatch.setattr(front_door, "make_signature", lambda data, key: f"{key.name} {len(data)}\n".encode())
    lines = run("gate4", "--sign", "key").splitlines()
    assert lines[1::2][:4] == [f"  signed: locks/gate{number}.yaml.sig" for number in (1, 2, 3, 4)]
    signature = Path("locks/gate4.yaml.sig")
    assert signature.read_text(encoding="utf-8") == f"key {len(Path('locks/gate4.yaml').read_bytes())}\n"
    run("gate4")
    assert signature.is_file(), "the lock is the same"
    change(lambda value: value["gates"]["gate4"]["R7"].update(gap=0.03))
    first, *others = run("gate4").splitlines()
    assert first == "locks/gate4.yaml.sig was of the lock before, and is taken away; --sign KEY signs the new one"
    assert not any(" was of the lock before" in line or "signed" in line for line in others)
    kept = [path.name for path in sorted(Path("locks").glob("*.sig"))]
    assert kept == ["gate1.yaml.sig", "gate2.yaml.sig", "gate3.yaml.sig"]


def test_runs_that_no_rule_asks_for_are_taken_away_and_come_back_with_their_rule(run, repo: Repo) -> None:
    change(lambda value: value["rungs"]["rung2"].update(seeds=[2001]))
    shown = run("gate2", "--amend", "--reason", "another seed").splitlines()
    first = "artifacts/records/rung2/d1-c000/cpu-bf16/2000.json"
    taken = next(line for line in shown if line.startswith("taken away, "))
    assert re.fullmatch(
        r"taken away, [1-9][0-9]* outputs and dvc\.lock entries of runs that no rule asks for, .+", taken
    )
    assert not Path(first).exists()
    change(lambda value: value["rungs"]["rung2"].update(seeds=[2000]))
    shown = run("gate2").splitlines()
    entry = "stages/ladder/rung2/d1-c000/dvc.lock: run@cpu-fp32-2000"
    back = f"brought back, 6 dvc.lock entries of runs in the ledger, such as {entry}; now `dvc checkout`"
    assert back in shown
    assert repo.git("status", "--porcelain", "--", "stages") == ""


def test_without_git_nothing_is_told_to_be_committed(run) -> None:
    shutil.rmtree(".git")
    assert run() == told("unchanged", "unchanged", "unchanged", "frozen", "frozen", commit="")


def test_a_study_that_goes_on_from_elsewhere_is_refused_with_every_problem(run, monkeypatch) -> None:
    monkeypatch.setattr(front_door, "find_origin_problems", lambda root, study, known: ["one", "two"])
    with pytest.raises(LockRefused) as caught:
        freeze._refuse_wrong_origin(load(), {})
    head = "study.from: this study does not go on from where it says; nothing was frozen:"
    assert str(caught.value) == f"{head}\n  one\n  two"
