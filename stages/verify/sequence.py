"""The checks of `promotion verify`, each registered once, in the order in which they are made.

What a check shows is the docstring of its function; `python -m stages.verify.documentation` writes the table in
docs/verification.md from this list. A check that needs what an earlier one could not learn is skipped and says so. A
skipped check never counts as passed.
"""

from __future__ import annotations

from stages.domain.errors import Refused
from stages.domain.study import Study
from stages.repo.dvc_remote import restore_command
from stages.verify import (
    artifacts,
    decisions,
    derived,
    digests,
    dvc_locks,
    facts,
    files,
    hindsight,
    history,
    ledger,
    locks,
    origin,
    parameters,
    pending,
    records,
    replay,
    signatures,
)
from stages.verify.check import Case, Check, CheckFailed, Skip, check_order, perform
from stages.verify.decisions import Recomputed
from stages.verify.dvc_locks import DvcLocks
from stages.verify.facts import Specifications
from stages.verify.files import PlainFiles
from stages.verify.ledger import Ledger
from stages.verify.locks import Locks, Params
from stages.verify.pending import EvidenceRules
from stages.verify.result import CheckResult

_EVIDENCE = (Study, Locks, Ledger)
_DVC = (*_EVIDENCE, Params, Recomputed, DvcLocks)

SEQUENCE = check_order(
    (
        Check("V01", "plain-files", "git", files.check_plain_files, (), (PlainFiles,)),
        Check("V02", "study", "git", locks.check_study, (PlainFiles,), (Study, Params)),
        Check("V03", "lock-digests", "git", locks.check_lock_digests, (PlainFiles,), (Locks,)),
        Check("V04", "lock-chain", "git", locks.check_lock_chain, (Locks,)),
        Check("V05", "locks-match", "git", locks.check_locks_match, (Study, Locks)),
        Check("V06", "fresh-seeds", "git", locks.check_fresh_seeds, (Locks,)),
        Check("V07", "ledger-lines", "git", ledger.check_ledger_lines, (PlainFiles,), (Ledger,)),
        Check("V08", "ledger-complete", "git", pending.check_ledger_complete, (Study, Ledger), (EvidenceRules,)),
        Check("V09", "rule-of-record", "git", records.check_rule_of_record, (Locks, Ledger)),
        Check("V10", "one-runner", "git", records.check_one_runner, (Locks,)),
        Check("V11", "one-corpus", "git", records.check_one_corpus, (Locks,)),
        Check("V12", "one-environment", "git", records.check_one_environment, (Locks, Ledger)),
        Check("V13", "input-of-record", "git", facts.check_input_of_record, _EVIDENCE, (Specifications,)),
        Check("V14", "facts-of-record", "git", facts.check_facts_of_record, (*_EVIDENCE, Specifications)),
        Check("V15", "decisions", "git", decisions.check_decisions, _EVIDENCE, (Recomputed,)),
        Check("V16", "tickets", "git", decisions.check_tickets, (*_EVIDENCE, Recomputed)),
        Check("V17", "dvc-locks", "git", dvc_locks.check_dvc_locks, (Study, Params), (DvcLocks,)),
        Check("V18", "digests", "git", digests.check_digests, _DVC),
        Check("V19", "parameters", "git", parameters.check_parameters, (Study, Params, Recomputed, DvcLocks)),
        Check("V20", "rule-first", "git", history.check_rule_first, (Locks,)),
        Check("V21", "rule-stayed", "git", history.check_rule_stayed, (Study, Locks)),
        Check("V22", "evidence-stayed", "git", history.check_evidence_stayed, (Locks,)),
        Check("V23", "summary", "git", derived.check_summary, _DVC),
        Check("V24", "lock-signatures", "git", signatures.check_lock_signatures, (Locks,)),
        Check("V25", "commit-signatures", "git", signatures.check_commit_signatures),
        Check("V26", "artifacts", "artifacts", artifacts.check_artifacts, (DvcLocks,)),
        Check("V27", "corpus", "artifacts", artifacts.check_corpus, (Study, Locks, DvcLocks)),
        Check("V28", "winner", "artifacts", derived.check_winner, _DVC),
        Check("V29", "site", "artifacts", derived.check_site, (Params, DvcLocks)),
        Check("V30", "replay", "replay", replay.check_replay, (Ledger,)),
        Check("V31", "origin", "git", origin.check_origin, (Study,), (origin.EarlierSeeds,)),
        Check("V32", "hindsight", "git", hindsight.check_hindsight, (*_EVIDENCE, Recomputed, DvcLocks)),
    )
)


def run_checks(case: Case) -> tuple[CheckResult, ...]:
    """Make every check in its order. Never raises for what is wrong with the study: that is what results are for."""
    results: dict[str, CheckResult] = {}
    for check in SEQUENCE:
        results[check.id] = _result(check, case, results)
    return tuple(results.values())


def _result(check: Check, case: Case, before: dict[str, CheckResult]) -> CheckResult:
    missing = [kind for kind in check.needs if not case.knows(kind)]
    if missing:
        giver = next(check for check in SEQUENCE if missing[0] in check.gives)
        return _skipped_with(check, before[giver.id])
    if check.depth == "artifacts" and case.options.depth == "git":
        enable = f"{restore_command(case.root)} && promotion verify"
        return CheckResult(check, "skipped", reason="this is the depth `git`", enable=enable)
    try:
        notes = perform(check, case)
    except Skip as skip:
        notes, enable, applies = case.notes, skip.enable, skip.applies
        return CheckResult(check, "skipped", (), tuple(notes), skip.reason, enable, applies)
    except CheckFailed as failed:
        return CheckResult(check, "failed", tuple(failed.problems), tuple(case.notes), more=failed.more)
    return CheckResult(check, "passed", notes=tuple(notes))


def _skipped_with(check: Check, giver: CheckResult) -> CheckResult:
    """The result of a check that needs what `giver` did not learn."""
    if giver.status == "skipped":
        return CheckResult(check, "skipped", reason=giver.reason, enable=giver.enable, applies=giver.applies)
    reason = f"{giver.check} failed, and this check builds on it"
    return CheckResult(check, "skipped", reason=reason, enable=f"mend {giver.check.id}, then promotion verify")


def required_checks(text: str) -> frozenset[str]:
    """The ids of the checks that `text` lists by id or by name, divided by commas, or `all`. Refuses another word."""
    ids = {check.name: check.id for check in SEQUENCE} | {check.id.lower(): check.id for check in SEQUENCE}
    if text == "all":
        return frozenset(ids.values())
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    if unknown := sorted(set(words) - ids.keys()):
        first, last = SEQUENCE[0].id, SEQUENCE[-1].id
        raise Refused(f"--require {unknown[0]}: no such check; they are {first} to {last}, or their names")
    return frozenset(ids[word] for word in words)
