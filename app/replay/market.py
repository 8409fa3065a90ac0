"""Instruments with a history, and what they cost at an instant."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from app.domain.instruments import Category
from app.replay.candles import (
    DAY_MS,
    MINUTE_MS,
    Candle,
    Interval,
    forming,
    merged,
    open_of,
    price_at,
)
from app.replay.instruments import InstrumentSpec

if TYPE_CHECKING:  # it makes its messages out of feeds, which read instruments
    from app.replay.frames import FrameFile
    from app.replay.history import RecordedHistory


class History(Protocol):
    """All candles of one instrument, past and future: the clock is the reader's business."""

    def at(self, instant_ms: int) -> Candle | None:
        """The finest candle that began last by the instant; None while it is not recorded."""
        ...

    def tiles(self, from_ms: int, to_ms: int) -> Sequence[Candle]:
        """Complete candles that lie in [from_ms, to_ms), ascending, of any length."""
        ...

    def window(
        self, interval: Interval, *, first_ms: int, last_ms: int, limit: int, newest: bool
    ) -> Sequence[Candle]:
        """Complete candles that open in [first_ms, last_ms], ascending.

        When there are more than `limit`: the newest of them, or else the oldest.
        """
        ...


class Instrument:
    """One symbol of one category.

    `frames` is what its WebSocket said, where that was recorded, and `ticks` has the trades or
    best prices that were.

    It is listed while its history covers the clock; a recording that is over, or has not begun,
    has no price, and the exchange says that the symbol is unknown rather than a stale one.
    """

    def __init__(
        self,
        *,
        category: Category,
        symbol: str,
        history: History,
        source: str,
        spec: Callable[[], InstrumentSpec],
        frames: "FrameFile | None" = None,
        ticks: "RecordedHistory | None" = None,
    ) -> None:
        self.category = category
        self.symbol = symbol
        self.history = history
        self.source = source
        self.frames = frames
        self.ticks = ticks
        self._spec = spec
        self._day: tuple[tuple[int, int], Sequence[Candle]] = ((-1, -1), ())

    @cached_property
    def spec(self) -> InstrumentSpec:
        """Tick and lot rules, made when they are first asked for: it may mean reading a file."""
        return self._spec()

    def is_listed(self, instant_ms: int) -> bool:
        """Whether there is a price at this instant."""
        return self.history.at(instant_ms) is not None

    def price(self, instant_ms: int) -> Decimal | None:
        """The last price; in a gap of the recording the close before it. None: not listed."""
        candle = self.history.at(instant_ms)
        return None if candle is None else price_at(candle, instant_ms, self.spec.tick)

    def day(self, instant_ms: int) -> Candle:
        """The 24 hours that end with the candle forming at the instant, as far as recorded."""
        current = self.history.at(instant_ms)
        assert current is not None, "asked of listed instruments only"
        minute_ms = current.open_ms - current.open_ms % MINUTE_MS
        end_ms = max(current.end_ms, minute_ms + MINUTE_MS)  # a tick is no whole candle
        from_ms = end_ms - DAY_MS
        if self._day[0] != (from_ms, minute_ms):
            tiles = self.history.tiles(from_ms, minute_ms)
            closed = [merged(tiles, open_ms=from_ms, end_ms=minute_ms)] if tiles else []
            self._day = ((from_ms, minute_ms), closed)
        ticks = self.history.tiles(minute_ms, current.open_ms)
        parts = (*self._day[1], *ticks, forming(current, instant_ms, self.spec.tick))
        return merged(parts, open_ms=from_ms, end_ms=end_ms)

    def klines(
        self,
        interval: Interval,
        *,
        first_ms: int,
        last_ms: int,
        limit: int,
        newest: bool,
        now_ms: int,
    ) -> list[Candle]:
        """Candles that open from the one containing `first_ms` to `last_ms`, ascending.

        The candle that contains `now_ms` is as far as it has got; nothing is known beyond.
        """
        rows = list(
            self.history.window(
                interval,
                first_ms=open_of(max(first_ms, 0), interval),
                last_ms=min(last_ms, now_ms),
                limit=limit,
                newest=newest,
            )
        )
        if rows and rows[-1].end_ms > now_ms:
            rows[-1:] = self._forming(rows[-1], now_ms)
        return rows

    def _forming(self, candle: Candle, now_ms: int) -> list[Candle]:
        current = self.history.at(now_ms)
        if current is None or candle.length_ms % current.length_ms or candle == current:
            return [forming(candle, now_ms, self.spec.tick)]
        if current.open_ms < candle.open_ms:  # a gap: nothing traded in this candle so far
            return []
        tiles = self.history.tiles(candle.open_ms, current.open_ms)
        parts = (*tiles, forming(current, now_ms, self.spec.tick))
        return [merged(parts, open_ms=candle.open_ms, end_ms=candle.end_ms)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Everything that an exchange trades, from `first_ms` to `last_ms` (None: for ever).

    `start_ms` is where a clock starts that is not told otherwise.
    """

    instruments: Mapping[tuple[Category, str], Instrument]
    start_ms: int
    first_ms: int
    last_ms: int | None
    left_out: Sequence[str] = field(default=())

    def listed(self, category: Category, instant_ms: int) -> list[Instrument]:
        """The category's instruments that have a price, by symbol."""
        return sorted(
            (
                instrument
                for (its_category, _), instrument in self.instruments.items()
                if its_category is category and instrument.is_listed(instant_ms)
            ),
            key=lambda instrument: instrument.symbol,
        )

    def find(self, category: Category, symbol: str) -> Instrument | None:
        """An instrument whether listed now or not."""
        return self.instruments.get((category, symbol))

    def find_listed(self, category: Category, symbol: str, instant_ms: int) -> Instrument | None:
        """An instrument that has a price."""
        instrument = self.find(category, symbol)
        return instrument if instrument and instrument.is_listed(instant_ms) else None
