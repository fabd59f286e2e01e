"""Nothing that hides, moves or ends what is shown leaves by the one door."""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from stages.domain.errors import Invalid
from stages.domain.foreign_text import MOST_MARKDOWN, OutputStream, markdown_code, one_line, visible, visible_json

#: Any code point, lone surrogates included, and often those that do harm.
HOSTILE = st.text(
    st.sampled_from("\x00\x07\x08\r\x1b\x7f\x9b\xad\u061c\u200b\u200e\u2028\u202e\u2066\u3164\ufe0f\ufeff\udc80\udcff\ud800\U000e0041")
    | st.sampled_from("a|`*_[]()<>&@#:/\\\n\t ")
    | st.characters()
)  # fmt: skip


def hidden(text: str) -> set[str]:
    """The characters of a text that show nothing, or something else than they are."""
    return {one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")}


@given(HOSTILE)
def test_what_does_not_show_is_escaped(text):
    assert hidden(visible(text)) <= {"\n", "\t"}
    assert hidden(one_line(text)) == set()
    one_line(text).encode("utf-8")


def test_every_character_of_unicode_is_visible_or_escaped():
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    assert hidden(visible(every)) == {"\n", "\t"}


@given(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp", "Mn", "Lo"))))
def test_ordinary_text_stays_as_it_is(text):
    assert one_line(text) == text


@given(HOSTILE)
def test_what_is_visible_stays_as_it_is(text):
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\u202eb", r"a\u202eb"),
        ("a\rb", r"a\rb"),
        ("a\nb\tc", r"a\nb\tc"),
        ("caf\udce9", r"caf\xe9"),
        ("\udc80\udcff", r"\x80\xff"),
        ("\udc7f\udd00", r"\udc7f\udd00"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("Ωé中−…\u00a0\u202f", "Ωé中−…\u00a0\u202f"),
    ],
)
def test_an_escape_says_what_stood_there(text, shown):
    assert one_line(text) == shown


@given(st.lists(HOSTILE, min_size=2, max_size=4))
def test_a_cell_of_markdown_stays_one_cell_of_code(texts):
    row = " | ".join(map(markdown_code, texts))
    page = f"| {' | '.join('abcd'[: len(texts)])} |\n{'|---' * len(texts)}|\n| {row} |\n\nafter\n"
    tokens = MarkdownIt("commonmark").enable("table").parse(page)
    cells = [tokens[at + 1] for at, token in enumerate(tokens) if token.type == "td_open"]
    assert len(cells) == len(texts)
    for cell, text in zip(cells, texts, strict=True):
        kinds = [child.type for child in cell.children or []]
        assert kinds in ([], ["code_inline"]) and hidden(cell.content) == set()
        shown = one_line(text).replace("|", r"\x7c").replace("`", r"\x60")
        if shown.strip(" ") and len(shown) <= MOST_MARKDOWN:
            assert cell.children[0].content.strip(" ") == shown.strip(" ")
    assert [token.content for token in tokens if token.type == "inline"][-1] == "after"


def test_a_long_cell_is_cut():
    assert MOST_MARKDOWN == 300
    assert markdown_code("x" * 300) == f"`{'x' * 300}`"
    assert markdown_code("x" * 301) == markdown_code("x" * 10_000) == f"`{'x' * 300}…`"


@pytest.mark.parametrize(("text", "code"), [("", ""), ("   ", ""), (" a ", "` a `"), ("a|b`c\nd", r"`a\x7cb\x60c\nd`")])
def test_a_cell_says_what_stood_there_and_is_empty_where_nothing_did(text, code):
    assert markdown_code(text) == code


def test_a_script_gets_the_same_value_with_what_is_hidden_escaped():
    value = {"a\u202e": ["b\x1b", 1, None, 2.5, True, ("c\r",)], "d": {"e": {}}}
    assert visible_json(value) == {r"a\u202e": [r"b\x1b", 1, None, 2.5, True, [r"c\r"]], "d": {"e": {}}}


@given(
    st.recursive(HOSTILE | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(HOSTILE, inner))
)
def test_a_script_shows_visible_text(value):
    text = json.dumps(visible_json(value), ensure_ascii=False)
    assert hidden(text) == set()
    assert hidden(repr(json.loads(text))) == set()


@given(st.lists(HOSTILE))
def test_a_stream_writes_what_is_visible(texts):
    into = io.StringIO()
    stream = OutputStream(into, "x")
    stream.writelines(texts)
    print(*texts, file=stream)
    assert hidden(into.getvalue()) <= {"\n", "\t"}


def test_a_styled_stream_keeps_its_colours():
    into = io.StringIO()
    OutputStream(into, "x").styled.write("\x1b[31mred\x1b[0m")
    assert into.getvalue() == "\x1b[31mred\x1b[0m"


@given(HOSTILE, HOSTILE, HOSTILE)
def test_an_error_at_a_place_is_one_visible_line(where, problem, place):
    assert hidden(str(Invalid.at(where, problem, place))) == set()


class Broken(io.StringIO):
    """A stream that cannot be written, or only when it is flushed; `file` stands for where it leads."""

    def __init__(self, file: io.BufferedWriter, error: OSError, *, at_flush: bool = False) -> None:
        super().__init__()
        self.file, self.error, self.at_flush = file, error, at_flush

    def write(self, text: str) -> int:
        if not self.at_flush:
            raise self.error
        return super().write(text)

    def flush(self) -> None:
        if self.at_flush:
            raise self.error

    def fileno(self) -> int:
        return self.file.fileno()


FULL_DISK = OSError(28, "No space left on device")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[io.BufferedWriter]:
    """An open file."""
    with (tmp_path / "target").open("wb", buffering=0) as file:
        yield file


def test_a_stream_counts_what_it_was_given_and_is_the_stream_otherwise():
    into = io.StringIO()
    stream = OutputStream(into, "x")
    assert (stream.write("a\x1bb"), stream.styled.write("\x1b[0m")) == (3, 4)
    stream.writelines(["c", "\r"])
    assert into.getvalue() == "a\\x1bb\x1b[0mc\\r"
    assert stream.getvalue() == stream.styled.getvalue() == into.getvalue()
    assert stream.closed is False


def test_what_is_flushed_is_handed_on():
    class Noted(io.StringIO):
        flushes = 0

        def flush(self) -> None:
            self.flushes += 1

    stream = OutputStream(Noted(), "x")
    stream.flush()
    assert stream.flushes == 1


@pytest.mark.parametrize("at_flush", [True, False])
def test_what_cannot_be_written_is_an_error_now_and_at_every_flush_after(target, at_flush):
    stream = OutputStream(Broken(target, FULL_DISK, at_flush=at_flush), "standard output")
    message = "[Errno 28] could not write to standard output: No space left on device"
    if at_flush:
        stream.write("x")
    for attempt in (stream.flush if at_flush else lambda: stream.write("x"), stream.flush, stream.flush):
        with pytest.raises(OSError) as failed:
            attempt()
        assert (str(failed.value), failed.value.errno) == (message, 28)
    target.write(b"what a buffer still holds")
    assert Path(target.name).read_bytes() == b"", "it goes nowhere: nothing is tried again when Python ends"


@pytest.mark.parametrize(("error", "quiet"), [(FULL_DISK, True), (BrokenPipeError(32, "Broken pipe"), False)])
@pytest.mark.parametrize("at_flush", [True, False])
def test_without_a_reader_or_where_nobody_can_be_told_the_rest_is_dropped(target, error, quiet, at_flush):
    stream = OutputStream(Broken(target, error, at_flush=at_flush), "standard error", quiet=quiet)
    assert stream.write("abc") == 3
    stream.flush()
    target.write(b"what a buffer still holds")
    assert Path(target.name).read_bytes() == b""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no list of descriptors here")
def test_no_descriptor_is_left_open(target):
    stream = OutputStream(Broken(target, FULL_DISK), "x", quiet=True)
    before = len(list(Path("/proc/self/fd").iterdir()))
    stream.write("x")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_stream_without_a_descriptor_fails_in_the_same_words():
    class Memory(io.StringIO):
        def write(self, text: str) -> int:
            raise FULL_DISK

    with pytest.raises(OSError, match=r"\[Errno 28\] could not write to x: No space left on device"):
        OutputStream(Memory(), "x").write("x")
