"""Turn the log of somebody who edits a trainer, commit by commit, into configurations of a study.

    promotion candidates results.tsv                     print a `configs` section
    promotion candidates results.tsv --write             put it into params.yaml, in the place of the one there
    promotion candidates results.tsv --study mine.yaml --write

The table is that of autoresearch: commit, val_bpb, memory_gb, status (keep, discard or crash) and description, with a
head and tabs between. What was kept becomes a configuration: its commit in full, and the digest of `runner.candidate`
there. Rows that were discarded, that crashed (logged as 0.000000) or that stand above already are left out, and each
is named with the reason. A commit that git does not have is refused with its line: fetch the branch that holds it.
The scores of the table choose nothing: the study measures every configuration anew.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from stages.domain import files, names, yamlio
from stages.domain.command import CommandSettings
from stages.domain.errors import Invalid, Refused
from stages.domain.formatting import count, listed, shortened
from stages.domain.schema import Key, Strict, parse
from stages.repo.git import Git, open_git
from stages.repo.objects import GitRefused
from stages.runners.candidates import CandidateFiles, read_candidate

MAX_BYTES, MAX_ROWS, MAX_CELL = 4 << 20, 10_000, 80
HEAD = ("commit", "val_bpb", "memory_gb", "status", "description")
STATUSES = ("keep", "discard", "crash")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_SECTION = re.compile(r"[^\s#]")


class _Name(Strict):
    name: Key


@dataclass(frozen=True)
class ResultRow:
    """A row of the table: its line, and its cells as they may be shown."""

    line: int
    commit: str
    score: str
    memory: str
    status: str
    description: str

    @property
    def why_left_out(self) -> str:
        """Why no configuration is made of it; empty where one is."""
        if self.status == "crash" or Decimal(self.score) == 0:
            return f"crashed, logged as {self.score}"
        return "discarded" if self.status == "discard" else ""


def read_table(data: bytes, where: str) -> list[ResultRow]:
    """The rows of a table. `Invalid` names every line that is none."""
    if len(data) > MAX_BYTES:
        raise Refused(f"{where}: found {len(data)} bytes, expected at most {MAX_BYTES}")
    lines = data.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").rstrip("\n").split("\n")
    if len(lines) > MAX_ROWS:
        raise Refused(f"{where}: found {len(lines)} lines, expected at most {MAX_ROWS}")
    if tuple(lines[0].split("\t")) != HEAD:
        raise Refused(f"{where}, line 1: found {_clean(lines[0])!r}, expected {' '.join(HEAD)}, with tabs between")
    rows: list[ResultRow] = []
    problems: list[str] = []
    for line, text in enumerate(lines[1:], start=2):
        cells = [_clean(cell) for cell in text.split("\t")]
        problem = _find_bad_cell(cells)
        if problem:
            problems.append(f"{where}, line {line}: {problem}")
        else:
            rows.append(ResultRow(line, *cells))
    _refuse(problems)
    return rows


def _clean(cell: str) -> str:
    """A stranger's cell as it may be shown, or stand in a comment: printable, and short."""
    return shortened("".join(letter if letter.isprintable() else "?" for letter in cell[:1000]).strip(), MAX_CELL)


def _find_bad_cell(cells: list[str]) -> str:
    if len(cells) != len(HEAD):
        return f"found {count(len(cells), 'cell')}, expected {len(HEAD)}"
    commit, score, _, status, _ = cells
    if not _COMMIT.fullmatch(commit):
        return f"commit: found {commit!r}, expected 7 to 64 hexadecimal digits"
    try:
        finite = Decimal(score).is_finite()
    except InvalidOperation:
        finite = False
    if not finite:
        return f"val_bpb: found {score!r}, expected a number"
    return "" if status in STATUSES else f"status: found {status!r}, expected {', '.join(STATUSES)}"


def _refuse(problems: list[str]) -> None:
    if problems:
        raise Refused(listed_lines(problems))


def listed_lines(problems: list[str], most: int = 20) -> str:
    """Problems, one a line, and how many more there are."""
    more = [f"and {len(problems) - most} more"] if len(problems) > most else []
    return "\n".join([*problems[:most], *more])


def choose_candidates(
    git: Git, settings: CommandSettings, rows: list[ResultRow], where: str
) -> tuple[dict[str, tuple[ResultRow, CandidateFiles]], list[str]]:
    """By name, the rows that become configurations with their files; and a word on each row that does not."""
    chosen: dict[str, tuple[ResultRow, CandidateFiles]] = {}
    left_out: list[str] = []
    problems: list[str] = []
    first_with: dict[str, ResultRow] = {}
    for row in rows:
        reason = row.why_left_out
        if not reason:
            try:
                version = read_candidate(git, settings, row.commit)
            except GitRefused as error:
                problems.append(f"{where}, line {row.line}: {error}")
                continue
            twin = first_with.setdefault(version.digest, row)
            if twin is row:
                chosen[name_of(version.commit)] = (row, version)
            else:
                reason = f"the same files as line {twin.line}"
        if reason:
            left_out.append(f"line {row.line}: {row.commit} left out: {reason} ({row.description})")
    _refuse(problems)
    return chosen, left_out


def name_of(commit: str) -> str:
    """What a configuration is called: the beginning of its commit, behind a c where YAML would read a number."""
    short = commit[:10]
    try:
        return parse(_Name, {"name": short}, "name").name
    except Invalid:
        return f"c{short}"


def write_section(chosen: dict[str, tuple[ResultRow, CandidateFiles]]) -> str:
    """The `configs` section as YAML. What the table says of each stands in a comment."""
    lines = ["configs:"]
    for name, (row, version) in chosen.items():
        lines += [
            f"  # {row.score}, {row.memory} GB: {row.description}",
            f'  {name}: {{commit: "{version.commit}", sha256: "{version.digest}"}}',
        ]
    return "\n".join(lines) + "\n"


def replace_section(data: bytes, section: str, where: str) -> bytes:
    """A study's file with another `configs` section; all else of it stays, comments too. `Refused` where it cannot."""
    text = data.decode("utf-8")
    lines = list(io.StringIO(text))
    start = next((place for place, line in enumerate(lines) if line.startswith("configs:")), None)
    if start is None:
        raise Refused(f"{where}: found no line that begins with `configs:`; write the printed section into it by hand")
    end = next((place for place in range(start + 1, len(lines)) if _SECTION.match(lines[place])), len(lines))
    while end > start + 1 and not lines[end - 1].startswith((" ", "\t")):
        end -= 1  # blank lines and comments before the next section are that section's
    written = "".join([*lines[:start], section, *lines[end:]]).encode("utf-8")
    before, after = (yamlio.loads(content, where) for content in (data, written))
    wanted = yamlio.loads(section.encode("utf-8"), "configs")
    if {**before, **wanted} != after:
        raise Refused(f"{where}: its `configs` cannot be told from what follows; write the printed section by hand")
    return written


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion candidates`."""
    parser.add_argument("table", metavar="FILE.tsv", type=Path, help="commit, val_bpb, memory_gb, status, description")
    parser.add_argument("--study", metavar="FILE", type=Path, default=names.PARAMS, help="default: params.yaml")
    parser.add_argument("--write", action="store_true", help="write the section into the study's file")


def run(arguments: argparse.Namespace) -> int:
    """Print or write the section; the rows that are left out go to standard error."""
    study, where = arguments.study, arguments.table.as_posix()
    data = yamlio.read_bytes(study, "run this in the root of a study, or name its file with --study")
    runner = yamlio.loads(data, study.as_posix()).get("runner")
    if not isinstance(runner, dict) or runner.get("kind") != "command":
        raise Refused(
            f"{study.as_posix()}: runner.kind: found the built-in runner, expected `command`, with `candidate`; write "
            "this section first (docs/your-trainer.md), or name the file of another study with --study"
        )
    settings = parse(CommandSettings, runner, f"{study.as_posix()}: runner")
    if not settings.candidate:
        raise Refused(f"{study.as_posix()}: runner.candidate: missing; name the file that the commits are versions of")
    if not arguments.table.is_file():
        raise Refused(f"{where}: there is no such file")
    git = open_git(Path())
    if git is None:
        raise Refused("a candidate is a version of a file in git, but there is no git repository here")
    with closing(git):
        rows = read_table(arguments.table.read_bytes(), where)
        chosen, left_out = choose_candidates(git, settings, rows, where)
    for line in left_out:
        print(line, file=sys.stderr)
    if not chosen:
        raise Refused(f"{where}: no row was kept, so there is nothing to compare")
    section = write_section(chosen)
    print(f"{count(len(chosen), 'configuration')}: {listed(list(chosen))}", file=sys.stderr)
    if arguments.write:
        files.write_whole(study, replace_section(data, section, study.as_posix()))
        print(f"written into {study.as_posix()}; roles.reference names the one that the others are compared with")
    else:
        print(section, end="")
    return 0
