"""The protocol: refuses what differs from the locks before anything trains, then writes what each rung may rely on.

    python -m stages.protocol        (run by `dvc repro`)

For every rung it writes artifacts/protocol/rungN.json: the digests of the lock of gate N, of the runner and of the
corpus, and everything that the lock froze. A run reads nothing else but its own configuration and ticket. A gate that
is not frozen yet leaves its rung's contract closed: earlier rungs may run, this one says what to do first.
`configs.json` beside them tells which model each configuration builds, and knobs/CONFIG.json has what a run of it is
given: DVC compares it for every run, and a file of their own spares it parsing params.yaml as often.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from stages.domain import canonical, files, locks, names
from stages.domain.contract import KNOBS_KEY, SCHEMA, ClosedContract, from_lock
from stages.domain.errors import main_guard
from stages.domain.locks import LockRefused
from stages.domain.study import Study, load
from stages.runners import Folder, StudyModels, runner_of

_TRAINED = re.compile(rb'"status":"(finished|diverged|failed)"')
_LOCK = re.compile(rb'"lock":"([0-9a-f]{64})"')


def runner_digest(study: Study, root: Path = Path()) -> str:
    """SHA-256 of the study's fixed runner, such as every Python file of trainer/."""
    return runner_of(study.runner).digest(Folder(root)) or files.digest_of(())


def corpus_digest(root: Path = Path()) -> str:
    """SHA-256 of the corpus manifest, which holds the digest of every file of the corpus."""
    path = names.CORPUS / "manifest.json"
    if not (root / path).is_file():
        raise LockRefused(f"{path.as_posix()} is missing; `dvc repro corpus` builds it")
    return files.sha256_file(root / path)


def executed_under(rung: str, root: Path = Path()) -> set[str]:
    """The digests of the locks under which evidence of a rung exists, in the workspace or in the ledger."""
    ledger = root / names.LEDGER / "runs.jsonl"
    lines = [path.read_bytes() for path in (root / names.RECORDS / rung).glob("*/*/*.json")]
    lines += ledger.read_bytes().split(b"\n") if ledger.is_file() else []
    needle = f'"rung":"{rung}"'.encode()
    trained = [line for line in lines if needle in line and _TRAINED.search(line)]
    return {match[1].decode("ascii") for line in trained if (match := _LOCK.search(line))}


def executed_runs(rung: str, root: Path = Path()) -> bool:
    """Whether evidence of a rung exists, in the workspace or in the ledger."""
    return bool(executed_under(rung, root))


def check(study: Study, runner: str, corpus: str) -> dict[str, locks.Lock]:
    """The locks that exist, in order, each one equal to what params.yaml would freeze (frozen mode)."""
    existing: dict[str, locks.Lock] = {}
    previous: str | None = None
    missing: str | None = None
    for gate in (names.gate_of(rung) for rung in study.rungs):
        lock = locks.read(gate)
        if lock is None:
            missing = missing or gate
            _refuse_gap(gate, existing)
            continue
        if missing:
            raise LockRefused(
                f"{names.lock_path(missing)} is missing, but that of {gate} exists; `promotion freeze {missing}`"
            )
        now = locks.frozen_of(study, gate, runner=runner, corpus=corpus, previous=previous)
        if change := locks.difference(lock.frozen, now):
            _refuse_difference(gate, change, study.study.mode)
        existing[gate], previous = lock, lock.digest
    return existing


def _refuse_gap(gate: str, existing: dict[str, locks.Lock]) -> None:
    path = names.lock_path(gate).as_posix()
    if not existing:
        raise LockRefused(f"{path} is missing; look at gates.{gate} in params.yaml, then `promotion freeze`")
    if executed_runs(names.rung_of(gate)):
        raise LockRefused(f"{path} is missing, but evidence of {names.rung_of(gate)} exists; `git checkout -- {path}`")


def _decides(path: str) -> bool:
    """Whether a gate can answer what-if for a change at this path over the evidence that is there."""
    return path.partition(".")[0] in ("rules", "roles")


def _refuse_difference(gate: str, change: locks.Change, mode: str) -> None:
    """Refuse what differs from a lock; in an exploratory study, what of it no what-if can answer."""
    path, rung = names.lock_path(gate).as_posix(), names.rung_of(gate)
    if mode != "frozen":
        if other := {place: both for place, both in change.items() if not _decides(place)}:
            raise LockRefused(
                f"{path}: no what-if can answer this, for it would have made other evidence:\n{locks.tell(other)}\n"
                "  a what-if may change gates and roles; take the rest back, or freeze it in a study of its own"
            )
        return
    remedy = f"promotion freeze {gate}" + (' --amend --reason "..."' if executed_runs(rung) else "")
    what_if = "; to ask what-if without touching anything: `dvc exp run --temp -S study.mode=exploratory ...`"
    raise LockRefused(
        f"{path}: differs from params.yaml, the runner or the corpus:\n"
        f"{locks.tell(change)}\n"
        f"  take the change back, or freeze it: `{remedy}` (this invalidates the evidence of {rung} and above)"
        + (what_if if all(map(_decides, change)) else "")
    )


def validate(study: Study) -> StudyModels:
    """What every configuration builds; refuses a study that its runner would."""
    return runner_of(study.runner).validate(study)


def _remove_stale(study: Study) -> None:
    """Take away the files of rungs and configurations that the study no longer has."""
    kept = {*(names.PROTOCOL / f"{rung}.json" for rung in study.rungs), *map(names.knobs_path, study.configs)}
    for path in (*names.PROTOCOL.glob("rung*.json"), *names.PROTOCOL.glob("knobs/*.json")):
        if path not in kept:
            path.unlink()


def main() -> None:
    """Check the locks and write artifacts/protocol/."""
    study = load()
    corpus = corpus_digest()
    models = validate(study)
    frozen = check(study, runner_digest(study), corpus)
    _remove_stale(study)
    for rung in study.rungs:
        lock = frozen.get(names.gate_of(rung))
        contract = from_lock(lock) if lock else ClosedContract(rung)
        files.write_whole(names.PROTOCOL / f"{rung}.json", contract.to_bytes())
    for config, knobs in study.configs.items():
        files.write_whole(names.knobs_path(config), canonical.dumps({"schema": SCHEMA, KNOBS_KEY: knobs}))
    content = {"schema": SCHEMA, "configs": dict(models.by_config)}
    files.write_whole(names.PROTOCOL / "configs.json", canonical.dumps(content))
    for note in models.notes:
        print(f"note: {note}", file=sys.stderr)


if __name__ == "__main__":
    main_guard(main)
