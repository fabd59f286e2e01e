"""An exploratory study asks what other rules and roles would have decided; what is not in the evidence it refuses."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from stages import protocol
from stages.domain import yamlio
from stages.domain.locks import LockRefused
from stages.domain.study import parse_study
from tests.support import synthetic

Params = dict[str, Any]

OTHER_EVIDENCE: dict[str, Callable[[Params], object]] = {
    "budget": lambda value: value["rungs"]["rung2"].update(budget_seconds=7.5),
    "seeds": lambda value: value["rungs"]["rung1"].update(seeds=[4711]),
    "floor_seeds": lambda value: value["rungs"]["rung3"].update(floor_seeds=[4711, 4712]),
    "configs": lambda value: next(iter(value["configs"].values())).update(batch_tokens=2048),
    "hosts": lambda value: next(iter(value["hosts"].values())).update(threads=7),
    "clock": lambda value: value.update(clock={"kind": "wall"}),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exploratory") / "study"
    synthetic.build(path, synthetic.params(6, 2))
    return path


def check(root: Path, change: Callable[[Params], object]) -> None:
    """What the stage `protocol` does with params.yaml after a change."""
    value = yamlio.read(root / "params.yaml", "")
    value["study"]["mode"] = "exploratory"
    change(value)
    with chdir(root):
        protocol.check(parse_study(value, "params.yaml"), synthetic.RUNNER, protocol.corpus_digest())


@pytest.mark.parametrize("place", OTHER_EVIDENCE)
def test_what_would_have_made_other_evidence_is_refused_by_its_name(root: Path, place: str) -> None:
    with pytest.raises(LockRefused, match="no what-if can answer this") as refused:
        check(root, OTHER_EVIDENCE[place])
    assert place.partition("_")[0] in str(refused.value)


def test_other_rules_and_roles_are_what_it_asks(root: Path) -> None:
    check(root, lambda value: value["gates"]["gate3"]["R7"].update(k=1))
    check(root, lambda value: value["roles"].update(comparator=sorted(value["configs"])[-1]))
