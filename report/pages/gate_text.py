"""What a gate's page says in words: its heading, what it decided, and the chain of lock, records and decision."""

from __future__ import annotations

from report.chain import Chain
from report.gates import GateView, NoiseScale
from report.page import rung_page
from report.prose import Prose, Span, bad, code, config_name, joined, term
from stages.confidence.results import Noise
from stages.domain import formatting

#: Names that a sentence lists; tables have them all.
MOST_MISSING, MOST_PROMOTED = 3, 8


def heading(gate: GateView) -> str:
    """The gate and what came of it, in a few words."""
    decision = gate.decision
    if gate.why_empty:
        return f"{gate.title}: no candidates"
    if decision is None:
        return f"{gate.title}: not decided"
    if gate.blocked or gate.final:
        return f"{gate.title}: {'blocked' if gate.blocked else 'final verdicts'}"
    return f"{gate.title}: {len(decision.candidates)} → {len(decision.promoted)}"


def lead(gate: GateView) -> Prose:
    """What the gate decided, or why it has not."""
    decision = gate.decision
    if gate.why_empty:
        return [f"{gate.title} has no candidates: {gate.why_empty}."]
    if decision is None:
        return _undecided(gate)
    if gate.blocked:
        rules = joined(Span(rule, f"#{rule}") for rule in decision.blocked_by)
        return ["Blocked by ", *rules, ": no candidate is promoted until what it requires holds."]
    judged, cells = formatting.count(len(decision.candidates), "candidate"), formatting.count(len(gate.cells), "cell")
    if gate.final:
        verdicts = f" promotes no candidate: it judged {judged} on {cells} each and gave the final verdicts."
        return ["The last ", term("gate", "gate"), verdicts]
    verb = "was" if len(decision.candidates) == 1 else "were"
    return [f"{judged} {verb} judged on {cells} each; ", *_promoted(decision.promoted), "."]


def _undecided(gate: GateView) -> Prose:
    missing = gate.missing
    if not missing:
        return ["No decision is recorded for this ", term("gate", "gate"), "."]
    verb = " is missing: " if len(missing) == 1 else " are missing: "
    others = " and others." if len(missing) > MOST_MISSING else "."
    ids = joined(map(code, missing[:MOST_MISSING]))
    return [f"{formatting.count(len(missing), 'run')} of this ", term("rung", "rung"), verb, *ids, others]


def _promoted(promoted: list[str]) -> Prose:
    if not promoted:
        return ["no candidate goes on"]
    names, more = formatting.first_few(promoted, MOST_PROMOTED)
    verb = "goes" if len(promoted) == 1 else "go"
    rest = [f" and {more} more"] if more else []
    return [f"{len(promoted)} {verb} on: ", *joined(map(config_name, names)), *rest]


def noise_note(noise: NoiseScale, redraws: Noise | None = None) -> Prose:
    """What the distances in the table of outcomes are divided by, and which noise the redraws use."""
    gate, deviation = formatting.gate_title(noise.gate).lower(), formatting.bpb(noise.deviation)
    return [
        "“Distance / noise” divides the distance from the opposite outcome, all other candidates as they are, by the "
        "largest standard deviation of the ",
        term("floor", "A/A floor"),
        f" of {gate} ({deviation}): below about 2, luck could have decided.",
        _redraws_note(redraws) if redraws else "",
    ]


def _redraws_note(noise: Noise) -> str:
    if noise.source == "replication":
        text = "use another noise, that between the seeds of this rung's own cells (replication)"
    elif noise.source == "floor":
        text = f"use the A/A runs of {formatting.rung_title(str(noise.rung)).lower()}, with the noise of each host"
    else:
        return ""
    return f" The redraws under “How sure?” {text}."


def chain_items(gate: GateView, chain: Chain) -> list[tuple[str, Prose]]:
    """Lock, records and decision, each with what it names of the one before."""
    return [
        ("Lock", _lock_text(gate, chain)),
        ("Records", _records_text(gate, chain)),
        ("Decision", _decision_text(gate, chain)),
    ]


def _lock_text(gate: GateView, chain: Chain) -> Prose:
    if chain.digest is None:
        return [bad("missing")]
    text: Prose = [f"locks/{gate.name}.yaml, SHA-256 of the frozen rules ", code(chain.digest)]
    if chain.previous:
        text += ["; it names the lock before it, ", code(chain.previous[:12])]
    if chain.changed:
        text += [Span(""), f"params.yaml has moved on from it in {formatting.listed(list(chain.changed))}"]
    return text


def _records_text(gate: GateView, chain: Chain) -> Prose:
    if not chain.records:
        return ["none"]
    sign = "✓" if chain.committed == chain.records else bad("✕")
    verb = "names" if chain.committed == 1 else "name"
    records = f"{formatting.count(chain.records, 'executed record')} of {gate.rung_title.lower()}"
    text = f" {formatting.plain(chain.committed)} of {records} {verb} this digest; "
    return [sign, text, Span("every record with its line and md5", rung_page(gate.rung))]


def _decision_text(gate: GateView, chain: Chain) -> Prose:
    if gate.entry is None:
        return ["none yet"]
    sign = "✓" if chain.proven else bad("✕") if chain.faults else "—"
    lock = "this lock" if chain.decision_lock == chain.digest else "another lock"
    rules = ", and decided by other rules than it holds" if gate.what_if else ""
    verb = "is" if chain.same == 1 else "are"
    records = f"{formatting.count(chain.named, 'record')} by md5, of which {formatting.plain(chain.same)} {verb}"
    line = gate.entry.line
    return [sign, f" names {lock}{rules} and {records} the ledger's; {line}, md5 ", code(line.md5)]
