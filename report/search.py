"""The index that the search box of every page reads: configurations, gates and runs, as a script file.

    python -m pytest tests/site/test_search.py

A script and not JSON, because a page opened from a disk may not fetch. It is loaded when somebody starts to search.
"""

from __future__ import annotations

from report.load import Audit
from report.render import script_json
from stages.domain import names


def index(audit: Audit) -> bytes:
    """assets/search.js: run ids are stored as configuration + rung/host/seed, so 5,000 runs stay small."""
    configs = sorted(audit.study.configs)
    roles = {config: role for role, config in sorted(audit.study.roles.items())}
    place = {config: number for number, config in enumerate(configs)}
    runs: dict[str, list[list[int | str]]] = {}
    for run in audit.executed:
        record = run.record
        if record.config in place:
            seed = f"floor-{record.seed}" if record.purpose == "floor" else record.seed
            runs.setdefault(f"{record.rung}/{record.host}", []).append([place[record.config], seed])
    value = {
        "configs": [[config, roles.get(config, "")] for config in configs],
        "gates": [names.gate_of(rung) for rung in audit.study.rungs],
        "runs": runs,
    }
    return f"window.SITE_INDEX={script_json(value)};\n".encode()
