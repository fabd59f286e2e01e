"""The table of checks in docs/verification.md, written from the sequence.

python -m stages.verify.documentation
"""

from __future__ import annotations

from pathlib import Path

from stages.domain.errors import Refused, main_guard
from stages.domain.files import write_whole
from stages.verify.sequence import SEQUENCE

PAGE = Path("docs/verification.md")
_HEAD = "| id | name | depth | what it shows |\n|---|---|---|---|\n"


def checks_table() -> str:
    """The sequence as a Markdown table."""
    rows = [f"| {check.id} | `{check.name}` | {check.depth} | {check.description} |\n" for check in SEQUENCE]
    return _HEAD + "".join(rows)


def with_checks_table(page: str) -> str:
    """The page with its table of checks replaced by that of the sequence."""
    before, head, rest = page.partition(_HEAD)
    if not head:
        raise Refused(f"{PAGE.as_posix()}: no table of checks, expected the line {_HEAD.partition(chr(10))[0]!r}")
    return before + checks_table() + "\n" + rest.partition("\n\n")[2]


def main() -> None:
    """Write the table into the page."""
    write_whole(PAGE, with_checks_table(PAGE.read_text(encoding="utf-8")).encode("utf-8"))


if __name__ == "__main__":
    main_guard(main)
