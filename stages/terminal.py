"""Tables for people, in a terminal or through a pipe: heads wrap, figures are never cut off."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: Where nothing says how wide it is: a pipe, a file, a log of continuous integration.
COLUMNS = 140


def console() -> Console:
    """Where tables and sentences go: as wide as the terminal or COLUMNS say, else 140."""
    from rich.console import Console

    terminal = Console(highlight=False)
    if not terminal.is_terminal and "COLUMNS" not in os.environ:
        terminal.width = COLUMNS
    return terminal


def add_columns(table: Table, *heads: str, justify: Literal["left", "right"] = "left") -> None:
    """Columns whose head has a line for every word, and whose cells have one."""
    for head in heads:
        table.add_column(head.replace(" ", "\n"), justify=justify, no_wrap=True)


def print_table(to: Console, table: Table) -> None:
    """Print a table; where it does not fit, its lines run over the edge."""
    width = to.width
    to.width = max(width, table.__rich_measure__(to, to.options).minimum)
    to.print(table)
    to.width = width
