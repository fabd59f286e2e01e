"""Where to go next: the one command that `promotion status` names, and what is to be committed before it.

Every command that is printed here works when it is typed: what `promotion freeze` would refuse is asked of it first,
and what is not committed yet is asked of git. Where there is no git, nothing is told to be committed.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from stages.commands.freeze import plan_locks
from stages.domain import names, yamlio
from stages.domain.conflicts import find_conflict
from stages.domain.corpus import DataFiles, PackageSource
from stages.domain.errors import Invalid, Refused
from stages.domain.hindsight import FOLDER as HINDSIGHT
from stages.domain.runs import gate_stage
from stages.domain.study import Study
from stages.dvcfiles import lockfile
from stages.dvcfiles.cache import md5_folder
from stages.protocol import executed_runs
from stages.repo.dvc_entries import differs_by_repetition, find_committed_evidence
from stages.repo.dvc_remote import has_remote
from stages.repo.git import Git, open_git
from stages.repo.merges import OURS, THEIRS, find_ending, list_unmerged
from stages.repo.objects import GitAbsent
from stages.rungs import take_over_command
from stages.status import RungStatus, read_status

#: Writes down what was decided so far, where a gate that is not frozen stops `dvc repro`; and with params.yaml of now.
WRITE_LEDGER = "dvc repro -s ledger confidence site"
WRITE_ANEW = "dvc repro -s protocol ledger confidence site"
ADD_REMOTE = "dvc remote add -d team PATH-OR-URL"
COMMIT_REMOTE = "git add .dvc/config && git commit -m 'The remote of the team'"
LOCK = Path("dvc.lock")
#: (why, command).
Step = tuple[str, str]


def find_next_step(study: Study, rungs: list[RungStatus]) -> Step:
    """What to do next."""
    git = open_git(Path())
    try:
        return (
            _resolve_conflicts(rungs, git)
            or _take_over()
            or _restore_lock(rungs)
            or _begin(study, rungs, git)
            or _refreeze(study, rungs)
            or _commit_rules(study, rungs, git)
            or _run(study, rungs, git)
            or _finish(study, rungs, git)
        )
    finally:
        if git is not None:
            git.close()


def _take_over() -> Step | None:
    """From a study whose DVC files have an earlier layout to one that can go on."""
    command = take_over_command()
    return ("DVC's files have an earlier layout: what they record is taken over", command) if command else None


def commit_rules_command(study: Study) -> str | None:
    """What commits the rules that were just frozen, with the study's own files; None where git holds all or is not."""
    git = open_git(Path())
    if git is None:
        return None
    try:
        step = _commit_rules(study, read_status(study), git)
    finally:
        git.close()
    return step[1] if step else None


def _rule_files(study: Study, begun: Sequence[str], git: Git) -> list[str]:
    """What belongs into the commit of the rules: no new evidence, such as the dvc.lock of a rung that is begun."""
    source = study.data.source
    folder = f"{source.root}/" if isinstance(source, DataFiles) else ""
    texts = [] if isinstance(source, PackageSource) else [f"{folder}{file.path}" for file in source.files]
    program = study.command.files if study.command else []
    pipelines = ["stages"]
    if begun:
        deleted = map(Path, filter(None, git.ask("ls-files", "--deleted", "-z", "--", "stages").split("\0")))
        # Folders of rungs and configurations that only the study before had.
        missing = [[up for up in reversed(path.parents) if not up.exists()] for path in deleted]
        gone = {folders[0].as_posix() for folders in missing if folders}
        ladder = names.LADDER.as_posix()
        pipelines = [f"{ladder}/{rung}" + "/*dvc.yaml" * (rung in begun) for rung in study.rungs] + sorted(gone)
        pipelines.append(f"{ladder}/{HINDSIGHT}/*dvc.yaml")
    return ["locks", names.PARAMS.as_posix(), *pipelines, f"studies/{study.study.name}.yaml", *texts, *program]


def _find_changed(git: Git, paths: Sequence[str]) -> list[str]:
    """The files among `paths` that differ from HEAD, or that git does not know.

    What a killed process left half-written (`*.part`) is none of them.
    """
    listed = git.ask("status", "--porcelain", "-z", "--untracked-files=all", "--", *paths).split("\0")
    kept = [entry for entry in listed if not (entry.startswith("??") and entry.endswith(".part"))]
    return [path for entry in kept if (path := entry[3:].removeprefix(git.prefix))]


def _commit(git: Git, paths: Sequence[str], message: str) -> str | None:
    """The command that commits what differs from HEAD among `paths`; None where nothing does.

    In the middle of a merge it is what ends the merge.
    """
    inside = [path for path in paths if not Path(path).is_absolute() and ".." not in Path(path).parts]
    if "locks" in inside and _is_ledger_cleared(git):  # `promotion study use` cleared another study
        inside += ["ledger", LOCK.as_posix()]
    changed, ending = _find_changed(git, inside), find_ending(git)
    locks = [path for path in map(Path, changed) if path.name == LOCK.name]
    if len(locks) == len(changed) and ending is None and all(differs_by_repetition(git, path) for path in locks):
        return None
    to_add = [path for path in inside if any(fnmatch(name, path) or name.startswith(f"{path}/") for name in changed)]
    words = [f"git add {shlex.join(to_add)}"] if to_add else []
    if ending or words:
        words.append(ending or f"git commit -m {shlex.quote(message)}")
    return " && ".join(words) or None


def _is_ledger_cleared(git: Git) -> bool:
    path = names.LEDGER / "runs.jsonl"
    return git.head is not None and not path.is_file() and git.entry(git.head, path.as_posix()) is not None


def _resolve_conflicts(rungs: list[RungStatus], git: Git | None) -> Step | None:
    """What a merge or a rebase left: a person decides what people write; of what is made anew either side will do."""
    unmerged = list_unmerged(git) if git is not None else {}
    written = sorted(path for path, sides in unmerged.items() if not (_is_made_anew(path) and OURS in sides))
    if undecided := [path for path in written if not {OURS, THEIRS} <= unmerged[path] or _has_conflict(path)]:
        why = f"a merge stopped at {_list(undecided)}: keep what should stand and `git add` it, or go back"
        return f"{why} with `git merge --abort` (`git rebase --abort`)", "git status"
    if written:
        return f"no conflict is left in {_list(written)}, which git does not know yet", f"git add {shlex.join(written)}"
    conflicts = sorted(path for path in unmerged if _has_conflict(path))
    if not conflicts:
        return None
    command = f"git checkout --ours -- {shlex.join(conflicts)}"
    if any(Path(path).name == "dvc.yaml" for path in conflicts):
        command += " && python -m stages.rungs"
    if all(row.decision is not None for row in rungs):
        command += f" && dvc repro{' --pull' if has_remote(Path()) else ''}"
    return f"a merge stopped at {_list(conflicts)}: either side is right, because it is made anew", command


def _is_made_anew(path: str) -> bool:
    """Whether `dvc repro` writes a file, or `python -m stages.rungs`."""
    place = Path(path)
    return (
        place.name == LOCK.name or place.parts[0] == "ledger" or (place.parts[0], place.name) == ("stages", "dvc.yaml")
    )


def _has_conflict(path: str) -> bool:
    return Path(path).is_file() and find_conflict(Path(path).read_bytes()) is not None


def _list(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def _restore_lock(rungs: list[RungStatus]) -> Step | None:
    """The first gate without a lock although a later gate has one or evidence of its rung exists."""
    for number, row in enumerate(rungs):
        later = any(other.lock is not None for other in rungs[number + 1 :])
        if row.lock is None and (later or executed_runs(row.rung)):
            path = names.lock_path(row.gate).as_posix()
            return f"{path} is missing, and what was built on it is not", f"git checkout -- {path}"
    return None


def _begin(study: Study, rungs: list[RungStatus], git: Git | None) -> Step | None:
    """What comes first: a review of what others made, the text, the first rules, the way out of a what-if."""
    if names.LEDGER.is_dir() and not names.RECORDS.is_dir() and _read_decisions():
        pull = "`dvc pull` fetches them, " if has_remote(Path()) else ""
        anew = "trains anew" if pull else "takes them from the cache or trains anew"
        if git is not None and find_ending(git) and (committed := _commit_evidence(study, git)):
            return committed
        why = f"the ledger holds a study whose artifacts are not here ({pull}`dvc repro` {anew})"
        return why, "promotion verify"
    if all(row.lock is None for row in rungs):
        if not (names.CORPUS / "manifest.json").is_file():
            return "the rules name the text by its digest, so the text comes first", "dvc repro corpus"
        return _freeze(study, None, "no rule is frozen yet")
    if study.study.mode == "exploratory":
        if git is None:
            return "this is a what-if; set study.mode to frozen in params.yaml again, then", "dvc repro"
        return "this is a what-if; back to what was decided leads", "git checkout . && dvc checkout"
    return None


def _freeze(study: Study, gate: str | None, why: str) -> Step:
    """How to freeze a gate, or all: as `promotion freeze` lets it, with an amendment where it asks for one."""
    gates = [gate] if gate else []
    command = " ".join(["promotion freeze", *gates])
    try:
        plan_locks(study, gates, None)
    except GitAbsent as absent:
        return f"{why}, but {absent.reason}", absent.enable
    except (Refused, Invalid) as refusal:
        try:
            plan_locks(study, gates, "...")
        except (Refused, Invalid):
            return f"{why}, and cannot be: {refusal}; edit params.yaml, then", "promotion study check params.yaml"
        return why, f'{command} --amend --reason "..."'
    return why, command


def _refreeze(study: Study, rungs: list[RungStatus]) -> Step | None:
    row = next((row for row in rungs if row.changed), None)
    if row is None:
        return None
    what = ", ".join(row.changed[:3]) + (" and more" if len(row.changed) > 3 else "")
    return _freeze(study, row.gate, f"{row.gate} was frozen otherwise ({what}): take it back, or")


def _commit_rules(study: Study, rungs: list[RungStatus], git: Git | None) -> Step | None:
    if git is None or find_ending(git):  # a merge of rules is one commit with what it does to the evidence
        return None
    begun = [row.rung for row in rungs if row.done or row.floor_done or row.decision is not None]
    paths = _rule_files(study, begun, git)
    if _find_changed(git, paths) in ([], [names.PARAMS.as_posix()]):  # no rule: a title goes with what is made anew
        return None
    whole = tuple(f"{folder}/" for folder in paths)
    ladder = _find_changed(git, [names.LADDER.as_posix()])
    paths += [path for path in find_committed_evidence(git, ladder) if not path.startswith(whole)]
    command = _commit(git, paths, "Freeze the rules")
    return ("the rules are frozen and not committed: they come before the evidence", command) if command else None


def _run(study: Study, rungs: list[RungStatus], git: Git | None) -> Step | None:
    """How to train and judge what is frozen, write down what was decided, and freeze on."""
    for row in rungs:
        if row.decision is not None:
            continue
        if row.lock is not None:
            return _train(study, rungs, row, git)
        if not _is_in_ledger(rungs):
            return "what was decided so far is not in the ledger yet", WRITE_LEDGER
        if not _is_site_current(rungs):
            return "ledger and site are not those of params.yaml as it is now", WRITE_ANEW
        if committed := _commit_evidence(study, git):
            return committed
        return _explain_block(rungs) or _freeze(
            study, row.gate, f"{row.gate} is not frozen, so {row.rung} may not start"
        )
    return None


def _explain(row: RungStatus) -> str:
    """Where a frozen rung stands. The protocol opens it, and `dvc repro` begins with the protocol."""
    from stages.hosts.worklist import read_current_contract

    return (row.closed or row.outcome) if read_current_contract(row.rung) else "its rules are frozen, so it may start"


def _train(study: Study, rungs: list[RungStatus], row: RungStatus, git: Git | None) -> Step:
    """`dvc repro`, of what is frozen; where runs need another machine, what this one can do."""
    from stages.hosts.machine import describe_machine, find_mismatches
    from stages.hosts.worklist import read_rung_work

    why = f"{row.rung}: {_explain(row)}"
    machine = describe_machine()
    fitting = [host for host, block in study.hosts.items() if not find_mismatches(block, machine)]
    if len(fitting) == len(study.hosts):
        frozen = [other.rung for other in rungs if other.lock is not None]
        return why, "dvc repro" if len(frozen) == len(rungs) else f"dvc repro {gate_stage(frozen[-1])}"
    work = read_rung_work(study, row.rung)
    left = list(study.hosts) if work.closed else list(work.waits_for())
    if not left:
        return why, f"dvc repro {gate_stage(row.rung)}"
    others = ", ".join(host for host in left if host not in fitting)
    if others and not has_remote(Path()):
        why += f", some by {others}; machines exchange runs through a DVC remote, and there is none"
        kept = git is not None and Path(".dvc/config").is_file()
        return why, f"{ADD_REMOTE} && {COMMIT_REMOTE}" if kept else ADD_REMOTE
    if own := next((host for host in left if host in fitting), None):
        return why, f"promotion work --host {own} --once"
    if work.closed:
        return why, "dvc repro protocol"
    return f"{why} by {others}; once `promotion work --host {left[0]}` pushed them there", "promotion pending --fetch"


def _finish(study: Study, rungs: list[RungStatus], git: Git | None) -> Step:
    if not _is_in_ledger(rungs):
        return "every gate has decided, but the ledger does not hold it yet", "dvc repro"
    if not _is_site_current(rungs):
        if (names.SITE / "index.html").is_file():
            return "the site is not that of ledger and params.yaml as they are now", "dvc repro"
        return "the ledger is written, and the site that shows it is not built yet", "dvc repro"
    if committed := _commit_evidence(study, git):
        return committed
    return _explain_block(rungs) or ("the study is complete", "promotion verify")


def _explain_block(rungs: list[RungStatus]) -> Step | None:
    """Where a gate is blocked the study ends, whatever is frozen after it: only an amendment leads on."""
    blocked = next((row for row in rungs if row.blocked_by), None)
    if blocked is None:
        return None
    amend = f"another rule for it is `promotion freeze {blocked.gate} --amend`"
    return f"{blocked.gate} is blocked and promotes nobody ({amend}): see what its rules observed", "promotion serve"


def _commit_evidence(study: Study, git: Git | None) -> Step | None:
    if git is None:
        return None
    paths, why = ["ledger", LOCK.as_posix(), "stages", names.PARAMS.as_posix()], "git does not hold the evidence yet"
    if find_ending(git):
        paths += [path for path in _rule_files(study, [], git) if path not in paths]
        why = "every file of the merge is decided, and git has not ended it"
    command = _commit(git, paths, "The evidence")
    return (why, command) if command else None


def _is_site_current(rungs: list[RungStatus]) -> bool:
    """Whether the site is built, and DVC recorded that it was built of the ledger and the params.yaml that are here."""
    if not (names.SITE / "index.html").is_file():
        return False
    if not LOCK.is_file():
        return True
    try:
        site = lockfile.parse(LOCK.read_bytes(), LOCK.as_posix()).get("site")
    except Invalid:
        return False
    ledger = site.deps.get(names.LEDGER.as_posix()) if site else None
    if site is None or ledger is None or ledger.md5 != md5_folder(names.LEDGER):
        return False
    present = yamlio.loads(names.PARAMS.read_bytes(), names.PARAMS.as_posix())
    unfrozen = {name for row in rungs if row.lock is None for name in (row.rung, row.gate)}  # may change until frozen

    def frozen(value: object) -> object:
        return {key: value[key] for key in value if key not in unfrozen} if isinstance(value, dict) else value

    recorded = site.params.get(names.PARAMS.as_posix(), {})
    return all(frozen(present.get(key)) == frozen(value) for key, value in recorded.items())


def _read_decisions() -> bytes:
    path = names.LEDGER / "decisions.jsonl"
    return path.read_bytes() if path.is_file() else b""


def _is_in_ledger(rungs: list[RungStatus]) -> bool:
    return _read_decisions() == b"".join(row.decision.to_bytes() for row in rungs if row.decision is not None)
