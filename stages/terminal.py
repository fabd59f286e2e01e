"""Tables and sentences for people, in a terminal or through a pipe: heads wrap, figures are never cut off.

Text is text here: no console reads markup, links or emoji in it, and what does not show is escaped (`foreign_text`).
Colours are given as styles.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Literal, TextIO

from stages.domain.foreign_text import OutputStream, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

#: Where nothing says how wide it is: a pipe, a file, a log of continuous integration.
COLUMNS = 140
#: More columns than any table has.
WIDEST = 10_000


def console(stream: TextIO | None = None) -> Console:
    """Where tables and sentences go (stdout unless given): as wide as the terminal or COLUMNS say, else 140."""
    stream = stream or sys.stdout
    terminal = _console_class()(file=stream.styled if isinstance(stream, OutputStream) else stream)
    if not terminal.is_terminal and "COLUMNS" not in os.environ:
        terminal.width = COLUMNS
    return terminal


@cache
def _console_class() -> type[Console]:
    """Rich's console, which is imported where something is shown, with visible text alone."""
    from collections.abc import Iterable

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class VisibleConsole(Console):
        def __init__(self, file: TextIO) -> None:
            super().__init__(file=file, markup=False, emoji=False, highlight=False)

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=visible(segment.text))

    return VisibleConsole


def print_line(to: Console, text: str | Text, style: str = "") -> None:
    """Print a sentence in one line, however narrow the terminal is: so it can be searched and copied whole."""
    to.print(text, style=style, soft_wrap=True)


def add_columns(table: Table, *heads: str, justify: Literal["left", "right"] = "left") -> None:
    """Columns whose head has a line for every word, and whose cells have one."""
    for head in heads:
        table.add_column(head.replace(" ", "\n"), justify=justify, no_wrap=True)


def print_table(to: Console, table: Table) -> None:
    """Print a table; where it does not fit, its lines run over the edge."""
    from rich.measure import Measurement

    width = to.width
    unbounded = to.options.update_width(WIDEST)  # in the options of `to` no cell is wider than the terminal
    for column in table.columns:
        if column.no_wrap:  # rich would cut a cell of several words off behind the longest
            cells = (column.header, *column.cells)
            column.min_width = max(Measurement.get(to, unbounded, cell).maximum for cell in cells)
    to.width = max(width, table.__rich_measure__(to, unbounded).minimum)
    to.print(table)
    to.width = width
