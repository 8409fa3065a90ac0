"""Candles: what a price did in a stretch of time, and how finer ones make coarser ones.

A candle covers the half-open time [open_time, open_time + interval). Days begin at midnight
UTC, weeks on Monday, months on the first; everything shorter divides the day. Only closed
candles are stored or served: the one that is forming changes until its end.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import groupby
from typing import Final, NewType

from app.domain.errors import NotFound, Refused
from app.domain.instruments import Category, Symbol, Venue
from app.domain.money import EXACT, ZERO
from app.domain.quotes import PRICE_TEXT

SeriesId = NewType("SeriesId", int)
"""Names the candles of one instrument at one interval."""

NUMBER_LIMIT: Final = Decimal(10) ** 20
NUMBER_DECIMALS_MAX: Final = 18
"""Prices, volumes and turnovers fit 38 digits, 18 of them decimals: Arrow's decimal128."""


class Interval(StrEnum):
    """How long a candle is; `1m` is a minute and `1M` a month."""

    MINUTE = "1m"
    MINUTES_3 = "3m"
    MINUTES_5 = "5m"
    MINUTES_15 = "15m"
    MINUTES_30 = "30m"
    HOUR = "1h"
    HOURS_2 = "2h"
    HOURS_4 = "4h"
    HOURS_6 = "6h"
    HOURS_12 = "12h"
    DAY = "1d"
    WEEK = "1w"
    MONTH = "1M"


BYBIT_SPELLING: Final = {
    Interval.MINUTE: "1",
    Interval.MINUTES_3: "3",
    Interval.MINUTES_5: "5",
    Interval.MINUTES_15: "15",
    Interval.MINUTES_30: "30",
    Interval.HOUR: "60",
    Interval.HOURS_2: "120",
    Interval.HOURS_4: "240",
    Interval.HOURS_6: "360",
    Interval.HOURS_12: "720",
    Interval.DAY: "D",
    Interval.WEEK: "W",
    Interval.MONTH: "M",
}
_BY_SPELLING: Final = {
    **{interval.value: interval for interval in Interval},
    **{spelling: interval for interval, spelling in BYBIT_SPELLING.items()},
}
SPELLINGS: Final = tuple(_BY_SPELLING)
"""Every way to write an interval: ours, then Bybit's."""

STEPS: Final = {
    **{i: timedelta(minutes=int(BYBIT_SPELLING[i])) for i in list(Interval)[:10]},
    Interval.DAY: timedelta(days=1),
    Interval.WEEK: timedelta(weeks=1),
}
"""Every interval of one length; a month is none."""

RANGE_MAX: Final = timedelta(days=3650)
"""What one request or download may ask for: less than ten years."""

_MONDAY: Final = datetime(1970, 1, 5, tzinfo=UTC)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS_IN_YEAR: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """Prices and volume of one interval from `open_time` on, an aware UTC instant.

    `volume` and `turnover` are in the venue's units: base and quote coin, for inverse
    contracts US dollars and coin.
    """

    open_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal

    def __post_init__(self) -> None:
        assert _is_consistent(self.open, self.high, self.low, self.close), "clients check it"
        assert self.volume >= ZERO, "clients check it"
        assert self.turnover >= ZERO, "clients check it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The half-open time [begin_at, end_at)."""

    begin_at: datetime
    end_at: datetime


class CandleRangeRefused(Refused):
    """No candles can be asked for in this range."""

    code = "candle_range"

    def __init__(self, problem: str) -> None:
        super().__init__(problem)


class CandlesNotStored(NotFound):
    """No candle of this instrument and interval was ever downloaded."""

    code = "candles_not_stored"

    def __init__(
        self, venue: Venue, category: Category, symbol: Symbol, interval: Interval
    ) -> None:
        super().__init__(
            f"no candles of {symbol} at {interval} ({venue} {category}) are stored here: "
            "`python -m app backfill` downloads them, GET /market/candles a page"
        )


def check_order(begin_at: datetime | None, end_at: datetime | None) -> None:
    """Raise CandleRangeRefused for an end that does not come after the beginning."""
    if begin_at is not None and end_at is not None and begin_at >= end_at:
        raise CandleRangeRefused("from has to lie before to")


def check_past(begin_at: datetime, now: datetime, *, name: str) -> None:
    """Raise CandleRangeRefused for a beginning, called `name`, that is still to come."""
    if begin_at >= now:
        raise CandleRangeRefused(f"{name} has to lie before now, which is {now:%Y-%m-%dT%H:%MZ}")


def check_range(begin_at: datetime, end_at: datetime) -> None:
    """Raise CandleRangeRefused for a range that is empty or ten years long."""
    check_order(begin_at, end_at)
    if end_at - begin_at >= RANGE_MAX:
        raise CandleRangeRefused(
            f"a range has to be shorter than {RANGE_MAX.days} days: ask for it in parts"
        )


def parse_interval(text: str) -> Interval | None:
    """The interval in our spelling or Bybit's (`5m`, `5`), or None."""
    return _BY_SPELLING.get(text)


def parse_candle(open_time: datetime, texts: Sequence[object]) -> Candle | None:
    """A candle of a venue's six texts (open, high, low, close, volume, turnover), or None.

    None for anything that no market can have done: a text that is no plain number, a high
    below the close, a price of zero, more digits than NUMBER_LIMIT and NUMBER_DECIMALS_MAX.
    """
    numbers = [_number(text) for text in texts]
    match numbers:
        case [
            Decimal() as first,
            Decimal() as high,
            Decimal() as low,
            Decimal() as last,
            Decimal() as volume,
            Decimal() as turnover,
        ] if _is_consistent(first, high, low, last):
            return Candle(
                open_time=open_time,
                open=first,
                high=high,
                low=low,
                close=last,
                volume=volume,
                turnover=turnover,
            )
        case _:
            return None


def open_of(instant: datetime, interval: Interval) -> datetime:
    """The open time of the candle that contains the instant."""
    if interval is Interval.MONTH:
        return datetime(instant.year, instant.month, 1, tzinfo=UTC)
    origin = _MONDAY if interval is Interval.WEEK else _EPOCH
    return instant - (instant - origin) % STEPS[interval]


def first_open_from(instant: datetime, interval: Interval) -> datetime:
    """The open time of the first candle that does not begin before the instant."""
    floor = open_of(instant, interval)
    return floor if floor == instant else advance(floor, interval)


def advance(open_time: datetime, interval: Interval, count: int = 1) -> datetime:
    """The open time so many candles later."""
    if interval is not Interval.MONTH:
        return open_time + STEPS[interval] * count
    months = open_time.year * _MONTHS_IN_YEAR + open_time.month - 1 + count
    return datetime(months // _MONTHS_IN_YEAR, months % _MONTHS_IN_YEAR + 1, 1, tzinfo=UTC)


def count_opens(span: Span, interval: Interval) -> int:
    """How many candles open in a span whose ends are open times."""
    if interval is not Interval.MONTH:
        return (span.end_at - span.begin_at) // STEPS[interval]
    years = span.end_at.year - span.begin_at.year
    return years * _MONTHS_IN_YEAR + span.end_at.month - span.begin_at.month


def opens_of(span: Span, interval: Interval) -> Iterator[datetime]:
    """Every open time in a span that begins with one."""
    open_time = span.begin_at
    while open_time < span.end_at:
        yield open_time
        open_time = advance(open_time, interval)


def resample(candles: Iterable[Candle], interval: Interval) -> list[Candle]:
    """Coarser candles out of finer ones in ascending order.

    A coarser candle is as whole as what it is made of: whether a part is missing is the
    caller's to know. An interval must be made of whole ones of the finer (weeks are not
    months' parts).
    """
    return [
        _merged(open_time, list(parts))
        for open_time, parts in groupby(candles, lambda candle: open_of(candle.open_time, interval))
    ]


def stretches(opens: Iterable[datetime], interval: Interval) -> list[Span]:
    """The spans that ascending open times cover without a hole."""
    return merged_spans(
        Span(begin_at=open_time, end_at=advance(open_time, interval)) for open_time in opens
    )


def merged_spans(spans: Iterable[Span]) -> list[Span]:
    """The same time in as few spans as possible, ascending."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: span.begin_at):
        if merged and span.begin_at <= merged[-1].end_at:
            end_at = max(merged[-1].end_at, span.end_at)
            merged[-1] = Span(begin_at=merged[-1].begin_at, end_at=end_at)
        elif span.begin_at < span.end_at:
            merged.append(span)
    return merged


def uncovered(whole: Span, covered: Iterable[Span]) -> list[Span]:
    """What is left of a span without the others."""
    left: list[Span] = []
    begin_at = whole.begin_at
    for span in merged_spans(covered):
        if begin_at < min(span.begin_at, whole.end_at):
            left.append(Span(begin_at=begin_at, end_at=min(span.begin_at, whole.end_at)))
        begin_at = max(begin_at, span.end_at)
    if begin_at < whole.end_at:
        left.append(Span(begin_at=begin_at, end_at=whole.end_at))
    return left


def pages(span: Span, interval: Interval, *, candles_max: int) -> Iterator[Span]:
    """A span whose ends are open times, cut so that no part has more candles than that."""
    begin_at = span.begin_at
    while begin_at < span.end_at:
        end_at = min(span.end_at, advance(begin_at, interval, candles_max))
        yield Span(begin_at=begin_at, end_at=end_at)
        begin_at = end_at


def plain_number(number: Decimal) -> str:
    """Without an exponent and without zeros at the end, however the venue wrote it."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _merged(open_time: datetime, parts: Sequence[Candle]) -> Candle:
    return Candle(
        open_time=open_time,
        open=parts[0].open,
        high=max(part.high for part in parts),
        low=min(part.low for part in parts),
        close=parts[-1].close,
        volume=_total(part.volume for part in parts),
        turnover=_total(part.turnover for part in parts),
    )


def _total(amounts: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


def _is_consistent(first: Decimal, high: Decimal, low: Decimal, last: Decimal) -> bool:
    return ZERO < low <= min(first, last) and max(first, last) <= high


def _number(text: object) -> Decimal | None:
    if not isinstance(text, str) or PRICE_TEXT.fullmatch(text) is None:
        return None
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), "the pattern has no NaN"
    if exponent < -NUMBER_DECIMALS_MAX or number >= NUMBER_LIMIT:
        return None
    return number
