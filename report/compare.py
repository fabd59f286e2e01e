"""What changed between two commits: decisions flipped, rules changed, evidence changed.

    python -m report.compare HEAD~1 HEAD                 (`promotion site --compare` is the same)
    python -m report.compare v1.0 HEAD --html changes.html

Reads params.yaml, locks/ and ledger/ of each commit from git and nothing of the workspace. Exit status 0 whether or not
something changed, 2 if a commit cannot be read.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

from stages.domain import files, formatting
from stages.domain.errors import main_guard
from stages.domain.foreign_text import visible
from stages.verify import Changes, compare_commits

#: Lines of evidence that are listed; the summary above them counts them all.
MOST_LISTED = 40


@dataclass(frozen=True)
class ChangeSection:
    """One kind of change: what it comes to, and each change on a line of its own, as many as are listed."""

    heading: str
    count: int
    lines: list[str]
    none: str
    summary: list[str] = field(default_factory=list)

    @property
    def more(self) -> str:
        """How many lines are left out, in words; empty where none is."""
        left = self.count - len(self.lines)
        return f"and {formatting.plain(left)} more" if left else ""


def sections(changes: Changes) -> list[ChangeSection]:
    """What a report shows, in its order."""
    listed = changes.evidence[:MOST_LISTED]
    return [
        ChangeSection("Decisions", len(changes.decisions), changes.decisions, "No decision flipped."),
        ChangeSection("Rules", len(changes.rules), changes.rules, "No lock changed."),
        ChangeSection("Evidence", len(changes.evidence), listed, "No record changed.", changes.totals),
        ChangeSection("Study", len(changes.study), changes.study, "params.yaml says the same outside its gates."),
    ]


def as_text(changes: Changes) -> str:
    """The changes for a terminal."""
    lines = [f"From {changes.before} to {changes.after}"]
    for section in sections(changes):
        lines += ["", f"{section.heading} ({section.count})", *(f"  {total}" for total in section.summary)]
        items = [*section.lines, *filter(None, [section.more])]
        lines += [f"  {item}" for item in items] or [f"  {section.none}"]
    return "\n".join(lines) + "\n"


def as_html(changes: Changes) -> bytes:
    """The changes as one page that stands alone."""
    from report.render import HERE, environment

    css = (HERE / "assets" / "site.css").read_text(encoding="utf-8")
    template = environment().get_template("compare.html")
    title = f"Changes from {changes.before} to {changes.after}"
    html = template.render(title=title, changes=changes, sections=sections(changes), css=css)
    return visible(html).encode("utf-8")


def main() -> None:
    """Compare, print, and write the page that was asked for."""
    parser = argparse.ArgumentParser(prog="promotion site --compare", description="What changed between two commits.")
    parser.add_argument("before", metavar="REV")
    parser.add_argument("after", metavar="REV2", nargs="?", default="HEAD")
    parser.add_argument("--html", metavar="FILE", type=Path, help="also write the changes as a page")
    arguments = parser.parse_args()
    changes = compare_commits(Path(), arguments.before, arguments.after)
    print(as_text(changes), end="")
    if arguments.html:
        files.write_whole(arguments.html, as_html(changes))
        print(f"\nwrote {arguments.html.as_posix()}")


if __name__ == "__main__":
    main_guard(main)
