"""The study as the pages see it: what its files say, and what several pages need of it, each computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from report.chain import Chain, supported, trace_chain
from report.confidence import Confidence, find_confidence
from report.cost import StudyCost, price_study
from report.figures import Stars
from report.gates import GateView, Lead, NoiseScale, find_lead, nearest_noise, view_gates
from report.hindsight import HindsightView, find_hindsight
from report.host_agreement import RungHosts, compare_hosts
from report.load import LedgerRun, StudyFiles, load
from report.machines import HostMachines, read_machines
from report.promotion_paths import PromotionPath, build_paths
from stages.domain.study import Study


@dataclass(frozen=True, eq=False)
class StudyView:
    """Everything that the pages say. Gates and chains go by gate, paths by configuration, host blocks by rung."""

    files: StudyFiles

    @property
    def study(self) -> Study:
        """params.yaml."""
        return self.files.study

    @property
    def clock(self) -> str:
        """`rated clock` or `wall clock`, as every table says it."""
        return f"{self.study.clock.kind} clock"

    @property
    def has_builtin_runner(self) -> bool:
        """Whether trainer/ trains, of whose model and text the pages know more than of a command's."""
        return self.study.runner.get("kind") != "command"

    @property
    def executed(self) -> list[LedgerRun]:
        """Every run that trained something, in the order of the ledger."""
        return self.files.executed

    @cached_property
    def gates(self) -> dict[str, GateView]:
        """Every gate, in the order of the study."""
        return view_gates(self.files)

    @property
    def first_gate(self) -> GateView:
        """The gate of the first rung."""
        return next(iter(self.gates.values()))

    @property
    def last_gate(self) -> GateView:
        """The gate of the last rung."""
        return next(reversed(self.gates.values()))

    @cached_property
    def chains(self) -> dict[str, Chain]:
        """What holds every gate's decision."""
        return {name: trace_chain(gate) for name, gate in self.gates.items()}

    @property
    def supported(self) -> bool:
        """Whether every gate is decided by a chain that holds, on evidence of which nothing is missing."""
        return supported(self.gates.values(), self.chains.values())

    @cached_property
    def paths(self) -> dict[str, PromotionPath]:
        """What became of every configuration, the best first."""
        return build_paths(self.study, self.gates.values(), self.lead)

    @cached_property
    def lead(self) -> Lead | None:
        """Whose the lowest mean at the last rung is; None while its gate is undecided or blocked."""
        return find_lead(self.gates)

    @property
    def stars(self) -> Stars:
        """The first of the last rung and the leader of the first one."""
        return Stars(self.lead.first if self.lead else None, self.first_gate.leader)

    @cached_property
    def cost(self) -> StudyCost:
        """What the study cost."""
        return price_study(self.files.accounting, self.gates.values(), self.study.last_rung)

    @cached_property
    def hosts(self) -> dict[str, RungHosts]:
        """The host blocks of every rung with evidence."""
        return compare_hosts(self.files.agreement, self.gates)

    @cached_property
    def confidence(self) -> Confidence:
        """How sure the decisions are."""
        return find_confidence(self.files)

    @cached_property
    def hindsight(self) -> HindsightView:
        """What the configurations that were stopped show at the last budget."""
        return find_hindsight(self.files)

    @cached_property
    def machines(self) -> HostMachines:
        """The machines that the telemetry names."""
        return read_machines(self.files.root, self.study, self.executed)

    @property
    def missing(self) -> int:
        """How many runs are missing from the ledger, in all."""
        return sum(len(gate.missing) for gate in self.gates.values())

    def noise(self, gate: str) -> NoiseScale | None:
        """The A/A floor that a gate's numbers can be held against; None where no gate has one."""
        return nearest_noise(self.gates, gate)


def view_study(root: Path) -> StudyView:
    """The study in the folder `root`."""
    return StudyView(load(root))
