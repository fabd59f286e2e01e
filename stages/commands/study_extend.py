"""`promotion study extend NAME`: a study that goes on from a gate of a finished one, without training its runs again.

A larger budget is one more rung; the same budget with fresh seeds is more seeds at a rung. Either is a study of its own
with one rung: its locks are frozen before its runs, and the earlier study stays in git as it is. The file that is
written holds the candidates of that gate and a copy of its rules, to be edited before `promotion freeze`.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.commands.study import STUDIES, summarise
from stages.commands.study_back import find_past
from stages.domain import files, names, yamlio
from stages.domain.decision import Decision
from stages.domain.errors import Refused
from stages.domain.files import sha256_bytes
from stages.domain.origin import Origin, who_may_go_on
from stages.domain.rules import roles_named
from stages.domain.study import Study, parse_study
from stages.repo.git import open_git
from stages.repo.history import DECISIONS
from stages.repo.history_reader import history_at_head
from stages.repo.past_studies import PARAMS, PastStudy, study_name
from stages.study_check import check_study

#: The first seed that is proposed is the next multiple of this above all that the history used.
_STRIDE = 1000
_HEAD = """\
# yaml-language-server: $schema=../docs/schemas/params.json
# {name} goes on from {gate} of {earlier}, whose runs are not trained again and whose decisions stay as they are.
# Every key: docs/params.md. Is it right? promotion study check {name}. Begin: promotion study use {name}
"""
#: Section -> the comment above it, in the order of the file.
_COMMENTS = {
    "study": "`from` is the decision that chose the candidates; `promotion verify` holds it against git (V31).",
    "data": "Text, runner, clock and host blocks are those of {earlier}: else no score could be compared.",
    "runner": "",
    "clock": "",
    "hosts": "",
    "configs": "Who may go on after {gate}. Leave out whom you like; another one, or other knobs, would not verify.",
    "roles": "",
    "rungs": "{budget}, with seeds that no study of this history used.",
    "gates": "A copy of the rules of {gate} of {earlier}{dropped}. Edit them before `promotion freeze`.",
}


@dataclass(frozen=True)
class Earlier:
    """The study that is extended, at its last whole commit, with the decision of one gate and that line's digest."""

    past: PastStudy
    params: Mapping[str, Any]  # the YAML of the file, copied section by section
    study: Study
    gate: str
    decision: Decision
    digest: str


def extend(arguments: argparse.Namespace) -> int:
    """Write the file into studies/ and say what comes next."""
    path = STUDIES / f"{arguments.name}.yaml"
    if not names.is_name(arguments.name, names.KEY):
        raise Refused(f"{arguments.name!r} is no name for a study, expected lower-case letters, digits, '_' and '-'")
    if path.exists():
        raise Refused(f"{path.as_posix()} exists; give the new study another name, or edit that file")
    present = study_name(names.PARAMS.read_bytes() if names.PARAMS.is_file() else None)
    past = find_past(arguments.earlier or present)
    if not past.whole:
        raise Refused(
            f"{past.name}: {past.missing} in commit {past.commit[:12]}; finish it and commit its evidence first"
        )
    earlier = read_earlier(past, arguments.rung)
    data = format_extension(
        arguments.name, earlier, arguments.budget_seconds, arguments.seeds, arguments.floor_seeds
    ).encode("utf-8")
    study = check_study(data, path.as_posix())
    files.write_whole(path, data)
    print(
        f"{path.as_posix()}: {summarise(study)}, from {earlier.gate} of {past.name} in commit {past.commit[:12]}; "
        f"edit it, then `promotion study check {path.as_posix()}` and `promotion study use {arguments.name}`"
    )
    return 0


def read_earlier(past: PastStudy, rung: str | None) -> Earlier:
    """The earlier study as its last whole commit holds it, and the decision of the gate of a rung (None: the last)."""
    git = open_git(Path())
    assert git is not None, "a past study was read from it"
    try:
        params, lines = (
            git.blob(entry.oid) if (entry := git.entry(past.commit, path)) else b"" for path in (PARAMS, DECISIONS)
        )
    finally:
        git.close()
    value = yamlio.loads(params, PARAMS)
    study = parse_study(value, PARAMS)
    chosen = rung or study.last_rung
    if chosen not in study.rungs:
        raise Refused(f"--rung {chosen}: {past.name} has no such rung, expected one of {', '.join(study.rungs)}")
    gate = names.gate_of(chosen)
    at, decision = next(item for item in enumerate(past.decisions) if item[1].gate == gate)
    return Earlier(past, value, study, gate, decision, sha256_bytes(list(io.BytesIO(lines))[at]))


def format_extension(
    name: str, earlier: Earlier, budget: float | None, seeds: list[int] | None, floor_seeds: list[int] | None
) -> str:
    """The text of the extension's file. `budget` is in seconds; None takes that of the earlier rung."""
    study, gate = earlier.study, earlier.gate
    rung = study.rungs[names.rung_of(gate)]
    seconds = rung.budget_seconds if budget is None else budget
    if seconds < rung.budget_seconds:
        raise Refused(
            f"--budget-seconds {seconds:g}: expected at least {rung.budget_seconds:g}, that of the earlier rung"
        )
    larger = seconds > rung.budget_seconds
    eligible = who_may_go_on(earlier.decision, same_budget=not larger)
    if not eligible:
        raise Refused(
            f"{gate} of {earlier.past.name} let nobody through; --rung names another, or leave the budget as it is"
        )
    roles = {role: config for role, config in study.roles.items() if config in eligible}
    unused = _next_seed()
    count = len(rung.floor_seeds) if "reference" in roles else 0
    floor = floor_seeds or [unused + _STRIDE - 100 + at for at in range(count)]
    origin = Origin(study=earlier.past.name, commit=earlier.past.commit, gate=gate, decision=earlier.digest)
    kind = "One more rung" if larger else "More seeds at the same budget"
    hold = "hold longer" if larger else "hold with more seeds"
    rules = earlier.params["gates"][gate]
    kept = {key: rules[key] for key, rule in study.gates[gate].items() if set(roles_named(rule)) <= roles.keys()}
    sections: dict[str, Any] = {
        "study": {
            "schema": study.study.schema_,
            "name": name,
            "title": f"{study.study.title[:150]} ({kind.lower()})",
            "question": f"Does what {gate} of {earlier.past.name} decided {hold}?",
            "mode": "frozen",
            "from": origin.model_dump(),
        },
        **{key: earlier.params[key] for key in ("data", "runner", "clock", "hosts")},
        "configs": {config: earlier.params["configs"][config] for config in eligible},
        "roles": roles,
        "rungs": {
            "rung1": {
                "budget_seconds": seconds,
                **({"with": rung.with_} if rung.with_ else {}),
                "seeds": seeds or [unused + at for at in range(len(rung.seeds))],
                "floor_seeds": floor,
            }
        },
        "gates": {"gate1": kept},
    }
    words = {"earlier": earlier.past.name, "gate": gate, "budget": kind}
    gone = [key for key in rules if key not in kept]
    words["dropped"] = f", without {', '.join(gone)}: no candidate has the role" if gone else ""
    comments = {key: comment.format(**words) for key, comment in _COMMENTS.items()}
    return _HEAD.format(name=name, **words) + "".join(_section(key, sections[key], comments[key]) for key in _COMMENTS)


def _next_seed() -> int:
    """The first seed to propose: above every one that a lock of the history froze."""
    locks = history_at_head().locks.values()
    used = [seed for lock in locks for key in ("seeds", "floor_seeds") for seed in lock.frozen.get(key, [])]
    return (max((seed for seed in used if isinstance(seed, int)), default=0) // _STRIDE + 1) * _STRIDE


def _section(key: str, value: Any, comment: str) -> str:
    """A section as YAML, its innermost mappings and lists on one line each, below its comment."""
    yaml = YAML(typ="rt")
    yaml.default_flow_style, yaml.width = None, 4096  # None: only what holds no other
    yaml.representer.sort_base_mapping_type_on_output = False
    text = io.StringIO()
    yaml.dump({key: value}, text)
    return (f"\n# {comment}\n" if comment else "\n") + text.getvalue()
