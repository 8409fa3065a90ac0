from decimal import Decimal
from itertools import pairwise

import pytest
from app.domain.instruments import Category
from app.replay.candles import DAY_MS, LENGTHS_MS, MINUTE_MS, Candle, Interval, divides, merged
from app.replay.generated import SPAN_DAYS, START_MS, generated_market
from app.replay.market import Instrument, Market
from hypothesis import given, settings
from hypothesis import strategies as st

NOW_MS = START_MS + 40 * DAY_MS
MINUTE = Interval("1")


def find(market: Market, symbol: str, category: Category = Category.SPOT) -> Instrument:
    instrument = market.find(category, symbol)
    assert instrument is not None
    return instrument


def rows(
    instrument: Instrument, interval: str, *, first_ms: int, last_ms: int, limit: int = 1000
) -> list[Candle]:
    return list(
        instrument.history.window(
            Interval(interval), first_ms=first_ms, last_ms=last_ms, limit=limit, newest=True
        )
    )


BITCOIN = find(generated_market(seed=1), "BTCUSDT")


def test_the_same_seed_gives_the_same_candles_in_whatever_order_they_are_asked() -> None:
    forwards, backwards = (find(generated_market(seed=7), "ETHUSDT") for _ in range(2))
    starts_ms = [START_MS + day * DAY_MS for day in (0, 1, 400, 3)]
    one = [rows(forwards, "1", first_ms=at, last_ms=at + DAY_MS) for at in starts_ms]
    other = [rows(backwards, "1", first_ms=at, last_ms=at + DAY_MS) for at in reversed(starts_ms)]
    assert one == other[::-1]


def test_the_generated_market_is_the_same_on_every_machine_and_in_every_release() -> None:
    (minute,) = rows(BITCOIN, "1", first_ms=NOW_MS, last_ms=NOW_MS)
    numbers = (minute.open, minute.high, minute.low, minute.close, minute.volume)
    assert " ".join(map(str, numbers)) == "109539.2 109834.3 109538.8 109612.3 2.565219"


def test_another_seed_gives_another_market() -> None:
    other = find(generated_market(seed=2), "BTCUSDT")
    assert other.price(NOW_MS) != BITCOIN.price(NOW_MS)


def test_it_starts_at_the_price_that_people_expect() -> None:
    assert BITCOIN.price(START_MS) == Decimal(95_000)


@settings(max_examples=30)
@given(st.integers(0, 120 * 366))
def test_minutes_join_without_a_gap_in_time_or_price(day: int) -> None:
    at_ms = day * DAY_MS
    minutes = rows(BITCOIN, "1", first_ms=at_ms - 5 * MINUTE_MS, last_ms=at_ms + 5 * MINUTE_MS)
    for before, after in pairwise(minutes):
        assert before.end_ms == after.open_ms
        assert before.close == after.open
    for minute in minutes:
        assert 0 < minute.low <= min(minute.open, minute.close)
        assert max(minute.open, minute.close) <= minute.high
        assert minute.volume >= 0


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([name for name in LENGTHS_MS if name not in ("W", "M")]),
    st.sampled_from(list(LENGTHS_MS)),
    st.integers(0, 50 * 365),
)
def test_every_interval_is_made_of_every_finer_one_to_the_last_digit(
    fine: Interval, coarse: Interval, day: int
) -> None:
    if not divides(fine, coarse):
        return
    at_ms = day * DAY_MS + START_MS
    (whole,) = rows(BITCOIN, coarse, first_ms=0, last_ms=at_ms, limit=1)
    parts = rows(BITCOIN, fine, first_ms=whole.open_ms, last_ms=whole.end_ms - 1, limit=50_000)
    assert parts[0].open_ms == whole.open_ms
    assert parts[-1].end_ms == whole.end_ms
    resampled = merged(parts, open_ms=whole.open_ms, end_ms=whole.end_ms)
    assert (resampled.open, resampled.high, resampled.low) == (whole.open, whole.high, whole.low)
    assert (resampled.close, resampled.volume) == (whole.close, whole.volume)


def test_a_coarse_forming_candle_is_made_of_the_finer_ones_so_far() -> None:
    now_ms = NOW_MS + 9 * 60 * MINUTE_MS + 17 * MINUTE_MS + 31_234
    for interval in LENGTHS_MS:
        *_, last = BITCOIN.klines(
            interval, first_ms=0, last_ms=now_ms, limit=2, newest=True, now_ms=now_ms
        )
        minutes = BITCOIN.klines(
            MINUTE,
            first_ms=last.open_ms,
            last_ms=now_ms,
            limit=100_000,
            newest=True,
            now_ms=now_ms,
        )
        resampled = merged(minutes, open_ms=last.open_ms, end_ms=last.end_ms)
        assert (resampled.open, resampled.high) == (last.open, last.high)
        assert (resampled.low, resampled.close) == (last.low, last.close)
        assert resampled.volume == last.volume
        assert last.close == BITCOIN.price(now_ms)


@pytest.mark.parametrize(("symbol", "tick"), [("BTCUSDT", "0.1"), ("DOGEUSDT", "0.00001")])
def test_prices_are_whole_ticks(symbol: str, tick: str) -> None:
    minutes = rows(find(generated_market(), symbol), "1", first_ms=0, last_ms=NOW_MS)
    assert all(minute.close % Decimal(tick) == 0 for minute in minutes)


def test_the_walk_has_no_end_and_starts_over_after_its_span() -> None:
    far_ms = START_MS + SPAN_DAYS * DAY_MS
    assert BITCOIN.price(far_ms) == Decimal(95_000)
    assert BITCOIN.price(far_ms - DAY_MS) not in (None, Decimal(95_000))


def test_spot_linear_and_inverse_of_one_coin_cost_the_same() -> None:
    market = generated_market()
    prices = {
        find(market, "BTCUSDT").price(NOW_MS),
        find(market, "BTCUSDT", Category.LINEAR).price(NOW_MS),
        find(market, "BTCUSD", Category.INVERSE).price(NOW_MS),
    }
    assert len(prices) == 1


def test_a_day_looks_like_a_day_of_a_volatile_market() -> None:
    days = rows(BITCOIN, "D", first_ms=0, last_ms=NOW_MS, limit=365)
    ranges = sorted((day.high - day.low) / day.open for day in days)
    assert Decimal("0.02") < ranges[len(ranges) // 2] < Decimal("0.12")
