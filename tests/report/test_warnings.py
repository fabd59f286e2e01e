"""The band of warnings: what is exploratory, broken, amended, blocked, missing or diverged, each in one line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from report import layout
from report.layout import StudyWarning, render_once, section_of
from report.traces import FETCH


def gate(number: int, **changed: Any) -> Any:
    values: dict[str, Any] = {
        "title": f"Gate {number}", "rung_title": f"Rung {number}", "page": f"gates/gate{number}.html", "what_if": False, "why_empty": "",
        "decision": SimpleNamespace(blocked_by=["R1", "R4"]), "blocked": False, "missing": [], "lock": lock(0),
    }  # fmt: skip
    return SimpleNamespace(**values | changed)


def lock(amendments: int) -> Any:
    return SimpleNamespace(frozen=SimpleNamespace(amendments=[0] * amendments))


def texts(warnings: Any) -> list[tuple[str, str, str]]:
    return [(each.kind, each.text, each.href) for each in warnings]


@pytest.mark.parametrize(("mode", "asked"), [("frozen", False), ("exploratory", True)])
def test_a_what_if_names_its_gates_and_one_that_is_only_asked_for_says_so(mode: str, asked: bool) -> None:
    study = SimpleNamespace(study=SimpleNamespace(mode=mode))
    tried: Any = SimpleNamespace(study=study, gates={n: gate(n, what_if=n > 1) for n in (1, 2, 3)})
    text = "A what-if: rules that are not frozen decided here (Gate 2 and Gate 3). Nothing on these pages is a result."
    assert texts(layout._mode(tried)) == [("exploratory", text, "gates/gate2.html#Rules")]
    plain: Any = SimpleNamespace(study=study, gates={1: gate(1)})
    assert [href for *_, href in texts(layout._mode(plain))] == (["method.html"] if asked else [])


def test_a_lock_that_was_left_behind_and_a_broken_chain_are_a_line_each() -> None:
    chains = {
        f"gate{n}": SimpleNamespace(moved=moved, faults=faults)
        for n, (moved, faults) in enumerate([("", ()), ("x", ("a", "b"))], start=1)
    }
    view: Any = SimpleNamespace(chains=chains)
    assert texts(layout._chains(view)) == [
        ("moved on", "Gate 2: params.yaml has moved on from its lock: x.", "gates/gate2.html#Chain"), ("broken", "Gate 2: a; b.", "gates/gate2.html#Chain"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("gates", "lines"),
    [
        ([gate(1)], []),
        (
            [gate(1, lock=lock(2)), gate(2, lock=lock(1))],
            [
                ("amended", "Gate 1 was amended after evidence of its rung existed (2 amendments).", "gates/gate1.html#Amendments"),
                ("amended", "Gate 2 was amended after evidence of its rung existed (1 amendment).", "gates/gate2.html#Amendments"),
            ],
        ),
        (
            [gate(1, blocked=True)],
            [("blocked", "Gate 1 is blocked by R1 and R4 and promotes no candidate.", "gates/gate1.html#Rules")],
        ),
        (
            [gate(1, blocked=True), gate(2, blocked=True, why_empty="x")],
            [("blocked", "Gate 1 is blocked by R1 and R4 and promotes no candidate; gate 2 has no candidates.", "gates/gate1.html#Rules")],
        ),
        (
            [gate(1, blocked=True), gate(2, why_empty="x"), gate(3, why_empty="x")],
            [("blocked", "Gate 1 is blocked by R1 and R4 and promotes no candidate; gate 2 and gate 3 have no candidates.", "gates/gate1.html#Rules")],
        ),
        (
            [gate(1, decision=None, why_empty="x"), gate(2, decision=None, lock=None)],
            [
                ("missing", "Gate 1 has not decided yet.", "gates/gate1.html"),
                ("missing", "The rules of Gate 2 are not frozen.", "gates/gate2.html"),
            ],
        ),
    ],
)  # fmt: skip
def test_gates_are_amended_blocked_or_missing_in_a_line_each(
    gates: list[Any], lines: list[tuple[str, str, str]]
) -> None:
    assert texts(layout._gates(gates)) == lines


def run(id_: str, status: str = "finished") -> Any:
    return SimpleNamespace(record=SimpleNamespace(id=id_, status=status))


def test_missing_runs_text_and_curves_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts" / "traces" / "rung1" / "a" / "h" / "1"
    folder.mkdir(parents=True)
    (folder / "curve.csv").touch()
    view: Any = SimpleNamespace(
        gates={1: gate(1, missing=["x"]), 2: gate(2, missing=["x", "y"]), 3: gate(3)}, files=SimpleNamespace(corpus=None, root=tmp_path),
        executed=[run("rung1/a/h/1"), run("rung1/b/h/1", "failed")],
    )  # fmt: skip
    missing = [
        ("missing", "Rung 1: 1 run missing from the ledger.", "gates/gate1.html#Evidence"),
        ("missing", "Rung 2: 2 runs missing from the ledger.", "gates/gate2.html#Evidence"),
    ]
    text = f"artifacts/corpus/manifest.json is missing, so what the text contains is not shown; {FETCH} brings it."
    assert texts(layout._missing(view)) == [*missing, ("missing", text, "method.html#Text")]
    view.files.corpus, view.executed = object(), [run("rung1/a/h/1"), run("rung1/a/h/2"), run("rung1/a/h/3")]
    curves = ("missing", f"artifacts/traces: 2 runs without a curve; {FETCH} brings them.", "verify.html#Artifacts")
    assert texts(layout._missing(view)) == [*missing, curves]


def test_diverged_and_failed_runs_are_named_up_to_three() -> None:
    runs = [run(f"f{n}", "failed") for n in range(5)] + [run("d", "diverged"), run("x")]
    assert texts(layout._broken_runs(runs)) == [
        ("diverged", "1 run diverged: d.", "runs/d.html"), ("failed", "5 runs failed: f0, f1, f2 and 2 more.", "runs/f0.html"),
    ]  # fmt: skip
    assert texts(layout._broken_runs(runs[:4])) == [("failed", "4 runs failed: f0, f1, f2 and f3.", "runs/f0.html")]


def test_a_block_is_rendered_once_for_its_key() -> None:
    rendered: list[str] = []

    def caller() -> Any:
        rendered.append("x")
        return f"{len(rendered)}"

    once = render_once()
    assert [once("header", 1, caller=caller), once("header", 1, caller=caller), once("header", 2, caller=caller)] == [
        "1",
        "1",
        "2",
    ]


def test_pages_of_a_folder_are_of_one_section_and_others_of_their_own() -> None:
    assert [section_of(path) for path in ("configs/a.html", "runs/rung1.html", "cost.html", "gates/gate1.html", "configs.html")] == [
        "configs/", "runs/", "cost.html", "gates/gate1.html", "configs.html",
    ]  # fmt: skip


def test_only_a_screen_has_the_page_of_effects() -> None:
    shown = [
        [path for path, _, _ in layout.navigation(SimpleNamespace(study=SimpleNamespace(factors=factors)))]  # type: ignore[arg-type]
        for factors in (None, {"d": 1})
    ]
    assert shown[1] == [path for path, *_ in layout.PAGES]
    assert [path for path in shown[1] if path not in shown[0]] == ["effects.html"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [("rated", "Seconds are rated"), ("wall", "Seconds are measured"), ("given", "Seconds are nominal")],
)
def test_every_page_is_told_its_clock_and_its_metric(kind: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "warnings", lambda _: [StudyWarning("a", "b", "c")])
    study = SimpleNamespace(study="s", clock=SimpleNamespace(kind=kind), runner={"kind": "builtin"}, factors=None)
    view: Any = SimpleNamespace(
        study=study, clock=f"{kind} clock", has_builtin_runner=True, gates={"gate1": 0, "gate2": 0}
    )
    common = layout.shared(view)
    shown = {key: common[key] for key in ("provenance", "study", "clock", "clock_kind", "builtin", "gates")}
    assert shown == {
        "provenance": None,
        "study": "s",
        "clock": f"{kind} clock",
        "clock_kind": kind,
        "builtin": True,
        "gates": ["gate1", "gate2"],
    }
    assert str(common["clock_hint"]).startswith(words)
    assert len(common["warnings"]) == 1  # type: ignore[arg-type]
