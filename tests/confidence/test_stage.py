"""The stage `confidence`: what it reads and writes, what `dvc metrics` shows of it, and that reading it back is cheap."""

import json
import subprocess
import sys
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pytest

from stages import ledger
from stages.confidence import __main__ as stage
from stages.confidence import stored
from stages.domain import files
from stages.domain.errors import Invalid, Refused
from tests.support import synthetic
from tests.support.repo import PROJECT


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("confidence") / "study"
    synthetic.build(root)
    with chdir(root):
        ledger.main()
        stage.main()
    return root


def test_the_stage_writes_what_reading_gives_back(study):
    result = stored.read(study)
    assert result is not None
    assert list(result.gates) == [f"gate{n}" for n in range(1, 6)]
    assert stored.to_bytes(result) == (study / stored.RESULT).read_bytes()


def test_the_metrics_are_the_headline_figures_in_the_order_of_reading(study):
    result = stored.read(study)
    shown = json.loads((study / stored.METRICS).read_text(encoding="utf-8"))
    assert list(shown)[:2] == ["how_sure", "same_winner"]
    assert shown["how_sure"] == result.how_sure.grade
    assert shown["same_winner"] == result.winner.same
    weakest = min((gate for gate in result.gates.values() if gate.redraws), key=lambda gate: gate.kept)
    assert (shown["weakest_gate"], shown["weakest_gate_same"]) == (weakest.gate, weakest.kept)


def test_a_figure_that_is_not_known_is_null_in_the_metrics_and_never_zero(study):
    unknown = replace(stored.read(study), winner=None, gates={})
    shown = json.loads(stored.metrics_bytes(unknown))
    assert [shown[key] for key in ("same_winner", "same_winner_at_most", "weakest_gate", "weakest_gate_same")] == 4 * [
        None
    ]


def test_a_study_whose_first_gate_has_not_decided_has_a_result_too(study, tmp_path):
    (tmp_path / "locks").mkdir()
    files.write_whole(tmp_path / stage.RUNS, b"")
    files.write_whole(tmp_path / stage.DECISIONS, b"")
    with chdir(tmp_path):
        stage.main()
    result = stored.read(tmp_path)
    assert result.how_sure.grade == "unknown" and result.what_next.action == "wait"


def test_without_a_ledger_the_stage_says_who_writes_it(tmp_path):
    with chdir(tmp_path), pytest.raises(Refused, match=r"ledger/runs.jsonl is missing; `dvc repro -s ledger`"):
        stage.main()


@pytest.mark.parametrize("data", [b"", b"{", b'{"schema":1}\n', b'{"schema":9}\n', b"[]\n"])
def test_a_result_that_is_none_is_refused_by_name_with_the_remedy(tmp_path, data):
    files.write_whole(tmp_path / stored.RESULT, data)
    with pytest.raises(Invalid, match=r"artifacts/confidence/confidence.json.*"):
        stored.read(tmp_path)


def test_no_result_reads_as_none(tmp_path):
    assert stored.read(tmp_path) is None


def test_reading_a_result_imports_no_library_of_statistics(study):
    code = (
        "import sys; from pathlib import Path; from stages.confidence import stored; "
        "assert stored.read(Path(sys.argv[1])); print(sorted({'numpy', 'scipy', 'statsmodels'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(study)], cwd=PROJECT, capture_output=True, encoding="utf-8")
    assert done.stdout.strip() == "[]", done.stderr


def test_the_stage_prints_both_answers(study, capsys):
    result = stored.read(study)
    with chdir(study):
        stage.main()
        assert list(stage.read_locks()) == [f"gate{n}" for n in range(1, 6)]
        assert list(stage.read_decisions()) == [f"gate{n}" for n in range(1, 6)]
    assert capsys.readouterr().out == f"How sure? {result.how_sure.short}\nWhat next? {result.what_next.text}\n"


def test_a_decision_that_is_none_is_told_by_its_line_and_who_writes_it_anew(study, tmp_path):
    lines = (study / stage.DECISIONS).read_bytes().splitlines(keepends=True)
    files.write_whole(tmp_path / stage.DECISIONS, lines[0] + b"{}\n")
    with chdir(tmp_path), pytest.raises(Invalid) as caught:
        stage.read_decisions()
    assert str(caught.value).startswith("ledger/decisions.jsonl, line 2: ")
    assert str(caught.value).endswith("; `dvc repro -s ledger` writes it anew")
