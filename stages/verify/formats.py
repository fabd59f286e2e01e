"""An audit as a table for people (rich), as Markdown for a pull request, and the history as a table.

promotion verify
promotion verify --markdown comment.md

An audit as JUnit XML, which every CI system shows: one test case a check.

promotion verify --junit verify.xml
"""

from __future__ import annotations

import os
import re
from typing import Any
from xml.etree import ElementTree

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from stages.verify.changes import Changed, Step
from stages.verify.check import Result
from stages.verify.result import Report, summary_line

COLOURS = {"passed": "green", "failed": "bold red", "skipped": "yellow"}
_COLOUR = {"verified": "green", "undecided": "yellow", "failed": "bold red"}
_SIGN = {"verified": "✅", "undecided": "➖", "failed": "❌"}
SHOWN = 8


def output() -> Console:
    """The terminal, or lines of a fixed width where the output is not one."""
    probe = Console()
    return probe if probe.is_terminal or "COLUMNS" in os.environ else Console(width=140)


def show(report: Report, console: Console) -> None:
    """Every check with its status, then every problem, in lines that stay whole and can be searched."""
    table = Table(title=f"promotion verify: {report.target}", title_justify="left", box=None, pad_edge=False)
    for column in ("check", "", "status", "what it shows"):
        table.add_column(column, overflow="fold")
    for result in report.results:
        table.add_row(result.check.id, result.check.name, Text(result.status, COLOURS[result.status]), _told(result))
    console.print(table)
    for result in report.results:
        _problems(result, console)
    console.print(Text(summary_line(report), _COLOUR[report.verdict]), soft_wrap=True)
    if skipped := [one.check.id for one in report.results if one.status == "skipped"]:
        console.print(Text(f"not checked, and not counted as passed: {', '.join(skipped)}", "yellow"), soft_wrap=True)


def _told(result: Result) -> Text:
    if result.status == "skipped":
        return Text(f"{result.reason}; to enable: {result.enable}", "dim")
    text = Text(result.check.title)
    for note in result.notes[:SHOWN]:
        text.append(f"\n  note: {note}", "dim")
    if len(result.notes) > SHOWN:
        text.append(f"\n  and {len(result.notes) - SHOWN} more notes (--json has them)", "dim")
    return text


def _problems(result: Result, console: Console) -> None:
    for problem in result.problems[:SHOWN]:
        console.print()
        console.print(
            f"[bold red]{result.check.id} {result.check.name}[/]: [bold]{escape(problem.place)}[/]", soft_wrap=True
        )
        for label, text in (("found", problem.found), ("expected", problem.expected), ("means", problem.meaning)):
            console.print(Text(f"  {label:<9} {text}"), soft_wrap=True)
    hidden = len(result.problems) - SHOWN + result.more
    if hidden > 0:
        console.print(Text(f"  and {hidden} more problems of {result.check.id} (--json has them)", "dim"))


def show_history(steps: list[Step], console: Console) -> None:
    """One line a commit: what it changed, by whom, and whether it verifies."""
    table = Table(title="what changed rules, evidence or decisions", title_justify="left", box=None, pad_edge=False)
    for column in ("commit", "who", "what changed", "verdict"):
        table.add_column(column, overflow="fold")
    for step in steps:
        verdict = step.report.verdict
        told = f"failed: {step.report.first_failure()}"
        if verdict != "failed":
            told = f"{step.report.told}, {step.report.count('skipped')} skipped"
        what = Text("\n".join(step.changes))
        table.add_row(step.commit[:12], Text(step.who), what, Text(told, _COLOUR[verdict]))
    console.print(table)


def show_changed(changed: list[Changed], against: str, console: Console) -> None:
    """The gates that decide otherwise than at another commit."""
    if not changed:
        console.print(f"no decision changed since {against}")
        return
    table = Table(title=f"decisions that changed since {against}", title_justify="left", box=None, pad_edge=False)
    for column in ("gate", "before", "now"):
        table.add_column(column, overflow="fold")
    for one in changed:
        table.add_row(one.gate, Text(_fate(one.before)), Text(_fate(one.now)))
    console.print(table)


def markdown(report: Report, changed: list[Changed], steps: list[Step] | None) -> str:
    """The verdict and the decisions that changed, for a comment under a pull request."""
    lines = [f"### {_SIGN[report.verdict]} {_cell(summary_line(report))}", ""]
    bad = [step.commit[:12] for step in steps or [] if step.report.verdict == "failed"]
    if steps and bad:
        lines += [
            f"{len(bad)} of {len(steps)} commits failed: {', '.join(bad[:20])}. The last of them is told here.",
            "",
        ]
    if changed:
        lines += ["| gate | before | now |", "|---|---|---|"]
        lines += [f"| {one.gate} | {_cell(_fate(one.before))} | {_cell(_fate(one.now))} |" for one in changed]
    else:
        lines.append("No decision changed.")
    problems = [(one.check.id, problem) for one in report.results for problem in one.problems]
    if problems:
        lines += ["", "| check | where | found | expected | means |", "|---|---|---|---|---|"]
        for check, p in problems[:20]:
            lines.append(
                f"| {check} | {_cell(p.place)} | {_cell(p.found)} | {_cell(p.expected)} | {_cell(p.meaning)} |"
            )
        if len(problems) > 20:
            lines.append(f"\nand {len(problems) - 20} more problems.")
    skipped = [one.check.id for one in report.results if one.status == "skipped"]
    if skipped:
        lines += ["", f"Not checked, and not counted as passed: {', '.join(skipped)}."]
    return "\n".join(lines) + "\n"


def _fate(decision: dict[str, Any] | None) -> str:
    if decision is None:
        return "not decided"
    promoted = ", ".join(decision["promoted"]) or "nobody"
    verdicts = ", ".join(f"{rule} {value}" for rule, value in sorted(decision["verdicts"].items()))
    return f"{decision['outcome']}: promotes {promoted}" + (f"; {verdicts}" if verdicts else "")


def _cell(text: str) -> str:
    """Text that cannot leave its cell, whatever a record or a file name holds."""
    for old, new in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("|", "\\|"),
        ("\n", " "),
        ("@", "&#64;"),
        ("`", "'"),
    ):
        text = text.replace(old, new)
    return text[:300]


#: What XML 1.0 cannot hold, whatever a tampered file may contain.
_FORBIDDEN = re.compile("[^\t\n\r -퟿-�\U00010000-\U0010ffff]")


def junit(reports: list[Report]) -> bytes:
    """Reports as UTF-8 XML: one suite, or of several commits a suite each."""
    suites = [_suite(report) for report in reports]
    top = suites[0]
    if len(suites) > 1:
        top = ElementTree.Element("testsuites", {"name": "promotion verify"})
        top.extend(suites)
    ElementTree.indent(top)
    made: bytes = ElementTree.tostring(top, encoding="utf-8", xml_declaration=True)
    return made + b"\n"


def _suite(report: Report) -> ElementTree.Element:
    counts = {
        "tests": str(len(report.results)),
        "failures": str(sum(1 for one in report.results if report.refused(one))),
        "skipped": str(sum(1 for one in report.results if one.status == "skipped" and not report.refused(one))),
    }
    suite = ElementTree.Element(
        "testsuite", {"name": _clean(f"promotion verify {report.target}"), "errors": "0", **counts}
    )
    for result in report.results:
        name = f"{result.check.id} {result.check.name}"
        case = ElementTree.SubElement(suite, "testcase", {"classname": "promotion.verify", "name": name})
        if report.refused(result):
            text = "\n".join(str(one) for one in result.problems) or f"{result.reason}; to enable: {result.enable}"
            message = text.split("\n")[0]
            ElementTree.SubElement(case, "failure", {"message": _clean(message)}).text = _clean(text)
        elif result.status == "skipped":
            ElementTree.SubElement(case, "skipped", {"message": _clean(f"{result.reason}; {result.enable}")})
        if result.notes:
            ElementTree.SubElement(case, "system-out").text = _clean("\n".join(result.notes))
    return suite


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("?", text)
