"""The overview: cost and its bars in words, what to take along, facts at a glance, and one line a rung of agreement."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from report.cost import SOURCE, StudyCost
from report.gates import Lead
from report.pages import overview as module
from report.verdict import Clause, Verdict
from stages.domain import formatting

NB = formatting.NB


def words(parts: Any) -> str:
    return "".join(part if isinstance(part, str) else part.text for part in parts)


def cost(
    last: str = "rung2",
    unpriced: tuple[str, ...] = (),
    cases: tuple[tuple[int, float], ...] = (),
    **rungs: tuple[float, float],
) -> StudyCost:
    parts = {
        rung: SimpleNamespace(executed_hours=executed, floor_hours=floor) for rung, (executed, floor) in rungs.items()
    }
    counterfactuals = [SimpleNamespace(from_rung="rung1", candidates=many, hours=hours) for many, hours in cases]
    return StudyCost(parts, list(unpriced), counterfactuals, last)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (
            cost(rung1=(1.0, 0.5), rung2=(2.0, 0.0)),
            f"3.5{NB}h of device time was used, of which 30{NB}min for the A/A floor; 2{NB}h at the last rung.",
        ),
        (cost(rung1=(1.0, 0.0)), f"1{NB}h of device time was used."),
        (cost(unpriced=("rung2",)), "Not known in all: Rung 2 ran under a lock that is missing."),
    ],
)
def test_cost_is_one_sentence(told: StudyCost, text: str) -> None:
    assert words(module._cost_text(told)) == text


def test_bars_are_told_in_words_and_unrun_work_only_where_it_is_more() -> None:
    rungs: dict[str, Any] = {"rung1": (1.0, 0.5), "rung2": (2.0, 0.0)}
    bars = f"Rung 1 1.5{NB}h · Rung 2 2{NB}h"
    assert module._bars_text(cost(**rungs)) == f"{bars}. Source: {SOURCE}"
    assert module._bars_text(cost(cases=((3, 2.0),), **rungs)) == f"{bars}. Source: {SOURCE}"
    assert module._bars_text(cost(cases=((3, 5.0),), **rungs)) == (
        f"{bars} · hatched: 3{NB}h more, had all 3 candidates of rung 1 gone to the last rung (accounting of unrun work, no "
        f"evidence). Source: {SOURCE}"
    )


@pytest.mark.parametrize(
    ("frozen", "what_if", "runner", "lead", "taken"),
    [
        ({"a": {"lr": 0.1}}, False, {}, Lead("a", 1.0), ("winner", "configs:\n  a:\n    lr: 0.1\n", "")),
        ({"a": {"lr": 0.1}}, True, {}, Lead("a", 1.0), ("winner", "configs:\n  a:\n    lr: 0.5\n", "")),
        (None, False, {}, Lead("a", 1.0, "b", 0.0, ("b",)), ("leader", "configs:\n  a:\n    lr: 0.5\n", "")),
        (
            {},
            False,
            {"kind": "command"},
            Lead("a", 1.0),
            ("winner", "configs:\n  a:\n    lr: 0.5\n", "Its weights are where the trainer's command left them; this study collects none."),
        ),
    ],
)  # fmt: skip
def test_the_settings_to_take_along_are_those_that_were_trained(
    frozen: Any, what_if: bool, runner: dict[str, str], lead: Lead, taken: tuple[str, str, str]
) -> None:
    lock = SimpleNamespace(frozen=SimpleNamespace(configs=frozen))
    view: Any = SimpleNamespace(
        first_gate=SimpleNamespace(lock=lock, what_if=what_if), study=SimpleNamespace(configs={"a": {"lr": 0.5}}, runner=runner),
    )  # fmt: skip
    take = module._take(view, lead)
    assert (take.config, take.heading, take.yaml, take.no_weights) == (
        "a",
        f"The {taken[0]}'s configuration and weights",
        *taken[1:],
    )
    view.first_gate.lock = None
    assert module._take(view, lead).yaml == "configs:\n  a:\n    lr: 0.5\n"


def test_a_long_value_stays_on_its_line() -> None:
    text = "word " * 500 + "end"
    view: Any = SimpleNamespace(
        first_gate=SimpleNamespace(lock=None, what_if=False), study=SimpleNamespace(configs={"a": {"text": text, "of": [1, 2]}}, runner={}),
    )  # fmt: skip
    assert module._take(view, Lead("a", 1.0)).yaml == f"configs:\n  a:\n    text: {text}\n    of:\n    - 1\n    - 2\n"


def test_facts_count_gates_that_decided_and_are_not_blocked() -> None:
    gates = {
        str(n): SimpleNamespace(decision=decision, blocked=blocked)
        for n, (decision, blocked) in enumerate([(1, False), (1, True), (None, False)])
    }
    locks = {
        str(n): SimpleNamespace(lock=SimpleNamespace(frozen=SimpleNamespace(amendments=[0] * n))) for n in range(3)
    }
    view: Any = SimpleNamespace(files=SimpleNamespace(locks=locks), executed=[1, 2], gates=gates, missing=4)
    assert module._facts(view) == {"runs": 2, "frozen": 3, "gates": 3, "decided": 1, "amended": 3, "missing": 4}


@pytest.mark.parametrize(
    ("leaders", "taus", "row"),
    [
        (["a"], [0.5, None, -0.25], (-0.25, "a", "✓ a")),
        (["a", "b"], [None], (None, "a, b", "✕ a and b")),
        ([], [], (None, "", formatting.DASH)),
    ],
)
def test_agreement_at_a_glance_is_the_smallest_tau_and_the_leaders(
    leaders: list[str], taus: list[float | None], row: tuple[object, ...]
) -> None:
    hosts: Any = SimpleNamespace(
        gate=SimpleNamespace(rung="rung2", rung_title="Rung 2"), summary=SimpleNamespace(pairs=[SimpleNamespace(tau_b=tau) for tau in taus]),
        leaders=leaders, same_alone=None, alone_page="gates/gate2.html#Hosts",
    )  # fmt: skip
    (shown,) = module.agreement_table([hosts]).rows
    cells = shown.cells
    assert (cells["tau_b"], cells["leaders"].value, cells["leaders"].text) == row
    assert (shown.id, cells["rung"].href, cells["rung"].text) == ("agreement.rung2", "agreement.html#rung2", "Rung 2")


@pytest.mark.parametrize(
    ("many", "more", "lead", "hosts"), [(60, 0, None, 1), (61, 1, Lead("c0", 1.0), 2), (75, 15, None, 2)]
)
def test_sixty_rows_of_the_matrix_stand_on_the_overview(
    many: int, more: int, lead: Lead | None, hosts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    for name in ("candidate_counts", "_cost_text", "_bars_text", "_facts", "agreement_table"):
        monkeypatch.setattr(module, name, lambda *_, name=name: name)
    monkeypatch.setattr(module, "_take", lambda view, lead: lead.first)
    monkeypatch.setattr(module, "path_figure", lambda paths, *_: drawn.append(len(paths)) or "figure")
    monkeypatch.setattr(module, "path_table", lambda paths, gates: len(paths))
    monkeypatch.setattr(module, "reach_verdict", lambda _: Verdict(Clause("h", ""), notes=[Clause("a", "")]))
    monkeypatch.setattr(module, "answers", lambda _: [Clause("b", "")])
    monkeypatch.setattr(module, "look_back", lambda _: [Clause("c", "")])
    states = [("absent", "stopped"), ("winner", "promoted"), *[("kept", "absent")] * (many - 2)]
    paths = {
        f"c{n}": SimpleNamespace(steps=[SimpleNamespace(state=state) for state in pair])
        for n, pair in enumerate(states)
    }
    view: Any = SimpleNamespace(
        paths=paths, gates={}, lead=lead, stars=None, cost=cost(rung1=(1.0, 0.5)), confidence=None, hindsight=None, hosts={},
        machines=SimpleNamespace(sentence="plain"), study=SimpleNamespace(hosts=list(range(hosts))),
    )  # fmt: skip
    (page,) = module.pages(view)
    shown = {
        key: page.context[key] for key in ("more", "states", "take", "one_host", "figures", "plainly", "cost_bars")
    }
    assert shown == {
        "more": more, "states": ["winner", "promoted", "kept", "stopped"], "take": lead.first if lead else None, "one_host": hosts == 1,
        "figures": ["figure"], "plainly": "plain", "cost_bars": [("rung1", 1.5)],
    }  # fmt: skip
    assert (page.tables, drawn) == ([60, "agreement_table"], [many])
    assert [clause.text for clause in page.context["verdict"].notes] == ["a", "b", "c"]  # type: ignore[attr-defined]
