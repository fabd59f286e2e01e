"""Whether the host blocks agree, rung by rung: in the order of the study, each block against the decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from report.gates import GateView
from stages.summary.agreement import Agreement, HostAlone, HostPairAgreement, RungAgreement

#: Where every number of agreement comes from, whether the file lay there or was made from the ledger.
SOURCE = "locks/ and ledger/, as in artifacts/summary/agreement.json"


@dataclass(frozen=True)
class HostPair:
    """Two host blocks at one rung, in the order of params.yaml. An inversion: (better on the first, on the second)."""

    first: str
    second: str
    candidates: int
    tau_b: float | None
    interval: list[float] | None
    discordant: int
    inversions: list[tuple[str, str]]
    hosts: RungHosts


@dataclass(frozen=True)
class RungHosts:
    """The host blocks at one rung, in the order of params.yaml: what the summary says of them, beside the decision."""

    gate: GateView
    summary: RungAgreement
    hosts: list[str]

    @property
    def alone_page(self) -> str:
        """Where the gate's page says what each host block alone would have decided."""
        return f"{self.gate.page}#Hosts"

    @cached_property
    def pairs(self) -> list[HostPair]:
        """Every two host blocks."""
        return sorted(map(self._pair, self.summary.pairs), key=lambda pair: self._places(pair.first, pair.second))

    def _pair(self, summary: HostPairAgreement) -> HostPair:
        first, second = sorted(summary.hosts, key=self.hosts.index)
        turned = first != summary.hosts[0]
        inversions = [(b, a) if turned else (a, b) for a, b in summary.inversions]
        numbers = (summary.candidates, summary.tau_b, summary.interval, summary.discordant)
        return HostPair(first, second, *numbers, inversions, self)

    def _places(self, *hosts: str) -> tuple[int, ...]:
        return tuple(self.hosts.index(host) for host in hosts)

    @property
    def leaders(self) -> list[str]:
        """Who has the lowest mean on a host block, each once."""
        leaders = (self.summary.leaders.get(host) for host in self.hosts)
        return list(dict.fromkeys(leader for leader in leaders if leader))

    def ranks(self, config: str) -> list[int | None]:
        """The rank of a candidate on every host block."""
        return [self.summary.ranks[config][host] for host in self.hosts]

    @cached_property
    def same_alone(self) -> dict[str, bool] | None:
        """By host block, whether it alone would have come to the recorded decision: outcome, promoted, verdicts.

        At the last gate, which promotes nobody, also the same first place. None where no decision by frozen rules is.
        """
        if self.gate.decision is None or self.gate.what_if:
            return None
        return {host: self._same(self.summary.host_alone[host]) for host in self.hosts}

    def _same(self, alone: HostAlone) -> bool:
        decision = self.gate.decision
        assert decision is not None
        same = (alone.outcome, alone.promoted, alone.verdicts) == (
            decision.outcome,
            decision.promoted,
            decision.verdicts,
        )
        return same and (not self.gate.last or alone.first == self.gate.leader)

    @property
    def how_many_alone(self) -> tuple[int, str] | None:
        """How many host blocks alone would have decided the same, as a number and in words; None as `same_alone`."""
        if self.same_alone is None:
            return None
        same = sum(self.same_alone.values())
        return same, f"{same} of {len(self.same_alone)}"


def compare_hosts(agreement: Agreement, gates: Mapping[str, GateView]) -> dict[str, RungHosts]:
    """By rung, its host blocks; of every rung with evidence, in the order of the study."""
    return {
        gate.rung: RungHosts(gate, summary, sorted(summary.hosts, key=host_order(gate.study.hosts)))
        for gate in gates.values()
        if (summary := agreement.rungs.get(gate.rung))
    }


def host_order(hosts: Mapping[str, object]) -> Callable[[str], tuple[int, str]]:
    """A sort key for host blocks as params.yaml has them; one that it lacks by now comes last."""
    places = {host: place for place, host in enumerate(hosts)}
    return lambda host: (places.get(host, len(places)), host)
