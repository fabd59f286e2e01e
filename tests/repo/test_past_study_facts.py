"""What is said of a study of the past: its name, its path, its leader and its verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.domain.decision import Decision, decide
from stages.repo import past_studies
from stages.repo.past_studies import PastStudy, read_past_studies, study_name
from tests.domain.test_judge import FLAT, evidence
from tests.repo.test_past_studies import build, commit, named, root
from tests.support.repo import reading_git

__all__ = ["root"]

COMPLETE: dict[str, Any] = {"R1": {"kind": "complete_cells"}}
VERDICTS: dict[str, Any] = {
    "R2": {"kind": "first_in_all_cells", "role": "reference"},
    "R3": {"kind": "mean_gap", "role": "sentinel", "to": "reference", "most": 0.01},
}


def decision(scores: Any = FLAT) -> Decision:
    return decide(evidence(COMPLETE | VERDICTS, scores))


def past(*decisions: Decision, missing: str | None = None) -> PastStudy:
    return PastStudy("s", "A study", "c" * 40, 7, decisions, missing, True)


def test_a_whole_study_has_a_leader_and_verdicts_and_a_path():
    whole = past(decision({"ref": [1.0] * 4}), decision())
    assert whole.whole
    assert (whole.leader, whole.path, whole.verdicts) == ("ref", "1-3", {"R2": True, "R3": False})
    assert whole.to_json() == {
        "name": "s", "title": "A study", "commit": "c" * 40, "whole": True, "missing": None, "present": True,
        "path": "1-3", "leader": "ref", "verdicts": {"R2": True, "R3": False},
    }  # fmt: skip


def test_a_study_that_lacks_something_or_is_blocked_has_no_leader():
    lacking = past(decision(), missing="gate2 has not decided")
    assert (lacking.whole, lacking.leader, lacking.verdicts, lacking.path) == (False, None, {}, "3")
    blocked = past(decision({**FLAT, "cmp": [1.0]}))
    assert (blocked.whole, blocked.leader, blocked.verdicts) == (True, None, {"R2": None, "R3": False})
    unranked = past(decision().model_copy(update={"ranking": []}))
    assert unranked.leader is None
    assert past(missing="x").path == ""


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (None, ""),
        (b"study: {name: a}\n", "a"),
        (b"study: {name: 7}\n", "7"),
        (b"study: {title: a}\n", ""),
        (b"study: a\n", ""),
        (b"other: 1\n", ""),
        (b"study: [\n", ""),
        (b"\xff", ""),
    ],
)
def test_the_name_of_a_study_is_what_its_params_say(data: bytes | None, name: str):
    assert study_name(data) == name


def test_a_gate_that_is_frozen_beyond_the_study_is_told_and_an_earlier_whole_commit_is_taken(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = build(root, named("first"), "whole")
    (root / "locks" / "gate6.yaml").write_bytes((root / "locks" / "gate5.yaml").read_bytes())
    decisions = root / "ledger" / "decisions.jsonl"
    lines = decisions.read_bytes().splitlines(keepends=True)
    decisions.write_bytes(b"".join([*lines, lines[-1]]))
    head = commit(root, "one gate more")
    (study,) = read_past_studies(root)
    assert (study.commit, study.title, study.present, study.missing) == (whole, "The study first", True, None)
    assert [kept.gate for kept in study.decisions] == [f"gate{n}" for n in range(1, 6)]
    with reading_git(root) as git:
        assert study.seconds == git.commit(whole).seconds
    monkeypatch.setattr(past_studies, "MOST_COMMITS", 1)
    (root / "params.yaml").unlink()
    (study,) = read_past_studies(root)
    assert (study.commit, study.present) == (head, False)
    assert study.missing == "gate6 is frozen, and params.yaml has none"


def test_locks_that_are_none_and_other_files_beside_them_make_no_study(root: Path):
    (root / "locks").write_bytes(b"a file\n")
    commit(root, "no folder")
    assert read_past_studies(root) == ()
    (root / "locks").unlink()
    (root / "locks").mkdir()
    (root / "locks" / "gate1.yaml").write_bytes(b"rubbish\n")
    (root / "locks" / "notes.yaml").write_bytes(b"a: 1\n")
    commit(root, "no lock")
    assert read_past_studies(root) == ()
