"""The one door through which text that others wrote reaches people: terminals, Markdown, XML, pages.

    visible(author)          controls, bidi and invisible characters, surrogates, bytes that are no UTF-8: escaped
    one_line(path)           the same on one line: a line break is escaped as well
    markdown_code(reason)    one cell or word of Markdown, in which nothing is markup, a link or a mention
    OutputStream(stream)     a stream that writes only what is visible

`main_guard` puts an `OutputStream` in the place of stdout and stderr before a command begins, so whatever is printed
passes here. JSON needs no door: it is written in ASCII.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import Any, TextIO

#: What shows nothing, or shows something else than it is: Unicode's controls other than tab and newline, formats (bidi,
#: zero width, tags), separators of lines, surrogates, variation selectors, fillers, and what XML cannot hold.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
#: The letters of ASCII that show as they are: a page is nearly all of them, and the expression is slow.
_PLAIN = bytes(byte for byte in range(128) if not _HIDDEN.match(chr(byte)))
#: What would end a cell of a table in Markdown, or the code in it.
_MARKDOWN = str.maketrans({"|": r"\x7c", "`": r"\x60"})
#: A longer cell is cut: a comment under a pull request has a limit.
MOST_MARKDOWN = 300


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if "\udc80" <= character <= "\udcff":  # a byte that is no UTF-8, as Python reads file names and output of git
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def visible(text: str) -> str:
    """The text with everything that does not show, or moves what shows, as an escape; tabs and newlines stay."""
    others = text.encode("utf-8", "surrogatepass").translate(None, _PLAIN).decode("utf-8", "surrogatepass")
    return _HIDDEN.sub(_escape, text) if _HIDDEN.search(others) else text


def one_line(text: str) -> str:
    """The text, visible, on one line: nobody adds a line of their own to what we print."""
    return visible(text).replace("\n", r"\n").replace("\t", r"\t")


def markdown_code(text: str) -> str:
    """The text as code in a line or a cell of Markdown, where nothing in it is HTML, a link or a mention."""
    line = one_line(text).translate(_MARKDOWN)
    if len(line) > MOST_MARKDOWN:
        line = line[:MOST_MARKDOWN] + "…"
    # Code cannot be empty, and a space at both its ends is taken away.
    return f"`{line}`" if line.strip(" ") else ""


def visible_json(value: Any) -> Any:
    """A JSON value whose texts are visible, keys included: for scripts that show them."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(key): visible_json(item) for key, item in value.items()}
    return [visible_json(item) for item in value] if isinstance(value, list | tuple) else value


class OutputStream:
    """A text stream that writes only visible text and outlives its reader.

    Where whoever reads it has gone, the rest is dropped: that says nothing about the work, which goes on. Any other
    failure to write (a full disk) is an OSError that says so, or is dropped too where there is nowhere to tell it
    (`quiet`). `styled` is the same stream for a program that escapes by itself and writes colours: see `terminal`.
    """

    def __init__(self, stream: TextIO, name: str, *, quiet: bool = False) -> None:
        self._stream, self._name, self._quiet = stream, name, quiet
        self._failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def styled(self) -> TextIO:
        """The stream as it takes colours; the text must be visible already."""
        return _Styled(self)  # type: ignore[return-value]  # a stream as far as anybody writes to it

    def write(self, text: str) -> int:
        """Write what is visible of the text."""
        self.write_styled(visible(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def write_styled(self, text: str) -> None:
        """Write text that is visible already, and the codes of colours."""
        try:
            self._stream.write(text)
        except OSError as error:
            self._fail(error)

    def flush(self) -> None:
        """Hand on what was written; an error that a library kept to itself comes up again."""
        if self._failure is not None:
            raise self._failure
        try:
            self._stream.flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        # What is buffered would be tried again when Python ends, and would change the exit status.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        if not self._quiet and not isinstance(error, BrokenPipeError):
            self._failure = OSError(error.errno, f"could not write to {self._name}: {error.strerror}")
            raise self._failure from error


class _Styled:
    """The same stream, for text that is visible already."""

    def __init__(self, stream: OutputStream) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._stream.write_styled(text)
        return len(text)
