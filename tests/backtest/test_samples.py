"""Scores of curves as means by configuration, host and budget, with the noise that their runs show."""

from __future__ import annotations

import numpy as np
import pytest

from stages.backtest import curves
from stages.backtest import samples as module
from stages.backtest.curves import DIVERGED, FINISHED
from stages.backtest.samples import from_curves, from_ledger
from stages.domain import canonical
from stages.domain.errors import Invalid
from tests.backtest.curves_csv import COLUMNS, HEADER, curve_map, rows, write
from tests.backtest.test_engine import record

#: Two runs of four configurations at budgets 1 and 2; what a run is worse at 1 it is twice as much worse at 2.
VALUES = {name: [[3.0 + n, 2.0 + n], [3.1 + n, 2.2 + n]] for n, name in enumerate("abcd")}


def read(path, lines, header=HEADER, **over):
    known = curve_map(**over)
    return from_curves(curves.read_curves(write(path / "c.csv", lines, header), known), known)


def test_curves_of_one_host_are_means_of_their_runs_in_their_own_unit(tmp_path):
    samples = read(tmp_path, rows(VALUES))
    assert (samples.configs, samples.hosts, samples.budgets) == (tuple("abcd"), ("",), (1.0, 2.0))
    assert samples.means[:, 0] == pytest.approx(np.array([[3.05 + n, 2.1 + n] for n in range(4)]))
    assert (samples.counts == 2).all()
    assert (samples.unit, samples.prefix) == ("nats", True)
    assert samples.freedom.tolist() == [4, 4]
    assert samples.within == pytest.approx([4 * 2 * 0.05**2, 4 * 2 * 0.1**2])


def test_runs_that_are_followed_share_their_luck_between_budgets_and_others_do_not(tmp_path):
    assert read(tmp_path, rows(VALUES)).run_correlation == pytest.approx(np.ones((2, 2)))
    anew = [f"{line},{line.split(',')[2]}" for line in rows(VALUES)]
    columns, budget = {**COLUMNS, "scheduled": "planned"}, {"unit": "step", "prefix": False}
    samples = read(tmp_path, anew, f"{HEADER},planned", columns=columns, budget=budget)
    assert (samples.run_correlation.tolist(), samples.prefix) == (np.eye(2).tolist(), False)


def test_hosts_are_told_apart_where_there_are_two(tmp_path):
    lines = [
        f"{line},{host}" for host, shift in (("h1", 0.0), ("h2", 0.5)) for line in rows(
            {name: [[value + shift for value in run] for run in runs] for name, runs in VALUES.items()}
        )
    ]  # fmt: skip
    samples = read(tmp_path, lines, f"{HEADER},host", columns={**COLUMNS, "host": "host"})
    assert samples.hosts == ("h1", "h2")
    assert samples.means[:, 1] == pytest.approx(samples.means[:, 0] + 0.5)


def test_budgets_that_are_no_rung_and_values_of_broken_runs_are_left_out(tmp_path):
    lines = [
        f"{line},finished" for line in rows({name: [[*run, 1.0] for run in runs] for name, runs in VALUES.items()})
    ]
    lines += ["a,9,1,3.9,finished", "a,9,2,,diverged"]
    over = {"columns": {**COLUMNS, "status": "status"}, "final": {"kind": "last_budget"}}
    samples = read(tmp_path, lines, f"{HEADER},status", **over)
    assert samples.budgets == (1.0, 2.0)
    assert samples.counts[0, 0].tolist() == [3, 2]
    assert samples.means[0, 0] == pytest.approx([(3.0 + 3.1 + 3.9) / 3, 2.1])


def test_curves_without_a_second_run_anywhere_show_no_noise(tmp_path):
    with pytest.raises(Invalid, match="no noise was measured: no configuration has two runs"):
        read(tmp_path, rows({name: runs[:1] for name, runs in VALUES.items()}))


def test_a_model_needs_four_configurations_and_two_budgets(tmp_path):
    three = {name: VALUES[name] for name in "abc"}
    message = "expected at least 4 at 2 or more: a model of curves needs that many"
    with pytest.raises(Invalid, match=f"found 3 configurations at 2 budgets, {message}"):
        read(tmp_path, rows(three))
    one = {name: [run[:1] for run in runs] for name, runs in VALUES.items()}
    over = {"rungs": {"rung1": 1.0}, "final": {"kind": "last_budget"}}
    with pytest.raises(Invalid, match=f"found 4 configurations at 1 budgets, {message}"):
        read(tmp_path, rows(one), **over)


@pytest.mark.parametrize(("most", "fits"), [(16, True), (15, False)])
def test_a_model_of_too_many_is_refused(tmp_path, monkeypatch, most, fits):
    """Four configurations, each with its covariance of one host at two budgets."""
    monkeypatch.setattr(module, "MAX_ENTRIES", most)
    if fits:
        assert read(tmp_path, rows(VALUES)).configs == tuple("abcd")
        return
    message = "found 4 configurations, 1 hosts, 2 budgets, expected fewer: a model of so many takes too much memory"
    with pytest.raises(Invalid, match=message):
        read(tmp_path, rows(VALUES))


def test_a_ledger_is_a_file_of_a_bounded_size(tmp_path, monkeypatch):
    path = tmp_path / "runs.jsonl"
    with pytest.raises(Invalid) as caught:
        from_ledger(path)
    assert str(caught.value) == f"{path.as_posix()} is missing; name a ledger, such as ledger/runs.jsonl"
    path.write_bytes(b"{\n")
    monkeypatch.setattr(module, "MAX_BYTES", 1)
    with pytest.raises(Invalid) as caught:
        from_ledger(path)
    assert str(caught.value) == f"{path.as_posix()}: 2 bytes, expected at most 1"
    monkeypatch.setattr(module, "MAX_BYTES", 2)
    with pytest.raises(Invalid, match="line 1"):
        from_ledger(path)


def a_line(config, host, seed, rung, value, purpose="candidate"):
    body = record(config, host, seed, value, FINISHED if value else DIVERGED, purpose).model_dump(by_alias=True)
    body |= {"rung": f"rung{rung}", "gate": f"gate{rung}", "budget": {"clock": "rated", "seconds": 10.0 * rung}}
    return canonical.dumps(body)


def test_a_ledger_is_read_as_means_and_its_floor_as_noise_alone(tmp_path):
    lines = [
        a_line(f"c{n}", host, 31, rung, 1_000_000 + 1000 * n + rung)
        for n in range(4)
        for host in ("h1", "h2")
        for rung in (3, 4)
    ]
    lines.append(a_line("c0", "h1", 32, 3, 1_000_003 + 500))
    lines += [a_line("c1", "h2", seed, 4, 2_000_000 + 100 * seed, "floor") for seed in (91, 92, 93)]
    lines.append(a_line("c2", "h1", 32, 4, None))
    path = tmp_path / "runs.jsonl"
    path.write_bytes(b"".join(lines))
    samples = from_ledger(path)
    assert (samples.name, samples.configs, samples.hosts) == (path.as_posix(), ("c0", "c1", "c2", "c3"), ("h1", "h2"))
    assert (samples.budgets, samples.unit, samples.prefix) == ((30.0, 40.0), "bits per byte", False)
    assert samples.means[:, 1] == pytest.approx(
        np.array([[1 + n / 1000 + 3e-6, 1 + n / 1000 + 4e-6] for n in range(4)])
    )
    assert samples.means[0, 0, 0] == pytest.approx(1.000253)
    assert samples.counts.tolist() == [[[2, 1], [1, 1]], *[[[1, 1], [1, 1]]] * 3]
    assert samples.freedom.tolist() == [1, 2]
    assert samples.within == pytest.approx([2 * 0.00025**2, 2 * 0.0001**2])
    assert samples.run_correlation.tolist() == np.eye(2).tolist()


def test_a_configuration_that_a_host_never_ran_is_not_known_there(tmp_path):
    lines = [
        a_line(f"c{n}", host, 31, rung, 1_000_000 + n) for n in range(4) for host in ("h1", "h2") for rung in (3, 4)
    ]
    lines += [a_line("c0", "h1", 32, 3, 1_100_000)]
    path = tmp_path / "runs.jsonl"
    path.write_bytes(b"".join(line for at, line in enumerate(lines) if at not in (3, 5)))
    samples = from_ledger(path)
    assert np.argwhere(np.isnan(samples.means)).tolist() == [[0, 1, 1], [1, 0, 1]]
    assert np.argwhere(samples.counts == 0).tolist() == [[0, 1, 1], [1, 0, 1]]


@pytest.mark.parametrize(
    ("groups", "correlation"),
    [
        ([], []),
        ([[[1.0, 2.0]]], []),  # one run has no deviation
        ([[[1.0, 2.0], [3.0, 1.0]]], [[1.0, -1.0], [-1.0, 1.0]]),
        ([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]]], [[1.0, 1.0], [1.0, 1.0]]),
        ([[[1.0, 2.0], [3.0, 2.0]]], [[1.0, 0.0], [0.0, 0.0]]),  # the second never varies
        # deviations of each configuration from its own mean, not from that of all
        ([[[1.0, 2.0], [3.0, 4.0]], [[11.0, 4.0], [13.0, 2.0]]], [[1.0, 0.0], [0.0, 1.0]]),
    ],
)
def test_runs_deviate_from_the_mean_of_their_own_configuration(groups, correlation):
    assert np.array(module._correlation(groups)) == pytest.approx(np.array(correlation))


def test_runs_that_lack_a_budget_say_nothing_of_how_budgets_go_together(tmp_path):
    """The third run of a, off at the first budget alone, would spoil the correlation of 1."""
    samples = read(tmp_path, [*rows(VALUES), "a,2,1,9.9"])
    assert samples.run_correlation == pytest.approx(np.ones((2, 2)))
    assert samples.counts[0, 0].tolist() == [3, 2]


def test_some_configurations_keep_the_noise_of_all(tmp_path):
    samples = read(tmp_path, rows(VALUES))
    some = samples.only(np.array([1, 3]))
    assert (some.configs, some.hosts, some.budgets) == (("b", "d"), samples.hosts, samples.budgets)
    assert (some.means == samples.means[[1, 3]]).all() and (some.counts == samples.counts[[1, 3]]).all()
    assert (some.within is samples.within, some.freedom is samples.freedom) == (True, True)
    assert (some.unit, some.prefix, some.name) == (samples.unit, samples.prefix, samples.name)
