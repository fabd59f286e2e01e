"""The progress line: drawn on a terminal, plain and rare elsewhere."""

from __future__ import annotations

import io
from itertools import count

import pytest
from rich.console import Console

from trainer.line import ProgressLine
from trainer.outcome import Progress

AT = Progress(50, 100, 0.5, 1234.5, 3.21, 12.0)


def test_without_a_terminal_a_plain_line_comes_every_half_minute_and_nothing_else() -> None:
    out, at = io.StringIO(), count()
    with ProgressLine(Console(file=out), now=lambda: next(at) * 1.0) as line:
        for _ in range(70):
            line.progress(AT)
        line.warning("[b] is no markup")
    assert (
        out.getvalue() == "50.0%  step 50/100  1,234 tok/s  loss 3.210  12 s left\n" * 2 + "warning: [b] is no markup\n"
    )


def test_a_short_run_without_a_terminal_prints_nothing() -> None:
    out = io.StringIO()
    with ProgressLine(Console(file=out)) as line:
        line.progress(AT)
    assert out.getvalue() == ""


@pytest.mark.parametrize(("eta", "said"), [(12.0, "12 s left"), (None, "- left")])
def test_a_terminal_gets_one_line_drawn_anew(eta: float | None, said: str) -> None:
    out = io.StringIO()
    with ProgressLine(Console(file=out, force_terminal=True, width=160)) as line:
        line.progress(AT._replace(eta=eta))
        line.warning("a checkpoint was not written")
    assert "step 50/100  1,234 tok/s  loss 3.210" in out.getvalue()
    assert said in out.getvalue()
    assert "warning: a checkpoint was not written" in out.getvalue()
