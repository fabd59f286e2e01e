"""Locks are written together or not at all, and what the next one holds follows from those that judged evidence."""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.commands import freeze
from stages.domain import locks, names
from stages.domain.locks import Amendment, Frozen, Lock, LockRefused
from stages.domain.study import load
from stages.repo import history_reader
from stages.repo.git import UNSHALLOW
from stages.repo.objects import GitAbsent
from stages.repo.past_files import PastLock


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("no such folder")])
def test_where_one_lock_cannot_be_written_all_are_as_they_were_and_the_error_is_told(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, new, full, signature = (
        tmp_path / name for name in ("gate1.yaml", "gate2.yaml", "gate3.yaml", "gate1.yaml.sig")
    )
    there.write_bytes(b"old")
    signature.write_bytes(b"signed")
    write = freeze.files.write_whole

    def fail_at_the_third(path: Path, data: bytes) -> None:
        if path == full and data == b"new":
            raise error
        write(path, data)

    monkeypatch.setattr(freeze.files, "write_whole", fail_at_the_third)
    with pytest.raises(type(error), match=str(error.args[-1])):
        freeze._write_together(dict.fromkeys((there, new, full), b"new"), [signature])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "gate1.yaml": b"old",
        "gate1.yaml.sig": b"signed",
    }


@pytest.fixture
def old(judged: Path) -> Lock:
    """The lock of the first gate of a judged study."""
    with chdir(judged):
        lock = locks.read("gate1")
    assert lock is not None
    return lock


def make_past(old: Lock, digest: str = "f" * 64, **changes: Any) -> PastLock:
    return PastLock("gate1", digest, old.frozen.to_json() | changes)


@pytest.mark.parametrize(
    ("changes", "seed"),
    [
        ({"study": "other"}, 1000),
        ({"study": "other", "seeds": [7, 1001]}, 1001),
        ({"study": "other", "seeds": [1001, 1000, 7]}, 1000),
        ({}, None),
        ({"study": "other", "seeds": [7]}, None),
        ({"study": "other", "seeds": ["1000", None]}, None),
        ({"study": "other", "runner": "0" * 64}, None),
        ({"study": "other", "corpus": "0" * 64}, None),
        ({"study": "other", "budget_seconds": 3.0}, None),
    ],
)
def test_seeds_were_seen_where_another_study_ran_the_same_trainer_on_the_same_text_as_long(
    changes: dict[str, Any], seed: int | None, old: Lock
) -> None:
    now = old.frozen.model_copy(update={"seeds": [1000, 1001]})
    past = [make_past(old, seeds=[7], study="first"), make_past(old, **{"seeds": [1000]} | changes)]
    if seed is None:
        freeze._refuse_seen_seeds(now, past)
        return
    with pytest.raises(LockRefused, match=rf"^params\.yaml: rungs\.rung1\.seeds: found {seed}, with which git holds"):
        freeze._refuse_seen_seeds(now, past)


def test_a_lock_whose_seeds_nobody_can_read_was_never_seen(old: Lock) -> None:
    freeze._refuse_seen_seeds(old.frozen, [PastLock("gate1", "0" * 64, {"study": "other"})])


@pytest.mark.parametrize(
    ("known", "executed", "added"),
    [
        ([], [], False),
        ([], ["own"], True),
        ([], ["other"], True),
        (["other"], ["other"], False),
        (["other"], ["own"], True),
        (["other"], ["other", "own"], True),
        (["own"], ["own"], False),
        (["own", "other"], [], False),
    ],
)
def test_the_lock_that_stands_here_has_judged_what_names_it_or_what_no_other_did(
    known: list[str], executed: list[str], added: bool, old: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = {"own": old.digest, "other": "f" * 64}
    past = [make_past(old, digests[name]) for name in known]
    asked: list[str] = []
    monkeypatch.setattr(
        freeze, "executed_under", lambda rung: asked.append(rung) or {digests[name] for name in executed}
    )
    judged = freeze._list_judged("gate1", old, {"gate1": past, "gate2": [make_past(old)]})
    assert judged == [*past, *[make_past(old, old.digest)] * added]
    assert (asked, len(past)) == (["rung1"], len(known))


@pytest.mark.parametrize("executed", [set(), {"0" * 64}])
def test_without_a_lock_there_is_only_the_past_and_no_evidence_here(
    executed: set[str], old: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freeze, "executed_under", lambda rung: executed)
    if not executed:
        assert freeze._list_judged("gate1", None, {"gate1": [make_past(old)]}) == [make_past(old)]
        assert freeze._list_judged("gate2", None, {}) == []
        return
    message = r"^locks/gate1\.yaml is missing, but evidence of rung1 exists; `git checkout -- locks/gate1\.yaml`$"
    with pytest.raises(LockRefused, match=message):
        freeze._list_judged("gate1", None, {})


def make_next(old: Lock | None, now: Frozen, judged: list[PastLock], **words: Any) -> Frozen:
    return freeze._make_next("gate1", old, now, judged, **{"named": False, "reason": None} | words)


def amended(frozen: Frozen, *replaced: str, reason: str = "first") -> Lock:
    """A lock of these rules that was amended over others."""
    entries = [Amendment(reason=reason, replaces=digest, changed={}) for digest in replaced]
    content = frozen.model_copy(update={"amendments": entries})
    return Lock.model_validate({"schema": locks.SCHEMA, "frozen": content, "digest": locks.digest_of(content)})


def test_what_was_never_judged_follows_the_rules_and_keeps_its_amendments(old: Lock) -> None:
    other = old.frozen.model_copy(update={"seeds": [5]})
    assert make_next(None, other, []) == other
    assert make_next(old, old.frozen, []) == old.frozen
    assert make_next(old, other, []) == other
    assert make_next(old, old.frozen, [], named=True, reason="why") == old.frozen
    before = amended(old.frozen, "a" * 64)
    assert make_next(before, other, []) == other.model_copy(update={"amendments": before.frozen.amendments})


def test_what_was_judged_stays_or_is_amended_once_for_each_lock_that_judged(old: Lock) -> None:
    own, other = make_past(old, old.digest), old.frozen.model_copy(update={"seeds": [5]})
    assert make_next(old, old.frozen, [own]) == old.frozen
    assert make_next(old, old.frozen, [own], named=True) == old.frozen
    assert make_next(old, old.frozen, [own], reason="why") == old.frozen
    again = make_next(old, old.frozen, [own], named=True, reason="why")
    assert [(entry.reason, entry.replaces, entry.changed) for entry in again.amendments] == [("why", old.digest, {})]
    with pytest.raises(LockRefused, match="and the rule differs"):
        make_next(old, other, [own])
    change = {"seeds": {"was": old.frozen.seeds, "is": [5]}}
    for named in (False, True):
        (entry,) = make_next(old, other, [own], named=named, reason="why").amendments
        assert (entry.reason, entry.replaces, dict(entry.changed)) == ("why", old.digest, change)
    first = make_past(old, "a" * 64, seeds=[7])
    entries = make_next(old, other, [first, own], reason="why").amendments
    assert [(entry.replaces, entry.changed["seeds"]) for entry in entries] == [
        ("a" * 64, {"was": [7], "is": old.frozen.seeds}),
        (old.digest, {"was": old.frozen.seeds, "is": [5]}),
    ]


def test_an_amendment_that_judged_nothing_is_taken_back_with_its_rule(old: Lock) -> None:
    own, other = make_past(old, old.digest), old.frozen.model_copy(update={"seeds": [5]})
    pending = amended(other, old.digest)
    assert make_next(pending, old.frozen, [own]) == old.frozen
    assert make_next(pending, old.frozen, [own], reason="why").amendments[-1].reason == "why"
    assert make_next(pending, other, [own]) == pending.frozen
    assert make_next(pending, other, [own], named=True, reason="why").amendments[0].reason == "why"


def test_a_lock_that_hides_one_that_judged_is_amended_for_a_reason_alone(old: Lock) -> None:
    hidden = make_past(old, "a" * 64, seeds=[7])
    assert make_next(old, old.frozen, [hidden]) == old.frozen
    (entry,) = make_next(old, old.frozen, [hidden], reason="why").amendments
    assert (entry.replaces, entry.changed["seeds"]) == ("a" * 64, {"was": [7], "is": old.frozen.seeds})
    known = amended(old.frozen, "a" * 64)
    assert make_next(known, known.frozen, [hidden], reason="why") == known.frozen


@pytest.mark.parametrize(("content", "data", "differs"), [(None, b"a", True), (b"a", b"a", False), (b"b", b"a", True)])
def test_a_signature_is_stale_where_its_lock_is_new_or_changes(
    content: bytes | None, data: bytes, differs: bool, tmp_path: Path
) -> None:
    path = tmp_path / "gate1.yaml"
    if content is not None:
        path.write_bytes(content)
    assert freeze._differs(path, data) is differs


def test_where_history_is_cut_off_nothing_is_frozen_anew(
    workspace: Path, old: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = SimpleNamespace(cut="0123456789abcdef", locks_with_evidence=list, locks_with_evidence_of=lambda study: {})
    monkeypatch.setattr(history_reader, "history_at_head", lambda: cut)
    monkeypatch.setattr(freeze, "runner_digest", lambda study: old.frozen.runner)
    monkeypatch.setattr(freeze, "corpus_digest", lambda: old.frozen.corpus)
    monkeypatch.setattr(freeze, "validate", lambda study: None)
    assert {change for _, change in freeze.plan_locks(load(), [], None).values()} == {"unchanged"}
    value = json.loads(names.PARAMS.read_bytes())
    value["gates"]["gate5"]["R6"]["most"] = 0.5
    names.PARAMS.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(GitAbsent) as caught:
        freeze.plan_locks(load(), ["gate5"], "why")
    assert caught.value.reason == (
        "a shallow clone: what came before commit 0123456789ab is hidden, and whether evidence under these rules was seen "
        "before; nothing was frozen"
    )
    assert caught.value.enable == UNSHALLOW
