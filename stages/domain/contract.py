"""The contract of a rung, artifacts/protocol/rungN.json: what its runs and its gate may rely on.

`protocol` writes it from the lock of the rung's gate; a run and a gate read nothing else of what was frozen. While the
gate is not frozen the contract is closed and says which gate that is. Light to import: a stopped run pays for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from stages.domain import canonical, names
from stages.domain.canonical import JsonObject
from stages.domain.errors import Refused

if TYPE_CHECKING:
    from stages.domain.locks import Lock

SCHEMA = 1
#: The key of artifacts/protocol/knobs/CONFIG.json under which the knobs stand.
KNOBS_KEY = "knobs"
Scalar = int | float | str | bool | None


class HostBlock(TypedDict):
    """A frozen host block, with the fields of `study.Host`."""

    title: str
    system: str
    device: str
    device_name: str
    precision: str
    threads: int
    compile: bool
    flops_per_second: int | None
    report: list[str]
    gpus: NotRequired[int]


@dataclass(frozen=True)
class Contract:
    """What a lock froze for one rung, with the digest of that lock. `rules` are as in the lock; rules.py parses them.

    `clock` is wall, rated or given; `options` is the `with` of the rung, what a command is given there. `configs` are
    the configurations that may enter and their knobs at the first rung; None at later ones, where the gate before
    decides.
    """

    study: str
    rung: str
    gate: str
    lock: str
    previous: str | None
    runner: str
    corpus: str
    rules: Mapping[str, Mapping[str, Scalar]]
    roles: Mapping[str, str]
    budget_seconds: float
    clock: str
    seeds: tuple[int, ...]
    floor_seeds: tuple[int, ...]
    earlier_seeds: tuple[int, ...]
    hosts: Mapping[str, HostBlock]
    settings: Mapping[str, Any]
    configs: Mapping[str, Mapping[str, Scalar]] | None
    last: bool
    options: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def cells(self) -> list[tuple[str, int]]:
        """The declared host-seed cells."""
        return [(host, seed) for host in self.hosts for seed in self.seeds]

    @property
    def entrants(self) -> list[str] | None:
        """The configurations that may enter, sorted; None beyond the first rung, where the gate before decides."""
        return None if self.configs is None else sorted(self.configs)

    def asks_for(self, config: str, host: str, seed: int, purpose: str) -> bool:
        """Whether the frozen rules ask for this run of a configuration that may enter."""
        if host not in self.hosts:
            return False
        if purpose == "floor":
            return seed in self.floor_seeds and config == self.roles.get("reference")
        return purpose == "candidate" and seed in self.seeds

    def to_json(self) -> JsonObject:
        """The contract as a JSON value."""
        value = {name: getattr(self, name) for name in _KEYS}
        seeds = {key: list(value[key]) for key in _SEEDS}
        options = {"with": dict(self.options)} if self.options else {}
        return {"schema": SCHEMA, "open": True, **value, **seeds, "clock": {"kind": self.clock}, **options}

    def to_bytes(self) -> bytes:
        """The bytes of rungN.json."""
        return canonical.dumps(self.to_json())

    def make_record(
        self,
        *,
        config: str,
        host: str,
        seed: int,
        purpose: str,
        status: str,
        reason: str | None,
        environment: dict[str, str] | None = None,
        spec: JsonObject | None = None,
        facts: JsonObject | None = None,
    ) -> JsonObject:
        """The record, as a JSON value, of a run under this contract. Without spec and facts nothing was trained."""
        return {
            "schema": SCHEMA,
            "rung": self.rung,
            "config": config,
            "host": host,
            "seed": seed,
            "purpose": purpose,
            "status": status,
            "reason": reason,
            "gate": self.gate,
            "lock": self.lock,
            "runner": self.runner,
            "corpus": self.corpus,
            "budget": {"clock": self.clock, "seconds": self.budget_seconds},
            "environment": environment,
            "spec": spec,
            "facts": facts,
        }


@dataclass(frozen=True)
class ClosedContract:
    """The contract of a rung whose gate is not frozen yet."""

    rung: str

    @property
    def gate(self) -> str:
        """The gate that must be frozen first."""
        return names.gate_of(self.rung)

    def to_json(self) -> JsonObject:
        """The contract as a JSON value."""
        return {"schema": SCHEMA, "open": False, "rung": self.rung, "gate": self.gate}

    def to_bytes(self) -> bytes:
        """The bytes of rungN.json."""
        return canonical.dumps(self.to_json())


_SEEDS = ("seeds", "floor_seeds", "earlier_seeds")
#: The keys that every contract has. `with` stands beside them where a rung gives a command anything.
_KEYS = tuple(item.name for item in fields(Contract) if item.name != "options")
#: The JSON type of every key whose value has one type alone.
_TYPES: dict[str, type] = {
    **dict.fromkeys(("study", "gate", "lock", "runner", "corpus"), str),
    **dict.fromkeys(("rules", "roles", "clock", "hosts", "settings"), dict),
    **dict.fromkeys(_SEEDS, list),
    "last": bool,
}


def path_of(rung: str) -> str:
    """The path of a rung's contract, with forward slashes."""
    return (names.PROTOCOL / f"{rung}.json").as_posix()


def read(rung: str) -> Contract | ClosedContract | None:
    """The contract of a rung, or None where `protocol` has not run. Refuses a file that is not one."""
    path = names.PROTOCOL / f"{rung}.json"
    if not path.is_file():
        return None
    where, remedy = path_of(rung), "`dvc repro --force protocol` writes it anew"
    try:
        value = canonical.loads(path.read_bytes())
    except canonical.NotCanonical as error:
        raise Refused(f"{where}: {error}; {remedy}") from None
    if not isinstance(value, dict) or value.get("schema") != SCHEMA or value.get("rung") != rung:
        raise Refused(f"{where}: found no contract of {rung}, schema {SCHEMA}; {remedy}")
    if value.get("open") is False:
        return ClosedContract(rung)
    if missing := sorted(set(_KEYS) - value.keys()):
        raise Refused(
            f"{where}: {missing[0]} is missing; another version wrote it: `dvc repro protocol` writes it anew"
        )
    for key, kind in _TYPES.items():
        if not isinstance(value[key], kind):
            raise Refused(f"{where}: {key}: found {value[key]!r:.80}, expected {kind.__name__}; {remedy}")
    return _from_json(value)


def read_open(rung: str) -> Contract:
    """The contract of a rung, which must be open; refuses with what to do first."""
    contract = read(rung)
    if contract is None:
        raise Refused(f"{path_of(rung)} is missing; `dvc repro protocol` writes it")
    if isinstance(contract, ClosedContract):
        gate = contract.gate
        raise Refused(
            f"{names.lock_path(gate).as_posix()} is missing, so {rung} may not start: "
            "a rule comes before its evidence; "
            f"look at gates.{gate} in params.yaml, then `promotion freeze {gate}` and `dvc repro`"
        )
    return contract


def from_lock(lock: Lock) -> Contract:
    """The contract that a lock makes of its rung; amendments are the lock's own history and stay out."""
    return _from_json({**lock.frozen.to_json(), "lock": lock.digest})


def _from_json(value: JsonObject) -> Contract:
    content = {name: value[name] for name in _KEYS}
    seeds = {key: tuple(value[key]) for key in _SEEDS}
    return Contract(**{**content, **seeds, "clock": value["clock"]["kind"], "options": value.get("with", {})})
