"""The dvc.yaml files of rungs and hindsight, as text: the one place that says what a run and a gate depend on and make.

    python -m stages.rungs               write them under stages/ladder/ for every rung of params.yaml
    python -m stages.rungs --hindsight   write those of hindsight too, which train what was stopped

    stages/ladder/rung3/dvc.yaml            the gate that judges rung 3
    stages/ladder/rung3/d8-ar48/dvc.yaml    the runs of one configuration at rung 3

The files are committed, because DVC reads files; a test holds them equal to what this module writes. A dvc.yaml for
every configuration of every rung keeps each dvc.lock short, because DVC parses and writes a whole lock at every stage,
and what a run is given stands in JSON, because DVC reads that file anew for every run.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stages.domain import files, names, promotions
from stages.domain.contract import KNOBS_KEY
from stages.domain.errors import Refused, main_guard
from stages.domain.hindsight import FOLDER
from stages.domain.runs import Run, hindsight_runs, runs_of
from stages.domain.study import Study, load

_RUNS = """\
# Rung {n}: the runs of a configuration, one for every host and seed, {if_ticket}.
# Written by `python -m stages.rungs`. The graph is static and the promotion is data: without a ticket from the gate
# before, a configuration is recorded as stopped.
stages:
  run:
    desc: "Rung {n}: train {config} on a host with a seed, {if_ticket}"
    wdir: ../../../..
    matrix:
      host:{hosts}
      seed:{seeds}
    cmd: python -m stages.run rung{n} {config} ${{item.host}} ${{item.seed}}
    deps:
      - artifacts/protocol/rung{n}.json
{trainer}    params:
      - {knobs}:
          - {knobs_key}
{ticket}    outs:
      - artifacts/records/rung{n}/{config}/${{item.host}}/${{item.seed}}.json
      - artifacts/traces/rung{n}/{config}/${{item.host}}/${{item.seed}}
"""

#: Beside the runs of the reference, where a study has one and says how often to repeat it.
_FLOOR = """\
  floor:
    desc: "Rung {n}: A/A runs of the reference, from which the noise floor is estimated"
    wdir: ../../../..
    matrix:
      host:{hosts}
      seed:{floor_seeds}
    cmd: python -m stages.run rung{n} {config} ${{item.host}} ${{item.seed}} --floor
    deps:
      - artifacts/protocol/rung{n}.json
{trainer}    params:
      - {knobs}:
          - {knobs_key}
    outs:
      - artifacts/records/rung{n}/{config}/${{item.host}}/floor-${{item.seed}}.json
      - artifacts/traces/rung{n}/{config}/${{item.host}}/floor-${{item.seed}}
"""

_GATE = """\
# Rung {n}: the gate that judges its runs, which stand in the folders beside this file, a configuration each.
# Written by `python -m stages.rungs`.
stages:
  gate:
    desc: "Gate {n}: judge rung {n} by the frozen rules and hand out the tickets"
    wdir: ../../..
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
      - {promotions}
"""

#: Outputs and records lie apart from those of the rungs: `dvc repro` at the root never waits for any of them.
_HINDSIGHT_RUNS = """\
# Hindsight: a configuration that was stopped before rung {n} trains at its budget, once the last gate has decided.
# Written by `python -m stages.rungs --hindsight`. What ran at rung {n} trains nothing.
stages:
  run:
    desc: "Hindsight: train {config} at the budget of rung {n}, if it was stopped before it"
    wdir: ../../../..
    matrix:
      host:{hosts}
      seed:{seeds}
    cmd: python -m stages.run rung{n} {config} ${{item.host}} ${{item.seed}} --hindsight
    deps:
      - artifacts/protocol/rung{n}.json
      - ledger/decisions.jsonl
    params:
      - {knobs}:
          - {knobs_key}
    outs:
      - artifacts/hindsight/records/{config}/${{item.host}}/${{item.seed}}.json
      - artifacts/hindsight/traces/{config}/${{item.host}}/${{item.seed}}
"""

#: It also writes ledger/hindsight.jsonl, which is no output on purpose: the site reads the folder ledger/.
_HINDSIGHT = """\
# Hindsight: its summary. The runs stand in the folders beside this file, a configuration each.
# Written by `python -m stages.rungs --hindsight`.
stages:
  summary:
    desc: "What the gates dropped, what the ladder cost in regret, and what else its device-hours would have bought"
    wdir: ../../..
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


@dataclass(frozen=True)
class PipelineFile:
    """A generated dvc.yaml: the folder in which it stands, beside its dvc.lock, and its text.

    `runs` are those of its stages that train, by the name that DVC gives the stage; `others` are the names of the rest.
    `template` is the text with `${item.config}` in the place of its configuration: the same for many.
    """

    folder: str
    runs: dict[str, Run]
    others: tuple[str, ...]
    text: str
    template: str

    @property
    def path(self) -> str:
        """Where it stands."""
        return f"{self.folder}/dvc.yaml"

    @property
    def lock(self) -> str:
        """Where DVC writes what it recorded."""
        return f"{self.folder}/dvc.lock"


def has_floor(study: Study, rung: str) -> bool:
    """Whether a rung has a stage of A/A runs: one with a reference, and with floor seeds, be it none."""
    return "reference" in study.roles and "floor_seeds" in study.rungs[rung].model_fields_set


def format_axis(values: Iterable[str | int]) -> str:
    """The values of an axis of a matrix, one a line: quoted, because YAML takes many a name for something else."""
    return "".join(f"\n        - {json.dumps(value)}" for value in values) or " []"


def pipeline_files(study: Study, rung: str) -> list[PipelineFile]:
    """Every generated dvc.yaml of a rung, or of hindsight: one for each configuration, then that of the gate.

    DVC hands commands to a shell. Names and seeds stand in the files, where they were valid when they were written, so
    that no text of params.yaml reaches a command.
    """
    runs: dict[str, dict[str, Run]] = {config: {} for config in study.configs}
    for run in hindsight_runs(study) if rung == FOLDER else runs_of(study, rung):
        runs[run.config][run.stage_name] = run
    last, text = ("summary", _HINDSIGHT) if rung == FOLDER else ("gate", _gate_yaml(rung))
    return [
        *(_runs_file(study, rung, config, own) for config, own in runs.items()),
        PipelineFile(names.pipeline_folder(rung).as_posix(), {}, (last,), text, text),
    ]


def _runs_file(study: Study, rung: str, config: str, runs: dict[str, Run]) -> PipelineFile:
    if rung == FOLDER:
        template, values = _HINDSIGHT_RUNS, _common_values(study, study.last_rung)
    else:
        floor = has_floor(study, rung) and config == study.roles["reference"]
        template, values = _RUNS + _FLOOR if floor else _RUNS, _common_values(study, rung) | _rung_values(study, rung)
    text, general = (template.format(**_own_values(rung, name), **values) for name in (config, "${item.config}"))
    return PipelineFile(names.pipeline_folder(rung, config).as_posix(), runs, (), text, general)


def _rung_values(study: Study, rung: str) -> dict[str, object]:
    """Runs of a command depend on its trainer's files; those of the built-in runner are in the contract's digest."""
    number, command = names.number_of(rung), study.command
    return {
        "floor_seeds": format_axis(study.rungs[rung].floor_seeds),
        "trainer": "".join(f"      - {json.dumps(path)}\n" for path in sorted(command.files)) if command else "",
        "if_ticket": f"if gate {number - 1} let it through" if number > 1 else "as every one of them",
    }


def _common_values(study: Study, rung: str) -> dict[str, object]:
    hosts, seeds = format_axis(study.hosts), format_axis(study.rungs[rung].seeds)
    return {"n": names.number_of(rung), "hosts": hosts, "seeds": seeds, "knobs_key": KNOBS_KEY}


def _own_values(rung: str, config: str) -> dict[str, str]:
    """What is of one configuration: its name, its knobs, its ticket."""
    before = names.gate_before(rung) if rung != FOLDER else None
    ticket = f"      - {_tickets(before)}:\n          - {promotions.KEY}.{config}\n" if before else ""
    return {"config": config, "knobs": names.knobs_path(config).as_posix(), "ticket": ticket}


def _gate_yaml(rung: str) -> str:
    before = names.gate_before(rung)
    return _GATE.format(
        n=names.number_of(rung),
        before=f"      - {_tickets(before)}\n" if before else "",
        promotions=_tickets(names.gate_of(rung)),
    )


def _tickets(gate: str) -> str:
    return names.promotions_path(gate).as_posix()


def take_over_command() -> str | None:
    """What brings the artifacts of an earlier layout, with its dvc.lock for each rung beside the code, writes the files
    of this one, and has DVC record what is there, without training; None where there is no such layout."""
    stages = names.LADDER.parent
    if not any(stages.glob("rung[0-9]*/dvc.lock")):
        return None
    if not (stages / FOLDER / "dvc.lock").is_file():
        return "dvc checkout && python -m stages.rungs && promotion dispatch && dvc repro"
    hindsight = names.pipeline_folder(FOLDER).as_posix()
    commands = ("dvc checkout", "python -m stages.rungs --hindsight", "promotion dispatch")
    return " && ".join((*commands, f"dvc commit -f -R {hindsight}", "dvc repro"))


def write_rungs(study: Study, root: Path = Path(), *, hindsight: bool = False) -> None:
    """Write the dvc.yaml files of a study under `root`, and take away those of other rungs and configurations, with
    their locks.

    Those of hindsight are written where there are some already, or `hindsight` asks for them.
    """
    ladder = root / names.LADDER
    extra = len(study.rungs) > 1 and (hindsight or (ladder / FOLDER / "dvc.yaml").is_file())
    written = [file for rung in (*study.rungs, *([FOLDER] if extra else [])) for file in pipeline_files(study, rung)]
    for file in written:
        files.write_whole(root / file.path, file.text.encode("utf-8"))
    kept = {root / file.folder for file in written}
    # In the earlier layout they stood beside the code: stages/rungN/, with promotions.yaml for promotions.json.
    earlier = [*(root / "stages").glob("rung[0-9]*"), root / "stages" / FOLDER]
    for folder in sorted([*ladder.glob("*"), *ladder.glob("*/*"), *earlier]):
        if folder.is_dir() and folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)
    for path in (root / names.GATES).glob("*/promotions.yaml"):
        path.unlink()


def main() -> None:
    """Write the rungs that params.yaml lists."""
    if sys.argv[1:] not in ([], ["--hindsight"]):
        raise Refused("usage: python -m stages.rungs [--hindsight]")
    write_rungs(load(names.PARAMS), hindsight=sys.argv[1:] == ["--hindsight"])


if __name__ == "__main__":
    main_guard(main)
