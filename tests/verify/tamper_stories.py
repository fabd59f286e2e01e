"""Stories that hang together and are not true: outcomes under another name, text and pipelines moved, what nobody can
read. Registered with the suite in `tamper.py`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from stages.domain import canonical, yamlio
from stages.domain.files import md5_bytes
from stages.dvcfiles.root_pipeline import ROOT_JSON, installed_bytes
from tests.verify.forger import DECISIONS, METRICS, RUNS, Forger
from tests.verify.tamper import caught
from tests.verify.tamper_artifacts import MODEL, here, mend, put
from tests.verify.tamper_files import GATE, RUNG
from tests.verify.tamper_past import GATES, LOCKS, _amend, _digest, put_back, take_away
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


# Pipelines that are not those that the project writes


def root_stage(check: str, text: str, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Register a change of a stage at the root, in dvc.yaml and dvc.lock alike."""

    def make(f: Forger) -> None:
        value = yamlio.loads(f.read("dvc.yaml"), "dvc.yaml")
        change(value["stages"])
        f.yaml("dvc.yaml", value)

    make.__name__ = name
    caught(check, text)(make)


def without_dependency(stage: str, path: str, name: str, kind: str = "deps") -> None:
    """Register a dependency taken out of a stage at the root and out of dvc.lock."""

    def make(f: Forger) -> None:
        value = yamlio.loads(f.read("dvc.yaml"), "dvc.yaml")
        value["stages"][stage][kind].remove(path)
        f.yaml("dvc.yaml", value)
        f.write(ROOT_JSON, installed_bytes())  # as in every study of this version
        f.dvc(
            "dvc.lock",
            lambda stages: stages[stage].update(deps=[d for d in stages[stage]["deps"] if d["path"] != path]),
        )

    make.__name__ = name
    caught("parameters", f"{path} no longer read by the stage {stage}, in dvc.yaml and dvc.lock")(make)


root_stage(
    "dvc-locks",
    "a ledger that DVC is not to bring up to date",
    "frozen_ledger",
    lambda s: s["ledger"].update(frozen=True),
)
root_stage(
    "dvc-locks", "a protocol that DVC is not to look at", "frozen_protocol", lambda s: s["protocol"].update(frozen=True)
)
root_stage(
    "dvc-locks", "a site that DVC always makes anew", "changed_site", lambda s: s["site"].update(always_changed=True)
)
root_stage("dvc-locks", "a winner chosen in another folder", "winner_wdir", lambda s: s["winner"].update(wdir="stages"))
root_stage(
    "parameters",
    "a site that no stage is said to make",
    "site_without_out",
    lambda s: s["site"].update(outs=["site/index.html"]),
)
root_stage(
    "parameters",
    "a protocol that is not given the rules",
    "protocol_without_gates",
    lambda s: s["protocol"]["params"].remove("gates"),
)
without_dependency("protocol", "locks", "protocol_without_locks")
for _stage, _path, _name in (
    ("ledger", "stages/summary", "ledger_without_its_sums"),
    ("winner", "artifacts/summary/stability.json", "winner_without_stability"),
    ("protocol", "stages/runners", "protocol_without_runners"),
):
    without_dependency(_stage, _path, _name)
without_dependency("protocol", "trainer", "protocol_without_trainer")
without_dependency("ledger", "artifacts/records", "ledger_without_records")
without_dependency("ledger", "artifacts/gates", "ledger_without_gates")
without_dependency("winner", "artifacts/traces", "winner_without_traces")
without_dependency("site", "ledger", "site_without_ledger")
without_dependency("site", "report", "site_without_report")


def rung_stage(check: str, text: str, name: str, change: Callable[[dict[str, Any]], Any], path: str = RUNG) -> None:
    """Register a change of the stages of a generated dvc.yaml."""

    def make(f: Forger) -> None:
        value = yamlio.loads(f.read(path), path)
        change(value)
        f.yaml(path, value)

    make.__name__ = name
    caught(check, text)(make)


rung_stage(
    "parameters",
    "a gate that DVC is not to judge",
    "frozen_gate",
    lambda v: v["stages"]["gate"].update(frozen=True),
    GATE,
)
rung_stage(
    "parameters", "runs in another folder", "rung_wdir", lambda v: v["stages"]["run"].update(wdir="../../../../other")
)
rung_stage("parameters", "runs that no contract opens", "rung_without_door", lambda v: v["stages"]["run"].pop("deps"))
rung_stage(
    "parameters",
    "a seed more than the study has",
    "seed_more",
    lambda v: v["stages"]["run"]["matrix"]["seed"].append(77),
)
rung_stage(
    "parameters",
    "a host of shell text in a rung's dvc.yaml",
    "shell_text",
    lambda v: v["stages"]["run"]["matrix"]["host"].append("$(touch owned)"),
)
rung_stage(
    "parameters",
    "names of params.yaml in the command of a rung",
    "shell_variable",
    lambda v: v.update(vars=["../../params.yaml"]) or v["stages"]["run"]["matrix"].update(host="${hosts}"),
)
rung_stage(
    "parameters", "a stage of one's own in a rung", "own_stage", lambda v: v["stages"].update(own={"cmd": "true"})
)


def foreign(text: str, name: str, path: str, data: bytes = b"outs: []\n") -> None:
    """Register a file of DVC among those of the study."""

    def make(f: Forger) -> None:
        f.write(path, data)
        f.git("add", "-f", path)

    make.__name__ = name
    caught("dvc-locks", text)(make)


foreign("a pipeline beside the code of the stages", "pipeline_in_stages", "stages/domain/dvc.yaml", b"stages: {}\n")
foreign("a file of DVC that brings code", "tracked_code", "stages/run.py.dvc")
foreign("a file of DVC that brings records", "tracked_records", "artifacts/records.dvc")
foreign("a pipeline in the site", "pipeline_in_site", "site/dvc.yaml", b"stages: {}\n")
foreign("a dvc.lock in the report", "lock_in_report", "report/dvc.lock", b"schema: '2.0'\n")


# Links in the workspace


def linked(text: str, name: str, path: str) -> None:
    """Register a file or folder of the workspace that lies elsewhere, with the same content."""

    def make(f: Forger) -> None:
        elsewhere = f.root / ".git" / f"elsewhere-{len(list((f.root / '.git').iterdir()))}"
        f.path(path).replace(elsewhere)
        f.path(path).symlink_to(elsewhere)

    make.__name__ = name
    caught("plain-files", text, committed=False)(make)


linked("a ledger that lies elsewhere", "ledger_linked", RUNS)
linked("a folder of the ledger that lies elsewhere", "ledger_folder_linked", "ledger")
linked("a lock that lies elsewhere", "lock_linked", "locks/gate2.yaml")
linked("a rung's folder that lies elsewhere", "rung_linked", "stages/ladder/rung2")
linked("a runner that lies elsewhere", "trainer_linked", "trainer")
linked("the stages that lie elsewhere", "stages_linked", "stages")
linked("params.yaml that lies elsewhere", "params_linked", "params.yaml")


# What no reader of JSON writes


def surrogate(check: str, text: str, name: str, path: str, old: bytes) -> None:
    """Register half of a character as a key."""

    def make(f: Forger) -> None:
        data = f.read(path)
        assert old in data
        f.write(path, data.replace(old, b'{"\\ud800": 1, ' + old[1:], 1))

    make.__name__ = name
    caught(check, text)(make)


surrogate("ledger-lines", "half a character as a key of a record", "surrogate_in_record", RUNS, b'{"budget"')
surrogate("ledger-lines", "half a character as a key of a run's facts", "surrogate_in_facts", RUNS, b'"facts":{"'[8:])
surrogate("ledger-lines", "half a character as a key of a decision", "surrogate_in_decision", DECISIONS, b'{"')
surrogate("summary", "half a character as a key of the metrics", "surrogate_in_metrics", METRICS, b"{\n"[:1])


# What nobody can read is not passed over


def endless(f: Forger, path: str) -> None:
    """A link to itself in the place of a file or folder: whoever opens it is refused."""
    target = f.path(path)
    target.rename(f.root / ".dvc" / "tmp" / "moved")
    target.symlink_to(target.name)


def unreadable(text: str, name: str, path: str, make: Callable[[Forger, str], None] = endless) -> None:
    """Register something in the workspace that cannot be read."""

    def manipulate(f: Forger) -> None:
        make(f, sorted(p.relative_to(f.root).as_posix() for p in f.root.glob(path))[0])

    manipulate.__name__ = name
    here("artifacts", text)(manipulate)


def folder_instead(f: Forger, path: str) -> None:
    f.delete(path)
    f.path(path).mkdir()


unreadable("the traces of a rung that nobody can open", "endless_traces", "artifacts/traces/rung3")
unreadable("all traces that nobody can open", "endless_all_traces", "artifacts/traces")
unreadable("the trace of a run that nobody can open", "endless_trace", "artifacts/traces/rung3/*/*/*")
unreadable("telemetry that nobody can open", "endless_telemetry", "artifacts/telemetry/rung3/*/*/*.json")
unreadable(
    "a folder in the place of telemetry",
    "folder_telemetry",
    "artifacts/telemetry/rung3/*/*/*.json",
    folder_instead,
)
unreadable("all telemetry that nobody can open", "endless_all_telemetry", "artifacts/telemetry")
unreadable("a winner that nobody can open", "endless_winner", "artifacts/winner")
unreadable("records of a rung that nobody can open", "endless_records", "artifacts/records/rung3")
unreadable(
    "a folder in the place of an object of the cache", "folder_in_cache", ".dvc/cache/files/md5/*/*", folder_instead
)


@here("artifacts", "a trace recorded as a folder whose listing in the cache is none")
def listing_garbage(f: Forger) -> None:
    data = b"no listing\n"
    md5 = md5_bytes(data)
    f.write(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}.dir", data)
    trace = sorted(p.relative_to(f.root).as_posix() for p in f.root.glob("artifacts/traces/rung3/*/*/*"))[0]

    def change(stages: dict[str, Any]) -> None:
        for stage in stages.values():
            for out in stage["outs"]:
                if out["path"] == trace:
                    out["md5"] = f"{md5}.dir"

    f.rung("rung3", change)


# The winner's description


@here("winner", "the same description of the winner in other bytes, its digest mended")
def description_spaced(f: Forger) -> None:
    put(f, MODEL, f.read(MODEL).replace(b'":', b'": ', 1))
    mend(f, "artifacts/winner")


@here("winner", "the description of the winner with a number as text, its digest mended")
def description_text(f: Forger) -> None:
    value = canonical.loads(f.read(MODEL))
    put(f, MODEL, canonical.dumps({**value, "seed": str(value.get("seed"))}))
    mend(f, "artifacts/winner")
