"""The whole input of a run, validated: configuration, runner, host, clock, seed.

`Spec.from_json` refuses unknown keys, wrong types and impossible combinations, and names key, value and remedy.
Nothing outside the specification and the corpus changes a result. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import Any, TypeVar

from trainer.errors import SpecError

SCHEMA = 1
Section = TypeVar("Section")


def _number(low: float, high: float, default: Any = MISSING) -> Any:
    """A dataclass field whose value lies in [low, high]."""
    if default is MISSING:
        return field(metadata={"low": low, "high": high})
    return field(default=default, metadata={"low": low, "high": high})


def _choice(*options: str, default: Any = MISSING) -> Any:
    if default is MISSING:
        return field(metadata={"options": options})
    return field(default=default, metadata={"options": options})


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a study compares. Learning rates are those of a width of 768; batches are counted in tokens."""

    depth: int = _number(1, 128)
    aspect: int = _number(1, 4096)
    batch_tokens: int = _number(1, 2**31)
    device_batch_tokens: int | None = _number(1, 2**31, None)
    matrix_lr: float = _number(0.0, 10.0)
    embedding_lr: float = _number(0.0, 10.0)
    head_lr: float = _number(0.0, 10.0)
    scalar_lr: float = _number(0.0, 10.0, 0.5)
    weight_decay: float = _number(0.0, 10.0, 0.0)
    warmup: float = _number(0.0, 1.0, 0.0)
    warmdown: float = _number(0.0, 1.0, 0.5)
    final_lr: float = _number(0.0, 1.0, 0.0)
    window: str = "SSSL"


@dataclass(frozen=True, kw_only=True)
class Runner:
    """What is the same for every run of a study."""

    sequence_length: int = _number(16, 1 << 20)
    head_dim: int = _number(2, 256)
    eval_tokens: int = _number(1, 2**40)
    eval_batch_rows: int = _number(1, 1 << 16, 64)
    max_width: int = _number(2, 1 << 16, 4096)


@dataclass(frozen=True, kw_only=True)
class Host:
    """What a result depends on besides the code: device, precision, threads, compilation, rated speed."""

    device: str = _choice("cpu", "cuda")
    precision: str = _choice("fp32", "bf16")
    threads: int = _number(1, 1024)
    compile: bool = False
    flops_per_second: int | None = _number(1, 10**21, None)


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The budget: `seconds` of wall time, or of rated time, which the host's rated speed turns into steps."""

    kind: str = _choice("rated", "wall")
    seconds: float = _number(1e-6, 1e9)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One run. `from_json` is the only door; the sections hold the keys of params.yaml."""

    config: Config
    runner: Runner
    host: Host
    clock: Clock
    seed: int = _number(0, 2**63 - 1)
    evaluate_locked: bool = False
    keep_weights: bool = False

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Spec:
        """Reads `{schema, config, runner, host, clock, seed, evaluate_locked, keep_weights}`; `SpecError`."""
        if not isinstance(value, Mapping):
            raise SpecError(f"spec is {type(value).__name__}, expected a mapping")
        rest = dict(value)
        schema = rest.pop("schema", SCHEMA)
        if schema != SCHEMA:
            raise SpecError(f"spec.schema is {schema!r}; this runner reads schema {SCHEMA}: update the project")
        parts: dict[str, Any] = {}
        for name, cls in (("config", Config), ("runner", Runner), ("host", Host), ("clock", Clock)):
            if name not in rest:
                raise SpecError(f"spec.{name} is missing: add the section")
            parts[name] = _section(cls, rest.pop(name), f"spec.{name}")
        spec = _section(Spec, {**parts, **rest}, "spec")
        _check(spec)
        return spec

    def to_json(self) -> dict[str, Any]:
        """The specification as plain JSON values, every default spelled out."""
        return {"schema": SCHEMA, **asdict(self)}

    def digest(self) -> str:
        """SHA-256 (hex) of the specification's canonical JSON."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    @property
    def rows(self) -> int:
        """Rows of one device batch."""
        return self.device_batch_tokens // self.runner.sequence_length

    @property
    def device_batch_tokens(self) -> int:
        """Tokens that go through the device at once; the batch is this many, accumulated."""
        return self.config.device_batch_tokens or self.config.batch_tokens

    @property
    def accumulation(self) -> int:
        """Device batches in one step."""
        return self.config.batch_tokens // self.device_batch_tokens


def width_of(config: Config, runner: Runner) -> int:
    """depth x aspect, rounded up to whole heads; `SpecError` over the runner's limit."""
    heads = -(-config.depth * config.aspect // runner.head_dim)
    width = heads * runner.head_dim
    if width > runner.max_width:
        raise SpecError(
            f"spec.config.depth {config.depth} x aspect {config.aspect} makes a width of {width}, "
            f"over spec.runner.max_width {runner.max_width}: lower depth or aspect, or raise max_width"
        )
    return width


def _section(cls: type[Section], value: Any, where: str) -> Section:
    if not isinstance(value, Mapping):
        raise SpecError(f"{where} is {type(value).__name__}, expected a mapping")
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    for key in value:
        if key not in known:
            raise SpecError(f"{where}.{key} is not a key of this section; known are {', '.join(known)}")
    read: dict[str, Any] = {}
    for name, item in known.items():
        if name in value:
            read[name] = _value(item, value[name], f"{where}.{name}")
        elif item.default is MISSING:
            raise SpecError(f"{where}.{name} is missing: add the key")
    return cls(**read)


def _value(item: Field[Any], value: Any, where: str) -> Any:
    kind = str(item.type)
    if value is None and kind.endswith("| None"):
        return None
    kind = kind.removesuffix(" | None")
    if kind == "bool":
        return _typed(value, bool, "true or false", where)
    if kind == "str":
        text = _typed(value, str, "text", where)
        options = item.metadata.get("options")
        if options and text not in options:
            raise SpecError(f"{where} is {text!r}, expected one of {', '.join(options)}")
        return text
    if kind not in ("int", "float"):
        return value
    if isinstance(value, bool) or not isinstance(value, int | (float if kind == "float" else int)):
        expected = "a whole number" if kind == "int" else "a number"
        raise SpecError(f"{where} is {value!r}, expected {expected}")
    low, high = item.metadata["low"], item.metadata["high"]
    if not (math.isfinite(value) and low <= value <= high):
        raise SpecError(f"{where} is {value!r}, expected a value from {low:g} to {high:g}")
    return value if kind == "int" else float(value)


def _typed(value: Any, cls: type, expected: str, where: str) -> Any:
    if not isinstance(value, cls):
        raise SpecError(f"{where} is {value!r}, expected {expected}")
    return value


def _check(spec: Spec) -> None:
    """What no single key can say: divisibility, windows, the schedule, the width, what a clock needs."""
    config, runner = spec.config, spec.runner
    if runner.head_dim % 2:
        raise SpecError(f"spec.runner.head_dim is {runner.head_dim}, expected an even number: rotary pairs them")
    _divides(runner.sequence_length, "spec.runner.sequence_length", config.batch_tokens, "spec.config.batch_tokens")
    if config.device_batch_tokens is not None:
        name = "spec.config.device_batch_tokens"
        _divides(runner.sequence_length, "spec.runner.sequence_length", config.device_batch_tokens, name)
        _divides(config.device_batch_tokens, name, config.batch_tokens, "spec.config.batch_tokens")
    if not config.window or set(config.window) - set("SL"):
        raise SpecError(f"spec.config.window is {config.window!r}, expected letters S (half) and L (full context)")
    if config.warmup + config.warmdown > 1.0:
        raise SpecError(
            f"spec.config.warmup {config.warmup} and warmdown {config.warmdown} overlap: "
            "lower one so that they add up to 1 at most"
        )
    if spec.clock.kind == "rated" and spec.host.flops_per_second is None:
        raise SpecError("spec.host.flops_per_second is missing: the rated clock turns seconds into steps with it")
    width_of(config, runner)


def _divides(part: int, part_name: str, whole: int, whole_name: str) -> None:
    if whole % part:
        near = max(part, whole - whole % part)
        raise SpecError(
            f"{whole_name} is {whole}, which {part_name} {part} does not divide: use {near} or {near + part}"
        )
