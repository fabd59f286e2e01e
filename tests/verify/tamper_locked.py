"""What DVC recorded, the runner, the order of history and artifacts falsified. Registered with the suite in `tamper.py`."""

from __future__ import annotations

from typing import Any

from stages.domain import canonical
from tests.verify.forger import Forger
from tests.verify.tamper import caught
from tests.verify.tamper_rules import loosen_everywhere

# dvc.lock


def stage(name: str, change: Any, rung: str = "rung3") -> Any:
    """Change one stage of a rung in its dvc.lock, the first whose name starts so."""
    return lambda f: f.rung(rung, lambda stages: change(stages[next(key for key in stages if key.startswith(name))]))


KNOBS = "artifacts/protocol/knobs/d1-a.json"
TICKETS = "artifacts/gates/gate2/promotions.json"


@caught("parameters", "a ticket in dvc.lock turned around (promotions.json edited)")
def ticket_edited(f: Forger) -> None:
    def turn(one: dict[str, Any]) -> None:
        held = one["params"][TICKETS]
        held.update({name: not value for name, value in held.items()})

    stage("run@", turn)(f)


@caught("digests", "the digest of promotions.json in dvc.lock")
def tickets_digest(f: Forger) -> None:
    stage("gate", lambda one: one["outs"][1].update(md5="1" * 32), "rung2")(f)


@caught("parameters", "another command in dvc.lock")
def another_command(f: Forger) -> None:
    stage("run@", lambda one: one.update(cmd="python cheat.py"))(f)


@caught("parameters", "a parameter in dvc.lock")
def another_parameter(f: Forger) -> None:
    stage("run@d1-a", lambda one: one["params"][KNOBS]["knobs"].update(matrix_lr=9.0))(f)


@caught("parameters", "a parameter left out of dvc.lock")
def parameter_gone(f: Forger) -> None:
    stage("run@d1-a", lambda one: one["params"][KNOBS].pop("knobs"))(f)


@caught("parameters", "an output left out of dvc.lock")
def output_gone(f: Forger) -> None:
    stage("run@", lambda one: one["outs"].pop())(f)


@caught("digests", "one run behind another door (the digest of protocol/rung3.json)")
def another_door(f: Forger) -> None:
    stage("run@", lambda one: one["deps"][0].update(md5="2" * 32))(f)


@caught("digests", "other records before the gate (the digest of records/rung3)")
def other_records(f: Forger) -> None:
    stage("gate", lambda one: one["deps"][1].update(md5="3" * 32 + ".dir"))(f)


@caught("digests", "one file with two digests")
def two_digests(f: Forger) -> None:
    f.dvc("dvc.lock", lambda stages: stages["protocol"]["outs"][0].update(md5="4" * 32 + ".dir"))


@caught("digests", "a stage taken out of dvc.lock")
def stage_gone(f: Forger) -> None:
    f.rung("rung1", lambda stages: stages.pop(next(iter(stages))))


@caught("dvc-locks", "a stage added to dvc.lock")
def stage_added(f: Forger) -> None:
    f.rung("rung1", lambda stages: stages.update({"run@d9-z-cpu-fp32-1": {"cmd": "true"}}))


@caught("dvc-locks", "a dvc.lock that is not YAML")
def lock_not_yaml(f: Forger) -> None:
    f.write(f.lock_of("rung1"), f.read(f.lock_of("rung1")) + b"\t}{\n")


@caught("dvc-locks", "a dvc.lock that is gone")
def dvc_lock_gone(f: Forger) -> None:
    f.delete(f.lock_of("rung2"))


@caught("dvc-locks", "a digest in dvc.lock that is none")
def no_digest(f: Forger) -> None:
    stage("run@", lambda one: one["outs"][0].update(md5="not a digest"))(f)


@caught("parameters", "another command in a rung's dvc.yaml")
def pipeline_edited(f: Forger) -> None:
    f.replace("stages/ladder/rung1/d1-a/dvc.yaml", "python -m stages.run rung1", "python cheat.py rung1")


# The runner


@caught("one-runner", "a line of the runner changed")
def runner_changed(f: Forger) -> None:
    f.write("trainer/loop.py", f.read("trainer/loop.py") + b"# faster\n")


@caught("one-runner", "a module added to the runner")
def runner_grew(f: Forger) -> None:
    f.write("trainer/extra.py", b"\n")


@caught("plain-files", "a symbolic link in the place of a module of the runner")
def runner_linked(f: Forger) -> None:
    f.link("trainer/loop.py", "/dev/null")


# History


def _orphan(f: Forger) -> str:
    """Start history anew; the commit that held the evidence."""
    evidence = f.git("rev-parse", "HEAD")
    f.git("checkout", "-q", "--orphan", "rewritten")
    return evidence


@caught("rule-first", "rules and evidence squashed into one commit")
def squashed(f: Forger) -> None:
    _orphan(f)
    f.commit("Everything")


@caught("rule-first", "history rewritten: evidence first, the lock after it")
def evidence_first(f: Forger) -> None:
    _orphan(f)
    held = {gate: f.read(f"locks/{gate}.yaml") for gate in ("gate1", "gate2", "gate3")}
    for gate in held:
        f.delete(f"locks/{gate}.yaml")
    f.commit("The evidence")
    for gate, data in held.items():
        f.write(f"locks/{gate}.yaml", data)
    f.commit("Freeze")


@caught("rule-first", "evidence first, and the commit of the lock dated back")
def backdated(f: Forger) -> None:
    evidence_first(f)
    old = "2001-01-01T00:00:00+0000"
    f.git("commit", "-q", "--amend", "--no-edit", "--date", old, GIT_COMMITTER_DATE=old)


@caught("rule-first", "evidence first, hidden by a replacement object that shows another history")
def replaced(f: Forger) -> None:
    good = f.git("rev-parse", "HEAD")
    evidence_first(f)
    f.git("replace", f.git("rev-parse", "HEAD"), good)


@caught("rule-stayed", "a lock taken away for a while and brought back looser, everything mended")
def lock_away_and_back(f: Forger) -> None:
    held = f.read("locks/gate2.yaml")
    f.delete("locks/gate2.yaml")
    f.commit("Clean up")
    f.write("locks/gate2.yaml", held)
    loosen_everywhere(f)
    f.judge()


# Artifacts


def _first(f: Forger, pattern: str) -> str:
    return sorted(path.relative_to(f.root).as_posix() for path in f.root.glob(pattern) if path.is_file())[0]


def _spoil(f: Forger, name: str) -> None:
    """Other bytes in a file that DVC may have linked or protected."""
    data = f.read(name)
    f.delete(name)
    f.write(name, data + b"\n")


@caught("artifacts", "an object of the cache changed", depth="artifacts")
def cache_changed(f: Forger) -> None:
    _spoil(f, _first(f, ".dvc/cache/files/md5/*/*"))


@caught("artifacts", "a record in the workspace changed", depth="artifacts", committed=False)
def record_changed(f: Forger) -> None:
    _spoil(f, _first(f, "artifacts/records/*/*/*/*.json"))


@caught("artifacts", "a curve in the workspace changed", depth="artifacts", committed=False)
def curve_changed(f: Forger) -> None:
    _spoil(f, _first(f, "artifacts/traces/*/*/*/*/curve.csv"))


@caught("artifacts", "a file added to a run's trace", depth="artifacts", committed=False)
def trace_grew(f: Forger) -> None:
    f.write(_first(f, "artifacts/traces/*/*/*/*/curve.csv").replace("curve", "extra"), b"")


@caught("artifacts", "the winning weights exchanged", depth="artifacts", committed=False)
def weights_changed(f: Forger) -> None:
    _spoil(f, "artifacts/winner/model.safetensors")


@caught("corpus", "the validation text exchanged", depth="artifacts", committed=False)
def corpus_changed(f: Forger) -> None:
    _spoil(f, "artifacts/corpus/val.bin")


@caught("corpus", "another corpus altogether, its digests mended", depth="artifacts", committed=False)
def manifest_changed(f: Forger) -> None:
    value = canonical.loads(f.read("artifacts/corpus/manifest.json"))
    value["splits"]["val"]["tokens"] += 1
    f.delete("artifacts/corpus/manifest.json")
    f.write("artifacts/corpus/manifest.json", canonical.dumps(value))


@caught("artifacts", "promotions.json in the workspace edited", depth="artifacts", committed=False)
def promotions_changed(f: Forger) -> None:
    name = "artifacts/gates/gate1/promotions.json"
    data = f.read(name)
    f.delete(name)
    f.write(name, data.replace(b"true", b"false", 1))


@caught("artifacts", "a page of the site edited", depth="artifacts", committed=False)
def page_changed(f: Forger) -> None:
    _spoil(f, "site/index.html")


@caught("site", "a page of the site edited, its digest mended", depth="artifacts", committed=False)
def page_changed_mended(f: Forger) -> None:
    from stages.dvcfiles.cache import md5_folder

    _spoil(f, "site/index.html")
    f.dvc("dvc.lock", lambda stages: stages["site"]["outs"][0].update(md5=md5_folder(f.root / "site")))


@caught("artifacts", "a score and every digest that git holds, everything mended", depth="artifacts", committed=False)
def artifacts_disagree(f: Forger) -> None:
    f.run(lambda run: run["facts"].update(val_bpb=0.5))
    f.judge()
