"""Check V31: `study.from`, which names the study that this one goes on from, compared with the commit that it names.

The earlier commit is verified as a whole, including its own `study.from`. Then the decision, the candidates, the
runner, the text and the seeds are compared. The files of the earlier study are not in this tree, so they cannot change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from stages.domain import names
from stages.domain.decision import Decision, parse_decision
from stages.domain.files import sha256_bytes
from stages.domain.locks import Frozen
from stages.domain.origin import Origin, who_may_go_on
from stages.domain.study import Study
from stages.repo.git import Git, why_no_git
from stages.repo.tree import CommitTree
from stages.verify.check import Case, Problem, Skip
from stages.verify.ledger import Ledger
from stages.verify.locks import DECISIONS, PARAMS, Locks
from stages.verify.pending import pending_gates

#: More studies than this, each going on from the one before, are not followed.
MOST_STUDIES = 16
_AT = "/study/from"


@dataclass(frozen=True)
class EarlierSeeds:
    """Every seed of the studies that this one goes on from, with the name of the study that used it."""

    by_seed: dict[int, str]


def check_origin(case: Case) -> Iterator[Problem]:
    """A study that goes on from another one takes its candidates from a decision of this history.

    The commit and the decision are those that `study.from` names, and that commit verifies. Knobs, runner, text,
    settings and clock are the same, and the seeds are fresh. A study that names none passes.
    """
    study = case.get(Study)
    origin = study.study.from_
    if origin is None:
        return
    if case.git is None:
        raise Skip(f"{why_no_git(case.root)}, so nothing shows what this study goes on from", "git clone")
    if not _is_in_history(case, case.git, origin):
        expected, meaning = "a commit before this one", "nothing shows what this study goes on from"
        yield Problem(PARAMS, origin.commit, expected, meaning, pointer=f"{_AT}/commit")
        return
    earlier, failure = _verify_earlier(case, case.git, origin)
    if failure:
        yield failure
        return
    yield from _compare_with_earlier(case, study, origin, earlier)
    _ = earlier.whole_history  # else V20 to V22 said nothing of the earlier study


def _compare_with_earlier(case: Case, study: Study, origin: Origin, earlier: Case) -> Iterator[Problem]:
    """The study that goes on with the one that its origin names."""
    used = dict(earlier.get(EarlierSeeds).by_seed) if earlier.knows(EarlierSeeds) else {}
    for frozen in (lock.frozen for lock in earlier.get(Locks).by_gate.values()):
        used |= dict.fromkeys((*frozen.seeds, *frozen.floor_seeds), frozen.study)
    case.learn(EarlierSeeds(used))
    yield from _compare_decision(origin, earlier)
    yield from _compare_seeds(study, used)
    lock = earlier.get(Locks).by_gate.get(origin.gate)
    line = earlier.get(Ledger).decisions.get(origin.gate)
    if lock is None or line is None:
        return
    yield from _compare_candidates(study, earlier.get(Study), lock.frozen, parse_decision(line.data, DECISIONS, ""))
    yield from _compare_frozen(case, lock.frozen)


def _is_in_history(case: Case, git: Git, origin: Origin) -> bool:
    """Whether the earlier commit is an ancestor of what is verified; `Skip` where a shallow clone may hide it."""
    head = case.commit or git.head
    if head is not None and origin.commit != case.commit and origin.commit in git.ancestry(head):
        return True
    if git.shallow:
        raise Skip(f"a shallow clone, which may hide commit {origin.commit[:12]}", "git fetch --unshallow")
    return False


def _verify_earlier(case: Case, git: Git, origin: Origin) -> tuple[Case, Problem | None]:
    """The earlier commit with what its checks learnt, and the problem if it is no study that verifies."""
    from stages.verify.sequence import run_checks  # which lists the check of this module

    way = (*case.later, case.commit or "")
    tree, options = CommitTree(git, origin.commit), replace(case.options, depth="git", required=frozenset())
    earlier = Case(case.root, tree, git, origin.commit, options, lines=case.lines, later=way, ledgers=case.ledgers)
    if len(way) > MOST_STUDIES:
        expected, meaning = f"at most {MOST_STUDIES}", "nobody can follow them"
        return earlier, Problem(PARAMS, f"{len(way)} studies in a row", expected, meaning, pointer=_AT)
    failed = next((result for result in run_checks(earlier) if result.status == "failed"), None)
    if failed is None and all(earlier.knows(kind) for kind in (Study, Locks, Ledger)):
        return earlier, None
    state = f"fails at {failed.check}: {failed.problems[0]}" if failed else "holds no study that was judged"
    meaning = "what this study goes on from cannot be believed"
    return earlier, Problem(
        PARAMS, f"commit {origin.commit[:12]} {state}", "one that verifies", meaning, pointer=f"{_AT}/commit"
    )


def _compare_decision(origin: Origin, earlier: Case) -> Iterator[Problem]:
    """The study, the gate and the digest of its decision, at the earlier commit."""
    name, where = earlier.get(Study).study.name, f"commit {origin.commit[:12]}"
    if name != origin.study:
        yield Problem(PARAMS, origin.study, f"{name}, as in {where}", "another study is named", pointer=f"{_AT}/study")
    line = earlier.get(Ledger).decisions.get(origin.gate)
    if line is None:
        expected = f"a gate that decided in {where}"
        yield Problem(PARAMS, origin.gate, expected, "nothing let anybody through", pointer=f"{_AT}/gate")
        return
    if (digest := sha256_bytes(line.data)) != origin.decision:
        expected, meaning = f"{digest}, as in {where}", "it goes on from another decision than the one that was made"
        yield Problem(PARAMS, origin.decision, expected, meaning, pointer=f"{_AT}/decision")
    if origin.gate in pending_gates(earlier):
        expected = "a decision under the lock of then"
        meaning = "its rule was amended since, and the evidence is not made again"
        yield Problem(PARAMS, f"{origin.gate}, pending in {where}", expected, meaning, pointer=f"{_AT}/gate")


def _compare_seeds(study: Study, used: dict[int, str]) -> Iterator[Problem]:
    for name, rung in study.rungs.items():
        for key in ("seeds", "floor_seeds"):
            for at, seed in enumerate(getattr(rung, key)):
                if seed in used:
                    repeated, pointer = f"seed {seed}, used by {used[seed]}", f"/rungs/{name}/{key}/{at}"
                    meaning = "a seed that helped to choose a configuration flatters it here"
                    yield Problem(PARAMS, repeated, "a fresh seed", meaning, pointer=pointer)


def _compare_candidates(study: Study, before: Study, frozen: Frozen, decision: Decision) -> Iterator[Problem]:
    """Every configuration is one that the gate let through, and has the knobs that it had."""
    same_budget = next(iter(study.rungs.values())).budget_seconds == frozen.budget_seconds
    eligible = who_may_go_on(decision, same_budget=same_budget)
    for name, knobs in study.configs.items():
        pointer = f"/configs/{name}"
        if name not in eligible:
            verb = "judged" if same_budget else "let through"
            expected = f"one that {frozen.gate} of {frozen.study} {verb}: {', '.join(eligible) or 'nobody'}"
            yield Problem(PARAMS, name, expected, "it did not earn its place", pointer=pointer)
        elif knobs != before.configs.get(name):
            expected = f"{before.configs.get(name)}, as {frozen.study} had it"
            yield Problem(PARAMS, str(knobs), expected, "it is another configuration", pointer=pointer)


def _compare_frozen(case: Case, before: Frozen) -> Iterator[Problem]:
    """Runner, text, settings and clock are those of the earlier gate; other hosts are noted."""
    for gate, lock in case.get(Locks).by_gate.items() if case.knows(Locks) else ():
        for key in ("runner", "corpus", "settings", "clock"):
            now, then = getattr(lock.frozen, key), getattr(before, key)
            if now != then:
                expected = f"{then}, as {before.study} froze it"
                meaning = "its scores cannot be compared with those that chose its candidates"
                yield Problem(f"locks/{gate}.yaml", str(now), expected, meaning, pointer=f"/frozen/{key}")
        if lock.frozen.hosts != before.hosts and gate == names.gate_of("rung1"):
            case.note(f"it runs on other host blocks than {before.study}")
