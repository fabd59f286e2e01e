"""How the files of DVC are laid out in the tree under verification: as this version writes them, or in the earlier way.

Evidence is held against the layout of its own commit, so that older commits of a history verify by the code of today.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from stages import earlier_layout
from stages.domain import names, promotions
from stages.domain.contract import KNOBS_KEY
from stages.domain.promotions import Ticket
from stages.domain.study import Study
from stages.rungs import PipelineFile, pipeline_files
from stages.verify.check import Case

_EARLIER = re.compile(r"stages/rung[0-9]+/dvc\.(yaml|lock)")


@dataclass(frozen=True)
class Layout:
    """Where a study's generated dvc.yaml files stand, and what their stages are given; `earlier` in older commits."""

    earlier: bool

    def files(self, study: Study, rung: str) -> list[PipelineFile]:
        """The generated dvc.yaml files of a rung or of hindsight."""
        return [earlier_layout.earlier_file(study, rung)] if self.earlier else pipeline_files(study, rung)

    def tickets_path(self, gate: str) -> str:
        """Where the tickets of a gate are."""
        return earlier_layout.tickets_path(gate) if self.earlier else names.promotions_path(gate).as_posix()

    def dump_tickets(self, tickets: dict[str, Ticket]) -> bytes:
        """The bytes of that file."""
        return earlier_layout.dump_tickets(tickets) if self.earlier else promotions.dumps(tickets)

    def parameters(
        self, params: Mapping[str, object], tickets: Mapping[str, dict[str, Ticket]]
    ) -> dict[str, Mapping[str, object]]:
        """The parameters of all stages by file: params.yaml, the tickets, and the knobs of every configuration."""
        given = {self.tickets_path(gate): promotions.values(handed) for gate, handed in tickets.items()}
        if self.earlier:
            return {names.PARAMS.as_posix(): params, **given}
        configs = params.get("configs")
        knobs = configs.items() if isinstance(configs, Mapping) else ()
        return {
            names.PARAMS.as_posix(): params,
            **{path: {promotions.KEY: values} for path, values in given.items()},
            **{names.knobs_path(config).as_posix(): {KNOBS_KEY: values} for config, values in knobs},
        }


def read_layout(case: Case) -> Layout:
    """The layout of the tree under verification."""
    paths = case.tree.paths("stages")
    ladder = f"{names.LADDER.as_posix()}/"
    return Layout(any(map(_EARLIER.fullmatch, paths)) and not any(path.startswith(ladder) for path in paths))
