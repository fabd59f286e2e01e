"""Checks V17 and V19: the dvc.lock files, and what they say that every stage ran, read, wrote and was given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stages.domain import names, yamlio
from stages.domain.diff import ABSENT, differences
from stages.domain.formatting import listed
from stages.domain.hindsight import FOLDER
from stages.domain.runs import hindsight_runs, runs_of
from stages.domain.study import Study
from stages.dvcfiles import lockfile
from stages.dvcfiles.lockfile import LockedFile, LockedStage
from stages.dvcfiles.pipeline import (
    COMMANDS,
    NEEDED_DEPS,
    NEEDED_OUTS,
    NEEDED_PARAMS,
    OPTIONAL,
    PlannedStage,
    added_stages,
    parse_templates,
    root_stages,
    rung_stages,
)
from stages.rungs import hindsight_yaml, rung_yaml
from stages.verify.check import Case, Problem, Skip
from stages.verify.decisions import Recomputed
from stages.verify.ledger import Ledger
from stages.verify.locks import PARAMS, Params
from stages.verify.pending import EvidenceRules, evidence_study

ROOT, ROOT_YAML = "dvc.lock", "dvc.yaml"
#: Where no file of DVC stands but the study's.
_OWN_FOLDERS = tuple(f"{name}/" for name in ("artifacts", "ledger", "locks", "report", "site", "stages", "trainer"))


@dataclass(frozen=True)
class DvcLocks:
    """What the dvc.lock files say and should say: stages by name, by the path of the lock.

    `pipelines` are the dvc.yaml files, parsed, and `added` the stages that a team added to that of the root.
    """

    recorded: dict[str, dict[str, LockedStage]]
    planned: dict[str, dict[str, PlannedStage]]
    pipelines: dict[str, dict[str, object]]
    added: list[str]
    #: The stages of the rungs under the locks of today, where the evidence is that of earlier ones.
    renewed: dict[str, dict[str, PlannedStage]] = field(default_factory=dict)

    def stages(self) -> Iterator[tuple[str, str, LockedStage]]:
        """(lock, name, stage) for all that are recorded."""
        for path, stages in self.recorded.items():
            for name, stage in stages.items():
                yield path, name, stage

    def outputs(self) -> dict[str, LockedFile]:
        """The recorded outputs by path."""
        return {file.path: file for _, _, stage in self.stages() for file in stage.outs.values()}

    def expected(self, path: str, name: str) -> bool:
        """Whether a stage of this name may stand in a lock: a planned one, or one that a team added to the root."""
        added = path == ROOT and name.partition("@")[0] in self.added
        return added or name in self.planned.get(path, {}) or name in self.renewed.get(path, {})


def check_dvc_locks(case: Case) -> Iterator[Problem]:
    """Every dvc.lock can be read, is of the root, a rung or hindsight, and has the stages of its dvc.yaml that ran.

    Once every gate has decided it has all of them.
    """
    study = case.get(Study)
    folders = {"": None, **{f"stages/{rung}/": rung for rung in _rung_folders(study)}}
    locks = DvcLocks({}, {}, {}, [])
    for folder, rung in folders.items():
        yield from _read_folder(case, folder, rung, locks)
    evidence = case.get(Ledger).by_rung if case.knows(Ledger) else {}
    yield from _unexpected_files(case, set(folders))
    if not locks.recorded and not evidence:
        raise Skip("DVC has recorded nothing yet", "dvc repro", applies=False)
    case.learn(locks)
    yield from _missing_stages(case, locks, list(evidence))
    for path, name, _ in locks.stages():
        if not locks.expected(path, name):
            yield Problem(path, name, "a stage of its dvc.yaml", "a run from nowhere", pointer=f"/stages/{name}")


def _rung_folders(study: Study) -> list[str]:
    """The folders under stages/ that may hold a dvc.yaml: those of the rungs, and that of hindsight."""
    return [*study.rungs, *([FOLDER] if hindsight_runs(study) else [])]


def _read_folder(case: Case, folder: str, rung: str | None, locks: DvcLocks) -> Iterator[Problem]:
    """Read dvc.yaml and dvc.lock of the root (`rung` is None) or of a rung into `locks`."""
    yaml_path, lock_path = f"{folder}dvc.yaml", f"{folder}dvc.lock"
    pipeline, lock = case.tree.read(yaml_path), case.tree.read(lock_path)
    if pipeline is not None:
        value = locks.pipelines[lock_path] = yamlio.loads(pipeline, yaml_path)
        if rung is None:
            locks.planned[lock_path] = root_stages(value, yaml_path)
            locks.added.extend(added_stages(value, yaml_path))
        else:
            parse_templates(value, yaml_path)
            study = evidence_study(case)
            locks.planned[lock_path] = _plan_rung(study, rung, yaml_path)
            if study is not case.get(Study):
                locks.renewed[lock_path] = _plan_rung(case.get(Study), rung, yaml_path)
    if lock is not None:
        locks.recorded[lock_path] = lockfile.parse(lock, lock_path)
    if pipeline is None and lock is not None:
        yield Problem(yaml_path, "no file", f"the pipeline of {lock_path}", "nobody knows what was run")


def _plan_rung(study: Study, rung: str, where: str) -> dict[str, PlannedStage]:
    """The stages of a rung, or of hindsight, in a study."""
    runs = hindsight_runs(study) if rung == FOLDER else runs_of(study, rung)
    return rung_stages(_generated_yaml(study, rung), runs, where)


def _generated_yaml(study: Study, rung: str, *, earlier: bool = True) -> dict[str, object]:
    """The dvc.yaml of a rung as `python -m stages.rungs` writes it; `earlier` is shorter, and plans the same."""
    text = hindsight_yaml(study) if rung == FOLDER else rung_yaml(study, rung, earlier=earlier)
    return yamlio.loads(text.encode("utf-8"), f"stages/{rung}/dvc.yaml")


def _unexpected_files(case: Case, folders: set[str]) -> Iterator[Problem]:
    """Files of DVC that are none of the study's: in its own folders they fail, elsewhere a note names them."""
    elsewhere: list[str] = []
    for path in case.tree.paths():
        folder, name = path.removesuffix(path.rpartition("/")[2]), path.rpartition("/")[2]
        pipeline = name in ("dvc.yaml", "dvc.lock") and folder not in folders
        if not pipeline and not (name.endswith(".dvc") and name != ".dvc"):
            continue
        if not path.startswith(_OWN_FOLDERS):
            elsewhere.append(path)
        elif pipeline:
            meaning = "evidence of a rung that the study does not have"
            yield Problem(path, "a file of no rung of params.yaml", "no such file", meaning)
        else:
            meaning = "DVC would bring files of its own among those of the study"
            yield Problem(path, "a file of DVC that nothing here writes", "no such file", meaning)
    if elsewhere:
        case.note(f"files of DVC that are none of the study's, which nothing here looks at: {listed(elsewhere)}")


def _missing_stages(case: Case, locks: DvcLocks, rungs: list[str]) -> Iterator[Problem]:
    """Every rung with evidence has a lock; the stages before the runs are recorded, and after the last gate all are."""
    for rung in rungs:
        path = f"stages/{rung}/dvc.lock"
        if path not in locks.recorded:
            yield Problem(path, "no file", f"what DVC recorded of {rung}", "its evidence has no second witness")
    decided = case.get(Ledger).decisions.keys() if case.knows(Ledger) else set()
    over = set(case.get(Study).gates) <= decided
    needed = [name for name in COMMANDS if name not in OPTIONAL] if over else ["corpus", "protocol"] if rungs else []
    root = locks.recorded.get(ROOT, {})
    for name in needed:
        if name not in root:
            meaning = "every gate has decided, and DVC never saw what follows" if over else "runs stand on it"
            absent, expected = "no such stage" if root else "no file", f"stages.{name}, as `dvc repro` records it"
            yield Problem(ROOT, absent, expected, meaning, pointer=f"/stages/{name}")


def check_parameters(case: Case) -> Iterator[Problem]:
    """What every stage ran, read, wrote and was given agrees with this project, params.yaml and the tickets."""
    locks, params = case.get(DvcLocks), case.get(Params).value
    yield from _compare_pipelines(case, locks)
    tickets: dict[str, Mapping[str, object]] = {}
    for gate, handed in case.get(Recomputed).tickets.items():
        file = f"artifacts/gates/{gate}/promotions.yaml"
        tickets[file] = {name: ticket if ticket == "what-if" else ticket == "true" for name, ticket in handed.items()}
    rules = case.get(EvidenceRules) if case.knows(EvidenceRules) else None
    values = {PARAMS: rules.params if rules else params, **tickets}
    for path, name, stage in locks.stages():
        planned = locks.planned.get(path, {}).get(name)
        if planned is None:
            continue
        problems = list(_compare_stage(path, name, stage, _without_unrun(planned, locks), values))
        if problems and rules and rules.pending:  # what ran since the rules are pending was given those of today
            today = _without_unrun(locks.renewed.get(path, {}).get(name, planned), locks)
            problems = list(_compare_stage(path, name, stage, today, {PARAMS: params, **tickets})) and problems
        yield from (problem for problem in problems if rules is None or not _is_undecided(problem, path, name, rules))


def _is_undecided(problem: Problem, path: str, name: str, rules: EvidenceRules) -> bool:
    """Whether a parameter is that of a gate or rung without evidence under any lock: it decides nothing."""
    head = f"/stages/{name}/params/{PARAMS}/"
    place = (problem.pointer or "").removeprefix(head).replace(".", "/") + "/"
    free = [f"{section}/{key}/" for gate in rules.undecided for section, key in _sections_of(gate)]
    return problem.pointer is not None and problem.pointer.startswith(head) and place.startswith(tuple(free))


def _sections_of(gate: str) -> tuple[tuple[str, str], ...]:
    return ("gates", gate), ("rungs", names.rung_of(gate))


def _without_unrun(planned: PlannedStage, locks: DvcLocks) -> PlannedStage:
    """A stage without the outputs and the code of optional stages that have not run, for which it could not wait."""
    root = locks.planned.get(ROOT, {})
    unrun = [name for name in OPTIONAL if name in root and name not in locks.recorded.get(ROOT, {})]
    absent = {path for name in unrun for path in (*root[name].outs, f"stages/{name}")}
    return replace(planned, deps=tuple(path for path in planned.deps if path not in absent))


def _compare_pipelines(case: Case, locks: DvcLocks) -> Iterator[Problem]:
    """The dvc.yaml of a rung is the generated one; of the one at the root, the commands of the stages are known."""
    stale: list[str] = []
    for rung in _rung_folders(case.get(Study)):
        path = f"stages/{rung}/dvc.yaml"
        pipeline = locks.pipelines.get(f"stages/{rung}/dvc.lock")
        if pipeline is not None:
            generated = _comparable(_generated_yaml(case.get(Study), rung, earlier="vars" in pipeline))
            for pointer, value, expected in differences(_comparable(pipeline), generated):
                if "/matrix/" in pointer and not locks.recorded.get(f"stages/{rung}/dvc.lock"):
                    stale.append(path)  # a gate that is not frozen may change its seeds in params.yaml
                    continue
                meaning = "its runs or its gate are not those of this project (`python -m stages.rungs` writes it)"
                yield Problem(path, repr(value)[:200], repr(expected)[:200], meaning, pointer=pointer)
    for path in dict.fromkeys(stale):
        case.note(f"{path} lists other runs than params.yaml asks for now; `promotion freeze` writes it anew")
    planned = locks.planned.get(ROOT, {})
    for name, command in COMMANDS.items() if planned else ():
        if name in OPTIONAL and name not in planned:
            continue
        cmd = planned[name].cmd if name in planned else "no such stage"
        if cmd != command:
            meaning = "it makes what this project's stage should"
            yield Problem(ROOT_YAML, cmd, command, meaning, pointer=f"/stages/{name}/cmd")
        if name in planned:
            yield from _missing_from_stage(name, planned[name])
    if locks.added:
        case.note(f"dvc.yaml has stages of its own, which nothing here looks at: {', '.join(locks.added)}")


def _missing_from_stage(name: str, stage: PlannedStage) -> Iterator[Problem]:
    """What a stage at the root no longer reads, is given or makes."""
    sides = {
        "deps": (stage.deps, NEEDED_DEPS[name], "DVC would not notice when it changes"),
        "params": (stage.params.get(PARAMS, ()), NEEDED_PARAMS.get(name, ()), "DVC would not notice when it changes"),
        "outs": (stage.outs, NEEDED_OUTS[name], "nobody would hold what it makes against a digest"),
    }
    for kind, (present, needed, meaning) in sides.items():
        for item in sorted(set(needed) - set(present)):
            pointer = f"/stages/{name}/{kind}"
            yield Problem(ROOT_YAML, f"{kind} without {item}", item, meaning, pointer=pointer)


def _comparable(pipeline: dict[str, object]) -> dict[str, object]:
    """A dvc.yaml without what changes nothing: descriptions, and the order of configurations, hosts and seeds."""
    stages = pipeline.get("stages")
    kept = {
        name: {key: _sorted_axes(value) if key == "matrix" else value for key, value in stage.items() if key != "desc"}
        if isinstance(stage, dict)
        else stage
        for name, stage in (stages if isinstance(stages, dict) else {}).items()
    }
    return {**pipeline, "stages": kept}


def _sorted_axes(matrix: object) -> object:
    if not isinstance(matrix, dict):
        return matrix
    return {axis: sorted(values, key=str) if isinstance(values, list) else values for axis, values in matrix.items()}


def _compare_stage(
    path: str, name: str, stage: LockedStage, planned: PlannedStage, values: Mapping[str, Mapping[str, object]]
) -> Iterator[Problem]:
    """`values`: the parameters by file, of the files whose content is known."""
    at = f"/stages/{name}"
    if stage.cmd != planned.cmd:
        yield Problem(path, stage.cmd, planned.cmd, "something else was run", pointer=f"{at}/cmd")
    for kind, recorded, paths in (("deps", stage.deps, planned.deps), ("outs", stage.outs, planned.outs)):
        if recorded.keys() != set(paths):
            difference = min(recorded.keys() ^ set(paths))
            expected = f"the {kind} of its dvc.yaml"
            meaning = "DVC recorded other files than the stage has"
            yield Problem(path, f"{difference} on one side", expected, meaning, pointer=f"{at}/{kind}")
    expected_params = {
        file: {key: _value(values[file], key) for key in keys}
        for file, keys in planned.params.items()
        if file in values
    }
    params = {file: given for file, given in stage.params.items() if file in values or file not in planned.params}
    for pointer, was, should in differences(params, expected_params, f"{at}/params"):
        ticket = "promotions.yaml" in pointer
        meaning = "it ran on a ticket that its gate did not give" if ticket else "it ran with another value"
        if should is ABSENT and not ticket:
            meaning = "a parameter that the stage does not have"
        yield Problem(path, repr(was)[:200], repr(should)[:200], meaning, pointer=pointer)


def _value(values: Mapping[str, object], key: str) -> Any:
    """The value under a dotted key, or `ABSENT`."""
    value: object = values
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return ABSENT
        value = value[part]
    return value
