"""An order book kept up to date by the changes that a venue sends."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

Level: TypeAlias = tuple[Decimal, Decimal]
"""Price and size."""

LEVELS_MAX: Final = 2000
"""Of one side; the deepest book of the venue has 1,000."""

RESTARTED: Final = 1
"""The update number with which the venue begins anew; what it sends then is the whole book."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookChange:
    """One message about a book: all of it, or the levels that changed (size 0: gone).

    `update_id` counts the messages of one book, `sequence` orders what happened at the venue
    across all of them.
    """

    is_snapshot: bool
    bids: Sequence[Level]
    asks: Sequence[Level]
    update_id: int
    sequence: int
    venue_time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """A book at one moment: bids descending, asks ascending."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    update_id: int
    sequence: int
    venue_time_ms: int


class BookBroken(Exception):
    """The book is no longer the venue's: it has to be asked for again as a whole."""


class OrderBook:
    """Bids and asks by price. Prices are keys as numbers: 77140 and 77140.0 are one level."""

    def __init__(self) -> None:
        self._bids: dict[Decimal, Decimal] = {}
        self._asks: dict[Decimal, Decimal] = {}
        self._update_id: int | None = None
        self._sequence = 0
        self._venue_time_ms = 0

    def apply(self, change: BookChange) -> bool:
        """Take one message in; False when it told nothing new.

        A delta that was applied already is passed over. Raises BookBroken, after which the
        book is empty and waits for a snapshot: a message is missing, none came first, or the
        best bid is not below the best ask.
        """
        if change.is_snapshot or change.update_id == RESTARTED:
            self._bids.clear()
            self._asks.clear()
        elif self._update_id is None:
            raise BookBroken(f"update {change.update_id} came before any snapshot")
        elif change.update_id <= self._update_id:
            return False
        elif change.update_id != self._update_id + 1:
            expected = self._update_id + 1
            self._forget()
            raise BookBroken(f"update {change.update_id} came where {expected} was next")
        _apply(self._bids, change.bids)
        _apply(self._asks, change.asks)
        self._update_id = change.update_id
        self._sequence = change.sequence
        self._venue_time_ms = change.venue_time_ms
        self._check()
        return True

    def now(self, *, depth: int) -> Book:
        """The best `depth` levels of each side. There is a snapshot: `apply` said so."""
        assert self._update_id is not None, "asked after a message was applied"
        return Book(
            bids=tuple(sorted(self._bids.items(), reverse=True)[:depth]),
            asks=tuple(sorted(self._asks.items())[:depth]),
            update_id=self._update_id,
            sequence=self._sequence,
            venue_time_ms=self._venue_time_ms,
        )

    def _check(self) -> None:
        problem = None
        if max(len(self._bids), len(self._asks)) > LEVELS_MAX:
            problem = f"more than {LEVELS_MAX} levels"
        elif self._bids and self._asks and max(self._bids) >= min(self._asks):
            problem = "the best bid is not below the best ask"
        if problem is not None:
            self._forget()
            raise BookBroken(problem)

    def _forget(self) -> None:
        self._bids.clear()
        self._asks.clear()
        self._update_id = None


def _apply(side: dict[Decimal, Decimal], levels: Iterable[Level]) -> None:
    for price, size in levels:
        if size:
            side[price] = size
        else:
            side.pop(price, None)
