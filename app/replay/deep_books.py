"""Recorded order books: a snapshot and its deltas, a line each, as Bybit's downloads have them.

    {"topic":"orderbook.500.XRPUSDT","type":"snapshot","ts":...,"data":{"b":[...],"a":[...],"u":1}}

The lines stay on the disk. Where each is, is kept in memory, and every so often the whole book,
so that any instant is a few thousand lines away.
"""

import json
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from heapq import nlargest, nsmallest
from pathlib import Path
from typing import Final, NamedTuple

from app.replay.errors import UnreadableRecording
from app.replay.tables import NO_TIME, TIME_LIMIT_MS, exact

SUFFIX: Final = ".jsonl"
KEPT_EVERY: Final = 5_000
"""Lines between two whole books in memory, each of up to 1,000 levels."""

Level = tuple[Decimal, Decimal]


@lru_cache(maxsize=50_000)
def _not_negative(text: object) -> Decimal:
    """A price or a size, which come again and again; a size of 0 takes the level away."""
    number = exact(text)
    if number < 0:
        raise ValueError(f"{text} is below 0")
    return number


class Book(NamedTuple):
    """Sizes by price. `u` counts the updates; None: one is missing, until the next snapshot."""

    bids: dict[Decimal, Decimal]
    asks: dict[Decimal, Decimal]
    u: int | None


class BookFile:
    """The order book of one instrument. Raises UnreadableRecording, naming a broken line."""

    def __init__(self, path: Path, symbol: str) -> None:
        self.path = path
        self._symbol = symbol
        self._at_ms = array("q")
        self._offsets = array("q")
        self._kept: list[Book] = []
        self._place = -1
        self._book = Book({}, {}, None)
        with path.open("rb") as file:
            offset = 0
            for place, line in enumerate(file):
                at_ms = self._apply(place, line)
                if self._at_ms and at_ms < self._at_ms[-1]:
                    raise self._broken(place, "ts does not ascend")
                self._at_ms.append(at_ms)
                self._offsets.append(offset)
                offset += len(line)
                if place % KEPT_EVERY == 0:
                    self._kept.append(_copy(self._book))
        if not self._at_ms:
            raise UnreadableRecording(path, "it has no lines")

    @property
    def first_ms(self) -> int:
        """When the first book is from."""
        return self._at_ms[0]

    @property
    def last_ms(self) -> int:
        """When the last update was; later books are not known."""
        return self._at_ms[-1]

    def at(self, instant_ms: int, *, depth: int) -> tuple[Sequence[Level], Sequence[Level]] | None:
        """Bids descending and asks ascending at an instant; None where the book is not known."""
        if not self.first_ms <= instant_ms <= self.last_ms:
            return None
        self._go_to(bisect_right(self._at_ms, instant_ms) - 1)
        if self._book.u is None:
            return None
        return nlargest(depth, self._book.bids.items()), nsmallest(depth, self._book.asks.items())

    def _go_to(self, place: int) -> None:
        """Apply what lies between, from where we are or from a book that was kept."""
        kept = place // KEPT_EVERY
        if not kept * KEPT_EVERY <= self._place <= place:
            self._place, self._book = kept * KEPT_EVERY, _copy(self._kept[kept])
        if self._place == place:
            return
        with self.path.open("rb") as file:
            file.seek(self._offsets[self._place + 1])
            for number in range(self._place + 1, place + 1):
                self._apply(number, file.readline())

    def _apply(self, place: int, line: bytes) -> int:
        """One line more; when it is from."""
        try:
            frame = json.loads(line)
            at_ms, kind, data = int(frame["ts"]), frame["type"], frame["data"]
            topic, u = str(frame["topic"]), int(data["u"])
            sides = [
                [(_not_negative(price), _not_negative(size)) for price, size in data[side]]
                for side in ("b", "a")
            ]
            if not 0 <= at_ms < TIME_LIMIT_MS:
                raise ValueError(NO_TIME)  # noqa: TRY301 - said below
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise self._broken(place, f"it is no frame of an order book: {error!r}") from None
        if not topic.startswith("orderbook.") or topic.split(".")[2:] != [self._symbol]:
            raise self._broken(place, f"{topic} is not the order book of {self._symbol}")
        if kind == "snapshot":
            self._book = Book({}, {}, u)
        elif place == 0:
            raise self._broken(place, "the first one is a snapshot")
        else:
            follows = self._book.u is not None and u == self._book.u + 1
            self._book = self._book._replace(u=u if follows else None)
        for side, levels in zip(self._book[:2], sides, strict=True):
            for price, size in levels:
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)
        self._place = place
        return at_ms

    def _broken(self, place: int, reason: str) -> UnreadableRecording:
        return UnreadableRecording(self.path, f"line {place + 1}: {reason}")


def _copy(book: Book) -> Book:
    return Book(dict(book.bids), dict(book.asks), book.u)
