"""The promotion path: what became of every configuration at every rung, read from the decisions alone.

python -m pytest tests/report/test_promotion_paths.py
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from report.decisions import flip_of, held_by, kinds_of, roles_of, rules_of
from report.load import Audit
from stages.domain import formatting, names

#: States of a configuration that was no candidate at a rung, or is not judged there yet.
OUTSIDE = frozenset({"absent", "waiting", "unrun"})


@dataclass(frozen=True)
class Step:
    """One configuration at one rung. `rank` counts from 1 among candidates with a full set of cells."""

    rung: str
    state: str
    rank: int | None = None
    mean: float | None = None
    hosts: dict[str, float] | None = None
    #: The rules that promoted it, or would have at a blocked gate; else the stop rules that held.
    by: tuple[str, ...] = ()
    #: Stop rules that held for it and were overridden by a kept role.
    against: tuple[str, ...] = ()
    #: Promote rules that could have promoted it and did not: not those that keep somebody else.
    unmet: tuple[str, ...] = ()
    #: The one rule to look at: that which stopped it, or the promote rule that it came closest to.
    decisive: str | None = None


@dataclass(frozen=True)
class Path:
    """One configuration's way up: a step for every rung of the study."""

    config: str
    roles: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def reached(self) -> int:
        """How many rungs it was a candidate at."""
        return sum(1 for step in self.steps if step.state not in OUTSIDE)

    @property
    def last(self) -> Step | None:
        """The last rung at which it was judged."""
        judged = [step for step in self.steps if step.state not in OUTSIDE]
        return judged[-1] if judged else None


@dataclass(frozen=True)
class _Rung:
    """One decided rung, with what every step of it needs."""

    name: str
    decision: dict[str, Any]
    places: dict[str, int]
    held: dict[str, dict[str, tuple[str, ...]]]
    kinds: dict[str, str]
    last: bool

    def step(self, audit: Audit, config: str) -> Step:
        """What became of one candidate."""
        rank = self.places.get(config)
        standing = self.decision["ranking"][rank - 1] if rank else {}
        held = self.held.get(config, {})
        promote, stop = held.get("promote", ()), held.get("stop", ())
        state = self._state(config, rank, promote, stop)
        goes = config in self.decision["promoted"]
        return Step(
            rung=self.name,
            state=state,
            rank=rank,
            mean=standing.get("mean"),
            hosts=standing.get("hosts"),
            by=promote if goes or (state == "blocked" and self._would_go(promote, stop)) else stop,
            against=stop if goes else (),
            unmet=self._unmet(config, promote) if state == "stopped" else (),
            decisive=self._decisive(audit, config, stop) if state == "stopped" else None,
        )

    def _state(self, config: str, rank: int | None, promote: tuple[str, ...], stop: tuple[str, ...]) -> str:
        if self.decision["outcome"] == "blocked":
            return "blocked"
        if self.last:
            return "missing" if rank is None else "winner" if rank == 1 else "finalist"
        if config not in self.decision["promoted"]:
            return "stopped"
        merit = any(self.kinds[rule] != "keep_role" for rule in promote) and not stop
        return "promoted" if merit else "kept"

    def _would_go(self, promote: tuple[str, ...], stop: tuple[str, ...]) -> bool:
        return bool(promote) and (not stop or any(self.kinds[rule] == "keep_role" for rule in promote))

    def _unmet(self, config: str, promote: tuple[str, ...]) -> tuple[str, ...]:
        rules = [told["id"] for told in self.decision["rules"] if told["effect"] == "promote"]
        return tuple(rule for rule in rules if rule not in promote and self.kinds[rule] != "keep_role")

    def _decisive(self, audit: Audit, config: str, stop: tuple[str, ...]) -> str | None:
        gate = names.gate_of(self.name)
        return stop[0] if stop else flip_of(self.decision, rules_of(audit, gate), roles_of(audit, gate), config).rule


def _judged(audit: Audit, rung: str) -> _Rung | None:
    found = audit.decisions.get(names.gate_of(rung))
    if found is None:
        return None
    value = found.value
    places = {one["config"]: n for n, one in enumerate(value["ranking"], 1)}
    return _Rung(rung, value, places, held_by(value), kinds_of(value), last=rung == audit.study.last_rung)


def is_last(audit: Audit, rung: str) -> bool:
    """Whether a rung's gate gives the final verdicts: it is the last one and promotes nobody."""
    decision = audit.decisions.get(names.gate_of(rung))
    return rung == audit.study.last_rung and not (decision and decision.value["promoted"])


def _outside(audit: Audit, rung: str, config: str, judged: bool, path: list[Step]) -> Step:
    """A step of a configuration that no decision of this rung speaks of; `path` is its way so far."""
    before = audit.decisions.get(before_of(audit, rung) or "")
    may = before is None or config in before.value["promoted"]
    may = may and not (path and path[-1].state in ("absent", "stopped", "blocked", "unrun"))
    if judged:
        return Step(rung, "unrun" if before and may else "absent")
    return Step(rung, "waiting" if may else "absent")


@lru_cache(maxsize=1)
def _unrun(audit: Audit) -> frozenset[tuple[str, str]]:
    """(rung, configuration) of what only a what-if promotes: recorded, and never trained."""
    return frozenset(
        (one.record.rung, one.record.config) for one in audit.runs.values() if one.record.status == "unrun"
    )


def before_of(audit: Audit, rung: str) -> str | None:
    """The gate that a rung's candidates come from; None at the first."""
    place = list(audit.study.rungs).index(rung)
    return names.gate_of(list(audit.study.rungs)[place - 1]) if place else None


@lru_cache(maxsize=1)
def ladder(audit: Audit) -> dict[str, Path]:
    """Every configuration's path, best first: by rungs reached, then by rank at the last one, then by name."""
    roles: dict[str, list[str]] = {}
    for role, config in audit.study.roles.items():
        roles.setdefault(config, []).append(role)
    steps: dict[str, list[Step]] = {config: [] for config in audit.study.configs}
    for rung in audit.study.rungs:
        found = _judged(audit, rung)
        candidates = set(found.decision["candidates"]) if found else set()
        for config, path in steps.items():
            if (rung, config) in _unrun(audit):
                path.append(Step(rung, "unrun"))
            elif found is not None and config in candidates:
                path.append(found.step(audit, config))
            else:
                path.append(_outside(audit, rung, config, found is not None, path))
    paths = [Path(name, tuple(roles.get(name, ())), tuple(path)) for name, path in steps.items()]
    return {path.config: path for path in sorted(paths, key=_order)}


def _order(path: Path) -> tuple[int, float, str]:
    last = path.last
    return (-path.reached, last.rank if last and last.rank else float("inf"), path.config)


def winner(audit: Audit) -> str | None:
    """The configuration with the lowest mean at the last rung; None while its gate is undecided or blocked."""
    found = audit.decisions.get(names.gate_of(audit.study.last_rung))
    if found is None or found.value["outcome"] == "blocked" or not found.value["ranking"]:
        return None
    return str(found.value["ranking"][0]["config"])


def leader(audit: Audit, rung: str) -> str | None:
    """The configuration with the lowest mean at a rung."""
    found = audit.decisions.get(names.gate_of(rung))
    return str(found.value["ranking"][0]["config"]) if found and found.value["ranking"] else None


def candidates(audit: Audit, rung: str) -> list[str] | None:
    """Who is judged at a rung, by name; None while the gate before has not decided."""
    here, before = audit.decisions.get(names.gate_of(rung)), before_of(audit, rung)
    if here is not None:
        return list(here.value["candidates"])
    if before is None:
        return sorted(audit.study.configs)
    return list(audit.decisions[before].value["promoted"]) if before in audit.decisions else None


def counts(audit: Audit) -> list[tuple[str, int | None]]:
    """How many candidates each rung had: 12, 12, 9, 4, 3; None where that is not decided yet."""
    found = [(rung, candidates(audit, rung)) for rung in audit.study.rungs]
    return [(rung, None if who is None else len(who)) for rung, who in found]


def expected_cells(audit: Audit, rung: str) -> list[tuple[str, str, int]]:
    """(configuration, host, seed) of every run that a rung asks for; empty while its candidates are not known."""
    cells = audit.study.cells(rung)
    return [(config, host, seed) for config in candidates(audit, rung) or [] for host, seed in cells]


def asked_for(audit: Audit, rung: str) -> list[str]:
    """Ids of the runs that a rung asks for, those of its A/A floor last. A what-if asks for none."""
    cells = expected_cells(audit, rung)
    ids = [names.run_id(rung, *cell) for cell in cells if (rung, cell[0]) not in _unrun(audit)]
    reference, seeds = audit.study.roles.get("reference"), audit.study.rungs[rung].floor_seeds if cells else []
    floor = [(host, seed) for host in audit.study.hosts for seed in seeds] if reference else []
    return ids + [names.run_id(rung, str(reference), host, seed, "floor") for host, seed in floor]


def missing_runs(audit: Audit, rung: str) -> list[str]:
    """Ids of the runs that a rung asks for and the ledger has no executed record of."""
    ids = asked_for(audit, rung)
    return [one for one in ids if one not in audit.runs or not audit.runs[one].record.executed]


def why_empty(audit: Audit, rung: str) -> str:
    """Why a rung has no candidates, in words; empty where it has some or they are not known yet."""
    before = before_of(audit, rung)
    if before is None or candidates(audit, rung) != []:
        return ""
    blocked = audit.decisions[before].value["outcome"] == "blocked" if before in audit.decisions else False
    if blocked and (earlier := why_empty(audit, names.rung_of(before))):
        return earlier
    return f"{formatting.gate_title(before).lower()} {'is blocked' if blocked else 'promoted nobody'}"
