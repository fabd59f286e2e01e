"""The built-in runner: `trainer/`, the fixed runner in PyTorch.

The only module of `stages/` that imports `trainer`. Only `load`, `train` and `repeat` import its half that needs torch.
Two knob settings can build one model, so a configuration is identified by what is built (PROTOCOL.md of the paper's
runner: width is depth x aspect rounded up to whole heads).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import trainer
from stages.domain import canonical, files, names
from stages.domain.contract import HostBlock
from stages.domain.diff import differences
from stages.domain.errors import Invalid, Refused
from stages.domain.locks import LockRefused
from stages.domain.records import Facts, Record
from stages.domain.schema import whole_number
from stages.domain.study import Study
from stages.runners import (
    Assignment,
    FactMismatch,
    FileTree,
    RunnerJson,
    RunObserver,
    RunResult,
    StudyModels,
    digest_named,
    parse_facts,
)
from stages.runners.device import compute_mfu, describe_device
from trainer.errors import SpecError
from trainer.shape import rated_steps, realise
from trainer.spec import Config, Runner, Spec
from trainer.spec import Host as TrainerHost

if TYPE_CHECKING:
    from trainer.outcome import Outcome

#: What the weights are called in the trace of a run of the last rung.
WEIGHTS = "weights.safetensors"
#: The knobs that say which model is built and how it passes through the device, and not how it is trained.
_SHAPING = frozenset({"depth", "aspect", "window", "device_batch_tokens"})


class BuiltinRunner:
    """The runner of `trainer/`."""

    title = "trainer/"
    keeps_weights = True

    def digest(self, tree: FileTree) -> str | None:
        """SHA-256 of every Python file of trainer/; None where there is none."""
        head = f"{names.TRAINER.as_posix()}/"
        modules = [path for path in tree.paths(head[:-1]) if path.endswith(".py") and "__pycache__" not in path]
        return digest_named(tree, {path.removeprefix(head): path for path in modules})

    def is_installed(self, digest: str) -> bool:
        """Whether this Python would import the trainer with that digest, whose defaults are then the frozen ones."""
        return files.tree_digest(Path(trainer.__file__ or "").parent) == digest

    def validate(self, study: Study) -> StudyModels:
        """The model of every configuration with the corpus here; refuses a study that the trainer would."""
        path = names.CORPUS / "manifest.json"
        try:
            manifest = canonical.loads(path.read_bytes())
            tokens = {split: int(manifest["splits"][split]["tokens"]) for split in ("val", "locked")}
            vocab_size = int(manifest["tokenizer"]["vocab_size"])
        except (canonical.NotCanonical, KeyError, TypeError, ValueError) as error:
            raise LockRefused(
                f"{path.as_posix()}: no manifest of a corpus ({error}); `dvc repro corpus` builds it"
            ) from None
        _require_tokens(study, tokens)
        models = realise_all(study, vocab_size)
        notes = [
            f"{len(group)} configurations build one model and differ in training alone: {', '.join(group)}"
            for group in _group_by_model(models)
        ]
        return StudyModels(models, tuple(notes))

    def make_given(self, assignment: Assignment) -> RunnerJson:
        """What the study says of a run's input. The last rung is scored on the locked split and keeps its weights."""
        block = assignment.block
        return {
            "config": dict(assignment.knobs),
            "runner": {key: value for key, value in assignment.settings.items() if key != "kind"},
            "host": {
                "device": block["device"],
                "precision": block["precision"],
                "threads": block["threads"],
                "compile": block["compile"],
                "flops_per_second": block["flops_per_second"],
            },
            "clock": {"kind": assignment.clock, "seconds": assignment.seconds},
            "seed": assignment.seed,
            "evaluate_locked": assignment.last,
            "keep_weights": assignment.last,
        }

    def make_spec(self, assignment: Assignment, where: str = "params.yaml") -> RunnerJson:
        """The whole input of a run, the trainer's defaults spelled out."""
        return parse_spec(self.make_given(assignment), assignment.config, where).to_json()

    def check_corpus(self, expected: str, folder: Path) -> None:
        """Refuse a corpus that is not the frozen one: the manifest by its digest, every file by the manifest's."""
        manifest = folder / "manifest.json"
        if not manifest.is_file():
            raise Refused(
                f"{manifest.as_posix()} is missing; `dvc repro corpus` builds it, `dvc pull corpus` (where a "
                "DVC remote is set up) fetches it"
            )
        digest = files.sha256_file(manifest)
        if digest != expected:
            raise Refused(
                f"{manifest.as_posix()}: found sha256 {digest}, expected the frozen {expected}; "
                "`dvc repro` makes it anew"
            )
        value = canonical.loads(manifest.read_bytes())
        for part in (value["tokenizer"], value["token_bytes"], *value["splits"].values()):
            path = folder / part["file"]
            if not path.is_file() or files.sha256_file(path) != part["sha256"]:
                raise Refused(
                    f"{path.as_posix()}: missing or changed, expected sha256 {part['sha256']}; `dvc checkout` mends it"
                )

    def load(self) -> None:
        """Import the trainer's loop, and torch with it.

        Without the garbage collector, which costs a fifth of the import, and with what was imported out of its sight
        from then on, which halves the time that Python takes to end.
        """
        gc.disable()
        try:
            import trainer.loop  # noqa: F401
        finally:
            gc.enable()
        gc.freeze()

    def train(
        self,
        spec: RunnerJson,
        corpus: Path,
        scratch: Path | None,
        observer: RunObserver,
        progress: RunnerJson | None = None,
    ) -> RunResult:
        """Train one run; a killed one goes on from the checkpoints in `scratch`.

        `progress` is that of the facts of a run on the wall clock, which is then repeated step for step.
        """
        from trainer.loop import train

        read = Spec.from_json(spec)
        outcome = train(read, corpus, scratch=scratch, observer=observer, replay_progress=progress)
        return _result_of(outcome, read.host)

    def repeat(self, record: Record, corpus: Path, scratch: Path, observer: RunObserver) -> RunResult:
        """Train a recorded run again; on the wall clock by its recorded progress, step for step."""
        return self.train(record.spec or {}, corpus, scratch, observer, (record.facts or {}).get("progress"))

    def check_trace(self, record: Record, trace: Mapping[str, bytes]) -> Iterator[FactMismatch]:
        """Nothing: the trainer's score is made of tokens, which no log holds."""
        return iter(())

    def make_facts_check(self, study: Study) -> BuiltinFactsCheck:
        """A check of the facts of this study's records."""
        return BuiltinFactsCheck(study.data.vocab_size)


def _result_of(outcome: Outcome, host: TrainerHost) -> RunResult:
    """What came of a run, its telemetry completed by what ran it."""
    flops = outcome.telemetry["model_flops_per_second"]
    return RunResult(
        status=outcome.status,
        reason=outcome.reason,
        facts=outcome.facts,
        telemetry={
            **describe_device(host.device),
            **outcome.telemetry,
            "mfu": compute_mfu(flops, host.device, host.precision),
        },
        trace={"curve.csv": outcome.curve_csv().encode("utf-8")},
        large={} if outcome.weights is None else {WEIGHTS: outcome.save_weights},
        clear=outcome.clear,
    )


def parse_spec(value: RunnerJson, config: str, where: str = "params.yaml") -> Spec:
    """The trainer's own reading of a specification; its refusal names the paths that params.yaml has."""
    try:
        return Spec.from_json(_with_whole_numbers(value))
    except (SpecError, OverflowError) as error:  # a whole number of 400 digits is no float
        text = str(error) if isinstance(error, SpecError) else f"configs.{config}: holds a number that is too large"
        for section, path in (("config", f"configs.{config}"), ("runner", "runner"), ("clock", "clock")):
            text = text.replace(f"spec.{section}", path)
        raise Invalid(f"{where}: {text}") from None


def complete_spec(value: RunnerJson) -> RunnerJson:
    """A specification by itself, outside of any study, with the trainer's defaults spelled out; `SpecError`."""
    return Spec.from_json(value).to_json()


def _with_whole_numbers(value: RunnerJson) -> RunnerJson:
    """The same specification with `1e5` as a whole number where the trainer wants one: YAML reads it as a float."""
    sections: dict[str, type[Config | Runner]] = {"config": Config, "runner": Runner}
    whole = {
        name: {field.name for field in fields(kind) if "int" in str(field.type)} for name, kind in sections.items()
    }
    return {
        name: {key: whole_number(item) if key in whole[name] else item for key, item in section.items()}
        if name in whole and isinstance(section, dict)
        else section
        for name, section in value.items()
    }


def _require_tokens(study: Study, tokens: dict[str, int]) -> None:
    """Refuse a split that holds fewer tokens than a run is scored on."""
    wanted = study.runner.get("eval_tokens")
    for split, count in tokens.items():
        if isinstance(wanted, int) and count < wanted:
            share = "val_per_mille" if split == "val" else "locked_per_mille"
            raise LockRefused(
                f"params.yaml: runner.eval_tokens: found {wanted}, expected at most {count}, the tokens of split "
                f"{split}; lower it, or raise data.{share}"
            )


def realise_all(study: Study, vocab_size: int, where: str = "params.yaml") -> dict[str, RunnerJson]:
    """By configuration: the model that it builds, and which other configurations build the same one.

    Two that also train it alike are refused: one of them would take a promotion slot and measure nothing new.
    """
    host = next(iter(study.hosts))
    block = cast(HostBlock, study.hosts[host].model_dump())
    models: dict[str, RunnerJson] = {}
    groups: dict[str, list[str]] = {}
    first_with: dict[tuple[str, str], str] = {}
    for name, knobs in study.configs.items():
        assignment = Assignment(
            "rung1", name, host, 0, study.runner, knobs, block, study.clock.kind, seconds=1.0, last=False
        )
        spec = parse_spec(BuiltinRunner().make_given(assignment), name, where)
        shape = realise(spec.config, spec.runner, vocab_size)
        twin = first_with.setdefault((shape.digest(), _training_of(spec)), name)
        if twin != name:
            raise Invalid(
                f"{where}: configs.{name}: builds and trains exactly what {twin} does; remove one of them, or measure "
                "what repetition shows with floor_seeds"
            )
        models[name] = shape.to_json()
        groups.setdefault(shape.digest(), []).append(name)
    for group in groups.values():
        for name in group:
            models[name]["same_model_as"] = sorted(other for other in group if other != name)
    return models


def _training_of(spec: Spec) -> str:
    """How a configuration trains its model, whatever its device batch. Two that agree in both are the same."""
    return repr(sorted((key, value) for key, value in asdict(spec.config).items() if key not in _SHAPING))


def _group_by_model(models: dict[str, RunnerJson]) -> list[list[str]]:
    """The groups of configurations that build one model and differ in training alone, largest first."""
    groups = {tuple(sorted([name, *model["same_model_as"]])) for name, model in models.items()}
    return sorted((list(group) for group in groups if len(group) > 1), key=lambda group: (-len(group), group))


class BuiltinFactsCheck:
    """Steps, tokens, time and model of every record are what its input makes of them.

    A score has nothing to be compared with but training again. On the rated clock the number of steps is arithmetic,
    and the model is a function of the configuration.
    """

    def __init__(self, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        #: By rung, configuration and host, whose runs differ in their seed alone.
        self._specs: dict[tuple[str, str, str], Spec | None] = {}
        self._models: dict[str, tuple[str, RunnerJson]] = {}

    def mismatches(self, record: Record, spec: RunnerJson, whole: bool) -> Iterator[FactMismatch]:
        """What in the record does not follow from `spec`."""
        facts, mismatches = parse_facts(Facts, record)
        yield from mismatches
        if facts is None:
            return
        cell = (record.rung, record.config, record.host)
        if cell not in self._specs:
            self._specs[cell] = _read_spec(spec)
        read = self._specs[cell]
        if whole and read and record.config not in self._models:
            shape = realise(read.config, read.runner, self._vocab_size)
            self._models[record.config] = ("the runner", {**shape.to_json(), "digest": shape.digest()})
        yield from self._compare_model(record, facts)
        yield from _compare_numbers(record, facts, read) if read else ()

    def make_fingerprint(self, facts: Mapping[str, object]) -> tuple[object, ...]:
        """The score and the training loss, to six decimals each."""
        numbers = facts.get("val_bpb"), facts.get("train_loss")
        return numbers if all(isinstance(number, float) for number in numbers) else ()

    def notes(self) -> list[str]:
        """Whether there were settings that the trainer here does not know."""
        if None not in self._specs.values():
            return []
        return ["the runner installed here does not know this study's settings, so steps and time were not counted"]

    def _compare_model(self, record: Record, facts: Facts) -> Iterator[FactMismatch]:
        """One model a configuration; where the frozen runner is installed here, the one that it builds."""
        recorded = (record.facts or {})["model"]  # one object in all records that say the same
        source, model = self._models.setdefault(record.config, (record.id, recorded))
        if recorded is model:
            return
        mismatches = list(differences(facts.model, model, "/facts/model"))
        for pointer, value, expected in mismatches:
            meaning = "its configuration builds another model"
            yield FactMismatch(pointer, value, f"{expected!r}, as {source} has it", meaning)
        if not mismatches:
            self._models[record.config] = (source, recorded)


def _read_spec(value: RunnerJson) -> Spec | None:
    try:
        return Spec.from_json(value)
    except SpecError:
        return None


def _compare_numbers(record: Record, facts: Facts, spec: Spec) -> Iterator[FactMismatch]:
    finished = record.status == "finished"
    for key, expected, meaning in (*_expected_scores(facts, finished, spec), *_expected_time(facts, finished, spec)):
        recorded = getattr(facts, key)
        if recorded != expected:
            yield FactMismatch(f"/facts/{key}", recorded, expected, meaning)


def _expected_scores(facts: Facts, finished: bool, spec: Spec) -> Iterator[tuple[str, Any, str]]:
    """(key, value, what another one means) for scores, loss and tokens, as far as they follow."""
    yield "tokens", facts.steps * spec.config.batch_tokens, "a step takes one batch"
    locked = finished and spec.evaluate_locked
    if not finished:
        yield "val_bpb", None, "only a finished run has a score"
    if not locked or facts.locked_bpb is None:
        expected = "a score" if locked else None
        yield "locked_bpb", expected, "finished runs of the last rung, and no others, are scored on the locked split"
    if facts.steps and facts.train_loss is None:
        yield "train_loss", "a loss", "steps ended, and each has a loss"


def _expected_time(facts: Facts, finished: bool, spec: Spec) -> Iterator[tuple[str, Any, str]]:
    """The same for steps, seconds and what the clock kept."""
    rate, batch, flops = spec.host.flops_per_second, spec.config.batch_tokens, facts.model.get("flops_per_token")
    if spec.clock.kind == "wall":
        yield "rated_seconds", None, "the wall clock rates nothing"
        if facts.steps != (facts.progress.steps if facts.progress else 0):
            yield "progress", f"that of {facts.steps} steps", "the run could not be repeated"
        return
    yield "progress", None, "the rated clock keeps none"
    if rate is None or not isinstance(flops, int) or flops < 1:
        yield "model", "a model with its flops_per_token", "nobody can count its steps"
        return
    steps = rated_steps(flops, batch, spec.clock.seconds, rate)
    if finished or facts.steps > steps:
        yield "steps", steps, "its budget buys another number of steps"
    yield "rated_seconds", round(facts.steps * (flops * batch / rate), 6), "its steps take another time"
