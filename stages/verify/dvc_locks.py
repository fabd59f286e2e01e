"""Checks V17 and V19: the dvc.lock files, and what they say that every stage ran, read, wrote and was given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stages.domain import names, yamlio
from stages.domain.diff import ABSENT, differences
from stages.domain.errors import Unreadable
from stages.domain.formatting import first_few, listed
from stages.domain.hindsight import FOLDER
from stages.domain.runs import all_runs, hindsight_runs
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
    fill_templates,
    parse_templates,
    root_stages,
)
from stages.dvcfiles.root_pipeline import ROOT_JSON, RootDifference, compare_root, installed_bytes
from stages.earlier_layout import earlier_file
from stages.rungs import PipelineFile
from stages.verify.check import Case, Problem, Skip
from stages.verify.decisions import Recomputed
from stages.verify.layout import Layout, read_layout
from stages.verify.ledger import Ledger
from stages.verify.locks import PARAMS, Params
from stages.verify.pending import EvidenceRules, evidence_study

ROOT, ROOT_YAML = "dvc.lock", "dvc.yaml"
_LADDER = f"{names.LADDER.as_posix()}/"
#: Where no file of DVC stands but the study's.
_OWN_FOLDERS = tuple(f"{name}/" for name in ("artifacts", "ledger", "locks", "report", "site", "stages", "trainer"))
#: How many bytes a dvc.yaml or dvc.lock may have beside what follows from the study.
_SPARE = 64 << 10
#: What differs at the root is named, up to so many items. The project's own are fewer.
_MOST_NOTED = 200


@dataclass(frozen=True)
class DvcLocks:
    """What the dvc.lock files say and should say: stages by name, by the path of the lock.

    `edited` are the generated dvc.yaml files that are not as this project writes them, parsed, with what it writes;
    `added` are the stages that a team added to the dvc.yaml of the root.
    """

    recorded: dict[str, dict[str, LockedStage]]
    planned: dict[str, Mapping[str, PlannedStage]]
    edited: list[tuple[PipelineFile, dict[str, object]]]
    added: list[str]
    #: The stages of the rungs under the locks of today, where the evidence is that of earlier ones.
    renewed: dict[str, Mapping[str, PlannedStage]] = field(default_factory=dict)
    #: The dvc.yaml of the root as plain values; empty where there is none.
    root: dict[str, object] = field(default_factory=dict)

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
    study, then, layout = case.get(Study), evidence_study(case), read_layout(case)
    present = _generated_files(layout, study)
    locks = DvcLocks({}, {}, [], [])
    yield from _read_root(case, locks)
    for file in present.values():
        yield from _read_generated(case, file, locks)
    if then is study:
        locks.planned.update(_plan(present.values()))
    else:
        past = _generated_files(layout, then)
        locks.planned.update(_plan(past.values()))
        locks.renewed.update(_plan(present.values()))
        for file in past.values():
            if file.path not in present:
                yield from _read_generated(case, file, locks)
        present = past | present
    evidence = case.get(Ledger).by_rung if case.knows(Ledger) else {}
    yield from _unexpected_files(case, {ROOT_YAML, ROOT, *present, *(file.lock for file in present.values())})
    if not locks.recorded and not evidence:
        raise Skip("DVC has recorded nothing yet", "dvc repro", applies=False)
    case.learn(locks)
    yield from _missing_locks(case, locks, present)
    yield from _missing_stages(case, locks, list(evidence))
    for path, name, _ in locks.stages():
        if not locks.expected(path, name):
            yield Problem(path, name, "a stage of its dvc.yaml", "a run from nowhere", pointer=f"/stages/{name}")


def _generated_files(layout: Layout, study: Study) -> dict[str, PipelineFile]:
    """The generated dvc.yaml files of a study, by path: those of the rungs and of hindsight."""
    rungs = [*study.rungs, *([FOLDER] if hindsight_runs(study) else [])]
    return {file.path: file for rung in rungs for file in layout.files(study, rung)}


def _read_root(case: Case, locks: DvcLocks) -> Iterator[Problem]:
    pipeline, lock = case.tree.read(ROOT_YAML), case.tree.read(ROOT)
    if pipeline is not None:
        value = yamlio.loads(pipeline, ROOT_YAML)
        locks.planned[ROOT] = root_stages(value, ROOT_YAML)
        locks.root.update(value)
        locks.added.extend(added_stages(value, ROOT_YAML))
    if lock is not None:
        locks.recorded[ROOT] = case.root_lock or {}
    if pipeline is None and lock is not None:
        yield Problem(ROOT_YAML, "no file", f"the pipeline of {ROOT}", "nobody knows what was run")


def _read_generated(case: Case, file: PipelineFile, locks: DvcLocks) -> Iterator[Problem]:
    """Read a generated dvc.yaml and its dvc.lock."""
    pipeline, lock = case.tree.read(file.path), case.tree.read(file.lock)
    text = len(file.text.encode("utf-8"))
    _require_size(file.path, pipeline, _SPARE + 16 * text)
    # A stage of dvc.lock repeats what dvc.yaml says once for all of them, with a digest and a size for each file.
    _require_size(file.lock, lock, _SPARE + 16 * text * (len(file.runs) + 2))
    if pipeline is not None and pipeline != file.text.encode("utf-8"):
        value = yamlio.loads(pipeline, file.path)
        parse_templates(value, file.path)
        locks.edited.append((file, value))
    if lock is not None:
        locks.recorded[file.lock] = lockfile.parse(lock, file.lock)
    if pipeline is None and lock is not None:
        yield Problem(file.path, "no file", f"the pipeline of {file.lock}", "nobody knows what was run")


def _require_size(path: str, data: bytes | None, most: int) -> None:
    """Refuse a file that is many times as large as what it says could be: there may be one for each configuration."""
    if data is not None and len(data) > most:
        raise Unreadable.at(path, f"{len(data)} bytes, expected at most {most} for what it has to say")


def _plan(files: Iterable[PipelineFile]) -> dict[str, Mapping[str, PlannedStage]]:
    """The stages of generated dvc.yaml files by their dvc.lock.

    Files that differ in the name of their configuration alone are parsed once: at 1,000 configurations a YAML parser
    would take a minute.
    """
    templates: dict[str, dict[str, PlannedStage]] = {}
    planned: dict[str, Mapping[str, PlannedStage]] = {}
    for file in files:
        if file.template not in templates:
            templates[file.template] = parse_templates(
                yamlio.loads(file.template.encode("utf-8"), file.path), file.path
            )
        planned[file.lock] = fill_templates(templates[file.template], file.runs)
    return planned


def _unexpected_files(case: Case, own: set[str]) -> Iterator[Problem]:
    """Files of DVC that are none of the study's: in its own folders they fail, elsewhere a note names them."""
    elsewhere: list[str] = []
    unfrozen = not any(path.startswith("locks/gate") for path in case.tree.paths("locks"))
    stale: list[str] = []
    for path in case.tree.paths():
        name = path.rpartition("/")[2].casefold()  # as a file system takes it that knows no capitals
        pipeline = name in ("dvc.yaml", "dvc.lock") and path not in own
        if not pipeline and not _steers_dvc(path, name):
            continue
        if not path.startswith(_OWN_FOLDERS):
            elsewhere.append(path)
        elif unfrozen and path.startswith(_LADDER) and case.tree.mode(path.replace("dvc.yaml", "dvc.lock")) is None:
            stale.append(path)  # while nothing is frozen, configurations come and go in params.yaml
        elif pipeline:
            meaning = "evidence of a rung or configuration that the study does not have"
            yield Problem(path, "a file of nothing in params.yaml", "no such file", meaning)
        elif "/.dvc/" in path.casefold() or name == ".dvcignore":
            meaning = "DVC would pass over what stands there, and record something else than git holds"
            yield Problem(path, "a file of DVC that nothing here writes", "none below the root", meaning)
        else:
            meaning = "DVC would bring files of its own among those of the study"
            yield Problem(path, "a file of DVC that nothing here writes", "no such file", meaning)
    if stale:
        case.note(f"{listed(stale)}: of nothing in params.yaml; `promotion freeze` takes away what is not asked for")
    if elsewhere:
        case.note(f"files of DVC that are none of the study's, which nothing here looks at: {listed(elsewhere)}")


def _steers_dvc(path: str, name: str) -> bool:
    """Whether a file, no pipeline, tells DVC what to track or to leave out; `name` is the end of its path."""
    if name == ".dvcignore" or "/.dvc/" in path.casefold():
        return "/" in path
    return name.endswith(".dvc") and name != ".dvc"


def _missing_locks(case: Case, locks: DvcLocks, files: Mapping[str, PipelineFile]) -> Iterator[Problem]:
    """Every run in the ledger that the study asks for has its dvc.lock."""
    if not case.knows(Ledger):
        return
    asked = {run.id for run in all_runs(case.get(Study))}
    lock_of = {run.id: file.lock for file in files.values() for run in file.runs.values()}
    recorded = (run.record for run in case.get(Ledger).runs if run.record.id in asked)
    missing = {lock: record.rung for record in recorded if (lock := lock_of[record.id]) not in locks.recorded}
    for path, rung in missing.items():
        yield Problem(path, "no file", f"what DVC recorded of {rung}", "its evidence has no second witness")


def _missing_stages(case: Case, locks: DvcLocks, rungs: list[str]) -> Iterator[Problem]:
    """The stages before the runs are recorded, and after the last gate all are."""
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
    locks, params, layout = case.get(DvcLocks), case.get(Params).value, read_layout(case)
    yield from _compare_pipelines(case, locks)
    tickets = case.get(Recomputed).tickets
    rules = case.get(EvidenceRules) if case.knows(EvidenceRules) else None
    values = layout.parameters(rules.params if rules else params, tickets)
    values_today = layout.parameters(params, tickets) if rules and rules.pending else values
    for path, name, stage in locks.stages():
        planned = locks.planned.get(path, {}).get(name)
        if planned is None:
            continue
        problems = list(_compare_stage(path, name, stage, _without_unrun(planned, locks), values))
        if problems and rules and rules.pending:  # what ran since the rules are pending was given those of today
            today = _without_unrun(locks.renewed.get(path, {}).get(name, planned), locks)
            problems = list(_compare_stage(path, name, stage, today, values_today)) and problems
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
    for file, value in locks.edited:
        earlier = "vars" in value and not file.folder.startswith(_LADDER)
        text = _with_variables(case, file) if earlier else file.text
        generated = _comparable(yamlio.loads(text.encode("utf-8"), file.path))
        for pointer, actual, expected in differences(_comparable(value), generated):
            if "/matrix/" in pointer and not locks.recorded.get(file.lock):
                stale.append(file.path)  # a gate that is not frozen may change its seeds in params.yaml
                continue
            meaning = "its runs or its gate are not those of this project (`python -m stages.rungs` writes it)"
            yield Problem(file.path, repr(actual)[:200], repr(expected)[:200], meaning, pointer=pointer)
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
    yield from _compare_root(case, locks)
    if locks.added:
        case.note(f"dvc.yaml has stages of its own, which nothing here looks at: {', '.join(locks.added)}")


def _compare_root(case: Case, locks: DvcLocks) -> Iterator[Problem]:
    """Where the dvc.yaml of the root is not the project's own.

    That is a failure where the code of the tree expects the same dvc.yaml as this program. Another version may honestly
    have had another one: a note then names each difference, as it does for what a team added.
    """
    if not locks.root:
        return
    same = case.tree.read(ROOT_JSON) == installed_bytes()
    noted: list[str] = []
    for difference in compare_root(locks.root, frozenset(COMMANDS)):
        if _fails_anyway(difference, locks):
            continue
        if same and not difference.added and not _is_of_optional(difference, locks):
            meaning = "the pipeline is not that of this project (`git show` of its version has it)"
            pointer = difference.pointer
            yield Problem(ROOT_YAML, difference.actual, difference.expected, meaning, pointer=pointer)
        else:
            noted.append(str(difference))
    if noted:
        shown, more = first_few(noted, _MOST_NOTED)
        rest = f"; and {more} more" if more else ""
        case.note(f"{ROOT_YAML} is not that of this version: {'; '.join(shown)}{rest}")


def _is_of_optional(difference: RootDifference, locks: DvcLocks) -> bool:
    """Whether it follows from an optional stage that is not there at all: the stage, or what others read of it."""
    absent = [name for name in OPTIONAL if name not in locks.planned.get(ROOT, {})]
    items = {item for name in absent for item in (*NEEDED_OUTS[name], f"stages/{name}")}
    return difference.stage in absent or (difference.key == "deps" and difference.item in items)


def _fails_anyway(difference: RootDifference, locks: DvcLocks) -> bool:
    """Whether another problem says the same already."""
    name, needed = difference.stage, {"deps": NEEDED_DEPS, "params": NEEDED_PARAMS}
    if name and name not in locks.planned.get(ROOT, {}):
        return name not in OPTIONAL
    if difference.key in ("outs", "metrics"):
        absent = difference.item not in locks.planned[ROOT][name].outs
        return absent and difference.item in NEEDED_OUTS[name]
    absent = difference.actual.startswith(f"{difference.key} without ")
    return (absent and difference.item in needed.get(difference.key, {}).get(name, ())) or (
        bool(name) and not difference.key and difference.item == "cmd"
    )


def _with_variables(case: Case, file: PipelineFile) -> str:
    """The dvc.yaml of a rung as in the earliest commits."""
    study, rung = case.get(Study), file.folder.rpartition("/")[2]
    return earlier_file(study, rung, variables=True).text if rung in study.rungs else file.text


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
        ticket = "promotions." in pointer
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
