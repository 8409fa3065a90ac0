"""Recorded ticks: what was traded, and the best prices, as tables with a row for each.

Trades:      ts (ms UTC), price, size or amount, taker_side or side, optionally trade_id
Best prices: ts (ms UTC), bid, bid_size, ask, ask_size

Every row is looked at when a file is opened, which takes some seconds for a million; afterwards
rows are read again where the clock is, and only minutes stay in memory.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from app.domain.money import EXACT
from app.replay.candles import MINUTE_MS, Candle, merged
from app.replay.tables import Row, TimedRows, exact

SIZES: Final = ("size", "amount")
SIDES: Final = ("taker_side", "side")
TRADE_ID: Final = "trade_id"
BEST_PRICES: Final = ("ts", "bid", "bid_size", "ask", "ask_size")
SIDE_NAMES: Final = {"buy": "Buy", "sell": "Sell"}
COIN: Final = Decimal("0.00000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One trade. `side` is the taker's; `number` the row, counted from 1."""

    at_ms: int
    number: int
    trade_id: str
    price: Decimal
    size: Decimal
    side: str


class BestPrices(NamedTuple):
    """The best bid and ask, each (price, size), and since when."""

    at_ms: int
    bid: tuple[Decimal, Decimal]
    ask: tuple[Decimal, Decimal]


def trade_columns(names: Collection[str]) -> Sequence[str] | None:
    """The columns to read trades from; None where these are no trades."""
    size = next((name for name in SIZES if name in names), None)
    side = next((name for name in SIDES if name in names), None)
    if not {"ts", "price"} <= set(names) or size is None or side is None:
        return None
    return ["ts", "price", size, side, *([TRADE_ID] if TRADE_ID in names else [])]


class TradeFile:
    """What was traded of one instrument. Raises UnreadableRecording, naming a broken row."""

    def __init__(self, path: Path, columns: Sequence[str], *, inverse: bool) -> None:
        self.rows = TimedRows(path, columns)
        self._inverse = inverse
        self.minutes: Sequence[Candle] = self._checked()
        self._running: tuple[int, Candle | None] = (0, None)

    @property
    def first_ms(self) -> int:
        """When the first trade was."""
        return self.rows.first_ms

    @property
    def last_ms(self) -> int:
        """When the last trade was."""
        return self.rows.last_ms

    def between(self, from_ms: int, to_ms: int) -> Iterator[Tick]:
        """The trades of (from_ms, to_ms], ascending."""
        return (_tick(row, number) for number, row in self.rows.between(from_ms, to_ms))

    def newest(self, now_ms: int, limit: int) -> list[Tick]:
        """The last trades up to an instant, the latest first."""
        return [_tick(row, number) for number, row in islice(self.rows.backwards(now_ms), limit)]

    def moment(self, instant_ms: int) -> Candle:
        """The last millisecond with a trade, up to an instant after the first."""
        parts = [self._candle(_tick(row, number)) for number, row in self.rows.latest(instant_ms)]
        return merged(parts, open_ms=parts[0].open_ms, end_ms=parts[0].end_ms)

    def part(self, open_ms: int, end_ms: int) -> Candle | None:
        """What was traded in [open_ms, end_ms), some part of a minute; None if nothing was.

        The clock goes on by itself, so what was summed up last is gone on with.
        """
        told_ms, running = self._running
        if running is None or running.open_ms != open_ms or told_ms > end_ms:
            told_ms, running = open_ms, None
        ticks = [self._candle(tick) for tick in self.between(told_ms - 1, end_ms - 1)]
        parts = ticks if running is None else [running, *ticks]
        if not parts:
            return None
        found = merged(parts, open_ms=open_ms, end_ms=open_ms + MINUTE_MS)
        self._running = (end_ms, found)
        return found

    def _candle(self, tick: Tick) -> Candle:
        """One trade as a candle of a millisecond, so that its price holds from then on."""
        return Candle(
            open_ms=tick.at_ms,
            end_ms=tick.at_ms + 1,
            open=tick.price,
            high=tick.price,
            low=tick.price,
            close=tick.price,
            volume=tick.size,
            turnover=self._turnover(tick.price, tick.size),
        )

    def _turnover(self, price: Decimal, size: Decimal) -> Decimal:
        if self._inverse:  # size is in US dollars there
            return EXACT.quantize(EXACT.divide(size, price), COIN)
        return EXACT.multiply(price, size)

    def _checked(self) -> Sequence[Candle]:
        """The minutes in which something was traded. Looks at every row."""
        found: list[Candle] = []
        open_ms = -1
        first = high = low = last = volume = turnover = Decimal(0)

        def close() -> None:
            if open_ms >= 0:
                found.append(
                    Candle(
                        open_ms=open_ms,
                        end_ms=open_ms + MINUTE_MS,
                        open=first,
                        high=high,
                        low=low,
                        close=last,
                        volume=volume,
                        turnover=turnover,
                    )
                )

        for number, row in enumerate(self.rows.scan(), start=1):
            try:
                price, size = _traded(row)
            except ValueError as error:
                raise self.rows.broken(number, row, str(error)) from None
            minute_ms = int(row[0]) // MINUTE_MS * MINUTE_MS
            if minute_ms != open_ms:
                close()
                open_ms, first, high, low = minute_ms, price, price, price
                volume = turnover = Decimal(0)
            high, low, last = max(high, price), min(low, price), price
            volume = EXACT.add(volume, size)
            turnover = EXACT.add(turnover, self._turnover(price, size))
        close()
        return found


class BestPriceFile:
    """The best prices of one instrument. Raises UnreadableRecording, naming a broken row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = TimedRows(path, BEST_PRICES)
        for number, row in enumerate(self._rows.scan(), start=1):
            try:
                _check_best_prices(row)
            except ValueError as error:
                raise self._rows.broken(number, row, str(error)) from None

    @property
    def first_ms(self) -> int:
        """When the first prices are from."""
        return self._rows.first_ms

    @property
    def last_ms(self) -> int:
        """When the last prices are from; later ones are not known."""
        return self._rows.last_ms

    def at(self, instant_ms: int) -> BestPrices | None:
        """The best prices at an instant of the recording, None outside of it."""
        if not self.first_ms <= instant_ms <= self.last_ms:
            return None
        return _best_prices(self._rows.latest(instant_ms)[-1][1])

    def between(self, from_ms: int, to_ms: int) -> Iterator[BestPrices]:
        """The best prices at the end of every millisecond of (from_ms, to_ms] that has any."""
        last: Row | None = None
        for _, row in self._rows.between(from_ms, to_ms):
            if last is not None and int(row[0]) != int(last[0]):
                yield _best_prices(last)
            last = row
        if last is not None:
            yield _best_prices(last)


def _traded(row: Row) -> tuple[Decimal, Decimal]:
    """Price and size. Raises ValueError where they are none, or nobody took."""
    price, size = exact(row[1]), exact(row[2])
    if price <= 0 or size <= 0:
        raise ValueError("price and size are above 0")
    if str(row[3]).lower() not in SIDE_NAMES:
        raise ValueError("the taker's side is Buy or Sell")
    return price, size


def _check_best_prices(row: Row) -> None:
    """Raises ValueError."""
    bid, bid_size, ask, ask_size = (exact(value) for value in row[1:])
    if not 0 < bid < ask or bid_size <= 0 or ask_size <= 0:
        raise ValueError("0 < bid < ask, sizes are above 0")


def _tick(row: Row, number: int) -> Tick:
    return Tick(
        at_ms=int(row[0]),
        number=number,
        trade_id=next((str(value) for value in row[4:] if value is not None), ""),
        price=exact(row[1]),
        size=exact(row[2]),
        side=SIDE_NAMES[str(row[3]).lower()],
    )


def _best_prices(row: Row) -> BestPrices:
    bid, bid_size, ask, ask_size = (exact(value) for value in row[1:])
    return BestPrices(int(row[0]), (bid, bid_size), (ask, ask_size))
