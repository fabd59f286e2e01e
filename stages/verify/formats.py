"""A verification as tables for people, as Markdown for a pull request, and as JUnit XML for CI systems.

    print_report(report)                                      promotion verify
    markdown(report, changed, steps)                          promotion verify --markdown comment.md
    junit([report])                                           promotion verify --junit verify.xml

rich is imported where a table is printed: a verification that writes files alone does not pay for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from stages import terminal
from stages.domain.foreign_text import markdown_code, one_line, visible
from stages.verify.changes import ChangedDecision
from stages.verify.result import CheckResult, Report, Status, Verdict

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from stages.verify import CommitStep

_STATUS_STYLE: dict[Status, str] = {"passed": "green", "failed": "bold red", "skipped": "yellow"}
_VERDICT_STYLE: dict[Verdict, str] = {"verified": "green", "undecided": "yellow", "failed": "bold red"}
_VERDICT_SIGN: dict[Verdict, str] = {"verified": "✅", "undecided": "➖", "failed": "❌"}
#: How many problems and notes of one check a person is shown.
MOST_SHOWN = 8
#: How many problems, or failed commits, a comment lists.
MOST_LISTED = 20


def print_report(report: Report) -> None:
    """Every check with its status, then every problem, in lines that stay whole and can be searched."""
    from rich.text import Text

    console = terminal.console()
    rows = [
        (result.check.id, result.check.name, Text(result.status, _STATUS_STYLE[result.status]), _check_text(result))
        for result in report.results
    ]
    _print_table(console, f"promotion verify: {report.target}", ("check", "", "status", "what it shows"), rows)
    for result in report.results:
        _print_problems(result, console)
    terminal.print_line(console, Text(report.summary(), _VERDICT_STYLE[report.verdict]))
    if skipped := report.skipped():
        terminal.print_line(console, Text(f"not checked, and not counted as passed: {', '.join(skipped)}", "yellow"))


def _print_table(console: Console, title: str, heads: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _check_text(result: CheckResult) -> Text:
    """What a check shows, with its first notes; or why it was skipped."""
    from rich.text import Text

    if result.status == "skipped":
        return Text(one_line(f"{result.reason}; to enable: {result.enable}"), "dim")
    text = Text(result.check.title)
    for note in result.notes[:MOST_SHOWN]:
        text.append(f"\n  note: {one_line(note)}", "dim")
    if len(result.notes) > MOST_SHOWN:
        text.append(f"\n  and {len(result.notes) - MOST_SHOWN} more notes (--json has them)", "dim")
    return text


def _print_problems(result: CheckResult, console: Console) -> None:
    from rich.text import Text

    for problem in result.problems[:MOST_SHOWN]:
        console.print()
        head = Text.assemble((str(result.check), "bold red"), ": ", (one_line(problem.place), "bold"))
        terminal.print_line(console, head)
        for label, text in (("found", problem.found), ("expected", problem.expected), ("means", problem.meaning)):
            terminal.print_line(console, Text(f"  {label:<9} {one_line(text)}"))
    hidden = len(result.problems) - MOST_SHOWN + result.more
    if hidden > 0:
        more = f"  and {hidden} more problems of {result.check.id} (--json has them)"
        terminal.print_line(console, Text(more, "dim"))


def print_history(steps: Sequence[CommitStep]) -> None:
    """One line a commit: what it changed, by whom, and whether it verifies."""
    from rich.text import Text

    rows = []
    for step in steps:
        report, verdict = step.report, step.report.verdict
        failed = f"failed: {report.first_failure()}"
        text = failed if verdict == "failed" else f"{report.verdict_text}, {report.count('skipped')} skipped"
        changes = Text("\n".join(map(one_line, step.changes)))
        rows.append((step.commit[:12], Text(one_line(step.author)), changes, Text(text, _VERDICT_STYLE[verdict])))
    title, heads = "what changed rules, evidence or decisions", ("commit", "who", "what changed", "verdict")
    _print_table(terminal.console(), title, heads, rows)


def print_changed_decisions(changed: Sequence[ChangedDecision], before: str) -> None:
    """The gates that decide otherwise than at another commit."""
    from rich.text import Text

    console = terminal.console()
    if not changed:
        terminal.print_line(console, f"no decision changed since {before}")
        return
    rows = [[Text(text) for text in (change.gate, *_decisions(change))] for change in changed]
    _print_table(console, f"decisions that changed since {before}", ("gate", "before", "now"), rows)


def _decisions(change: ChangedDecision) -> tuple[str, str]:
    before, after = (str(side) if side else "not decided" for side in (change.before, change.after))
    return before, after


def markdown(report: Report, changed: Sequence[ChangedDecision], steps: Sequence[CommitStep]) -> str:
    """The verdict and the decisions that changed, for a comment under a pull request."""
    lines = [f"### {_VERDICT_SIGN[report.verdict]} {one_line(report.summary())}", ""]
    if failed := [step.commit[:12] for step in steps if step.report.verdict == "failed"]:
        listed = ", ".join(failed[:MOST_LISTED])
        lines += [f"{len(failed)} of {len(steps)} commits failed: {listed}. The last of them is shown here.", ""]
    if changed:
        lines += ["| gate | before | now |", "|---|---|---|"]
        lines += [f"| {' | '.join(map(markdown_code, (change.gate, *_decisions(change))))} |" for change in changed]
    else:
        lines.append("No decision changed.")
    problems = [(result.check.id, problem) for result in report.results for problem in result.problems]
    if problems:
        lines += ["", "| check | where | found | expected | means |", "|---|---|---|---|---|"]
    for check, problem in problems[:MOST_LISTED]:
        cells = (problem.place, problem.found, problem.expected, problem.meaning)
        lines.append(f"| {check} | {' | '.join(map(markdown_code, cells))} |")
    if len(problems) > MOST_LISTED:
        lines.append(f"\nand {len(problems) - MOST_LISTED} more problems.")
    if skipped := report.skipped():
        lines += ["", f"Not checked, and not counted as passed: {', '.join(skipped)}."]
    return "\n".join(lines) + "\n"


def junit(reports: Sequence[Report]) -> bytes:
    """Reports as UTF-8 XML, a test case a check: one suite, or of several commits a suite each."""
    suites = [_suite(report) for report in reports]
    top = suites[0]
    if len(suites) > 1:
        top = ElementTree.Element("testsuites", {"name": "promotion verify"})
        top.extend(suites)
    ElementTree.indent(top)
    xml: bytes = ElementTree.tostring(top, encoding="utf-8", xml_declaration=True)
    return xml + b"\n"


def _suite(report: Report) -> ElementTree.Element:
    skipped = [result for result in report.results if result.status == "skipped" and not report.refused(result)]
    counts = {
        "tests": str(len(report.results)),
        "failures": str(sum(1 for result in report.results if report.refused(result))),
        "skipped": str(len(skipped)),
    }
    name = visible(f"promotion verify {report.target}")
    suite = ElementTree.Element("testsuite", {"name": name, "errors": "0", **counts})
    for result in report.results:
        case = ElementTree.SubElement(suite, "testcase", {"classname": "promotion.verify", "name": str(result.check)})
        if report.refused(result):
            text = (
                "\n".join(one_line(str(problem)) for problem in result.problems)
                or f"{result.reason}; to enable: {result.enable}"
            )
            message = visible(text.split("\n")[0])
            ElementTree.SubElement(case, "failure", {"message": message}).text = visible(text)
        elif result.status == "skipped":
            ElementTree.SubElement(case, "skipped", {"message": visible(f"{result.reason}; {result.enable}")})
        if result.notes:
            ElementTree.SubElement(case, "system-out").text = "\n".join(map(one_line, result.notes))
    return suite
