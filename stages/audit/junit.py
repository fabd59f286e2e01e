"""An audit as JUnit XML, which every CI system shows: one test case a check.

promotion verify --junit verify.xml
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from stages.audit.report import Report

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
