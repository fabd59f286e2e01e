"""Freeze the rules of params.yaml, before the evidence that they will judge.

    promotion freeze                 every gate of params.yaml, in order
    promotion freeze gate3           this gate alone (and the digests of later locks that follow from it)
    promotion freeze gate3 --amend --reason "k was meant to be 5"
    promotion freeze gate3 --amend --reason "a disk was failing"       the same rule; its evidence is made again

Freezing the same rules again changes no byte. Runs that params.yaml no longer has (another seed, host or configuration)
are removed from the workspace and from the dvc.lock files; git and the DVC cache keep them.

A rule that differs from the frozen one is refused once evidence of its rung exists, here or in git's history, unless
--amend gives a reason: the amendment then stays in the lock, and the site and `promotion verify` show it. The
evidence for the old rule no longer counts: `dvc repro` makes it again.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from stages.commands.arguments import user_path
from stages.domain import files, locks, names
from stages.domain.conflicts import refuse_conflicts
from stages.domain.errors import Refused
from stages.domain.locks import Amendment, Frozen, Lock, LockRefused
from stages.domain.study import Study, load
from stages.protocol import corpus_digest, executed_under, runner_digest, validate
from stages.prune import prune
from stages.rungs import take_over_command, write_rungs

if TYPE_CHECKING:
    from stages.repo.past_files import PastLock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion freeze`."""
    parser.add_argument("gates", nargs="*", metavar="GATE", help="gates to freeze; all of them when none is named")
    parser.add_argument(
        "--amend", action="store_true", help="change a rule whose evidence exists, or have it made again"
    )
    parser.add_argument("--reason", default="", help="why, with --amend; stays in the lock")
    parser.add_argument("--sign", metavar="KEY", type=user_path, help="also sign each lock with this SSH key")


def freeze(study: Study, gates: list[str], reason: str | None, key: Path | None = None) -> dict[str, str]:
    """Write the locks of `gates` (all, if none is named) and bring the chain after them up to date.

    Returns what was done, by gate. With a reason, a gate that is named is amended even where its rule stays: then its
    evidence is to be made a second time, and that must show. With a key each lock is signed, and none is written before
    all are; without one, the signature of a lock that changes is taken away.
    """
    planned = plan_locks(study, gates, reason)
    contents = {names.lock_path(gate): locks.dumps(content) for gate, (content, _) in planned.items()}
    if key is not None:
        from stages.verify import make_signature

        contents |= {_signature_path(path): make_signature(data, key) for path, data in contents.items()}
    stale = [] if key else [_signature_path(path) for path, data in contents.items() if _differs(path, data)]
    _write_together(contents, [path for path in stale if path.is_file()])
    return {gate: change for gate, (_, change) in planned.items()}


def _signature_path(path: Path) -> Path:
    return path.with_name(path.name + ".sig")


def _differs(path: Path, data: bytes) -> bool:
    return not path.is_file() or path.read_bytes() != data


def _write_together(contents: dict[Path, bytes], removed: list[Path]) -> None:
    """Write files and remove others; where one cannot be written, all are again as they were."""
    before = {path: path.read_bytes() if path.is_file() else None for path in (*contents, *removed)}
    try:
        for path, data in contents.items():
            files.write_whole(path, data)
        for path in removed:
            path.unlink()
            print(f"{path.as_posix()} was of the lock before, and is taken away; --sign KEY signs the new one")
    except (OSError, ValueError):
        for path, old in before.items():
            with contextlib.suppress(OSError, ValueError):
                path.unlink(missing_ok=True) if old is None else files.write_whole(path, old)
        raise


def plan_locks(study: Study, gates: list[str], reason: str | None) -> dict[str, tuple[Frozen, str]]:
    """What the locks of `gates` and those after them are to hold, and what that changes, by gate."""
    from stages.repo.git import UNSHALLOW
    from stages.repo.history_reader import history_at_head
    from stages.repo.objects import GitAbsent

    order = [names.gate_of(rung) for rung in study.rungs]
    if unknown := [gate for gate in gates if gate not in order]:
        raise Refused(f"{unknown[0]}: no such gate; params.yaml has {', '.join(order)}")
    runner, corpus, history = runner_digest(study), corpus_digest(), history_at_head()
    past, foreign = history.locks_with_evidence_of(study.study.name), history.locks_with_evidence()
    validate(study)  # before anything is written: a lock holds forever
    frozen: dict[str, tuple[Frozen, str]] = {}
    previous: str | None = None
    for gate in order:
        old, asked = locks.read(gate), gate in (gates or order)
        if not asked and old is None:
            break  # not frozen yet, and so nothing after it
        now = locks.frozen_of(study, gate, runner=runner, corpus=corpus, previous=previous)
        if old is None:
            _refuse_seen_seeds(now, foreign)
        if not asked and old is not None:  # a lock that nobody asked to change follows the chain and nothing else
            seeds = sorted(seed for before, _ in frozen.values() for seed in (*before.seeds, *before.floor_seeds))
            now = old.frozen.model_copy(update={"previous": previous, "amendments": [], "earlier_seeds": seeds})
        new = _make_next(gate, old, now, _list_judged(gate, old, past), named=gate in gates, reason=reason)
        previous = locks.digest_of(new)
        frozen[gate] = (new, _describe_change(old, previous))
    if skipped := [gate for gate in gates if gate not in frozen]:
        raise Refused(
            f"{skipped[0]}: {order[len(frozen)]} before it is not frozen; `promotion freeze {order[len(frozen)]}`"
        )
    if study.study.from_ is not None:
        _refuse_wrong_origin(study, {gate: content for gate, (content, _) in frozen.items()})
    if history.cut and any(change != "unchanged" for _, change in frozen.values()):
        raise GitAbsent(
            f"a shallow clone: what came before commit {history.cut[:12]} is hidden, and whether evidence under these "
            "rules was seen before; nothing was frozen",
            UNSHALLOW,
        )
    return frozen


def _refuse_wrong_origin(study: Study, frozen: dict[str, Frozen]) -> None:
    """Refuse rules of a study that does not go on from where it says: its evidence would never verify."""
    from stages.verify import find_origin_problems

    known = {
        gate: Lock.model_validate({"schema": locks.SCHEMA, "frozen": content, "digest": locks.digest_of(content)})
        for gate, content in frozen.items()
    }
    if problems := find_origin_problems(Path(), study, known):
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise LockRefused(f"study.from: this study does not go on from where it says; nothing was frozen:\n{lines}")


def _refuse_seen_seeds(now: Frozen, judged: list[PastLock]) -> None:
    """Refuse to begin a gate with seeds whose evidence git holds under another study's name: it was seen already."""
    same = ("runner", "corpus", "budget_seconds")
    for lock in judged:
        seeds = set(now.seeds) & {seed for seed in lock.frozen.get("seeds", []) if isinstance(seed, int)}
        if lock.study != now.study and seeds and all(lock.frozen.get(key) == getattr(now, key) for key in same):
            raise LockRefused(
                f"params.yaml: rungs.{now.rung}.seeds: found {min(seeds)}, with which git holds evidence of the study "
                f"{lock.study}; expected seeds that no study of this history used: a rule is no rule for what was seen "
                "before"
            )


def _list_judged(gate: str, old: Lock | None, past: dict[str, list[PastLock]]) -> list[PastLock]:
    """The locks of a gate that have judged evidence, the one that stands here last if it has."""
    from stages.repo.past_files import PastLock

    judged, executed = list(past.get(gate, [])), executed_under(names.rung_of(gate))
    if old is None and executed:
        path = names.lock_path(gate).as_posix()
        raise LockRefused(f"{path} is missing, but evidence of {names.rung_of(gate)} exists; `git checkout -- {path}`")
    known = {lock.digest for lock in judged}
    if old is not None and old.digest not in known and (old.digest in executed or (executed and not judged)):
        judged.append(PastLock(gate, old.digest, old.frozen.to_json()))
    return judged


def _make_next(
    gate: str, old: Lock | None, now: Frozen, judged: list[PastLock], *, named: bool, reason: str | None
) -> Frozen:
    """What the lock of `gate` is to hold: unchanged, new, or with an amendment for each lock that judged before it."""
    if judged:
        kept = [Amendment.model_validate(amendment) for amendment in judged[-1].frozen.get("amendments", [])]
    else:
        kept = list(old.frozen.amendments) if old else []
    owed = [lock for lock in judged if lock.digest not in {amendment.replaces for amendment in kept}]
    change = locks.difference(old.frozen, now) if old else {}
    if change and judged and reason is None and not locks.difference(judged[-1].frozen, now):
        return Frozen.model_validate(judged[-1].frozen)  # an amendment that judged nothing yet was taken back
    hidden = [lock for lock in owed if old and lock.digest not in {old.digest, *_list_replaced(old)}]
    if old and not change and (reason is None or not (hidden or (named and owed))):
        return old.frozen
    if owed and reason is None:
        raise LockRefused(_explain_refusal(gate, owed[-1], now, change))
    after = [*(lock.frozen for lock in owed), now.to_json()][1:]
    kept += [
        Amendment(reason=str(reason), replaces=lock.digest, changed=locks.difference(lock.frozen, new))
        for lock, new in zip(owed, after, strict=True)
    ]
    return now.model_copy(update={"amendments": kept})


def _list_replaced(lock: Lock) -> list[str]:
    return [amendment.replaces for amendment in lock.frozen.amendments]


def _explain_refusal(gate: str, judged: PastLock, now: Frozen, change: locks.Change) -> str:
    rung, path = names.rung_of(gate), names.lock_path(gate).as_posix()
    own = f'`promotion freeze {gate} --amend --reason "..."`; the evidence is then made anew'
    if change:
        other = "; a study of its own begins with `promotion study use FILE`" if "study" in change else ""
        return (
            f"{path}: evidence of {rung} exists, and the rule differs:\n{locks.tell(change)}\n"
            f"  take the change back, or own it: {own}{other}"
        )
    differs = locks.difference(judged.frozen, now)
    difference = f"; what differs now:\n{locks.tell(differs)}\n  " if differs else "; "
    return (
        f"{path}: git holds evidence of {rung} under lock {judged.digest[:12]} of this study{difference}"
        f"bring that back (`promotion study back {judged.study}`), "
        f"or own it: {own}; a study with another study.name and other seeds starts without a past"
    )


def _describe_change(old: Lock | None, digest: str) -> str:
    if old is None:
        return "frozen"
    return "unchanged" if old.digest == digest else "frozen anew"


def run(arguments: argparse.Namespace) -> int:
    """Freeze and say what was done."""
    if arguments.amend and not arguments.reason.strip():
        raise Refused('--amend needs --reason "...": it stays in the lock for ever')
    if arguments.reason and not arguments.amend:
        raise Refused("--reason goes with --amend")
    study = load()
    if study.study.mode != "frozen":
        raise Refused("params.yaml: study.mode: found 'exploratory', expected 'frozen': what-ifs are not frozen")
    patterns = ("dvc.*", "locks/*.yaml", "stages/ladder/**/dvc.*", "ledger/*.json*")
    refuse_conflicts(sorted(path for pattern in patterns for path in Path().glob(pattern)))
    if command := take_over_command():
        raise Refused(f"stages/rungN/dvc.lock: an earlier layout of DVC's files; take it over first: `{command}`")
    done = freeze(study, arguments.gates, arguments.reason.strip() if arguments.amend else None, arguments.sign)
    for gate, change in done.items():
        lock = locks.read(gate)
        assert lock is not None
        print(f"{gate}: {change}, {len(lock.frozen.rules)} rules, {lock.digest[:16]}")
        if arguments.sign:
            print(f"  signed: {_signature_path(names.lock_path(gate)).as_posix()}")
    removed = prune(study)
    write_rungs(study)
    if removed:
        count, first = len(removed), removed[0]
        print(f"taken away, {count} outputs and dvc.lock entries of runs that no rule asks for, such as {first}")
    from stages.repo.dvc_entries import restore_entries

    if restored := restore_entries(study):
        count, first = len(restored), restored[0]
        print(f"brought back, {count} dvc.lock entries of runs in the ledger, such as {first}; now `dvc checkout`")
    from stages.commands.next_step import commit_rules_command

    if command := commit_rules_command(study):
        print(f"commit this before the evidence: `{command}`; then `promotion status` says what comes next")
    return 0
