"""What a hole in the candles does to indicators, with a reader that has one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import cast

import pytest
from app.domain.candles import Candle, CandleRangeRefused, Interval, Span
from app.domain.instruments import Category, Symbol, Venue
from app.services.candles import CandlePage, CandleQuery, CandleReader
from app.services.indicators import indicator_rows, parse_wanted, read_indicators

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
QUERY = CandleQuery(
    venue=Venue.BYBIT,
    category=Category.SPOT,
    symbol=Symbol("BTCUSDT"),
    interval=Interval.HOUR,
    end_at=BEGIN + timedelta(hours=10),
    limit=10,
)


def hour(number: int) -> datetime:
    return BEGIN + timedelta(hours=number)


class HoleyReader:
    """Ten hours, without the fifth and the sixth."""

    def __init__(self, *, is_known: bool) -> None:
        self.hole = [Span(begin_at=hour(4), end_at=hour(6))]
        self.is_known = is_known

    async def read(self, query: CandleQuery) -> CandlePage:
        return CandlePage(
            query=query,
            span=Span(begin_at=hour(0), end_at=hour(10)),
            candles=[
                Candle(
                    open_time=hour(number), open=Decimal(9), high=Decimal(9), low=Decimal(1),
                    close=Decimal(number + 1), volume=Decimal(1), turnover=Decimal(1),
                )
                for number in (0, 1, 2, 3, 6, 7, 8)
            ],
            gaps=self.hole if self.is_known else [],
            missing=[] if self.is_known else self.hole,
            next_cursor=None,
        )  # fmt: skip


async def rows(*, is_known: bool) -> list[dict[str, float]]:
    reader = cast("CandleReader", HoleyReader(is_known=is_known))
    page = await read_indicators(reader, QUERY, [parse_wanted("sma:2")])
    return [dict(values) for _, values in page.rows]


async def test_no_value_is_made_of_candles_on_both_sides_of_missing_ones() -> None:
    assert await rows(is_known=False) == [
        {}, {"sma:2": 1.5}, {"sma:2": 2.5}, {"sma:2": 3.5}, {}, {"sma:2": 7.5}, {"sma:2": 8.5},
    ]  # fmt: skip


async def test_where_nobody_traded_the_series_goes_on() -> None:
    assert (await rows(is_known=True))[4] == {"sma:2": 5.5}


async def test_the_three_of_a_macd_begin_together_and_anew_after_missing_candles() -> None:
    page = await HoleyReader(is_known=False).read(QUERY)
    rows = indicator_rows(page, page.span, [parse_wanted("macd:1,2,2")])
    assert [bool(values) for _, values in rows] == [False, False, True, True, False, False, True]
    for values in (values for _, values in rows if values):
        # Prices that rise by one: the slow average lags by a half.
        assert list(values.values()) == pytest.approx([0.5, 0.5, 0.0])


async def test_candles_before_the_span_warm_up_and_are_not_shown() -> None:
    page = await HoleyReader(is_known=False).read(QUERY)
    span = replace(page.span, begin_at=hour(2))
    rows = indicator_rows(page, span, [parse_wanted("sma:2"), parse_wanted("sma:3")])
    assert rows[0] == (hour(2), {"sma:2": 2.5, "sma:3": 2.0})
    assert len(rows) == 5


async def test_a_range_that_begins_after_the_last_closed_candle_is_refused() -> None:
    reader = cast("CandleReader", HoleyReader(is_known=True))
    later = replace(QUERY, begin_at=hour(11), end_at=hour(12))
    with pytest.raises(CandleRangeRefused, match=r"after the last closed candle, which ended at 2"):
        await read_indicators(reader, later, [parse_wanted("sma:2")])
