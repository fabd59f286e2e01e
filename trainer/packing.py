"""Best-fit packing: documents become full rows that all begin with BOS, and no token is thrown away.

A row is filled with the largest waiting piece that fits, the oldest of its size. Where none fits, one is cut: of the
pieces longer than a row the one that has waited longest, or, where none of those waits, the oldest of the smallest
size. Its rest goes to the end of the queue as a piece of its own (so a batch does not fill up with one long document).
Every piece is preceded by BOS. The order of documents is a function of seed and epoch alone.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.tokens import Index, Split

POOL = 128  # waiting pieces: enough choice to fit, few enough that a short run sees more than beginnings
Piece = tuple[int, int]


def document_order(documents: int, seed: int, epoch: int) -> Index:
    """A permutation of `documents`: sorted by a splitmix64 hash of (seed, epoch, index).

    Not a generator of numpy's or torch's, whose streams may change from release to release.
    """
    with np.errstate(over="ignore"):
        key = _mix(np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15) * np.uint64(epoch + 1))
        mixed = _mix(np.arange(documents, dtype=np.uint64) * np.uint64(0xD1342543DE82EF95) + key)
    return np.argsort(mixed, kind="stable").astype(np.int64)


def _mix(value: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    z = np.asarray(value, dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class Packer:
    """An endless (or, with `seed` None, one-pass and in file order) stream of packed rows of a split."""

    def __init__(self, split: Split, bos: int, length: int, seed: int | None) -> None:
        self._split = split
        self._bos = bos
        self._capacity = length  # of a piece: a row is `length` + 1 tokens, its first a BOS
        self._seed = seed
        self.epoch = 0
        self._next = 0  # the document of this epoch's order that comes next
        self._order = self._epoch_order()
        self._long: deque[Piece] = deque()
        self._short: dict[int, deque[Piece]] = {}
        self._sizes = 0  # bit n is set where a piece of n tokens waits
        self._waiting = 0

    def _epoch_order(self) -> Index:
        documents = self._split.begins.size
        if self._seed is None:
            return np.arange(documents, dtype=np.int64)
        return document_order(documents, self._seed, self.epoch)

    def _push(self, piece: Piece) -> None:
        size = piece[1] - piece[0]
        self._waiting += 1
        if size > self._capacity:
            self._long.append(piece)
            return
        self._short.setdefault(size, deque()).append(piece)
        self._sizes |= 1 << size

    def _take(self, room: int) -> Piece | None:
        """The largest waiting piece of at most `room` tokens, the oldest of its size."""
        size = (self._sizes & ((2 << room) - 1)).bit_length() - 1
        if size <= 0:
            return None
        queue = self._short[size]
        piece = queue.popleft()
        self._waiting -= 1
        if not queue:
            self._sizes &= ~(1 << size)
        return piece

    def _cut(self, room: int) -> Piece | None:
        """The first `room` tokens of the oldest long piece, else of the oldest smallest one; its rest waits again."""
        if self._long:
            piece = self._long.popleft()
        elif self._sizes:
            smallest = (self._sizes & -self._sizes).bit_length() - 1
            queue = self._short[smallest]
            piece = queue.popleft()
            if not queue:
                self._sizes &= ~(1 << smallest)
        else:
            return None
        self._waiting -= 1
        self._push((piece[0] + room, piece[1]))
        return piece[0], piece[0] + room

    def _refill(self) -> None:
        while self._waiting < POOL:
            if self._next == self._order.size:
                if self._seed is None:
                    return
                self.epoch += 1
                self._order, self._next = self._epoch_order(), 0
            document = self._order[self._next]
            self._next += 1
            self._push((int(self._split.begins[document]), int(self._split.ends[document])))

    def fill(self, rows: NDArray[np.integer[Any]]) -> int:
        """Writes packed rows into `rows`, shape (n, length + 1); returns how many are full (n while endless)."""
        for at, row in enumerate(rows):
            if not self._fill_row(row):
                return at
        return len(rows)

    def _fill_row(self, row: NDArray[np.integer[Any]]) -> bool:
        self._refill()
        position = 0
        while position < row.size:
            room = row.size - position - 1
            if room == 0:  # a last token with no piece behind it: the BOS that would follow
                row[position] = self._bos
                return True
            piece = self._take(room) or self._cut(room)
            if piece is None:
                return False
            begin, end = piece
            row[position] = self._bos
            row[position + 1 : position + 1 + end - begin] = self._split.tokens[begin:end]
            position += 1 + end - begin
        return True

    def state(self) -> NDArray[np.int64]:
        """All that the stream's future depends on, as rows of (begin, end); `restore` takes it back."""
        short = [piece for size in sorted(self._short) for piece in self._short[size]]
        pairs = [(self.epoch, self._next), *self._long, *short]
        return np.array(pairs, dtype=np.int64)

    def restore(self, state: NDArray[np.int64]) -> None:
        """Puts the stream where `state` was taken, or raises and leaves it."""
        (epoch, at), *pieces = [(int(begin), int(end)) for begin, end in state]
        self.epoch, self._next = epoch, at
        self._order = self._epoch_order()
        self._long, self._short, self._sizes, self._waiting = deque(), {}, 0, 0
        for piece in pieces:
            self._push(piece)
