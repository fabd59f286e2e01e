"""The winner: weights of the configuration with the lowest mean at the last rung, and the curves of that rung.

    python -m stages.winner        (run by `dvc repro`)

Writes artifacts/winner/model.json and model.safetensors, and artifacts/curves.csv, which `dvc plots show` draws. The
weights are those of the first host and the first seed by name: a cell fixed beforehand, because the best cell would be
picked for its luck. Without a winner model.json says why, and there are no weights.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stages.domain import canonical, files, names
from stages.domain.canonical import JsonObject
from stages.domain.errors import Refused, main_guard
from stages.domain.records import Record, parse_ledger
from stages.summary.tables import csv_bytes

SCHEMA = 1
WEIGHTS = "model.safetensors"
#: What they are called in the trace of the run that trained them.
KEPT = "weights.safetensors"
CURVES = names.CURVES
COLUMNS = ("config", "host", "seed", "tokens", "seconds", "train_loss")
#: A plot shows no more points of a curve than it has pixels to spare.
POINTS = 200
CHOSEN = "The first host and the first seed by name: fixed beforehand, not picked as the best cell."


def last_runs(records: list[Record]) -> list[Record]:
    """The finished candidates' runs of the highest rung that trained anything, by configuration, host and seed."""
    done = [run for run in records if run.status == "finished" and run.purpose == "candidate"]
    top = max((names.number_of(run.rung) for run in done), default=0)
    last = [run for run in done if names.number_of(run.rung) == top]
    return sorted(last, key=lambda run: (run.config, run.host, run.seed))


def describe(config: str, runs: list[Record], mode: str) -> JsonObject:
    """model.json of a winner; `runs` are its finished runs at the last rung, whose first gives the weights."""
    first = runs[0]
    facts = first.facts or {}
    key = "val_bpb" if keeps_weights(first) else "score"
    scores = {key: facts[key], **({"locked_bpb": facts.get("locked_bpb")} if keeps_weights(first) else {})}
    return {
        "schema": SCHEMA,
        "config": config,
        "reason": None,
        "mode": mode,
        "rung": first.rung,
        "host": first.host,
        "seed": first.seed,
        "chosen": CHOSEN,
        **scores,
        "cells": [{"host": run.host, "seed": run.seed, key: (run.facts or {})[key]} for run in runs],
        "model": facts.get("model"),
        "spec": first.spec,
        "lock": first.lock,
        "runner": first.runner,
        "corpus": first.corpus,
        "record": {"path": names.record_path(first.id).as_posix(), "md5": first.md5},
    }


def keeps_weights(run: Record) -> bool:
    """Whether the runner that trained a run keeps its weights; a command keeps what it likes where it likes."""
    return (run.spec or {}).get("kind") != "command"


def _missing(path: Path, run: Record) -> Refused:
    bring = "`dvc checkout`, `dvc pull` (where a DVC remote is set up) or `dvc repro` brings back"
    return Refused(f"{path.as_posix()} is missing; {bring} what {run.id} trained")


def copy_weights(run: Record) -> Mapping[str, object]:
    """Copy a run's weights to artifacts/winner/, whole; their name, digest and size."""
    source, target = names.trace_path(run.id) / KEPT, names.WINNER / WEIGHTS
    if not source.is_file():
        raise _missing(source, run)
    files.copy_whole(source, target)
    return {"file": WEIGHTS, "sha256": files.sha256_file(target), "bytes": target.stat().st_size}


def rows(run: Record, text: str) -> list[tuple[Any, ...]]:
    """The rows of a run for curves.csv, from its curve.csv: at most POINTS, evenly spaced, its last one among them."""
    points = list(csv.DictReader(io.StringIO(text)))
    stride = -(-len(points) // POINTS) or 1
    kept = points[::-1][::stride][::-1]
    return [(run.config, run.host, run.seed, *(row[key] for key in COLUMNS[3:])) for row in kept]


def curves(runs: list[Record], read: Callable[[Record], str]) -> bytes:
    """curves.csv of the runs at the last rung; `read` gives the text of a run's own curve.csv."""
    return csv_bytes(COLUMNS, [row for run in runs for row in rows(run, read(run))])


def make_model_file(
    runs: list[Record], headline: JsonObject, order: JsonObject, weights: Callable[[Record], Mapping[str, object]]
) -> JsonObject:
    """model.json: the winner of metrics.json, or why there is none, as stability.json says it.

    `runs` are those at the last rung; `weights` is asked for the digest of the chosen run's weights.
    """
    winner = headline["winner"]
    if winner is None:
        return {"schema": SCHEMA, "config": None, "reason": order["no_winner"], "mode": headline["mode"]}
    mine = [run for run in runs if run.config == winner]
    return {**describe(winner, mine, headline["mode"]), "weights": weights(mine[0]) if keeps_weights(mine[0]) else None}


def _curve(run: Record) -> str:
    path = names.trace_path(run.id) / "curve.csv"
    if not path.is_file():
        raise _missing(path, run)
    return path.read_text(encoding="utf-8")


def main() -> None:
    """Write the winner and the curves of the last rung."""
    headline = canonical.loads((names.LEDGER / "metrics.json").read_bytes())
    order = canonical.loads((names.SUMMARY / "stability.json").read_bytes())
    ledger = names.LEDGER / "runs.jsonl"
    runs = last_runs([record for record, _ in parse_ledger(ledger.read_bytes(), ledger.as_posix())])
    if headline["winner"] is None:
        (names.WINNER / WEIGHTS).unlink(missing_ok=True)
    files.write_whole(
        names.WINNER / "model.json", canonical.dumps(make_model_file(runs, headline, order, copy_weights))
    )
    files.write_whole(CURVES, curves(runs, _curve))


if __name__ == "__main__":
    main_guard(main)
