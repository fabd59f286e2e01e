"""The pages of runs: the other cells of a configuration, what a run is, its curve and what its telemetry adds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from report.pages import runs as module
from report.prose import Span
from report.traces import CurvePoint, Trace


def run(
    seed: int = 1, score: float | None = 1.25, purpose: str = "candidate", status: str = "finished", **changed: Any
) -> Any:
    values: dict[str, Any] = {
        "id": f"rung3/a/h/{seed}", "rung": "rung3", "config": "a", "host": "h", "seed": seed, "purpose": purpose, "status": status,
        "reason": None, "val_bpb": score, "lock": "l", "executed": status not in ("stopped", "unrun"), "facts": None, "spec": None,
    }  # fmt: skip
    return SimpleNamespace(record=SimpleNamespace(**values | changed), line=SimpleNamespace(md5="m", number=seed))


def words(parts: Any) -> str:
    return "".join(part if isinstance(part, str) else part.text for part in parts)


@pytest.mark.parametrize(
    ("runs", "text"),
    [
        ([], ""),
        ([run(2)], "h · 2 1.2500"),
        ([run(2), run(901, None, "floor")], "h · 2 1.2500, h · A/A 901"),
        ([run(n, None) for n in range(9)], ", ".join(f"h · {n}" for n in range(9))),
        ([run(n, None) for n in range(10)], ", ".join(f"h · {n}" for n in range(8)) + " and 2 more"),
    ],
)
def test_the_other_runs_of_a_configuration_are_named_with_their_scores(runs: list[Any], text: str) -> None:
    assert words(module._list_siblings(runs)) == text


@pytest.mark.parametrize(
    ("told", "gate", "text", "href"),
    [
        (run(), {"candidates": ["a"]}, "A candidate's run: a on h with seed 1, judged by gate 3.", "#a"),
        (run(), {"candidates": ["b"]}, "A candidate's run: a on h with seed 1, judged by gate 3.", ""),
        (run(), {"candidates": None}, "A candidate's run: a on h with seed 1, judged by gate 3.", ""),
        (
            run(purpose="floor"),
            {"decision": SimpleNamespace(candidates=["b"], floor={"h": 1})},
            "An A/A run of the reference: a on h with seed 1, judged by gate 3.",
            "#floor.caption",
        ),
        (run(purpose="floor"), {}, "An A/A run of the reference: a on h with seed 1, judged by gate 3.", ""),
        (
            run(purpose="floor"),
            {"decision": SimpleNamespace(candidates=[], floor={"h": 1})},
            "An A/A run of the reference: a on h with seed 1, judged by gate 3.",
            "",
        ),
        (
            run(purpose="floor"),
            {"decision": SimpleNamespace(candidates=["b"], floor={})},
            "An A/A run of the reference: a on h with seed 1, judged by gate 3.",
            "",
        ),
        (
            run(status="failed", reason="no memory"),
            {"candidates": ["a"]},
            "A candidate's run: a on h with seed 1, judged by gate 3. failed: no memory",
            "#a",
        ),
    ],
)
def test_a_run_says_what_it_is_and_links_to_where_its_gate_shows_it(
    told: Any, gate: dict[str, Any], text: str, href: str
) -> None:
    view: Any = SimpleNamespace(
        **{"title": "Gate 3", "page": "gates/gate3.html", "decision": None, "candidates": []} | gate
    )
    parts = module._lead(told.record, view)
    assert words(parts) == text
    assert Span("gate 3", f"gates/gate3.html{href}") in parts


@pytest.mark.parametrize(
    ("segments", "kept"),
    [(None, False), ([], False), ([{}], False), ([{}, {}], True), ("ab", False), ({"a": 1, "b": 2}, False)],
)
def test_segments_are_shown_where_a_run_was_resumed(segments: Any, kept: bool) -> None:
    telemetry = {"schema": 1, "run": "r", "record": "m", "status": "finished", "hostname": "x", "segments": segments}
    assert module._telemetry(telemetry) == {"hostname": "x"} | ({"segments": segments} if kept else {})


def test_what_a_record_holds_is_grouped_as_people_ask_for_it() -> None:
    spec = {
        "config": {"depth": 2},
        "runner": {"head_dim": 16},
        "host": {"threads": 4},
        "seed": 7,
        "keep_weights": True,
        "evaluate_locked": False,
        "x": 1,
    }
    facts = {"steps": 5, "model": {"width": 64, "scalars": 3, "depth": 2}, "progress": {"ticks": 1}}
    trace = Trace([], 0, None, {"hostname": "example"}, None)
    groups = module._groups(run(spec=spec, facts=facts), trace)
    assert groups == {
        "facts": [("Steps", "5")],
        "model": [("Depth", "2"), ("Width", "64")],
        "training": [("Depth", "2"), ("Width of a head", "16"), ("Seed", "7"), ("Scored on the locked split", "no"), ("Weights kept", "yes")],
        "host": [("Threads", "4")],
        "telemetry": [("Machine", "example")],
    }  # fmt: skip
    assert facts["progress"] == {"ticks": 1}  # the record itself stays as it was
    empty = module._groups(run(facts={"model": None}), Trace([], 0, None, {}, None))
    assert empty == {"facts": [], "model": [], "training": [], "host": [], "telemetry": []}


def point(step: float, seconds: float | None, loss: float | None = 3.5) -> CurvePoint:
    return {"step": step, "tokens": None, "seconds": seconds, "train_loss": loss, "lr_factor": None}


@pytest.mark.parametrize(
    ("clock", "seconds", "x", "title"),
    [
        ("rated", (0.1234567, 2.0), [0.123457, 2.0], "Seconds (rated clock)"),
        ("wall", (None, 2.0), [0.0, 2.0], "Seconds (wall clock)"),
        ("rated", (None, None), [1.0, 2.0], "Steps"),
        ("rated", (0.0, None), [1.0, 2.0], "Steps"),
        ("given", (1.5, 2.5), [1.0, 2.0], "Steps"),
    ],
)
def test_a_curve_goes_over_seconds_where_there_are_any_and_they_were_what_was_given(
    clock: str, seconds: tuple[float | None, ...], x: list[float], title: str
) -> None:
    points = [point(step, at) for step, at in enumerate(seconds, start=1)]
    figure = module.curve_figure(Trace(points, 2, None, {}, None), clock, "nats")
    (line,) = figure.data
    assert (line["x"], line["y"], line["line"]) == (x, [3.5, 3.5], {"color": "@c1", "width": 2})
    assert figure.layout["xaxis"] == {"title": {"text": title}, "rangemode": "tozero"}
    over = "seconds" if title.startswith("Seconds") else "steps"
    assert figure.alt == f"Line of the training loss over {over}; the table below holds the same points."
    assert (figure.height, figure.narrow) == (300, {"margin": {"l": 48, "r": 8, "t": 8, "b": 52}})
    assert figure.layout["margin"] == {"l": 60, "r": 16, "t": 16, "b": 56}


@pytest.mark.parametrize(
    ("rows", "title"), [(2, "Training curve (every point)"), (3, "Training curve (2 of 3 points)")]
)
def test_a_curve_as_a_table_says_of_how_many_points_it_is(rows: int, title: str) -> None:
    trace = Trace([point(0.0, None, None), point(1.0, 1.0)], rows, None, {}, None)
    table = module.curve_table(trace, "rung3/a/h/1", "given clock", "nats")
    assert (table.title, table.values) == (title, [[0, None, None, None, None], [1, None, 1.0, 3.5, None]])
    assert [(column.key, column.hidden, column.digits) for column in table.columns] == [
        ("step", False, None), ("tokens", True, None), ("seconds", False, 3), ("train_loss", False, 4), ("lr_factor", True, None),
    ]  # fmt: skip
    assert (table.clock, table.tools, table.source) == (
        "given clock",
        False,
        "artifacts/traces/rung3/a/h/1/curve.csv; tokens and learning rate are in the files",
    )


@pytest.mark.parametrize(
    ("evidence", "cell"),
    [
        (None, (None, "not decided", "", "")),
        ({}, (None, "✕ not named", "bad", "")),
        ({"rung3/a/h/1": "m"}, ("m", "✓ this line", "", "")),
        ({"rung3/a/h/1": "n"}, ("n", "✕ another md5", "bad", "n")),
    ],
)
def test_a_run_stands_as_the_decision_names_it(evidence: dict[str, str] | None, cell: tuple[object, ...]) -> None:
    gate: Any = SimpleNamespace(decision=None if evidence is None else SimpleNamespace(evidence=evidence))
    shown = module._named_cell(gate, run())
    assert (shown.value, shown.text, shown.mark, shown.note) == cell


@pytest.mark.parametrize(("lock", "text"), [(None, "✕ another lock"), ("l", "✓ this lock"), ("k", "✕ another lock")])
def test_runs_of_a_rung_say_which_lock_judges_them(lock: str | None, text: str) -> None:
    gate: Any = SimpleNamespace(
        rung="rung3", rung_title="Rung 3", lock=SimpleNamespace(digest=lock) if lock else None, decision=None, executed=[run()],
    )  # fmt: skip
    table = module.runs_table(gate)
    cell = table.rows[0].cells["lock"]
    assert (cell.text, cell.mark) == (text, "" if text.startswith("✓") else "bad")
    assert table.rows[0].id == "a.h.1" and table.rows[0].cells["run"].text == "a/h/1"
    assert [column.key for column in table.columns if column.hidden] == ["config"]


def test_runs_are_counted_by_rung_and_status_and_those_of_the_floor_apart() -> None:
    runs = [
        run(),
        run(2, None, status="failed"),
        run(3, None, status="diverged"),
        run(4, None, status="stopped"),
        run(9, purpose="floor"),
    ]
    runs += [run(8, None, "floor", "failed"), run(7, None, "floor", "stopped"), run(6, None, status="unrun")]
    gate: Any = SimpleNamespace(
        rung="rung3", rung_title="Rung 3", budget=60.0, runs=runs, run_ids=list("abcd"), missing=["a"]
    )
    table = module.rungs_table([gate])
    assert table.values == [["rung3", "60\N{NO-BREAK SPACE}s", 4, 1, 1, 2, 1, 1, 2, 1]]
