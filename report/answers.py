"""The last questions of the overview: How sure? and What next?, and what hindsight says, in one line each."""

from __future__ import annotations

from dataclasses import replace

from report.confidence import PAGE, Confidence, readable
from report.hindsight import PAGE as HINDSIGHT
from report.hindsight import HindsightView
from report.verdict import Clause, Verdict
from stages.confidence.results import StudyConfidence
from stages.domain import formatting


def add_answers(verdict: Verdict, confidence: Confidence, hindsight: HindsightView) -> Verdict:
    """The verdict with the last questions of the overview answered, and what hindsight adds where there is any."""
    return replace(verdict, notes=[*verdict.notes, *answers(confidence), *look_back(hindsight)])


def answers(confidence: Confidence) -> list[Clause]:
    """How sure? and What next?, in one line each, with the page that holds the proof."""
    result = confidence.result
    if result is None:
        text = f"not known: {confidence.missing}"
        return [Clause(text, PAGE, proof="How sure", question="How sure?")]
    step = result.what_next
    return [
        Clause(sure_text(result), PAGE, proof="How sure", question="How sure?"),
        Clause(_sentence(step.text), f"{PAGE}#next.{step.rule}", proof=step.rule, question="What next?"),
    ]


def look_back(hindsight: HindsightView) -> list[Clause]:
    """What hindsight says in one line; nothing where nothing was trained in hindsight."""
    if hindsight.result is None:
        return []
    return [Clause(readable(hindsight.result.text), HINDSIGHT, proof="Hindsight", question="In hindsight?")]


def sure_text(result: StudyConfidence) -> str:
    """The grade in short, and what it hangs on."""
    hanging = list(result.how_sure.hangs_on)
    tail = f"; {readable(formatting.listed(hanging, 2))}" if hanging else ""
    return _sentence(result.how_sure.short) + tail


def _sentence(text: str) -> str:
    """A sentence without its full stop, as pages set it."""
    return readable(text.rstrip("."))
