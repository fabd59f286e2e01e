"""Check V17: the dvc.yaml and dvc.lock files, read and held against what the study generates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from stages.domain import names, yamlio
from stages.domain.errors import Unreadable
from stages.domain.formatting import listed
from stages.domain.hindsight import FOLDER
from stages.domain.runs import all_runs, hindsight_runs
from stages.domain.study import Study
from stages.dvcfiles import lockfile
from stages.dvcfiles.lockfile import LockedFile, LockedStage
from stages.dvcfiles.pipeline import (
    COMMANDS,
    OPTIONAL,
    PlannedStage,
    added_stages,
    fill_templates,
    parse_templates,
    root_stages,
)
from stages.rungs import PipelineFile
from stages.verify.check import Case, Problem, Skip
from stages.verify.layout import Layout, read_layout
from stages.verify.ledger import Ledger
from stages.verify.pending import evidence_study

ROOT, ROOT_YAML = "dvc.lock", "dvc.yaml"
LADDER_PATH = f"{names.LADDER.as_posix()}/"
#: Where no file of DVC stands but the study's.
_OWN_FOLDERS = tuple(f"{name}/" for name in ("artifacts", "ledger", "locks", "report", "site", "stages", "trainer"))
#: How many bytes a dvc.yaml or dvc.lock may have beside what follows from the study.
_SPARE = 64 << 10


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
        elif unfrozen and path.startswith(LADDER_PATH) and case.tree.mode(path.replace("dvc.yaml", "dvc.lock")) is None:
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
