"""promotion what-if: the fates that other rules would have given, from the ledger alone.

python -m pytest tests/confidence/test_what_if.py
"""

import json
import os
import subprocess
import sys

import pytest

from stages import cli
from stages.commands.what_if import lines
from stages.confidence.what_if import NoAnswer, answer, parse
from stages.domain import canonical
from tests.support.repo import PROJECT


def asked(case, *settings):
    return {one.gate: one for one in answer(case.locks, case.records, parse(settings))}


def changed(one):
    return {change.name: (change.was, change.now) for change in one.changes}


def test_nothing_asked_changes_nothing_and_gives_the_recorded_fates(case):
    for gate, one in asked(case, "gate3.R7.k=3").items():
        assert one.changes == () and sorted(one.now.promoted) == case.decisions[gate].promoted


def test_more_places_let_the_next_in_line_go_on_and_the_untrained_are_unrun(case):
    made = asked(case, "gate3.R7.k=5")
    ranking = [one.config for one in case.decisions["gate3"].ranking]
    new = {name for name in ranking[:5] if name not in case.decisions["gate3"].promoted}
    assert new and {name: fate for name, fate in changed(made["gate3"]).items() if name in new} == dict.fromkeys(
        new, ("stopped", "goes on")
    )
    assert set(made["gate4"].unrun) == new and not new & set(made["gate4"].judged)
    message = "\n".join(lines(list(made.values())))
    assert f"unrun: {', '.join(sorted(new))}; never trained at rung4" in message


def test_fewer_places_take_a_candidate_from_every_later_gate(case):
    made = asked(case, "gate2.R5.k=1")
    kept = sorted(made["gate2"].now.promoted)
    assert len(kept) <= 4 and sorted(made["gate3"].judged) == kept and made["gate3"].unrun == ()
    assert any("-> no candidate" in line for line in lines(list(made.values())))


def test_a_verdict_can_be_asked_about(case):
    observed = case.decisions["gate5"].rule("R5").results[0].observed
    flipped = not case.decisions["gate5"].verdicts["R5"]
    margin = abs(observed) + 0.001 if flipped else max(abs(observed) - 0.0001, 1e-6)
    made = asked(case, f"gates.gate5.R5.margin={margin:.6f}")
    assert made["gate5"].now.verdicts["R5"] is flipped
    assert all(one.changes == () for gate, one in made.items() if gate != "gate5")


def test_a_rule_can_be_left_out_and_a_role_given_to_another(case):
    made = asked(case, "gate2.R4=off")
    assert made["gate2"].settings == ("gate2.R4=off",)
    other = case.decisions["gate2"].ranking[0].config
    kept = asked(case, f"roles.reference={other}")
    assert other in kept["gate2"].now.promoted and kept["gate1"].settings == (f"roles.reference={other}",)


def test_a_gate_that_would_block_says_by_which_rule_and_ends_the_ladder(case):
    made = asked(case, "gate3.R8.gap=0.000001")
    assert changed(made["gate3"])["gate"] == ("decided", "blocked by R4")
    assert list(made) == ["gate1", "gate2", "gate3", "gate4"]
    assert made["gate4"].note == "nobody goes on to here"


def test_a_ladder_is_followed_as_far_as_there_is_evidence(case):
    rest = case.without("gate4", "gate5", records=True)
    made = asked(rest, "gate3.R7.k=5")
    assert made["gate4"].note == "rung4 has no evidence yet" and "gate5" not in made


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("rungs.rung3.budget_seconds=4", "rungs.rung3.budget_seconds=4: a budget is no part of a rule"),
        ("gate3.budget_seconds=4", "gate3.budget_seconds=4: a budget is no part of a rule"),
        ("gate3.seeds=7", "gate3.seeds=7: a seed is no part of a rule"),
        ("rungs.rung3.floor_seeds=7", "rungs.rung3.floor_seeds=7: a seed is no part of a rule"),
        ("configs.d2-c001.depth=3", "configs.d2-c001.depth=3: a knob of a configuration is no part of a rule"),
        ("hosts.cpu-fp32.threads=1", "hosts.cpu-fp32.threads=1: a host is no part of a rule"),
        ("clock.kind=wall", "clock.kind=wall: the clock is no part of a rule"),
        ("runner.head_dim=64", "runner.head_dim=64: a setting of the runner is no part of a rule"),
        ("data.vocab_size=9", "data.vocab_size=9: the corpus is no part of a rule"),
        ("gate3.R7.k", "gate3.R7.k: no value; ask for gateN.RM.FIELD=VALUE"),
        ("nonsense=1", "nonsense=1: ask for gateN.RM.FIELD=VALUE"),
        ("gate3.R7=5", "gate3.R7=5: found '5', expected off"),
        ("gate9.R1.k=1", "gate9.R1.k=1: no lock of gate9; frozen are gate1, gate2, gate3, gate4, gate5"),
        ("gate3.R70.k=1", "gate3.R70.k=1: no rule R70 at gate3; there are R1, R2"),
        ("gate3.R7.gap=1", "gate3.R7.gap=1: top_k has no field 'gap' to change; it has k, by"),
        ("gate3.R7.kind=diverged", "top_k has no field 'kind' to change"),
        ("gate3.R7.k=0", "gate3.R7.k=0: rules.R7.k: found 0, expected greater than or equal to 1"),
        ("gate3.R7.k=2.5", "gate3.R7.k=2.5: rules.R7.k: found 2.5, expected a whole number"),
        ("gate3.R5.role=leader", "gate3.R5: no role 'leader'; there are comparator, reference, sentinel"),
        ("roles.leader=d1-c000", "roles.leader=d1-c000: no such role; there are comparator, reference, sentinel"),
        ("roles.reference=d9", "roles.reference=d9: no configuration 'd9'; see configs in params.yaml"),
    ],
)
def test_what_no_evidence_can_answer_is_refused_by_name(case, setting, message):
    with pytest.raises(NoAnswer) as refused:
        asked(case, setting)
    assert str(refused.value).startswith(message) or message in str(refused.value)


def test_every_rule_left_out_leaves_nothing_to_decide_by(case):
    with pytest.raises(NoAnswer, match="gate1: every rule is left out"):
        asked(case, *(f"gate1.{rule_id}=off" for rule_id in case.locks["gate1"].frozen.rules))


def test_a_rule_that_is_not_there_is_refused_where_its_gate_has_no_evidence_too(case):
    rest = case.without("gate4", "gate5", records=True)
    for setting, message in (("gate4.R70.k=1", "no rule R70 at gate4"), ("gate5.R4.k=1", "has no field 'k' to change")):
        with pytest.raises(NoAnswer, match=message):
            answer(case.locks, rest.records, parse([setting]))


def told(case, records, *settings):
    return list(lines(answer(case.locks, records, parse(settings)), list(case.locks)))


def test_what_could_not_be_judged_is_never_told_as_unchanged(case):
    rest = case.without("gate4", "gate5", records=True)
    assert told(case, rest.records, "gate4.R1=off") == [
        "gate4 with gate4.R1=off",
        "  gate4: not judged: rung4 has no evidence yet",
        "  gate5: not judged, for the gate before was not",
        "nothing that is asked about could be judged, so whether an outcome changes is not known",
        "a what-if: no evidence, and no decision is changed by it",
    ]
    assert told(case, rest.records, "gate3.R7.k=3")[1:] == [
        "  gate3: judged, no outcome changes",
        "  gate4: not judged: rung4 has no evidence yet",
        "  gate5: not judged, for the gate before was not",
        "no outcome changes at any gate that was judged",
        "a what-if: no evidence, and no decision is changed by it",
    ]


def test_every_later_gate_has_a_line(case):
    shown = told(case, case.records, "gate3.R7.k=5")
    for gate in ("gate3", "gate4", "gate5"):
        assert any(line.startswith(f"  {gate}: ") for line in shown)
    assert not any(line.startswith("  gate2: ") for line in shown)
    assert told(case, case.records, "gate4.R1=off")[-2] == "no outcome changes at any gate"


@pytest.fixture
def ledger(case, tmp_path, monkeypatch):
    """The folder of a study with locks and a ledger, and nothing else."""
    (tmp_path / "locks").mkdir()
    for path in (case.root / "locks").glob("gate*.yaml"):
        (tmp_path / "locks" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "ledger").mkdir()
    runs = b"".join(canonical.dumps(run.model_dump(by_alias=True)) for run in case.records)
    (tmp_path / "ledger" / "runs.jsonl").write_bytes(runs)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_needs_the_ledger_alone_and_writes_nothing(ledger, capsys):
    before = sorted(path.relative_to(ledger) for path in ledger.rglob("*"))
    with pytest.raises(SystemExit) as end:
        cli.main(["what-if", "gate3.R7.k=5"])
    out = capsys.readouterr().out
    assert end.value.code == 0
    assert out.startswith("gate3 with gate3.R7.k=5\n") and "stopped -> goes on" in out
    assert out.endswith("a what-if: no evidence, and no decision is changed by it\n")
    assert sorted(path.relative_to(ledger) for path in ledger.rglob("*")) == before


def test_json_holds_what_was_and_what_would_be(ledger, capsys):
    with pytest.raises(SystemExit):
        cli.main(["what-if", "gate3.R7.k=3", "--json"])
    value = json.loads(capsys.readouterr().out)
    assert (value["schema"], value["settings"]) == (1, ["gate3.R7.k=3"])
    assert all(gate["was"] == gate["now"] and gate["changes"] == [] for gate in value["gates"])


@pytest.mark.parametrize(
    ("gone", "message"),
    [("locks/gate1.yaml", "locks/gate1.yaml is missing"), ("ledger/runs.jsonl", "ledger/runs.jsonl is missing")],
)
def test_a_folder_without_locks_or_ledger_is_refused(ledger, capsys, gone, message):
    (ledger / gone).unlink()
    with pytest.raises(SystemExit) as end:
        cli.main(["what-if", "gate3.R7.k=5"])
    assert end.value.code == 2 and message in capsys.readouterr().err


def test_the_command_loads_neither_dvc_nor_statistics(ledger):
    code = (
        "import sys\nfrom stages import cli\n"
        "try:\n    cli.main(['what-if', 'gate3.R7.k=5'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "assert not {'statsmodels', 'pandas', 'dvc', 'torch', 'rich', 'report', 'stages.confidence.batch'} & sys.modules.keys()"
    )
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    subprocess.run([sys.executable, "-c", code], cwd=ledger, env=env, check=True, capture_output=True)
