"""Tickets: which configuration a gate let through.

`promotions.json` is what a gate hands to the next rung. Every run reads its own line of it as a DVC parameter, so the
ticket stands in dvc.lock and a changed one re-runs only its own runs. It is JSON because DVC reads it for every run.

A ticket is one of
    true      the frozen rules promoted the configuration: train it
    false     they did not: record it as stopped
    what-if   only an exploratory gate promotes it: train nothing, record it as unrun
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from stages.domain import canonical, names
from stages.domain.errors import Invalid

Ticket = Literal["true", "false", "what-if"]
MAX_BYTES = 1 << 20
#: The key in promotions.json under which a run finds its ticket.
KEY = "tickets"
SCHEMA = 1
_TICKETS: dict[object, Ticket] = {True: "true", False: "false", "what-if": "what-if"}


class BadTickets(Invalid):
    """A promotions.json that no gate wrote."""


def values(tickets: dict[str, Ticket]) -> dict[str, bool | str]:
    """Tickets as DVC has them: true, false or "what-if"."""
    return {name: ticket if ticket == "what-if" else ticket == "true" for name, ticket in tickets.items()}


def dumps(tickets: dict[str, Ticket]) -> bytes:
    """The bytes of promotions.json."""
    return canonical.dumps({"schema": SCHEMA, KEY: values(tickets)})


def loads(data: bytes, where: str = "promotions.json") -> dict[str, Ticket]:
    """Tickets by configuration; `BadTickets` names the place that is none."""
    if len(data) > MAX_BYTES:
        raise BadTickets.at(where, f"{len(data)} bytes, expected at most {MAX_BYTES}")
    try:
        value = canonical.loads(data)
    except canonical.NotCanonical as error:
        raise BadTickets.at(where, f"{error}; is the file whole?") from None
    if not isinstance(value, dict) or value.keys() != {"schema", KEY} or value["schema"] != SCHEMA:
        raise BadTickets.at(where, f"expected schema {SCHEMA} and {KEY}")
    tickets = value[KEY]
    if not isinstance(tickets, dict):
        raise BadTickets.at(where, f"found {tickets!r:.80}, expected a ticket by configuration", KEY)
    for name, ticket in tickets.items():
        if not names.is_name(name, names.KEY):
            raise BadTickets.at(where, f"found {name!r:.80}, expected the name of a configuration", KEY)
        if type(ticket) not in (bool, str) or ticket not in _TICKETS:
            raise BadTickets.at(where, f"found {ticket!r:.80}, expected true, false or what-if", f"{KEY}.{name}")
    return {name: _TICKETS[ticket] for name, ticket in tickets.items()}


def read(path: Path) -> dict[str, Ticket]:
    """The tickets in a file; a missing one is an error that says which gate writes it."""
    if not path.is_file():
        raise BadTickets.at(path.as_posix(), "is missing; `dvc repro` runs the gate that writes it")
    return loads(path.read_bytes(), path.as_posix())
