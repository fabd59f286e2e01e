"""`promotion simulate` and `design` around their figures: what the simulation is asked, and every line that is shown."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stages.backtest import design as search
from stages.backtest import mapping, simulation, simulation_result
from stages.backtest import model as models
from stages.backtest.design import SearchResult, Tried, Wish, assumed_model
from stages.backtest.mapping import Ruleset, RungSize
from stages.backtest.simulation import Design
from stages.backtest.simulation_result import Simulation
from stages.cli import build_parser
from stages.commands import design, simulate
from stages.domain.errors import Refused
from stages.domain.rules import parse_rules
from stages.terminal import console
from tests.support.snapshots import check_snapshots

MODEL = assumed_model(0.001, 0.01, 0.7, 60.0, 3600.0, 2)
SAMPLES = cast("Any", SimpleNamespace(budgets=(60.0, 600.0, 3600.0), configs=tuple("abcd")))


def parse(*words: str) -> Any:
    return build_parser(words[0]).parse_args(words)


def refusal(run: Any) -> str:
    with pytest.raises(Refused) as caught:
        run()
    return str(caught.value)


def make_rules(**changes: Any) -> Ruleset:
    """Rules of three rungs, each judged against a noise floor of two A/A runs, one, and none."""
    rules = {"R1": {"kind": "top_k", "k": 2}, "R2": {"kind": "above_noise_floor"}, "R3": {"kind": "fixed_data"}}
    sizes = {f"rung{n}": RungSize(seeds=n, floor_seeds=floor) for n, floor in ((1, 2), (2, 1), (3, 0))}
    gates = {f"gate{n}": parse_rules(rules, "test") for n in (1, 2, 3)}
    fields = {"name": "rules.yaml", "unit": "bpb", "roles": {}, "sizes": sizes, "gates": gates} | changes
    return Ruleset(**fields)


def test_the_grid_follows_the_rules_and_changes_one_factor_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(simulation, "halving_design", lambda *words: asked.append(words) or words[-1])
    assert simulate.designs_of(MODEL, SAMPLES, None, 8) == [
        "1/2, 1 seed a host", "1/3, 1 seed a host", "1/5, 1 seed a host", "1/10, 1 seed a host",
        "1/3, 2 seeds a host", "1/3, 4 seeds a host",
        "1/3, 1 seed a host, or within 2 s.e.", "1/3, 1 seed a host, or within 4 s.e.",
    ]  # fmt: skip
    assert asked[4] == (MODEL, SAMPLES.budgets, 8, 3, [2, 2, 2], 0, "1/3, 2 seeds a host")
    assert asked[7][3:6] == (3, [1, 1, 1], 4)


@pytest.mark.parametrize(
    ("changes", "budgets", "configs"),
    [
        ({}, [60.0, 600.0, 3600.0], 4),
        ({"configs": 12}, [60.0, 600.0, 3600.0], 12),
        ({"seconds": {"rung1": 1.0, "rung2": 2.0, "rung3": 3.0}}, [1.0, 2.0, 3.0], 4),
    ],
)
def test_rules_come_first_at_their_own_budgets_or_the_recorded_ones(
    changes: dict[str, Any], budgets: list[float], configs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(simulation, "scaled_rules", lambda *words: asked.append(words) or "rules")
    rules = make_rules(**changes)
    designs = simulate.designs_of(MODEL, SAMPLES, rules, 100)
    assert asked == [(rules, budgets, configs, 100)]
    assert (designs[0], len(designs)) == ("rules", 9)


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """What is asked of the model, the simulation and the result, which are stand-ins."""
    asked: list[Any] = []

    def note(name: str, value: Any) -> Any:
        return lambda *words, **more: asked.append((name, *words)) or value

    monkeypatch.chdir(tmp_path)
    Path("runs.jsonl").write_bytes(b"runs\n")
    result = SimpleNamespace(dumps=lambda: b"{}\n")
    monkeypatch.setattr(simulate, "read_samples", note("read", SAMPLES))
    monkeypatch.setattr(models, "fit", note("fit", MODEL))
    monkeypatch.setattr(models, "held_out", note("held out", "fit"))
    monkeypatch.setattr(mapping, "load_rules", note("rules", make_rules()))
    monkeypatch.setattr(simulate, "designs_of", lambda model, samples, rules, configs: f"designs of {configs}")
    monkeypatch.setattr(simulation, "simulate", note("simulate", "outcomes"))
    monkeypatch.setattr(simulation_result, "summarise", note("summarise", result))
    monkeypatch.setattr(simulate, "build_page", note("page", 3))
    monkeypatch.setattr(simulate, "show", note("show", None))
    return asked


def test_every_number_of_configurations_is_simulated_and_what_no_rule_can_answer_is_told(simulated: list[Any]) -> None:
    words = [
        "simulate",
        "--from",
        "runs.jsonl",
        "--rules",
        "r.yaml",
        "--configs",
        "4,8",
        "--ladders",
        "1",
        "--seed",
        "0",
    ]
    assert simulate.run(parse(*words, "--json", "result.json")) == 0
    assert [call for call in simulated if call[0] == "simulate"] == [
        ("simulate", MODEL, "designs of 4", 4, 1, 0),
        ("simulate", MODEL, "designs of 8", 8, 1, 0),
    ]
    sizes = [(4, "designs of 4", "outcomes"), (8, "designs of 8", "outcomes")]
    skipped = [
        "above_noise_floor: no A/A runs are declared for this rung",
        "fixed_data: curves do not say on which data they were made",
    ]
    digest = hashlib.sha256(b"runs\n").hexdigest()
    (summarised,) = (call for call in simulated if call[0] == "summarise")
    assert summarised[1:] == (SAMPLES, digest, MODEL, "fit", sizes, 0, skipped)
    assert Path("result.json").read_bytes() == b"{}\n"
    assert [call[0] for call in simulated][-1] == "show"


def test_a_floor_of_two_runs_answers_and_without_rules_nothing_is_skipped(
    simulated: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_rules()
    first = make_rules(gates={"gate1": whole.gates["gate1"]})
    monkeypatch.setattr(mapping, "load_rules", lambda path: first)
    words = ["simulate", "--from", "runs.jsonl", "--configs", "4"]
    assert simulate.run(parse(*words, "--rules", "r.yaml", "--page", "out")) == 3
    page, shown, summarised = (
        [call for call in simulated if call[0] == name] for name in ("page", "show", "summarise")
    )
    assert page == [("page", "report.simulation", b"{}\n", Path("out"))]
    assert summarised[0][-1] == ["fixed_data: curves do not say on which data they were made"]
    assert len(shown) == 1
    assert simulate.run(parse(*words)) == 0
    assert simulated[-2][-1] == []
    assert not any(call[0] == "rules" for call in simulated)
    assert sorted(path.name for path in Path().iterdir()) == ["runs.jsonl"]


@pytest.mark.parametrize(
    ("words", "good"),
    [
        (["--ladders", "1000000"], True),
        (["--ladders", "1000001"], False),
        (["--ladders", "0"], False),
        (["--seed", "-1"], False),
        (["--ladders", "0", "--seed", "-1"], False),
    ],
)
def test_ladders_and_seed_have_bounds(simulated: list[Any], words: list[str], good: bool) -> None:
    arguments = parse("simulate", "--from", "runs.jsonl", *words)
    if good:
        assert simulate.run(arguments) == 0
        return
    assert refusal(lambda: simulate.run(arguments)) == "--ladders: expected 1 to 1000000, --seed: at least 0"
    assert simulated == []


def make_simulation() -> Simulation:
    curve = {"offset": 1.23456, "scale": 0.43211, "exponent": 0.51239, "config_sd": 0.012349, "config_slope": -0.4567,
             "length": 2.34567, "kernel": "matern32", "host_part": 0.1, "noise_sd": 0.00123, "noise_slope": -0.2345,
             "likelihood": 12.3}  # fmt: skip
    row = {"name": "1/3, 1 seed a host", "rules": ["gate1 R1: one"], "seeds": [1, 1, 1],
           "entered": [100.0, 33.0, 11.26], "dropped": [0.3456, 0.2345, 0.2], "kept": 0.98765, "kept_error": 0.003,
           "chosen": 0.87654, "chosen_error": 0.2345, "top3_lost": 0.04321, "nobody": 0.0, "regret": 0.001236,
           "regret_error": 0.1, "cost_share": 0.12399}  # fmt: skip
    fit = {"budget": 60.0, "configs": 12, "error": 0.012345, "naive": 0.054321, "folds": 4,
           "coverage": [0.456, 0.789, 0.999]}  # fmt: skip
    return Simulation.model_validate({
        "schema": 1, "kind": "simulation", "source": {"name": "runs.jsonl", "sha256": "0" * 64},
        "recorded_configs": 12, "hosts": ["a", "b"], "budgets": [60.0, 3600.0], "unit": "bits per byte",
        "prefix": False, "seed": 1, "model": curve, "fit": [fit, fit | {"budget": 3600.0}],
        "sizes": [{"configs": 100, "ladders": 1000, "designs": [row, row | {"name": "rules.yaml"}]},
                  {"configs": 1000, "ladders": 10, "designs": [row]}],
        "statements": ["This is a simulation.", "The second sentence.", "The third one."],
    })  # fmt: skip


TRIED = Tried(
    design=Design("a", (60.0, 600.0, 3600.0), (1, 2, 4), tuple(
        parse_rules(rules, "test") if rules else {} for rules in (
            {"R1": {"kind": "top_k", "k": 4}, "R2": {"kind": "within_gap", "gap": 0.0012345, "of": "best"}},
            {"R1": {"kind": "top_k", "k": 2}, "R2": {"kind": "within_gap", "gap": 0.25, "of": "best"}},
            None,
        )
    )),
    hours=12.3456, kept=0.95123, low=0.93891, chosen=0.90123, regret=0.0012345, entered=(8.0, 4.5678, 2.0), ladders=1000,
)  # fmt: skip
ALONE = Tried(Design("b", (3600.0,), (1,), ({},)), 8.0, 1.0, 0.99, 0.5, 0.01, (8.0,), 1000)


def test_a_simulation_and_a_search_are_shown_as_their_snapshots_hold(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    simulate.show(make_simulation(), console())
    simulated = capsys.readouterr().out
    wish = Wish(candidates=8, keep_best=0.925, hours=20.0, first=60.0, last=3600.0)
    design._show(SearchResult((TRIED, ALONE), TRIED, TRIED, 77), wish, ["as you say", "and so on"])
    check_snapshots("simulated", {"simulate.txt": simulated, "design.txt": capsys.readouterr().out})


# Designs

ASSUMED = [
    "design",
    "--noise",
    "0.001",
    "--spread",
    "0.01",
    "--agreement",
    "0.7",
    "--budgets",
    "60,3600",
    "--hours",
    "20",
]


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """What is asked of the search, which finds a design within its hours, or with an empty list none."""
    asked: list[Any] = [TRIED]

    def find(*words: Any) -> SearchResult:
        within = tuple(tried for tried in asked if isinstance(tried, Tried))
        asked.append(words)
        return SearchResult(within, TRIED, TRIED, 77)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search, "search", find)
    monkeypatch.setattr(
        search, "to_yaml", lambda tried, model, wish, lines: f"# of {tried.design.name}, {len(lines)}\n"
    )
    return asked


@pytest.mark.parametrize("out", [None, "deep/design.yaml"])
def test_the_cheapest_design_is_printed_or_written(searched: list[Any], out: str | None, capsys) -> None:
    words = ["--candidates", "9", "--keep-best", "0.5", "--seed", "0", "--margin", "0.5"]
    assert design.run(parse(*ASSUMED, *words, *(["--out", out] if out else []))) == 0
    model, wish, seed, _ = searched[1]
    assert (wish, seed) == (Wish(9, 0.5, 20.0, 60.0, 3600.0, 0.5), 0)
    assert (model.hosts, model.noise_sd) == (("host1", "host2"), 0.001)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "This is a simulation, and no evidence of any study. It assumes:"
    assert lines[1] == "  noise, spread and agreement as you say, the first two alike at every budget; hosts agree"
    text = "# of a, 5"
    if out is None:
        assert lines[-1] == text
    else:
        assert lines[-1] == f"wrote {out}: put its sections in the place of those of params.yaml"
        assert Path(out).read_bytes() == f"{text}\n".encode()


def test_without_a_design_within_the_hours_nothing_is_shown(searched: list[Any], capsys) -> None:
    searched.clear()
    message = refusal(lambda: design.run(parse(*ASSUMED)))
    assert message == (
        "no design of 77 keeps the best of 12 with probability 0.95 within 20 device-hours. What would:\n"
        "  --hours 12.5: 3 rungs, 8 -> 4.57 -> 2 candidates\n"
        "  --keep-best 0.93: the most that 20 device-hours buy\n"
        "  or fewer --candidates"
    )
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--spread", "0.01"], "--agreement: missing, expected it with --noise"),
        (["--agreement", "0.7"], "--spread: missing, expected it with --noise"),
        (["--spread", "0.01", "--agreement", "0.7"],
         "--budgets: missing, expected FIRST,LAST in seconds, since nothing recorded tells them"),
        (["--spread", "0.01", "--agreement", "0.7", "--budgets", "1"],
         "--budgets: found '1', expected FIRST,LAST in seconds, such as 120,43200"),
        (["--spread", "0.01", "--agreement", "0.7", "--budgets", "1,2,3"],
         "--budgets: found '1,2,3', expected FIRST,LAST in seconds, such as 120,43200"),
        (["--spread", "0.01", "--agreement", "0.7", "--budgets", "one,2"],
         "--budgets: found 'one,2', expected FIRST,LAST in seconds, such as 120,43200"),
    ],
)  # fmt: skip
def test_an_assumption_that_is_missing_is_named(words: list[str], told: str) -> None:
    assert refusal(lambda: design._model(parse("design", "--hours", "1", "--noise", "0.001", *words))) == told


def test_a_margin_is_supported_by_the_most_seeds_or_refused_with_how_many_would_do() -> None:
    smallest = search.smallest_margin(0.001, 2, search.MOST_SEEDS)
    assert smallest is not None

    def wish(margin: float | None) -> Wish:
        return Wish(8, 0.9, 20.0, 60.0, 3600.0, margin)

    design._check_margin(MODEL, wish(None))
    design._check_margin(MODEL, wish(smallest))
    assert refusal(lambda: design._check_margin(MODEL, wish(0.001))) == (
        "--margin: found 0.001, expected at least 0.0017: what 2 x 4 cells with a seed deviation of 0.001 can support; two "
        "equal configurations would pass less in fewer than 80 % of studies. What would do: a larger margin, or 10 seeds a "
        "host at the last rung"
    )
