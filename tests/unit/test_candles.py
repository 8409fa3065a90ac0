from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from app.domain.candles import (
    Candle,
    Interval,
    Span,
    advance,
    count_opens,
    first_open_from,
    merged_spans,
    open_of,
    opens_of,
    pages,
    parse_candle,
    parse_interval,
    plain_number,
    resample,
    stretches,
    uncovered,
)
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

COLUMNS = ("ts", "open", "high", "low", "close", "volume")
INSTANTS = st.integers(31_536_000, 4_102_444_800).map(
    lambda seconds: datetime.fromtimestamp(seconds, UTC)
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def span(begin: str, end: str) -> Span:
    return Span(begin_at=at(begin), end_at=at(end))


def candle(open_time: str, prices: str = "2 3 1 2", volume: str = "1") -> Candle:
    first, high, low, last = (Decimal(price) for price in prices.split())
    return Candle(
        open_time=at(open_time),
        open=first,
        high=high,
        low=low,
        close=last,
        volume=Decimal(volume),
        turnover=Decimal(volume) * 2,
    )


def recorded(file: Path) -> list[Candle]:
    """A recorded file's candles, every number as it prints; turnover, which few have, is 0."""
    columns = [parquet.read_table(file).column(name).to_pylist() for name in COLUMNS]
    return [
        Candle(
            open_time=datetime.fromtimestamp(ts // 1000, UTC),
            open=Decimal(repr(first)),
            high=Decimal(repr(high)),
            low=Decimal(repr(low)),
            close=Decimal(repr(last)),
            volume=Decimal(repr(volume)),
            turnover=Decimal(0),
        )
        for ts, first, high, low, last, volume in zip(*columns, strict=True)
    ]


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "SOLUSDT"])
def test_minutes_make_exactly_the_candles_that_the_venue_itself_published(
    symbol: str, shared_data: Path
) -> None:
    folder = shared_data / "candles"
    minutes = recorded(folder / f"bybit_linear_{symbol}_1.parquet")
    for spelling in ("5", "15", "30", "60", "240"):
        interval = parse_interval(spelling)
        assert interval is not None
        published = recorded(folder / f"bybit_linear_{symbol}_{spelling}.parquet")
        whole = [
            coarse
            for coarse in published
            if coarse.open_time >= minutes[0].open_time
            and advance(coarse.open_time, interval) <= minutes[-1].open_time + timedelta(minutes=1)
        ]
        assert len(whole) > 100
        begin_at = whole[0].open_time
        made = resample([part for part in minutes if part.open_time >= begin_at], interval)
        assert made[: len(whole)] == whole


def test_hours_make_exactly_the_days_that_the_daily_file_has(shared_data: Path) -> None:
    """Binance's hours and its days, from two files; the outages make the days of 2018 shorter.

    No recorded Bybit day overlaps the recorded minutes: days of minutes are compared with
    days of the venue's own 4-hour candles instead.
    """
    folder = shared_data / "candles"
    hours = recorded(folder / "binance_spot_BTCUSDT_1h_2017_2022.parquet")
    days = {day.open_time: day for day in recorded(folder / "binance_spot_BTCUSDT_1d.parquet")}
    counts: dict[datetime, int] = {}
    for hour in hours:
        day_at = open_of(hour.open_time, Interval.DAY)
        counts[day_at] = counts.get(day_at, 0) + 1
    compared, restated = 0, []
    for made in resample(hours, Interval.DAY):
        if counts[made.open_time] == 24:
            day = days[made.open_time]
            prices = (made.open, made.high, made.low, made.close)
            assert prices == (day.open, day.high, day.low, day.close)
            if abs(made.volume - day.volume) > day.volume * Decimal("1e-6"):
                restated.append(made.open_time)
            compared += 1
    assert compared > 1900
    assert restated == [at("2019-06-07")], "Binance has restated one day's volume"

    minutes = recorded(folder / "bybit_linear_BTCUSDT_1.parquet")
    quarters = recorded(folder / "bybit_linear_BTCUSDT_240.parquet")
    whole = {at(f"2025-06-{day:02}") for day in range(1, 19)}
    by_minutes = [day for day in resample(minutes, Interval.DAY) if day.open_time in whole]
    by_quarters = [day for day in resample(quarters, Interval.DAY) if day.open_time in whole]
    assert len(by_minutes) == 18
    assert by_minutes == by_quarters


def test_an_interval_is_understood_in_our_spelling_and_in_the_venues() -> None:
    assert parse_interval("1m") is parse_interval("1") is Interval.MINUTE
    assert parse_interval("1M") is parse_interval("M") is Interval.MONTH
    assert parse_interval("4h") is parse_interval("240") is Interval.HOURS_4
    for wrong in ("", "2m", "1D", "m", "60m", "1 h"):
        assert parse_interval(wrong) is None


def test_days_begin_at_midnight_weeks_on_monday_months_on_the_first() -> None:
    instant = at("2025-06-18T13:47:31.5")
    assert open_of(instant, Interval.MINUTES_3) == at("2025-06-18T13:45")
    assert open_of(instant, Interval.HOURS_12) == at("2025-06-18T12:00")
    assert open_of(instant, Interval.DAY) == at("2025-06-18")
    assert open_of(instant, Interval.WEEK) == at("2025-06-16")
    assert open_of(instant, Interval.MONTH) == at("2025-06-01")
    assert first_open_from(at("2025-06-16"), Interval.WEEK) == at("2025-06-16")
    assert first_open_from(instant, Interval.MONTH) == at("2025-07-01")
    assert advance(at("2025-12-01"), Interval.MONTH) == at("2026-01-01")
    assert advance(at("2025-11-01"), Interval.MONTH, 14) == at("2027-01-01")


@given(INSTANTS, st.sampled_from(Interval))
def test_every_instant_lies_in_exactly_one_candle(instant: datetime, interval: Interval) -> None:
    open_time = open_of(instant, interval)
    assert open_time <= instant < advance(open_time, interval)
    assert open_of(open_time, interval) == open_time
    begin_at = first_open_from(instant, interval)
    window = Span(begin_at=begin_at, end_at=advance(begin_at, interval, 7))
    assert count_opens(window, interval) == len(list(opens_of(window, interval))) == 7
    parts = list(pages(window, interval, candles_max=3))
    assert [count_opens(part, interval) for part in parts] == [3, 3, 1]
    assert merged_spans(parts) == [window]


def test_a_coarser_candle_opens_with_its_first_part_and_closes_with_its_last() -> None:
    made = resample(
        [
            candle("2025-06-01T00:58", "5 6 5 6", "0.1"),
            candle("2025-06-01T00:59", "6 6 4 4", "0.2"),
            candle("2025-06-01T01:00", "4 9 4 9", "7"),
        ],
        Interval.HOUR,
    )
    assert made[0] == candle("2025-06-01T00:00", "5 6 4 4", "0.3")
    assert made[1] == candle("2025-06-01T01:00", "4 9 4 9", "7")
    assert resample([], Interval.DAY) == []


def test_what_is_missing_is_what_nothing_covers() -> None:
    opens = [at("2025-06-01T00:00"), at("2025-06-01T00:01"), at("2025-06-01T00:05")]
    covered = stretches(opens, Interval.MINUTE)
    assert covered == [
        span("2025-06-01T00:00", "2025-06-01T00:02"),
        span("2025-06-01T00:05", "2025-06-01T00:06"),
    ]
    assert uncovered(span("2025-05-31T23:59", "2025-06-01T00:08"), covered) == [
        span("2025-05-31T23:59", "2025-06-01T00:00"),
        span("2025-06-01T00:02", "2025-06-01T00:05"),
        span("2025-06-01T00:06", "2025-06-01T00:08"),
    ]
    assert uncovered(span("2025-06-01T00:00", "2025-06-01T00:01"), covered) == []
    assert uncovered(span("2025-06-01T00:03", "2025-06-01T00:04"), covered) == [
        span("2025-06-01T00:03", "2025-06-01T00:04")
    ]
    assert merged_spans([span("2025-06-01", "2025-06-01")]) == []


@pytest.mark.parametrize(
    "texts",
    [
        ["1", "2", "1", "2", "1"],
        ["1", "2", "1", "2", "1", ""],
        ["1", "2", "1", "2", "1", None],
        [1, "2", "1", "2", "1", "1"],
        ["1", "2", "1", "2", "-1", "1"],
        ["1", "2", "1", "3", "1", "1"],
        ["0", "2", "0", "2", "1", "1"],
        ["1", "2", "1.5", "2", "1", "1"],
        ["1", "2", "1", "2", "NaN", "1"],
        ["1", "2", "1", "2", "1" + "0" * 20, "1"],
        ["1", "2", "1", "2", "0.0000000000000000001", "1"],
    ],
)
def test_numbers_that_no_market_can_have_are_no_candle(texts: list[object]) -> None:
    assert parse_candle(at("2025-06-01"), texts) is None


def test_a_candle_keeps_every_digit_of_the_venues_text() -> None:
    made = parse_candle(at("2025-06-01"), ["1", "2", "0.1", "2", "5.222265", "151241.07920518"])
    assert made is not None
    assert (made.low, made.turnover) == (Decimal("0.1"), Decimal("151241.07920518"))
    numbers = [Decimal("1.50"), Decimal(100), Decimal("1E-8"), Decimal("0.00")]
    assert [plain_number(number) for number in numbers] == ["1.5", "100", "0.00000001", "0"]
