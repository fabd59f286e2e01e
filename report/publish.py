"""The site as it is published: with the repository and the commit that it is of, and the repository's other studies.

    promotion site --publish public      (`python -m report --publish public` is the same)

site/ itself, whose bytes dvc.lock records, names no commit: it would have to hold the digest of the commit that holds
its own digest. So the published copy is another folder, made of the same pages. Everything that it was made from and
git holds must be what the commit holds. Earlier studies are built from git alone, at their last whole commit, into
studies/NAME/: they lack what git does not hold. The same commit, tags, remote and artifacts give the same bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from report.build import PUBLISHED, write_site
from report.layout import Provenance
from report.load import StudyFiles, load
from report.page import Page, link_config
from report.standalone import replace_folder
from report.tables import Cell, Column, Table
from report.writer import Progress
from stages.domain import formatting, names
from stages.domain.errors import Invalid, Refused
from stages.domain.foreign_text import one_line
from stages.repo.folders import list_files
from stages.repo.git import Git, object_id, open_git
from stages.repo.past_studies import PastStudy, read_past_studies

INDEX = "studies.html"
#: What git holds of a study's rules, evidence and decisions.
_KEPT = (names.PARAMS.as_posix(), "locks/", "ledger/")


def read_provenance(root: Path, files: StudyFiles) -> Provenance:
    """The commit that holds what the site is made from; `Refused` where there is none, or it holds something else."""
    git = open_git(root)
    if git is None or git.head is None:
        raise Refused(f"{root.resolve().as_posix()} has no commit, and a published site names one; `git commit` first")
    try:
        commit = git.head
        for path in sorted(files.sources):
            if not path.startswith("artifacts/"):
                _refuse_uncommitted(git, commit, path)
        tags = tuple(sorted(git.ask("tag", "--points-at", commit).split()))
        origin = git.run("config", "--get", "remote.origin.url").stdout.decode("utf-8", "replace").strip()
        return Provenance(*name_repository(origin), commit, tuple(map(one_line, tags)))
    finally:
        git.close()


def _refuse_uncommitted(git: Git, commit: str, path: str) -> None:
    entry, data = git.entry(commit, path), (git.root / path).read_bytes()
    if entry is None or entry.oid != object_id("blob", data, commit):
        raise Refused(f"{path} is not what commit {commit[:12]} holds; commit it, then publish")


def name_repository(origin: str) -> tuple[str, str]:
    """(host/owner/name, https address) of a remote, without user or password; both empty for a path of this machine."""
    scp = ":" in origin and "://" not in origin and "/" not in origin.partition(":")[0]
    parts = urlsplit(f"ssh://{origin.replace(':', '/', 1)}" if scp else origin)
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:  # a port that is no number
        return "", ""
    if parts.scheme not in ("https", "http", "ssh", "git") or "." not in host:
        return "", ""
    path = parts.path.strip("/").removesuffix(".git")
    web = f"{host}:{port}" if port and parts.scheme == "https" else host
    return one_line(f"{host}/{path}"), one_line(f"https://{web}/{path}")


def publish(root: Path, folder: Path, progress: Progress = lambda done, of: None) -> Mapping[str, PastStudy]:
    """Publish the study in `root` and the earlier ones of its repository; returns those that have a site, by name."""
    files = load(root)
    provenance = replace(read_provenance(root, files), index=INDEX)
    listed = read_past_studies(root)
    built: dict[str, PastStudy] = {}

    def write(new: Path) -> None:
        problems = {}
        for study in listed:
            if study.present:
                continue
            try:
                _write_past(root, study, new, provenance)
                built[study.name] = study
            except Invalid as error:
                problems[study.name] = str(error).split("\n")[0]
        write_site(files, new, progress, provenance, [studies_page(listed, problems)])

    replace_folder(folder, PUBLISHED, write)
    return built


def _write_past(root: Path, study: PastStudy, new: Path, provenance: Provenance) -> None:
    """The site of an earlier study, from what its commit holds."""
    git = open_git(root)
    assert git is not None
    with tempfile.TemporaryDirectory() as scratch:
        try:
            for path, entry in list_files(git, study.commit).items():
                if path.startswith(_KEPT):
                    target = Path(scratch, path)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(git.blob(entry.oid))
        finally:
            git.close()
        past = replace(provenance, commit=study.commit, tags=(), index=f"../../{INDEX}")
        files = load(Path(scratch))
        target = new / "studies" / study.name
        target.mkdir(parents=True)
        write_site(files, target, provenance=past)


def studies_page(listed: tuple[PastStudy, ...], problems: Mapping[str, str]) -> Page:
    """The index: every study of the history, the newest first, with what came of it."""

    def site(study: PastStudy) -> Cell:
        if study.name in problems:
            return Cell(None, "none", note=problems[study.name], small=problems[study.name])
        return Cell(study.name, "its site", "index.html" if study.present else f"studies/{study.name}/index.html")

    def came_of_it(study: PastStudy) -> Cell:
        if study.missing is not None:
            return Cell(None, f"not whole: {formatting.typeset(study.missing)}", mark="muted")
        verdicts = [f"{rule} {formatting.HOLDS[holds][1]}" for rule, holds in study.verdicts.items()]
        return Cell("; ".join(verdicts) or None, formatting.listed(verdicts) if verdicts else "no final rule")

    columns = [
        Column("name", "Study", get=lambda study: Cell(study.name, small=study.title)),
        Column("site", "Site", get=site),
        Column("path", "Candidates", get=lambda study: study.path.replace("-", " → ") or None),
        Column("leader", "Lowest mean", get=_leader),
        Column("verdicts", "Final rules", get=came_of_it),
        Column("commit", "Commit", "digest", "its last whole one, or the newest that held its locks"),
        Column("date", "Committed", hint="by the committer's clock", get=_date),
    ]
    note = (
        "Nothing on this page is verified: that is for `promotion verify --rev COMMIT`. `promotion study back NAME` "
        "brings an earlier study back."
    )
    table = Table("studies", "The studies of this repository", "git's history up to the commit below", note)
    table = table.fill(columns, listed, lambda study: f"study.{study.name}")
    return Page(INDEX, "studies.html", "Studies", {}, [table])


def _leader(study: PastStudy) -> Cell:
    return link_config(study.leader) if study.present else Cell(study.leader)


def _date(study: PastStudy) -> str:
    return datetime.fromtimestamp(study.seconds, UTC).date().isoformat()
