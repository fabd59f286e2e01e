"""The chain of every gate: what breaks it is told, on its page and in the band, and the verdict no longer stands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from report import chain as chains
from report.build import build
from report.chain import Chain, supported
from report.layout import warnings
from report.verdict import reach_verdict
from report.views import view_study
from stages.domain import locks
from tests.report import broken
from tests.report.conftest import copy_of, make_study
from tests.report.pages import read
from tests.support import synthetic

CELL = ("rung3", "d8-c007", "cpu-fp32", 3000)


@pytest.fixture
def copied(default_study: Path, tmp_path: Path) -> Path:
    return copy_of(default_study, tmp_path / "study")


def band(root: Path) -> list[tuple[str, str, str]]:
    return [(one.kind, one.text, one.href) for one in warnings(view_study(root))]


def doubted(root: Path) -> bool:
    found = reach_verdict(view_study(root))
    return not found.sure and found.sentence.startswith("Not supported by the ledger: The reference, d8-c007, wins")


def test_a_whole_study_has_whole_chains_and_a_sure_verdict(default_study: Path) -> None:
    view = view_study(default_study)
    assert all(chain.proven for chain in view.chains.values())
    assert view.supported
    assert reach_verdict(view).sure
    assert band(default_study) == []


def test_one_changed_score_is_told_and_the_verdict_is_not_supported(copied: Path) -> None:
    broken.score(copied, CELL, 1.5)
    assert band(copied) == [
        (
            "broken",
            "Gate 3: of 46 records that its decision names by md5, the ledger holds 45 unchanged.",
            "gates/gate3.html#Chain",
        )
    ]
    assert doubted(copied)
    build(copied)
    text = re.sub(r"\s+", " ", read(copied / "site" / "gates" / "gate3.html").text)
    assert "✕ names this lock and 46 records by md5, of which 45 are the ledger's" in text
    assert "Not supported by the ledger:" in read(copied / "site" / "index.html").text
    assert "✕ broken" in read(copied / "site" / "verify.html").text


def test_a_line_that_the_decision_names_otherwise_is_marked_on_its_page_and_in_its_rung(copied: Path) -> None:
    broken.score(copied, CELL, 1.5)
    build(copied)
    view = view_study(copied)
    run, rung = "/".join(map(str, CELL)), copied / "site" / "runs" / "rung3"
    named = view.gates["gate3"].decision.evidence[run]
    page = " ".join(read(copied / "site" / "runs" / f"{run}.html").text.split())
    assert f"The decision of gate 3 names this run with another md5: {named}. It did not stand on this line." in page
    assert "ledger line, md5: what dvc.lock must hold for the record " + view.files.runs[run].line.md5 in page
    text = read(rung.with_suffix(".html")).text
    assert (text.count("✕ another md5"), text.count("✓ this line")) == (1, 45)
    other = rung / "d8-c007" / "cpu-fp32" / "3001.html"
    assert "another md5" not in read(other).text


def test_an_empty_ledger_of_runs_is_told_for_every_gate(copied: Path) -> None:
    (copied / "ledger" / "runs.jsonl").write_bytes(b"")
    reported = band(copied)
    assert [href for kind, _, href in reported if kind == "broken"] == [
        f"gates/gate{n}.html#Chain" for n in range(1, 6)
    ]
    assert ("missing", "Rung 1: 24 runs missing from the ledger.", "gates/gate1.html#Evidence") in reported
    assert doubted(copied)


def test_a_missing_lock_is_told_and_the_page_still_stands(copied: Path) -> None:
    (copied / "locks" / "gate5.yaml").unlink()
    assert [text for _, text, _ in band(copied)] == ["Gate 5: it has decided, and its lock is missing."]
    assert doubted(copied)
    shutil.rmtree(copied / "artifacts" / "summary")  # as in a clone from git alone
    build(copied)
    text = read(copied / "site" / "gates" / "gate5.html").text
    assert "Not frozen: these are the rules of params.yaml as they stand now, and they may still change." in text
    assert "the cost in all is not known" in read(copied / "site" / "cost.html").text.lower()


def test_a_missing_lock_and_a_rule_that_params_yaml_no_longer_has_leave_the_decisions_own_words(copied: Path) -> None:
    (copied / "locks" / "gate5.yaml").unlink()
    broken.params(copied, lambda value: value["gates"]["gate5"].pop("R6"))
    assert "“The sentinel is at most 0.02 above the reference, by mean paired gap.” does not hold" in (
        reach_verdict(view_study(copied)).sentence
    )
    build(copied)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda v: v["gates"]["gate3"]["R7"].update(k=5), "rules.R7.k (frozen 3, now 5)"),
        (lambda v: v["rungs"]["rung3"].update(seeds=[3000, 3777]), "seeds (frozen 3000, 3001, now 3000, 3777)"),
        (lambda v: v["roles"].update(sentinel="d2-c001"), "roles.sentinel (frozen d4-c003, now d2-c001)"),
    ],
)
def test_what_params_yaml_says_otherwise_than_a_lock_is_told(copied: Path, change: Any, told: str) -> None:
    broken.params(copied, change)
    assert any(told in text for kind, text, _ in band(copied) if kind == "moved on")
    assert not reach_verdict(view_study(copied)).sure
    assert not any(chain.faults for chain in view_study(copied).chains.values())


def test_a_params_yaml_that_moved_on_leaves_the_ledgers_support_and_is_told_on_the_gates_page(copied: Path) -> None:
    broken.params(copied, lambda value: value["gates"]["gate3"]["R7"].update(k=5))
    assert view_study(copied).supported
    assert reach_verdict(view_study(copied)).sentence.startswith(
        "params.yaml has moved on from the lock: The reference, d8-c007, wins"
    )
    build(copied)
    text = " ".join(read(copied / "site" / "gates" / "gate3.html").text.split())
    assert "names. params.yaml has moved on from it since: rules.R7.k (frozen 3, now 5)." in text
    assert "Exceptions: gate 3: params.yaml has moved on from its lock." in read(copied / "site" / "method.html").text
    assert "✓ holds frozen, params.yaml has moved on" in " ".join(read(copied / "site" / "verify.html").text.split())


def test_a_configuration_that_params_yaml_gained_since_is_no_other_decision(copied: Path) -> None:
    broken.params(copied, lambda value: value["configs"].update(new=value["configs"]["d8-c007"]))
    assert not view_study(copied).chains["gate1"].faults
    assert "configs.new" in view_study(copied).chains["gate1"].moved


def test_a_changed_knob_is_told_at_the_first_gate(copied: Path) -> None:
    broken.params(copied, lambda value: value["configs"]["d8-c007"].update(matrix_lr=0.5))
    assert band(copied) == [
        (
            "moved on",
            "Gate 1: params.yaml has moved on from its lock: configs.d8-c007.matrix_lr (frozen 0.02, now 0.5).",
            "gates/gate1.html#Chain",
        )
    ]


def test_records_and_a_decision_that_name_another_lock_are_told(copied: Path) -> None:
    broken.lock(copied, "gate3", budget_seconds=11.0)
    text = " ".join(text for kind, text, _ in band(copied) if kind == "broken")
    assert "46 of 46 records name another lock" in text
    assert "its decision names another lock" in text
    assert "Gate 4: its lock names another lock before it than the one that lies there" in text
    assert doubted(copied)


def test_a_decision_that_its_records_do_not_give_is_told(copied: Path) -> None:
    ranking = [row.model_dump() for row in view_study(copied).gates["gate5"].decision.ranking]
    ranking[0]["mean"] = 1.0
    broken.decision(copied, "gate5", ranking=ranking)
    assert [text for _, text, _ in band(copied)] == [
        "Gate 5: judged again by its lock, the records of the ledger give another decision."
    ]
    assert reach_verdict(view_study(copied)).doubt == "Not supported by the ledger"


def test_a_missing_run_of_the_noise_floor_is_missing_too(copied: Path) -> None:
    broken.lines(copied, "runs.jsonl", lambda one: None if one["seed"] == 3901 and one["host"] == "cpu-fp32" else one)
    assert ("missing", "Rung 3: 1 run missing from the ledger.", "gates/gate3.html#Evidence") in band(copied)
    assert doubted(copied)


def test_a_run_that_no_rule_missed_still_leaves_the_verdict_unsupported(tmp_path: Path) -> None:
    """Where no rule asks for complete cells, a decision is made without the run: its chain holds, its evidence is short."""
    value = synthetic.params(6, 1)
    del value["gates"]["gate2"]["R1"]
    original = synthetic._write
    with pytest.MonkeyPatch.context() as patch:

        def write(record: dict[str, Any]) -> None:
            if (record["rung"], record["config"], record["host"]) != ("rung2", "d4-c003", "cpu-bf16"):
                original(record)

        patch.setattr(synthetic, "_write", write)
        root = make_study(tmp_path / "study", value)
    view = view_study(root)
    assert not any(chain.faults for chain in view.chains.values())
    assert not view.supported
    assert ("missing", "Rung 2: 1 run missing from the ledger.", "gates/gate2.html#Evidence") in band(root)


def test_an_amended_lock_says_so_and_does_not_claim_to_come_first(hostile: Path) -> None:
    text = read(hostile / "gates" / "gate2.html").text
    assert "Amended 1 time after evidence of this rung existed" in text
    assert "Frozen in locks/gate2.yaml" not in text


def test_the_rules_of_a_frozen_gate_stand_with_what_its_records_name(default_study: Path) -> None:
    view = view_study(default_study)
    assert view.chains["gate3"].standing == (
        "Frozen in locks/gate3.yaml, whose digest every record of this rung names."
    )
    text = read(default_study / "site" / "gates" / "gate3.html").text
    assert "the rule was there before the evidence" not in text


def test_no_gate_claims_that_gits_order_rules_out_a_rewritten_history(site: Path) -> None:
    for gate in (site / "gates").glob("*.html"):
        text = read(gate).text
        assert "would show in git's order, which promotion verify checks, unless the history was rewritten too" in text
        assert "../verify.html#Rewritten" in read(gate).links
    reported = read(site / "verify.html")
    assert "Rewritten" in reported.ids
    assert "locks signed by somebody else before the runs" in reported.text


def test_a_lock_under_another_gates_name_is_refused_with_the_remedy(copied: Path) -> None:
    data = (copied / "locks" / "gate2.yaml").read_bytes()
    (copied / "locks" / "gate3.yaml").write_bytes(data)
    with pytest.raises(
        ValueError, match=r"locks/gate3\.yaml: frozen\.gate: found gate2, expected gate3; `git checkout"
    ):
        view_study(copied)


def test_differences_are_those_that_freezing_would_see(default_study: Path) -> None:
    view = view_study(default_study)
    for gate, one in view.files.locks.items():
        again = locks.frozen_of(
            view.study,
            gate,
            runner=one.lock.frozen.runner,
            corpus=one.lock.frozen.corpus,
            previous=one.lock.frozen.previous,
        )
        assert locks.difference(one.lock.frozen, again) == {}


def chain(**changed: Any) -> Chain:
    values: dict[str, Any] = {
        "gate": "gate3", "state": "frozen", "digest": "a", "previous": None, "amendments": 0, "records": 2, "committed": 2,
        "named": 2, "same": 2, "decision_lock": "a", "changed": {},
    }  # fmt: skip
    return Chain(**values | changed)


CHANGED = {f"rules.R{n}.k": {"was": n, "is": n + 1} for n in range(1, 5)}


@pytest.mark.parametrize(
    ("many", "words"),
    [
        (0, ""),
        (1, "rules.R1.k (frozen 1, now 2)"),
        (2, "rules.R1.k (frozen 1, now 2), rules.R2.k (frozen 2, now 3)"),
        (3, "rules.R1.k (frozen 1, now 2), rules.R2.k (frozen 2, now 3) and 1 more"),
        (4, "rules.R1.k (frozen 1, now 2), rules.R2.k (frozen 2, now 3) and 2 more"),
    ],
)
def test_two_differences_to_the_lock_are_named_and_the_rest_is_counted(many: int, words: str) -> None:
    changed = dict(list(CHANGED.items())[:many])
    assert chain(changed=changed).changes == words
    assert chain(changed=changed).moved == words
    assert chain(changed=changed, state="what-if").moved == ""
    assert chain(changed={"roles.x": {"is": "b"}}).changes == "roles.x (frozen nothing, now b)"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "Frozen in locks/gate3.yaml, whose digest every record of this rung names."),
        ({"committed": 1}, "Frozen in locks/gate3.yaml."),
        ({"records": 0, "committed": 0}, "Frozen in locks/gate3.yaml."),
        ({"records": 1, "committed": 1}, "Frozen in locks/gate3.yaml, whose digest every record of this rung names."),
        (
            {"changed": {"seeds": {"was": [1], "is": []}}, "committed": 1},
            "Frozen in locks/gate3.yaml. params.yaml has moved on from it since: seeds (frozen 1, now nothing).",
        ),
        (
            {"state": "amended", "amendments": 2},
            "Amended 2 times after evidence of this rung existed; each change and its reason stand in locks/gate3.yaml.",
        ),
        (
            {"state": "amended", "amendments": 1, "changed": {"a": {"was": 1, "is": 2}}},
            "Amended 1 time after evidence of this rung existed; each change and its reason stand in locks/gate3.yaml. "
            "params.yaml has moved on from it since: a (frozen 1, now 2).",
        ),
        (
            {"state": "not frozen", "digest": None},
            "Not frozen: these are the rules of params.yaml as they stand now, and they may still change.",
        ),
        ({"state": "what-if"}, "A what-if: the rules of params.yaml decided here, and they are not frozen."),
        (
            {"state": "what-if", "changed": {"a": {"was": 1, "is": 2}}},
            "A what-if: the rules of params.yaml decided here, and they are not frozen. They differ from the lock in a "
            "(frozen 1, now 2).",
        ),
    ],
)  # fmt: skip
def test_a_sentence_says_how_the_rules_came_to_bind(changed: dict[str, Any], words: str) -> None:
    assert chain(**changed).standing == words


@pytest.mark.parametrize(
    ("changed", "proven", "supports"),
    [
        ({}, True, True),
        ({"state": "amended"}, True, True),
        ({"state": "what-if"}, False, True),
        ({"state": "not frozen", "digest": None}, False, False),
        ({"faults": ("x",)}, False, False),
        ({"decision_lock": None}, False, False),
    ],
)
def test_a_chain_is_proven_by_frozen_rules_and_supports_where_it_is_whole(
    changed: dict[str, Any], proven: bool, supports: bool
) -> None:
    reported = chain(**changed)
    assert (reported.proven, reported.decided) == (proven, changed.get("decision_lock", "a") is not None)
    whole, short = SimpleNamespace(missing=[]), SimpleNamespace(missing=["run"])
    assert supported([whole, whole], [chain(), reported]) is supports  # type: ignore[list-item]
    assert not supported([whole, short], [chain(), reported])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("gate", "told", "faults"),
    [
        ({}, {}, []),
        ({}, {"same": 1}, ["of 2 records that its decision names by md5, the ledger holds 1 unchanged"]),
        ({"lock": None}, {}, ["it has decided, and its lock is missing"]),
        ({"lock": None, "decision": None}, {}, []),
        ({"lock": None}, {"same": 1}, [
            "of 2 records that its decision names by md5, the ledger holds 1 unchanged", "it has decided, and its lock is missing",
        ]),
        ({}, {"committed": 1}, ["1 of 2 records names another lock"]),
        ({}, {"committed": 0}, ["2 of 2 records name another lock"]),
        ({}, {"decision_lock": "b"}, ["its decision names another lock"]),
        ({"decision": None}, {"decision_lock": None}, []),
    ],
)  # fmt: skip
def test_every_break_of_a_chain_is_a_sentence(
    gate: dict[str, Any], told: dict[str, Any], faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "_judged_otherwise", lambda _: False)
    lock = SimpleNamespace(frozen=SimpleNamespace(previous=None))
    view = SimpleNamespace(**{"lock": lock, "decision": object(), "before": None, "what_if": False} | gate)
    assert chains._faults(view, chain(**told)) == faults  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("decision", "told", "what_if", "asked"),
    [(object(), {}, False, True), (None, {"decision_lock": None}, False, False), (object(), {"same": 1}, False, False), (object(), {}, True, False)],
)  # fmt: skip
def test_a_gate_is_judged_again_where_frozen_rules_decided_and_nothing_else_is_wrong(
    decision: object, told: dict[str, Any], what_if: bool, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "_judged_otherwise", lambda _: True)
    lock = SimpleNamespace(frozen=SimpleNamespace(previous=None))
    view = SimpleNamespace(lock=lock, decision=decision, before=None, what_if=what_if)
    sentence = "judged again by its lock, the records of the ledger give another decision"
    assert (sentence in chains._faults(view, chain(**told))) is asked  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "previous", "another"),
    [(None, None, False), (None, "a", True), ("a", "a", False), ("a", "b", True), ("a", None, True), ("", "b", False)],
)
def test_a_lock_names_the_one_before_it_and_the_first_names_none(
    before: str | None, previous: str | None, another: bool
) -> None:
    earlier = before if before is None else SimpleNamespace(lock=SimpleNamespace(digest=before) if before else None)
    view = SimpleNamespace(before=earlier, lock=SimpleNamespace(frozen=SimpleNamespace(previous=previous)))
    assert chains._names_another_lock_before(view) is another  # type: ignore[arg-type]
