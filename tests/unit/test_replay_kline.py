"""The kline endpoint against a model that knows nothing but a list of candles."""

from decimal import Decimal
from typing import Any

import pytest
from app.domain.instruments import Category
from app.replay.answers import kline
from app.replay.candles import MINUTE_MS
from app.replay.generated import START_MS, generated_market
from app.replay.market import Market
from app.replay.recorded import recorded_market
from app.replay.wire import Rejected
from hypothesis import given
from hypothesis import strategies as st

FIRST_MS = 1_700_000_040_000  # a whole minute
COUNT = 40
GAP = range(20, 23)  # minutes that were not recorded
END_MS = FIRST_MS + COUNT * MINUTE_MS

instants = st.integers(FIRST_MS - 5 * MINUTE_MS, END_MS + 5 * MINUTE_MS)
optional_instants = st.none() | instants


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    file = tmp_path_factory.mktemp("kline") / "bybit_linear_BTCUSDT_1.csv"
    rows = ["ts,open,high,low,close,volume"]
    for minute in range(COUNT):
        if minute not in GAP:
            price = 100 + minute
            rows.append(
                f"{FIRST_MS + minute * MINUTE_MS},{price},{price + 3},{price - 2},{price + 1},6"
            )
    file.write_text("\n".join(rows))
    return recorded_market(file)


def answer(
    market: Market,
    now_ms: int,
    *,
    start: int | None = None,
    end: int | None = None,
    limit: int | None = None,
    **query: str,
) -> list[list[str]]:
    numbers = {"start": start, "end": end, "limit": limit}
    wish = {"category": "linear", "symbol": "BTCUSDT", "interval": "1", **query}
    wish |= {name: str(value) for name, value in numbers.items() if value is not None}
    rows: list[list[str]] = kline(market, now_ms, wish)["list"]
    return rows


def model(now_ms: int, *, start: int | None, end: int | None, limit: int | None) -> list[int]:
    """Open times, newest first, by the six rules of the venue."""
    known = [
        open_ms
        for minute in range(COUNT)
        if minute not in GAP and (open_ms := FIRST_MS + minute * MINUTE_MS) <= now_ms
    ]
    if start is not None:
        known = [open_ms for open_ms in known if open_ms >= start - start % MINUTE_MS]
    if end is not None:
        known = [open_ms for open_ms in known if open_ms <= end]
    size = 200 if limit is None else limit
    chosen = known[:size] if start is not None and end is None else known[-size:]
    return chosen[::-1]


@given(instants, optional_instants, optional_instants, st.none() | st.integers(1, 60))
def test_paging_is_the_venues_in_every_combination_of_start_end_and_limit(
    market: Market, now_ms: int, start: int | None, end: int | None, limit: int | None
) -> None:
    rows = answer(market, now_ms, start=start, end=end, limit=limit)
    assert [int(row[0]) for row in rows] == model(now_ms, start=start, end=end, limit=limit)


def test_a_window_wider_than_the_limit_ignores_its_start_silently(market: Market) -> None:
    rows = answer(market, END_MS, start=FIRST_MS, end=FIRST_MS + 15 * MINUTE_MS, limit=3)
    assert [int(row[0]) - FIRST_MS for row in rows] == [
        15 * MINUTE_MS,
        14 * MINUTE_MS,
        13 * MINUTE_MS,
    ]


def test_start_alone_goes_forward_and_is_still_newest_first(market: Market) -> None:
    rows = answer(market, END_MS, start=9999, limit=2)
    assert [int(row[0]) for row in rows] == [FIRST_MS + MINUTE_MS, FIRST_MS]


def test_a_start_inside_a_candle_includes_that_candle(market: Market) -> None:
    rows = answer(market, END_MS, start=FIRST_MS + 59_999, limit=1)
    assert [int(row[0]) for row in rows] == [FIRST_MS]


def test_paging_backwards_as_clients_do_finds_every_candle_once(market: Market) -> None:
    found: list[int] = []
    end = END_MS
    while page := answer(market, END_MS, start=0, end=end, limit=7):
        found += [int(row[0]) for row in page]
        end = found[-1] - 1
    assert found == model(END_MS, start=None, end=None, limit=1000)


def test_the_open_candle_comes_first_and_ends_at_the_last_price(market: Market) -> None:
    now_ms = FIRST_MS + 5 * MINUTE_MS + 20_000  # a third of the way: at the low
    newest, before = answer(market, now_ms, limit=2)
    assert newest == [str(FIRST_MS + 5 * MINUTE_MS), "105", "105", "103", "103", "2", "211"]
    assert before[1:6] == ["104", "107", "102", "105", "6"]


def test_the_candle_that_closes_this_millisecond_is_whole(market: Market) -> None:
    (row,) = answer(market, FIRST_MS + MINUTE_MS - 1, limit=1)
    assert row == [str(FIRST_MS), "100", "103", "98", "101", "6", "603"]


def test_while_nothing_traded_there_is_no_open_candle_of_a_coarser_interval(
    market: Market,
) -> None:
    in_gap_ms = FIRST_MS + 22 * MINUTE_MS + 30_000  # a new three minutes, nothing in it yet
    newest, *_ = answer(market, in_gap_ms, interval="3", limit=2)
    assert int(newest[0]) == FIRST_MS + 19 * MINUTE_MS


def test_a_generated_market_begins_in_1970(market: Market) -> None:
    assert answer(market, 0) == []
    for interval, first_ms in (("1", 0), ("D", 0), ("W", 4 * 86_400_000), ("M", 0)):
        query = {"symbol": "BTCUSDT", "interval": interval, "start": "9999", "limit": "1"}
        ((open_ms, *_),) = kline(generated_market(), START_MS, query)["list"]
        assert int(open_ms) == first_ms


def test_nothing_is_known_about_the_future(market: Market) -> None:
    assert answer(market, FIRST_MS - 1) == []
    assert answer(market, FIRST_MS, start=FIRST_MS + MINUTE_MS) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbol": "NOSUCH"}, "Not supported symbols"),
        ({"symbol": "btcusdt"}, "Not supported symbols"),
        ({"interval": "3d"}, "Invalid period!"),
        ({"interval": "1h"}, "Invalid period!"),
        ({"interval": ""}, "Invalid period!"),
        ({"category": "option"}, "params error: Category is invalid"),
        ({"category": "futures"}, "params error: Category is invalid"),
        ({"limit": "0"}, "params error: limit is invalid"),
        ({"limit": "1001"}, "params error: limit is invalid"),
        ({"limit": "²"}, "params error: limit is invalid"),
        ({"start": "-1"}, "params error: start is invalid"),
        ({"end": "9" * 20}, "params error: end is invalid"),
    ],
)
def test_wrong_questions_get_the_venues_words(
    market: Market, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(Rejected) as caught:
        answer(market, END_MS, **changes)
    assert (caught.value.code, caught.value.message, caught.value.result) == (10001, message, {})


def test_linear_is_the_default_and_inverse_symbols_answer_there_too(
    market: Market,
) -> None:
    query = {"symbol": "BTCUSDT", "interval": "1", "limit": "1"}
    assert kline(market, END_MS, query)["category"] == Category.LINEAR
    generated = generated_market()
    result = kline(generated, START_MS, {**query, "category": "linear", "symbol": "BTCUSD"})
    assert result["category"] == Category.LINEAR
    assert len(result["list"]) == 1
    with pytest.raises(Rejected, match="Not supported symbols"):
        kline(generated, START_MS, {**query, "category": "spot", "symbol": "BTCUSD"})


def test_numbers_are_plain_and_trimmed() -> None:
    rows = answer(generated_market(), START_MS, symbol="DOGEUSDT", limit=100)
    for text in (text for row in rows for text in row):
        assert Decimal(text).is_finite()
        assert "e" not in text.lower()
        assert not ("." in text and text[-1] in "0.")
