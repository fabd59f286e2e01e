"""The seam between the pipeline and a trainer: what every runner offers, and which one a study asks for.

    runner = runner_of(study.runner)
    spec = runner.make_spec(assign(contract, knobs, config, host, seed))
    result = runner.train(spec, names.CORPUS, names.SCRATCH / run, observer)

A runner never writes a record: it returns what came of a run as a value, and `stages/run.py` writes it. Importing this
package, or any runner, imports no torch; `load` does, in the process that trains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from stages.domain import files
from stages.domain.contract import Contract, HostBlock, Scalar
from stages.domain.errors import Invalid
from stages.domain.schema import Model, parse

if TYPE_CHECKING:
    from stages.domain.records import Record
    from stages.domain.study import Study

#: A specification, facts, a model: JSON whose keys are the runner's own affair.
RunnerJson = dict[str, Any]
#: What a host block may ask its records to carry, and the keys of the telemetry that hold it; the first that is known.
REPORTABLE = {"torch": ("torch",), "device": ("device_name",), "driver": ("driver",), "system": ("system",)}


@dataclass(frozen=True)
class Assignment:
    """What the study gives one run: a configuration, a host block, a seed and the budget of a rung.

    `seconds` is the budget on `clock`; `last` says that this is the rung with the largest budget; `options` is the
    rung's `with`.
    """

    rung: str
    config: str
    host: str
    seed: int
    settings: Mapping[str, Any]
    knobs: Mapping[str, Scalar]
    block: HostBlock
    clock: str
    seconds: float
    last: bool
    options: Mapping[str, Scalar] = field(default_factory=dict)


def assign(contract: Contract, knobs: Mapping[str, Scalar], config: str, host: str, seed: int) -> Assignment:
    """The assignment of a run under a contract; `knobs` are those of its configuration."""
    return Assignment(
        rung=contract.rung,
        config=config,
        host=host,
        seed=seed,
        settings=contract.settings,
        knobs=knobs,
        block=contract.hosts[host],
        clock=contract.clock,
        seconds=contract.budget_seconds,
        last=contract.last,
        options=contract.options,
    )


class RunProgress(Protocol):
    """Where a run is: `share` of the budget from 0 to 1, `eta` in seconds; None is what nobody knows."""

    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int | None: ...
    @property
    def share(self) -> float | None: ...
    @property
    def tokens_per_second(self) -> float | None: ...
    @property
    def train_loss(self) -> float | None: ...
    @property
    def eta(self) -> float | None: ...


class CurvePoint(Protocol):
    """One line of curve.csv: step, tokens, seconds, train_loss, lr_factor, in this order."""

    @property
    def step(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...


class RunObserver(Protocol):
    """Hears of a run: progress a few times a second at most, every point of the curve once, warnings at once."""

    def progress(self, now: RunProgress) -> None: ...
    def row(self, row: CurvePoint) -> None: ...
    def warning(self, text: str) -> None: ...


def _nothing() -> None:
    """A run that keeps nothing aside has nothing to remove."""


@dataclass(frozen=True)
class RunResult:
    """What came of a run: what its record says, and the files of its trace.

    `facts` repeat byte for byte on the same kind of machine, `telemetry` is all that does not. `trace` holds small
    files, `large` writers of files that need not pass through memory. `clear` removes what the run kept aside; it is
    called once the record is on the disk, so that a process that dies in between has not trained for nothing.
    """

    status: str
    reason: str | None
    facts: RunnerJson | None
    telemetry: RunnerJson
    trace: Mapping[str, bytes] = field(default_factory=dict)
    large: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)
    clear: Callable[[], None] = field(default=_nothing, repr=False)


@dataclass(frozen=True)
class StudyModels:
    """By configuration, what it builds as JSON (artifacts/protocol/configs.json), and notes for whoever looks on."""

    by_config: Mapping[str, RunnerJson]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FactMismatch:
    """Something in a record that does not follow from the run's input; `pointer` is that of JSON inside the record."""

    pointer: str
    recorded: object
    expected: object
    meaning: str


def parse_facts(kind: type[Model], record: Record) -> tuple[Model | None, list[FactMismatch]]:
    """The facts of a record as `kind`; None, and what is wrong with them, where no run of its runner says that."""
    try:
        return parse(kind, record.facts, record.id), []
    except Invalid as error:
        return None, [
            FactMismatch(
                f"/facts/{problem.place.replace('.', '/')}",
                problem.found or "nothing",
                problem.expected,
                "no run of this runner says that",
            )
            for problem in error.mistakes
        ]


class FactsCheck(Protocol):
    """Holds the facts of a study's records against their inputs, one record after another, and against each other."""

    def mismatches(self, record: Record, spec: RunnerJson, whole: bool) -> Iterator[FactMismatch]:
        """What in an executed record with facts does not follow from `spec`, its input but for the seed.

        `whole`: the frozen runner is the one here, so that `spec` spells out its defaults.
        """
        ...

    def make_fingerprint(self, facts: Mapping[str, object]) -> tuple[object, ...]:
        """What two runs of different seeds never share, from facts of any version; empty where they do not tell.

        Two numbers of six decimals name a run wherever it stands; one alone may be met by chance in another cell.
        """
        ...

    def notes(self) -> list[str]:
        """What could not be checked, and why."""
        ...


class FileTree(Protocol):
    """Files by path with forward slashes: those of a folder, or of a commit."""

    def paths(self, under: str = "") -> list[str]: ...
    def read(self, path: str) -> bytes | None: ...


def digest_named(tree: FileTree, paths: Mapping[str, str]) -> str | None:
    """SHA-256 over names and contents of files, given by their names; None where none of them is there.

    One content at a time is in memory.
    """
    present = False

    def read() -> Iterator[tuple[str, bytes]]:
        nonlocal present
        for name, path in sorted(paths.items()):
            files.encode_name(path)  # the whole path shows where a bad name is
            if (data := tree.read(path)) is not None:
                present = True
                yield name, data

    digest = files.digest_of(read())
    return digest if present else None


@dataclass(frozen=True)
class Folder:
    """The files of a folder on the disk."""

    root: Path = Path()

    def paths(self, under: str = "") -> list[str]:
        """The files below `under`, sorted."""
        return sorted(path.relative_to(self.root).as_posix() for path in (self.root / under).rglob("*"))

    def read(self, path: str) -> bytes | None:
        """The bytes of a file, or None where there is none."""
        place = self.root / path
        return place.read_bytes() if place.is_file() else None


class Runner(Protocol):
    """A trainer as the pipeline sees it.

    `title` names it in messages: the folder or the files that are fixed. `keeps_weights`: a run of the last rung leaves
    its weights in its trace.
    """

    @property
    def title(self) -> str: ...
    @property
    def keeps_weights(self) -> bool: ...

    def digest(self, tree: FileTree) -> str | None:
        """SHA-256 of all that is fixed for every run of the study; None where the tree holds none of it."""
        ...

    def is_installed(self, digest: str) -> bool:
        """Whether the code here makes the same specifications as the runner with this digest."""
        ...

    def validate(self, study: Study) -> StudyModels:
        """Refuse a study that this runner would refuse, before anything trains. `Invalid`, `LockRefused`."""
        ...

    def make_given(self, assignment: Assignment) -> RunnerJson:
        """What the study says of a run's input, without the runner's defaults."""
        ...

    def make_spec(self, assignment: Assignment, where: str = "params.yaml") -> RunnerJson:
        """The whole input of a run, as its record keeps it. `Invalid` names the place in the file `where`."""
        ...

    def check_corpus(self, expected: str, folder: Path) -> None:
        """Refuse a corpus in `folder` whose manifest does not have the digest `expected`, or whose files changed."""
        ...

    def load(self) -> None:
        """Import what training needs, such as torch."""
        ...

    def train(self, spec: RunnerJson, corpus: Path, scratch: Path, observer: RunObserver) -> RunResult:
        """Train one run. `scratch` keeps what lets a killed run go on."""
        ...

    def repeat(self, record: Record, corpus: Path, scratch: Path, observer: RunObserver) -> RunResult:
        """Train what a record was given once more, step for step where the clock is that of the wall."""
        ...

    def check_trace(self, record: Record, trace: Mapping[str, bytes]) -> Iterator[FactMismatch]:
        """What an executed record says that the files of its trace do not say."""
        ...

    def make_facts_check(self, study: Study) -> FactsCheck:
        """A check of the facts of this study's records."""
        ...


def runner_of(settings: Mapping[str, Any]) -> Runner:
    """The runner that the `runner` section of a study, a lock or a contract asks for."""
    if settings.get("kind") == "command":
        from stages.runners.command import CommandRunner

        return CommandRunner(settings)
    from stages.runners.builtin import BuiltinRunner

    return BuiltinRunner()


def report_environment(report: list[str], telemetry: Mapping[str, Any]) -> dict[str, str] | None:
    """The facts about the machine that the host block asks its records to carry; None where it asks for none."""
    known = {
        key: next((telemetry[name] for name in REPORTABLE[key] if telemetry.get(name)), "unknown") for key in report
    }
    return {key: str(value) for key, value in known.items()} or None
