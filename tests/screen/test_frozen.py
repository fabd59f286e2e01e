"""Factors that are edited after gate 1 froze them: whoever compares locks with params.yaml tells it, and no run is affected."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages import cli, protocol
from stages.domain.locks import LockRefused
from tests.screen.test_command import screen_params
from tests.support import dvclock
from tests.verify.forger import Forger, failed

Edit = Callable[[dict[str, Any]], object]
EDITS: dict[str, tuple[Edit, str]] = {
    "levels exchanged, which turns the signs": (lambda value: value["factors"]["d"].update(depth=[2, 1]), "d.depth"),
    "a factor renamed": (lambda value: value["factors"].update(e=value["factors"].pop("d")), "d"),
    "a knob of a factor left out": (lambda value: value["factors"]["lr"].pop("head_lr"), "lr.head_lr"),
    "a factor that no configuration varies": (lambda value: value["factors"].update(x={"embedding_lr": [0.3, 1]}), "x"),
    "no factors any more": (lambda value: value.pop("factors"), ""),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A screen that was frozen, trained and judged, in git."""
    root = tmp_path_factory.mktemp("frozen") / "study"
    dvclock.build_study(root, screen_params())
    return root


@pytest.fixture
def screen(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Forger:
    """A copy of it; the test stands in its folder."""
    forger = Forger(Path(shutil.copytree(built, tmp_path / "study")))
    monkeypatch.chdir(forger.root)
    return forger


def promotion(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(list(words))
    return int(end.value.code or 0)


@pytest.mark.parametrize(("edit", "place"), EDITS.values(), ids=EDITS)
def test_an_edit_fails_v05_at_its_place(edit, place, screen: Forger):
    assert failed(screen.verify(None)) == []
    screen.params(edit)
    results = screen.verify(None)
    assert failed(results) == ["locks-match"]
    problem = next(result.problems[0] for result in results if result.problems)
    pointer = f"/frozen/factors/{place}".replace(".", "/").rstrip("/")
    assert (problem.file, problem.pointer) == ("locks/gate1.yaml", pointer)
    assert problem.meaning == "the effects of the screen would now be those of other factors than the frozen ones"


@pytest.mark.parametrize(("edit", "place"), EDITS.values(), ids=EDITS)
def test_freeze_protocol_and_status_tell_it_and_freeze_asks_for_an_amendment(edit, place, screen: Forger, capsys):
    screen.params(edit)
    lock, named = screen.read("locks/gate1.yaml"), f"factors.{place}".rstrip(".")
    assert promotion("freeze") == 2
    refusal = capsys.readouterr().err
    assert f"  {named}: frozen" in refusal and "`promotion freeze gate1 --amend" in refusal
    assert screen.read("locks/gate1.yaml") == lock
    with pytest.raises(LockRefused, match=rf"{named}: frozen"):
        protocol.main()
    assert promotion("status") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"gate1 was frozen otherwise: {named}" in shown


def test_an_edit_before_any_evidence_is_frozen_anew(screen: Forger, capsys):
    for path in ("ledger/runs.jsonl", "ledger/decisions.jsonl", "ledger/metrics.json"):
        screen.delete(path)
    shutil.rmtree(screen.root / "artifacts" / "records")
    shutil.rmtree(screen.root / ".git")
    screen.params(EDITS["a factor renamed"][0])
    assert promotion("freeze") == 0
    assert "gate1: frozen anew" in capsys.readouterr().out


def test_another_order_of_factors_is_no_edit(screen: Forger):
    screen.params(lambda value: value.update(factors=dict(reversed(value["factors"].items()))))
    assert failed(screen.verify(None)) == []
