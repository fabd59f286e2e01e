"""What the dvc.yaml at the root of a study says in this version of the project, and how another one differs from it.

    compare_root(value, own)        the differences, each with its stage and item

The text itself is of the root, and no installed package holds it. Its content without descriptions stands in root.json,
which a test holds equal to it (`python -m stages.dvcfiles.root_pipeline` writes it).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.domain import yamlio
from stages.domain.errors import main_guard
from stages.domain.files import write_whole
from stages.domain.names import PARAMS

#: Where the content of dvc.yaml stands, in a study and in this program.
ROOT_JSON = "stages/dvcfiles/root.json"
_INSTALLED = Path(__file__).with_name("root.json")
#: What only changes how the pipeline is shown.
_SHOWN = frozenset({"plots"})
#: Keys of a stage that list things by name.
_LISTS = ("deps", "params", "outs", "metrics", "plots")


@dataclass(frozen=True)
class RootDifference:
    """What another dvc.yaml has otherwise: a stage (empty: none), a key of it, an item of that, and what is found.

    `added` is true for what may be a team's own, because it says nothing of the project's stages.
    """

    stage: str
    key: str
    item: str
    actual: str
    expected: str
    added: bool = False

    @property
    def pointer(self) -> str:
        """Where it stands, as a JSON pointer."""
        return "".join(f"/{part}" for part in (*(("stages", self.stage) if self.stage else ()), self.key) if part)

    def __str__(self) -> str:
        """`ledger: deps without stages/summary`."""
        return f"{self.stage}: {self.actual}" if self.stage else self.actual


def installed_bytes() -> bytes:
    """root.json of this program."""
    return _INSTALLED.read_bytes()


def compare_root(value: Mapping[str, object], own: frozenset[str]) -> Iterator[RootDifference]:
    """Where a dvc.yaml differs from that of this version. `own` are the project's stages: others are not looked at."""
    expected: dict[str, object] = json.loads(installed_bytes())
    stages, should = (_mapping(side.get("stages")) for side in (value, expected))
    for name in sorted(own):
        if name in stages and name in should:
            yield from _compare_stage(name, _mapping(stages[name]), _mapping(should[name]))
        elif name in should:
            yield RootDifference(name, "", "", "no such stage", "the stage")
    for key in sorted((value.keys() | expected.keys()) - {"stages"} - _SHOWN, key=str):
        if key in expected:
            yield from _compare_keys("", key, _mapping(value.get(key)), _mapping(expected[key]))
        else:
            yield RootDifference("", "", str(key), f"a section {key!s:.80}", "no such section", added=key != "vars")


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _compare_stage(name: str, stage: dict[str, object], should: dict[str, object]) -> Iterator[RootDifference]:
    lists = {"desc", *_LISTS}
    plain, expected = ({key: item for key, item in side.items() if key not in lists} for side in (stage, should))
    yield from _compare_keys(name, "", plain, expected)
    for kind in _LISTS:
        yield from _compare_keys(name, kind, _items(stage, kind), _items(should, kind))


def _items(stage: Mapping[str, object], kind: str) -> dict[str, object]:
    """A list of paths or parameters by what it names, with the options of each."""
    listed = stage.get(kind) or []
    items: dict[str, object] = {}
    for item in listed if isinstance(listed, list) else [listed]:
        if not isinstance(item, dict):
            items[str(item)] = {}
        elif kind == "params":
            keys = ((file, key) for file, names in item.items() for key in (names if isinstance(names, list) else []))
            items |= {str(key) if file == PARAMS.as_posix() else f"{file}:{key}": {} for file, key in keys}
        else:
            items |= {str(path): options for path, options in item.items()}
    return items


def _compare_keys(
    stage: str, key: str, value: Mapping[str, object], expected: Mapping[str, object]
) -> Iterator[RootDifference]:
    head = f"{key} " if key else ""
    for item in sorted(expected.keys() - value.keys()):
        yield RootDifference(stage, key, item, f"{head}without {item}", item)
    for item in sorted(value.keys() & expected.keys()):
        if value[item] != expected[item]:
            actual = f"{head}{item}: {value[item]!r:.120}"
            yield RootDifference(stage, key, item, actual, f"{expected[item]!r:.120}")
    for item in sorted(value.keys() - expected.keys(), key=str):
        yield RootDifference(stage, key, str(item), f"{head}with {item!s:.120}", "no such item", added=not stage)


def dump_content(pipeline: bytes) -> bytes:
    """The content of a dvc.yaml without descriptions, as root.json holds it."""
    value = yamlio.loads(pipeline, "dvc.yaml")
    stages = value.get("stages")
    assert isinstance(stages, dict)
    kept = {name: {key: item for key, item in stage.items() if key != "desc"} for name, stage in stages.items()}
    content = {**{key: item for key, item in value.items() if key not in _SHOWN}, "stages": kept}
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode("ascii")


def main() -> None:
    """Write root.json anew."""
    write_whole(Path(ROOT_JSON), dump_content(Path("dvc.yaml").read_bytes()))


if __name__ == "__main__":
    main_guard(main)
