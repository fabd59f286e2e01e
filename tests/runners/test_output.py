"""The log of a command: of bounded size whatever is printed, and it says the same as the whole output."""

from __future__ import annotations

import gzip
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.domain.command import CommandSettings, Score
from stages.runners import output
from stages.runners.output import OutputLog, compress, decompress, read_output, read_score_file, round_score, shorten
from tests.runners.conftest import make_settings


def parse_settings(**changes: object) -> CommandSettings:
    return CommandSettings.model_validate(make_settings(**changes))


SETTINGS = parse_settings(
    score={"name": "loss", "line": "loss {score}"},
    facts={"speed": "speed {value}"},
    diverged=["it diverged"],
    failed=["it failed"],
)
#: What a trainer may print: lines that a template reads, and others.
WORDS = ["loss 1.25", "loss 3.5", "speed 7", "speed 8", "it diverged", "it failed early", "it failed", "nothing", "é"]


def keep(text: str, piece: int = 1 << 16) -> str:
    """What the log keeps of a text that comes in pieces of so many bytes."""
    log, data = OutputLog(SETTINGS), text.encode("utf-8")
    for at in range(0, len(data), piece):
        log.feed(data[at : at + piece])
    return log.finish()


@given(st.lists(st.sampled_from(WORDS), max_size=60), st.integers(1, 9))
def test_what_is_left_out_changes_nothing_that_is_read(lines, piece):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "HEAD_CHARACTERS", 40)
        patch.setattr(output, "TAIL_CHARACTERS", 60)
        text = "".join(f"{line}\n" for line in lines)
        assert read_output(SETTINGS, keep(text, piece)) == read_output(SETTINGS, text)


def test_the_beginning_and_the_end_are_kept_whole_lines_each_and_what_lies_between_is_counted(monkeypatch):
    monkeypatch.setattr(output, "HEAD_CHARACTERS", 10)
    monkeypatch.setattr(output, "TAIL_CHARACTERS", 12)
    lines = [f"{number:03}" for number in range(9)]  # four characters each, with their end
    fits = "".join(f"{line}\n" for line in lines[:6])
    assert keep(fits) == fits
    assert keep("\n".join(lines)) == (
        "000\n001\n002\n[3 lines left out, but for those that were read:]\n[...]\n006\n007\n008\n"
    )
    lines[3:6] = ["loss 1", "loss 2", "it failed"]
    assert keep("\n".join(lines)) == (
        "000\n001\n002\n[3 lines left out, but for those that were read:]\nloss 2\nit failed\n[...]\n006\n007\n008\n"
    )


def test_empty_lines_and_what_lies_behind_the_longest_line_are_not_kept(monkeypatch):
    monkeypatch.setattr(output, "MAX_LINE", 5)
    assert keep("a\r\n\n  \rbcdefgh\nlast", piece=1) == "a\nbcdef\nlast\n"


def test_progress_is_told_of_every_line_that_has_it(monkeypatch):
    heard = []
    log = OutputLog(parse_settings(progress="step {step} | loss {loss}"), heard.append)
    log.feed(b"step 1 | loss 3.5\nnothing\rstep 2 | loss 3\n")
    log.finish()
    assert heard == [{"step": "1", "loss": "3.5"}, {"step": "2", "loss": "3"}]


@pytest.mark.parametrize("template", ["step {step} | loss {loss}", None])
def test_progress_that_nobody_hears_or_that_has_no_form_is_a_line_like_any_other(template):
    heard = []
    for listener in (None, heard.append) if template is None else (None,):
        log = OutputLog(parse_settings(progress=template), listener)
        log.feed(b"step 1 | loss 3.5\n")
        assert log.finish() == "step 1 | loss 3.5\n"
    assert heard == []


def test_a_log_is_the_same_bytes_for_the_same_text_and_is_read_up_to_a_limit(monkeypatch):
    text = "é\nb\n" * 9
    assert compress(text) == compress(text)
    assert decompress(compress(text)) == text
    monkeypatch.setattr(output, "MAX_LOG_BYTES", 6)
    assert decompress(compress("a" * 99)) == "a" * 6
    for data in (b"", b"no log", gzip.compress(b"text")[4:]):
        if data:
            with pytest.raises(ValueError):
                decompress(data)


@pytest.mark.parametrize(
    ("data", "printed"),
    [
        (b'{"eval": {"loss": 1.50}}', "1.50"),
        (b'{"eval": {"loss": 2}}', "2"),
        (b'{"eval": {"loss": NaN}}', "NaN"),
        (b'{"eval": {"loss": "1.5"}}', None),
        (b'{"eval": {"loss": true}}', None),
        (b'{"eval": [1.5]}', None),
        (b'{"loss": 1.5}', None),
        (b'{"eval": {"loss": 1.' + b"5" * 400 + b"}}", None),
        (b"[" * 100_000, None),
        (b"", None),
    ],
)
def test_a_score_is_read_from_json_as_it_stands_there(data, printed):
    assert (
        read_score_file(data, Score.model_validate({"name": "loss", "json": "{out}/a.json", "key": "eval.loss"}))
        == printed
    )


def test_a_score_is_rounded_half_to_even_and_is_none_where_it_is_no_number():
    assert [round_score(text) for text in ("1.0000005", "1.0000015", None, "nan", "inf")] == [
        Decimal("1.000000"),
        Decimal("1.000002"),
        None,
        None,
        None,
    ]


def test_a_line_that_a_reason_quotes_is_printable_and_of_bounded_length():
    assert shorten("a\x1b[31mb") == "a?[31mb"
    assert shorten("x" * 200) == "x" * 200
    assert shorten("x" * 201) == "x" * 197 + "..."
