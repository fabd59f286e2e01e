"""Line templates: how the score and the facts are read from what a stranger's trainer prints.

    template = LineTemplate.parse("step {*}: train loss {*}, val loss {score}")
    template.match("step 20: train loss 3.7464, val loss 3.7188")      {"score": "3.7188"}

A template is literal text, `{name}` for one number and `{*}` for anything; `{{` and `}}` are braces. It must match a
whole line; runs of blanks count as one blank, and blanks at both ends do not count. There is no backtracking: a line
of n characters costs at most a small multiple of n, whatever it holds, so that a reviewer may parse a hostile log.
Numbers never pass through a float: `parse_number` rounds the printed decimal half-even to six places.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

#: Longer lines are cut here: no trainer prints its score behind so much text.
MAX_LINE = 16_384
MAX_TEMPLATE = 1_000
#: A longer run of digits is not a number that anybody reports.
MAX_NUMBER = 64
#: Larger numbers are no scores; a trainer that reports one has diverged.
LIMIT = Decimal(1_000_000)
SIX_PLACES = Decimal("0.000001")

ANYTHING = "*"
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_NUMBER = re.compile(
    r"[+-]?(?:nan|inf(?:inity)?|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?)", re.IGNORECASE
)
#: Colours and cursor movements, window titles, and the other two-character escapes of ECMA-48.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_a-z])")
_BLANKS = re.compile(r"[ \t]+")


class BadTemplate(ValueError):
    """A line template that could not be matched without guessing."""


@dataclass(frozen=True)
class Literal:
    """Text that stands in the line as it is."""

    text: str


@dataclass(frozen=True)
class Number:
    """One number; `name` is what it is called."""

    name: str


#: What stands between two `{*}`: its match at a place is unique, or there is none.
Block = tuple[Literal | Number, ...]


def clean_line(text: str) -> str:
    """A line as templates see it: no colours, at most MAX_LINE characters, runs of blanks as one, none at the ends."""
    return _BLANKS.sub(" ", _ANSI.sub("", text[:MAX_LINE])).strip()


def split_lines(text: str) -> list[str]:
    """The lines of a log, cleaned, without empty ones. CR ends a line too: progress bars overwrite theirs with it."""
    return [line for part in re.split(r"[\r\n]+", text) if (line := clean_line(part))]


def parse_number(text: str) -> Decimal | None:
    """A captured number, rounded half-even to six places; None for NaN, an infinity, and what is beyond LIMIT."""
    number = Decimal(text)
    if not number.is_finite() or abs(number) > LIMIT:
        return None
    return number.quantize(SIX_PLACES, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True)
class LineTemplate:
    """A parsed template: blocks with anything between them; the first and the last stand at the ends of the line."""

    text: str
    blocks: tuple[Block, ...]

    @classmethod
    def parse(cls, text: str) -> LineTemplate:
        """The template that `text` writes; `BadTemplate` says what is wrong with it."""
        if len(text) > MAX_TEMPLATE:
            raise BadTemplate(f"a template of at most {MAX_TEMPLATE} characters")
        if "\n" in text or "\r" in text:
            raise BadTemplate("one line: output is split at line ends before it is matched")
        blocks: list[list[Literal | Number]] = [[]]
        for piece in _pieces(text):
            if piece == ANYTHING:
                if len(blocks) > 1 and not blocks[-1]:
                    raise BadTemplate("one {*}, not two beside each other")
                blocks.append([])
            else:
                _append(blocks, piece)
        template = cls(text, tuple(tuple(block) for block in _trimmed(blocks)))
        if not any(isinstance(piece, Literal) for block in template.blocks for piece in block):
            raise BadTemplate("some text that tells the line from others")
        twice = sorted({name for name in template.names if template.names.count(name) > 1})
        if twice:
            raise BadTemplate(f"each name once, but {{{twice[0]}}} stands there more than once")
        return template

    @property
    def names(self) -> list[str]:
        """The names of the numbers, in order."""
        return [piece.name for block in self.blocks for piece in block if isinstance(piece, Number)]

    def match(self, line: str) -> dict[str, str] | None:
        """The numbers of a cleaned line as text, by name; None where the line is another one."""
        numbers: dict[str, str] = {}
        end = _match_block(self.blocks[0], line, 0, numbers)
        if end is None:
            return None
        if len(self.blocks) == 1:
            return numbers if end == len(line) else None
        for block in self.blocks[1:-1]:
            end = next(_block_ends(block, line, end, numbers), None)
            if end is None:
                return None
        return self._match_last(line, end, numbers)

    def _match_last(self, line: str, start: int, numbers: dict[str, str]) -> dict[str, str] | None:
        if not self.blocks[-1]:
            return numbers
        ends = _block_ends(self.blocks[-1], line, start, numbers)
        return numbers if any(end == len(line) for end in ends) else None


def last_match(template: LineTemplate, lines: Iterable[str]) -> dict[str, str] | None:
    """The numbers of the last line that matches; None where none does."""
    numbers: dict[str, str] | None = None
    for line in lines:
        numbers = template.match(line) or numbers
    return numbers


def _pieces(text: str) -> Iterator[str | Literal | Number]:
    """The parts of a template's text; ANYTHING for `{*}`."""
    for match in _PIECE.finditer(text):
        piece = match[0]
        if piece in ("{", "}"):
            raise BadTemplate(f"{piece * 2} for a brace that is meant as itself, not a single {piece}")
        if match[1] is None:
            yield Literal(_BLANKS.sub(" ", {"{{": "{", "}}": "}"}.get(piece, piece)))
        elif match[1] == ANYTHING:
            yield ANYTHING
        elif _NAME.fullmatch(match[1]):
            yield Number(match[1])
        else:
            raise BadTemplate(f"{{name}} of lower-case letters, digits and '_', or {{*}}, not {piece}")


def _append(blocks: list[list[Literal | Number]], piece: str | Literal | Number) -> None:
    block = blocks[-1]
    if isinstance(piece, Number):
        if (not block and len(blocks) > 1) or (block and isinstance(block[-1], Number)):
            raise BadTemplate(f"text before {{{piece.name}}}: nobody could tell where the number begins")
        block.append(piece)
    elif isinstance(piece, Literal):
        if block and isinstance(block[-1], Literal):
            block[-1] = Literal(_BLANKS.sub(" ", block[-1].text + piece.text))
        else:
            block.append(piece)


def _trimmed(blocks: list[list[Literal | Number]]) -> list[list[Literal | Number]]:
    """The blocks without blanks at both ends of the template, which no cleaned line has."""
    first, last = blocks[0], blocks[-1]
    if first and isinstance(first[0], Literal):
        first[0] = Literal(first[0].text.lstrip())
    if last and isinstance(last[-1], Literal):
        last[-1] = Literal(last[-1].text.rstrip())
    return [[piece for piece in block if piece != Literal("")] for block in blocks]


def _match_block(block: Block, line: str, start: int, numbers: dict[str, str]) -> int | None:
    """Where a block that begins at `start` ends, its numbers noted; None where it does not stand there."""
    place = start
    for piece in block:
        if isinstance(piece, Literal):
            if not line.startswith(piece.text, place):
                return None
            place += len(piece.text)
        else:
            match = _NUMBER.match(line, place, place + MAX_NUMBER + 1)
            if match is None or len(match[0]) > MAX_NUMBER:
                return None
            numbers[piece.name] = match[0]
            place = match.end()
    return place


def _block_ends(block: Block, line: str, start: int, numbers: dict[str, str]) -> Iterator[int]:
    """Where the block ends for every place from `start` on at which it stands, from left to right."""
    first = block[0]
    assert isinstance(first, Literal)
    at = line.find(first.text, start)
    while at >= 0:
        end = _match_block(block, line, at, numbers)
        if end is not None:
            yield end
        at = line.find(first.text, at + 1)
