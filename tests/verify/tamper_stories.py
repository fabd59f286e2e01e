"""Stories that hang together and are not true: outcomes under another name, failed runs repeated, lines that are no
record. Registered with the suite in `tamper.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.verify.forger import DECISIONS, METRICS, RUNS, Forger
from tests.verify.tamper import caught
from tests.verify.tamper_past import GATES, _amend, _digest, put_back, take_away
from tests.verify.tamper_rules import loosen

Run = dict[str, Any]
OUTCOME = ("val_bpb", "train_loss")


# One outcome under two names


def copied(text: str, name: str, source: Callable[[Run], bool], target: Callable[[Run], bool]) -> None:
    """Register a copy of the first outcome of a kind to the first run of another kind, everything mended."""

    def make(f: Forger) -> None:
        runs = [run for run in f.runs() if run["status"] == "finished"]
        origin = next(run for run in runs if source(run))
        copy = next(run for run in runs if run != origin and target(run))
        changed = f.runs()
        for run in changed:
            if run == copy:
                run["facts"].update({key: origin["facts"][key] for key in OUTCOME})
        f.save_runs(changed)
        f.judge()

    make.__name__ = name
    caught("facts-of-record", f"{text}, everything mended")(make)


def is_run(**values: Any) -> Callable[[Run], bool]:
    return lambda run: all(run[key] == value for key, value in values.items())


copied(
    "the outcome of one host copied to a host of other numerics",
    "copied_host",
    is_run(rung="rung1", config="d1-a", host="cpu-fp32"),
    is_run(rung="rung1", config="d1-a", host="cpu-bf16"),
)
copied(
    "the outcome of one configuration copied to another model",
    "copied_config",
    is_run(rung="rung1", config="d1-a", host="cpu-fp32"),
    is_run(rung="rung1", config="d2-a", host="cpu-fp32"),
)
copied(
    "the outcome of an earlier rung copied to the last one",
    "copied_rung",
    is_run(rung="rung2", purpose="candidate"),
    is_run(rung="rung3", purpose="candidate"),
)
copied(
    "the outcome of a candidate copied to an A/A run",
    "copied_to_floor",
    is_run(rung="rung3", purpose="candidate"),
    is_run(rung="rung3", purpose="floor"),
)
copied(
    "the outcome of one A/A run copied to the other",
    "copied_floor",
    is_run(rung="rung3", purpose="floor"),
    lambda run: run["purpose"] == "floor" and run["seed"] == 32,
)


@caught("facts-of-record", "all runs of a rung with one outcome, everything mended")
def one_outcome(f: Forger) -> None:
    runs = f.runs()
    for run in runs:
        if run["rung"] == "rung1":
            run["facts"].update({key: runs[0]["facts"][key] for key in OUTCOME})
    f.save_runs(runs)
    f.judge()


# Evidence seen before, under other names


def rename_everywhere(f: Forger, change: Callable[[Run], None], frozen: Callable[[dict[str, Any]], None]) -> None:
    """A new study of old facts, append-only: rules loosened and frozen in one commit, the evidence in the next."""
    for gate in GATES:
        f.lock(gate, lambda value: value.update(study="another"))
        f.lock(gate, frozen)
    f.lock("gate2", lambda value: loosen(value["rules"]))
    old = f.read(RUNS)
    f.relabel()
    runs = f.runs()
    for run in runs:
        change(run)
    f.write(RUNS, old)
    f.commit("Another study")
    f.save_runs(runs)
    f.sort()
    f.judge()


def begin_another(value: dict[str, Any]) -> None:
    """params.yaml of the new study: another name, and gate 2 loosened."""
    value["study"].update(name="another")
    loosen(value["gates"]["gate2"])


def shift_seeds(section: dict[str, Any], by: int = 100) -> None:
    for key in ("seeds", "floor_seeds", "earlier_seeds"):
        if key in section:
            section[key] = [seed + by for seed in section[key]]


def shift_seed(run: Run) -> None:
    run["seed"] += 100
    if run["spec"]:
        run["spec"]["seed"] += 100


@caught("rule-stayed", "a new name for the study, rules loosened, old facts under new seeds")
def renamed_with_seeds(f: Forger) -> None:
    f.params(begin_another)
    f.params(lambda value: list(map(shift_seeds, value["rungs"].values())))
    rename_everywhere(f, shift_seed, shift_seeds)


def renamed_key(text: str, name: str, section: str, field: str, old: str, new: str) -> None:
    """Register a new study whose configuration or host has another name, with old facts and old seeds."""

    def move(mapping: dict[str, Any]) -> None:
        mapping[new] = mapping.pop(old)

    def change(run: Run) -> None:
        run[field] = new if run[field] == old else run[field]

    def frozen(value: dict[str, Any]) -> None:
        if old in (value.get(section) or {}):
            move(value[section])
        value["roles"] = {role: new if name == old else name for role, name in value["roles"].items()}

    def make(f: Forger) -> None:
        f.params(begin_another)
        f.params(lambda value: move(value[section]))
        f.params(lambda value: value.update(roles={r: new if n == old else n for r, n in value["roles"].items()}))
        for path in (
            *f.dvc_locks(),
            *(path for path in f.git("ls-files", "stages/ladder").split() if path.endswith(".yaml")),
        ):
            f.write(path, f.read(path).replace(old.encode(), new.encode()))
        rename_everywhere(f, change, frozen)

    make.__name__ = name
    caught("rule-stayed", text)(make)


renamed_key(
    "a new name for the study, rules loosened, old facts under the new name of a host",
    "renamed_with_host",
    "hosts",
    "host",
    "cpu-bf16",
    "laptop",
)
renamed_key(
    "a new name for the study, rules loosened, old facts under the new name of a configuration",
    "renamed_with_config",
    "configs",
    "config",
    "d1-b",
    "d1-z",
)


@caught("rule-stayed", "an amendment that takes new seeds, old facts under them, everything mended")
def amended_with_seeds(f: Forger) -> None:
    replaces = _digest(f, "gate3")
    f.everywhere(lambda value: shift_seeds(value["rungs"]["rung3"]))
    changed = {"seeds": {"was": [3, 4], "is": [103, 104]}, "floor_seeds": {"was": [31, 32], "is": [131, 132]}}
    f.lock("gate3", lambda frozen: frozen.update({key: both["is"] for key, both in changed.items()}))
    _amend(f, "gate3", replaces, changed)
    old = f.read(RUNS)
    f.relabel()
    runs = f.runs()
    for run in runs:
        if run["rung"] == "rung3":
            shift_seed(run)
    f.write(RUNS, old)
    f.commit("Amend")
    f.save_runs(runs)
    f.sort()
    f.judge()


# Failed runs


def failed_first(f: Forger, *attempts: Callable[[Run], Any]) -> None:
    """History rewritten: rules, then evidence with a run of rung 3 as each attempt leaves it, then as it stands now."""
    f.git("checkout", "-q", "--orphan", "rewritten")
    held = take_away(f, RUNS, DECISIONS, METRICS, *f.dvc_locks())
    f.commit("Freeze")
    for attempt in attempts:
        f.write(RUNS, held[RUNS])
        f.run(attempt, rung="rung3")
        f.commit("An unlucky run")
    put_back(f, held)


def fail(number: int = 1, **more: Any) -> Callable[[Run], None]:
    return lambda run: run.update(status="failed", reason=f"out of memory, {number}", **more)


@caught("evidence-stayed", "a run recorded as failed with its score, then repeated better")
def failed_with_score(f: Forger) -> None:
    failed_first(f, fail())


@caught("evidence-stayed", "a run recorded as failed with the loss of its training, then repeated better")
def failed_with_loss(f: Forger) -> None:
    failed_first(f, lambda run: fail(facts={"train_loss": run["facts"]["train_loss"]})(run))


@caught("evidence-stayed", "a run recorded as failed with empty facts, then repeated better")
def failed_with_nothing(f: Forger) -> None:
    failed_first(f, fail(facts={}))


@caught("evidence-stayed", "a run that failed six times before it suited")
def failed_too_often(f: Forger) -> None:
    failed_first(f, *(fail(number, facts=None) for number in range(6)))


@caught("facts-of-record", "a failed run that keeps its facts, everything mended")
def failed_keeps_facts(f: Forger) -> None:
    f.run(fail(), rung="rung3")
    f.judge()


# An unlucky result that first stood in a line that is no record


def worse(run: Run) -> None:
    run["facts"]["val_bpb"] = round(run["facts"]["val_bpb"] + 0.5, 6)


def unlucky_first(text: str, name: str, change: Callable[[Run], Any]) -> None:
    """Register a history in which a run of rung 3 first stands in the ledger with a worse score, and spelt otherwise."""

    def make(f: Forger) -> None:
        failed_first(f, lambda run: (worse(run), change(run)))

    make.__name__ = name
    caught("evidence-stayed", f"an unlucky run first {text}, then the ledger as it stands")(make)


def with_score(run: Run) -> str:
    return f"val_bpb {run['facts']['val_bpb']}"


unlucky_first("with the status done", "unlucky_done", lambda run: run.update(status="done"))
unlucky_first("unrun, with its facts", "unlucky_unrun", lambda run: run.update(status="unrun"))
unlucky_first(
    "stopped, with its facts and no specification",
    "unlucky_stopped",
    lambda run: run.update(status="stopped", spec=None),
)
unlucky_first(
    "stopped, its score in the reason",
    "unlucky_stopped_reason",
    lambda run: run.update(status="stopped", spec=None, reason=with_score(run), facts=None, environment=None),
)
unlucky_first(
    "stopped for the usual reason and its score",
    "unlucky_stopped_reason_more",
    lambda run: run.update(
        status="stopped", spec=None, reason=f"gate2 did not promote it, {with_score(run)}", facts=None, environment=None
    ),
)
unlucky_first(
    "failed, its score in the reason",
    "unlucky_failed_reason",
    lambda run: run.update(status="failed", reason=with_score(run), facts=None),
)
unlucky_first(
    "failed, its score in the specification",
    "unlucky_failed_spec",
    lambda run: run.update(
        status="failed", reason="out of memory", spec={**run["spec"], "note": with_score(run)}, facts=None
    ),
)
unlucky_first("without a lock", "unlucky_no_lock", lambda run: run.update(lock=""))
unlucky_first("with its lock in capitals", "unlucky_capitals", lambda run: run.update(lock="A" * 64))
unlucky_first("at Rung3", "unlucky_rung", lambda run: run.update(rung="Rung3"))
unlucky_first("of another form", "unlucky_form", lambda run: run.update(schema=2))
unlucky_first("with a purpose that no run has", "unlucky_purpose", lambda run: run.update(purpose="test"))


def respelt_first(text: str, name: str, change: Callable[[bytes], bytes]) -> None:
    """Register a history in which rung 3 first stands in the ledger with worse scores, and in other bytes."""

    def make(f: Forger) -> None:
        f.git("checkout", "-q", "--orphan", "rewritten")
        held = take_away(f, RUNS, DECISIONS, METRICS, *f.dvc_locks())
        f.commit("Freeze")
        f.write(RUNS, held[RUNS])
        f.run(worse, rung="rung3")
        f.write(RUNS, change(f.read(RUNS)))
        f.commit("An unlucky run")
        put_back(f, held)

    make.__name__ = name
    caught("evidence-stayed", f"an unlucky run first {text}, then the ledger as it stands")(make)


respelt_first("behind a mark", "unlucky_marked", lambda data: b"".join(b"!" + line for line in data.splitlines(True)))
respelt_first("with a blank behind each line", "unlucky_blank", lambda data: data.replace(b"\n", b" \n"))
respelt_first("behind a byte order mark", "unlucky_bom", lambda data: b"\xef\xbb\xbf" + data)
respelt_first("with spaces", "unlucky_spaces", lambda data: data.replace(b',"', b', "'))
respelt_first("as a list", "unlucky_list", lambda data: b"[" + data.replace(b"\n", b",")[:-1] + b"]\n")
respelt_first(
    "in the name of a merge conflict", "unlucky_conflict", lambda data: b"<<<<<<< val_bpb 3.141592 of rung3\n"
)
