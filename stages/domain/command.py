"""The `runner` section of a study whose trainer is a program of its own: `kind: command`.

    runner:
      kind: command
      files: [nano/train.py, nano/model.py]            their digest is the fixed runner
      command: [python, nano/train.py, "--seed={seed}", "--max_iters={with.steps}", "--n_layer={n_layer}"]
      score: {name: val_loss, unit: nats/token, line: "step {*}: train loss {*}, val loss {score}"}

A word of the command is literal text and `{names}`; `{{` and `}}` are braces. A name is one of NAMES, `with.X` of the
rung, or a knob of the configurations. `{seed}`, and the paths of one machine, `{out}`, `{scratch}`, `{data}` and
`{spec}`, stay names in the input that a record keeps; only the process that trains replaces them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, PlainSerializer, Tag, model_validator

from stages.domain.corpus import RelativePath
from stages.domain.line_template import BadTemplate, LineTemplate
from stages.domain.schema import Key, Strict

Scalar = int | float | str | bool | None
#: What a study says once: the same for every run, or different between runs, but known before it starts.
PLAIN_NAMES = frozenset(
    {"seed", "budget_seconds", "config", "host", "rung", "last", "threads", "gpus", "device", "precision"}
)
#: Paths of the machine that trains.
PATH_NAMES = frozenset({"out", "scratch", "data", "spec"})
NAMES = PLAIN_NAMES | PATH_NAMES
WITH = "with."
#: What a configuration says of its version of `runner.candidate`. The digest is that of `files.digest_of`.
CANDIDATE_KNOBS = frozenset({"commit", "sha256"})
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class BadWord(ValueError):
    """A word of a command whose names or braces are wrong."""


def names_in(word: str) -> list[str]:
    """The names that a word of a command uses, in order. `BadWord` for a single brace."""
    names: list[str] = []
    for match in _FIELD.finditer(word):
        if match[0] in ("{", "}"):
            raise BadWord(f"{match[0] * 2} for a brace that is meant as itself, not a single {match[0]}")
        if match[1] is not None:
            names.append(match[1])
    return names


def render_value(value: Scalar) -> str:
    """A value as a word of a command: text as it is, true and false in lower case, numbers as Python writes them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def fill(word: str, values: Mapping[str, Scalar], keep: Iterable[str] = ()) -> str:
    """The word with its names replaced. Those in `keep` stay, and so do doubled braces: the result is filled again."""
    kept = frozenset(keep)

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0] if kept else match[0][0]
        if match[1] in kept:
            return match[0]
        text = render_value(values[match[1]])
        return text.replace("{", "{{").replace("}", "}}") if kept else text

    return _FIELD.sub(replace, word)


def _word(text: str) -> str:
    names_in(text)
    if "\0" in text:
        raise ValueError("a word without NUL")
    return text


def _template(text: str) -> str:
    LineTemplate.parse(text)
    return text


def _template_with(*wanted: str) -> Any:
    """A line template that captures exactly these numbers; those that end with '?' may be absent."""
    optional = {name[:-1] for name in wanted if name.endswith("?")}
    required = [name for name in wanted if not name.endswith("?")]

    def check(text: str | None) -> str | None:
        if text is None:
            return None
        names = LineTemplate.parse(text).names
        missing = [name for name in required if name not in names]
        unknown = [name for name in names if name not in required and name not in optional]
        if missing:
            raise BadTemplate(f"a line template with {{{missing[0]}}}, the number that it is to find")
        if unknown:
            raise BadTemplate(f"{{*}} for what is not wanted: nothing reads {{{unknown[0]}}}")
        return text

    return AfterValidator(check)


Word = Annotated[str, Field(max_length=4000), AfterValidator(_word)]
Command = Annotated[list[Word], Field(min_length=1, max_length=500)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
Marker = Annotated[str, _template_with()]


class Score(Strict):
    """What a run is judged by: a number, lower is better, in a line of the output or in a JSON file."""

    name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$", description="What pages, tables and messages call it."),
    ]
    unit: Annotated[str, Field(max_length=40, description="What it is counted in, such as `nats/token`.")] = ""
    line: Annotated[
        str | None,
        Field(description="A line template with `{score}`. The last line that matches counts."),
        _template_with("score"),
    ] = None
    json_: Annotated[
        Word | None, Field(alias="json", description="A JSON file that the trainer writes, such as `{out}/meta.json`.")
    ] = None
    key: Annotated[
        str | None,
        Field(
            pattern=r"^[^.]+(\.[^.]+){0,9}$",
            max_length=200,
            description="Where the score stands in that file; keys joined by dots.",
        ),
    ] = None
    resolution: Annotated[
        float | None,
        Field(ge=0.000001, le=1000, description="Scores closer than this are ties: `0.001` for three decimals."),
    ] = None
    lower_is_better: Annotated[
        bool, Field(description="Only `true`: of what is to be maximised, print the loss or the negative.")
    ] = True

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if not self.lower_is_better:
            raise ValueError(
                "a score of which less is better; print the loss, or the negative of what is to be maximised"
            )
        if (self.line is None) == (self.json_ is None):
            raise ValueError("either line, a line template with {score}, or json with its key")
        if (self.json_ is None) != (self.key is None):
            raise ValueError("json and key together: the file, and where the score stands in it")
        return self


class Timeout(Strict):
    """A run may take `times` x its budget and `plus_seconds` of wall time, start-up and evaluation included."""

    times: Annotated[float, Field(ge=1, le=1000, description="How many budgets.")] = 2.0
    plus_seconds: Annotated[float, Field(ge=0, le=30 * 86400, description="Seconds on top of them.")] = 300.0

    def seconds(self, budget: float) -> float:
        """The limit on the wall clock for a run with this budget."""
        return self.times * budget + self.plus_seconds


class CommandSettings(Strict):
    """A trainer that is a program of its own (docs/your-trainer.md)."""

    kind: Literal["command"]
    files: Annotated[
        list[RelativePath],
        Field(min_length=1, max_length=1000, description="The trainer's files; their digest is the fixed runner."),
    ]
    candidate: Annotated[
        list[RelativePath] | None,
        Field(
            min_length=1,
            max_length=20,
            description="Files of which every configuration is a version in git: its `commit`, and their `sha256`.",
        ),
    ] = None
    command: Annotated[
        Command, Field(description="The program and its arguments, one a word, with `{names}`. It meets no shell.")
    ]
    folder: Annotated[
        RelativePath | None,
        Field(description="The working directory, for a trainer that opens its own files from there; none: the root."),
    ] = None
    env: Annotated[
        dict[Variable, Word],
        Field(default_factory=dict, description="Variables that the trainer finds, with `{names}`."),
    ]
    inherit: Annotated[
        list[Variable],
        Field(max_length=100, default_factory=list, description="Variables that are passed on; no value is recorded."),
    ]
    probe: Annotated[
        Command | None, Field(description="A command that prints versions as `name: value` lines, before every run.")
    ] = None
    score: Annotated[Score, Field(description="What a run is judged by.")]
    facts: Annotated[
        dict[Key, Annotated[str, _template_with("value")]],
        Field(max_length=50, default_factory=dict, description="Line templates with `{value}`, by name."),
    ]
    progress: Annotated[
        str | None,
        Field(description="A line template with `{step}`, and `{loss}`, `{tokens}` or `{seconds}`: the curve."),
        _template_with("step", "loss?", "tokens?", "seconds?"),
    ] = None
    diverged: Annotated[
        list[Marker],
        Field(max_length=50, default_factory=list, description="Line templates that say that a run diverged."),
    ]
    failed: Annotated[
        list[Marker], Field(max_length=50, default_factory=list, description="Line templates that say that it failed.")
    ]
    timeout: Annotated[Timeout, Field(default_factory=Timeout, description="How long a run may take.")]

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        for key in ("files", "inherit"):
            values = getattr(self, key)
            if twice := sorted({value for value in values if values.count(value) > 1}):
                raise ValueError(f"each of {key} once, but {twice[0]!r} stands there more than once")
        if both := sorted(set(self.files) & set(self.candidate or [])):
            raise ValueError(f"{both[0]} either in files, the same for all, or in candidate")
        if both := sorted(set(self.env) & set(self.inherit)):
            raise ValueError(f"{both[0]} either in env or in inherit")
        if at_root := [path for path in self.files if "/" not in path and path.endswith(".py")]:
            raise ValueError(
                f"the trainer in a folder of its own, not {at_root[0]!r} at the root: Python looks there first, and "
                "could import it in the place of a module of this project"
            )
        return self

    @property
    def words(self) -> list[str]:
        """Every word that may use names: those of the command, the variables' values, and the path of the score."""
        return [*self.command, *self.env.values(), *([self.score.json_] if self.score.json_ else [])]

    @property
    def names(self) -> set[str]:
        """Every name that is used."""
        return {name for word in self.words for name in names_in(word)}


def find_problems(
    settings: CommandSettings,
    configs: Mapping[str, Mapping[str, Scalar]],
    options: Mapping[str, Mapping[str, Scalar]],
    clock: str,
) -> list[str]:
    """What does not fit between the command, the configurations' knobs, the rungs' `with` and the clock.

    `options`: the `with` of every rung. Each problem begins with its place in params.yaml.
    """
    used = settings.names
    has_spec = "spec" in used
    problems: list[str] = []
    if "seed" not in used and not has_spec:
        problems.append("runner.command: found no {seed}; a trainer that cannot be given a seed shows no seed luck")
    if settings.candidate:
        problems += _find_bad_candidates(configs)
    knobs = {knob for values in configs.values() for knob in values}
    for knob in sorted(knobs & NAMES):
        problems.append(f"configs: the knob {knob} has the name of something else; call it otherwise")
    for name in sorted(used - NAMES):
        problems += _find_unknown(name, configs, options)
    problems += [
        f"configs: the knob {knob} is used nowhere in runner.command or runner.env, so it would change nothing"
        for knob in sorted(knobs - used - NAMES - (CANDIDATE_KNOBS if settings.candidate else frozenset()))
        if not has_spec
    ]
    given = {key for values in options.values() for key in values}
    problems += [
        f"rungs: with.{key} is used nowhere in runner.command or runner.env"
        for key in sorted(given)
        if WITH + key not in used and not has_spec
    ]
    if clock == "rated":
        problems.append("clock.kind: found rated, which needs the built-in runner; expected wall or given")
    elif not has_spec and "budget_seconds" not in used and not any(name.startswith(WITH) for name in used):
        hint = "{budget_seconds}" if clock == "wall" else "{with.steps} or the like"
        problems.append(f"runner.command: nothing in it says how long to train; use {hint}")
    return problems


def _find_bad_candidates(configs: Mapping[str, Mapping[str, Scalar]]) -> list[str]:
    """What keeps a configuration from being a version of `runner.candidate`, and which two are one."""
    problems: list[str] = []
    first_with: dict[str, str] = {}
    whole = "the whole id of a commit, as `git rev-parse` prints it, in quotes"  # a short one may come to mean two
    for config, knobs in configs.items():
        for knob, pattern, what in (("commit", _COMMIT, whole), ("sha256", _SHA256, "64 hexadecimal digits in quotes")):
            value = knobs.get(knob)
            if value is not None and not (isinstance(value, str) and pattern.fullmatch(value)):
                problems.append(f"configs.{config}.{knob}: found {value!r}, expected {what}")
        if knobs.get("commit") is None:
            problems.append(f"configs.{config}.commit: missing; it names the version of runner.candidate")
        twin = first_with.setdefault(repr(sorted((key, knobs[key]) for key in knobs if key != "commit")), config)
        if twin != config and knobs.get("sha256"):
            problems.append(f"configs.{config}: the same files as {twin}; remove one of them")
    return problems


def _find_unknown(
    name: str, configs: Mapping[str, Mapping[str, Scalar]], options: Mapping[str, Mapping[str, Scalar]]
) -> list[str]:
    if name.startswith(WITH):
        key = name.removeprefix(WITH)
        return [
            f"rungs.{rung}.with: {key} is missing, but runner.command uses {{{name}}}"
            for rung, values in options.items()
            if key not in values
        ]
    missing = [config for config, knobs in configs.items() if name not in knobs]
    if len(missing) == len(configs):
        known = ", ".join(sorted(NAMES))
        return [f"runner.command: {{{name}}} is no knob of the configurations, no with.X and none of {known}"]
    return [f"configs.{config}: {name} is missing, but runner.command uses {{{name}}}" for config in missing]


def _kind_of(value: Any) -> str:
    kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return "command" if kind == "command" else "builtin"


def _to_plain(value: Any) -> dict[str, Any]:
    if isinstance(value, CommandSettings):
        plain: dict[str, Any] = value.model_dump(mode="json", by_alias=True, exclude_none=True)
        return plain
    return dict(value)


if TYPE_CHECKING:
    RunnerSection = dict[str, Any]
else:
    #: The section as plain JSON: that of the built-in runner as it was written, that of a command with its defaults.
    RunnerSection = Annotated[
        Annotated[dict[str, Scalar], Tag("builtin")] | Annotated[CommandSettings, Tag("command")],
        Discriminator(_kind_of),
        AfterValidator(_to_plain),
        PlainSerializer(dict, return_type=dict[str, Any]),
    ]
