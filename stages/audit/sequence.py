"""The sequence of checks behind `promotion verify`.

    promotion verify                  all that can be checked here

Nothing that is written is trusted: what can be made again from the evidence is made again and compared.

    V01  plain-files        what is read is plain files with plain names, UTF-8 and LF, with no strangers among them
    V02  study              params.yaml is a study whose rules bind
    V03  lock-digests       every lock stands under its own name and its digest is that of its content
    V04  lock-chain         each lock holds the digest of the one before; amendments follow one from the other
    V05  locks-match        params.yaml says today what the locks froze
    V06  fresh-seeds        no seed serves two rungs
    V07  ledger-lines       every line of the ledger is the canonical line of a record or a decision
    V08  ledger-complete    one line for every run, in order; none for another; none missing where a gate decided
    V09  rule-of-record     every record and decision names the lock that judges it and has the budget it froze
    V10  one-runner         locks, records and the trainer/ of this commit are one runner
    V11  one-corpus         locks and records are of one corpus
    V12  one-environment    runs report what their host block asks for; constant where a rule asks for that
    V13  input-of-record    every run was given exactly what the study says
    V14  decisions          every decision made again equals the recorded one, byte for byte
    V15  tickets            what was trained had a ticket, what had one was trained, the rest is recorded as stopped
    V16  dvc-locks          every dvc.lock can be read and holds only stages of its dvc.yaml
    V17  digests            the digests in dvc.lock are those of the bytes in git, both ways
    V18  parameters         what every stage ran and was told is what dvc.yaml, params.yaml and the tickets say
    V19  rule-first         in git, the lock is an ancestor of the first commit with its evidence
    V20  rule-stayed        the lock did not change afterwards without a recorded amendment
    V21  summary            metrics, agreement, stability and cost made again equal the recorded ones
    V22  lock-signatures    every lock is signed by somebody in the file of allowed signers
    V23  commit-signatures  the commits that froze locks, and tags here, are signed by somebody in that file
    V24  artifacts          what lies in the workspace and the cache is what dvc.lock says
    V25  corpus             the corpus here is the frozen one
    V26  site               the site built again equals the site recorded
    V27  replay             runs trained again give the same records (`promotion replay`)

A check that needs what an earlier one could not learn is skipped and says so. A skipped check never counts as passed.
"""

from __future__ import annotations

from stages.audit import again, artifacts, decisions, digests, evidence, history, inputs, rules, signed, site, summary
from stages.audit.decisions import Recomputed
from stages.audit.digests import Noted
from stages.audit.evidence import Ledger
from stages.audit.history import Chronicle
from stages.audit.model import MAX_PROBLEMS, Case, Check, CheckFailed, Result, Skip, in_order, perform
from stages.audit.rules import Locks, Params, PlainFiles
from stages.domain.study import Study

_EVIDENCE = (Study, Locks, Ledger)
_DVC = (*_EVIDENCE, Params, Recomputed, Noted)

SEQUENCE = in_order(
    (
        Check("V01", "plain-files", "git", rules.NotPlainFiles, rules.plain_files, (), (PlainFiles,)),
        Check("V02", "study", "git", rules.NotAStudy, rules.study, (PlainFiles,), (Study, Params)),
        Check("V03", "lock-digests", "git", rules.LockBroken, rules.lock_digests, (PlainFiles,), (Locks,)),
        Check("V04", "lock-chain", "git", rules.ChainBroken, rules.lock_chain, (Locks,)),
        Check("V05", "locks-match", "git", rules.LockDiffers, rules.locks_match, (Study, Locks)),
        Check("V06", "fresh-seeds", "git", rules.SeedReused, rules.fresh_seeds, (Locks,)),
        Check("V07", "ledger-lines", "git", evidence.LedgerBroken, evidence.ledger_lines, (PlainFiles,), (Ledger,)),
        Check("V08", "ledger-complete", "git", evidence.LedgerIncomplete, evidence.complete, (Study, Ledger)),
        Check("V09", "rule-of-record", "git", evidence.AnotherRule, evidence.commits_to_rule, (Locks, Ledger)),
        Check("V10", "one-runner", "git", evidence.AnotherRunner, evidence.one_runner, (Locks,)),
        Check("V11", "one-corpus", "git", evidence.AnotherCorpus, evidence.one_corpus, (Locks,)),
        Check("V12", "one-environment", "git", evidence.AnotherMachine, evidence.one_environment, (Locks, Ledger)),
        Check("V13", "input-of-record", "git", inputs.AnotherInput, inputs.as_given, _EVIDENCE),
        Check(
            "V14",
            "decisions",
            "git",
            decisions.DecisionDiffers,
            decisions.decisions_recomputed,
            _EVIDENCE,
            (Recomputed,),
        ),
        Check("V15", "tickets", "git", decisions.WithoutTicket, decisions.tickets_held, (*_EVIDENCE, Recomputed)),
        Check("V16", "dvc-locks", "git", digests.DvcLockBroken, digests.dvc_locks, (Study, Params), (Noted,)),
        Check("V17", "digests", "git", digests.DigestDiffers, digests.digests, _DVC),
        Check("V18", "parameters", "git", digests.ParameterDiffers, digests.parameters, (Params, Recomputed, Noted)),
        Check("V19", "rule-first", "git", history.EvidenceFirst, history.rule_first, (Locks, Ledger), (Chronicle,)),
        Check("V20", "rule-stayed", "git", history.RuleMoved, history.rule_stayed, (Locks, Ledger)),
        Check("V21", "summary", "git", summary.SummaryDiffers, summary.summary, _DVC),
        Check("V22", "lock-signatures", "git", signed.LockUnsigned, signed.lock_signatures, (Locks,)),
        Check("V23", "commit-signatures", "git", signed.CommitForged, signed.commit_signatures),
        Check("V24", "artifacts", "artifacts", artifacts.ArtifactDiffers, artifacts.artifacts, (Noted,)),
        Check("V25", "corpus", "artifacts", artifacts.CorpusDiffers, artifacts.corpus, (Locks, Noted)),
        Check("V26", "site", "artifacts", site.SiteDiffers, site.site, (Noted,)),
        Check("V27", "replay", "replay", again.ReplayDiffers, again.replay, (Ledger,)),
    )
)


def _giver(kind: type) -> Check:
    return next(check for check in SEQUENCE if kind in check.gives)


def audit(case: Case) -> list[Result]:
    """Make every check in its order. Never raises for what is wrong with the study: that is what results are for."""
    results: list[Result] = []
    for check in SEQUENCE:
        results.append(_result(check, case, {result.check.id: result for result in results}))
    return results


def _result(check: Check, case: Case, before: dict[str, Result]) -> Result:
    missing = [kind for kind in check.needs if not case.knows(kind)]
    if missing:
        return _waits(check, before[_giver(missing[0]).id])
    if check.depth == "artifacts" and case.options.depth == "git":
        return Result(check, "skipped", reason="this is the depth `git`", enable="dvc pull && promotion verify")
    try:
        notes = perform(check, case)
    except Skip as skip:
        return Result(
            check, "skipped", notes=tuple(case.notes), reason=skip.reason, enable=skip.enable, applies=skip.applies
        )
    except CheckFailed as failed:
        shown, rest = failed.problems[:MAX_PROBLEMS], len(failed.problems[MAX_PROBLEMS:])
        return Result(check, "failed", tuple(shown), tuple(case.notes), more=rest)
    return Result(check, "passed", notes=tuple(notes))


def _waits(check: Check, giver: Result) -> Result:
    if giver.status == "skipped":
        return Result(check, "skipped", reason=giver.reason, enable=giver.enable, applies=giver.applies)
    reason = f"{giver.check.id} {giver.check.name} failed, and this check builds on it"
    return Result(check, "skipped", reason=reason, enable=f"mend {giver.check.id}, then promotion verify")
