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
    """Two host blocks at one rung, in the order of params.yaml, with what the summary says of them."""

    first: str
    second: str
    summary: HostPairAgreement
    hosts: RungHosts

    @property
    def inversions(self) -> list[tuple[str, str]]:
        """Pairs of candidates: (better on the first block, better on the second)."""
        turned = self.first != self.summary.hosts[0]
        return [(b, a) if turned else (a, b) for a, b in self.summary.inversions]


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
        """Every two host blocks, in the order of params.yaml."""
        ordered = [(sorted(pair.hosts, key=self.hosts.index), pair) for pair in self.summary.pairs]
        ordered.sort(key=lambda item: [self.hosts.index(host) for host in item[0]])
        return [HostPair(first, second, pair, self) for (first, second), pair in ordered]

    @property
    def discordant(self) -> int:
        """How many pairs of candidates change their order between two blocks, over all pairs of blocks."""
        return sum(pair.discordant for pair in self.summary.pairs)

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

        At the last gate, which promotes no candidate, also the same first place. None without decision by frozen rules.
        """
        if self.gate.decision is None or self.gate.what_if:
            return None
        return {host: self._same(self.summary.host_alone[host]) for host in self.hosts}

    def _same(self, alone: HostAlone) -> bool:
        decision = self.gate.decision
        assert decision is not None
        recorded = (decision.outcome, decision.promoted, decision.verdicts)
        same = (alone.outcome, alone.promoted, alone.verdicts) == recorded
        return same and (not self.gate.last or alone.first == self.gate.leader)


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
