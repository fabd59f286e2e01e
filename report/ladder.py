"""The promotion path: what became of every configuration at every rung, read from the decisions alone.

python -m pytest tests/site/test_ladder.py
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from report.deciding import roles_of, rules_of
from report.flip import flip_of
from report.load import Audit
from stages.domain import names


@dataclass(frozen=True)
class Step:
    """One configuration at one rung. `rank` counts from 1 among candidates with a full set of cells."""

    rung: str
    state: str
    rank: int | None = None
    mean: float | None = None
    hosts: dict[str, float] | None = None
    by: tuple[str, ...] = ()
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
        return sum(1 for step in self.steps if step.state not in ("absent", "waiting"))

    @property
    def last(self) -> Step | None:
        """The last rung at which it was judged."""
        judged = [step for step in self.steps if step.state not in ("absent", "waiting")]
        return judged[-1] if judged else None


def _step(audit: Audit, rung: str, config: str, decision: dict[str, Any], places: dict[str, int]) -> Step:
    if config not in decision["candidates"]:
        return Step(rung, "absent")
    gate, rank = names.gate_of(rung), places.get(config)
    standing = decision["ranking"][rank - 1] if rank else {}
    by = tuple(decision["promoted_by"].get(config, ()))
    stopped = decision["stopped"].get(config, {})
    return Step(
        rung=rung,
        state=(state := _state(config, decision, rung == audit.study.last_rung, rank, by)),
        rank=rank,
        mean=standing.get("mean"),
        hosts=standing.get("hosts"),
        by=by or tuple(stopped.get("by", ())),
        unmet=tuple(stopped.get("unmet", ())),
        decisive=_decisive(audit, gate, config, decision, stopped) if state == "stopped" else None,
    )


def _decisive(audit: Audit, gate: str, config: str, decision: dict[str, Any], stopped: dict[str, Any]) -> str | None:
    if stopped.get("by"):
        return str(stopped["by"][0])
    return flip_of(decision, rules_of(audit, gate), roles_of(audit, gate), config).rule


def _state(config: str, decision: dict[str, Any], last: bool, rank: int | None, by: tuple[str, ...]) -> str:
    if decision["outcome"] == "blocked":
        return "blocked"
    if last:
        return "missing" if rank is None else "winner" if rank == 1 else "finalist"
    if config not in decision["promoted"]:
        return "stopped"
    kinds = {rule["id"]: rule["kind"] for rule in decision["rules"]}
    return "kept" if by and all(kinds[rule] == "keep_role" for rule in by) else "promoted"


@lru_cache(maxsize=1)
def ladder(audit: Audit) -> dict[str, Path]:
    """Every configuration's path, best first: by rungs reached, then by rank at the last one, then by name."""
    roles: dict[str, list[str]] = {}
    for role, config in audit.study.roles.items():
        roles.setdefault(config, []).append(role)
    steps: dict[str, list[Step]] = {config: [] for config in audit.study.configs}
    for rung in audit.study.rungs:
        found = audit.decisions.get(names.gate_of(rung))
        places = {one["config"]: n for n, one in enumerate(found.value["ranking"], 1)} if found else {}
        for config, path in steps.items():
            if found is None:
                path.append(Step(rung, "waiting"))
            else:
                path.append(_step(audit, rung, config, found.value, places))
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


def counts(audit: Audit) -> list[tuple[str, int | None]]:
    """How many candidates each rung had: 12, 12, 9, 4, 3; None where that is not decided yet."""
    found: list[tuple[str, int | None]] = []
    for number, rung in enumerate(audit.study.rungs, start=1):
        before = audit.decisions.get(f"gate{number - 1}")
        here = audit.decisions.get(names.gate_of(rung))
        if here is not None:
            found.append((rung, len(here.value["candidates"])))
        elif number == 1:
            found.append((rung, len(audit.study.configs)))
        else:
            found.append((rung, len(before.value["promoted"]) if before else None))
    return found


def expected_cells(audit: Audit, rung: str) -> list[tuple[str, str, int]]:
    """(configuration, host, seed) of every run that a rung asks for; empty while its candidates are not known."""
    number = int(rung.removeprefix("rung"))
    here, before = audit.decisions.get(names.gate_of(rung)), audit.decisions.get(f"gate{number - 1}")
    if here is not None:
        who = list(here.value["candidates"])
    elif number == 1:
        who = sorted(audit.study.configs)
    else:
        who = list(before.value["promoted"]) if before else []
    return [(config, host, seed) for config in who for host, seed in audit.study.cells(rung)]


def missing_runs(audit: Audit, rung: str) -> list[str]:
    """Ids of the runs that a rung asks for and the ledger has no executed record of."""
    ids = [names.run_id(rung, *cell) for cell in expected_cells(audit, rung)]
    return [one for one in ids if one not in audit.runs or not audit.runs[one].record.executed]
