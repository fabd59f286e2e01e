"""Do the tests notice? Small changes of the code, drawn at random, each tried against the tests that run its line.

    make mutants SEED=1                                     100 mutants, as many of each folder as of any other
    python -m bench.mutants --seed 1 --count 12 --rooms stages/domain stages/repo
    python -m bench.mutants --seed 2 --map FOLDER           uses the map of another seed again

A mutant is one change of one node of a module's syntax: a comparison turned, a number one larger, `and` for `or`, a
condition negated, a `return` of None, a statement left out (`bench.mutations`). It is made in a clone of what git has
of HEAD, never in the working tree.

First the quick tests of the module's name are tried, in forks of one process that has imported all tests
(`bench.forked_tests`; systems that do not fork start a process for each mutant). For what they let pass the quick tests
run once under coverage.py, which notes the lines that each test runs (`bench.coverage_map`; as long as the suite, or as
the folders of `--tests`). Then the tests that run the changed line are tried, those of the module's own name first,
then the quickest, until one fails or all have passed. At last the changed module is written into the clone, for what
runs in programs of its own: the tests of the module's name follow, slow ones included, and those of the whole protocol
through DVC, with a study that the changed code runs. What still passes is a survivor. So a mutant that only another
slow test would notice counts as one: the score is a lower bound. Other tests copy a study that was run with the
unchanged code; where such a test fails, it must fail with a study of its own too.

Prints the score of each folder and every survivor. With `--out FILE` each outcome is a line of JSON at once, and a
mutant that stands there is not tried again.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import multiprocessing
import os
import random
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.coverage_map import QUICK, SMOKE, CoverageMap, read_map, record_map
from bench.forked_tests import FORKS, ForkedTests, enter_clone
from bench.mutations import Mutant, mutants_of, room_of

ROOTS = ("stages", "report", "trainer")
#: Seconds for one process of tests: a mutant that loops for ever is killed by the limit.
LIMIT_SECONDS = 900
#: Seconds (as measured under coverage.py) of the tests that are tried first and of those that follow.
BATCHES = (30.0, 300.0)
#: Seconds of a test that others of any name go before.
SLOW_SECONDS = 3.0
#: What pytest ends with where all tests pass, where it does not know one of them, and where there is none.
_PASSED = (0, 4, 5)
_FAILURE = re.compile(r"^(?:(?:FAILED|ERROR) (.*?)(?: - |$)|ImportError while loading conftest)", re.MULTILINE)
#: What most tests import; a process that has it already starts the tests of every mutant, in a fraction of the time.
_PRELOADED = ("pytest", "hypothesis", "pydantic", "ruamel.yaml", "rich", "scipy.stats", "jinja2", "psutil",
              "plotly.graph_objects", "dvc.repo", "torch")  # fmt: skip
#: Rooms of tests that copy the shared study.
_SHARING = tuple(f"tests/{room}/" for room in ("verify", "pipeline", "hosts", "repo", "dvcfiles", "commands"))
#: The whole protocol through DVC, in programs that no map sees.
PIPELINE = "tests/pipeline/test_smoke.py"


def draw(root: Path, seed: int, count: int, rooms: Sequence[str]) -> list[Mutant]:
    """So many mutants, as many of each room as of any other, the same ones for the same seed and code."""
    by_room: dict[str, list[Mutant]] = defaultdict(list)
    for path in sorted(path for top in ROOTS for path in (root / top).rglob("*.py")):
        room = room_of(path.relative_to(root))
        if not rooms or room in rooms:
            by_room[room] += mutants_of(path, root)
    chance = random.Random(seed)
    for mutants in by_room.values():
        chance.shuffle(mutants)
    drawn: list[Mutant] = []
    while len(drawn) < count and any(by_room.values()):
        for room in sorted(by_room):
            while by_room[room] and len(drawn) < count:
                mutant = by_room[room].pop()
                if _parses(mutant.source):
                    drawn.append(mutant)
                    break
    return drawn


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def select_tests(mutant: Mutant, tests: CoverageMap) -> list[list[str]]:
    """The tests that run the changed lines, in the batches in which they are tried; empty where none does.

    Those of the module's own name come first, then the quickest; behind them those that take more than a moment.
    """
    lines = tests.get(mutant.path, {})
    seconds = {test: time for line in range(mutant.line, mutant.last_line + 1) for test, time in lines.get(line, ())}
    own = f"{Path(mutant.path).parent.name}/test_{Path(mutant.path).stem}.py"
    left = sorted(seconds, key=lambda test: (seconds[test] > SLOW_SECONDS, own not in test, seconds[test]))
    batches = []
    for most in BATCHES:
        total, batch = 0.0, []
        while left and (not batch or total + seconds[left[0]] <= most):
            total += seconds[left[0]]
            batch.append(left.pop(0))
        batches.append(batch)
    return [batch for batch in batches if batch]


def name_tests(mutant: Mutant, root: Path) -> list[str]:
    """The files of tests with the name of the module, in its room if there are some, or else of its folder."""
    path = Path(mutant.path)
    for folder, name in ((path.parent.name, path.stem), ("", path.stem), ("", path.parent.name)):
        if files := sorted((root / "tests" / folder).rglob(f"test_{name}.py")):
            return [file.relative_to(root).as_posix() for file in files]
    return []


@dataclass(frozen=True)
class Clone:
    """Where mutants are made: a clone, and the environment of its tests."""

    root: Path
    environment: dict[str, str]

    def fails(self, words: Sequence[str]) -> str | None:
        """The first of these tests that fails; None where all pass. A test that never ends fails."""
        log = self.root.parent / "pytest.log"
        log.unlink(missing_ok=True)
        processes = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
        with contextlib.suppress(AttributeError):
            processes.set_forkserver_preload(list(_PRELOADED))
        process = processes.Process(target=run_pytest, args=(self.root, self.environment, list(words), log))
        process.start()
        process.join(LIMIT_SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
            return f"no end in {LIMIT_SECONDS} s"
        output = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        if failed := _FAILURE.search(output):
            return failed[1] or "the import of what all tests share"
        if process.exitcode not in _PASSED:  # no test has failed, so nothing is known of the mutant
            raise RuntimeError(f"pytest ended with {process.exitcode} and names no test: {output[-2000:]}")
        return None

    def confirm_failure(self, words: Sequence[str]) -> str | None:
        """The same. Where the study that tests share may be the reason, the test fails with one of its own too.

        Verification compares the code here with the code that ran, so to some tests any change at all is another code.
        """
        failed = self.fails(words)
        if failed is None or not failed.startswith(_SHARING) or SMOKE not in self.environment:
            return failed
        return self.without_smoke().fails([failed])

    def without_smoke(self) -> Clone:
        """The same where tests run a study of their own, with the code as it is now."""
        return Clone(self.root, {name: value for name, value in self.environment.items() if name != SMOKE})

    def find_killer(
        self, mutant: Mutant, tests: CoverageMap | None = None, forked: ForkedTests | None = None
    ) -> str | None:
        """The test that fails where the mutant stands in the place of its module.

        Without a map, of the quick tests that have the module's name. What can run in forks does, where there are some.
        """
        named = name_tests(mutant, self.root)
        batches = [named] if tests is None else select_tests(mutant, tests)
        if forked is not None:
            for batch in batches:
                if killer := forked.fails(mutant, batch):
                    return killer
            return self._find_killer_on_disk(mutant, [named], whole_protocol=True) if tests is not None else None
        if tests is None:
            return self._find_killer_on_disk(mutant, [[*QUICK, *named]] if named else [], whole_protocol=False)
        return self._find_killer_on_disk(mutant, [*batches, named], whole_protocol=True)

    def _find_killer_on_disk(self, mutant: Mutant, batches: list[list[str]], *, whole_protocol: bool) -> str | None:
        path = self.root / mutant.path
        whole = path.read_bytes()
        path.write_text(mutant.source, encoding="utf-8", newline="\n")
        forget_compiled(path)
        try:
            killer = next(filter(None, map(self.confirm_failure, filter(None, batches))), None)
            if killer is None and whole_protocol and (self.root / PIPELINE).exists():
                killer = self.without_smoke().fails([PIPELINE])
            return killer
        finally:
            path.write_bytes(whole)
            forget_compiled(path)


def forget_compiled(path: Path) -> None:
    """Remove what Python compiled of a module: it goes by seconds, and a mutant may last less."""
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def run_pytest(root: Path, environment: dict[str, str], words: list[str], log: Path) -> None:
    """The whole life of a process that runs some tests of a clone; it ends with pytest's exit status."""
    enter_clone(root, environment, log)
    import pytest

    sys.exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *words])))


def make_clone(root: Path, folder: Path) -> Clone:
    """A clone of HEAD, with a smoke study that its tests copy."""
    target = folder / "clone"
    subprocess.run(["git", "clone", "-q", str(root), str(target)], check=True)
    smoke = folder / "smoke"
    environment = {**os.environ, "PYTHONPATH": str(target), SMOKE: str(smoke)}
    run_smoke = "import sys, pathlib; from tests.conftest import build_smoke; build_smoke(pathlib.Path(sys.argv[1]))"
    words = [sys.executable, "-c", run_smoke, str(smoke)]
    subprocess.run(words, cwd=target, env=environment, check=True, capture_output=True)
    return Clone(target, environment)


def main() -> None:
    """Draw, try, and print the scores and the survivors."""
    parser = argparse.ArgumentParser(prog="python -m bench.mutants", description="Try the tests on changed code.")
    parser.add_argument("--seed", type=int, default=0, help="which mutants are drawn (%(default)s)")
    parser.add_argument("--count", type=int, default=100, help="how many (%(default)s)")
    parser.add_argument("--rooms", nargs="*", default=[], metavar="FOLDER", help="such as stages/domain; default: all")
    parser.add_argument("--tests", nargs="*", default=[], metavar="FOLDER", help="such as tests/hosts; default: all")
    parser.add_argument("--map", type=Path, metavar="FOLDER", help="keep the clone and the map of its tests here")
    parser.add_argument("--out", type=Path, metavar="FILE", help="add each outcome here, as a line of JSON")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = arguments.map or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mutants-")))
        outcomes = try_mutants(folder.absolute(), arguments)
    print_scores(outcomes)


def try_mutants(folder: Path, arguments: argparse.Namespace) -> list[tuple[Mutant, str | None]]:
    """Each mutant that is drawn, with the test that fails."""
    root, maps = Path.cwd(), folder / "map"
    ready = folder / "ready"
    if not ready.exists():
        make_clone(root, folder)
        maps.mkdir()
        ready.touch()
    target = folder / "clone"
    clone = Clone(target, {**os.environ, "PYTHONPATH": str(target), SMOKE: str(folder / "smoke")})
    known: dict[str, str | None] = {}
    if arguments.out and arguments.out.exists():
        rows = map(json.loads, arguments.out.read_text(encoding="utf-8").splitlines())
        known = {row["mutant"]: row["killer"] for row in rows}

    def note(mutant: Mutant, killer: str | None) -> None:
        known[mutant.key] = killer
        print(f"{f'killed by {killer}' if killer else 'SURVIVED'}: {mutant.path}:{mutant.line}", flush=True)
        if arguments.out:
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"mutant": mutant.key, "killer": killer}) + "\n")

    drawn = draw(target, arguments.seed, arguments.count, arguments.rooms)
    with ForkedTests(target, clone.environment, LIMIT_SECONDS) if FORKS else contextlib.nullcontext() as forked:
        for mutant in drawn:
            if mutant.key not in known and (killer := clone.find_killer(mutant, None, forked)):
                note(mutant, killer)
        if left := [mutant for mutant in drawn if mutant.key not in known]:
            record_map(target, clone.environment, maps, arguments.tests)
            tests = read_map(target, maps)
            for mutant in left:
                note(mutant, clone.find_killer(mutant, tests, forked))
    return [(mutant, known[mutant.key]) for mutant in drawn]


def print_scores(outcomes: Sequence[tuple[Mutant, str | None]]) -> None:
    """The score of each folder and of all, and every survivor."""
    rooms: dict[str, list[bool]] = defaultdict(list)
    for mutant, killer in outcomes:
        rooms[mutant.room].append(killer is not None)
        rooms["in all"].append(killer is not None)
    for room, killed in sorted(rooms.items(), key=lambda pair: (pair[0] == "in all", pair[0])):
        print(f"{room}: {sum(killed)} of {len(killed)} killed")
    for mutant, killer in outcomes:
        if killer is None:
            print(f"\nsurvived: {mutant.path}:{mutant.line}\n- {mutant.before}\n+ {mutant.after}")


if __name__ == "__main__":
    main()
