"""Build the audit site, publish it, put it into one file, or say what changed between two commits.

    promotion site                              build site/ from the files here (`dvc repro site` does it too)
    promotion site --publish public             the site with its commit, and those of the repository's other studies
    promotion site --single-file report.html    one file to send: the pages of the site, without those of single runs
    promotion site --compare HEAD~1             decisions flipped, rules changed, evidence changed since then
    promotion site --compare v1.0 HEAD --html changes.html

A published site names its commit, so params.yaml, locks/ and ledger/ must be equal to those of that commit.
The comparison reads only git. Exit status 0 whether or not something changed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from stages.domain.errors import Refused


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion site`."""
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--publish", metavar="FOLDER", help="write the site with its commit, and other studies' sites")
    other.add_argument("--single-file", metavar="FILE", help="write the report as one file to send")
    other.add_argument("--compare", nargs="+", metavar="REV", help="one commit (against HEAD) or two")
    parser.add_argument("--html", metavar="FILE", help="with --compare: also write the changes as a page")


def command(arguments: argparse.Namespace) -> list[str]:
    """The generator's own command: it is another package, which nothing imports."""
    if not arguments.compare:
        if arguments.html:
            raise Refused("--html goes with --compare; the site itself is always written to site/")
        if arguments.publish:
            return ["report", f"--publish={arguments.publish}"]
        return ["report", *([f"--single-file={arguments.single_file}"] if arguments.single_file else [])]
    if len(arguments.compare) > 2:
        raise Refused(f"--compare: found {len(arguments.compare)} commits, expected one or two")
    html = ["--html", arguments.html] if arguments.html else []
    return ["report.compare", *html, "--", *arguments.compare]


def run(arguments: argparse.Namespace) -> int:
    """Run the generator and pass its exit status on."""
    import jinja2  # noqa: F401  # where it is missing, main_guard says what to install

    return subprocess.run([sys.executable, "-m", *command(arguments)], check=False).returncode
