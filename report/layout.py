"""What every page shares: the study, its navigation, its warnings, the clock.

python -m pytest tests/report/test_layout.py
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from report import promotion_paths
from report.chain import chains
from report.load import Audit
from report.page import config_page, gate_page
from stages.domain import formatting, names

#: Pages of their own: path, name, and the folder whose pages belong to it, in the order of the navigation.
PAGES = (
    ("index.html", "Overview", ""),
    ("configs.html", "Configurations", "configs/"),
    ("runs.html", "Runs", "runs/"),
    ("agreement.html", "Agreement", ""),
    ("stability.html", "Stability", ""),
    ("cost.html", "Cost", ""),
    ("method.html", "Method", ""),
    ("verify.html", "Verify", ""),
)


@dataclass(frozen=True)
class Warning_:
    """One line of the warning band: what is wrong, in words, and where to read more."""

    kind: str
    text: str
    href: str


def warnings(audit: Audit) -> list[Warning_]:
    """What a reader must know before believing a number: exploratory, broken, amended, blocked, missing, diverged."""
    return [*_mode(audit), *_chains(audit), *_gates(audit), *_missing(audit), *_broken(audit)]


def _mode(audit: Audit) -> Iterator[Warning_]:
    what_if = [gate for gate, one in audit.decisions.items() if one.value["mode"] == "exploratory"]
    if what_if:
        gates = formatting.listed([formatting.gate_title(gate) for gate in what_if])
        text = f"A what-if: rules that nobody froze decided here ({gates}). Nothing on these pages is a result."
        yield Warning_("exploratory", text, gate_page(what_if[0]) + "#Rules")
    elif audit.study.study.mode == "exploratory":
        text = (
            "params.yaml asks for a what-if (study.mode: exploratory), and the ledger was not made again since: "
            "every decision here is by the frozen rules. `dvc repro` makes it."
        )
        yield Warning_("exploratory", text, "method.html")


def _chains(audit: Audit) -> Iterator[Warning_]:
    """Where lock, records and decision do not fit together, and where params.yaml has moved on: one line a gate."""
    for gate, chain in chains(audit).items():
        if chain.moved:
            text = f"{formatting.gate_title(gate)}: params.yaml has moved on from its lock: {chain.moved}."
            yield Warning_("moved on", text, gate_page(gate) + "#Chain")
        if chain.faults:
            text = f"{formatting.gate_title(gate)}: {'; '.join(chain.faults)}."
            yield Warning_("broken", text, gate_page(gate) + "#Chain")


def _gates(audit: Audit) -> Iterator[Warning_]:
    for rung in audit.study.rungs:
        gate = names.gate_of(rung)
        title, lock, decision = formatting.gate_title(gate), audit.locks.get(gate), audit.decisions.get(gate)
        if lock and lock.lock.frozen.amendments:
            many = formatting.count(len(lock.lock.frozen.amendments), "amendment")
            text = f"{title} was amended after evidence of its rung existed ({many})."
            yield Warning_("amended", text, gate_page(gate) + "#Amendments")
        if decision and decision.value["outcome"] == "blocked" and not promotion_paths.why_empty(audit, rung):
            yield Warning_("blocked", _blocked(audit, gate), gate_page(gate) + "#Rules")
        if lock is None and decision is None:
            yield Warning_("missing", f"The rules of {title} are not frozen.", gate_page(gate))
        elif decision is None:
            yield Warning_("missing", f"{title} has not decided yet.", gate_page(gate))


def _blocked(audit: Audit, gate: str) -> str:
    """A blocked gate, and those after it that have nobody to judge: one line for them all."""
    by = formatting.listed(audit.decisions[gate].value["blocked_by"])
    empty = [formatting.gate_title(names.gate_of(rung)).lower() for rung in audit.study.rungs if _empty(audit, rung)]
    verb = "has" if len(empty) == 1 else "have"
    after = f"; {formatting.listed(empty)} {verb} no candidates" if empty else ""
    return f"{formatting.gate_title(gate)} is blocked by {by} and promotes nobody{after}."


def _empty(audit: Audit, rung: str) -> bool:
    return bool(promotion_paths.why_empty(audit, rung)) and names.gate_of(rung) in audit.decisions


def _missing(audit: Audit) -> Iterator[Warning_]:
    for rung in audit.study.rungs:
        if gone := promotion_paths.missing_runs(audit, rung):
            text = f"{formatting.rung_title(rung)}: {formatting.count(len(gone), 'run')} missing from the ledger."
            yield Warning_("missing", text, gate_page(names.gate_of(rung)) + "#Evidence")
    if audit.corpus is None:
        path = (names.CORPUS / "manifest.json").as_posix()
        yield Warning_(
            "missing", f"{path}: what the text holds is not told; `dvc pull` fetches it.", "method.html#Text"
        )
    if curveless := _curveless(audit):
        many = formatting.count(curveless, "run")
        text = f"{names.TRACES.as_posix()}: {many} without a curve; `dvc pull` fetches them."
        yield Warning_("missing", text, "verify.html#Artifacts")


def _curveless(audit: Audit) -> int:
    """How many finished runs have no curve here."""
    finished = [run.record.id for run in audit.executed if run.record.status == "finished"]
    return sum(1 for run in finished if not (audit.root / names.trace_path(run) / "curve.csv").is_file())


def _broken(audit: Audit) -> Iterator[Warning_]:
    for status in ("diverged", "failed"):
        bad = [run.record for run in audit.executed if run.record.status == status]
        if bad:
            text = f"{formatting.count(len(bad), 'run')} {status}: {formatting.listed([one.id for one in bad], 3)}."
            yield Warning_(status, text, f"runs/{bad[0].id}.html")


def current(target: str, folder: str, path: str) -> str:
    """What `aria-current` says of a link in the navigation: this page, its section, or nothing."""
    return "page" if target == path else "true" if folder and path.startswith(folder) else ""


def shared(audit: Audit) -> dict[str, Any]:
    """The context of every page."""
    return {
        "study": audit.study.study,
        "clock": audit.clock,
        "rated": audit.study.clock.kind == "rated",
        "nav": PAGES,
        "current": current,
        "gates": [names.gate_of(rung) for rung in audit.study.rungs],
        "warnings": warnings(audit),
        "config_page": config_page,
        "gate_page": gate_page,
    }
