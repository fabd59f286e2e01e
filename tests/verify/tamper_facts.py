"""Manipulations of what a record says of its run besides the score. Registered with the suite in `tamper.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.verify.forger import Forger
from tests.verify.tamper import caught


def edited(change: Callable[[dict[str, Any]], Any], rung: str = "rung3") -> Callable[[Forger], None]:
    """Change the first finished run of a rung and mend everything that follows from it."""

    def make(f: Forger) -> None:
        f.run(change, rung=rung)
        f.judge()

    return make


def times(facts: dict[str, Any], *keys: str) -> None:
    facts.update({key: facts[key] * 10 for key in keys})


def untold(text: str, change: Callable[[dict[str, Any]], Any], name: str, rung: str = "rung3") -> None:
    """Register a change of one record that only its own input gives away."""
    make = edited(change, rung)
    make.__name__ = name
    caught("facts-of-record", f"{text}, everything mended")(make)


untold("ten times the steps", lambda run: times(run["facts"], "steps"), "steps_times_ten")
untold(
    "ten times the steps, tokens and rated seconds",
    lambda run: times(run["facts"], "steps", "tokens", "rated_seconds"),
    "everything_times_ten",
)
untold("other tokens than its steps take", lambda run: times(run["facts"], "tokens"), "tokens_times_ten")
untold("the largest number of steps that is read", lambda run: run["facts"].update(steps=10**21), "steps_huge")
untold("steps as text", lambda run: run["facts"].update(steps="many", tokens=None, rated_seconds={}), "steps_text")
untold(
    "another size of its model",
    lambda run: run["facts"]["model"].update(parameters=99_999_999, width=4096),
    "model_size",
)
untold("a list in the place of its model", lambda run: run["facts"].update(model=[1, 2]), "model_list")
untold("a fact that no run has", lambda run: run["facts"].update(note="a good one"), "unknown_fact")
untold(
    "everything but the score left out of its facts",
    lambda run: run.update(facts={"val_bpb": run["facts"]["val_bpb"]}),
    "facts_stripped",
    "rung1",
)
untold("text as its score on the locked split", lambda run: run["facts"].update(locked_bpb="great"), "locked_text")
untold(
    "a score on the locked split at a rung that has none",
    lambda run: run["facts"].update(locked_bpb=1.0),
    "locked_early",
    "rung1",
)
untold("no loss although steps ended", lambda run: run["facts"].update(train_loss=None), "no_loss")
untold(
    "progress of a wall clock in a rated run",
    lambda run: run["facts"].update(progress={"ticks": 4096, "steps": run["facts"]["steps"], "data": ""}),
    "progress_in_rated",
)
untold("a reason in a finished run", lambda run: run.update(reason="restarted until it looked good"), "reason")
untold("a diverged run that keeps its score", lambda run: run.update(status="diverged", reason="x"), "diverged_scored")
untold("a diverged run without a reason", lambda run: run.update(status="diverged", facts=None), "diverged_silent")


@caught("facts-of-record", "the outcome of one seed copied to another, everything mended")
def copied_seed(f: Forger) -> None:
    runs = f.runs()
    one = next(run for run in runs if run["rung"] == "rung3" and run["purpose"] == "candidate" and run["facts"])
    same = ("rung", "config", "host", "purpose")
    other = next(run for run in runs if run != one and all(run[key] == one[key] for key in same))
    other["facts"] = dict(one["facts"])
    f.save_runs(runs)
    f.judge()


@caught("facts-of-record", "another vocabulary in the models of all runs, everything mended")
def other_vocabulary(f: Forger) -> None:
    runs = f.runs()
    for run in runs:
        if run["facts"]:
            run["facts"]["model"]["vocab_size"] += 1
    f.save_runs(runs)
    f.judge()
