from datetime import UTC, datetime
from decimal import Decimal

import pytest
from app.replay.candles import (
    LENGTHS_MS,
    Candle,
    Interval,
    divides,
    end_of,
    forming,
    merged,
    open_of,
    parse_interval,
    price_at,
    typical_turnover,
)
from hypothesis import given
from hypothesis import strategies as st

TICK = Decimal("0.1")
MINUTE = 60_000


def milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def candle(
    prices: str, *, volume: str = "12.5", open_ms: int = 0, length_ms: int = MINUTE
) -> Candle:
    first, high, low, last = (Decimal(price) for price in prices.split())
    return Candle(
        open_ms=open_ms,
        end_ms=open_ms + length_ms,
        open=first,
        high=high,
        low=low,
        close=last,
        volume=Decimal(volume),
        turnover=Decimal("1250.75"),
    )


@st.composite
def candles(draw: st.DrawFn) -> Candle:
    low, *inside, high = sorted(draw(st.lists(st.integers(1, 10**9), min_size=4, max_size=4)))
    first, last = draw(st.permutations(inside))
    ticks = f"{first} {high} {low} {last}".split()
    return candle(
        " ".join(str(Decimal(price).scaleb(-1)) for price in ticks),
        open_ms=draw(st.integers(0, 10**8)) * MINUTE,
        length_ms=draw(st.sampled_from([1, 5, 60, 1440])) * MINUTE,
    )


RISING = candle("100.0 101.0 99.0 100.5")
FALLING = candle("100.5 101.0 99.0 100.0")


@pytest.mark.parametrize(
    ("offset_ms", "rising", "falling"),
    [
        (0, "100.0", "100.5"),
        (10_000, "99.5", "100.7"),  # half-way to the first extreme, floored to the tick
        (20_000, "99.0", "101.0"),
        (30_000, "100.0", "100.0"),
        (40_000, "101.0", "99.0"),
        (59_999, "100.5", "100.0"),
        (60_000, "100.5", "100.0"),
        (10**9, "100.5", "100.0"),
    ],
)
def test_the_price_goes_from_open_by_way_of_both_extremes_to_the_close(
    offset_ms: int, rising: str, falling: str
) -> None:
    assert price_at(RISING, offset_ms, TICK) == Decimal(rising)
    assert price_at(FALLING, offset_ms, TICK) == Decimal(falling)


@given(candles(), st.floats(0, 1))
def test_the_price_never_leaves_the_candle_nor_the_tick(whole: Candle, part: float) -> None:
    price = price_at(whole, whole.open_ms + int(part * (whole.length_ms - 1)), TICK)
    assert whole.low <= price <= whole.high
    assert price % TICK == 0


@given(candles())
def test_the_last_millisecond_has_the_close_and_the_first_the_open(whole: Candle) -> None:
    assert price_at(whole, whole.open_ms, TICK) == whole.open
    assert price_at(whole, whole.end_ms - 1, TICK) == whole.close


def test_a_recording_finer_than_the_tick_keeps_its_digits() -> None:
    fine = candle("100.03 100.07 100.01 100.05")
    seen = {price_at(fine, offset_ms, TICK) for offset_ms in range(0, MINUTE, 500)}
    assert seen >= {Decimal("100.03"), Decimal("100.02"), Decimal("100.07")}
    assert all(price % Decimal("0.01") == 0 for price in seen)


@given(candles(), st.floats(0, 1), st.floats(0, 1))
def test_a_forming_candle_only_grows(whole: Candle, one: float, other: float) -> None:
    early_ms, late_ms = sorted(
        whole.open_ms + int(part * (whole.length_ms - 1)) for part in (one, other)
    )
    early, late = (forming(whole, instant_ms, TICK) for instant_ms in (early_ms, late_ms))
    assert early.open == late.open == whole.open
    assert whole.low <= late.low <= early.low <= early.close <= early.high <= late.high
    assert late.high <= whole.high
    assert early.volume <= late.volume <= whole.volume
    assert early.close == price_at(whole, early_ms, TICK)


@given(candles())
def test_in_its_last_millisecond_the_forming_candle_is_the_recorded_one(whole: Candle) -> None:
    assert forming(whole, whole.end_ms - 1, TICK) == whole


def test_a_forming_candle_has_seen_only_the_extremes_it_passed() -> None:
    young = forming(RISING, 10_000, TICK)
    assert (young.high, young.low) == (Decimal("100.0"), Decimal("99.5"))
    middle = forming(RISING, 20_000, TICK)
    assert (middle.high, middle.low) == (Decimal("100.0"), Decimal("99.0"))
    assert middle.volume == Decimal("4.1")  # a third of 12.5 without more decimals than it has


def test_merging_keeps_first_open_last_close_extremes_and_exact_totals() -> None:
    whole = merged([RISING, FALLING], open_ms=0, end_ms=2 * MINUTE)
    assert (whole.open, whole.high) == (Decimal("100.0"), Decimal("101.0"))
    assert (whole.low, whole.close) == (Decimal("99.0"), Decimal("100.0"))
    assert (whole.volume, whole.turnover) == (Decimal("25.0"), Decimal("2501.50"))


@pytest.mark.parametrize(
    ("interval", "inside", "opens", "ends"),
    [
        ("1", "2025-06-01T10:07:59", "2025-06-01T10:07:00", "2025-06-01T10:08:00"),
        ("240", "2025-06-01T10:07:59", "2025-06-01T08:00:00", "2025-06-01T12:00:00"),
        ("D", "2025-06-01T23:59:59", "2025-06-01T00:00:00", "2025-06-02T00:00:00"),
        ("W", "2025-06-01T23:59:59", "2025-05-26T00:00:00", "2025-06-02T00:00:00"),
        ("M", "2024-02-29T12:00:00", "2024-02-01T00:00:00", "2024-03-01T00:00:00"),
        ("M", "2024-12-31T23:59:59", "2024-12-01T00:00:00", "2025-01-01T00:00:00"),
    ],
)
def test_candles_stand_on_the_calendar_in_utc(
    interval: str, inside: str, opens: str, ends: str
) -> None:
    open_ms = open_of(milliseconds(inside), Interval(interval))
    assert open_ms == milliseconds(opens)
    assert end_of(open_ms, Interval(interval)) == milliseconds(ends)


@given(st.integers(0, 4 * 10**12), st.sampled_from(list(LENGTHS_MS)))
def test_every_instant_lies_in_exactly_one_candle(instant_ms: int, interval: Interval) -> None:
    open_ms = open_of(instant_ms, interval)
    end_ms = end_of(open_ms, interval)
    assert open_ms <= instant_ms < end_ms
    assert open_of(open_ms, interval) == open_ms
    assert open_of(end_ms, interval) == end_ms


@pytest.mark.parametrize(
    ("text", "interval"),
    [("1m", "1"), ("1M", "M"), ("1h", "60"), ("4h", "240"), ("1d", "D"), ("D", "D"), ("60", "60")],
)
def test_other_venues_spellings_are_understood(text: str, interval: str) -> None:
    assert parse_interval(text) == interval


@pytest.mark.parametrize("text", ["", "3d", "8h", "2", "d", "0", "1s"])
def test_intervals_that_kline_does_not_have_are_none(text: str) -> None:
    assert parse_interval(text) is None


def test_only_what_tiles_an_interval_divides_it() -> None:
    assert divides(Interval("1"), Interval("3"))
    assert divides(Interval("D"), Interval("M"))
    assert not divides(Interval("5"), Interval("3"))
    assert not divides(Interval("W"), Interval("M"))
    assert not divides(Interval("M"), Interval("W"))


def test_turnover_of_inverse_contracts_is_in_coin() -> None:
    prices = (Decimal(20_000),) * 4
    volume = Decimal(100_000)
    assert typical_turnover(prices=prices, volume=volume, inverse=True) == Decimal(5)
    assert typical_turnover(prices=prices, volume=volume, inverse=False) == Decimal(2_000_000_000)
