"""Manipulations of rules, decisions, digests, code and history. Registered with the suite in `tamper.py`."""

from __future__ import annotations

from typing import Any

from stages.domain import canonical, yamlio
from tests.verify.forger import DECISIONS, METRICS, RUNS, Forger
from tests.verify.tamper import caught

# Locks and params.yaml


def loosen(rules: dict[str, Any]) -> None:
    """Gate 2 promotes two instead of one."""
    rules["R3"]["k"] = 2


def loosen_everywhere(f: Forger) -> None:
    """Loosen gate 2 in params.yaml and lock, and let all evidence name the new locks."""
    f.params(lambda value: loosen(value["gates"]["gate2"]))
    f.lock("gate2", lambda frozen: loosen(frozen["rules"]))
    f.relabel()


@caught("lock-digests", "a rule loosened in its lock")
def rule_loosened(f: Forger) -> None:
    f.lock("gate2", lambda frozen: loosen(frozen["rules"]), mend=False)


@caught("locks-match", "a rule loosened in its lock, its digest mended")
def rule_loosened_mended(f: Forger) -> None:
    f.lock("gate2", lambda frozen: loosen(frozen["rules"]))


@caught("rule-of-record", "a rule loosened in lock and params.yaml, its digest mended")
def rule_loosened_both(f: Forger) -> None:
    f.params(lambda value: loosen(value["gates"]["gate2"]))
    f.lock("gate2", lambda frozen: loosen(frozen["rules"]))


@caught("rule-first", "a rule loosened, evidence re-labelled, every digest mended, in one commit")
def relabelled(f: Forger) -> None:
    loosen_everywhere(f)
    f.judge()


@caught("rule-stayed", "a rule loosened first and evidence re-labelled in a later commit, every digest mended")
def relabelled_in_two_commits(f: Forger) -> None:
    before = {name: f.read(name) for name in (RUNS, "params.yaml")}
    loosen_everywhere(f)
    after = f.read(RUNS)
    f.write(RUNS, before[RUNS])
    f.commit("Freeze")
    f.write(RUNS, after)
    f.judge()


@caught("rule-stayed", "the same with an amendment of a lock that never was")
def made_up_amendment(f: Forger) -> None:
    amendment = {"reason": "a typo", "replaces": "c" * 64, "changed": {}}
    f.lock("gate2", lambda frozen: frozen["amendments"].append(amendment))
    relabelled_in_two_commits(f)


@caught("rule-stayed", "an amendment taken back in a later commit, everything mended")
def amendment_dropped(f: Forger) -> None:
    digests = {gate: yamlio.loads(f.read(f"locks/{gate}.yaml"), gate)["digest"] for gate in ("gate2", "gate3")}
    for gate, digest in digests.items():
        amendment = {"reason": "k was meant to be 2", "replaces": digest, "changed": {}}
        f.lock(gate, lambda frozen, one=amendment: frozen["amendments"].append(one))
    loosen_everywhere(f)
    f.judge()
    f.commit("Amend")
    for gate in digests:
        f.lock(gate, lambda frozen: frozen.update(amendments=[]))
    f.relabel()
    f.judge()


@caught("lock-chain", "an amendment that replaces what another one replaced")
def amendment_twice(f: Forger) -> None:
    amendment = {"reason": "a typo", "replaces": "c" * 64, "changed": {}}
    f.lock("gate3", lambda frozen: frozen.update(amendments=[amendment, amendment]))


@caught("lock-chain", "a lock taken away in the middle")
def lock_gone(f: Forger) -> None:
    f.delete("locks/gate2.yaml")


@caught("rule-of-record", "the last lock taken away")
def last_lock_gone(f: Forger) -> None:
    f.delete("locks/gate3.yaml")


@caught("lock-digests", "two locks exchanged")
def locks_exchanged(f: Forger) -> None:
    one, two = f.read("locks/gate1.yaml"), f.read("locks/gate2.yaml")
    f.write("locks/gate1.yaml", two)
    f.write("locks/gate2.yaml", one)


@caught("lock-chain", "another previous digest in a lock, its own mended")
def chain_cut(f: Forger) -> None:
    f.lock("gate2", lambda frozen: frozen.update(previous="d" * 64))


@caught("fresh-seeds", "a seed of rung 1 used again at rung 2, everything mended")
def seed_reused(f: Forger) -> None:
    f.lock("gate2", lambda frozen: frozen.update(seeds=[1]))


@caught("fresh-seeds", "earlier seeds forgotten in a lock")
def seeds_forgotten(f: Forger) -> None:
    f.lock("gate3", lambda frozen: frozen.update(earlier_seeds=[]))


@caught("lock-digests", "a lock of a newer schema")
def newer_lock(f: Forger) -> None:
    f.replace("locks/gate1.yaml", "schema: 1", "schema: 99")


@caught("lock-digests", "a YAML bomb as a lock")
def bomb(f: Forger) -> None:
    rows = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    rows += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    f.write("locks/gate1.yaml", ("\n".join(rows) + "\n").encode())


@caught("lock-digests", "a lock that asks for Python objects")
def python_object(f: Forger) -> None:
    f.write("locks/gate1.yaml", b"schema: !!python/object/apply:os.system ['true']\n")


@caught("lock-digests", "a key twice in a lock")
def lock_key_twice(f: Forger) -> None:
    f.replace("locks/gate1.yaml", "schema: 1\n", "schema: 1\nschema: 1\n")


@caught("locks-match", "a rule changed in params.yaml")
def params_rule(f: Forger) -> None:
    f.params(lambda value: loosen(value["gates"]["gate2"]))


@caught("locks-match", "a role given to another configuration")
def params_role(f: Forger) -> None:
    f.params(lambda value: value["roles"].update(reference="d1-b"))


@caught("parameters", "a configuration's learning rate changed in params.yaml")
def params_rate(f: Forger) -> None:
    f.params(lambda value: value["configs"]["d1-a"].update(matrix_lr=0.5))


@caught("locks-match", "a budget changed in params.yaml")
def params_budget(f: Forger) -> None:
    f.params(lambda value: value["rungs"]["rung3"].update(budget_seconds=7.0))


FACTORS = {"d": {"depth": [1, 2]}, "b": {"batch_tokens": [128, 256]}}


@caught("locks-match", "factors declared in params.yaml after the fact")
def params_factors(f: Forger) -> None:
    f.params(lambda value: value.update(factors=FACTORS))


@caught("locks-match", "factors put into a lock, its digest mended")
def lock_factors(f: Forger) -> None:
    f.lock("gate1", lambda frozen: frozen.update(factors=FACTORS))


@caught("rule-of-record", "factors declared in lock and params.yaml after the fact, its digest mended")
def factors_in_both(f: Forger) -> None:
    params_factors(f)
    lock_factors(f)


@caught("study", "an exploratory study")
def exploratory(f: Forger) -> None:
    f.params(lambda value: value["study"].update(mode="exploratory"))


@caught("study", "a key twice in params.yaml")
def params_key_twice(f: Forger) -> None:
    f.write("params.yaml", f.read("params.yaml") + b"study: {schema: 1}\n")


@caught("ledger-complete", "a configuration added to params.yaml after the fact")
def config_added(f: Forger) -> None:
    f.params(lambda value: value["configs"].update({"d3-z": dict(value["configs"]["d1-a"])}))


@caught("study", "params.yaml cut off")
def params_cut(f: Forger) -> None:
    f.write("params.yaml", f.read("params.yaml")[:400] + b"\n")


# Decisions


@caught("decisions", "another configuration promoted")
def promoted_edited(f: Forger) -> None:
    f.decision(2, lambda value: value.update(promoted=["d1-b"]))


@caught("decisions", "another configuration promoted, digests mended down the chain")
def promoted_edited_mended(f: Forger) -> None:
    promoted_edited(f)
    f.digests()


@caught("decisions", "a margin in a decision changed, digests mended")
def margin_edited(f: Forger) -> None:
    f.decision(2, lambda value: value["rules"][2]["results"][0].update(margin=0.25))
    f.digests()


@caught("decisions", "a verdict turned around, digests mended")
def verdict_edited(f: Forger) -> None:
    f.decision(3, lambda value: value["verdicts"].update({rule: not held for rule, held in value["verdicts"].items()}))
    f.digests()


@caught("decisions", "a run left out of a decision's evidence, digests mended")
def evidence_edited(f: Forger) -> None:
    f.decision(1, lambda value: value["evidence"].pop(sorted(value["evidence"])[0]))
    f.digests()


@caught("decisions", "a blocked gate opened")
def outcome_edited(f: Forger) -> None:
    f.decision(1, lambda value: value.update(outcome="blocked", blocked_by=["R1"], promoted=[]))


@caught("decisions", "an exploratory decision passed off as frozen, digests mended")
def exploratory_decision(f: Forger) -> None:
    f.decision(2, lambda value: value.update(mode="exploratory"))
    f.digests()


@caught("digests", "the last decision taken away")
def decision_gone(f: Forger) -> None:
    f.write(DECISIONS, b"".join(f.read(DECISIONS).splitlines(keepends=True)[:-1]))


@caught("ledger-lines", "two decisions exchanged")
def decisions_exchanged(f: Forger) -> None:
    lines = f.read(DECISIONS).splitlines(keepends=True)
    f.write(DECISIONS, b"".join([lines[1], lines[0], *lines[2:]]))


@caught("ledger-lines", "the decisions taken away")
def decisions_gone(f: Forger) -> None:
    f.delete(DECISIONS)


@caught("rule-of-record", "a decision that names another lock, digests mended")
def decision_of_another_lock(f: Forger) -> None:
    f.decision(2, lambda value: value.update(lock="e" * 64))
    f.digests()


# Metrics and summaries


@caught("digests", "a number in metrics.json")
def metrics_edited(f: Forger) -> None:
    value = canonical.loads(f.read(METRICS))
    value["winner"] = "d1-b"
    f.write(METRICS, canonical.dumps(value))


@caught("summary", "a number in metrics.json, its digest mended")
def metrics_edited_mended(f: Forger) -> None:
    metrics_edited(f)
    f.digests()


@caught("summary", "other tables of cost and agreement")
def summary_edited(f: Forger) -> None:
    f.digests({"artifacts/summary": "0" * 32 + ".dir"})


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
