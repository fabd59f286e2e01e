"""Rule locks: what was frozen before the evidence, and proof that it was not changed since.

`locks/gateN.yaml` holds, under `frozen`, everything that decides a gate: its rules, the roles, the rung with its
budget and seeds, the clock, the hosts, the digests of the runner and of the corpus, the digest of the previous
gate's lock, and every amendment ever made. The first gate's lock also holds every configuration that may enter, and so,
through the chain, do all. `digest` is the SHA-256 of the canonical JSON of `frozen`. Every record of that rung carries
this digest.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from ruamel.yaml import YAML

from stages.domain import canonical, names, yamlio
from stages.domain.canonical import JsonObject
from stages.domain.command import RunnerSection
from stages.domain.errors import Invalid
from stages.domain.factors import Factors
from stages.domain.origin import Origin
from stages.domain.rules import Gate
from stages.domain.schema import GateName, Key, RungName, Sha256, Strict, Text, parse
from stages.domain.study import Clock, Host, Scalar, Seed, Study

SCHEMA = 1
Change = JsonObject


class Amendment(Strict):
    """A change of a lock after evidence of its rung existed: why, what it replaced, and what changed."""

    reason: Annotated[Text, Field(min_length=1)]
    replaces: Sha256
    changed: dict[str, dict[Literal["was", "is"], Any]]


class Frozen(Strict):
    """What a lock freezes. Its canonical JSON is what is hashed."""

    study: Key
    gate: GateName
    rung: RungName
    rules: Gate
    roles: dict[Key, Key]
    budget_seconds: Annotated[float, Field(gt=0)]
    seeds: Annotated[list[Seed], Field(min_length=1)]
    floor_seeds: list[Seed]
    earlier_seeds: list[Seed]
    clock: Clock
    hosts: Annotated[dict[Key, Host], Field(min_length=1)]
    settings: RunnerSection
    #: What a command is given at this rung. Absent where it is given nothing, so that older locks keep their bytes.
    with_: Annotated[dict[Key, Scalar], Field(alias="with", default_factory=dict, exclude_if=lambda value: not value)]
    #: The configurations and their knobs, at the first gate; None at later ones, to which the gate before promotes.
    configs: dict[Key, dict[str, Scalar]] | None
    #: What the study goes on from, at the first gate. Absent where it is nothing, so that older locks keep their bytes.
    from_: Annotated[Origin | None, Field(alias="from", default=None, exclude_if=lambda value: value is None)]
    #: What a screening study varies, at the first gate. Absent where it is none, so that older locks keep their bytes.
    factors: Annotated[Factors | None, Field(default=None, exclude_if=lambda value: value is None)]
    last: bool
    runner: Sha256
    corpus: Sha256
    previous: Sha256 | None
    amendments: list[Amendment]

    def to_json(self) -> JsonObject:
        """The mapping that is hashed and written."""
        return self.model_dump(by_alias=True)


class Lock(Strict):
    """One locks/gateN.yaml."""

    schema_: Annotated[int, Field(alias="schema")]
    frozen: Frozen
    digest: Sha256


class LockRefused(Invalid):
    """A lock that is missing, edited, of another schema, or not what params.yaml says."""


def frozen_of(study: Study, gate: str, *, runner: str, corpus: str, previous: str | None) -> Frozen:
    """What would be frozen for a gate now, with no amendments."""
    rung = names.rung_of(gate)
    order = list(study.rungs)
    earlier = [study.rungs[name] for name in order[: order.index(rung)]]
    declared = study.rungs[rung]
    words: dict[str, Any] = {"with": declared.with_, "from": None if earlier else study.study.from_}  # Python's own
    return Frozen(
        study=study.study.name,
        gate=gate,
        rung=rung,
        rules=study.gates[gate],
        roles=study.roles,
        budget_seconds=float(declared.budget_seconds),
        seeds=declared.seeds,
        floor_seeds=declared.floor_seeds,
        earlier_seeds=sorted(seed for other in earlier for seed in (*other.seeds, *other.floor_seeds)),
        clock=study.clock,
        hosts=study.hosts,
        settings=study.runner,
        **words,
        configs=None if earlier else study.configs,
        factors=None if earlier else study.factors,
        last=rung == study.last_rung,
        runner=runner,
        corpus=corpus,
        previous=previous,
        amendments=[],
    )


def digest_of(frozen: Frozen) -> str:
    """The SHA-256 that the lock states and the records carry."""
    return canonical.sha256(frozen.to_json())


def dumps(frozen: Frozen) -> bytes:
    """The bytes of locks/gateN.yaml: sorted, so that the same rules are the same file."""
    yaml = YAML(typ="rt")
    yaml.width = 4096
    yaml.default_flow_style = False
    yaml.representer.sort_base_mapping_type_on_output = False
    body = {"schema": SCHEMA, "digest": digest_of(frozen), "frozen": _sorted(frozen.to_json())}
    text = io.StringIO()
    yaml.dump(body, text)
    head = (
        f"# The rules of {frozen.gate}, frozen before the evidence of {frozen.rung}. "
        "Written by `promotion freeze`; an edit is\n"
        "# noticed by every run, gate and `promotion verify`: change params.yaml and freeze again instead.\n"
    )
    return (head + text.getvalue()).encode("utf-8")


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=_natural)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _natural(key: str) -> tuple[int, int, str]:
    """R2 before R10, as people read them; the digest sorts for itself."""
    number = key[1:] if key.startswith("R") else ""
    return (0, int(number), key) if number.isdigit() else (1, 0, key)


def loads(data: bytes, where: str) -> Lock:
    """A lock from its bytes; `LockRefused` says what is wrong: schema, shape, digest, gate."""
    try:
        value = yamlio.loads(data, where)
    except yamlio.BadYaml as error:
        raise LockRefused(str(error), *error.mistakes) from None
    schema = value.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise LockRefused.at(
            where, f"found {schema}, expected at most {SCHEMA}; update staged-promotion to read it", "schema"
        )
    try:
        lock = parse(Lock, value, where)
    except Invalid as error:
        raise LockRefused(str(error), *error.mistakes) from None
    if lock.schema_ != SCHEMA:
        raise LockRefused.at(where, f"found {lock.schema_}, expected {SCHEMA}", "schema")
    try:
        actual = digest_of(lock.frozen)
    except canonical.NotCanonical as error:
        raise LockRefused.at(where, str(error), "frozen") from None
    if actual != lock.digest:
        raise LockRefused.at(
            where,
            f"found {lock.digest}, expected {actual}, that of `frozen`: the lock was edited; "
            f"`git checkout -- {where}` brings it back",
            "digest",
        )
    return lock


def read(gate: str, root: Path = Path()) -> Lock | None:
    """The lock of a gate in the workspace, or None where there is none."""
    path = names.lock_path(gate)
    if not (root / path).is_file():
        return None
    lock = loads((root / path).read_bytes(), path.as_posix())
    for key, actual, expected in (("gate", lock.frozen.gate, gate), ("rung", lock.frozen.rung, names.rung_of(gate))):
        if actual != expected:
            raise LockRefused.at(path.as_posix(), f"found {actual}, expected {expected}", f"frozen.{key}")
    return lock


def difference(was: Frozen | Mapping[str, Any], now: Frozen | Mapping[str, Any]) -> Change:
    """What differs, by dotted path: {path: {was, is}}. Amendments are history and do not count.

    Either may be the plain mapping of a lock that another version of this program wrote.
    """
    before, after = (dict(side.to_json() if isinstance(side, Frozen) else side) for side in (was, now))
    before.pop("amendments", None)
    after.pop("amendments", None)
    return dict(_compare("", before, after))


def _compare(path: str, was: Any, now: Any) -> Iterator[tuple[str, JsonObject]]:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted({*was, *now}):
            yield from _compare(f"{path}.{key}" if path else key, was.get(key), now.get(key))
    elif was != now or type(was) is not type(now):
        yield path, {"was": was, "is": now}


#: Sections of a lock whose changes are never counted instead of shown: they say who goes on, and on what evidence.
#: The first ones first.
_DECISIVE = (
    *("rules", "hosts", "seeds", "floor_seeds", "budget_seconds", "roles", "corpus"),
    *("runner", "clock", "settings", "with", "from", "rung", "study"),
)
_SHOWN = 60


def tell_briefly(change: Change, most: int = 6) -> str:
    """A difference in one line: `rules.R2.k 1 -> 2, seeds [3, 4] -> [5]`, and how many places more there are.

    What decides comes first, and all of it: rules, hosts, seeds, budgets, roles, data, and which configurations there
    are. Only of the rest, such as knobs, no more than `most` are shown.
    """
    decisive = sorted((path for path, both in change.items() if _is_decisive(path, both)), key=_rank)
    counted = set(decisive)
    rest = [path for path in change if path not in counted]
    shown = [*decisive, *rest[: max(most - len(decisive), 0)]]
    places = [f"{path} {_tell_values(change[path])}" for path in shown]
    more = [f"{len(change) - len(shown)} places more"] if len(shown) < len(change) else []
    return ", ".join([*places, *more]) or "nothing"


def _is_decisive(path: str, both: JsonObject) -> bool:
    section, _, inside = path.partition(".")
    whole = section == "configs" and "." not in inside and None in (both["was"], both["is"])
    return section in _DECISIVE or whole


def _rank(path: str) -> int:
    section = path.partition(".")[0]
    return _DECISIVE.index(section) if section in _DECISIVE else len(_DECISIVE)


def _tell_values(both: JsonObject) -> str:
    """What was and is. Of a long list what went and came, of another long value the place where the two differ."""
    was, now = both["was"], both["is"]
    before, after = ("none" if value is None else repr(value) for value in (was, now))
    if max(len(before), len(after)) <= _SHOWN:
        return f"{before} -> {after}"
    if isinstance(was, list) and isinstance(now, list):
        gone, come = ({repr(item): None for item in side} for side in (was, now))
        sides = {"without": [key for key in gone if key not in come], "with": [key for key in come if key not in gone]}
        if any(sides.values()):
            return ", ".join(f"{word} {', '.join(items)}" for word, items in sides.items() if items)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    return f"{_shorten(before, same)} -> {_shorten(after, same)}"


def _shorten(text: str, same: int) -> str:
    """A text of at most `_SHOWN` letters, in which those stand that follow `same` ones."""
    start = max(same - _SHOWN // 3, 0) if len(text) > _SHOWN and same > _SHOWN // 2 else 0
    text = f"...{text[start:]}" if start else text
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def tell(change: Change) -> str:
    """A difference as indented lines for an error message."""
    return "\n".join(f"  {path}: frozen {both['was']!r}, now {both['is']!r}" for path, both in change.items())
