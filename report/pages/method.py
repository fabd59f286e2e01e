"""Method and limits: the protocol, the clock, the hosts as they really are, what is not claimed, what to cite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from report import labels
from report.chain import Chain
from report.load import CorpusManifest
from report.machines import HostMachines
from report.page import Page, link_gate
from report.tables import Cell, Column, Kind, Table
from report.views import StudyView
from stages.domain import formatting
from stages.domain.study import Host, Study

#: The order in which the splits are read.
_SPLITS = {"train": 0, "val": 1, "locked": 2}
#: arXiv:2606.11387, as published; nothing here is a result of this repository.
PUBLISHED = (
    ("Budgets", "2 min, 5 min, 10 min, 60 min, 12 h, on the wall clock"),
    ("Candidates", "12 configurations; 9 at the 10-min gate, 4 at 60 min, 3 at 12 h, each in 4 host-seed cells"),
    ("Hosts", "Windows with an A100, Linux with an L40S"),
    (
        "Outcome",
        "the reference first in 4 of 4 cells at 60 min and at 12 h; the comparator fails 0.010, the sentinel 0.020",
    ),
    ("Instability", "at 5 min the two hosts have different leaders; the winner at 12 h is not the mean-best at 10 min"),
    ("Cost", "144 GPU-hours at 12 h (3 × 4 × 12), 169.2 in all"),
    (
        "Screening",
        "25.2 GPU-hours (169.2 − 144). 36 × 2 min + 24 × 5 min + 36 × 10 min + 16 × 60 min fits exactly, but this "
        "split is inferred here, not published",
    ),
    ("Unrun work", "192 (all 4 to 12 h) and 432 (all 9): accounting, no evidence"),
)

PROTOCOL = Table("protocol", "The ladder as declared", "params.yaml, locks/", tools=False)
HOSTS = Table(
    "hosts",
    "Host blocks: declared, and as telemetry found them",
    "params.yaml; artifacts/telemetry/",
    tools=False,
)
CORPUS = Table("corpus", "The text", "artifacts/corpus/manifest.json", tools=False)
CASE_STUDY = Table(
    "published",
    "Published in arXiv:2606.11387: not results of this study",
    "arXiv:2606.11387 (CC BY 4.0)",
    tools=False,
    clock="wall clock",
)


def pages(view: StudyView) -> Iterator[Page]:
    """The one page."""
    corpus = view.files.corpus
    context: dict[str, object] = {
        "declared": declared(view.chains.values()),
        "plainly": view.machines.sentence,
        "text": text_of(view.study, corpus),
        "corpus": corpus,
        "source": labels.pairs(corpus.source if corpus else {}),
        "runner": runner_pairs(view),
    }
    tables = [protocol_table(view), hosts_table(view.study.hosts, view.machines), published_table()]
    if corpus and corpus.splits:
        tables.append(corpus_table(corpus))
    yield Page("method.html", "method.html", "Method and limits", context, tables)


def runner_pairs(view: StudyView) -> list[tuple[str, str]]:
    """The settings of the runner; those of a command by their keys in params.yaml, since variables are names."""
    settings = dict(sorted(view.study.runner.items()))
    if view.has_builtin_runner:
        return labels.pairs(settings)
    return [(key, formatting.value_text(value)) for key, value in formatting.leaves(settings) if value not in ([], {})]


def declared(chains: Iterable[Chain]) -> str:
    """When budgets, seeds and thresholds were declared, as far as locks and records say."""
    exceptions: dict[str, list[str]] = {}
    for chain in chains:
        if (state := _declared(chain)) != "frozen":
            exceptions.setdefault(state, []).append(formatting.gate_title(chain.gate).lower())
    if not exceptions:
        return (
            "Every budget, seed and threshold below stands in a lock that the records name: it was declared before "
            "them, if git's order agrees (`promotion verify`)."
        )
    listed = "; ".join(f"{formatting.listed(gates)}: {state}" for state, gates in exceptions.items())
    return f"Budgets, seeds and thresholds were declared beforehand where a gate is frozen. Exceptions: {listed}."


def _declared(chain: Chain) -> str:
    """How the rules of a gate were declared, in words."""
    if chain.faults and chain.state in ("frozen", "amended"):
        return "out of step with its lock"
    return "params.yaml has moved on from its lock" if chain.moved else chain.state


def text_of(study: Study, corpus: CorpusManifest | None) -> str:
    """Which text was trained on, in words."""
    source = study.data.source
    if source.kind == "files":
        listed = formatting.listed([file.path for file in source.files], 3)
        return f"The trainer reads files of its own: {listed}."
    if source.kind == "package":
        text = f"The text is {source.file} of the Python package {source.package} {source.version}"
        text += f", one document for each {' and '.join(source.document)}" if source.document else ""
    else:
        text = f"The text is {formatting.listed([file.path for file in source.files], 3)}"
    tokens = (corpus.splits.get("train") or {}).get("tokens") if corpus else None
    size = f": {formatting.plain(tokens)} tokens to train on" if isinstance(tokens, int) else ""
    return f"{text}{size}, in a vocabulary of {formatting.plain(study.data.vocab_size)} tokens."


def protocol_table(view: StudyView) -> Table:
    """The ladder as declared."""
    rungs = view.study.rungs
    columns = [
        Column("rung", "Rung", get=lambda gate: Cell(gate.rung, gate.rung_title)),
        Column("budget", "Budget of a run", get=lambda gate: Cell(gate.budget, formatting.seconds(gate.budget))),
        Column("seeds", "Seeds on each host block", get=lambda gate: _seeds(rungs[gate.rung].seeds)),
        Column("cells", "Cells", "count", get=lambda gate: len(gate.cells)),
        Column("floor", "A/A seeds", get=lambda gate: _seeds(rungs[gate.rung].floor_seeds) or None),
        Column("gate", "Judged by", get=lambda gate: link_gate(gate.name)),
        Column("lock", "Lock", "digest", get=lambda gate: gate.lock.digest if gate.lock else None),
    ]
    return PROTOCOL.fill(columns, view.gates.values(), lambda gate: f"protocol.{gate.rung}")


def _seeds(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))


def hosts_table(hosts: dict[str, Host], machines: HostMachines) -> Table:
    """What each host block declares, and what its runs reported."""

    def declares(key: str, label: str, kind: Kind = "text", hint: str = "") -> Column:
        return Column(key, label, kind, hint, get=lambda item: getattr(item[1], key))

    def seen(key: str, label: str, reported: str) -> Column:
        return Column(key, label, get=lambda item: ", ".join(machines.values(item[0], reported)) or None)

    def named(item: tuple[str, Host]) -> Cell:
        name, host = item
        return Cell(name, f"{name} ({host.title})" if host.title else name)

    def device(item: tuple[str, Host]) -> str:
        return ", ".join(filter(None, (item[1].device, item[1].device_name)))

    columns = [
        Column("host", "Host block", get=named),
        Column("device", "Device", get=device),
        declares("precision", "Precision"),
        declares("threads", "Threads", "count"),
        declares("compile", "Compiled"),
        declares("flops_per_second", "Declared FLOP/s", "count", "what the rated clock turns seconds into steps with"),
        seen("machines", "Machines seen", "hostname"),
        seen("hardware", "Hardware seen", "device"),
        seen("torch", "torch", "torch"),
    ]
    return HOSTS.fill(columns, hosts.items(), lambda item: f"host.{item[0]}")


def corpus_table(corpus: CorpusManifest) -> Table:
    """The splits of the corpus."""

    def of_split(key: str, label: str, kind: Kind) -> Column:
        return Column(key, label, kind, get=lambda item: item[1].get(key))

    columns = [
        Column("split", "Split", get=lambda item: item[0]),
        of_split("documents", "Documents", "count"),
        of_split("bytes", "Bytes of text", "count"),
        of_split("tokens", "Tokens", "count"),
        of_split("sha256", "SHA-256", "digest"),
    ]
    return CORPUS.fill(
        columns,
        sorted(corpus.splits.items(), key=lambda item: (_SPLITS.get(item[0], 9), item[0])),
        lambda item: f"split.{item[0]}",
    )


def published_table() -> Table:
    """The published case study, marked as such."""
    columns = [
        Column("what", "What", get=lambda item: item[1][0]),
        Column("published", "As published", get=lambda item: item[1][1]),
    ]
    return CASE_STUDY.fill(columns, enumerate(PUBLISHED, start=1), lambda item: f"published.{item[0]}")
