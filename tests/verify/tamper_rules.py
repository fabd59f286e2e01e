"""Locks, params.yaml, decisions and metrics falsified. Registered with the suite in `tamper.py`."""

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
