"""What every page shares: the study, its navigation, its warnings, the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from markupsafe import Markup

from report.gates import GateView
from report.load import LedgerRun
from report.page import config_page, gate_page, run_page
from report.traces import FETCH
from report.views import StudyView
from stages.domain import formatting, names
from stages.domain.metric import metric_of

#: Pages of their own: path, name, and the folder whose pages belong to it, in the order of the navigation.
PAGES = (
    ("index.html", "Overview", ""),
    ("configs.html", "Configurations", "configs/"),
    ("runs.html", "Runs", "runs/"),
    ("agreement.html", "Agreement", ""),
    ("stability.html", "Stability", ""),
    ("effects.html", "Effects", ""),
    ("confidence.html", "How sure", ""),
    ("hindsight.html", "Hindsight", ""),
    ("cost.html", "Cost", ""),
    ("method.html", "Method", ""),
    ("verify.html", "Verify", ""),
)
#: The page that a screen has and no other study.
SCREEN_PAGE = "effects.html"
CLOCK_HINTS = {
    "rated": "Seconds are rated: computed from FLOPs and the host's declared speed, not measured.",
    "wall": "Seconds are measured by the wall clock of each host.",
    "given": "Seconds are nominal: the trainer is given steps or tokens, and a budget prices and orders the rungs.",
}


@dataclass(frozen=True)
class StudyWarning:
    """One line of the warning band: what is wrong, in words, and where to read more."""

    kind: str
    text: str
    href: str


@dataclass(frozen=True)
class Provenance:
    """Where a published site comes from. `repository` and `href` (https, without a password) are empty where origin
    names no host; `index` is the page of all studies, from the root of the site."""

    repository: str
    href: str
    commit: str
    tags: tuple[str, ...]
    index: str = ""


def warnings(view: StudyView) -> list[StudyWarning]:
    """What a reader must know before believing a number: exploratory, broken, amended, blocked, missing, diverged."""
    return [
        *_mode(view),
        *_chains(view),
        *_gates(list(view.gates.values())),
        *_missing(view),
        *_broken_runs(view.executed),
    ]


def _mode(view: StudyView) -> Iterator[StudyWarning]:
    what_if = [gate for gate in view.gates.values() if gate.what_if]
    if what_if:
        gates = formatting.listed([gate.title for gate in what_if])
        text = f"A what-if: rules that are not frozen decided here ({gates}). Nothing on these pages is a result."
        yield StudyWarning("exploratory", text, f"{what_if[0].page}#Rules")
    elif view.study.study.mode == "exploratory":
        text = (
            "params.yaml asks for a what-if (study.mode: exploratory), and the ledger was not made again since: "
            "every decision here is by the frozen rules. `dvc repro` makes it."
        )
        yield StudyWarning("exploratory", text, "method.html")


def _chains(view: StudyView) -> Iterator[StudyWarning]:
    """Where lock, records and decision do not fit together, and where params.yaml has moved on: one line a gate."""
    for name, chain in view.chains.items():
        title, href = formatting.gate_title(name), f"{gate_page(name)}#Chain"
        if chain.moved:
            text = f"{title}: params.yaml has moved on from its lock: {chain.moved}."
            yield StudyWarning("moved on", text, href)
        if chain.faults:
            yield StudyWarning("broken", f"{title}: {'; '.join(chain.faults)}.", href)


def _gates(gates: list[GateView]) -> Iterator[StudyWarning]:
    # Gates without candidates are named in the line of the blocked one before them.
    empty = [gate.title.lower() for gate in gates if gate.why_empty and gate.decision]
    for gate in gates:
        if gate.lock and gate.lock.frozen.amendments:
            many = formatting.count(len(gate.lock.frozen.amendments), "amendment")
            text = f"{gate.title} was amended after evidence of its rung existed ({many})."
            yield StudyWarning("amended", text, f"{gate.page}#Amendments")
        if gate.decision and gate.blocked and not gate.why_empty:
            by = formatting.listed(gate.decision.blocked_by)
            after = (
                f"; {formatting.listed(empty)} {'has' if len(empty) == 1 else 'have'} no candidates" if empty else ""
            )
            text = f"{gate.title} is blocked by {by} and promotes no candidate{after}."
            yield StudyWarning("blocked", text, f"{gate.page}#Rules")
        if gate.decision is None:
            text = f"{gate.title} has not decided yet." if gate.lock else f"The rules of {gate.title} are not frozen."
            yield StudyWarning("missing", text, gate.page)


def _missing(view: StudyView) -> Iterator[StudyWarning]:
    for gate in view.gates.values():
        if gate.missing:
            text = f"{gate.rung_title}: {formatting.count(len(gate.missing), 'run')} missing from the ledger."
            yield StudyWarning("missing", text, f"{gate.page}#Evidence")
    if view.files.corpus is None:
        path = (names.CORPUS / "manifest.json").as_posix()
        text = f"{path} is missing, so what the text contains is not shown; {FETCH} brings it."
        yield StudyWarning("missing", text, "method.html#Text")
    finished = [run.record.id for run in view.executed if run.record.status == "finished"]
    curves = (view.files.root / names.trace_path(run) / "curve.csv" for run in finished)
    if without := sum(1 for curve in curves if not curve.is_file()):
        many = formatting.count(without, "run")
        text = f"{names.TRACES.as_posix()}: {many} without a curve; {FETCH} brings them."
        yield StudyWarning("missing", text, "verify.html#Artifacts")


def _broken_runs(executed: list[LedgerRun]) -> Iterator[StudyWarning]:
    for status in ("diverged", "failed"):
        runs = [run.record.id for run in executed if run.record.status == status]
        if runs:
            text = f"{formatting.count(len(runs), 'run')} {status}: {formatting.listed(runs, 3)}."
            yield StudyWarning(status, text, f"runs/{runs[0]}.html")


def navigation(view: StudyView) -> list[tuple[str, str, str]]:
    """The pages of their own that this study has."""
    return [page for page in PAGES if page[0] != SCREEN_PAGE or view.study.factors]


def current(target: str, folder: str, path: str) -> str:
    """What `aria-current` says of a link in the navigation: this page, its section, or nothing."""
    return "page" if target == path else "true" if folder and path.startswith(folder) else ""


def section_of(path: str) -> str:
    """Pages of one section link to the navigation alike; any other page is one of its own."""
    return next((folder for _, _, folder in PAGES if folder and path.startswith(folder)), path)


def render_once() -> Callable[..., Markup]:
    """A Jinja call block that is rendered for the first page that gives its key and copied into the others."""
    rendered: dict[tuple[object, ...], Markup] = {}

    def once(*key: object, caller: Callable[[], Markup]) -> Markup:
        if key not in rendered:
            rendered[key] = caller()
        return rendered[key]

    return once


def shared(view: StudyView, provenance: Provenance | None = None) -> dict[str, object]:
    """The context of every page; `provenance` is that of a published site."""
    return {
        "provenance": provenance,
        "study": view.study.study,
        "clock": view.clock,
        "clock_hint": CLOCK_HINTS[view.study.clock.kind],
        "metric": metric_of(view.study.runner),
        "clock_kind": view.study.clock.kind,
        "builtin": view.has_builtin_runner,
        "nav": navigation(view),
        "current": current,
        "once": render_once(),
        "section": section_of,
        "gates": list(view.gates),
        "warnings": warnings(view),
        "config_page": config_page,
        "gate_page": gate_page,
        "run_page": run_page,
    }
