"""Whether the hosts agree: leaders, ranks, Kendall's tau-b, what each host alone would have decided."""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, Literal

from pydantic import Field

from stages.domain.decision import Judgment, Outcome
from stages.domain.evidence import DECIMALS, Evidence, as_number, tau_b
from stages.domain.rules import RuleId
from stages.domain.schema import Key, Recorded, RecordedFile, RungName
from stages.summary.ladder import Ladder

SCHEMA: Literal[1] = 1
LEVEL = 0.95
Count = Annotated[int, Field(ge=0)]
Rank = Annotated[int, Field(ge=1)]


class HostPairAgreement(Recorded):
    """Two host blocks at one rung: tau-b with its interval, and the pairs of candidates that they order differently."""

    hosts: Annotated[list[Key], Field(min_length=2, max_length=2)]
    candidates: Count
    tau_b: float | None
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    discordant: Count
    inversions: list[Annotated[list[Key], Field(min_length=2, max_length=2)]]


class HostAlone(Recorded):
    """What one host block alone would have decided, and who has its lowest mean.

    The last gate promotes nobody: there only the verdicts and who is first can differ.
    """

    outcome: Outcome
    promoted: list[Key]
    verdicts: dict[RuleId, bool | None]
    first: Key | None


class Overlap(Recorded):
    """Whom all and whom any of the host blocks alone would have promoted; the Jaccard index of these sets."""

    common: list[Key]
    any: list[Key]
    jaccard: float | None


class RungAgreement(Recorded):
    """The host blocks at one rung. `means` and `ranks` are by configuration and host."""

    hosts: list[Key]
    candidates: Count
    leaders: dict[Key, Key | None]
    means: dict[Key, dict[Key, float | None]]
    ranks: dict[Key, dict[Key, Rank | None]]
    pairs: list[HostPairAgreement]
    host_alone: dict[Key, HostAlone]
    overlap: Overlap


class Agreement(RecordedFile):
    """artifacts/summary/agreement.json. `level` is that of the intervals."""

    level: Annotated[float, Field(gt=0, lt=1)]
    rungs: dict[RungName, RungAgreement]


def _compare_hosts(evidence: Evidence, left: str, right: str) -> HostPairAgreement:
    from stages.summary import pairs  # numpy takes a tenth of a second to import: only who compares hosts pays

    means = {name: (evidence.mean(name, left), evidence.mean(name, right)) for name in evidence.candidates}
    both = {name: (float(a), float(b)) for name, (a, b) in means.items() if a is not None and b is not None}
    names, first, second = list(both), [a for a, _ in both.values()], [b for _, b in both.values()]
    count, listed = pairs.inversions(names, first, second)
    tau = tau_b(first, second)
    return HostPairAgreement(
        hosts=[left, right],
        candidates=len(both),
        tau_b=tau,
        interval=None if tau is None else pairs.interval(first, second, LEVEL),
        discordant=count,
        inversions=listed,
    )


def _judge_alone(evidence: Evidence, host: str) -> HostAlone:
    alone = evidence.only_host(host)
    judgment = Judgment(alone)
    first = next(iter(alone.ranking()), None)
    return HostAlone(outcome=judgment.outcome, promoted=judgment.promoted, verdicts=judgment.verdicts, first=first)


def _overlap(promoted: list[set[str]]) -> Overlap:
    common, everyone = set.intersection(*promoted), set.union(*promoted)
    jaccard = round(len(common) / len(everyone), DECIMALS) if everyone else None
    return Overlap(common=sorted(common), any=sorted(everyone), jaccard=jaccard)


def _compare_rung(evidence: Evidence) -> RungAgreement:
    hosts = sorted(evidence.contract.hosts)
    rankings = {host: evidence.ranking("mean", host) for host in hosts}
    places = {host: {name: place for place, name in enumerate(rankings[host], 1)} for host in hosts}
    alone = {host: _judge_alone(evidence, host) for host in hosts}
    return RungAgreement(
        hosts=hosts,
        candidates=len(evidence.candidates),
        leaders={host: ranking[0] if ranking else None for host, ranking in rankings.items()},
        means={name: {host: as_number(evidence.mean(name, host)) for host in hosts} for name in evidence.candidates},
        ranks={name: {host: places[host].get(name) for host in hosts} for name in evidence.candidates},
        pairs=[_compare_hosts(evidence, left, right) for left, right in combinations(hosts, 2)],
        host_alone=alone,
        overlap=_overlap([set(decided.promoted) for decided in alone.values()]),
    )


def agreement(ladder: Ladder) -> Agreement:
    """The content of artifacts/summary/agreement.json: every rung that has evidence.

    `host_alone` judges one host's cells by the frozen rules; rules that compare hosts are left out.
    """
    known = [(rung.name, rung.evidence) for rung in ladder.rungs]
    rungs = {name: _compare_rung(evidence) for name, evidence in known if evidence and evidence.runs}
    return Agreement(schema_=SCHEMA, level=LEVEL, rungs=rungs)
