"""`promotion backtest` from end to end: what it prints and writes, and how it refuses."""

import subprocess
import sys

import pytest

from stages.backtest.backtest_result import loads
from stages.cli import main
from stages.domain import canonical
from stages.domain.errors import Invalid
from tests.support.repo import PROJECT

FOLDER = PROJECT / "studies" / "backtest"
WORDS = ["backtest", str(FOLDER / "modded_nanogpt_track3.csv"), "--map", str(FOLDER / "map.yaml"), "--rules"]
RULES = str(FOLDER / "rules.yaml")


def promotion(*words):
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    return end.value.code


def test_the_documented_example_runs_and_writes_a_result(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # no cell of a table wraps
    file = tmp_path / "result.json"
    assert promotion(*WORDS, RULES, "--ladders", 3000, "--json", file) == 0
    out = capsys.readouterr().out
    result = loads(file.read_bytes(), "result.json")
    assert result.dumps() == file.read_bytes()
    assert (result.ladders, result.curves.prefix, result.best.config) == (3000, True, "20260619_cwd_rowfloor_tailema")
    assert out.count("prefixes of one long run") >= 3
    assert "Agreement: not evaluable: hosts (A100, GH200, H100, H200, L40S, unknown) are not crossed" in out
    for row in result.methods:
        assert row.title in out
    # starting from all 25 costs no more than the rules, so there is no second row that starts from fewer
    assert [row.method for row in result.methods if row.method.startswith("halving")] == ["halving 2", "halving 3"]
    full = result.methods[-1]
    assert (full.method, full.cost_share, full.best_lost) == ("full", 1.0, 0.0)
    again = tmp_path / "again.json"
    assert promotion(*WORDS, RULES, "--ladders", 3000, "--json", again) == 0
    assert again.read_bytes() == file.read_bytes()


def test_a_whole_params_yaml_is_a_rules_file_but_its_thresholds_have_another_unit(tmp_path, capsys):
    text = (FOLDER / "map.yaml").read_text(encoding="utf-8")
    five = text.replace("  rung4: final", "  rung4: 2500\n  rung5: final").replace("  rung3: 2500", "  rung3: 1500")
    (tmp_path / "map.yaml").write_text(five, encoding="utf-8")
    words = [*WORDS[:2], "--map", str(tmp_path / "map.yaml"), "--rules", str(PROJECT / "params.yaml")]
    assert promotion(*words) == 2
    err = capsys.readouterr().err
    assert "gates.gate3.R8: found a threshold in bits per byte" in err
    assert "reads rung3 in nats per token" in err


def test_a_refusal_names_the_line_and_ends_with_2(tmp_path, capsys):
    lines = (FOLDER / "modded_nanogpt_track3.csv").read_text(encoding="utf-8").splitlines()
    lines[4] = lines[4].rsplit(",", 1)[0] + ",0.0"
    (tmp_path / "curves.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert promotion("backtest", tmp_path / "curves.csv", "--map", FOLDER / "map.yaml", "--rules", RULES) == 2
    assert "curves.csv, line 5: value: found 0.0, expected a value: a crash logged as zero" in capsys.readouterr().err


def test_one_run_cannot_be_followed_under_a_rule_of_fresh_seeds(capsys):
    assert promotion(*WORDS, RULES, "--continued") == 2
    assert "gates.gate2.R2: fresh_seeds never holds where a run is followed" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--ladders", "0"], ["--seed", "-1"]])
def test_numbers_that_mean_nothing_are_refused(words, capsys):
    assert promotion(*WORDS, RULES, *words) == 2
    assert f"{words[0]}: found {words[1]}, expected" in capsys.readouterr().err


def test_a_result_of_another_form_is_refused():
    with pytest.raises(Invalid, match="found 2, expected 1; update staged-promotion"):
        loads(canonical.dumps({"schema": 2}), "r.json")
    with pytest.raises(Invalid, match="expected what `promotion backtest --json` writes"):
        loads(b"{", "r.json")


def test_gates_and_verify_do_not_pay_for_it():
    code = "import sys; import stages.cli, stages.gate, stages.ledger; print(sorted(m for m in sys.modules if m.startswith('stages.backtest')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert done.stdout.strip() == "[]"
