"""Hindsight begins behind a last decision that stands, and says what has to come first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.domain.contract import Contract
from stages.domain.decision import Decision, decide
from stages.domain.errors import Invalid, Refused
from stages.domain.files import sha256_bytes
from stages.domain.hindsight import DECISIONS, read_last_decision
from tests.domain.test_judge import FLAT, contract, evidence

GATE = {"R1": {"kind": "complete_cells"}, "R2": {"kind": "top_k", "k": 1}}


@pytest.fixture
def last() -> Contract:
    return replace(contract(GATE), last=True)


def decision(scores: Any = FLAT, **changes: Any) -> Decision:
    return decide(evidence(GATE, scores)).model_copy(update=changes)


def record(root: Path, *lines: bytes) -> None:
    (root / DECISIONS).parent.mkdir()
    (root / DECISIONS).write_bytes(b"".join(lines))


def refusal(contract_: Contract, root: Path) -> str:
    with pytest.raises(Refused) as error:
        read_last_decision(contract_, root)
    return str(error.value)


def test_the_last_decision_is_the_line_of_its_rung_and_the_digest_of_that_line(last: Contract, tmp_path: Path) -> None:
    line = decision().to_bytes()
    record(tmp_path, b"{}\n", b"{}\n", line, b"more\n")
    found = read_last_decision(last, tmp_path)
    assert (found.decision, found.digest) == (decision(), sha256_bytes(line))
    assert found.ran_at == "it ran at rung3 itself"


@pytest.mark.parametrize("changes", [{"last": False}, {"rung": "rung1"}])
def test_there_is_no_hindsight_before_the_last_of_several_rungs(
    last: Contract, tmp_path: Path, changes: dict[str, Any]
) -> None:
    changed = replace(last, **changes)
    assert refusal(changed, tmp_path) == (
        f"{changed.rung}: hindsight trains at the last of several rungs what was stopped before it"
    )


@pytest.mark.parametrize("lines", [None, (), (b"{}\n", b"{}\n")])
def test_without_the_last_decision_dvc_comes_first(
    last: Contract, tmp_path: Path, lines: tuple[bytes, ...] | None
) -> None:
    if lines is not None:
        record(tmp_path, *lines)
    assert refusal(last, tmp_path) == (
        "ledger/decisions.jsonl holds no decision of gate3, and hindsight comes after it; `dvc repro` first"
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"lock": "d" * 64}, f"found a decision of gate3 by lock {'d' * 12}, expected one by {'a' * 12}"),
        ({"gate": "gate2"}, f"found a decision of gate2 by lock {'a' * 12}, expected one by {'a' * 12}"),
        ({"mode": "exploratory"}, "an exploratory decision is none"),
        ({"outcome": "blocked", "blocked_by": ["R1", "R2"]}, "gate3 is blocked by R1, R2"),
    ],
)
def test_nothing_follows_a_decision_that_does_not_stand(
    last: Contract, tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    record(tmp_path, b"{}\n", b"{}\n", decision(**changes).to_bytes())
    assert refusal(last, tmp_path) == (
        f"ledger/decisions.jsonl, line 3: {problem}; hindsight comes after a decision that stands"
    )


def test_a_line_that_is_no_decision_is_refused_with_what_writes_it_anew(last: Contract, tmp_path: Path) -> None:
    record(tmp_path, b"{}\n", b"{}\n", b"rubbish\n")
    with pytest.raises(Invalid, match=r"^ledger/decisions\.jsonl, line 3: .*`dvc repro -s ledger` writes it anew$"):
        read_last_decision(last, tmp_path)
