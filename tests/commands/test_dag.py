"""promotion dag: one node a rung, with the counts."""

import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise

from stages.domain import names
from tests.support.repo import PROJECT

CHAIN = ["corpus", "protocol", "rung1", "rung2", "rung3", "rung4", "rung5", "ledger"]


def test_the_text_has_a_line_for_every_rung_with_its_counts(workspace, promotion):
    lines = promotion("dag").splitlines()
    assert [line.split()[0] for line in lines if line[0] not in " ├└"] == CHAIN
    assert "rung3       10 s, 10 configurations × 4 cells = 40 runs" in lines
    assert (
        lines[lines.index("rung3       10 s, 10 configurations × 4 cells = 40 runs") + 1] == "  │  gate 3: 4 promoted"
    )


def test_mermaid_names_every_node_and_edge_once(workspace, promotion):
    reported = promotion("dag", "--mermaid")
    assert reported.startswith("flowchart TD\n")
    nodes = re.findall(r'^  (\w+)\["<b>(\w+)</b>', reported, re.MULTILINE)
    edges = re.findall(r"^  (\w+) -->(?:\|\"[^\"]*\"\|)? (\w+)$", reported, re.MULTILINE)
    assert [one for one, other in nodes if one == other] == [*CHAIN, "confidence", "winner", "site"]
    assert edges == [*pairwise(CHAIN), ("ledger", "confidence"), ("ledger", "winner"), ("ledger", "site")]
    assert 'rung4 -->|"gate 4: 2 promoted"| rung5' in reported


def test_dot_is_a_digraph_of_the_same_edges(workspace, promotion):
    reported = promotion("dag", "--dot")
    assert reported.startswith("digraph study {") and reported.rstrip().endswith("}")
    assert re.findall(r"^  (\w+) -> (\w+) ", reported, re.MULTILINE) == [
        *pairwise(CHAIN), ("ledger", "confidence"), ("ledger", "winner"), ("ledger", "site"),
    ]  # fmt: skip
    assert r'rung5 [label="rung5\n12 min\n2 configurations × 4 cells = 8 runs"];' in reported


def test_what_is_not_decided_reads_at_most(workspace, promotion):
    shutil.rmtree(workspace / names.GATES / "gate3")
    reported = promotion("dag")
    assert "rung4       1 min, at most 5 configurations × 4 cells = 20 runs" in reported
    assert "  │  gate 3: ready to judge" in reported


def test_a_clone_without_artifacts_is_drawn_by_the_ledger_and_says_so(workspace, promotion):
    before = promotion("dag")
    shutil.rmtree(workspace / "artifacts")
    assert promotion("dag") == before.replace("git's copy", "git's copy, the counts are from it")


def test_a_blocked_gate_is_drawn_as_blocked(workspace, promotion):
    path = workspace / names.GATES / "gate3" / "decision.json"
    path.write_bytes(path.read_bytes().replace(b'"blocked_by":[]', b'"blocked_by":["R1"]'))
    path.write_bytes(path.read_bytes().replace(b'"outcome":"decided"', b'"outcome":"blocked"'))
    assert "  │  gate 3: blocked" in promotion("dag")


def test_what_is_printed_is_utf8_through_any_pipe(judged):
    """Windows gives a pipe its code page, which lacks most of these signs."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONIOENCODING": "cp1252"}
    command = [sys.executable, "-m", "stages.cli", "dag"]
    done = subprocess.run(command, cwd=judged, env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "└─>" in done.stdout
