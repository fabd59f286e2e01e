"""The sequence of checks behind `promotion verify`.

    promotion verify                  all that can be checked here

Nothing that is written is trusted: what can be made again from the evidence is made again and compared.

    V01  plain-files        what is read is plain files with plain names, UTF-8 and LF, with no strangers among them
    V02  study              params.yaml is a study whose rules bind
    V03  lock-digests       every lock is what `promotion freeze` writes, under its own name, with its own digest
    V04  lock-chain         each lock holds the digest of the one before; amendments follow one from the other
    V05  locks-match        params.yaml says today what the locks froze
    V06  fresh-seeds        no seed serves two rungs
    V07  ledger-lines       every line of the ledger is the canonical line of a record or a decision
    V08  ledger-complete    one line for every run, in order; none for another; none missing where a gate decided
    V09  rule-of-record     every record and decision names the lock that judges it and has the budget it froze
    V10  one-runner         locks, records and the trainer/ of this commit are one runner
    V11  one-corpus         locks and records are of one corpus, which params.yaml declares as it did then
    V12  one-environment    runs report what their host block asks for; constant where a rule asks for that
    V13  input-of-record    every run was given exactly what the study says
    V14  facts-of-record    status, steps, tokens, time and model of a record follow from what the run was given
    V15  decisions          every decision made again equals the recorded one, byte for byte
    V16  tickets            what was trained had a ticket, what had one was trained, the rest is recorded as stopped
    V17  dvc-locks          every dvc.lock can be read and holds the stages of its dvc.yaml that have run
    V18  digests            digests, sizes and counts in dvc.lock are those of the bytes in git, both ways
    V19  parameters         what every stage ran and was told is what this project, params.yaml and the tickets say
    V20  rule-first         in git, the lock is an ancestor of the first commit with its evidence
    V21  rule-stayed        the lock did not change afterwards without an amendment that says so, and what changed
    V22  evidence-stayed    no record changed or went away while the lock that it was made under stands
    V23  summary            metrics, agreement, stability and cost made again equal the recorded ones
    V24  lock-signatures    every lock is signed by somebody in the file of allowed signers
    V25  commit-signatures  the commits that froze locks, and tags here, are signed by somebody in that file
    V26  artifacts          what lies in the workspace and the cache is what dvc.lock says
    V27  corpus             the corpus here is the frozen one, and the one that params.yaml declares
    V28  winner             the winner's weights, description and curves made again equal the recorded ones
    V29  site               the site built again equals the site recorded
    V30  replay             runs trained again give the same records (`promotion replay`)

A check that needs what an earlier one could not learn is skipped and says so. A skipped check never counts as passed.
"""

from __future__ import annotations

from stages.domain.study import Study
from stages.verify import artifacts, decisions, dvc_locks, files, history, ledger, locks, records, replay, signatures
from stages.verify.check import MAX_PROBLEMS, Case, Check, CheckFailed, Depth, Look, Result, Skip, in_order, perform
from stages.verify.decisions import Recomputed
from stages.verify.dvc_locks import Noted
from stages.verify.files import PlainFiles
from stages.verify.ledger import Ledger
from stages.verify.locks import Locks, Params
from stages.verify.records import Given

_EVIDENCE = (Study, Locks, Ledger)
_DVC = (*_EVIDENCE, Params, Recomputed, Noted)
_Kinds = tuple[type, ...]


def _checks(*steps: tuple[str, Depth, type[CheckFailed], Look, _Kinds, _Kinds]) -> tuple[Check, ...]:
    """The steps (name, depth, exception, function, needs, gives), numbered in their order."""
    return in_order(tuple(Check(f"V{number:02d}", *step) for number, step in enumerate(steps, start=1)))


SEQUENCE = _checks(
    ("plain-files", "git", files.NotPlainFiles, files.plain_files, (), (PlainFiles,)),
    ("study", "git", locks.NotAStudy, locks.study, (PlainFiles,), (Study, Params)),
    ("lock-digests", "git", locks.LockBroken, locks.lock_digests, (PlainFiles,), (Locks,)),
    ("lock-chain", "git", locks.ChainBroken, locks.lock_chain, (Locks,), ()),
    ("locks-match", "git", locks.LockDiffers, locks.locks_match, (Study, Locks), ()),
    ("fresh-seeds", "git", locks.SeedReused, locks.fresh_seeds, (Locks,), ()),
    ("ledger-lines", "git", ledger.LedgerBroken, ledger.ledger_lines, (PlainFiles,), (Ledger,)),
    ("ledger-complete", "git", ledger.LedgerIncomplete, ledger.complete, (Study, Ledger), ()),
    ("rule-of-record", "git", records.AnotherRule, records.commits_to_rule, (Locks, Ledger), ()),
    ("one-runner", "git", records.AnotherRunner, records.one_runner, (Locks,), ()),
    ("one-corpus", "git", records.AnotherCorpus, records.one_corpus, (Locks,), ()),
    ("one-environment", "git", records.AnotherMachine, records.one_environment, (Locks, Ledger), ()),
    ("input-of-record", "git", records.AnotherInput, records.as_given, _EVIDENCE, (Given,)),
    ("facts-of-record", "git", records.AnotherStory, records.follow, (*_EVIDENCE, Given), ()),
    ("decisions", "git", decisions.DecisionDiffers, decisions.decisions_recomputed, _EVIDENCE, (Recomputed,)),
    ("tickets", "git", decisions.WithoutTicket, decisions.tickets_held, (*_EVIDENCE, Recomputed), ()),
    ("dvc-locks", "git", dvc_locks.DvcLockBroken, dvc_locks.dvc_locks, (Study, Params), (Noted,)),
    ("digests", "git", dvc_locks.DigestDiffers, dvc_locks.digests, _DVC, ()),
    ("parameters", "git", dvc_locks.ParameterDiffers, dvc_locks.parameters, (Study, Params, Recomputed, Noted), ()),
    ("rule-first", "git", history.EvidenceFirst, history.rule_first, (Locks,), ()),
    ("rule-stayed", "git", history.RuleMoved, history.rule_stayed, (Study, Locks), ()),
    ("evidence-stayed", "git", history.EvidenceReplaced, history.evidence_stayed, (Locks,), ()),
    ("summary", "git", artifacts.SummaryDiffers, artifacts.summary, _DVC, ()),
    ("lock-signatures", "git", signatures.LockUnsigned, signatures.lock_signatures, (Locks,), ()),
    ("commit-signatures", "git", signatures.CommitForged, signatures.commit_signatures, (), ()),
    ("artifacts", "artifacts", artifacts.ArtifactDiffers, artifacts.artifacts, (Noted,), ()),
    ("corpus", "artifacts", artifacts.CorpusDiffers, artifacts.corpus, (Study, Locks, Noted), ()),
    ("winner", "artifacts", artifacts.WinnerDiffers, artifacts.winner, _DVC, ()),
    ("site", "artifacts", artifacts.SiteDiffers, artifacts.site, (Noted,), ()),
    ("replay", "replay", replay.ReplayDiffers, replay.suggest_replay, (Ledger,), ()),
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
