"""The runs that a study asks for: what each is called, where DVC has it, and the order in which the ledger keeps them.

Light to import: names alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from stages.domain import names

if TYPE_CHECKING:
    from stages.domain.study import Study


@dataclass(frozen=True, order=True)
class Run:
    """One run of a study: a configuration on a host with a seed, at a rung.

    `purpose` is candidate, floor (A/A), or hindsight: at the last rung's budget, after the last gate has decided.
    """

    rung: str
    config: str
    host: str
    seed: int
    purpose: str

    @property
    def id(self) -> str:
        """Its one name: rung/config/host/seed."""
        return names.run_id(self.rung, self.config, self.host, self.seed, self.purpose)

    @property
    def stage_name(self) -> str:
        """The name of its stage in its dvc.yaml."""
        return f"{'floor' if self.purpose == 'floor' else 'run'}@{self.host}-{self.seed}"

    @property
    def folder(self) -> Path:
        """Where its dvc.yaml and dvc.lock stand."""
        return names.pipeline_folder(self.purpose if self.purpose == "hindsight" else self.rung, self.config)

    @property
    def lock_path(self) -> Path:
        """The dvc.lock that has its entry."""
        return self.folder / "dvc.lock"

    @property
    def stage(self) -> str:
        """Its address in DVC."""
        return f"{self.folder.as_posix()}/dvc.yaml:{self.stage_name}"

    @property
    def command(self) -> list[str]:
        """The words after `python` that DVC and `promotion dispatch` run it with."""
        words = ["-m", "stages.run", self.rung, self.config, self.host, str(self.seed)]
        return words if self.purpose == "candidate" else [*words, f"--{self.purpose}"]


class RunKey(Protocol):
    """What names a run: a `Run` or a `records.Record`."""

    @property
    def rung(self) -> str:
        """rung1, rung2, ..."""

    @property
    def config(self) -> str:
        """The configuration."""

    @property
    def host(self) -> str:
        """The host block."""

    @property
    def seed(self) -> int:
        """The seed."""

    @property
    def purpose(self) -> str:
        """Candidate, floor or hindsight."""


def runs_of(study: Study, rung: str) -> list[Run]:
    """Every run of a rung in the order of DVC: each configuration in each cell, then the A/A runs of the reference."""
    candidates = [
        Run(rung, config, host, seed, "candidate") for config in study.configs for host, seed in study.cells(rung)
    ]
    reference, seeds = study.roles.get("reference"), study.rungs[rung].floor_seeds
    if reference is None:
        return candidates
    return candidates + [Run(rung, reference, host, seed, "floor") for host in study.hosts for seed in seeds]


def all_runs(study: Study) -> list[Run]:
    """Every run of a study, rung by rung."""
    return [run for rung in study.rungs for run in runs_of(study, rung)]


def hindsight_runs(study: Study) -> list[Run]:
    """Every configuration in each cell of the last rung, sorted; none for a study of a single rung.

    Those that the ladder itself took to the last rung are listed too, and train nothing.
    """
    if len(study.rungs) < 2:
        return []
    rung = study.last_rung
    return sorted(
        Run(rung, config, host, seed, "hindsight") for config in study.configs for host, seed in study.cells(rung)
    )


def gate_stage(rung: str) -> str:
    """The address in DVC of the gate that judges a rung."""
    return f"{names.pipeline_folder(rung).as_posix()}/dvc.yaml:gate"


def ledger_order(run: RunKey) -> tuple[int, bool, str, str, int]:
    """The place of a run in ledger/runs.jsonl: by rung number, candidates before A/A runs, config, host, seed."""
    return names.number_of(run.rung), run.purpose == "floor", run.config, run.host, run.seed
