"""A page as the builder sees it: where it goes, its template, what it says, and the files that stand beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from report.tables import Table


@dataclass(frozen=True)
class Page:
    """One HTML file. `tables` are written as CSV and JSON next to it, `extra` are further files by name."""

    path: str
    template: str
    title: str
    context: dict[str, Any]
    tables: list[Table] = field(default_factory=list)
    extra: dict[str, bytes] = field(default_factory=dict)

    @property
    def figures(self) -> bool:
        """Whether Plotly is needed."""
        return bool(self.context.get("figures"))


def gate_page(gate: str) -> str:
    """Where a gate's page is."""
    return f"gates/{gate}.html"


def config_page(config: str) -> str:
    """Where a configuration's page is."""
    return f"configs/{config}.html"


def run_page(run: str) -> str:
    """Where an executed run's page is, given its `names.run_id`."""
    return f"runs/{run}.html"


def rung_page(rung: str) -> str:
    """Where the list of a rung's runs is."""
    return f"runs/{rung}.html"
