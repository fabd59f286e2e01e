"""Build the audit site of the study in this folder: site/, to be opened with any browser, from a disk or a server.

    python -m report               (run by `dvc repro`; `promotion site` is the same)
    python -m report --out FOLDER  into a folder instead of site/ (`promotion verify` builds the site again so)
    python -m report --publish FOLDER        the site with its commit, and those of the repository's other studies
    python -m report --single-file OUT.html  one page that holds the report, to be sent

The site is a pure function of params.yaml, locks/, ledger/ and artifacts/: it reads no clock, no hostname and no git.
Only --publish reads git.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from report.build import build, write_site
from report.load import load
from stages.domain import formatting
from stages.domain.errors import main_guard
from stages.domain.garbage import rare_collections
from stages.domain.names import SITE

QUIET_SECONDS = 2.0


class Reporter:
    """A line on stderr now and then, once a build takes longer than a moment. Nothing of it enters the site.

    After the last page it says nothing: `main` then says what was built.
    """

    def __init__(self) -> None:
        self._next = time.monotonic() + QUIET_SECONDS

    def __call__(self, done: int, of: int) -> None:
        """Say how many pages are written, at most once every `QUIET_SECONDS`."""
        if done < of and time.monotonic() >= self._next:
            print(f"site: {done} of {of} pages", file=sys.stderr, flush=True)
            self._next = time.monotonic() + QUIET_SECONDS


def main(arguments: list[str] | None = None) -> None:
    """Build and say what was built."""
    about, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m report", description=about, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="build into this folder instead of site/")
    parser.add_argument("--params", metavar="FILE", type=Path, help="with --out: a file in the place of params.yaml")
    parser.add_argument("--publish", metavar="FOLDER", type=Path, help="publish into this folder")
    parser.add_argument("--single-file", metavar="FILE", type=Path, help="write one page that holds the report")
    with rare_collections():
        _build(parser.parse_args(arguments))


def _build(chosen: argparse.Namespace) -> None:
    """Build what was asked for, and say what that is."""
    if chosen.out is not None:
        write_site(load(Path(), chosen.params), chosen.out, Reporter())
        return
    if chosen.publish is not None:
        from report.publish import publish

        earlier = publish(Path(), chosen.publish.resolve(), Reporter())
        print(f"{chosen.publish.as_posix()}: this study and {formatting.count(len(earlier), 'earlier one')}")
        return
    if chosen.single_file is not None:
        from report.single_file import write_single_file

        print(write_single_file(load(Path()), chosen.single_file))
        return
    files = build(Path(), Reporter())["files"]
    assert isinstance(files, dict)
    size = sum(int(entry["bytes"]) for entry in files.values())
    pages = sum(1 for name in files if name.endswith(".html"))
    print(f"{SITE.as_posix()}: {pages} pages, {len(files) + 1} files, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main_guard(main)
