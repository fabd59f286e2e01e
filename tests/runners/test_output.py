"""The log of a command: of bounded size whatever is printed, and it says the same as the whole output."""

from __future__ import annotations

import gzip
import zlib
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.domain.command import CommandSettings, Score
from stages.runners import output
from stages.runners.output import (
    OutputLog,
    compress,
    decompress,
    read_bounded,
    read_end,
    read_output,
    read_score_file,
    round_score,
    shorten,
)
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
    assert compress(text) == compress(text) == gzip.compress(text.encode(), mtime=0)
    assert decompress(compress("a\udcff")) == "a?"
    assert decompress(compress(text)) == text
    monkeypatch.setattr(output, "MAX_LOG_BYTES", 6)
    assert decompress(compress("a" * 99)) == "a" * 6
    for data in (b"no log", gzip.compress(b"text")[4:], zlib.compress(b"text")):
        with pytest.raises(ValueError, match=r"^no gzip file: Error -3 while decompressing data"):
            decompress(data)
    assert decompress(b"") == ""


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
        (b'{"eval": {"loss": 1.' + b"5" * 62 + b"}}", "1." + "5" * 62),
        (b'{"eval": {"loss": 1.' + b"5" * 63 + b"}}", None),
        (b'{"eval": {"loss": 1.' + b"5" * 400 + b"}}", None),
        (b'{"eval": {"loss": null}}', None),
        (b'{"eval": null}', None),
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


@pytest.mark.parametrize(
    ("room", "head"), [(7, "000\n001\n"), (8, "000\n001\n"), (9, "000\n001\n002\n"), (4, "000\n"), (1, "000\n")]
)
def test_the_beginning_is_kept_until_its_room_is_used_up(monkeypatch, room, head):
    monkeypatch.setattr(output, "HEAD_CHARACTERS", room)
    monkeypatch.setattr(output, "TAIL_CHARACTERS", 4)
    left = 29 - head.count("\n")
    expected = f"{head}[{left} lines left out, but for those that were read:]\n[...]\n029\n"
    assert keep("\n".join(f"{number:03}" for number in range(30))) == expected


def test_of_a_kind_of_line_that_is_left_out_the_last_reading_and_the_first_marker_are_kept(monkeypatch):
    monkeypatch.setattr(output, "HEAD_CHARACTERS", 0)
    monkeypatch.setattr(output, "TAIL_CHARACTERS", 4)
    lines = ["speed 1", "loss 1", "it diverged", "speed 2", "it failed", "loss 2", "it diverged", "it failed", "end"]
    assert keep("\n".join(lines)).splitlines()[1:-2] == ["speed 2", "loss 2", "it diverged", "it failed"]


def test_a_letter_that_is_cut_off_at_the_end_shows_as_one_that_cannot_be_read():
    log = OutputLog(SETTINGS)
    log.feed(b"caf\xc3")
    assert log.finish() == "caf\ufffd\n"


def test_a_long_line_that_comes_in_pieces_is_held_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(output, "MAX_LINE", 5)
    log = OutputLog(SETTINGS)
    for _ in range(9):
        log.feed(b"abc")
        assert len(log._partial) <= 5
    assert log.finish() == "abcab\n"


def test_the_end_of_a_log_is_its_last_lines_each_shortened():
    assert read_end("a\nb\n\x1b[2Jc\n", 2).splitlines() == ["  b", "  c"]
    lines = [str(number) for number in range(20)]
    assert read_end("\n".join(lines)) == "\n".join(f"  {line}" for line in lines[5:])
    assert read_end("") == "  (it printed nothing)"


def test_a_file_is_read_if_it_is_a_regular_one_within_its_limit(tmp_path):
    path = tmp_path / "score.json"
    assert read_bounded(path, 9) is None
    path.write_bytes(b"123456789")
    assert (read_bounded(path, 9), read_bounded(path, 8), read_bounded(tmp_path, 1 << 20)) == (b"123456789", None, None)


def test_a_link_in_the_place_of_a_file_is_not_followed(monkeypatch, tmp_path):
    path = tmp_path / "score.json"
    path.write_bytes(b"1")
    monkeypatch.setattr(Path, "is_symlink", lambda self: True)
    assert read_bounded(path, 9) is None


def test_the_readings_of_an_output_are_the_last_of_each_template_and_the_first_of_each_marker():
    text = "speed 7\nloss 1.50\nspeed nan\nit failed early\nit diverged\nloss 2\nit failed\n"
    readings = read_output(SETTINGS, text)
    assert readings == output.Readings("2", {"speed": "nan"}, "it diverged", "it failed")
    assert readings.numbers() == {}
    assert read_output(SETTINGS, "speed 7\n") == output.Readings(None, {"speed": "7"}, None, None)
    assert read_output(SETTINGS, "speed 7\n").numbers() == {"speed": 7.0}
    unmarked = parse_settings(diverged=[], failed=[], facts={}, score={"name": "x", "json": "{out}/a", "key": "a"})
    assert read_output(unmarked, "val_loss: 3\n") == output.Readings(None, {}, None, None)
