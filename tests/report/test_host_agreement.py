"""Host blocks against the decision, in the order of params.yaml; the last gate is compared by winner and verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from report.build import build
from report.host_agreement import RungHosts
from report.pages import agreement
from report.verdict import reach_verdict
from report.views import view_study
from stages.summary import pairs
from tests.report import broken
from tests.report.conftest import copy_of, make_study
from tests.report.pages import read
from tests.support import synthetic


def rows(root: Path, name: str) -> list[dict[str, Any]]:
    value = json.loads((root / "site" / f"{name}.json").read_bytes())
    return [dict(zip([one["key"] for one in value["columns"]], row, strict=True)) for row in value["rows"]]


def opposite(original: Callable[..., float]) -> Callable[..., float]:
    def score(config: dict[str, Any], budget: float, host: str, seed: int, name: str) -> float:
        base = {"d2-c001": 0.0, "d1-c000": 0.004, "d4-c003": 0.01}.get(name, 0.1)
        lost = 0.009 if name == "d2-c001" and host == "cpu-bf16" else 0.0
        return round(1.5 + base + lost - budget / 10_000 + (seed % 10) * 1e-5, 6)

    return score


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hosts have opposite winners at the last rung, and promote alike at every gate. The site is built."""
    value = synthetic.params(6)
    for gate, rule in (("gate2", "R6"), ("gate3", "R9"), ("gate4", "R8")):
        value["gates"][gate][rule] = {"kind": "keep_role", "role": "comparator"}
    root = tmp_path_factory.mktemp("torn") / "work"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "score", opposite(synthetic.score))
        make_study(root, value)
    build(root)
    return root


def changed_alone(hosts: RungHosts, host: str, **changed: Any) -> RungHosts:
    """The host blocks, had one of them alone decided otherwise."""
    alone = hosts.summary.host_alone
    host_alone = {**alone, host: alone[host].model_copy(update=changed)}
    return replace(hosts, summary=hosts.summary.model_copy(update={"host_alone": host_alone}))


def test_hosts_with_opposite_winners_do_not_decide_the_same_at_the_last_gate(torn: Path) -> None:
    view = view_study(torn)
    hosts = view.hosts["rung5"]
    assert [alone.promoted for alone in hosts.summary.host_alone.values()] == [[], []]
    assert hosts.same_alone == {"cpu-fp32": False, "cpu-bf16": True}
    assert [row["alone"] for row in rows(torn, "index.agreement-glance")][-1] == 1
    assert [row["alone"] for row in rows(torn, "agreement.pairs")][-1] == 1
    assert "cpu-fp32 alone would have decided otherwise." in read(torn / "site" / "agreement.html").text


def test_the_last_gate_shows_each_hosts_winner_and_verdicts(torn: Path) -> None:
    assert rows(torn, "gates/gate5.alone") == [
        {
            "host": "cpu-fp32",
            "same": False,
            "outcome": "decided",
            "winner": "d2-c001",
            "R4": True,
            "R5": True,
            "R6": True,
        },
        {
            "host": "cpu-bf16",
            "same": True,
            "outcome": "decided",
            "winner": "d1-c000",
            "R4": False,
            "R5": True,
            "R6": True,
        },
    ]
    assert "the reference is first in only 2 of 4 cells" in reach_verdict(view_study(torn)).sentence


def test_an_earlier_gate_is_compared_by_whom_it_promotes_and_not_by_who_leads(torn: Path) -> None:
    view = view_study(torn)
    hosts = view.hosts["rung4"]
    assert set(hosts.summary.leaders.values()) == {"d1-c000", "d2-c001"}
    assert hosts.same_alone == {"cpu-fp32": True, "cpu-bf16": True}


def test_another_winner_is_another_decision_even_where_all_verdicts_agree(torn: Path) -> None:
    view = view_study(torn)
    hosts = changed_alone(view.hosts["rung5"], "cpu-fp32", verdicts=dict(view.gates["gate5"].decision.verdicts))
    assert hosts.same_alone == {"cpu-fp32": False, "cpu-bf16": True}


def test_another_outcome_is_another_decision(default_study: Path, tmp_path: Path) -> None:
    root = copy_of(default_study, tmp_path / "study")
    view = view_study(root)
    hosts = changed_alone(view.hosts["rung5"], "cpu-bf16", outcome="blocked")
    assert hosts.same_alone == {"cpu-fp32": True, "cpu-bf16": False}
    broken.drop(root, "gate5")
    assert view_study(root).hosts["rung5"].same_alone is None


def test_blocks_stand_in_the_order_of_params_yaml_and_inversions_turn_with_them(default_study: Path) -> None:
    view = view_study(default_study)
    for hosts in view.hosts.values():
        assert hosts.hosts == list(view.study.hosts)
        (pair,) = hosts.pairs
        means = hosts.summary.means
        assert (pair.first, pair.second) == ("cpu-fp32", "cpu-bf16")
        for one, other in pair.inversions:
            assert means[one]["cpu-fp32"] < means[other]["cpu-fp32"]
            assert means[one]["cpu-bf16"] > means[other]["cpu-bf16"]


def test_inversions_and_intervals_are_numbers_and_names_in_the_files(site: Path, default_study: Path) -> None:
    pairs = rows(default_study, "agreement.pairs")
    assert all(isinstance(row["interval_low"], float) and "interval" not in row for row in pairs[:3])
    listed = rows(default_study, "agreement.inversions-rung3")
    assert len(listed) == pairs[2]["inversions"]
    assert {(row["first"], row["second"]) for row in listed} == {("cpu-fp32", "cpu-bf16")}


def test_one_host_block_has_nothing_to_compare(tmp_path: Path) -> None:
    value = synthetic.params(6, 1)
    del value["hosts"]["cpu-bf16"], value["gates"]["gate4"]["R4"]
    build(make_study(tmp_path / "study", value))
    for name in ("index.html", "agreement.html"):
        text = read(tmp_path / "study" / "site" / name).text
        assert "One host block: nothing to compare." in text
        assert "τ-b" not in text


def test_the_page_says_from_how_many_candidates_on_there_is_an_interval(site: Path) -> None:
    assert agreement.FEWEST == pairs.FEWEST
    assert f"none with fewer than {pairs.FEWEST} candidates" in read(site / "agreement.html").text
