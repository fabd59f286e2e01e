"""`promotion backtest`, `simulate` and `design` around their figures: limits, pages, progress, refusals."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from stages.backtest import figures
from stages.backtest.design import SearchResult, Tried, Wish, assumed_model
from stages.backtest.simulation import Design
from stages.cli import build_parser
from stages.commands import backtest, design, simulate
from stages.domain.errors import Invalid, Refused
from stages.domain.files import sha256_file
from stages.terminal import console
from tests.support.repo import PROJECT

FOLDER = PROJECT / "studies" / "backtest"
MODEL = assumed_model(0.001, 0.01, 0.7, 60.0, 3600.0, 2)
WISH = Wish(candidates=8, keep_best=0.9, hours=20.0, first=60.0, last=3600.0)
WORDS = ["backtest", str(FOLDER / "modded_nanogpt_track3.csv"), "--map", str(FOLDER / "map.yaml"), "--rules"]


def refusal(run: Any) -> str:
    with pytest.raises((Refused, Invalid)) as caught:
        run()
    return str(caught.value)


def parse(*words: str) -> Any:
    return build_parser(words[0]).parse_args(words)


@pytest.mark.parametrize(("ladders", "good"), [(1, True), (100_000_000, True), (0, False), (100_000_001, False)])
def test_ladders_have_a_number(ladders: int, good: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    result = SimpleNamespace(dumps=lambda: b"{}\n")
    monkeypatch.setattr(backtest, "backtest", lambda arguments: asked.append(arguments) or result)
    monkeypatch.setattr(backtest, "show", lambda result, console: None)
    arguments = parse(*WORDS, "rules.yaml", "--ladders", str(ladders), "--seed", "0")
    if good:
        assert backtest.run(arguments) == 0
        assert len(asked) == 1
        return
    message = f"--ladders: found {ladders}, expected a number from 1 to 100000000"
    assert refusal(lambda: backtest.run(arguments)) == message
    assert not asked


def test_a_seed_is_at_least_zero() -> None:
    arguments = parse(*WORDS, "rules.yaml", "--seed", "-1")
    assert refusal(lambda: backtest.run(arguments)) == "--seed: found -1, expected a whole number of at least 0"


@pytest.mark.parametrize("status", [0, 3])
def test_a_page_is_built_of_the_result_by_the_generator(status: int, monkeypatch, tmp_path: Path) -> None:
    calls: list[Any] = []

    def run(command: list[str], input: bytes, check: bool) -> Any:
        calls.append((command, input, check))
        return SimpleNamespace(returncode=status)

    result = SimpleNamespace(dumps=lambda: b"{}\n")
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(backtest, "backtest", lambda arguments: result)
    monkeypatch.setattr(backtest, "show", lambda shown, console: calls.append(shown))
    file = tmp_path / "result.json"
    assert backtest.run(parse(*WORDS, "rules.yaml", "--page", "out", "--json", str(file))) == status
    command = [sys.executable, "-m", "report.backtest", "-", "out"]
    assert calls == [(command, b"{}\n", False), result]
    assert file.read_bytes() == b"{}\n"


def test_a_result_names_what_it_was_made_of(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_bytes((FOLDER / "rules.yaml").read_bytes())
    result = backtest.backtest(parse(*WORDS, str(rules), "--ladders", "20", "--seed", "4"))
    assert (result.ladders, result.rules.name, result.rules.sha256) == (20, "rules.yaml", sha256_file(rules))


def test_curves_that_do_not_go_on_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reads them is a stand-in: the map alone says whether a run goes on."""
    text = (FOLDER / "map.yaml").read_text(encoding="utf-8").replace("prefix: true", "prefix: false")
    (tmp_path / "map.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr("stages.backtest.curves.read_curves", lambda *words: SimpleNamespace(configs=()))
    monkeypatch.setattr("stages.backtest.mapping.check_roles", lambda *words: None)
    monkeypatch.setattr(figures, "check_rules", lambda *words: None)
    words = [*WORDS[:2], "--map", str(tmp_path / "map.yaml"), "--rules", str(FOLDER / "rules.yaml"), "--continued"]
    message = "--continued: the map says `prefix: false`, expected curves whose runs go on from rung to rung"
    assert refusal(lambda: backtest.backtest(parse(*words))) == message


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: backtest._Progress(), "backtest: 3 of 9 ladders\n"),
        (lambda: simulate.ProgressPrinter("design", "designs"), "design: 3 of 9 designs\n"),
        (lambda: simulate.ProgressPrinter("simulate"), "simulate: 3 of 9 ladders\n"),
    ],
)
def test_progress_is_a_line_every_five_seconds(make: Any, line: str, monkeypatch, capsys) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = make()
    shown = []
    for seconds in (4.9, 5.0, 9.9, 10.0):
        now[0] = 100.0 + seconds
        progress(3, 9)
        shown.append(capsys.readouterr().err)
    assert shown == ["", line, "", line]


def test_shares_and_numbers_that_are_missing_are_empty() -> None:
    assert (backtest._percent(None), backtest._percent(0.0), backtest._percent(0.12345)) == ("", "0.00 %", "12.35 %")
    assert (backtest._number(None), backtest._number(0.0), backtest._number(1.25, 1)) == ("", "0.000", "1.2")
    assert (simulate._percent(0.12345), simulate._percent(0.5, 0)) == ("12.3 %", "50 %")


@pytest.mark.parametrize(("text", "values"), [("4", [4]), ("1000000, 12", [1_000_000, 12])])
def test_numbers_of_configurations_are_read(text: str, values: list[int]) -> None:
    assert simulate.numbers(text) == values


@pytest.mark.parametrize("text", ["3", "1000001", "4,3"])
def test_numbers_out_of_bounds_are_refused(text: str) -> None:
    message = f"--configs: found {text!r}, expected numbers from 4 to 1000000"
    assert refusal(lambda: simulate.numbers(text)) == message


@pytest.mark.parametrize("text", ["", "4,", "four", "4.5", "-4"])
def test_what_is_no_number_is_refused(text: str) -> None:
    message = f"--configs: found {text!r}, expected numbers such as 100,1000"
    assert refusal(lambda: simulate.numbers(text)) == message


def test_rules_of_another_number_of_rungs_are_no_design_of_these_budgets() -> None:
    samples, rules = SimpleNamespace(budgets=(1.0, 2.0)), SimpleNamespace(seconds=None, rungs=["rung1"])
    message = "--rules: found 1 rungs, expected 2: one for each recorded budget"
    make = lambda: simulate.designs_of(MODEL, cast("Any", samples), cast("Any", rules), 8)  # noqa: E731
    assert refusal(make) == message


def test_curves_are_read_with_their_map(tmp_path: Path) -> None:
    curves = tmp_path / "c.csv"
    message = f"{curves.as_posix()}: a CSV needs --map, expected a map.yaml as for `promotion backtest`"
    assert refusal(lambda: simulate.read_samples(curves, None)) == message
    known = simulate.read_samples(FOLDER / "modded_nanogpt_track3.csv", FOLDER / "map.yaml")
    assert (known.prefix, len(known.budgets)) == (True, 3)
    ledger = simulate.read_samples(PROJECT / "ledger" / "runs.jsonl", None)
    assert (ledger.prefix, ledger.unit) == (False, "bits per byte")


# Designs


@pytest.mark.parametrize(
    ("text", "budgets"), [("1,2", (1.0, 2.0)), ("60, 2592000", (60.0, 2_592_000.0)), (None, (5.0, 7.0))]
)
def test_budgets_are_those_that_are_given_or_recorded(text: str | None, budgets: tuple[float, float]) -> None:
    assert design._budgets(text, (5.0, 6.0, 7.0)) == budgets


@pytest.mark.parametrize("text", ["0,1", "2,2", "3,2", "1,2592001", "-1,2"])
def test_budgets_that_do_not_climb_are_refused(text: str) -> None:
    message = f"--budgets: found {text!r}, expected 0 < FIRST < LAST, at most 30 days"
    assert refusal(lambda: design._budgets(text, ())) == message


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--noise", "0"], "--noise"), (["--spread", "0"], "--noise"), (["--agreement", "0"], "--noise"),
        (["--agreement", "1"], "--noise"), (["--hosts", "0"], "--noise"), (["--hosts", "33"], "--noise"),
    ],
)  # fmt: skip
def test_assumptions_out_of_bounds_are_refused(words: list[str], told: str) -> None:
    base = ["--noise", "0.1", "--spread", "1", "--agreement", "0.5", "--budgets", "1,2", "--hours", "1"]
    design._model(parse("design", *base, "--hosts", "32"))
    bounds = "expected --noise and --spread above 0, --agreement between 0 and 1, --hosts from 1 to 32"
    assert refusal(lambda: design._model(parse("design", *base, *words))) == bounds


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--candidates", "1"], "--candidates: found 1, expected 2 to 2000"),
        (["--candidates", "2001"], "--candidates: found 2001, expected 2 to 2000"),
        (["--keep-best", "0"], "expected --keep-best between 0 and 1, --hours above 0, --seed of at least 0"),
        (["--keep-best", "1"], "expected --keep-best between 0 and 1, --hours above 0, --seed of at least 0"),
        (["--hours", "0"], "expected --keep-best between 0 and 1, --hours above 0, --seed of at least 0"),
        (["--seed", "-1"], "expected --keep-best between 0 and 1, --hours above 0, --seed of at least 0"),
        (["--candidates", "2"], "expected either --from FILE or --noise SD (with --spread and --agreement)"),
        (["--candidates", "2000", "--seed", "0", "--noise", "1", "--from", "x"],
         "expected either --from FILE or --noise SD (with --spread and --agreement)"),
        (["--noise", "1", "--spread", "1"], "--agreement: missing, expected it with --noise"),
    ],
)  # fmt: skip
def test_words_of_a_design_that_mean_nothing_are_refused(words: list[str], told: str) -> None:
    assert refusal(lambda: design.run(parse("design", "--hours", "1", *words))) == told


@pytest.mark.parametrize(
    ("budgets", "extended"), [(None, False), ("400,2600", True), ("600,2500", False), ("500,2501", True)]
)
def test_what_a_design_assumes_of_recorded_curves_is_told(budgets, extended, monkeypatch, tmp_path) -> None:
    samples = SimpleNamespace(configs=("a",) * 5, hosts=("h",), budgets=(500.0, 1000.0, 2500.0), prefix=True)
    monkeypatch.setattr(design, "read_samples", lambda source, map_: samples)
    monkeypatch.setattr("stages.backtest.model.fit", lambda given: MODEL)
    words = ["design", "--from", "c.csv", "--hours", "1", *(["--budgets", budgets] if budgets else [])]
    model, ends, lines = design._model(parse(*words))
    outside = "budgets outside the recorded ones: the model is extended there, and nothing checks it"
    first = "curves like those of c.csv: 5 configurations on 1 hosts at budgets from 500 to 2500 s"
    prefix = "recorded at prefixes of one long run, not in separate short runs"
    assert lines == [first, *[outside] * extended, prefix]
    assert ends == ((500.0, 2500.0) if budgets is None else tuple(map(float, budgets.split(","))))
    samples.prefix = False
    assert design._model(parse(*words))[2] == [first, *[outside] * extended]
    assert model is MODEL


def make_tried(**over: Any) -> Tried:
    fields = {
        "design": Design("a", (60.0, 3600.0), (1, 2), ({}, {})), "hours": 12.345, "kept": 0.95, "low": 0.9389,
        "chosen": 0.9, "regret": 0.001, "entered": (8.0, 2.5), "ladders": 1000,
    }  # fmt: skip
    return Tried(**{**fields, **over})


def test_a_refusal_says_what_would_do() -> None:
    head = "no design of 7 keeps the best of 8 with probability 0.9 within 20 device-hours. What would:"
    hours = "  --hours 12.5: 2 rungs, 8 -> 2.5 candidates"
    fewer, tried = "  or fewer --candidates", make_tried()
    more = "  more hours: these buy no ladder that ends at the last budget; or a smaller last budget (--budgets)"
    assert design._refusal(SearchResult((), tried, tried, 7), WISH).splitlines() == [
        head, hours, "  --keep-best 0.93: the most that 20 device-hours buy", fewer,
    ]  # fmt: skip
    assert design._refusal(SearchResult((), None, None, 7), WISH).splitlines() == [head, more, fewer]


@pytest.mark.parametrize("margin", [0.0, -0.1])
def test_a_margin_of_nothing_is_supported_by_no_number_of_seeds(margin: float) -> None:
    wish = Wish(8, 0.9, 20.0, 60.0, 3600.0, margin)
    message = refusal(lambda: design._check_margin(MODEL, wish))
    assert message.startswith(
        f"--margin: found {margin:g}, expected at least 0.0017: what 2 x 4 cells with a seed deviation"
    )
    assert message.endswith("What would do: a larger margin, or no number of seeds up to 64 a host, but quieter hosts")


def test_a_design_assumes_what_its_model_says() -> None:
    assert design._assumptions(MODEL, WISH, ["as you say"]) == [
        "as you say",
        "8 candidates drawn from that population, on 2 hosts; no run crashes",
        "seeds apart by 0.001 at 60 s and 0.001 at 3600 s (s.d.)",
        "configurations apart by 0.01 and 0.01; both ends correlate by 0.70",
        "fresh seeds at every rung, every run from its start; a device-hour is an hour of budget, without start-up",
    ]
    steep = replace(MODEL, noise_slope=-0.5, config_slope=-0.25, hosts=())
    assert design._assumptions(steep, WISH, [])[:3] == [
        "8 candidates drawn from that population, on 1 hosts; no run crashes",
        "seeds apart by 0.0077 at 60 s and 0.001 at 3600 s (s.d.)",
        "configurations apart by 0.028 and 0.01; both ends correlate by 0.70",
    ]
    assert float(MODEL.correlation(np.array([60.0, 3600.0]))[0, 1]) == pytest.approx(0.7)


def test_a_rule_that_no_curve_can_answer_is_told_before_the_other_sentences(capsys, monkeypatch) -> None:
    """What is absent is an empty cell; the styles do not show in a pipe."""
    monkeypatch.setenv("COLUMNS", "200")
    asked = SimpleNamespace(evaluated=True, id="R1", kind="top_k", why_not="")
    cannot = SimpleNamespace(evaluated=False, id="R2", kind="fixed_data", why_not="curves do not say")
    rung = SimpleNamespace(rung="rung1", budget=250.5, tau_b=None, accuracy_all_runs=None, accuracy=0.5)
    gate = SimpleNamespace(
        gate="gate1", rung="rung1", rules=[asked, cannot], candidates=25.04, promoted=1.06, best_dropped=0.0,
        top3_dropped=0.125, blocked=1.0,
    )  # fmt: skip
    regret = SimpleNamespace(mean=None, p90=1.23456)
    method = SimpleNamespace(
        title="the rules", best_picked=0.5, best_lost=0.25, top3_lost=1.0, regret=regret, cost_share=2.0
    )
    result = SimpleNamespace(
        curves=SimpleNamespace(name="c.csv", configs=25, runs=99), rules=SimpleNamespace(name="r.yaml"), ladders=200,
        best=SimpleNamespace(config="a", final=1.25, first_in_redraws=0.9876), basis="separate runs",
        final=SimpleNamespace(text="the last value", unit="nats"), rungs=[rung], gates=[gate], methods=[method],
        statements=["The first.", "The second."],
    )  # fmt: skip
    backtest.show(cast("Any", result), console())
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert lines[:3] == [
        "Backtest of r.yaml on c.csv: 25 configurations, 99 runs, separate runs; 200 ladders",
        "What counts: the last value.",
        "The eventual best is a: 1.25 nats, first in 98.76 % of redraws of all its runs.",
    ]
    assert cells == [
        ["gate1", "250.5", "25.0", "1.1", "0.00 %", "12.50 %", "100.00 %", "", "", "50.00 %"],
        ["the rules", "50.00 %", "25.00 %", "100.00 %", "", "1.235", "200.00 %"],
    ]
    assert lines[-3:] == [
        "gate1 R2 (fixed_data): not evaluable: curves do not say; the gate is replayed as if it held",
        "The first.",
        "The second.",
    ]
