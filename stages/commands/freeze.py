"""Freeze the rules of params.yaml, before the evidence that they will judge.

    promotion freeze                 every gate of params.yaml, in order
    promotion freeze gate3           this gate alone (and the digests of later locks that follow from it)
    promotion freeze gate3 --amend --reason "k was meant to be 5"

Freezing the same rules again changes no byte. What params.yaml no longer asks for (another seed, host or configuration)
is taken from the workspace and from the dvc.lock files; git and the DVC cache keep it.

A rule that differs from the frozen one is refused once evidence of its rung exists, unless --amend gives a reason: the
amendment then stays in the lock for ever, and the site and `promotion verify` show it. The evidence that the old rule
would have judged is no longer evidence: `dvc repro` makes it anew.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from stages.domain import files, locks, names
from stages.domain.fail import Refused
from stages.domain.locks import Amendment, Frozen, Lock, LockRefused
from stages.domain.study import Study, load
from stages.protocol import corpus_digest, executed_runs, runner_digest
from stages.rungs import write_rungs
from stages.tidy import tidy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion freeze`."""
    parser.add_argument("gates", nargs="*", metavar="GATE", help="gates to freeze; all of them when none is named")
    parser.add_argument("--amend", action="store_true", help="change a rule although evidence of its rung exists")
    parser.add_argument("--reason", default="", help="why, with --amend; stays in the lock")
    parser.add_argument("--sign", metavar="KEY", type=Path, help="also sign each lock with this SSH key")


def freeze(study: Study, gates: list[str], reason: str | None) -> dict[str, str]:
    """Write the locks of `gates` and bring the chain after them up to date. Returns what was done, by gate."""
    order = [names.gate_of(rung) for rung in study.rungs]
    if unknown := [gate for gate in gates if gate not in order]:
        raise Refused(f"{unknown[0]}: no such gate; params.yaml has {', '.join(order)}")
    runner, corpus = runner_digest(), corpus_digest()
    frozen: dict[str, tuple[Frozen, str]] = {}
    previous: str | None = None
    for gate in order:
        old = locks.read(gate)
        if gate not in gates and old is None:
            break  # not frozen yet, and so nothing after it
        now = locks.frozen_of(study, gate, runner=runner, corpus=corpus, previous=previous)
        new = _next(gate, old, now, asked=gate in gates, reason=reason, chained=bool(frozen))
        previous = locks.digest_of(new)
        frozen[gate] = (new, _told(old, previous))
    if skipped := [gate for gate in gates if gate not in frozen]:
        raise Refused(
            f"{skipped[0]}: {order[len(frozen)]} before it is not frozen; `promotion freeze {order[len(frozen)]}`"
        )
    for gate, (content, _) in frozen.items():
        files.write_whole(names.lock_path(gate), locks.dumps(content))
    return {gate: told for gate, (_, told) in frozen.items()}


def _next(gate: str, old: Lock | None, now: Frozen, *, asked: bool, reason: str | None, chained: bool) -> Frozen:
    """What the lock of `gate` is to hold: unchanged, new, or amended."""
    if old is None:
        if executed_runs(names.rung_of(gate)):
            path = names.lock_path(gate).as_posix()
            raise LockRefused(
                f"{path} is missing, but evidence of {names.rung_of(gate)} exists; `git checkout -- {path}`"
            )
        return now
    change = locks.difference(old.frozen, now)
    if not asked:  # a lock that nobody asked to change follows the chain and nothing else
        change = {path: both for path, both in change.items() if path == "previous"}
        now = old.frozen.model_copy(update={"previous": now.previous, "amendments": []})
    if not change:
        return old.frozen
    kept = list(old.frozen.amendments)
    if executed_runs(names.rung_of(gate)):
        if reason is None:
            raise LockRefused(
                f"{names.lock_path(gate).as_posix()}: evidence of {names.rung_of(gate)} exists, and the rule differs:\n"
                f"{locks.tell(change)}\n  take the change back, or own it: "
                f'`promotion freeze {gate} --amend --reason "..."`; the evidence is then made anew'
            )
        kept.append(Amendment(reason=reason, replaces=old.digest, changed=change))
    return now.model_copy(update={"amendments": kept})


def _told(old: Lock | None, digest: str) -> str:
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
    gates = arguments.gates or [names.gate_of(rung) for rung in study.rungs]
    if arguments.sign and not arguments.sign.is_file():
        raise Refused(f"--sign {arguments.sign}: no such file; nothing was frozen")
    done = freeze(study, gates, arguments.reason.strip() if arguments.amend else None)
    for gate, told in done.items():
        lock = locks.read(gate)
        assert lock is not None
        print(f"{gate}: {told}, {len(lock.frozen.rules)} rules, {lock.digest[:16]}")
        if arguments.sign:
            from stages.audit.signatures import sign

            print(f"  signed: {sign(names.lock_path(gate), arguments.sign).as_posix()}")
    write_rungs(len(study.rungs))
    if gone := tidy(study):
        print(f"taken away, {len(gone)} outputs and dvc.lock entries of runs that no rule asks for, such as {gone[0]}")
    if any(told != "unchanged" for told in done.values()):
        print("commit this before the evidence: `git add locks params.yaml stages && git commit`, then `dvc repro`")
    return 0
