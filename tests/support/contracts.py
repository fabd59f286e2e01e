"""A contract made by hand, for what needs one without a study."""

from __future__ import annotations

from typing import Any

from stages.domain import names
from stages.domain.contract import Contract, HostBlock

HOST: HostBlock = {
    "title": "",
    "system": "any",
    "device": "cpu",
    "device_name": "",
    "precision": "fp32",
    "threads": 1,
    "compile": False,
    "flops_per_second": 10**10,
    "report": [],
}


def make_contract(rung: str = "rung1", *, hosts: tuple[str, ...] = ("h1",), **changes: Any) -> Contract:
    """The contract of a rung with one seed and no rules, but for `changes`."""
    fields: dict[str, Any] = {
        "study": "test",
        "rung": rung,
        "gate": names.gate_of(rung),
        "lock": "a" * 64,
        "previous": None,
        "runner": "b" * 64,
        "corpus": "c" * 64,
        "rules": {},
        "roles": {},
        "budget_seconds": 10.0,
        "clock": "rated",
        "seeds": (1,),
        "floor_seeds": (),
        "earlier_seeds": (),
        "hosts": dict.fromkeys(hosts, HOST),
        "settings": {},
        "configs": None,
        "last": False,
    }
    return Contract(**fields | changes)
