"""The words of the protocol, told once on the page on method and linked from where a page first uses them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """One term: `key` names its anchor, `method.html#term.KEY`."""

    key: str
    name: str
    text: str


TERMS = (
    Term("rung", "Rung", "One budget of the ladder. All candidates of a rung train with it, from scratch."),
    Term("gate", "Gate", "The rules that judge a rung's runs and decide who goes on to the next, larger budget."),
    Term("promotion", "Promotion", "What a gate gives a configuration: the right to train at the next rung."),
    Term("cell", "Cell", "One host block with one seed. A candidate runs once in every cell of its rung."),
    Term(
        "host", "Host block", "What a machine must be to make evidence in its name: device, precision, threads, system."
    ),
    Term(
        "floor",
        "A/A floor",
        "The reference against itself with other seeds: how much val_bpb differs between runs that differ in nothing "
        "else. Its standard deviation is the noise that distances are divided by.",
    ),
    Term("locked", "Locked split", "Text that is scored at the last rung alone and that no rule reads."),
    Term("reference", "Reference", "The configuration in this role: what the others are compared with."),
    Term(
        "comparator",
        "Comparator",
        "The configuration in this role: a rival that the last gate compares with the reference.",
    ),
    Term(
        "sentinel",
        "Sentinel",
        "The configuration in this role: kept to see whether the early rungs are fair to its kind.",
    ),
    Term("tau", "Kendall's τ-b", "Agreement of two orders: 1 where they are the same, 0 unrelated, −1 reversed."),
    Term("inversion", "Inversion", "Two candidates that two host blocks order differently."),
    Term(
        "overlap",
        "Overlap",
        "Of the configurations that any host block alone would have promoted, the share that all of them would "
        "(Jaccard index).",
    ),
    Term(
        "margin", "Margin", "How far an observed value is from the threshold of a rule; positive where the rule holds."
    ),
    Term("lock", "Lock", "A file that holds the frozen rules of a gate with their SHA-256, which every record names."),
)
