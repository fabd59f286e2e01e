"""The dvc.yaml of a rung, as text: the one place that says what a run and a gate depend on and make.

    python -m stages.rungs               write stages/rungN/dvc.yaml for every rung of params.yaml
    python -m stages.rungs --hindsight   write stages/hindsight/dvc.yaml too, which trains what was stopped

The files are committed, because DVC reads files; a test holds them equal to what this module writes.
One dvc.yaml a rung keeps each dvc.lock small: DVC parses and writes a whole lock at every stage.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from stages.domain import files, names
from stages.domain.errors import Refused, main_guard
from stages.domain.hindsight import FOLDER
from stages.domain.study import Study, load

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


def has_floor(study: Study, rung: str) -> bool:
    """Whether a rung has a stage of A/A runs: one with a reference, and with floor seeds, be it none."""
    return "reference" in study.roles and "floor_seeds" in study.rungs[rung].model_fields_set


def rung_yaml(study: Study, rung: str, *, earlier: bool = False) -> str:
    """The text of stages/<rung>/dvc.yaml.

    Runs of a command depend on the files of its trainer; the built-in runner's are in the contract's digest alone.
    DVC hands commands to a shell. Names and seeds stand in this file, where they were valid when it was written, so
    that no text of params.yaml reaches a command. `earlier`: as versions to 0.1 wrote it, with variables that DVC fills
    in from params.yaml; `promotion verify` still knows it.
    """
    number = names.number_of(rung)
    ladder = study.rungs[rung]
    if earlier:
        hosts, reference = " ${hosts}", "${roles.reference}"
        configs, seeds, floor_seeds = " ${configs}", f" ${{rungs.{rung}.seeds}}", f" ${{rungs.{rung}.floor_seeds}}"
    else:
        hosts, reference = _axis(study.hosts), study.roles.get("reference", "")
        configs, seeds, floor_seeds = _axis(study.configs), _axis(ladder.seeds), _axis(ladder.floor_seeds)
    command = study.command
    trainer = "".join(f"      - {json.dumps(path)}\n" for path in sorted(command.files)) if command else ""
    floor = _FLOOR.format(n=number, hosts=hosts, reference=reference, floor_seeds=floor_seeds, trainer=trainer)
    promotions = f"artifacts/gates/gate{number - 1}/promotions.yaml"
    return _HEAD.format(
        n=number,
        vars="vars:\n  - ../../params.yaml\n" if earlier else "",
        configs=configs,
        hosts=hosts,
        seeds=seeds,
        trainer=trainer,
        if_ticket=f"if gate {number - 1} let it through" if number > 1 else "every one of them",
        ticket=f"      - {promotions}:\n          - ${{item.config}}\n" if number > 1 else "",
        floor=floor if has_floor(study, rung) else "",
        before=f"      - {promotions}\n" if number > 1 else "",
    )


def hindsight_yaml(study: Study) -> str:
    """The text of stages/hindsight/dvc.yaml."""
    last = study.last_rung
    axes = {"configs": _axis(study.configs), "hosts": _axis(study.hosts), "seeds": _axis(study.rungs[last].seeds)}
    return _HINDSIGHT.format(n=names.number_of(last), **axes)


def _axis(values: Iterable[str | int]) -> str:
    """The values of an axis of a matrix, one a line: quoted, because YAML takes many a name for something else."""
    return "".join(f"\n        - {json.dumps(value)}" for value in values) or " []"


def write_rungs(study: Study, root: Path = Path(), *, hindsight: bool = False) -> None:
    """Write the dvc.yaml of every rung of a study under `root`, and take away other rungs with their locks.

    That of hindsight is written where there is one already, or `hindsight` asks for it.
    """
    for rung in study.rungs:
        files.write_whole(root / "stages" / rung / "dvc.yaml", rung_yaml(study, rung).encode("utf-8"))
    for folder in (root / "stages").glob("rung[0-9]*"):
        if folder.is_dir() and names.number_of(folder.name) > len(study.rungs):
            shutil.rmtree(folder)
    extra = root / "stages" / FOLDER / "dvc.yaml"
    if len(study.rungs) < 2:
        shutil.rmtree(extra.parent, ignore_errors=True)
    elif hindsight or extra.is_file():
        files.write_whole(extra, hindsight_yaml(study).encode("utf-8"))


def main() -> None:
    """Write the rungs that params.yaml lists."""
    if sys.argv[1:] not in ([], ["--hindsight"]):
        raise Refused("usage: python -m stages.rungs [--hindsight]")
    write_rungs(load(names.PARAMS), hindsight=sys.argv[1:] == ["--hindsight"])


if __name__ == "__main__":
    main_guard(main)
