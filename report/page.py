"""A page as the builder sees it: where it goes, its template, what it says, and the files that stand beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

from report.tables import Cell, Table
from stages.domain import formatting, names


@dataclass(frozen=True)
class Page:
    """One HTML file. `tables` are written as CSV and JSON next to it, `extra` are further files by name."""

    path: str
    template: str
    title: str
    context: dict[str, object]
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


def link_config(name: str | None) -> Cell:
    """A configuration in a table, with a link to its page; empty where there is none."""
    return Cell(name, href=config_page(name) if name else "")


def link_rung(rung: str) -> Cell:
    """A rung in a table, with a link to the page of the gate that judges it."""
    return Cell(rung, formatting.rung_title(rung), gate_page(names.gate_of(rung)))


def link_gate(gate: str, fragment: str = "") -> Cell:
    """A gate in a table, with a link to its page."""
    return Cell(gate, formatting.gate_title(gate), gate_page(gate) + fragment)
