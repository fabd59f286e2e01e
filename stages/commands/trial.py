"""Try a trainer before anything is frozen: one seed twice and another one once, at the first rung's budget.

    promotion try base
    promotion try base --host gpu --json

It says whether the score is found, whether it repeats, whether seeds differ, whether the budget was kept, what the
probe reported, and what of that a rule of the study would not let pass. Nothing is recorded.
Exit status: 0 nothing stands in the way, 1 something does, 2 it could not be tried.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from itertools import count
from typing import TYPE_CHECKING, cast

from stages.domain import names
from stages.domain.corpus import DataFiles
from stages.domain.data_files import check_files
from stages.domain.errors import Refused
from stages.domain.metric import metric_of
from stages.domain.rules import BudgetKept, FixedEnvironment, threshold_in_bpb
from stages.domain.study import Study, load

if TYPE_CHECKING:
    from stages.domain.contract import HostBlock
    from stages.runners import RunResult


@dataclass(frozen=True)
class Trial:
    """One run of the three: its seed, how it ended, its score, seconds as the trainer reports them and by the wall."""

    seed: int
    status: str
    reason: str | None
    score: float | None
    printed: str | None
    reported_seconds: float | None
    wall_seconds: float
    environment: dict[str, str] | None
    probe: dict[str, str]


@dataclass(frozen=True)
class TrialFinding:
    """Something that the trials show. `blocks` says what it would not let pass; empty where nothing does."""

    what: str
    blocks: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion try`."""
    parser.add_argument("config", metavar="CONFIG", help="a configuration of params.yaml")
    parser.add_argument("--host", metavar="HOST", help="a host block; default: the first that fits this machine")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def choose_host(study: Study, wanted: str | None) -> str:
    """The host block to try in; refuses one that this machine is not."""
    from stages.hosts.machine import describe_machine, find_mismatches, require_host

    if wanted is not None:
        if wanted not in study.hosts:
            raise Refused(f"--host {wanted}: no such host block; params.yaml has {', '.join(study.hosts)}")
        require_host(wanted, study.hosts[wanted])
        return wanted
    machine = describe_machine()
    fitting = [name for name, block in study.hosts.items() if not find_mismatches(block, machine)]
    if not fitting:
        raise Refused("params.yaml: hosts: none fits this machine; `promotion host` says what differs")
    return fitting[0]


def unused_seeds(study: Study) -> tuple[int, int]:
    """Two seeds that no rung uses, so that a trial tells nothing of the study's own runs."""
    used = {seed for rung in study.rungs.values() for seed in (*rung.seeds, *rung.floor_seeds)}
    free = (seed for seed in count(1) if seed not in used)
    return next(free), next(free)


def run_trial(study: Study, config: str, host: str, seed: int, label: str) -> Trial:
    """Train one run at the first rung's budget."""
    from stages.hosts.machine import show_gpus
    from stages.progress import Live
    from stages.runners import Assignment, report_environment, runner_of

    rung = study.rungs["rung1"]
    block = study.hosts[host]
    runner = runner_of(study.runner)
    spec = runner.make_spec(
        Assignment(
            rung="rung1",
            config=config,
            host=host,
            seed=seed,
            settings=study.runner,
            knobs=study.configs[config],
            block=cast("HostBlock", block.model_dump()),
            clock=study.clock.kind,
            seconds=float(rung.budget_seconds),
            last=False,
            options=rung.with_,
        )
    )
    runner.load()
    show_gpus(block)
    began = time.monotonic()
    run = f"try/{config}/{host}/{label}"
    with Live(run, seconds=float(rung.budget_seconds), clock=study.clock.kind, stream=sys.stderr) as observer:
        result = runner.train(spec, names.CORPUS, names.SCRATCH / run, observer)
    wall = time.monotonic() - began
    result.clear()
    (names.LIVE / f"{run}.csv").unlink(missing_ok=True)
    return _read_trial(seed, result, wall, report_environment(list(block.report), result.telemetry))


def _read_trial(seed: int, result: RunResult, wall: float, environment: dict[str, str] | None) -> Trial:
    facts = result.facts or {}
    return Trial(
        seed=seed,
        status=result.status,
        reason=result.reason,
        score=facts.get("score", facts.get("val_bpb")),
        printed=facts.get("printed"),
        reported_seconds=facts.get("reported", {}).get("seconds"),
        wall_seconds=round(wall, 3),
        environment=environment,
        probe=result.telemetry.get("probe", {}),
    )


def judge_trials(study: Study, first: Trial, again: Trial, other: Trial) -> list[TrialFinding]:
    """What the trials show; `first` and `again` have one seed, `other` another."""
    metric = metric_of(study.runner)
    findings: list[TrialFinding] = []
    for trial in (first, again, other):
        if trial.status != "finished":
            reason = f"seed {trial.seed} {trial.status}: {trial.reason}"
            return [
                *findings,
                TrialFinding(reason, f"such a run has no {metric.name}, and every mean with it is missing"),
            ]
    assert first.score is not None and again.score is not None and other.score is not None
    findings.append(TrialFinding(f"{metric.name} is found: {first.printed or first.score}"))
    findings.append(_compare_repetition(study, first, again))
    findings.append(_compare_seeds(first, other))
    findings += _check_budget(study, max((first, again, other), key=lambda trial: trial.reported_seconds or 0))
    findings += _check_environment(study, first)
    return findings


def _compare_repetition(study: Study, first: Trial, again: Trial) -> TrialFinding:
    assert first.score is not None and again.score is not None
    if (first.score, first.printed) == (again.score, again.printed):
        return TrialFinding("the same seed repeats exactly")
    off = abs(first.score - again.score)
    thresholds = [
        (gate, rule_id, threshold)
        for gate, rules in study.gates.items()
        for rule_id, rule in rules.items()
        if (threshold := threshold_in_bpb(rule)) is not None and threshold <= 2 * off
    ]
    blocks = "; ".join(
        f"{gate}.{rule_id} has a threshold of {limit:g}, no more than twice that" for gate, rule_id, limit in thresholds
    )
    return TrialFinding(f"the same seed is off by {off:.6f}; `promotion replay` will say so of every run", blocks)


def _compare_seeds(first: Trial, other: Trial) -> TrialFinding:
    if first.score != other.score:
        assert first.score is not None and other.score is not None
        return TrialFinding(f"another seed makes a difference of {abs(first.score - other.score):.6f}")
    decimals = len((first.printed or f"{first.score:.6f}").partition(".")[2])
    if decimals < 6:
        return TrialFinding(
            f"another seed ends alike to {decimals} decimals, which can be chance; a longer budget would tell"
        )
    return TrialFinding(
        "another seed ends alike to the last decimal", "the trainer ignores its seed: V14 fails on such runs"
    )


def _check_budget(study: Study, slowest: Trial) -> list[TrialFinding]:
    budget = float(study.rungs["rung1"].budget_seconds)
    if slowest.reported_seconds is None:
        return [TrialFinding(f"a run took {slowest.wall_seconds:g} s of wall time, for a budget of {budget:g} s")]
    text = f"the trainer reports up to {slowest.reported_seconds:g} s, of a budget of {budget:g} s"
    rules = [(gate, name, rule) for gate, all_ in study.gates.items() for name, rule in all_.items()]
    broken = [
        f"{gate}.{name}"
        for gate, name, rule in rules
        if isinstance(rule, BudgetKept) and slowest.reported_seconds > budget * (1 + rule.tolerance)
    ]
    return [TrialFinding(text, f"{', '.join(broken)} (budget_kept) would not hold" if broken else "")]


def _check_environment(study: Study, trial: Trial) -> list[TrialFinding]:
    findings = [
        TrialFinding("the probe reports " + ", ".join(f"{key} {value}" for key, value in sorted(trial.probe.items())))
    ]
    unknown = sorted(key for key, value in (trial.environment or {}).items() if value == "unknown")
    asks = any(isinstance(rule, FixedEnvironment) for rules in study.gates.values() for rule in rules.values())
    if unknown:
        blocks = f"fixed_environment cannot see {', '.join(unknown)} change" if asks else ""
        hint = ", ".join(f"`{key}: ...`" for key in unknown)
        findings.append(
            TrialFinding(f"hosts.*.report asks for {', '.join(unknown)}; let runner.probe print {hint}", blocks)
        )
    return findings if trial.probe else findings[1:]


def run(arguments: argparse.Namespace) -> int:
    """Try, print, and return the exit status."""
    study = load()
    if arguments.config not in study.configs:
        raise Refused(f"{arguments.config}: no such configuration; params.yaml has {', '.join(study.configs)}")
    if not (names.CORPUS / "manifest.json").is_file():
        raise Refused(f"{(names.CORPUS / 'manifest.json').as_posix()} is missing; `dvc repro corpus` writes it")
    if isinstance(study.data.source, DataFiles):
        check_files(study.data.source)
    host = choose_host(study, arguments.host)
    seed, other_seed = unused_seeds(study)
    plan = (("first", seed), ("again", seed), ("other", other_seed))
    trials = [run_trial(study, arguments.config, host, number, label) for label, number in plan]
    findings = judge_trials(study, *trials)
    if arguments.json:
        value: dict[str, object] = {
            "schema": 1,
            "config": arguments.config,
            "host": host,
            "trials": [asdict(trial) for trial in trials],
            "findings": [asdict(finding) for finding in findings],
        }
        print(json.dumps(value, indent=1, sort_keys=True))
    else:
        for finding in findings:
            print(f"{'blocks' if finding.blocks else 'fine  '}  {finding.what}")
            if finding.blocks:
                print(f"        {finding.blocks}")
    return 1 if any(finding.blocks for finding in findings) else 0
