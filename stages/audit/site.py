"""Check V29: the audit site built again from what lies here equals the site that dvc.lock notes.

Made by `promotion verify` where artifacts are present; the whole sequence stands in `stages/audit/sequence.py`.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stages.audit.cache import folder_here
from stages.audit.digests import other_code
from stages.audit.model import Case, CheckFailed, Problem, Skip
from stages.audit.noted import Noted
from stages.domain import names

SITE = names.SITE.as_posix()


class SiteDiffers(CheckFailed):
    """V29: the site is not what the evidence and the report make."""


def site(case: Case) -> Iterator[Problem]:
    """V29: the site built again, into a temporary folder, has the digest that dvc.lock notes for it."""
    noted = case.get(Noted)
    recorded = [(p, n, item) for p, n, stage in noted.stages() for item in stage.outs.values() if item.path == SITE]
    if not recorded:
        raise Skip("no dvc.lock notes a site", "dvc repro site")
    if case.commit is not None:
        raise Skip("the site of a commit is built from its artifacts", "git checkout COMMIT && dvc pull")
    if other_code(case, "site", ("report",)):
        raise Skip("report/ installed here is not the one that built the site", "verify with that commit's own code")
    needed = (names.TRACES, names.SUMMARY, names.PROTOCOL, names.CORPUS / "manifest.json")
    if missing := [path for path in needed if not (case.root / path).exists()]:
        raise Skip(f"{missing[0].as_posix()} is not here, and the site is built from it", "dvc pull")
    try:
        md5 = _built(case.root)
    except Skip:
        raise
    except Exception as error:  # whatever lies here may be anything, and the report was written for a whole study
        found = f"{type(error).__name__}: {error}"[:300]
        yield Problem(SITE, found, "pages", "the site cannot be built from what lies here; V26 tells what was changed")
        return
    for path, name, item in recorded:
        if item.md5 != md5:
            meaning = "the pages do not show what the evidence says"
            yield Problem(path, str(item.md5), md5, meaning, pointer=f"/stages/{name}/outs/{item.at}/md5")


def _built(root: Path) -> str:
    """The digest of the site built again. The report is the leaf of all imports, so it is loaded by name."""
    try:
        build, load = importlib.import_module("report.build"), importlib.import_module("report.load")
    except ImportError as error:
        raise Skip(f"the report cannot be imported: {error}", "pip install staged-promotion") from None
    with tempfile.TemporaryDirectory() as folder:
        build.write_site(load.load(root), Path(folder))
        return folder_here(Path(folder))
