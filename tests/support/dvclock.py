"""The dvc.yaml and dvc.lock files of a synthetic study, as DVC would write them, without running DVC.

    python -m tests.support.dvclock FOLDER [CONFIGS] [SEEDS]       a whole committed repository

Ten thousand stages take DVC hours and this a few seconds, so that `promotion verify` can be measured on them. A test holds
the locks of a small study equal to those of the real `dvc commit`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any
from unittest import mock

from stages import ledger, winner
from stages.confidence import stored
from stages.domain import canonical, files, names, yamlio
from stages.domain.contract import ClosedContract
from stages.domain.study import parse_study
from stages.dvcfiles.cache import folder_md5
from stages.dvcfiles.pipeline import PlannedStage, fill_templates, parse_templates, root_stages
from stages.rungs import pipeline_files, write_rungs
from tests.support import synthetic
from tests.support.repo import PROJECT, environment

CODE = ("stages", "trainer", "report", "dvc.yaml", ".dvcignore", ".gitignore", ".gitattributes")


def _md5(path: Path) -> tuple[str, int, int | None]:
    """(digest, bytes, number of files) as DVC notes them."""
    if path.is_file():
        data = path.read_bytes()
        return hashlib.md5(data, usedforsecurity=False).hexdigest(), len(data), None
    inside = [
        (one.relative_to(path).as_posix(), one.read_bytes())
        for one in sorted(path.rglob("*"))
        if one.is_file() and "__pycache__" not in one.parts
    ]
    listed = [(name, hashlib.md5(data, usedforsecurity=False).hexdigest()) for name, data in inside]
    return folder_md5(listed), sum(len(data) for _, data in inside), len(inside)


def _value(params: dict[str, Any], key: str) -> Any:
    value: Any = params
    for part in key.split("."):
        value = value[part]
    return value


def _yaml(value: Any, indent: int) -> Iterator[str]:
    """A value in DVC's own YAML, block style, keys in their order."""
    pad = " " * indent
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield f"{pad}{key}:"
            yield from _yaml(item, indent + 2)
        elif isinstance(item, list) and item:
            yield f"{pad}{key}:"
            for one in item:
                lines = list(_yaml(one, indent + 2)) if isinstance(one, dict) else [_scalar(one)]
                yield f"{pad}- {lines[0].strip()}"
                yield from lines[1:]
        else:
            yield f"{pad}{key}: {_scalar(item)}"


def _scalar(item: Any) -> str:
    if isinstance(item, bool) or item is None:
        return {True: "true", False: "false", None: "null"}[item]
    if isinstance(item, str) and (not item or not item[0].isalpha() or ":" in item or "," in item or "?" in item):
        return f"'{item}'"
    return str(item) if not isinstance(item, dict | list) else "{}" if isinstance(item, dict) else "[]"


def _stage(name: str, plan: PlannedStage, told: dict[str, dict[str, Any]], seen: dict[str, Any]) -> Iterator[str]:
    yield f"  {name}:"
    yield f"    cmd: {plan.cmd}"
    for kind, paths in (("deps", plan.deps), ("params", ()), ("outs", plan.outs)):
        if kind == "params":
            yield from ["    params:"] if plan.params else []
            for file, keys in plan.params.items():
                yield f"      {file}:"
                yield from _yaml({key: _value(told[file], key) for key in sorted(keys)}, 8)
            continue
        yield f"    {kind}:"
        for path in sorted(paths):
            if path not in seen:
                seen[path] = _md5(Path(path))
            md5, size, count = seen[path]
            yield f"    - path: {path}"
            yield "      hash: md5"
            yield f"      md5: {md5}"
            yield f"      size: {size}"
            if count is not None:
                yield f"      nfiles: {count}"


def write_locks(rungs: list[str]) -> None:
    """Write the dvc.lock files of rungs of the study in the current folder."""
    study = parse_study(yamlio.read(names.PARAMS, ""), "params.yaml")
    reported, seen = _given(), dict[str, Any]()
    for rung in rungs:
        for file in pipeline_files(study, rung):
            templates = parse_templates(yamlio.loads(file.text.encode(), file.path), file.path)
            _write_lock(Path(file.lock), fill_templates(templates, file.runs), reported, seen)


def write_root_lock(only: tuple[str, ...] | None = None) -> None:
    """Write the dvc.lock at the root of the study in the current folder."""
    plans = root_stages(yamlio.read(Path("dvc.yaml"), ""), "dvc.yaml")
    chosen = {name: plan for name, plan in plans.items() if only is None or name in only}
    _write_lock(Path("dvc.lock"), chosen, _given(), {})


def _given() -> dict[str, dict[str, Any]]:
    """What stages are given as parameters, by file."""
    given = [*names.GATES.glob("*/promotions.json"), *names.PROTOCOL.glob("knobs/*.json")]
    reported = {path.as_posix(): canonical.loads(path.read_bytes()) for path in given}
    return {"params.yaml": yamlio.read(names.PARAMS, ""), **reported}


def _write_lock(path: Path, plans: dict[str, PlannedStage], told: dict[str, dict[str, Any]], seen: Any) -> None:
    lines = ["schema: '2.0'", "stages:"]
    for name, plan in plans.items():
        lines += _stage(name, plan, told, seen)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def build(root: Path, configs: int = 12, seeds: int = 2) -> None:
    """A committed repository with a judged synthetic study: the code and the rules first, then the evidence."""
    build_study(root, synthetic.params(configs, seeds))


def build_study(root: Path, params: dict[str, Any], decided: int | None = None) -> dict[str, bytes]:
    """The same for a study of one's own; with `decided`, as it stands when so many gates are frozen and have decided.

    The locks of the others, by path: what `promotion freeze` would write.
    """
    root.mkdir(parents=True)
    for name in CODE:
        source = PROJECT / name
        ignore = shutil.ignore_patterns("__pycache__", "dvc.lock", "ladder")
        shutil.copytree(source, root / name, ignore=ignore) if source.is_dir() else shutil.copy(source, root / name)
    return add_study(root, params, decided, start=["init", "-q", "-b", "main"])


def add_study(
    root: Path, params: dict[str, Any], decided: int | None = None, start: list[str] | None = None
) -> dict[str, bytes]:
    """The same in a repository that is there already, in the place of the study that it holds."""
    for path in [*root.glob("locks/gate*"), *root.glob("stages/ladder/**/dvc.lock"), root / "dvc.lock"]:
        path.unlink(missing_ok=True)
    for name in ("artifacts", "ledger", "site"):
        shutil.rmtree(root / name, ignore_errors=True)
    with mock.patch.object(synthetic, "RUNNER", files.tree_digest(root / "trainer")):
        study = synthetic.build(root, params)
    with chdir(root):
        write_rungs(study)
        to_come = [rung for rung in study.rungs if decided is not None and names.number_of(rung) > decided]
        held = {path.as_posix(): path.read_bytes() for path in (names.lock_path(names.gate_of(r)) for r in to_come)}
        for rung in to_come:
            _close(rung)
        _keep_weights(study.last_rung)
        _commit(start or [], ["add", "-A", "params.yaml", "locks", *CODE], "Freeze the rules")
        ledger.main()
        write_locks([rung for rung in study.rungs if rung not in to_come])
        if not to_come:
            _after_the_last_gate()
        write_root_lock(("corpus", "protocol", "ledger") if to_come else None)
        _commit([], ["add", "-A"], "The evidence")
    return held


def _close(rung: str) -> None:
    """Leave a rung as it is before its gate is frozen."""
    gate = names.gate_of(rung)
    names.lock_path(gate).unlink()
    files.write_whole(names.PROTOCOL / f"{rung}.json", ClosedContract(rung).to_bytes())
    for folder in (names.RECORDS / rung, names.TRACES / rung, names.GATES / gate):
        shutil.rmtree(folder)


def _keep_weights(rung: str) -> None:
    """Weights that nobody trained, where the runs of the last rung that ran leave theirs."""
    for curve in (names.TRACES / rung).glob("*/*/*/curve.csv"):
        if curve.read_bytes().count(b"\n") > 1:
            (curve.parent / winner.KEPT).write_bytes(f"the weights of {curve.parent.as_posix()}".encode())


def _after_the_last_gate() -> None:
    """A winner as its stage writes it; stand-ins for confidence and site."""
    winner.main()
    for path in (stored.RESULT, stored.METRICS):
        files.write_whole(path, canonical.dumps({}))
    files.write_whole(names.SITE / "index.html", b"<!doctype html>\n")


def _commit(start: list[str], add: list[str], message: str) -> None:
    for words in filter(None, (start, add, ["commit", "-q", "-m", message])):
        subprocess.run(
            ["git", *words], check=True, env={**environment(), "GIT_CONFIG_COUNT": "0"}, stdin=subprocess.DEVNULL
        )


def main() -> None:
    """Build in a folder."""
    build(Path(sys.argv[1]), *(int(one) for one in sys.argv[2:4]))
    print(f"wrote {sys.argv[1]}{os.sep}")


if __name__ == "__main__":
    main()
