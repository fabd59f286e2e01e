"""`promotion study back NAME`: an earlier study of this repository, as its last whole commit held it.

Rules, evidence, decisions and what DVC wrote come back byte for byte, on top of today's history: they are held against
all of it before anything else is touched, and the state verifies when it is committed. The code stays that of today.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from stages.commands.study import ask_to_go_on, clear, list_uncommitted
from stages.domain import files, names
from stages.domain.errors import Refused
from stages.repo.dvc_remote import restore_command
from stages.repo.folders import list_files
from stages.repo.git import Git, open_git, why_no_git
from stages.repo.objects import EXECUTABLE, FILE
from stages.repo.past_studies import PastStudy, read_past_studies
from stages.verify import Options, verify

#: What a study is in git, beside the code that runs it.
_PATTERNS = (
    *("params.yaml", "dvc.yaml", "dvc.lock", "locks/gate*.yaml", "locks/gate*.yaml.sig"),
    *("ledger/*.jsonl", "ledger/metrics.json", "stages/**/dvc.yaml", "stages/**/dvc.lock"),
)
_OF_A_STUDY = re.compile(
    r"(params|dvc)\.yaml|dvc\.lock|locks/gate[0-9]+\.yaml(\.sig)?|ledger/(\w+\.jsonl|metrics\.json)|stages/(.+/)?dvc\.(yaml|lock)"
)


def bring_back(name: str, *, yes: bool) -> int:
    """Restore the study `name` and say what to do next; `Refused` where that would lose or forge anything."""
    past = find_past(name)
    git = open_git(Path())
    assert git is not None, why_no_git(Path())
    try:
        restored = _read_files(git, past)
    finally:
        git.close()
    paths = sorted({*restored, *_list_present()})
    asked = {":(glob)stages/**/dvc.*" if path.startswith("stages/") else path for path in paths}
    if changes := list_uncommitted(sorted(asked)):
        lines = "\n".join(f"  {line}" for line in changes)
        raise Refused(f"uncommitted changes would be lost; commit them first:\n{lines}")
    before = {path: Path(path).read_bytes() if Path(path).is_file() else None for path in paths}
    if before == {path: restored.get(path) for path in paths}:
        print(f"the study here already is {name} of commit {past.commit[:12]}; nothing to do")
        return 0
    built = [path for path in (Path("artifacts"), names.SITE) if path.exists()]
    _announce(past, [path for path in paths if before[path] != restored.get(path)], restored, built)
    if not yes and not ask_to_go_on():
        print("nothing was changed")
        return 1
    _write(restored, paths)
    report = verify(Path(), None, Options(depth="git"))
    if report.exit_status:
        _write({path: data for path, data in before.items() if data is not None}, paths)
        raise Refused(
            f"{name} of commit {past.commit[:12]} does not verify here, and nothing was changed: it "
            f"{report.verdict_text}; `git worktree add ../{name} {past.commit[:12]}` shows it with the code of then"
        )
    clear(built)
    print(report.summary())
    if any(path.startswith("stages/rung") for path in restored):
        print(
            "its DVC files have an earlier layout: it verifies, and its artifacts can be checked out; "
            f"`git worktree add ../{name} {past.commit[:12]}` has the code of then, which repeats it"
        )
    bring = restore_command(Path())
    print(
        f"params.yaml, rules and evidence are those of {name} again. Next: `dvc checkout` (`{bring}` where the cache "
        f"lacks them) brings the artifacts, `git add -A {' '.join(_folders(paths))} && git commit` keeps this state"
    )
    return 0


def find_past(name: str) -> PastStudy:
    """The past study of a name; refused with the known ones where there is none."""
    studies = {past.name: past for past in read_past_studies()}
    if name in studies:
        return studies[name]
    known = ", ".join(studies) or "none"
    raise Refused(f"{name}: git's history up to HEAD holds no study of this name; it holds {known}")


def _read_files(git: Git, past: PastStudy) -> dict[str, bytes]:
    """The files of the study at its commit, by path."""
    restored: dict[str, bytes] = {}
    for path, entry in list_files(git, past.commit).items():
        if _OF_A_STUDY.fullmatch(path) or path == f"studies/{past.name}.yaml":
            if entry.mode not in (FILE, EXECUTABLE):
                raise Refused(f"commit {past.commit[:12]}: {path}: found a link, expected a file")
            restored[path] = git.blob(entry.oid)
    return restored


def _list_present() -> list[str]:
    """The files here that belong to the study at hand."""
    paths = [path for pattern in _PATTERNS for path in Path().glob(pattern)]
    return [path.as_posix() for path in paths if _OF_A_STUDY.fullmatch(path.as_posix())]


def _write(content: Mapping[str, bytes], paths: list[str]) -> None:
    """Give each of the paths its content; one without is removed, and so are the folders that it leaves empty."""
    for path in map(Path, paths):
        data = content.get(path.as_posix())
        if data is not None:
            files.write_whole(path, data)
        elif path.is_file():
            clear([path])
            folder = path.parent
            while folder != Path() and not any(folder.iterdir()):
                folder.rmdir()
                folder = folder.parent


def _announce(past: PastStudy, paths: list[str], restored: Mapping[str, bytes], built: list[Path]) -> None:
    state = "whole" if past.whole else f"not whole ({past.missing}); it never was"
    print(f"{past.name}, commit {past.commit[:12]}, {state}")
    for path in paths:
        print(f"  {'comes back' if path in restored else 'goes, and git keeps it'}: {path}")
    for folder in built:
        print(f"  will be cleared, and the DVC cache keeps it: {folder.as_posix()}")


def _folders(paths: list[str]) -> list[str]:
    """The files at the root and the folders that hold the others."""
    return sorted({path.partition("/")[0] for path in paths})
