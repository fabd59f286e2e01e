"""Evidence and text that stood elsewhere: facts of another ledger, a text declared otherwise between lock and evidence.
Registered with the suite in `tamper.py`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from stages.domain import canonical
from tests.verify.forger import DECISIONS, METRICS, RUNS, Forger
from tests.verify.tamper import caught
from tests.verify.tamper_past import GATES, LOCKS, _amend, _digest, put_back, take_away

# Facts of a ledger that stood elsewhere


@caught("rule-stayed", "hindsight of another study, its facts those of the last rung here")
def hindsight_of_another(f: Forger) -> None:
    f.git("checkout", "-q", "--orphan", "rewritten")
    held = take_away(f, RUNS, DECISIONS, METRICS, *f.dvc_locks(), *LOCKS)
    rules = {path: held[path] for path in LOCKS}
    put_back(f, rules)
    for gate in GATES:
        f.lock(gate, lambda frozen: frozen.update(study="old"))
    f.commit("Rules of another study")
    more = {"purpose": "hindsight", "decision": "0" * 64, "lock": _digest(f, "gate3")}
    lines = [canonical.loads(line) for line in held[RUNS].splitlines()]
    chosen = [run | more for run in lines if run["rung"] == "rung3" and run["purpose"] == "candidate" and run["facts"]]
    f.write("ledger/hindsight.jsonl", b"".join(canonical.dumps(run) for run in chosen))
    f.commit("Its hindsight")
    f.delete("ledger/hindsight.jsonl")
    put_back(f, rules)
    f.commit("Rules")
    put_back(f, held)


def moved(text: str, name: str, place: str, change: Callable[[bytes], bytes], check: str = "rule-stayed") -> None:
    """Register a history in which the study stood in another folder, under other rules, and its evidence is taken on."""

    def make(f: Forger) -> None:
        f.git("checkout", "-q", "--orphan", "rewritten")
        held = take_away(f, RUNS, DECISIONS, METRICS, *f.dvc_locks())
        for path in (*LOCKS, "params.yaml"):
            f.write(f"{place}/{path}", f.read(path))
        f.commit("A study in a folder")
        runs = [canonical.loads(line) for line in held[RUNS].splitlines()]
        relabelled = b"".join(canonical.dumps({**run, "lock": "1" * 64}) for run in runs)
        f.write(f"{place}/{RUNS}", change(relabelled))
        f.commit("Its evidence")
        f.git("rm", "-q", "-r", "--cached", place)
        shutil.rmtree(f.path(place.partition("/")[0]))
        f.commit("Moved")
        put_back(f, held)

    make.__name__ = name
    caught(check, text)(make)


moved("a study that was moved out of a folder, its facts under other rules", "moved_up", "sub", lambda data: data)
moved("a study that was moved out of a folder's folder", "moved_far", "a/b c/d", lambda data: data)
moved(
    "a study that was moved, its old ledger behind marks",
    "moved_marked",
    "sub",
    lambda data: b"".join(b"!" + line for line in data.splitlines(True)),
    "evidence-stayed",
)


# Text declared otherwise between the lock and its evidence


def declared(text: str, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Register a history in which params.yaml changes together with the first evidence."""

    def make(f: Forger) -> None:
        f.git("checkout", "-q", "--orphan", "rewritten")
        held = take_away(f, RUNS, DECISIONS, METRICS, *f.dvc_locks())
        f.commit("Freeze")
        put_back(f, held)
        f.everywhere(change)
        f.judge()

    make.__name__ = name
    caught("one-corpus", f"{text} changed in the commit of the first evidence, everything mended")(make)


declared("the pinned package of the text", "declared_source", lambda v: v["data"]["source"].update(version="9"))
declared("the share of the validation split", "declared_val_share", lambda v: v["data"].update(val_per_mille=200))
declared("the share of the locked split", "declared_locked_share", lambda v: v["data"].update(locked_per_mille=200))
declared("the bytes that the tokeniser saw", "declared_tokenizer", lambda v: v["data"].update(tokenizer_bytes=999))


def frozen_beside(text: str, name: str, change: Callable[[Forger], Any]) -> None:
    """Register a history that freezes the locks beside another params.yaml, and declares another text with evidence."""

    def make(f: Forger) -> None:
        f.git("checkout", "-q", "--orphan", "rewritten")
        held = take_away(f, RUNS, DECISIONS, METRICS, *f.dvc_locks())
        params = f.read("params.yaml")
        change(f)
        f.commit("Freeze")
        f.write("params.yaml", params)
        put_back(f, held)
        f.everywhere(lambda value: value["data"]["source"].update(version="9"))
        f.judge()

    make.__name__ = name
    caught("one-corpus", f"{text}; another text beside the first evidence, everything mended")(make)


frozen_beside(
    "locks committed beside another budget",
    "frozen_beside_budget",
    lambda f: f.params(lambda v: v["rungs"]["rung1"].update(budget_seconds=0.06)),
)
frozen_beside(
    "locks committed beside other seeds",
    "frozen_beside_seeds",
    lambda f: f.params(lambda v: v["rungs"]["rung1"].update(seeds=[91])),
)
frozen_beside("locks committed without params.yaml", "frozen_beside_nothing", lambda f: f.delete("params.yaml"))
frozen_beside(
    "locks committed beside a params.yaml that is no study",
    "frozen_beside_no_study",
    lambda f: f.write("params.yaml", b"study: [\n"),
)


@caught("one-corpus", "locks taken away and frozen again beside another text, everything mended")
def frozen_twice(f: Forger) -> None:
    f.git("checkout", "-q", "--orphan", "rewritten")
    held = take_away(f, RUNS, DECISIONS, METRICS, *f.dvc_locks())
    f.commit("Freeze")
    rules = take_away(f, *LOCKS)
    f.commit("Thaw")
    f.params(lambda value: value["data"]["source"].update(version="9"))
    put_back(f, rules)
    f.commit("Freeze again")
    put_back(f, held)
    f.everywhere(lambda value: None)
    f.judge()


@caught("one-corpus", "another text under the cover of an amendment of gate 1, everything mended")
def declared_by_amendment(f: Forger) -> None:
    old = {gate: _digest(f, gate) for gate in GATES}
    for gate in GATES:
        _amend(f, gate, old[gate], {})
    f.everywhere(lambda value: value["data"]["source"].update(version="9"))
    evidence = f.read(RUNS)
    f.relabel()
    new = f.read(RUNS)
    f.write(RUNS, evidence)
    f.commit("A typo")
    f.write(RUNS, new)
    f.judge()
