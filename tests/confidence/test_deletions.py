"""Leave one out: the frozen rules over what is left, each time.

python -m pytest tests/confidence/test_deletions.py
"""

from stages.confidence.deletions import deletions, hangs_on, without_cell
from stages.confidence.results import Change, Deletion
from stages.domain.decision import decide
from tests.confidence import cases

TOP = {"R1": {"kind": "complete_cells"}, "R2": {"kind": "top_k", "k": 1}}


def labels(gate):
    return [f"{made.kind} {made.left_out}" for made in deletions(gate)]


def test_every_cell_seed_and_host_is_left_out_once():
    gate = cases.gate(TOP, {"cmp": [1.0] * 4, "ref": [1.1] * 4})
    assert labels(gate) == [
        "cell h1/31", "cell h1/32", "cell h2/31", "cell h2/32", "seed 31", "seed 32", "host h1", "host h2",
    ]  # fmt: skip
    assert all(made.changes == () for made in deletions(gate))


def test_what_would_leave_nothing_or_the_same_twice_is_not_tried():
    scores = {"cmp": [1.0, 1.0], "ref": [1.1, 1.1]}
    assert labels(cases.gate(TOP, scores, seeds=(31,))) == ["host h1", "host h2"]
    assert labels(cases.gate(TOP, scores, hosts=("h1",))) == ["cell h1/31", "cell h1/32"]
    assert labels(cases.gate(TOP, {"cmp": [1.0], "ref": [1.1]}, hosts=("h1",), seeds=(31,))) == []


def test_a_decision_that_hangs_on_one_cell_says_so():
    gate = cases.gate(TOP, {"cmp": [1.0, 1.0, 1.0, 1.0], "ref": [1.01, 1.01, 1.01, 0.96]})
    made = {f"{one.kind} {one.left_out}": one.changes for one in deletions(gate)}
    assert gate.fates.promoted == {"ref"}
    assert made["cell h2/32"] == (
        Change("candidate", "cmp", "stopped", "goes on"),
        Change("candidate", "ref", "goes on", "stopped"),
        Change("leader", "lowest mean", "ref", "cmp"),
    )
    assert made["cell h1/31"] == ()
    assert hangs_on(deletions(gate), last=False) == ("cell h2/32", "seed 32", "host h2")


def test_a_leader_that_changes_matters_at_the_last_gate_alone():
    made = (Deletion("cell", "h1/31", (Change("leader", "lowest mean", "ref", "cmp"),)),)
    assert hangs_on(made, last=False) == ()
    assert hangs_on(made, last=True) == ("cell h1/31",)


def test_a_cell_is_left_out_for_every_candidate_and_counts_as_never_declared():
    evidence = cases.evidence(TOP, {"cmp": [1.0, 1.1, 1.2, 1.3], "ref": [1.0, 1.0, 1.0, None]})
    left = without_cell(evidence, ("h2", 32))
    assert decide(left).outcome == "decided"
    assert float(left.mean("cmp")) == 1.1 and left.mean("ref") == 1
    assert left.contract.cells == [("h1", 31), ("h1", 32), ("h2", 31)]


def test_one_host_of_three_leaves_the_rules_that_compare_hosts():
    rules = {**TOP, "R3": {"kind": "min_host_agreement", "tau": 0.5}}
    scores = {"cmp": [1.0, 1.0, 1.2], "ref": [1.1, 1.1, 1.1]}
    gate = cases.gate(rules, scores, hosts=("h1", "h2", "h3"), seeds=(31,))
    assert gate.fates.outcome == "blocked"
    made = {one.left_out: one.changes for one in deletions(gate)}
    assert Change("outcome", "gate", "blocked by R3", "decided") in made["h3"]
    assert made["h1"] == ()
