"""Manipulations over several commits, and of what history keeps. Registered with the suite in `tamper.py`."""

from __future__ import annotations

from typing import Any

from stages.domain import yamlio
from tests.verify.forger import DECISIONS, METRICS, RUNS, Forger
from tests.verify.tamper import caught
from tests.verify.tamper_rules import loosen

GATES = ("gate1", "gate2", "gate3")
LOCKS = tuple(f"locks/{gate}.yaml" for gate in GATES)
LEDGER = (RUNS, DECISIONS, METRICS)


def take_away(f: Forger, *paths: str) -> dict[str, bytes]:
    """Delete files; what they held."""
    held = {path: f.read(path) for path in paths}
    for path in paths:
        f.delete(path)
    return held


def put_back(f: Forger, held: dict[str, bytes], *paths: str) -> None:
    for path in paths or held:
        f.write(path, held[path])


# Rules or evidence taken away


@caught("lock-digests", "all locks taken away and a verdict turned around")
def all_locks_gone(f: Forger) -> None:
    take_away(f, *LOCKS)
    f.replace(DECISIONS, '"R2":false', '"R2":true') if b'"R2":false' in f.read(DECISIONS) else None


@caught("lock-digests", "everything taken away but params.yaml")
def nothing_left(f: Forger) -> None:
    take_away(f, *LOCKS, *LEDGER, *f.dvc_locks())


@caught("plain-files", "a symbolic link in the place of locks/")
def locks_linked(f: Forger) -> None:
    f.path("locks").rename(f.path("other"))
    f.path("locks").symlink_to("other")


@caught("plain-files", "another repository in the place of locks/")
def locks_a_repository(f: Forger) -> None:
    f.git("rm", "-q", "-r", "locks")
    f.git("update-index", "--add", "--cacheinfo", f"160000,{f.git('rev-parse', 'HEAD')},locks")
    f.git("commit", "-q", "-m", "locks elsewhere")
    f.path("locks").mkdir()


@caught("plain-files", "another repository in the place of ledger/", committed=False)
def ledger_a_repository(f: Forger) -> None:
    f.git("init", "-q", str(f.path("ledger")))


@caught("evidence-stayed", "the ledger and the root's dvc.lock taken away")
def ledger_taken_away(f: Forger) -> None:
    take_away(f, *LEDGER, "dvc.lock")


@caught("evidence-stayed", "the ledger and every dvc.lock taken away")
def evidence_taken_away(f: Forger) -> None:
    take_away(f, *LEDGER, *f.dvc_locks())


@caught("dvc-locks", "the root's dvc.lock taken away")
def root_lock_gone(f: Forger) -> None:
    f.delete("dvc.lock")


@caught("dvc-locks", "what followed the last gate taken out of dvc.lock")
def root_stages_gone(f: Forger) -> None:
    f.dvc("dvc.lock", lambda stages: [stages.pop(name) for name in ("ledger", "winner", "site")])


# Evidence replaced


@caught("evidence-stayed", "a score changed in a later commit, everything mended")
def score_replaced(f: Forger) -> None:
    f.run(lambda run: run["facts"].update(val_bpb=0.5), rung="rung3")
    f.judge()


@caught("evidence-stayed", "a rung withdrawn in one commit and reported better in the next, everything mended")
def reported_better(f: Forger) -> None:
    runs = f.runs()
    f.save_runs([run for run in runs if run["rung"] != "rung3"])
    f.commit("Withdraw")
    for run in runs:
        if run["rung"] == "rung3" and run["facts"]:
            run["facts"]["val_bpb"] = round(run["facts"]["val_bpb"] - 0.5, 6)
    f.save_runs(runs)
    f.judge()


# Rules moved on a detour


def loosen_in_two_commits(f: Forger) -> None:
    """Gate 2 loosened everywhere and committed; then the evidence re-labelled and everything mended."""
    f.everywhere(lambda value: loosen(value["gates"]["gate2"]))
    f.lock("gate2", lambda frozen: loosen(frozen["rules"]))
    old = f.read(RUNS)
    f.relabel()
    new = f.read(RUNS)
    f.write(RUNS, old)
    f.commit("Tidy")
    f.write(RUNS, new)
    f.judge()


@caught("rule-stayed", "a rule loosened on a detour through another study's name, everything mended")
def detour(f: Forger) -> None:
    held = f.read("locks/gate2.yaml")
    f.lock("gate2", lambda frozen: frozen.update(study="another"))
    f.commit("Rename")
    f.write("locks/gate2.yaml", held)
    loosen_in_two_commits(f)


@caught("rule-stayed", "a rule loosened under a new name for the study, its evidence kept, everything mended")
def renamed(f: Forger) -> None:
    f.everywhere(lambda value: value["study"].update(name="another"))
    for gate in GATES:
        f.lock(gate, lambda frozen: frozen.update(study="another"))
    loosen_in_two_commits(f)


def _digest(f: Forger, gate: str) -> str:
    return str(yamlio.loads(f.read(f"locks/{gate}.yaml"), gate)["digest"])


def _amend(f: Forger, gate: str, replaces: str, changed: dict[str, Any]) -> None:
    amendment = {"reason": "spelling", "replaces": replaces, "changed": changed}
    f.lock(gate, lambda frozen: frozen["amendments"].append(amendment))


@caught("rule-stayed", "a rule loosened by an amendment that says that nothing changed, everything mended")
def amendment_lies(f: Forger) -> None:
    old = {gate: _digest(f, gate) for gate in GATES}
    _amend(f, "gate2", old["gate2"], {})
    _amend(f, "gate3", old["gate3"], {})
    loosen_in_two_commits(f)


# Evidence first, where a reader of runs.jsonl does not see it


def start_anew(f: Forger) -> dict[str, bytes]:
    """Start history anew, without ledger lines and without locks; what they held."""
    f.git("checkout", "-q", "--orphan", "rewritten")
    return take_away(f, RUNS, *LOCKS)


def rules_then_evidence(f: Forger, held: dict[str, bytes]) -> None:
    f.commit("Results")
    put_back(f, held, *LOCKS)
    f.commit("Freeze")
    put_back(f, held)


@caught("rule-first", "history rewritten: decisions, metrics and dvc.lock files first, runs.jsonl last")
def decisions_first(f: Forger) -> None:
    rules_then_evidence(f, start_anew(f))


@caught("rule-first", "history rewritten: the dvc.lock files of the rungs first, the ledger last")
def rung_locks_first(f: Forger) -> None:
    held = start_anew(f) | take_away(f, DECISIONS, METRICS, "dvc.lock")
    rules_then_evidence(f, held)


def hidden_first(f: Forger, old: bytes, new: bytes) -> None:
    """History rewritten: the evidence first, spelt so that it does not look like any."""
    held = start_anew(f)
    rest = take_away(f, DECISIONS, METRICS, *f.dvc_locks())
    f.write(RUNS, held[RUNS].replace(old, new))
    rules_then_evidence(f, held | rest)


@caught("rule-first", "history rewritten: evidence first, one byte too many in each of its lines")
def broken_lines_first(f: Forger) -> None:
    hidden_first(f, b'{"budget"', b'!{"budget"')


@caught("rule-first", "history rewritten: evidence first, its runs done instead of finished")
def other_status_first(f: Forger) -> None:
    hidden_first(f, b'"finished"', b'"done"')


@caught("rule-first", "history rewritten: evidence first, its runs stopped with a score")
def stopped_with_score_first(f: Forger) -> None:
    hidden_first(f, b'"finished"', b'"stopped"')


@caught("rule-first", "history rewritten: evidence first under a lock of zeros")
def zero_lock_first(f: Forger) -> None:
    held = start_anew(f)
    rest = take_away(f, DECISIONS, METRICS, *f.dvc_locks())
    f.write(RUNS, held[RUNS])
    runs = f.runs()
    f.save_runs([{**run, "lock": "0" * 64} for run in runs])
    rules_then_evidence(f, held | rest)
