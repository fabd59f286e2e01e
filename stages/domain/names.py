"""Names and the places of things: the one vocabulary and the one map that every other module uses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

#: How the seconds of a budget are measured; see `study.Clock`.
ClockKind = Literal["wall", "rated", "given"]

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
#: Configurations, hosts and rungs become DVC keys, where a dot would mean "inside": so none here.
KEY = re.compile(r"[a-z0-9][a-z0-9_-]*")
#: Names that Windows keeps for devices, in every folder and whatever follows behind a dot.
DEVICE = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?")
MAX_NAME = 64

PARAMS = Path("params.yaml")
CORPUS = Path("artifacts/corpus")
PROTOCOL = Path("artifacts/protocol")
RECORDS = Path("artifacts/records")
TRACES = Path("artifacts/traces")
TELEMETRY = Path("artifacts/telemetry")
GATES = Path("artifacts/gates")
SUMMARY = Path("artifacts/summary")
CONFIDENCE = Path("artifacts/confidence")
#: Beside records and traces and not among them: whatever reads those would wait for hindsight, and could see it.
HINDSIGHT = Path("artifacts/hindsight")
WINNER = Path("artifacts/winner")
CURVES = Path("artifacts/curves.csv")
LOCKS = Path("locks")
LEDGER = Path("ledger")
SITE = Path("site")
#: The dvc.yaml and dvc.lock files of rungs and hindsight, generated and apart from code.
LADDER = Path("stages/ladder")
SCRATCH = Path("scratch")
#: Not in scratch/, which DVC ignores: `dvc plots` and the VS Code extension follow this folder (see dvc.yaml).
LIVE = Path("live")
TRAINER = Path("trainer")


def is_name(text: str, pattern: re.Pattern[str] = NAME) -> bool:
    """Whether `text` is a name: ASCII, lower case, never a way out of a folder and never a device."""
    return len(text) <= MAX_NAME and bool(pattern.fullmatch(text)) and ".." not in text and not is_device(text)


def is_device(text: str) -> bool:
    """Whether Windows would take a file of this name for a device."""
    return DEVICE.fullmatch(text) is not None


def gate_of(rung: str) -> str:
    """The gate that judges a rung: rung3 -> gate3."""
    return "gate" + rung.removeprefix("rung")


def rung_of(gate: str) -> str:
    """The rung that a gate judges: gate3 -> rung3."""
    return "rung" + gate.removeprefix("gate")


def number_of(name: str) -> int:
    """The number in the name of a rung or a gate: rung3 -> 3."""
    return int(name.removeprefix("rung").removeprefix("gate"))


def gate_before(rung: str) -> str | None:
    """The gate that decides who enters a rung: rung3 -> gate2; None for the first rung, which everybody enters."""
    number = number_of(rung)
    return f"gate{number - 1}" if number > 1 else None


def promotions_path(gate: str) -> Path:
    """The tickets that a gate hands out."""
    return GATES / gate / "promotions.json"


def knobs_path(config: str) -> Path:
    """The knobs of one configuration, which its runs read as a DVC parameter."""
    return PROTOCOL / "knobs" / f"{config}.json"


def pipeline_folder(rung: str, config: str | None = None) -> Path:
    """The folder of the dvc.yaml and dvc.lock of a configuration's runs at a rung; without one, of the rung's gate.

    `rung` is also `hindsight`, which has a summary in the place of the gate.
    """
    return LADDER / rung / config if config else LADDER / rung


def decision_path(gate: str) -> Path:
    """The decision of a gate."""
    return GATES / gate / "decision.json"


def run_id(rung: str, config: str, host: str, seed: int, purpose: str = "candidate") -> str:
    """The one name of a run, used in paths, on pages and on the command line: rung3/d2-ar64/cpu-fp32/301.

    A run in hindsight is always of the last rung: hindsight/d2-ar64/cpu-fp32/501.
    """
    if purpose == "hindsight":
        return f"hindsight/{config}/{host}/{seed}"
    return f"{rung}/{config}/{host}/{'floor-' if purpose == 'floor' else ''}{seed}"


def record_path(run: str) -> Path:
    """Where the record of a run lies, given its `run_id`."""
    return Path(record_name(run))


def record_name(run: str) -> str:
    """The same as text, with '/'."""
    folder, _, name = run.partition("/")
    place = f"{HINDSIGHT.as_posix()}/records/{name}" if folder == "hindsight" else f"{RECORDS.as_posix()}/{run}"
    return f"{place}.json"


def trace_path(run: str) -> Path:
    """The folder with a run's curve, given its `run_id`."""
    folder, _, name = run.partition("/")
    return HINDSIGHT / "traces" / name if folder == "hindsight" else TRACES / run


def telemetry_path(run: str) -> Path:
    """What a run says of its machine and its clock, given its `run_id`, once the stage `ledger` has gathered it."""
    return TELEMETRY / f"{run}.json"


def lock_path(gate: str) -> Path:
    """Where the rule lock of a gate lies."""
    return LOCKS / f"{gate}.yaml"
