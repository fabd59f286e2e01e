"""One run: a configuration on a host with a seed, at a rung. Or, without a ticket, the record that it was stopped.

    python -m stages.run rung3 d2-ar64 cpu-fp32 301            (run by `dvc repro`)
    python -m stages.run rung3 d2-ar64 cpu-fp32 901 --floor    an A/A run of the reference, which needs no ticket
    python -m stages.run rung5 d2-ar64 cpu-fp32 501 --hindsight    what was stopped, after the last decision

Reads artifacts/protocol/rungN.json, its line of the previous gate's promotions.yaml and its own configuration.
Writes artifacts/records/.../SEED.json (the evidence) and artifacts/traces/.../SEED/ (the curve); what only its machine
and its clock say goes elsewhere (`stages/dvcfiles/telemetry.py`). The record is written last and whole, so a run that
is killed leaves no evidence. Torch is imported only if something trains.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.domain import canonical, files, names, promotions, yamlio
from stages.domain.contract import Contract, read_open
from stages.domain.errors import Invalid, Refused, main_guard

if TYPE_CHECKING:
    from stages.domain.hindsight import LastDecision
    from stages.runners import Runner, RunnerJson

CURVE_HEADER = b"step,tokens,seconds,train_loss,lr_factor\n"
Json = dict[str, Any]


@dataclass(frozen=True)
class RequestedRun:
    """What the command line asks for, under the contract of its rung.

    `last` is the recorded decision of the last gate, for a run in hindsight alone: its record names it.
    """

    contract: Contract
    config: str
    host: str
    seed: int
    purpose: str
    last: LastDecision | None = None

    @property
    def id(self) -> str:
        """The run's one name: rung/config/host/seed."""
        return names.run_id(self.contract.rung, self.config, self.host, self.seed, self.purpose)

    def make_record(self, status: str, reason: str | None, **content: Any) -> Json:
        """The record of the run; `content` is environment, spec and facts of one that trained."""
        record = self.contract.make_record(
            config=self.config,
            host=self.host,
            seed=self.seed,
            purpose=self.purpose,
            status=status,
            reason=reason,
            **content,
        )
        return {**record, "decision": self.last.digest} if self.last else record


def find_undeclared(run: RequestedRun) -> str | None:
    """What of a run the frozen rules do not ask for, or None where they ask for all of it."""
    contract, config = run.contract, run.config
    seeds = contract.floor_seeds if run.purpose == "floor" else contract.seeds
    reference = contract.roles.get("reference")
    if run.host not in contract.hosts:
        return f"host {run.host} is not among {', '.join(contract.hosts)}"
    if run.seed not in seeds:
        return f"seed {run.seed} is not among {', '.join(map(str, seeds)) or 'none'}"
    if run.purpose == "floor" and config != reference:
        return f"{config} is not the reference, {reference}"
    if contract.configs is not None and config not in contract.configs:
        return f"configuration {config} is not among those that {contract.gate} froze"
    return None


def read_ticket(rung: str, config: str) -> promotions.Ticket:
    """The configuration's ticket for a rung. At the first rung everybody has one."""
    gate = names.gate_before(rung)
    if gate is None:
        return "true"
    path = names.promotions_path(gate)
    tickets = promotions.read(path)
    if config not in tickets:
        raise Refused(f"{path.as_posix()}: no line for {config}; was it added to params.yaml after {gate} decided?")
    return tickets[config]


def write_outputs(
    record: Json, trace: Mapping[str, bytes], large: Mapping[str, Callable[[Path], None]] | None = None
) -> None:
    """Write a run's outputs: the trace first, the record last. `large` holds writers of files, by name."""
    run = names.run_id(record["rung"], record["config"], record["host"], record["seed"], record["purpose"])
    folder = names.trace_path(run)
    for name, write in (large or {}).items():
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / name)
    for name, data in trace.items():
        files.write_whole(folder / name, data)
    files.write_whole(names.record_path(run), canonical.dumps(record))


def read_knobs(config: str) -> Json:
    """The configuration's knobs from params.yaml."""
    knobs = _read_section("configs").get(config)
    if not isinstance(knobs, dict):
        raise Invalid(f"params.yaml: configs.{config}: missing, but {config} is to be trained")
    return knobs


def find_altered_knob(config: str) -> str | None:
    """A knob of a configuration that is not the one that the first gate froze, or None where all are.

    The contract of a later rung holds them through the chain of locks alone, so they are read from the first one.
    """
    frozen = (read_open("rung1").configs or {}).get(config, {})
    now = read_knobs(config)
    altered = sorted(key for key in {*frozen, *now} if repr(frozen.get(key)) != repr(now.get(key)))
    if not altered:
        return None
    key = altered[0]
    return f"configs.{config}.{key}: found {now.get(key)!r}, but gate1 froze {frozen.get(key)!r}"


def _read_section(section: str) -> Json:
    value = yamlio.read(names.PARAMS, "run this in the root of a study").get(section)
    return value if isinstance(value, dict) else {}


def _refuse_undeclared(gate: str, problem: str) -> tuple[str, str]:
    """The status of a run that no lock asks for: refused, save in an exploratory study, which asks what if."""
    if _read_section("study").get("mode") != "exploratory":
        lock = names.lock_path(gate).as_posix()
        raise Refused(f"{lock}: {problem}: no rule asks for this run; look at params.yaml, then `promotion freeze`")
    return "unrun", f"only an exploratory study asks for it: {problem}"


def find_status(run: RequestedRun) -> tuple[str, str]:
    """(status, reason) of a run that trains nothing; the status of one that trains is empty.

    What nobody froze is refused, or, in an exploratory study, recorded as unrun.
    """
    rung = run.contract.rung
    before = names.gate_before(rung)
    if problem := find_undeclared(run):
        return _refuse_undeclared(run.contract.gate, problem)
    if run.last and run.config in run.last.decision.candidates:
        return "unrun", run.last.ran_at
    ticket = "true" if run.purpose != "candidate" else read_ticket(rung, run.config)
    if ticket == "what-if":
        return "unrun", f"only an exploratory {before} promotes it"
    if ticket != "true":
        return "stopped", f"{before} did not promote it"
    problem = find_altered_knob(run.config)
    return _refuse_undeclared("gate1", problem) if problem else ("", "")


def check_place(run: RequestedRun, runner: Runner) -> None:
    """Refuse to train where the machine, the runner or the corpus is not the frozen one."""
    from stages.domain.study import Host
    from stages.hosts.machine import require_host
    from stages.runners import Folder

    contract = run.contract
    require_host(run.host, Host.model_validate(contract.hosts[run.host]))
    digest = runner.digest(Folder())
    if digest != contract.runner:
        raise Refused(
            f"{runner.title}: found sha256 {digest}, expected the frozen {contract.runner}; "
            "take the change back, or freeze it with `promotion freeze`"
        )
    runner.check_corpus(contract.corpus, names.CORPUS)


def train(run: RequestedRun) -> None:
    """Train a run here and write its record and trace. Raises before training if anything is not as frozen."""
    from stages.hosts import orphans, processes
    from stages.runners import assign, runner_of

    started = time.perf_counter()
    processes.watch_parent()
    contract = run.contract
    runner = runner_of(contract.settings)
    check_place(run, runner)
    spec = runner.make_spec(assign(contract, read_knobs(run.config), run.config, run.host, run.seed))
    with processes.hold_lock(run.id, f"{run.id} is being trained"):
        if orphans.restore_outputs(run.id, run.make_record("finished", None, spec=spec)):
            print(f"{run.id}: finished after its DVC was killed; that record is taken up", file=sys.stderr)
        else:
            _train_and_write(run, runner, spec, started)
        orphans.settle_outputs(run.id)


def _train_and_write(run: RequestedRun, runner: Runner, spec: RunnerJson, started: float) -> None:
    """Train, and write record and trace. `started` is the `perf_counter` at which the process began with the run."""
    from stages.dvcfiles import telemetry
    from stages.hosts.machine import git_commit
    from stages.runners import report_environment

    result, observer = _run_spec(run, runner, spec)
    record = run.make_record(
        result.status,
        result.reason,
        environment=report_environment(run.contract.hosts[run.host]["report"], result.telemetry),
        spec=spec,
        facts=result.facts,
    )
    measured = {**result.telemetry, "status": result.status, "commit": git_commit()}
    measured["process_seconds"] = round(time.perf_counter() - started, 3)
    md5 = files.md5_bytes(canonical.dumps(record))
    telemetry.store(md5, telemetry.dumps(run.id, md5, measured))
    write_outputs(record, result.trace, {} if run.last else result.large)  # nobody uses the weights of what was stopped
    result.clear()  # not before: a process that dies in between must not have trained for nothing
    observer.done(record, result.telemetry)


def _run_spec(run: RequestedRun, runner: Runner, spec: RunnerJson) -> tuple[Any, Any]:
    """The result of a run, and the observer that followed it."""
    from stages.domain.study import Host
    from stages.hosts.machine import require_host, show_gpus
    from stages.progress import Live

    runner.load()
    # Again: torch is here now, and knows which GPU it uses.
    block = Host.model_validate(run.contract.hosts[run.host])
    require_host(run.host, block)
    show_gpus(block)
    observer = Live(run.id, seconds=run.contract.budget_seconds, clock=run.contract.clock, stream=sys.stderr)
    with observer:
        result = runner.train(spec, names.CORPUS, names.SCRATCH / run.id, observer)
    return result, observer


def main() -> None:
    """Parse the command line, look at the ticket, and train or record that nothing was trained."""
    words, options = sys.argv[1:5], sys.argv[5:]
    known = options in ([], ["--floor"], ["--hindsight"])
    if len(words) != 4 or not known or not words[3].isdigit() or not all(names.is_name(word) for word in words[:3]):
        raise Refused("usage: python -m stages.run RUNG CONFIG HOST SEED [--floor | --hindsight]")
    contract, purpose = read_open(words[0]), options[0].removeprefix("--") if options else "candidate"
    last = None
    if purpose == "hindsight":
        from stages.domain.hindsight import read_last_decision  # imports what a stopped run must not pay for

        last = read_last_decision(contract)
    run = RequestedRun(contract, words[1], words[2], int(words[3]), purpose, last)
    status, reason = find_status(run)
    if not status:
        if _read_section("study").get("mode") == "exploratory":
            raise Refused(
                f"{run.id}: its evidence is not here, and an exploratory study trains nothing; `dvc pull` (where a "
                "DVC remote is set up) brings what was trained, and `promotion what-if` asks the ledger alone"
            )
        train(run)
        return
    write_outputs(run.make_record(status, reason), {"curve.csv": CURVE_HEADER})


if __name__ == "__main__":
    main_guard(main)
