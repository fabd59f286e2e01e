"""Manipulations over several commits, and of what history keeps. Registered with the suite in `tamper.py`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
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


# Objects that git would not write


def literal(f: Forger, kind: str, data: bytes) -> str:
    """Write an object as it is; its id."""
    words = ["git", "hash-object", "-t", kind, "-w", "--literally", "--stdin"]
    return subprocess.run(words, cwd=f.root, input=data, capture_output=True, check=True).stdout.decode().strip()


def content(f: Forger, kind: str, name: str) -> bytes:
    return subprocess.run(["git", "cat-file", kind, name], cwd=f.root, capture_output=True, check=True).stdout


def odd_commit(text: str, name: str, change: Callable[[bytes], bytes]) -> None:
    """Register a last commit that git would not write, and reads otherwise than whoever takes its lines one by one."""

    def make(f: Forger) -> None:
        f.git("reset", "-q", "--soft", literal(f, "commit", change(content(f, "commit", "HEAD"))))

    make.__name__ = name
    caught("rule-first", text, committed=False)(make)


def odd_folder(text: str, name: str, change: Callable[[bytes], bytes]) -> None:
    """Register a last commit whose folder git would not write."""

    def make(f: Forger) -> None:
        tree = literal(f, "tree", change(content(f, "tree", "HEAD^{tree}")))
        f.git("reset", "-q", "--soft", f.git("commit-tree", "-p", "HEAD", "-m", "odd", tree))

    make.__name__ = name
    caught("rule-first", text, committed=False)(make)


def second_head(data: bytes, line: bytes) -> bytes:
    return data.replace(b"\n\n", b"\n" + line + b"\n\n", 1)


def first_line(data: bytes, kind: bytes) -> bytes:
    return next(line for line in data.split(b"\n") if line.startswith(kind + b" "))


odd_commit(
    "a parent named after the committer", "late_parent", lambda data: second_head(data, first_line(data, b"parent"))
)
odd_commit("two folders in one commit", "late_tree", lambda data: second_head(data, first_line(data, b"tree")))
odd_commit("two authors", "two_authors", lambda data: second_head(data, first_line(data, b"author")))
odd_commit("a NUL in a commit's message", "nul_in_message", lambda data: data + b"\0gone\n")
odd_folder(
    "a folder mode with a zero in front", "zero_mode", lambda data: data.replace(b"40000 locks", b"040000 locks")
)
odd_folder(
    "locks/ as no folder of any mode that git has",
    "odd_mode",
    lambda data: data.replace(b"40000 locks", b"40755 locks"),
)
odd_folder(
    "a folder that holds params.yaml twice", "twice", lambda data: data + data[data.index(b"100644 params.yaml") :]
)
