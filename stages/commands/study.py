"""Write a study, check it, and switch params.yaml to it.

    promotion study list                  the ready studies, and those in git's history with their outcome
    promotion study show paper            what one of them is
    promotion study check mine.yaml       whether the file of a study is valid (the corpus is not needed)
    promotion study new mine --budget 60 --budget 300 --text data/essays.txt
                                          write a commented study to edit into studies/
    promotion study use paper             make it this repository's study, after listing what that clears and asking
    promotion study use ../mine.yaml --yes
    promotion study use laptop --afresh   start the current study again: no lock and no evidence is kept
    promotion study extend longer --budget-seconds 60
                                          write a study that goes on from the last gate of this one, with fresh seeds
    promotion study back laptop           bring an earlier study back, rules and evidence, from its last complete commit

params.yaml becomes a copy of the study's file, comments and all. The locks, the ledger, the dvc.locks and everything
that was built belong to the old study and are cleared; git and the DVC cache keep them. Uncommitted changes of those
files are refused, because nothing would keep them. If git has evidence under this study.name, making it again needs an
amendment, with a reason, of every gate that judged it. Give a study of your own another study.name and seeds that no
earlier study used.
"""

from __future__ import annotations

import argparse
import json
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.domain import files, names, yamlio
from stages.domain.corpus import Data, DataFiles, PackageSource, PinnedFile
from stages.domain.errors import Refused
from stages.domain.formatting import count
from stages.domain.schema import parse
from stages.domain.study import Study
from stages.rungs import write_rungs
from stages.study_check import check_study

if TYPE_CHECKING:
    from stages.repo.past_studies import PastStudy

STUDIES = Path("studies")
#: What git holds of a study that is cleared for another one.
CLEARED = ("params.yaml", "locks", "ledger", "dvc.lock", "stages/ladder", ":(glob)stages/*/dvc.lock")
#: Section of params.yaml -> what is made anew when it differs.
INVALIDATES = {
    "study": "the site and the ledger",
    "data": "the corpus, and with it all evidence",
    "runner": "all evidence",
    "clock": "all evidence",
    "hosts": "all evidence",
    "configs": "the locks, and with them all evidence",
    "roles": "the locks, and with them all evidence",
    "rungs": "the evidence of every rung that differs and of those above",
    "gates": "the locks of the gates that differ, and the evidence that they judge",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion study`."""
    actions = parser.add_subparsers(dest="action", metavar="list|show|check|new|use|back|extend", required=True)
    listed = actions.add_parser("list", help="the ready studies, and those of git's history")
    listed.add_argument("--json", action="store_true", help="as JSON, for programs")
    _add_new(actions.add_parser("new", help="write a commented study of this name into studies/"))
    named = (
        ("show", "what a study is"),
        ("check", "whether a study's file is right"),
        ("use", "make it this repository's study"),
    )
    for name, text in named:
        action = actions.add_parser(name, help=text)
        action.add_argument("study", metavar="NAME|PATH", help="a name from `promotion study list`, or a YAML file")
    action.add_argument("--afresh", action="store_true", help="clear its locks and evidence even if it is this study")
    action.add_argument("--yes", action="store_true", help="do not ask")
    action.add_argument("--force", action="store_true", help="lose uncommitted changes of what is cleared")
    back = actions.add_parser("back", help="bring an earlier study of git's history back")
    back.add_argument("study", metavar="NAME", help="a name from `promotion study list`")
    back.add_argument("--yes", action="store_true", help="do not ask")
    _add_extend(actions.add_parser("extend", help="write a study that goes on from a finished one into studies/"))


def _add_new(action: argparse.ArgumentParser) -> None:
    action.add_argument("name", metavar="NAME", help="what locks and evidence will call it")
    action.add_argument("--title", default="", help="the headline of its site")
    action.add_argument("--question", default="", help="what it asks, in a sentence")
    action.add_argument(
        "--budget",
        type=float,
        action="append",
        metavar="SECONDS",
        help="of a rung, once for each (60, 300, 1500)",
    )
    action.add_argument("--seeds", type=int, default=2, metavar="N", help="of every rung; default: %(default)s")
    action.add_argument("--clock", choices=("wall", "rated"), default="rated", help="default: %(default)s")
    action.add_argument(
        "--text",
        action="append",
        metavar="PATH",
        help="a file, folder or pattern of text here (the King James)",
    )


def _add_extend(action: argparse.ArgumentParser) -> None:
    action.add_argument("name", metavar="NAME", help="the study.name of the new study")
    action.add_argument("--from", dest="earlier", metavar="STUDY", help="the finished study; default: the one here")
    action.add_argument("--rung", metavar="RUNG", help="the rung whose gate it goes on from; default: the last one")
    action.add_argument(
        "--budget-seconds", type=float, metavar="N", help="of one more rung; default: that of RUNG, for more seeds"
    )
    action.add_argument("--seeds", type=int, nargs="+", metavar="N", help="default: as many fresh ones as RUNG had")
    action.add_argument("--floor-seeds", type=int, nargs="+", metavar="N", help="of the A/A runs; default: likewise")


def find_study(name: str) -> Path:
    """The file of a study that is named or pointed at."""
    ready = STUDIES / f"{name}.yaml"
    if names.is_name(name) and ready.is_file():
        return ready
    path = Path(name)
    if path.is_file():
        return path
    known = ", ".join(file.stem for file in sorted(STUDIES.glob("*.yaml")))
    raise Refused(f"{name}: no such study, and no such file; ready studies: {known}")


def read(path: Path) -> tuple[bytes, Study]:
    """The bytes of a study's file and the study that they say; refuses one that is not valid."""
    data = yamlio.read_bytes(path, "see `promotion study list`")
    return data, check_study(data, path.as_posix())


def summarise(study: Study) -> str:
    """A study in one line."""
    budgets = ", ".join(f"{rung.budget_seconds:g}" for rung in study.rungs.values())
    return (
        f"{count(len(study.configs), 'configuration')}, {count(len(study.hosts), 'host')}, "
        f"{count(len(study.rungs), 'rung')} of {budgets} s, {study.clock.kind} clock"
    )


def list_belongings() -> list[Path]:
    """The files and folders that exist here and belong to the study at hand, sorted."""
    paths = [path for pattern in ("*.yaml", "*.yaml.sig") for path in names.LOCKS.glob(pattern)]
    paths += [names.LEDGER / name for name in ("runs.jsonl", "hindsight.jsonl", "decisions.jsonl", "metrics.json")]
    paths += [Path("dvc.lock"), *Path("stages").glob("**/dvc.lock")]
    paths += [Path("artifacts"), names.SITE]
    return sorted(path for path in paths if path.exists())


def list_cleared(paths: Sequence[Path]) -> list[str]:
    """A line for each path, and one for all dvc.lock files of the ladder, of which a study has dozens."""
    locks = [path for path in paths if path.is_relative_to(names.LADDER)]
    lines = [path.as_posix() for path in paths if path not in locks]
    return [*lines, f"{count(len(locks), 'dvc.lock file')} in {names.LADDER.as_posix()}"] if locks else lines


def list_differing(old: bytes, new: bytes) -> list[str]:
    """The sections that differ, each with what that invalidates. What cannot be read differs altogether."""
    try:
        was = yamlio.loads(old, names.PARAMS.as_posix())
    except yamlio.BadYaml:
        was = {}
    now = yamlio.loads(new, "the new study")
    return [
        f"{section}: {consequence}"
        for section, consequence in INVALIDATES.items()
        if was.get(section) != now.get(section)
    ]


def list_uncommitted(paths: Sequence[str] = CLEARED) -> list[str]:
    """Changes of what would be cleared that git does not hold; `Refused` outside git, which then keeps nothing.

    A dvc.lock that a repetition with the same records left is none: it differs in what is no evidence.
    """
    from stages.repo.dvc_entries import differs_by_repetition
    from stages.repo.git import open_git, why_no_git

    git = open_git(Path(), required=True)
    if git is None:
        raise Refused(f"{why_no_git(Path())}, and so nothing keeps the old study; --force goes on")
    try:
        changes = git.ask("status", "--porcelain", "--", *paths).split("\n")[:-1]
        files = {line: Path(line[3:].removeprefix(git.prefix)) for line in changes}
        return [line for line, path in files.items() if path.name != "dvc.lock" or not differs_by_repetition(git, path)]
    finally:
        git.close()


def clear(paths: list[Path]) -> None:
    """Remove files and folders, read-only ones (links into the DVC cache) as well."""
    for path in paths:
        inside = sorted(path.rglob("*"), reverse=True) if path.is_dir() and not path.is_symlink() else []
        for item in [*inside, path]:
            if item.is_dir() and not item.is_symlink():
                item.rmdir()
            else:
                if not item.is_symlink():
                    item.chmod(item.stat().st_mode | stat.S_IWRITE)  # Windows removes nothing that is read-only
                item.unlink()


def use(path: Path, *, yes: bool, force: bool, afresh: bool = False) -> int:
    """Make the study in `path` this repository's, without anything that was frozen or built for another one."""
    data, study = read(path)
    old = names.PARAMS.read_bytes() if names.PARAMS.is_file() else b""
    if data == old and not afresh:
        print(f"params.yaml already is {path.as_posix()}; nothing to do; --afresh clears its locks and its evidence")
        return 0
    if not force and (changes := list_uncommitted()):
        lines = "\n".join(f"  {line}" for line in changes)
        raise Refused(f"uncommitted changes would be lost; commit them first, or give --force:\n{lines}")
    to_clear = list_belongings()
    print(f"{study.study.name}: {summarise(study)}")
    for line in list_differing(old, data) if old else []:
        print(f"  differs in {line}")
    for line in list_cleared(to_clear):
        print(f"  will be cleared: {line}")
    if not yes and not ask_to_go_on():
        print("nothing was changed")
        return 1
    clear(to_clear)
    files.write_whole(names.PARAMS, data)
    write_rungs(study)
    _next_steps(study, again=data == old)
    return 0


def _next_steps(study: Study, again: bool) -> None:
    """What to do in a study that was cleared; `again` where it is the same one, to the byte."""
    from stages.repo.history_reader import history_at_head

    past = history_at_head().locks_with_evidence_of(study.study.name)
    cached = again and not past  # an amended lock is a new input, which no cache knows
    freeze = 'promotion freeze --amend --reason "..."' if past else "promotion freeze"
    repro = "dvc repro --no-run-cache" if cached else "dvc repro"
    print(
        f"params.yaml is now {study.study.name}, and from now on the file to edit. Next: `dvc repro corpus`, "
        f"`promotion plan`, `{freeze}`, the commit that it prints, `{repro}`"
    )
    if past:
        print(
            f"git holds evidence of a study that is called {study.study.name}: to make it anew is an amendment, which "
            "shows; a study of your own has another study.name and other seeds"
        )
    if cached:
        print(
            "DVC's run cache, here and in a remote, still knows the old runs: --no-run-cache trains anew, and "
            "`promotion work` would restore them"
        )


def ask_to_go_on() -> bool:
    """Whether a person agrees to what was listed; `Refused` where there is nobody to ask."""
    if not sys.stdin.isatty():
        raise Refused("nobody to ask: --yes agrees to what is listed above")
    return input("go on? [y/N] ").strip().lower() in ("y", "yes")


def write_new(arguments: argparse.Namespace) -> int:
    """Write a new study into studies/, where none of its name may exist."""
    from stages.study_template import NewStudy, format_study

    path = STUDIES / f"{arguments.name}.yaml"
    if not names.is_name(arguments.name, names.KEY):
        raise Refused(f"{arguments.name!r} is no name for a study, expected lower-case letters, digits, '_' and '-'")
    if path.exists():
        raise Refused(f"{path.as_posix()} exists; give the new study another name, or edit that file")
    new = NewStudy(
        name=arguments.name,
        title=arguments.title or arguments.name,
        question=arguments.question or "Which configuration earns the next budget?",
        budgets=arguments.budget or [60.0, 300.0, 1500.0],
        seeds=arguments.seeds,
        clock=arguments.clock,
        text=_pin(arguments.text) if arguments.text else (),
    )
    data = format_study(new).encode("utf-8")
    study = check_study(data, path.as_posix())  # a flag's value may be none that a study can have
    files.write_whole(path, data)
    print(
        f"{path.as_posix()}: {summarise(study)}; edit it, then `promotion study check {path.as_posix()}` and "
        f"`promotion study use {arguments.name}`"
    )
    return 0


def _pin(paths: list[str]) -> list[PinnedFile]:
    """The text files of a new study, pinned as they are now."""
    from stages.corpora.inputs import CorpusError, pin_files
    from stages.study_template import source_kind

    kinds = {source_kind(path) for path in paths}
    if len(kinds) > 1:
        raise Refused(f"--text: found files of kinds {', '.join(sorted(kinds))}, expected files of one kind")
    entries = [{"path": Path(path).as_posix()} for path in paths]
    section = {"source": {"kind": kinds.pop(), "files": entries}, "vocab_size": 2048}
    source = parse(Data, section, "--text").source
    if isinstance(source, PackageSource | DataFiles):
        raise AssertionError("a file is no package")
    try:
        return pin_files(source, Path())
    except CorpusError as error:
        raise Refused(str(error).replace("params.yaml: data.source.files", "--text")) from None


def run(arguments: argparse.Namespace) -> int:
    """List, show, check, write or switch."""
    if arguments.action == "new":
        return write_new(arguments)
    if arguments.action == "check":
        path = find_study(arguments.study)
        _, study = read(path)
        print(f"{path.as_posix()}: {summarise(study)}; nothing is wrong that shows without the corpus")
        return 0
    if arguments.action == "use":
        return use(find_study(arguments.study), yes=arguments.yes, force=arguments.force, afresh=arguments.afresh)
    if arguments.action == "back":
        from stages.commands.study_back import bring_back

        return bring_back(arguments.study, yes=arguments.yes)
    if arguments.action == "extend":
        from stages.commands.study_extend import extend

        return extend(arguments)
    if arguments.action == "show":
        _, study = read(find_study(arguments.study))
        print(f"{study.study.title}\n{study.study.question}\n{study.study.note}\n{summarise(study)}")
        return 0
    list_studies(as_json=arguments.json)
    return 0


def list_studies(*, as_json: bool) -> None:
    """Print the ready studies and those of git's history, the newest first."""
    from stages.repo.past_studies import read_past_studies

    ready = {path.stem: read(path)[1] for path in sorted(STUDIES.glob("*.yaml"))}
    past = read_past_studies()
    if as_json:
        value = {
            "schema": 1,
            "ready": [{"name": name, "title": study.study.title} for name, study in ready.items()],
            "past": [known.to_json() for known in past],
        }
        print(json.dumps(value, indent=1))
        return
    for name, study in ready.items():
        print(f"{name:12} {study.study.title}: {summarise(study)}")
    if past:
        print("\nin git's history, * the present one; `promotion study back NAME` brings one back:")
    for known in past:
        print(f"{'*' if known.present else ' '} {known.name:12} {known.commit[:12]}  {_outcome(known)}")


def _outcome(past: PastStudy) -> str:
    """What came of a past study, in a line."""
    if past.missing is not None:
        return f"not whole: {past.missing}"
    words = {True: "holds", False: "fails", None: "cannot be evaluated"}
    verdicts = [f"{rule} {words[holds]}" for rule, holds in past.verdicts.items()]
    lead = f"{past.leader} has the lowest mean" if past.leader else "nobody leads"
    return "; ".join([past.path, lead, *verdicts])
