"""Candles and ticks of one instrument out of its files.

The finest file that covers an instant makes the price: ticks, then frames and candles. An
interval is served from its own file and, where that has no candle, from the finer ones.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from heapq import merge
from itertools import groupby
from pathlib import Path
from typing import Final

from app.domain.instruments import Category
from app.domain.money import EXACT
from app.replay.candle_files import read_candles
from app.replay.candles import (
    LENGTHS_MS,
    MINUTE_MS,
    Candle,
    Interval,
    divides,
    end_of,
    merged,
    open_of,
)
from app.replay.deep_books import BookFile, Level
from app.replay.frames import FrameFile
from app.replay.instruments import InstrumentSpec, known_spec, spec_like
from app.replay.ticks import BestPriceFile, BestPrices, Tick, TradeFile

SAMPLE: Final = 500  # candles that the decimals of an unknown symbol are taken from


@dataclass(frozen=True, kw_only=True)
class Track:
    """One file. `first_ms` is its first open time, `end_ms` the end of its last candle."""

    path: Path
    venue: str
    category: Category
    symbol: str
    interval: Interval
    first_ms: int
    end_ms: int

    @cached_property
    def candles(self) -> list[Candle]:
        """Every candle, ascending; read once."""
        return read_candles(self.path, self.interval, inverse=self.category is Category.INVERSE)

    @cached_property
    def opens_ms(self) -> list[int]:
        """The open time of every candle."""
        return [candle.open_ms for candle in self.candles]

    def covers(self, instant_ms: int) -> bool:
        """Whether the recording ran at the instant, gaps inside it included."""
        return self.first_ms <= instant_ms < self.end_ms

    def between(self, from_ms: int, to_ms: int) -> list[Candle]:
        """The candles that open in [from_ms, to_ms)."""
        return self.candles[bisect_left(self.opens_ms, from_ms) : bisect_left(self.opens_ms, to_ms)]


@dataclass(frozen=True, kw_only=True)
class FrameTrack(Track):
    """A file of frames, whose minutes are those of its klines."""

    frames: FrameFile

    @cached_property
    def candles(self) -> list[Candle]:
        """Every minute, ascending."""
        return self.frames.candles


@dataclass(frozen=True, kw_only=True)
class TickTrack(Track):
    """A file of trades. `end_ms` follows its last one, or is where the next file begins."""

    trades: TradeFile

    @cached_property
    def candles(self) -> list[Candle]:
        """The minutes with a trade; the first and the last may be half."""
        return list(self.trades.minutes)

    def between(self, from_ms: int, to_ms: int) -> list[Candle]:
        """Whole minutes, and what was traded of the one that `to_ms` lies in."""
        minute_ms = to_ms - to_ms % MINUTE_MS
        part = self.trades.part(minute_ms, to_ms)
        rest = [] if part is None else [replace(part, end_ms=to_ms)]
        return [*super().between(from_ms, minute_ms), *rest]


@dataclass(frozen=True, slots=True, kw_only=True)
class BestPriceTrack:
    """A file of best prices, which make no candles."""

    path: Path
    venue: str
    category: Category
    symbol: str
    prices: BestPriceFile


@dataclass(frozen=True, slots=True, kw_only=True)
class BookTrack:
    """A file of whole order books, which make no candles either."""

    path: Path
    venue: str
    category: Category
    symbol: str
    books: BookFile


class RecordedHistory:
    """Candles of one instrument from its files, in order of preference: finest first.

    Ticks come from the file that makes the price at their instant, and best prices and books
    from files of the same venue: what two venues said at once is no market.
    """

    def __init__(
        self, tracks: Sequence[Track], quotes: Sequence[BestPriceTrack | BookTrack] = ()
    ) -> None:
        self.tracks = tracks
        self._best_prices = [quote for quote in quotes if isinstance(quote, BestPriceTrack)]
        self._books = [quote for quote in quotes if isinstance(quote, BookTrack)]
        self.tapes = [track for track in tracks if isinstance(track, TickTrack)]
        self._rows: dict[Interval, tuple[list[int], list[Candle]]] = {}

    def at(self, instant_ms: int) -> Candle | None:
        """The finest candle that began last by the instant; None while it is not recorded.

        Of ticks it is the last millisecond in which anything was traded.
        """
        track = self._track_at(instant_ms)
        if track is None:
            return None
        if isinstance(track, TickTrack):
            return track.trades.moment(instant_ms)
        return track.candles[bisect_right(track.opens_ms, instant_ms) - 1]

    def tiles(self, from_ms: int, to_ms: int) -> Sequence[Candle]:
        """Complete candles in [from_ms, to_ms), of the finest file at each point."""
        found: list[list[Candle]] = []
        while from_ms < to_ms:
            track = self._track_at(to_ms - 1)
            part = track.between(from_ms, to_ms) if track is not None else []
            while part and part[-1].end_ms > to_ms:
                part.pop()
            if not part:
                break
            found.append(part)
            to_ms = part[0].open_ms
        return [candle for part in reversed(found) for candle in part]

    def window(
        self, interval: Interval, *, first_ms: int, last_ms: int, limit: int, newest: bool
    ) -> Sequence[Candle]:
        """Complete candles that open in [first_ms, last_ms], ascending."""
        opens_ms, candles = self._candles(interval)
        begin, end = bisect_left(opens_ms, first_ms), bisect_right(opens_ms, last_ms)
        if newest:
            begin = max(begin, end - limit)
        return candles[begin : min(end, begin + limit)]

    @property
    def has_ticks(self) -> bool:
        """Whether trades, best prices or books were recorded at some time."""
        return bool(self.tapes or self._best_prices or self._books)

    @property
    def recordings(self) -> list[tuple[str, Path, int, int]]:
        """Every file of trades, best prices or books: what kind, and its first and last time."""
        return [
            *(
                ("publicTrade", tape.path, tape.trades.first_ms, tape.trades.last_ms)
                for tape in self.tapes
            ),
            *(
                ("orderbook.1", best.path, best.prices.first_ms, best.prices.last_ms)
                for best in self._best_prices
            ),
            *(
                ("orderbook", book.path, book.books.first_ms, book.books.last_ms)
                for book in self._books
            ),
        ]

    def is_on_tape(self, instant_ms: int) -> bool:
        """Whether the price at the instant is a recorded trade's."""
        return isinstance(self._track_at(instant_ms), TickTrack)

    def ticks(self, from_ms: int, to_ms: int) -> Iterator[Tick]:
        """The recorded trades of (from_ms, to_ms], ascending."""

        def of(tape: TickTrack) -> Iterator[Tick]:
            ticks = tape.trades.between(from_ms, to_ms)
            return (tick for tick in ticks if self._track_at(tick.at_ms) is tape)

        return merge(*map(of, self.tapes), key=lambda tick: tick.at_ms)

    def newest_ticks(self, now_ms: int, limit: int) -> list[Tick]:
        """The last trades of the tape that runs at the instant, the latest first."""
        tape = self._track_at(now_ms)
        return tape.trades.newest(now_ms, limit) if isinstance(tape, TickTrack) else []

    def book(
        self, instant_ms: int, *, depth: int
    ) -> tuple[Sequence[Level], Sequence[Level]] | None:
        """The recorded book at an instant: bids descending, asks ascending."""
        track = self._track_at(instant_ms)
        for quote in self._books:
            if track is not None and (quote.venue, quote.category) == (track.venue, track.category):
                found = quote.books.at(instant_ms, depth=depth)
                if found is not None:
                    return found
        return None

    def has_best_prices(self, instant_ms: int) -> bool:
        """Whether the top of the book is that of a file of best prices."""
        return bool(self._best_now(instant_ms)) and self.book(instant_ms, depth=1) is None

    def best_prices(self, instant_ms: int) -> BestPrices | None:
        """The recorded best prices at an instant."""
        for best in self._best_now(instant_ms):
            found = best.prices.at(instant_ms)
            if found is not None:
                return found
        return None

    def best_price_changes(self, from_ms: int, to_ms: int) -> Iterator[BestPrices]:
        """The recorded best prices of (from_ms, to_ms], by the file that is used at its end."""
        for best in self._best_now(to_ms)[:1]:
            yield from best.prices.between(from_ms, to_ms)

    def _best_now(self, instant_ms: int) -> list[BestPriceTrack]:
        track = self._track_at(instant_ms)
        return [
            best
            for best in self._best_prices
            if track is not None
            and (best.venue, best.category) == (track.venue, track.category)
            and best.prices.first_ms <= instant_ms <= best.prices.last_ms
        ]

    def spec(self, category: Category, symbol: str) -> InstrumentSpec:
        """Tick and lot rules: known ones, else as fine as the first numbers of the finest file."""
        known = known_spec(category, symbol)
        if known is not None:
            return known
        sample = self.tracks[0].candles[:SAMPLE]
        prices = [price for row in sample for price in (row.open, row.high, row.low, row.close)]
        return spec_like(
            category,
            symbol,
            price_decimals=_decimals(prices),
            volume_decimals=_decimals(row.volume for row in sample),
        )

    def _track_at(self, instant_ms: int) -> Track | None:
        return next((track for track in self.tracks if track.covers(instant_ms)), None)

    def _candles(self, interval: Interval) -> tuple[list[int], list[Candle]]:
        """All candles of an interval, each from the most complete source that there is.

        Among equals the own category goes before the one that lends, the interval's own
        file before finer ones, and the venue's candles before those made of trades.
        """
        if interval not in self._rows:
            best: dict[int, tuple[tuple[int, bool, bool, bool], Candle]] = {}
            for track in self.tracks:
                if not divides(track.interval, interval):
                    continue
                is_own = track.category is self.tracks[0].category
                is_exact = track.interval == interval
                for covered_ms, candle in _resampled(track, interval):
                    merit = (covered_ms, is_own, is_exact, not isinstance(track, TickTrack))
                    if candle.open_ms not in best or merit > best[candle.open_ms][0]:
                        best[candle.open_ms] = (merit, candle)
            opens_ms = sorted(best)
            self._rows[interval] = (opens_ms, [best[open_ms][1] for open_ms in opens_ms])
        return self._rows[interval]


def _resampled(track: Track, interval: Interval) -> Iterable[tuple[int, Candle]]:
    """Candles of a coarser interval, each with how many of its milliseconds are recorded."""
    if track.interval == interval:
        yield from ((candle.length_ms, candle) for candle in track.candles)
        return
    for open_ms, group in groupby(
        track.candles, key=lambda candle: open_of(candle.open_ms, interval)
    ):
        parts = list(group)
        yield (
            sum(part.length_ms for part in parts),
            merged(parts, open_ms=open_ms, end_ms=end_of(open_ms, interval)),
        )


def _decimals(numbers: Iterable[Decimal]) -> int:
    return max(0, *(-int(number.normalize(EXACT).as_tuple().exponent) for number in numbers))


def finest_first(tracks: Iterable[Track]) -> list[Track]:
    """In the order in which they are asked."""

    def coarseness_ms(track: Track) -> int:
        return 0 if isinstance(track, TickTrack) else LENGTHS_MS[track.interval]

    return sorted(tracks, key=lambda track: (coarseness_ms(track), track.first_ms))
