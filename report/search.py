"""The index that the search box of every page reads: pages, configurations, gates, rules and runs, as a script file.

It is a script and not JSON, because a page opened from a disk may not fetch; it is loaded when a search begins.
"""

from __future__ import annotations

from collections.abc import Iterable

from report.gates import GateView
from report.layout import navigation
from report.load import LedgerRun
from report.page import config_page, rung_page
from report.promotion_paths import PromotionPath
from report.render import script_json
from report.views import StudyView
from stages.domain import formatting, names
from stages.domain import rules as r


def index(view: StudyView) -> bytes:
    """assets/search.js: run ids are stored as configuration + rung/host/seed, so 5,000 runs stay small."""
    configs = sorted(view.study.configs)
    value = {"entries": entries(view), "configs": configs, "runs": _runs(configs, view.executed)}
    return f"window.SITE_INDEX={script_json(value)};\n".encode()


def entries(view: StudyView) -> list[list[str]]:
    """[text, address, further words to find it by] of everything but runs, the likeliest first."""
    rows = [[name, path, ""] for path, name, _ in navigation(view)]
    for gate in view.gates.values():
        rows.append([gate.title, gate.page, gate.name])
        rows.append([f"Runs of {gate.rung_title.lower()}", rung_page(gate.rung), gate.rung])
    for path in view.paths.values():
        rows.append([f"{path.config}{_fate(path)}", config_page(path.config), ""])
    return [*rows, *_rules(view.gates.values())]


def _fate(path: PromotionPath) -> str:
    """Roles and end of a configuration, as the list of hits shows them."""
    parts, last = list(path.roles), path.last
    if last is not None:
        rule = f" ({last.decisive})" if last.decisive else ""
        where = formatting.gate_title(names.gate_of(last.rung)).lower()
        parts.append(f"{formatting.STATES[last.state][1]} at {where}{rule}")
    return f": {', '.join(parts)}" if parts else ""


def _rules(gates: Iterable[GateView]) -> list[list[str]]:
    """Every rule of every gate with its sentence."""
    return [
        [f"{rule_id} of {gate.title.lower()}: {formatting.typeset(r.say(rule))}", f"{gate.page}#{rule_id}", rule.kind]
        for gate in gates
        for rule_id, rule in r.in_order(dict(gate.frozen_rules))
    ]


def _runs(configs: list[str], executed: Iterable[LedgerRun]) -> dict[str, list[list[int | str]]]:
    """By rung and host, the place of the configuration and the seed of every run."""
    place = {config: number for number, config in enumerate(configs)}
    runs: dict[str, list[list[int | str]]] = {}
    for run in executed:
        record = run.record
        seed = f"floor-{record.seed}" if record.purpose == "floor" else record.seed
        runs.setdefault(f"{record.rung}/{record.host}", []).append([place[record.config], seed])
    return runs
