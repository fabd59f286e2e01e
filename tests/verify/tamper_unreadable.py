"""Links in the workspace, keys that are half a character, what nobody can open, the winner in other bytes.
Registered with the suite in `tamper.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stages.domain import canonical
from stages.domain.files import md5_bytes
from tests.verify.forger import DECISIONS, METRICS, RUNS, Forger
from tests.verify.tamper import caught
from tests.verify.tamper_artifacts import MODEL, here, mend, put

# Links in the workspace


def linked(text: str, name: str, path: str) -> None:
    """Register a file or folder of the workspace that lies elsewhere, with the same content."""

    def make(f: Forger) -> None:
        elsewhere = f.root / ".git" / f"elsewhere-{len(list((f.root / '.git').iterdir()))}"
        f.path(path).replace(elsewhere)
        f.path(path).symlink_to(elsewhere)

    make.__name__ = name
    caught("plain-files", text, committed=False)(make)


linked("a ledger that lies elsewhere", "ledger_linked", RUNS)
linked("a folder of the ledger that lies elsewhere", "ledger_folder_linked", "ledger")
linked("a lock that lies elsewhere", "lock_linked", "locks/gate2.yaml")
linked("a rung's folder that lies elsewhere", "rung_linked", "stages/ladder/rung2")
linked("a runner that lies elsewhere", "trainer_linked", "trainer")
linked("the stages that lie elsewhere", "stages_linked", "stages")
linked("params.yaml that lies elsewhere", "params_linked", "params.yaml")


# What no reader of JSON writes


def surrogate(check: str, text: str, name: str, path: str, old: bytes) -> None:
    """Register half of a character as a key."""

    def make(f: Forger) -> None:
        data = f.read(path)
        assert old in data
        f.write(path, data.replace(old, b'{"\\ud800": 1, ' + old[1:], 1))

    make.__name__ = name
    caught(check, text)(make)


surrogate("ledger-lines", "half a character as a key of a record", "surrogate_in_record", RUNS, b'{"budget"')
surrogate("ledger-lines", "half a character as a key of a run's facts", "surrogate_in_facts", RUNS, b'"facts":{"'[8:])
surrogate("ledger-lines", "half a character as a key of a decision", "surrogate_in_decision", DECISIONS, b'{"')
surrogate("summary", "half a character as a key of the metrics", "surrogate_in_metrics", METRICS, b"{\n"[:1])


# What nobody can read is not passed over


def endless(f: Forger, path: str) -> None:
    """A link to itself in the place of a file or folder: whoever opens it is refused."""
    target = f.path(path)
    target.rename(f.root / ".dvc" / "tmp" / "moved")
    target.symlink_to(target.name)


def unreadable(text: str, name: str, path: str, make: Callable[[Forger, str], None] = endless) -> None:
    """Register something in the workspace that cannot be read."""

    def manipulate(f: Forger) -> None:
        make(f, sorted(p.relative_to(f.root).as_posix() for p in f.root.glob(path))[0])

    manipulate.__name__ = name
    here("artifacts", text)(manipulate)


def folder_instead(f: Forger, path: str) -> None:
    f.delete(path)
    f.path(path).mkdir()


unreadable("the traces of a rung that nobody can open", "endless_traces", "artifacts/traces/rung3")
unreadable("all traces that nobody can open", "endless_all_traces", "artifacts/traces")
unreadable("the trace of a run that nobody can open", "endless_trace", "artifacts/traces/rung3/*/*/*")
unreadable("telemetry that nobody can open", "endless_telemetry", "artifacts/telemetry/rung3/*/*/*.json")
unreadable(
    "a folder in the place of telemetry",
    "folder_telemetry",
    "artifacts/telemetry/rung3/*/*/*.json",
    folder_instead,
)
unreadable("all telemetry that nobody can open", "endless_all_telemetry", "artifacts/telemetry")
unreadable("a winner that nobody can open", "endless_winner", "artifacts/winner")
unreadable("records of a rung that nobody can open", "endless_records", "artifacts/records/rung3")
unreadable(
    "a folder in the place of an object of the cache", "folder_in_cache", ".dvc/cache/files/md5/*/*", folder_instead
)


@here("artifacts", "a trace recorded as a folder whose listing in the cache is none")
def listing_garbage(f: Forger) -> None:
    data = b"no listing\n"
    md5 = md5_bytes(data)
    f.write(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}.dir", data)
    trace = sorted(p.relative_to(f.root).as_posix() for p in f.root.glob("artifacts/traces/rung3/*/*/*"))[0]

    def change(stages: dict[str, Any]) -> None:
        for stage in stages.values():
            for out in stage["outs"]:
                if out["path"] == trace:
                    out["md5"] = f"{md5}.dir"

    f.rung("rung3", change)


# The winner's description


@here("winner", "the same description of the winner in other bytes, its digest mended")
def description_spaced(f: Forger) -> None:
    put(f, MODEL, f.read(MODEL).replace(b'":', b'": ', 1))
    mend(f, "artifacts/winner")


@here("winner", "the description of the winner with a number as text, its digest mended")
def description_text(f: Forger) -> None:
    value = canonical.loads(f.read(MODEL))
    put(f, MODEL, canonical.dumps({**value, "seed": str(value.get("seed"))}))
    mend(f, "artifacts/winner")
