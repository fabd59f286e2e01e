"""The pages of stability, of verification, and the method's tables: what each row links to and what is left empty."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from report.chain import Chain
from report.load import FileDigests
from report.pages import method, stability, verify
from report.promotion_paths import PathStep, PromotionPath
from report.tables import Cell


def test_leaders_that_were_stopped_link_to_the_gate_that_did_it() -> None:
    rows = [
        SimpleNamespace(rung="rung1", config="a", stopped_at="gate2", last_rung="rung2", last_rank=3),
        SimpleNamespace(rung="rung2", config="b", stopped_at=None, last_rung="rung5", last_rank=None),
    ]
    reported: Any = SimpleNamespace(leader_fate=rows)
    table = stability.fates_table(reported)
    assert table.values == [["rung1", "a", "gate2", "rung2", 3], ["rung2", "b", None, "rung5", None]]
    assert [(row.cells["stopped_at"].href, row.id) for row in table.rows] == [
        ("gates/gate2.html#a", "fate.rung1"),
        ("", "fate.rung2"),
    ]


def test_steps_and_optimism_have_a_row_a_rung() -> None:
    step = SimpleNamespace(from_="rung1", to="rung2", tau_b=0.5, candidates=4, leader_from="a", leader_to=None)
    row = SimpleNamespace(
        rung="rung1", config="a", lead=0.25, next_lead=-0.125, next_rank=2, regret=0.5, mean=1.0, next_mean=1.5
    )
    reported: Any = SimpleNamespace(steps=[step], optimism=[row])
    assert stability.steps_table(reported).values == [["rung1", "rung2", 0.5, 4, "a", None]]
    assert stability.optimism_table(reported).values == [["rung1", "a", 0.25, -0.125, 2, 0.5, 1.0, 1.5]]
    assert [table.rows[0].id for table in (stability.steps_table(reported), stability.optimism_table(reported))] == [
        "step.rung1",
        "optimism.rung1",
    ]


def test_ranks_are_a_row_a_configuration_and_a_column_a_rung() -> None:
    path = PromotionPath("a", (), (PathStep("rung1", "promoted", 2), PathStep("rung2", "missing")))
    gates = {f"gate{n}": SimpleNamespace(rung=f"rung{n}", rung_title=f"Rung {n}") for n in (1, 2)}
    view: Any = SimpleNamespace(gates=gates, paths={"a": path})
    table = stability.ranks_table(view)
    assert (table.values, [column.label for column in table.columns]) == (
        [["a", 2, None]],
        ["Configuration", "Rung 1", "Rung 2"],
    )


@pytest.mark.parametrize(("flattery", "text"), [(None, None), (0.0, None), (1.626, "1.63")])
def test_flattery_is_told_where_it_is_known(
    flattery: float | None, text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("steps_table", "fates_table", "optimism_table", "ranks_table", "path_figure", "early_leader"):
        monkeypatch.setattr(stability, name, lambda *_: "x")
    result = None if flattery is None else SimpleNamespace(flattery=flattery)
    view: Any = SimpleNamespace(
        files=SimpleNamespace(stability=None), gates={}, paths={}, study=SimpleNamespace(configs=["a", "b"]), lead=None, stars=None,
        confidence=SimpleNamespace(result=result),
    )  # fmt: skip
    (page,) = stability.pages(view)
    assert page.context == {"early": "x", "figures": ["x"], "many": 2, "flattery": text}


def chain(**changed: Any) -> Chain:
    values: dict[str, Any] = {
        "gate": "gate3", "state": "frozen", "digest": "d", "previous": "p", "amendments": 0, "records": 5, "committed": 4, "named": 3,
        "same": 2, "decision_lock": "d", "changed": {},
    }  # fmt: skip
    return Chain(**values | changed)


@pytest.mark.parametrize(
    ("changed", "cell"),
    [
        ({}, (True, "✓ holds", "holds-yes")),
        ({"faults": ("x",)}, (False, "✕ broken", "holds-no")),
        ({"faults": ("x",), "decision_lock": None}, (False, "✕ broken", "holds-no")),
        ({"decision_lock": None}, (None, "not decided", "")),
        ({"state": "what-if"}, (None, "what-if", "")),
    ],
)
def test_a_chain_holds_is_broken_or_is_not_one_of_frozen_rules(
    changed: dict[str, Any], cell: tuple[object, ...]
) -> None:
    shown = verify._whole(chain(**changed))
    assert (shown.value, shown.text, shown.mark) == cell


def test_a_chain_is_one_line_of_digests_and_counts() -> None:
    entry = SimpleNamespace(line=SimpleNamespace(md5="m"))
    chains = {
        "gate3": chain(),
        "gate4": chain(gate="gate4", changed={"seeds": {"was": 1, "is": 2}}, decision_lock=None),
    }
    view: Any = SimpleNamespace(files=SimpleNamespace(decisions={"gate3": entry}), chains=chains)
    assert verify.chains_table(view).values == [
        ["gate3", True, "frozen", 5, 4, 3, 2, "d", "p", "m"], ["gate4", None, "frozen, params.yaml has moved on", 5, 4, 3, 2, "d", "p", None],
    ]  # fmt: skip


def test_what_dvc_keeps_has_no_blob_of_git() -> None:
    sources = {
        "locks/gate1.yaml": FileDigests("s", "b"),
        "artifacts/x.json": FileDigests("t", "c"),
        "params.yaml": FileDigests("u", None),
    }
    table = verify.inputs_table(sources)
    assert table.values == [["artifacts/x.json", None, "t"], ["locks/gate1.yaml", "b", "s"], ["params.yaml", None, "u"]]
    assert table.rows[0].id == "file.artifacts/x.json" and table.rows[0].cells["sha256"] == Cell("t", "t")


@pytest.mark.parametrize(
    ("changed", "declared"),
    [
        ({}, "frozen"),
        ({"state": "amended"}, "amended"),
        ({"faults": ("x",)}, "out of step with its lock"),
        ({"state": "amended", "faults": ("x",)}, "out of step with its lock"),
        ({"state": "not frozen", "faults": ("x",)}, "not frozen"),
        ({"state": "what-if", "changed": {"a": {}}}, "what-if"),
        ({"changed": {"a": {}}}, "params.yaml has moved on from its lock"),
    ],
)
def test_how_the_rules_of_a_gate_were_declared_is_a_word(changed: dict[str, Any], declared: str) -> None:
    assert method._declared(chain(**changed)) == declared


def test_exceptions_are_listed_by_what_they_are() -> None:
    assert method.declared([chain(), chain()]) == (
        "Every budget, seed and threshold below stands in a lock that the records name: it was declared before them, if "
        "git's order agrees (`promotion verify`)."
    )
    reported = [
        chain(gate="gate1", state="amended"),
        chain(gate="gate2", state="what-if"),
        chain(gate="gate4", state="amended"),
        chain(gate="gate5"),
    ]
    assert method.declared(reported) == (
        "Budgets, seeds and thresholds were declared beforehand where a gate is frozen. Exceptions: gate 1 and gate 4: amended; "
        "gate 2: what-if."
    )


def test_splits_stand_in_the_order_in_which_they_are_read() -> None:
    splits = {name: {"tokens": place} for place, name in enumerate(("other", "locked", "another", "val", "train"))}
    table = method.corpus_table(SimpleNamespace(splits=splits))  # type: ignore[arg-type]
    assert [(row.id, row.cells["tokens"], row.cells["documents"]) for row in table.rows] == [
        ("split.train", 4, None), ("split.val", 3, None), ("split.locked", 1, None), ("split.another", 2, None), ("split.other", 0, None),
    ]  # fmt: skip


def test_host_blocks_are_told_as_declared_and_as_seen() -> None:
    def host(**changed: Any) -> Any:
        values: dict[str, Any] = {
            "title": "", "device": "cpu", "device_name": None, "precision": "fp32", "threads": 2, "compile": False, "flops_per_second": 10,
        }  # fmt: skip
        return SimpleNamespace(**values | changed)

    machines: Any = SimpleNamespace(values=lambda host, key: [key, "z"] if host == "x" else [])
    table = method.hosts_table({"x": host(title="A box", device_name="A100", compile=True), "y": host()}, machines)
    assert table.values == [
        ["x", "cpu, A100", "fp32", 2, True, 10, "hostname, z", "device, z", "torch, z"], ["y", "cpu", "fp32", 2, False, 10, None, None, None],
    ]  # fmt: skip
    assert [row.cells["host"].text for row in table.rows] == ["x (A box)", "y"]


def test_the_ladder_stands_as_declared() -> None:
    rungs = {
        "rung1": SimpleNamespace(seeds=[1, 2], floor_seeds=[]),
        "rung2": SimpleNamespace(seeds=[3], floor_seeds=[4, 5]),
    }
    gates = {
        f"gate{n}": SimpleNamespace(
            rung=f"rung{n}", rung_title=f"Rung {n}", name=f"gate{n}", budget=60.0 * n, cells=[0] * n, lock=lock
        )
        for n, lock in ((1, None), (2, SimpleNamespace(digest="d")))
    }
    view: Any = SimpleNamespace(study=SimpleNamespace(rungs=rungs), gates=gates)
    assert method.protocol_table(view).values == [
        ["rung1", 60.0, "1, 2", 1, None, "gate1", None], ["rung2", 120.0, "3", 2, "4, 5", "gate2", "d"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("builtin", "pairs"),
    [(True, [("Width of a head", "16")]), (False, [("a.b", "true"), ("head_dim", "16"), ("none", "nothing")])],
)
def test_a_commands_settings_stand_by_their_keys(builtin: bool, pairs: list[tuple[str, str]]) -> None:
    runner: dict[str, Any] = {"head_dim": 16} | (
        {} if builtin else {"none": None, "empty": [], "void": {}, "a": {"b": True}}
    )
    view: Any = SimpleNamespace(study=SimpleNamespace(runner=runner), has_builtin_runner=builtin)
    assert method.runner_pairs(view) == pairs
