"""Tickets: which configuration a gate let through, one line each.

`promotions.yaml` is what a gate hands to the next rung. Every run reads its own line of it as a DVC parameter,
so the ticket stands in dvc.lock and a changed one re-runs only its own runs. The lines have one form
(`name: true`), so that this module can read them with the standard library alone: a configuration without a
ticket is recorded as stopped in milliseconds.

A ticket is one of
    true      the frozen rules promoted the configuration: train it
    false     they did not: record it as stopped
    what-if   only an exploratory gate promotes it: train nothing, record it as unrun
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, cast

Ticket = Literal["true", "false", "what-if"]
MAX_BYTES = 1 << 20
_LINE = re.compile(r"([a-z0-9][a-z0-9_-]{0,63}): (true|false|what-if)")


class BadTickets(ValueError):
    """A promotions.yaml that no gate wrote."""


def dumps(tickets: dict[str, Ticket]) -> bytes:
    """The bytes of promotions.yaml, sorted by name."""
    return "".join(f"{name}: {tickets[name]}\n" for name in sorted(tickets)).encode()


def loads(data: bytes, where: str = "promotions.yaml") -> dict[str, Ticket]:
    """Tickets by configuration; `BadTickets` names the line that is not one."""
    if len(data) > MAX_BYTES:
        raise BadTickets(f"{where}: {len(data)} bytes, expected at most {MAX_BYTES}")
    tickets: dict[str, Ticket] = {}
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise BadTickets(f"{where}: not UTF-8 at byte {error.start}") from None
    if lines[-1] != "":
        raise BadTickets(f"{where}: the last line does not end; is the file whole?")
    for number, line in enumerate(lines[:-1], start=1):
        match = _LINE.fullmatch(line)
        if match is None or match[1] in tickets:
            raise BadTickets(
                f"{where}, line {number}: found {line!r}, expected `configuration: true|false|what-if`, once each"
            )
        tickets[match[1]] = cast(Ticket, match[2])
    return tickets


def read(path: Path) -> dict[str, Ticket]:
    """The tickets in a file; a missing one is an error that says which gate writes it."""
    if not path.is_file():
        raise BadTickets(f"{path.as_posix()} is missing; `dvc repro` runs the gate that writes it")
    return loads(path.read_bytes(), path.as_posix())
