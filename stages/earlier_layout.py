"""The earlier layout of DVC's files, as `promotion verify` meets it in older commits: a dvc.yaml for every rung.

Nothing writes it any more, and no change of `stages/rungs.py` may change how a past commit is read, so its texts stand
here once more. stages/rungN/dvc.yaml had a matrix of configuration, host and seed, tickets were lines of
promotions.yaml, and a run was given its knobs from params.yaml. In the earliest commits the axes were variables of DVC.
"""

from __future__ import annotations

import json

from stages.domain import names
from stages.domain.hindsight import FOLDER
from stages.domain.promotions import Ticket
from stages.domain.runs import Run, hindsight_runs, runs_of
from stages.domain.study import Study
from stages.rungs import PipelineFile, format_axis, has_floor

_HEAD = """\
# Rung {n}: a run for every configuration, host and seed, then the gate that judges them.
# Written by `python -m stages.rungs`. The graph is static and the promotion is data: every configuration is listed,
# and one without a ticket from the gate before is recorded as stopped.
{vars}stages:
  run:
    desc: "Rung {n}: train a configuration on a host with a seed, {if_ticket}"
    wdir: ../..
    matrix:
      config:{configs}
      host:{hosts}
      seed:{seeds}
    cmd: python -m stages.run rung{n} ${{item.config}} ${{item.host}} ${{item.seed}}
    deps:
      - artifacts/protocol/rung{n}.json
{trainer}    params:
      - configs.${{item.config}}
{ticket}    outs:
      - artifacts/records/rung{n}/${{item.config}}/${{item.host}}/${{item.seed}}.json
      - artifacts/traces/rung{n}/${{item.config}}/${{item.host}}/${{item.seed}}
{floor}  gate:
    desc: "Gate {n}: judge rung {n} by the frozen rules and hand out the tickets"
    wdir: ../..
    cmd: python -m stages.gate rung{n}
    deps:
      - artifacts/protocol/rung{n}.json
      - artifacts/records/rung{n}
{before}      - stages/domain
      - stages/gate.py
    params:
      - study.mode
      - gates.gate{n}
      - roles
    outs:
      - artifacts/gates/gate{n}/decision.json
      - artifacts/gates/gate{n}/promotions.yaml
"""

#: Between the runs and the gate, where a study has a reference and says how often to repeat it.
_FLOOR = """\
  floor:
    desc: "Rung {n}: A/A runs of the reference, from which the noise floor is estimated"
    wdir: ../..
    matrix:
      host:{hosts}
      seed:{floor_seeds}
    cmd: python -m stages.run rung{n} {reference} ${{item.host}} ${{item.seed}} --floor
    deps:
      - artifacts/protocol/rung{n}.json
{trainer}    params:
      - configs.{reference}
    outs:
      - artifacts/records/rung{n}/{reference}/${{item.host}}/floor-${{item.seed}}.json
      - artifacts/traces/rung{n}/{reference}/${{item.host}}/floor-${{item.seed}}
"""

#: Outputs and records lie apart from those of the rungs: `dvc repro` at the root never waits for any of them.
#: `summary` also writes ledger/hindsight.jsonl, which is no output on purpose: the site reads the folder ledger/.
_HINDSIGHT = """\
# Hindsight: what was stopped before rung {n} trains at its budget, once the last decision is recorded in the ledger.
# Written by `python -m stages.rungs --hindsight`. Every configuration is listed; what ran at rung {n} trains nothing.
stages:
  run:
    desc: "Hindsight: train at the budget of rung {n} a configuration that was stopped before it"
    wdir: ../..
    matrix:
      config:{configs}
      host:{hosts}
      seed:{seeds}
    cmd: python -m stages.run rung{n} ${{item.config}} ${{item.host}} ${{item.seed}} --hindsight
    deps:
      - artifacts/protocol/rung{n}.json
      - ledger/decisions.jsonl
    params:
      - configs.${{item.config}}
    outs:
      - artifacts/hindsight/records/${{item.config}}/${{item.host}}/${{item.seed}}.json
      - artifacts/hindsight/traces/${{item.config}}/${{item.host}}/${{item.seed}}
  summary:
    desc: "What the gates dropped, what the ladder cost in regret, and what else its device-hours would have bought"
    wdir: ../..
    cmd: python -m stages.confidence.hindsight_stage
    deps:
      - artifacts/hindsight/records
      - ledger/decisions.jsonl
      - ledger/runs.jsonl
      - locks
      - stages/confidence
      - stages/domain
      - stages/summary
    outs:
      - artifacts/hindsight/hindsight.json
    metrics:
      - artifacts/hindsight/metrics.json
"""


def earlier_file(study: Study, rung: str, *, variables: bool = False) -> PipelineFile:
    """The dvc.yaml of a rung or of hindsight; `variables` as in the earliest commits."""
    runs = hindsight_runs(study) if rung == FOLDER else runs_of(study, rung)
    text = _hindsight_yaml(study) if rung == FOLDER else _rung_yaml(study, rung, variables)
    template = text if rung == FOLDER else _rung_yaml(study, rung, variables=True)  # is shorter, and plans the same
    others = ("summary" if rung == FOLDER else "gate",)
    return PipelineFile(f"stages/{rung}", {_stage_name(run): run for run in runs}, others, text, template)


def _stage_name(run: Run) -> str:
    return run.stage_name if run.purpose == "floor" else f"run@{run.config}-{run.host}-{run.seed}"


def _rung_yaml(study: Study, rung: str, variables: bool) -> str:
    number = names.number_of(rung)
    ladder = study.rungs[rung]
    if variables:
        hosts, reference = " ${hosts}", "${roles.reference}"
        configs, seeds, floor_seeds = " ${configs}", f" ${{rungs.{rung}.seeds}}", f" ${{rungs.{rung}.floor_seeds}}"
    else:
        hosts, reference = format_axis(study.hosts), study.roles.get("reference", "")
        configs, seeds = format_axis(study.configs), format_axis(ladder.seeds)
        floor_seeds = format_axis(ladder.floor_seeds)
    command = study.command
    trainer = "".join(f"      - {json.dumps(path)}\n" for path in sorted(command.files)) if command else ""
    floor = _FLOOR.format(n=number, hosts=hosts, reference=reference, floor_seeds=floor_seeds, trainer=trainer)
    promotions = tickets_path(f"gate{number - 1}")
    return _HEAD.format(
        n=number,
        vars="vars:\n  - ../../params.yaml\n" if variables else "",
        configs=configs,
        hosts=hosts,
        seeds=seeds,
        trainer=trainer,
        if_ticket=f"if gate {number - 1} let it through" if number > 1 else "every one of them",
        ticket=f"      - {promotions}:\n          - ${{item.config}}\n" if number > 1 else "",
        floor=floor if has_floor(study, rung) else "",
        before=f"      - {promotions}\n" if number > 1 else "",
    )


def _hindsight_yaml(study: Study) -> str:
    last = study.last_rung
    seeds = format_axis(study.rungs[last].seeds)
    axes = {"configs": format_axis(study.configs), "hosts": format_axis(study.hosts), "seeds": seeds}
    return _HINDSIGHT.format(n=names.number_of(last), **axes)


def tickets_path(gate: str) -> str:
    """Where the tickets of a gate were."""
    return f"artifacts/gates/{gate}/promotions.yaml"


def dump_tickets(tickets: dict[str, Ticket]) -> bytes:
    """The bytes of promotions.yaml: a line each, sorted by name."""
    return "".join(f"{name}: {tickets[name]}\n" for name in sorted(tickets)).encode()
