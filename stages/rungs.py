"""The dvc.yaml of a rung, as text: the one place that says what a run and a gate depend on and make.

    python -m stages.rungs           write stages/rungN/dvc.yaml for every rung of params.yaml

The files are committed, because DVC reads files; a test holds them equal to what this module writes.
One dvc.yaml a rung keeps each dvc.lock small: DVC parses and writes a whole lock at every stage.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from stages.domain import files, names
from stages.domain.errors import main_guard
from stages.domain.study import Study, load

_HEAD = """\
# Rung {n}: a run for every configuration, host and seed, then the gate that judges them.
# Written by `python -m stages.rungs`. The graph is static and the promotion is data: every configuration is listed,
# and one without a ticket from the gate before is recorded as stopped.
vars:
  - ../../params.yaml
stages:
  run:
    desc: "Rung {n}: train a configuration on a host with a seed, {if_ticket}"
    wdir: ../..
    matrix:
      config: ${{configs}}
      host: ${{hosts}}
      seed: ${{rungs.rung{n}.seeds}}
    cmd: python -m stages.run rung{n} ${{item.config}} ${{item.host}} ${{item.seed}}
    deps:
      - artifacts/protocol/rung{n}.json
    params:
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
      host: ${{hosts}}
      seed: ${{rungs.rung{n}.floor_seeds}}
    cmd: python -m stages.run rung{n} ${{roles.reference}} ${{item.host}} ${{item.seed}} --floor
    deps:
      - artifacts/protocol/rung{n}.json
    params:
      - configs.${{roles.reference}}
    outs:
      - artifacts/records/rung{n}/${{roles.reference}}/${{item.host}}/floor-${{item.seed}}.json
      - artifacts/traces/rung{n}/${{roles.reference}}/${{item.host}}/floor-${{item.seed}}
"""


def has_floor(study: Study, rung: str) -> bool:
    """Whether the dvc.yaml of a rung has a stage of A/A runs: DVC reads no key of params.yaml that is not there."""
    return "reference" in study.roles and "floor_seeds" in study.rungs[rung].model_fields_set


def rung_yaml(number: int, *, floor: bool = True) -> str:
    """The text of stages/rung<number>/dvc.yaml. `floor`: with A/A runs of the reference, be there seeds or none."""
    promotions = f"artifacts/gates/gate{number - 1}/promotions.yaml"
    return _HEAD.format(
        n=number,
        if_ticket=f"if gate {number - 1} let it through" if number > 1 else "every one of them",
        ticket=f"      - {promotions}:\n          - ${{item.config}}\n" if number > 1 else "",
        floor=_FLOOR.format(n=number) if floor else "",
        before=f"      - {promotions}\n" if number > 1 else "",
    )


def write_rungs(study: Study, root: Path = Path()) -> None:
    """Write the dvc.yaml of every rung of a study under `root`, and take away other rungs with their locks."""
    for number, rung in enumerate(study.rungs, start=1):
        text = rung_yaml(number, floor=has_floor(study, rung))
        files.write_whole(root / "stages" / rung / "dvc.yaml", text.encode("utf-8"))
    for folder in (root / "stages").glob("rung[0-9]*"):
        if folder.is_dir() and names.number_of(folder.name) > len(study.rungs):
            shutil.rmtree(folder)


def main() -> None:
    """Write the rungs that params.yaml lists."""
    write_rungs(load(names.PARAMS))


if __name__ == "__main__":
    main_guard(main)
