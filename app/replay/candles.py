"""Candles, their intervals, and the price inside them.

A candle is half-open: [open_ms, end_ms). The price path runs through it from its open to its
close by way of both extremes, so that an instant has one price and everybody can compute it:

    offset   0      length/3        2*length/3      length-1
    price    open   first extreme   second extreme  close

The first extreme is the low when the candle rose or stood still, the high when it fell. Between
two of these points the price moves in a straight line, rounded down to whole steps of the tick
counted from the earlier point, so it never leaves [low, high]. At `end_ms - 1` the price is
exactly the close and the forming candle is exactly the recorded one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from itertools import pairwise
from typing import Final, NewType

from app.domain.money import EXACT, ZERO

Interval = NewType("Interval", str)
"""Bybit's spelling: `1` to `720` minutes, `D`, `W`, `M`."""

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
MONDAY_MS: Final = 4 * DAY_MS  # 1970-01-01 was a Thursday, and weeks start on Monday

LENGTHS_MS: Final[dict[Interval, int]] = {
    **{
        Interval(str(minutes)): minutes * MINUTE_MS
        for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)
    },
    Interval("D"): DAY_MS,
    Interval("W"): 7 * DAY_MS,
    Interval("M"): 31 * DAY_MS,  # only to sort by; months are counted by the calendar
}
"""Every interval that the kline endpoint knows, finest first."""

MONTH: Final = Interval("M")
WEEK: Final = Interval("W")

OTHER_SPELLINGS: Final[dict[str, Interval]] = {
    "1m": Interval("1"),
    "3m": Interval("3"),
    "5m": Interval("5"),
    "15m": Interval("15"),
    "30m": Interval("30"),
    "1h": Interval("60"),
    "2h": Interval("120"),
    "4h": Interval("240"),
    "6h": Interval("360"),
    "12h": Interval("720"),
    "1d": Interval("D"),
    "1w": Interval("W"),
    "1M": MONTH,
}
"""How other venues write them; `1m` is a minute and `1M` a month."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """Prices and volume of [open_ms, end_ms), milliseconds since 1970 UTC.

    `volume` and `turnover` are in the venue's units: base and quote coin, for inverse
    contracts US dollars and coin.
    """

    open_ms: int
    end_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal

    @property
    def length_ms(self) -> int:
        """The whole length, also of a candle that is still forming."""
        return self.end_ms - self.open_ms


def parse_interval(text: str) -> Interval | None:
    """The interval in Bybit's spelling, or None when kline does not know it."""
    interval = OTHER_SPELLINGS.get(text, Interval(text))
    return interval if interval in LENGTHS_MS else None


def open_of(instant_ms: int, interval: Interval) -> int:
    """The open time of the candle that contains the instant."""
    if interval == MONTH:
        day = datetime.fromtimestamp(instant_ms // 1000, tz=UTC)
        return _first_of_month_ms(day.year, day.month)
    shift_ms = MONDAY_MS if interval == WEEK else 0
    return instant_ms - (instant_ms - shift_ms) % LENGTHS_MS[interval]


def end_of(open_ms: int, interval: Interval) -> int:
    """The open time of the next candle."""
    if interval == MONTH:
        day = datetime.fromtimestamp(open_ms // 1000, tz=UTC)
        return _first_of_month_ms(day.year + day.month // 12, day.month % 12 + 1)
    return open_ms + LENGTHS_MS[interval]


def divides(part: Interval, whole: Interval) -> bool:
    """Whether candles of `whole` are made of complete candles of `part`."""
    if part == whole:
        return True
    if whole in (WEEK, MONTH):
        return part not in (WEEK, MONTH)
    return part not in (WEEK, MONTH) and LENGTHS_MS[whole] % LENGTHS_MS[part] == 0


def merged(candles: Iterable[Candle], *, open_ms: int, end_ms: int) -> Candle:
    """One candle over [open_ms, end_ms) out of its parts in ascending order, at least one."""
    parts = list(candles)
    return Candle(
        open_ms=open_ms,
        end_ms=end_ms,
        open=parts[0].open,
        high=max(part.high for part in parts),
        low=min(part.low for part in parts),
        close=parts[-1].close,
        volume=_total(part.volume for part in parts),
        turnover=_total(part.turnover for part in parts),
    )


def price_at(candle: Candle, instant_ms: int, tick: Decimal) -> Decimal:
    """The price at an instant inside the candle; its close at any later one."""
    offset_ms = instant_ms - candle.open_ms
    assert offset_ms >= 0, "the candle has begun"
    for (from_ms, start), (to_ms, stop) in pairwise(_waypoints(candle)):
        if from_ms <= offset_ms < to_ms:
            step = _step(candle, tick)
            steps = int((stop - start) / step) * (offset_ms - from_ms) // (to_ms - from_ms)
            return start + step * steps
    return candle.close


def forming(candle: Candle, instant_ms: int, tick: Decimal) -> Candle:
    """What the candle looked like at an instant inside it; volume grows evenly with time."""
    offset_ms = instant_ms - candle.open_ms
    if offset_ms >= candle.length_ms - 1:
        return candle
    price = price_at(candle, instant_ms, tick)
    seen = [price] + [point for at_ms, point in _waypoints(candle) if at_ms <= offset_ms]
    return replace(
        candle,
        high=max(seen),
        low=min(seen),
        close=price,
        volume=share(candle.volume, offset_ms, candle.length_ms - 1),
        turnover=share(candle.turnover, offset_ms, candle.length_ms - 1),
    )


def share(amount: Decimal, part: int, whole: int) -> Decimal:
    """`amount * part / whole` without more decimals than the amount has."""
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int), "amounts are finite"
    fraction = EXACT.divide(EXACT.multiply(amount, Decimal(part)), Decimal(whole))
    return fraction.quantize(Decimal(1).scaleb(min(exponent, 0)), rounding=ROUND_DOWN)


def typical_turnover(
    *, prices: tuple[Decimal, Decimal, Decimal, Decimal], volume: Decimal, inverse: bool
) -> Decimal:
    """Turnover where none was recorded: volume at the mean of open, high, low and close.

    On recorded Bybit minutes a day of it is within 0.04 % of the venue's own number. Inverse
    volume is in US dollars, so there the turnover is volume over price.
    """
    total = _total(prices)
    if inverse:
        coin = EXACT.divide(EXACT.multiply(volume, Decimal(4)), total)
        return EXACT.quantize(coin, Decimal("0.00000001"))
    return EXACT.divide(EXACT.multiply(volume, total), Decimal(4))


def _waypoints(candle: Candle) -> tuple[tuple[int, Decimal], ...]:
    rose = candle.close >= candle.open
    first, second = (candle.low, candle.high) if rose else (candle.high, candle.low)
    third_ms = candle.length_ms // 3
    return (
        (0, candle.open),
        (third_ms, first),
        (2 * third_ms, second),
        (candle.length_ms - 1, candle.close),
    )


def _step(candle: Candle, tick: Decimal) -> Decimal:
    """The tick, or the candle's own last digit where a recording is finer than the tick."""
    exponents = [
        price.as_tuple().exponent for price in (candle.open, candle.high, candle.low, candle.close)
    ]
    return min(tick, *(Decimal(1).scaleb(min(int(exponent), 0)) for exponent in exponents))


def _total(amounts: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


def _first_of_month_ms(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1000
