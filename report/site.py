"""What every page shares: the study, its navigation, its warnings, the clock.

python -m pytest tests/site/test_site.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from report import ladder, words
from report.load import Audit
from report.page import config_page, gate_page
from stages.domain import names

#: Pages of their own: path and name, in the order of the navigation.
PAGES = (
    ("index.html", "Overview"),
    ("configs/index.html", "Configurations"),
    ("runs/index.html", "Runs"),
    ("agreement.html", "Agreement"),
    ("stability.html", "Stability"),
    ("cost.html", "Cost"),
    ("method.html", "Method"),
    ("verify.html", "Verify"),
)


@dataclass(frozen=True)
class Warning_:
    """One line of the warning band: what is wrong, in words, and where to read more."""

    kind: str
    text: str
    href: str


def warnings(audit: Audit) -> list[Warning_]:
    """What a reader must know before believing a number: exploratory, amended, blocked, missing, broken."""
    return [*_mode(audit), *_gates(audit), *_missing(audit), *_broken(audit)]


def _mode(audit: Audit) -> list[Warning_]:
    what_if = [gate for gate, one in audit.decisions.items() if one.value["mode"] == "exploratory"]
    if audit.study.study.mode == "exploratory" or what_if:
        gates = f" ({words.listed([words.gate_title(gate) for gate in what_if])})" if what_if else ""
        text = f"A what-if: rules that nobody froze decided here{gates}. Nothing on these pages is a result."
        return [Warning_("exploratory", text, gate_page(what_if[0]) + "#rules" if what_if else "method.html")]
    return []


def _gates(audit: Audit) -> list[Warning_]:
    found = []
    for rung in audit.study.rungs:
        gate = names.gate_of(rung)
        title, lock, decision = words.gate_title(gate), audit.locks.get(gate), audit.decisions.get(gate)
        if lock and lock.lock.frozen.amendments:
            many = words.count(len(lock.lock.frozen.amendments), "amendment")
            text = f"{title} was amended after evidence of its rung existed ({many})."
            found.append(Warning_("amended", text, gate_page(gate) + "#amendments"))
        if decision and decision.value["outcome"] == "blocked":
            text = f"{title} is blocked by {words.listed(decision.value['blocked_by'])} and promotes nobody."
            found.append(Warning_("blocked", text, gate_page(gate) + "#rules"))
        if lock is None:
            found.append(Warning_("missing", f"The rules of {title} are not frozen.", gate_page(gate)))
        elif decision is None:
            found.append(Warning_("missing", f"{title} has not decided yet.", gate_page(gate)))
    return found


def _missing(audit: Audit) -> list[Warning_]:
    found = []
    for rung in audit.study.rungs:
        if gone := ladder.missing_runs(audit, rung):
            text = f"{words.rung_title(rung)}: {words.count(len(gone), 'run')} missing from the ledger."
            found.append(Warning_("missing", text, gate_page(names.gate_of(rung)) + "#evidence"))
    return found


def _broken(audit: Audit) -> list[Warning_]:
    found = []
    for status in ("diverged", "failed"):
        bad = [run.record for run in audit.executed if run.record.status == status]
        if bad:
            text = f"{words.count(len(bad), 'run')} {status}: {words.listed([one.id for one in bad], 3)}."
            found.append(Warning_(status, text, f"runs/{bad[0].id}.html"))
    return found


def role_of(audit: Audit, config: str) -> list[str]:
    """The roles that a configuration plays."""
    return [role for role, name in audit.study.roles.items() if name == config]


def shared(audit: Audit) -> dict[str, Any]:
    """The context of every page."""
    gates = [names.gate_of(rung) for rung in audit.study.rungs]
    return {
        "study": audit.study.study,
        "clock": audit.clock,
        "rated": audit.study.clock.kind == "rated",
        "nav": PAGES,
        "gates": gates,
        "warnings": warnings(audit),
        "exploratory": audit.study.study.mode == "exploratory",
        "config_page": config_page,
        "gate_page": gate_page,
    }
