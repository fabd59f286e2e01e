"""A forger: somebody who edits a study and mends every digest that would give it away. Tests try to catch them."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.domain import canonical, locks, yamlio
from stages.domain.files import md5_bytes
from stages.domain.records import parse_ledger, parse_line
from stages.domain.runs import ledger_order
from stages.domain.study import parse_study
from stages.dvcfiles import lockfile
from stages.dvcfiles.cache import folder_md5
from stages.repo.git import Git, open_git
from stages.repo.tree import open_tree
from stages.summary import everything
from stages.verify.check import Case, CheckFailed, Depth, Options, OutOfOrder, Skip, perform
from stages.verify.decisions import recompute
from stages.verify.digests import known_contents
from stages.verify.folders import Content, digest_path, ignored_patterns
from stages.verify.ledger import DecisionLine, Ledger, RecordLine
from stages.verify.locks import Locks
from stages.verify.result import CheckResult
from stages.verify.sequence import SEQUENCE, run_checks
from tests.support.repo import environment

RUNS, DECISIONS, METRICS = "ledger/runs.jsonl", "ledger/decisions.jsonl", "ledger/metrics.json"
Edit = Callable[[dict[str, Any]], None]


class Forger:
    """Edits one clone. Nothing is committed before `commit`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # files

    def path(self, name: str) -> Path:
        return self.root / name

    def read(self, name: str) -> bytes:
        return self.path(name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_bytes(data)

    def replace(self, name: str, old: str, new: str, count: int = 1) -> None:
        data = self.read(name)
        assert old.encode() in data, f"{old!r} is not in {name}"
        self.write(name, data.replace(old.encode(), new.encode(), count))

    def delete(self, name: str) -> None:
        self.path(name).unlink()

    # git

    def git(self, *words: str, **extra: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.root, env={**environment(), **extra}, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == 0, f"git {' '.join(words)}: {done.stderr}"
        return done.stdout.strip()

    def commit(self, message: str = "a change", **extra: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message, **extra)
        return self.git("rev-parse", "HEAD")

    # the ledger

    def runs(self) -> list[dict[str, Any]]:
        return [canonical.loads(line) for line in self.read(RUNS).splitlines()]

    def save_runs(self, runs: list[dict[str, Any]]) -> None:
        self.write(RUNS, b"".join(canonical.dumps(run) for run in runs))

    def run(self, change: Edit, *, rung: str = "rung1", status: str = "finished", purpose: str = "candidate") -> None:
        """Change the first run of a kind."""
        runs = self.runs()
        chosen = (run for run in runs if (run["rung"], run["status"], run["purpose"]) == (rung, status, purpose))
        change(next(chosen))
        self.save_runs(runs)

    def line(self, old: bytes, new: bytes) -> None:
        """Change the bytes of the ledger's first line."""
        first, _, rest = self.read(RUNS).partition(b"\n")
        assert old in first
        self.write(RUNS, first.replace(old, new, 1) + b"\n" + rest)

    def sort(self) -> None:
        """Bring the lines into the ledger's order again."""
        lines = [canonical.dumps(run) for run in self.runs()]
        self.write(RUNS, b"".join(sorted(lines, key=lambda line: ledger_order(parse_line(line, "line")))))

    def decision(self, gate: int, change: Edit) -> None:
        values = [canonical.loads(line) for line in self.read(DECISIONS).splitlines()]
        change(values[gate - 1])
        self.write(DECISIONS, b"".join(canonical.dumps(value) for value in values))

    # locks

    def lock(self, gate: str, change: Edit, *, mend: bool = True) -> str:
        """Change what a lock freezes; with `mend`, its digest too. The digest that it then states."""
        where = f"locks/{gate}.yaml"
        value = yamlio.loads(self.read(where), where)
        change(value["frozen"])
        if not mend:
            self.yaml(where, value)
            return str(value["digest"])
        self.write(where, locks.dumps(locks.Frozen.model_validate(value["frozen"])))
        return canonical.sha256(value["frozen"])

    def relabel(self, gates: tuple[str, ...] = ("gate1", "gate2", "gate3")) -> None:
        """Chain the locks anew and let every record of their rungs name them."""
        previous, digests = None, {}
        for gate in gates:
            digests[gate] = self.lock(gate, lambda frozen, p=previous: frozen.update(previous=p))
            previous = digests[gate]
        runs = self.runs()
        for run in runs:
            run["lock"] = digests[run["gate"]]
        self.save_runs(runs)

    # YAML

    def yaml(self, name: str, value: Any) -> None:
        text = io.BytesIO()
        writer = YAML(typ="safe")
        writer.width = 4096
        writer.default_flow_style = False
        writer.dump(value, text)
        self.write(name, text.getvalue())

    def params(self, change: Edit) -> None:
        value = yamlio.loads(self.read("params.yaml"), "params.yaml")
        change(value)
        self.yaml("params.yaml", value)

    def everywhere(self, change: Edit) -> None:
        """Change params.yaml, and what every dvc.lock says that it was."""
        self.params(change)
        params = yamlio.loads(self.read("params.yaml"), "params.yaml")

        def follow(stages: dict[str, Any]) -> None:
            for stage in stages.values():
                for file, reported in stage.get("params", {}).items():
                    config = file.removeprefix("artifacts/protocol/knobs/").removesuffix(".json")
                    given = {"knobs": params["configs"].get(config)} if config in params["configs"] else params
                    if given is not params or file == "params.yaml":
                        reported.update({key: json.loads(json.dumps(_value(given, key))) for key in reported})

        for lock in self.dvc_locks():
            self.dvc(lock, follow)

    def dvc_locks(self) -> list[str]:
        """The dvc.lock files that are here."""
        found = [self.path("dvc.lock"), *self.root.glob("stages/ladder/**/dvc.lock")]
        return sorted(path.relative_to(self.root).as_posix() for path in found if path.is_file())

    def lock_value(self, lock: str) -> dict[str, Any]:
        """A dvc.lock as a value to change: its parser makes one object of what several stages say alike."""
        data = self.read(lock)
        plain: dict[str, Any] | None = json.loads(json.dumps(lockfile._plain(data)))
        return plain or yamlio.loads(data, lock)

    def dvc(self, lock: str, change: Edit) -> None:
        """Change the stages of a dvc.lock."""
        value = self.lock_value(lock)
        before = json.dumps(value)
        change(value["stages"])
        if json.dumps(value) != before:
            self.yaml(lock, value)

    def rung(self, rung: str, change: Edit) -> None:
        """Change the stages of a rung, or of hindsight, in its dvc.lock files, all at once.

        A run is `run@CONFIG-HOST-SEED` here. What `change` adds goes beside the gate.
        """
        folder = f"stages/ladder/{rung}"
        locks = [lock for lock in self.dvc_locks() if lock.startswith(f"{folder}/")]
        merged: dict[str, Any] = {}
        places: dict[str, tuple[str, str]] = {}
        for lock in locks:
            value = self.lock_value(lock)
            config = lock.removeprefix(f"{folder}/").rpartition("/")[0]
            for name, stage in value["stages"].items():
                key = name.replace("run@", f"run@{config}-")
                merged[key], places[key] = stage, (lock, name)
        change(merged)

        def put(lock: str) -> Edit:
            def replace(stages: dict[str, Any]) -> None:
                own = {name: key for key, (place, name) in places.items() if place == lock}
                added = [key for key in merged if key not in places] if lock == f"{folder}/dvc.lock" else []
                after = {name: merged[key] for name, key in own.items() if key in merged}
                stages.clear()
                stages.update(after | {key: merged[key] for key in added})

            return replace

        for lock in locks:
            self.dvc(lock, put(lock))

    def lock_of(self, rung: str, config: str | None = None) -> str:
        """The dvc.lock of the runs of a configuration at a rung, the first one's if none is named."""
        config = config or min(path.parent.name for path in self.root.glob(f"stages/ladder/{rung}/*/dvc.lock"))
        return f"stages/ladder/{rung}/{config}/dvc.lock"

    # covering the tracks

    def judge(self) -> None:
        """Decide every gate again on the edited evidence, and write decisions and metrics to match."""
        study = parse_study(yamlio.loads(self.read("params.yaml"), "params.yaml"), "params.yaml")
        gates = [f"gate{number}" for number in range(1, len(study.rungs) + 1)]
        known = Locks({gate: locks.loads(self.read(f"locks/{gate}.yaml"), gate) for gate in gates})
        parsed = parse_ledger(self.read(RUNS), RUNS)
        runs = tuple(RecordLine(n, record, data) for n, (record, data) in enumerate(parsed, start=1))
        decided = {gate: DecisionLine(0, {}, b"") for gate in gates}
        made = recompute(study, known, Ledger(runs, decided))
        self.write(DECISIONS, b"".join(decision.to_bytes() for decision in made.decisions.values()))
        records = [record for record, _ in parsed]
        files = everything("frozen", sorted(study.configs), known.by_gate, records, made.decisions)
        self.write(METRICS, files[Path(METRICS)])
        inside = [(path.name, md5_bytes(data)) for path, data in files.items() if path.as_posix() != METRICS]
        self._summary = folder_md5(inside)
        for number, held in enumerate(made.tickets.values(), start=2):
            if number <= len(study.rungs):
                self._tickets(f"rung{number}", number - 1, held)
        self.digests({"artifacts/summary": self._summary})

    def _tickets(self, rung: str, gate: int, held: dict[str, Any]) -> None:
        def change(stages: dict[str, Any]) -> None:
            for stage in stages.values():
                given = stage.get("params", {}).get(f"artifacts/gates/gate{gate}/promotions.json", {})
                given.update({key: held[key.removeprefix("tickets.")] == "true" for key in given})

        self.rung(rung, change)

    def digests(self, more: dict[str, str] | None = None) -> None:
        """Mend every digest in every dvc.lock that can be made from the bytes in git."""
        with self.case(None) as case:
            folder = digest_path(case.tree, "locks", ignored_patterns(case.tree))
            for lock in self.dvc_locks():  # first of all: it says by which locks the evidence is judged
                self.dvc(lock, lambda stages: _mend(stages, {"locks": folder}))
            for check in SEQUENCE[: next(at for at, check in enumerate(SEQUENCE) if check.name == "digests")]:
                with contextlib.suppress(CheckFailed, Skip, OutOfOrder):
                    perform(check, case)
            known: dict[str, Content | str | None] = {**known_contents(case)}
            for lock in self.dvc_locks():
                self.dvc(lock, lambda stages: _mend(stages, known | (more or {})))

    # the verification

    @contextlib.contextmanager
    def case(self, commit: str | None, depth: Depth = "git", signers: Path | None = None) -> Iterator[Case]:
        """What the checks look at; git's reader ends with the block."""
        git: Git | None = open_git(self.root)
        try:
            yield Case(self.root, open_tree(self.root, git, commit), git, commit, Options(depth, signers))
        finally:
            if git is not None:
                git.close()

    def verify(
        self, commit: str | None = None, depth: Depth = "git", signers: Path | None = None
    ) -> tuple[CheckResult, ...]:
        with self.case(commit, depth, signers) as case:
            return run_checks(case)

    def link(self, name: str, to: str) -> None:
        """Put a symbolic link in the place of a file."""
        self.delete(name)
        self.path(name).symlink_to(to)


def _value(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def _mend(stages: dict[str, Any], known: dict[str, Content | str | None]) -> None:
    for stage in stages.values():
        for kind in ("deps", "outs"):
            for item in stage.get(kind, []):
                found = known.get(item["path"])
                if isinstance(found, str):
                    item["md5"] = found
                elif found is not None:
                    item.update(md5=found.md5, size=found.size)
                    item.update({"nfiles": found.nfiles} if found.nfiles is not None else {})


def failed(results: Iterable[CheckResult]) -> list[str]:
    """The names of the checks that failed."""
    return [result.check.name for result in results if result.status == "failed"]
