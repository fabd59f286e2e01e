"""What a backtest, a simulation and a proposed design say of fixed curves, number by number."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path

import pytest

from stages.cli import main
from stages.domain import canonical
from tests.support.repo import PROJECT
from tests.support.snapshots import check_snapshots, json_text
from tests.support.studies import STUDIES

FOLDER = PROJECT / "studies" / "backtest"


def run(*words: str | Path) -> None:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert end.value.code == 0


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


#: Words beside those of the files.
VARIANTS: dict[str, tuple[str, ...]] = {
    "fresh": (),
    "continued": ("--continued", "--seed", "2"),
}


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_a_backtest_says_what_its_snapshot_does(
    variant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = (FOLDER / "rules.yaml").read_text(encoding="utf-8")
    if VARIANTS[variant]:  # one run cannot have a seed of its own at each rung
        rules = "".join(line for line in rules.splitlines(keepends=True) if "fresh_seeds" not in line)
        rules = rules.replace("seeds: 2", "seeds: 1").replace("seeds: 4", "seeds: 1")
    (tmp_path / "rules.yaml").write_text(rules, encoding="utf-8")
    words = ["backtest", FOLDER / "modded_nanogpt_track3.csv", "--map", FOLDER / "map.yaml", "--ladders", "200"]
    file = tmp_path / "result.json"
    run(*words, "--rules", tmp_path / "rules.yaml", "--json", file, *VARIANTS[variant])
    result = json_text(canonical.loads(file.read_bytes()))
    check_snapshots(f"backtest/{variant}", {"printed.txt": capsys.readouterr().out, "result.txt": result})


def test_a_simulation_holds_what_its_snapshot_does(tmp_path: Path) -> None:
    """Three digits: the model is fitted, by steps that end where a processor's last digit may move them."""
    STUDIES["whole"](tmp_path)
    with chdir(tmp_path):
        words = ["simulate", "--from", "ledger/runs.jsonl", "--configs", "8,12", "--ladders", "30"]
        run(*words, "--rules", "params.yaml", "--json", "result.json")
    value = canonical.loads((tmp_path / "result.json").read_bytes())
    check_snapshots("simulation", {"result.txt": json_text(value, digits=3)})


def test_a_design_says_what_its_snapshot_does(capsys: pytest.CaptureFixture[str]) -> None:
    assumed = ["--noise", "0.001", "--spread", "0.01", "--agreement", "0.7", "--budgets", "60,3600"]
    run("design", *assumed, "--candidates", "8", "--hours", "20", "--keep-best", "0.9")
    check_snapshots("design", {"printed.txt": capsys.readouterr().out})
