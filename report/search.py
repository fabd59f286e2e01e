"""The index that the search box of every page reads: pages, configurations, gates, rules and runs, as a script file.

    python -m pytest tests/report/test_search.py

A script and not JSON, because a page opened from a disk may not fetch. It is loaded when somebody starts to search.
"""

from __future__ import annotations

from report import promotion_paths
from report.layout import PAGES
from report.load import Audit
from report.page import gate_page, rung_page
from report.render import script_json
from stages.domain import formatting, names
from stages.domain import rules as r


def entries(audit: Audit) -> list[list[str]]:
    """[text, address, further words to find it by] of everything but runs, the likeliest first."""
    found = [[name, path, ""] for path, name, _ in PAGES]
    for rung in audit.study.rungs:
        gate = names.gate_of(rung)
        found.append([formatting.gate_title(gate), gate_page(gate), gate])
        found.append([f"Runs of {formatting.rung_title(rung).lower()}", rung_page(rung), rung])
    for path in promotion_paths.ladder(audit).values():
        found.append([f"{path.config}{_fate(path)}", f"configs/{path.config}.html", ""])
    return [*found, *_rules(audit)]


def _fate(path: promotion_paths.Path) -> str:
    """Roles and end of a configuration, as the list of hits shows them."""
    last = path.last
    told = list(path.roles)
    if last is not None:
        rules = f" ({last.decisive})" if last.decisive else ""
        told.append(
            f"{formatting.STATES[last.state][1]} at {formatting.gate_title(names.gate_of(last.rung)).lower()}{rules}"
        )
    return f": {', '.join(told)}" if told else ""


def _rules(audit: Audit) -> list[list[str]]:
    """Every rule of every gate with its sentence."""
    found = []
    for rung in audit.study.rungs:
        gate = names.gate_of(rung)
        frozen = audit.locks.get(gate)
        rules = frozen.lock.frozen.rules if frozen else audit.study.gates[gate]
        for rule_id, rule in r.in_order(dict(rules)):
            text = f"{rule_id} of {formatting.gate_title(gate).lower()}: {formatting.typeset(r.say(rule))}"
            found.append([text, f"{gate_page(gate)}#{rule_id}", rule.kind])
    return found


def index(audit: Audit) -> bytes:
    """assets/search.js: run ids are stored as configuration + rung/host/seed, so 5,000 runs stay small."""
    configs = sorted(audit.study.configs)
    place = {config: number for number, config in enumerate(configs)}
    runs: dict[str, list[list[int | str]]] = {}
    for run in audit.executed:
        record = run.record
        seed = f"floor-{record.seed}" if record.purpose == "floor" else record.seed
        runs.setdefault(f"{record.rung}/{record.host}", []).append([place[record.config], seed])
    value = {"entries": entries(audit), "configs": configs, "runs": runs}
    return f"window.SITE_INDEX={script_json(value)};\n".encode()
