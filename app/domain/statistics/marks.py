"""Marks: what open orders were worth at the closes of stored candles.

There is a mark at the end of every candle of one interval, at each midnight UTC for `1d`. Its
price is the close of a stored candle that ends at that very instant, however long it is: the
minute before midnight closes where its day does. Where none is stored there is no price, and what
was known before stays as it is; nothing is interpolated.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from app.domain.candles import (
    Interval,
    SeriesId,
    Span,
    advance,
    count_opens,
    first_open_from,
    open_of,
    opens_of,
)
from app.domain.errors import Refused
from app.domain.instruments import Symbol
from app.domain.money import LIMIT

CLOSES_MAX: Final = 50_000
"""Closes that one answer may look for: more than a year of days of a hundred symbols."""

INTERVALS: Final = (Interval.DAY, Interval.WEEK, Interval.MONTH)
"""The interval that is taken when none is asked for: the first that is not too much."""

TICK: Final = timedelta(microseconds=1)
_BY_LENGTH: Final = list(Interval)


class TooManyMarks(Refused):
    """So many closes are not looked for in one request."""

    code = "too_many_marks"

    def __init__(self, count: int, interval: Interval) -> None:
        super().__init__(
            f"{count} closes of candles would be looked for at interval {interval}, and at most "
            f"{CLOSES_MAX} are: ask for a longer interval, one symbol, or an earlier `to`"
        )
        self.count = count
        self.interval = interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The prices of an instant, of those symbols of which a stored candle closes there."""

    at: datetime
    prices: Mapping[Symbol, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingSeries:
    """Stored candles of one symbol that prices are taken from."""

    id: SeriesId
    symbol: Symbol
    interval: Interval


class Close(NamedTuple):
    """The close of one stored candle."""

    series_id: SeriesId
    open_time: datetime
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkPlan:
    """At which instants prices are wanted: for each symbol, the ends that lie in its span."""

    interval: Interval
    spans: Mapping[Symbol, Span]
    series: Sequence[ClosingSeries]

    def wanted(self) -> Iterator[tuple[SeriesId, datetime]]:
        """Series and open time of every candle whose close would be a mark's price."""
        for one in self.series:
            for at in opens_of(self.spans[one.symbol], self.interval):
                if open_of(at, one.interval) == at:
                    yield one.id, advance(at, one.interval, -1)

    def marks(self, closes: Sequence[Close]) -> list[Mark]:
        """All marks in order, those without any price too.

        Of several candles that close together the interval's own counts, else the shortest. A
        price that no order can have (10^10 and more) is none.
        """
        if not self.spans:
            return []
        begin_at = min(span.begin_at for span in self.spans.values())
        end_at = max(span.end_at for span in self.spans.values())
        instants = opens_of(Span(begin_at=begin_at, end_at=end_at), self.interval)
        prices: dict[datetime, dict[Symbol, Decimal]] = {at: {} for at in instants}
        series = {one.id: one for one in self.series}
        rank = {
            one.id: -1 if one.interval is self.interval else _BY_LENGTH.index(one.interval)
            for one in self.series
        }
        for close in sorted(closes, key=lambda close: rank[close.series_id]):
            one = series[close.series_id]
            if close.price < LIMIT:
                at = advance(close.open_time, one.interval)
                prices[at].setdefault(one.symbol, close.price)
        return [Mark(at=at, prices=known) for at, known in prices.items()]


def plan_marks(
    opened_at: Mapping[Symbol, datetime],
    end_at: datetime,
    series: Sequence[ClosingSeries],
    *,
    interval: Interval | None,
) -> MarkPlan:
    """Marks of each symbol after it was first bought, until `end_at` included.

    Without an interval the first of INTERVALS that is not too much. Raises TooManyMarks.
    """
    tried = INTERVALS if interval is None else (interval,)
    stored, count = Counter(one.symbol for one in series), 0
    for each in tried:
        spans = {symbol: _ends(at, end_at, each) for symbol, at in opened_at.items()}
        count = sum(
            count_opens(span, each) * max(1, stored[symbol]) for symbol, span in spans.items()
        )
        if count <= CLOSES_MAX:
            return MarkPlan(interval=each, spans=spans, series=series)
    raise TooManyMarks(count, tried[-1])


def _ends(after: datetime, end_at: datetime, interval: Interval) -> Span:
    """The span of the ends of candles in (after, end_at]."""
    stop = first_open_from(end_at + TICK, interval)
    return Span(begin_at=min(first_open_from(after + TICK, interval), stop), end_at=stop)
