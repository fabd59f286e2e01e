"""A gate: its rules, what each says of every candidate and by what margin, the evidence, the chain of digests."""

from __future__ import annotations

from collections.abc import Iterator

from report.gates import GateView
from report.host_agreement import SOURCE, RungHosts, host_order
from report.page import Page, link_config, rung_page
from report.pages import gate_confidence, gate_evidence, gate_outcome, gate_rules, gate_text
from report.pages.gate_evidence import run_score
from report.tables import Cell, Column, Table, holds
from report.views import StudyView
from stages.domain import formatting, names
from stages.domain.decision import Decision, RankedCandidate, why_blocked
from stages.domain.locks import Amendment
from stages.summary.agreement import HostAlone

ALONE = Table(
    "alone",
    "Had each host block decided alone",
    SOURCE,
    note="Rules that compare host blocks are left out.",
    tools=False,
)
LOCKED = Table("locked", "The locked split: text that no gate ever read", "ledger/runs.jsonl", tools=False)


def pages(view: StudyView) -> Iterator[Page]:
    """One page a gate."""
    order = list(view.gates)
    for before, gate, after in zip([None, *order], view.gates.values(), [*order[1:], None], strict=False):
        yield _page(view, gate, before, after)


def _page(view: StudyView, gate: GateView, before: str | None, after: str | None) -> Page:
    chain, decision, noise = view.chains[gate.name], gate.decision, view.noise(gate.name)
    known = view.confidence.gate(gate.name)
    return Page(
        path=gate.page,
        template="gate.html",
        title=gate.title,
        context={
            "gate": gate,
            "before": before,
            "after": after,
            "heading": gate_text.heading(gate),
            "lead": gate_text.lead(gate),
            "noise_note": gate_text.noise_note(noise, known.noise if known else None) if noise else None,
            "chain_items": gate_text.chain_items(gate, chain),
            "why_blocked": [formatting.typeset(line) for line in why_blocked(decision)] if decision else [],
            "rung_page": rung_page(gate.rung),
            "chain": chain,
            "sure": gate_confidence.section(gate, view.confidence),
            "signature": (view.files.root / f"{names.lock_path(gate.name).as_posix()}.sig").is_file(),
        },
        tables=_tables(view, gate),
    )


def _tables(view: StudyView, gate: GateView) -> list[Table]:
    place = list(view.gates).index(gate.name)
    steps = {config: view.paths[config].steps[place] for config in gate.candidates or []}
    tables = [gate_evidence.evidence_table(gate, steps)]
    if gate.entry is None or not gate.entry.decision.candidates:
        tables.append(gate_rules.planned_table(gate))
    else:
        tables += [
            gate_outcome.outcome_table(gate, steps, view.noise(gate.name)),
            gate_rules.rules_table(gate.entry),
            *gate_rules.verdict_tables(gate.entry),
            gate_rules.matrix_table(gate.entry),
            gate_rules.findings_table(gate.entry),
            *alone_tables(gate.entry.decision, view.hosts.get(gate.rung)),
            *floor_tables(gate),
            *locked_tables(gate),
        ]
    tables += gate_confidence.confidence_tables(gate, view.confidence)
    if gate.lock and gate.lock.frozen.amendments:
        tables.append(amendments_table(gate.name, gate.lock.frozen.amendments))
    return tables


def alone_tables(decision: Decision, hosts: RungHosts | None) -> list[Table]:
    """What each host block alone would have decided; nothing in a what-if, whose rules the summary does not judge by,
    or with one host block."""
    if hosts is None or hosts.same_alone is None or len(hosts.same_alone) < 2:
        return []
    same, alone = hosts.same_alone, hosts.summary.host_alone
    columns = [
        Column("host", "Host block", get=lambda host: host),
        Column("same", "Against the decision", get=lambda host: _same_cell(same[host])),
        Column("outcome", "Outcome", get=lambda host: alone[host].outcome),
        *(_verdict_columns(decision, alone) if hosts.gate.final else _promotion_columns(set(decision.promoted), alone)),
    ]
    table = ALONE.fill(columns, same, lambda host: f"alone.{host}")
    return [table]


def _same_cell(alike: bool) -> Cell:
    return Cell(alike, "✓ the same" if alike else "✕ differs", mark="holds-yes" if alike else "holds-no")


def _promotion_columns(promoted: set[str], alone: dict[str, HostAlone]) -> list[Column]:
    return [
        Column("promoted", "Would promote", get=lambda host: _names(set(alone[host].promoted))),
        Column("added", "Promoted only by it", get=lambda host: _names(set(alone[host].promoted) - promoted)),
        Column("dropped", "Not promoted by it", get=lambda host: _names(promoted - set(alone[host].promoted))),
    ]


def _names(configs: set[str]) -> Cell:
    text = ", ".join(sorted(configs))
    return Cell(text or None, text or "none")


def _verdict_columns(decision: Decision, alone: dict[str, HostAlone]) -> list[Column]:
    def of_rule(rule: str) -> Column:
        outcome = decision.rule(rule)
        hint = outcome.text.rstrip(".") if outcome else ""
        return Column(rule, rule, "holds", hint, get=lambda host: holds(alone[host].verdicts.get(rule), "verdict"))

    first = Column("winner", "Lowest mean", get=lambda host: link_config(alone[host].first))
    return [first, *map(of_rule, decision.verdicts)]


def floor_tables(gate: GateView) -> list[Table]:
    """The A/A runs of the reference with the noise that they make: what a threshold must be larger than."""
    if gate.entry is None or not gate.entry.decision.floor:
        return []
    floor = gate.entry.decision.floor
    runs = {(run.record.host, run.record.seed): run for run in gate.executed if run.record.purpose == "floor"}

    def of_seed(seed: int) -> Column:
        def score(host: str) -> Cell | None:
            return run_score(runs[host, seed]) if (host, seed) in runs else None

        return Column(f"seed_{seed}", f"Seed {seed}", "bpb", get=score)

    hint = "of the runs to the right, as of a sample (n − 1)"
    columns = [
        Column("host", "Host block", get=lambda host: host),
        Column("runs", "Runs", "count", get=lambda host: floor[host].runs),
        Column("sd", "Standard deviation of val_bpb", "bpb", hint, get=lambda host: floor[host].variance ** 0.5),
        *map(of_seed, sorted({seed for _, seed in runs})),
    ]
    table = Table(
        "floor",
        "A/A noise floor: the reference against itself, other seeds",
        f"{gate.entry.source}; ledger/runs.jsonl",
        tools=False,
    ).fill(columns, sorted(floor, key=host_order(gate.study.hosts)), lambda host: f"floor.{host}")
    return [table]


def locked_tables(gate: GateView) -> list[Table]:
    """Means on the locked split beside those that the gates read; nothing where the rung was not scored on it."""
    scored = {row.config: mean for row in gate.ranking if (mean := _locked_mean(gate, row)) is not None}
    if not scored:
        return []
    ranking = [row for row in gate.ranking if row.config in scored]
    ranks = {row.config: place for place, row in enumerate(ranking, start=1)}
    order = sorted(scored, key=lambda config: (scored[config], config))
    columns = [
        Column("config", "Candidate", get=lambda row: link_config(row.config)),
        Column("mean", "Mean val_bpb", "mean"),
        Column("rank", "Rank", "count", get=lambda row: ranks[row.config]),
        Column("locked", "Mean locked_bpb", "mean", get=lambda row: round(scored[row.config], 9)),
        Column("locked_rank", "Rank, locked", "count", get=lambda row: order.index(row.config) + 1),
        Column("difference", "Locked minus val", "signed", get=lambda row: round(scored[row.config] - row.mean, 9)),
    ]
    table = LOCKED.fill(columns, ranking, lambda row: f"locked.{row.config}")
    return [table]


def _locked_mean(gate: GateView, row: RankedCandidate) -> float | None:
    """The mean on the locked split; None unless every cell was scored on it."""
    runs = [gate.run(row.config, cell) for cell in gate.cells]
    scores = [(run.record.facts or {}).get("locked_bpb") for run in runs if run]
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if len(known) == len(gate.cells) else None


def amendments_table(gate: str, amendments: list[Amendment]) -> Table:
    """Every change of the lock after evidence of its rung existed."""
    changes = [
        (number, amendment, where, both)
        for number, amendment in enumerate(amendments, start=1)
        for where, both in sorted(amendment.changed.items())
    ]
    columns = [
        Column("number", "No.", "count", get=lambda change: change[0]),
        Column("reason", "Reason given", get=lambda change: change[1].reason),
        Column("what", "What", get=lambda change: change[2]),
        Column("was", "Was", get=lambda change: formatting.value_text(change[3].get("was"))),
        Column("is", "Is", get=lambda change: formatting.value_text(change[3].get("is"))),
        Column("replaces", "Replaces lock", "digest", get=lambda change: change[1].replaces),
    ]
    return Table(
        "amendments", "Amendments: rules changed after evidence existed", names.lock_path(gate).as_posix(), tools=False
    ).fill(columns, changes, lambda change: f"amendment.{change[0]}.{change[2]}")
