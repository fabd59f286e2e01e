"""What the documentation says is so: links, files, commands, options, rules, revisions. `docs/commands.md` is --help.

python -m tests.test_docs          write docs/commands.md anew
"""

from __future__ import annotations

import argparse
import doctest
import importlib
import io
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from unittest import mock
from urllib.parse import unquote

import pytest

from bench.__main__ import MEASURES
from stages import cli
from stages.domain.rules import EFFECTS
from tests.support.repo import PROJECT

PAGES = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").glob("*.md"))]
SOURCES = [
    path
    for folder in ("stages", "trainer", "report", "bench")
    for path in sorted((PROJECT / folder).rglob("*.py"))
    if "__pycache__" not in path.parts
]
COMMANDS = PROJECT / "docs" / "commands.md"
REGENERATE = "python -m tests.test_docs writes it anew"
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FILE = re.compile(r"\b(?:tests|docs|stages|trainer|report|bench|studies)/[\w./-]+\.(?:py|md|yaml|json|csv)\b")
#: In code alone: after a backtick, a prompt or the start of a line.
_PROMOTION = re.compile(r"(?:^|`|\$ )promotion ([a-z][a-z-]*)((?: +[^\s`|;&]+)*)", re.MULTILINE)
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as code hosts make them."""
    heads = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pages
def test_nothing_is_left_to_fill_in(page):
    assert re.findall(r"\b(?:TODO|TBD|FIXME|XXX|SEC\d+|MB\d+)\b", page.read_text(encoding="utf-8")) == []


@pages
def test_every_link_leads_somewhere(page):
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / unquote(path)).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not fragment or fragment in anchors(target), f"{page.name}: {link}"


def test_every_file_that_is_named_exists():
    absent = []
    for path in [*PAGES, *SOURCES]:
        named = set(_FILE.findall(path.read_text(encoding="utf-8")))
        absent += [f"{path.relative_to(PROJECT)}: {name}" for name in named if not (PROJECT / name).exists()]
    assert not [one for one in absent if not re.search(r"rungN|gateN|stages/ladder/", one)]


def options(command: str) -> set[str]:
    """Every option of a subcommand of `promotion`, those of its own subcommands too."""
    found: set[str] = set()
    waiting = [cli.build_parser(command)]
    while waiting:
        for action in waiting.pop()._actions:
            found |= set(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                waiting += action.choices.values()
    return found


@pages
def test_every_command_that_is_shown_can_be_typed(page):
    for command, words in _PROMOTION.findall(page.read_text(encoding="utf-8")):
        if page.name == "CHANGELOG.md" and command not in cli.COMMANDS:
            continue
        assert command in cli.COMMANDS, f"{page.name}: promotion {command}"
        for word in words.split():
            if word.startswith("--") and word != "--help":
                assert word.split("=")[0].strip("[]().,") in options(command), (
                    f"{page.name}: promotion {command} {word}"
                )


def test_the_table_of_rules_lists_every_kind_under_its_effect():
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    rows = {
        effect: set(re.findall(r"`(\w+)`", kinds)) for effect, kinds in re.findall(r"^\| (\w+) \| (.+?) \|", text, re.M)
    }
    for effect in set(EFFECTS.values()):
        listed = rows[effect] - {"mean", "worst_host", "each_host"}
        assert listed == {kind for kind, has in EFFECTS.items() if has == effect}


@pytest.mark.skipif(shutil.which("git") is None or not (PROJECT / ".git").exists(), reason="this is no git checkout")
def test_every_revision_that_is_shown_is_of_this_history():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for revision in set(re.findall(r"--rev ([0-9a-f]{7,40})\b", text)):
        done = subprocess.run(
            ["git", "merge-base", "--is-ancestor", revision, "HEAD"], cwd=PROJECT, capture_output=True
        )
        assert done.returncode == 0, f"{revision} is no commit of this history"


def test_every_measure_of_bench_is_a_module_that_measures():
    for name in MEASURES:
        assert "def measure(" in (PROJECT / "bench" / f"{name}.py").read_text(encoding="utf-8")


def told(command: str | None) -> str:
    """What `promotion [COMMAND] --help` prints at a width of 100."""
    out = io.StringIO()
    plain = mock.patch.dict("os.environ", {"COLUMNS": "100", "NO_COLOR": "1"})
    with plain, redirect_stdout(out), pytest.raises(SystemExit) as end:
        cli.build_parser(command).parse_args([*([command] if command else []), "--help"])
    assert end.value.code == 0
    return out.getvalue().rstrip()


def page_of_commands() -> str:
    """docs/commands.md."""
    head = "# Commands\n\nWhat `promotion --help` says, of every subcommand. Exit status: 0 done, 1 a check failed, 2 could not run.\n"
    parts = [f"```\n{told(None)}\n```\n"]
    parts += [f"## promotion {command}\n\n```\n{told(command)}\n```\n" for command in cli.COMMANDS]
    return "\n".join([head, *parts])


@pytest.mark.skipif(sys.version_info[:2] >= (3, 13), reason="argparse of Python 3.13 words its help otherwise")
@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if re.search(r"^ *>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)],
    ids=lambda path: path.relative_to(PROJECT).as_posix(),
)
def test_every_example_of_a_docstring_gives_what_it_says(path):
    module = importlib.import_module(".".join(path.relative_to(PROJECT).with_suffix("").parts))
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0


def test_the_page_of_commands_is_what_help_says():
    assert COMMANDS.read_text(encoding="utf-8") == page_of_commands(), REGENERATE


if __name__ == "__main__":
    COMMANDS.write_text(page_of_commands(), encoding="utf-8", newline="\n")
