"""The replay exchange as a client sees it: a real socket, a real HTTP client."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from app.domain.instruments import Category
from app.replay import (
    Market,
    ReplayExchange,
    generated_market,
    recorded_market,
    replay_exchange,
)
from app.replay.instruments import InstrumentSpec
from app.replay.market import Instrument
from tests.integration.asking import ask, result

MINUTE_MS = 60_000


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[ReplayExchange]:
    async with replay_exchange() as running:
        yield running


@pytest_asyncio.fixture
async def client(exchange: ReplayExchange) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=exchange.base_url, timeout=60) as client:
        yield client


def shape(value: object) -> object:
    """Names and types without the values."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def docs_example(shared_data: Path, page: str, tab: str = "") -> dict[str, Any]:
    examples = json.loads((shared_data / "bybit" / "docs_examples" / page).read_text())
    example: dict[str, Any] = next(
        example["json"]["result"] for example in examples if example["tab"] == tab
    )
    return example


# Shapes: against what the venue sent or documents


async def test_server_time_is_the_replay_clock(
    exchange: ReplayExchange, client: httpx.AsyncClient
) -> None:
    exchange.clock.advance(123)
    envelope = await ask(client, "time")
    assert envelope["time"] == exchange.clock.now_ms()
    assert envelope["result"] == {
        "timeSecond": str(envelope["time"] // 1000),
        "timeNano": str(envelope["time"] * 1_000_000),
    }


@pytest.mark.parametrize(
    ("category", "symbol"), [("spot", "BTCUSDT"), ("option", "BTC-28DEC35-100000-C-USDT")]
)
async def test_spot_and_option_tickers_have_the_documented_shape(
    client: httpx.AsyncClient, shared_data: Path, category: str, symbol: str
) -> None:
    mine = await result(client, "tickers", category=category, symbol=symbol)
    assert shape(mine) == shape(docs_example(shared_data, "market_tickers.json", category))


@pytest.mark.parametrize(("category", "symbol"), [("linear", "BTCUSDT"), ("inverse", "BTCUSD")])
async def test_contract_tickers_have_every_documented_and_every_recorded_key(
    client: httpx.AsyncClient, shared_data: Path, category: str, symbol: str
) -> None:
    (mine,) = (await result(client, "tickers", category=category, symbol=symbol))["list"]
    (documented,) = docs_example(shared_data, "market_tickers.json", "inverse")["list"]
    recording = json.loads(
        (shared_data / "bybit" / "rest_recorded" / f"tickers_{category}.json").read_text()
    )
    recorded = next(
        item for item in recording["response"]["result"]["list"] if item["symbol"] == symbol
    )
    newer = {"singleOpenInterest", "singleOpenInterestValue"}
    assert set(documented) | set(recorded) | newer == set(mine)
    assert all(isinstance(value, str) for value in mine.values())
    for name in ("lastPrice", "bid1Price", "ask1Price", "markPrice", "volume24h", "bid1Size"):
        if category == "linear":  # padded alike
            assert len(mine[name].partition(".")[2]) == len(recorded[name].partition(".")[2]), name


@pytest.mark.parametrize(
    ("category", "symbol"),
    [("spot", "BTCUSDT"), ("linear", "BTCUSDT"), ("option", "BTC-28DEC35-100000-C-USDT")],
)
async def test_instruments_have_every_documented_key(
    client: httpx.AsyncClient, shared_data: Path, category: str, symbol: str
) -> None:
    mine = await result(client, "instruments-info", category=category, symbol=symbol)
    theirs = docs_example(shared_data, "market_instrument.json", category)
    assert list(mine) == list(theirs)
    my_shape, their_shape = shape(mine["list"][0]), shape(theirs["list"][0])
    assert isinstance(my_shape, dict)
    assert isinstance(their_shape, dict)
    assert my_shape == their_shape | {
        name: my_shape[name]
        for name in ("xstockMultiplier", "forbidUplWithdrawal")
        if name in my_shape
    }


async def test_kline_order_book_and_trades_have_the_documented_shape(
    client: httpx.AsyncClient, shared_data: Path
) -> None:
    query = {"category": "spot", "symbol": "BTCUSDT"}
    assert shape(await result(client, "orderbook", **query)) == shape(
        docs_example(shared_data, "market_orderbook.json")
    )
    assert shape(await result(client, "recent-trade", **query)) == shape(
        docs_example(shared_data, "market_recent-trade.json")
    )
    assert shape(await result(client, "kline", **query, interval=1)) == shape(
        docs_example(shared_data, "market_kline.json")
    )


# Habits: errors, paging, numbers


@pytest.mark.parametrize(
    ("path", "query", "message", "answer"),
    [
        ("tickers", {"category": "spot", "symbol": "NOSUCH"}, "params error: symbol invalid", {}),
        ("tickers", {"category": "spot", "symbol": "btcusdt"}, "params error: symbol invalid", {}),
        ("tickers", {"category": "linear", "symbol": "NO"}, "params error: symbol invalid", {}),
        ("tickers", {}, "params error: Category is invalid", {}),
        ("orderbook", {"category": "linear"}, "params error: symbol invalid", {}),
        (
            "kline",
            {"category": "spot", "symbol": "NO", "interval": "1"},
            "Not supported symbols",
            {},
        ),
        ("kline", {"symbol": "BTCUSDT", "interval": "3d"}, "Invalid period!", {}),
        (
            "kline",
            {"category": "option", "symbol": "BTCUSDT", "interval": "1"},
            "params error: Category is invalid",
            {},
        ),
        (
            "instruments-info",
            {"category": "linear", "symbol": "NOSUCH"},
            "params error: symbol invalid",
            {"category": "", "list": [], "nextPageCursor": ""},
        ),
        (
            "instruments-info",
            {"category": "inverse", "symbol": "NOSUCH"},
            "params error: symbol invalid",
            {"category": "", "list": [], "nextPageCursor": ""},
        ),
        (
            "instruments-info",
            {"category": "option", "symbol": "NOSUCH"},
            "Parameter verification failed for 'symbol'.",
            {"category": "option", "nextPageCursor": "", "list": []},
        ),
    ],
)
async def test_business_errors_come_with_http_200_and_the_venues_words(
    client: httpx.AsyncClient,
    path: str,
    query: dict[str, str],
    message: str,
    answer: dict[str, Any],
) -> None:
    envelope = await ask(client, path, **query)
    assert (envelope["retCode"], envelope["retMsg"]) == (10001, message)
    assert envelope["result"] == answer


async def test_an_unknown_spot_instrument_is_an_empty_list(client: httpx.AsyncClient) -> None:
    found = await result(client, "instruments-info", category="spot", symbol="NOSUCH")
    assert found == {"category": "spot", "list": []}


async def test_an_unknown_path_is_404_with_retcode_10017(client: httpx.AsyncClient) -> None:
    for response in (await client.get("/v5/market/nothing"), await client.post("/v5/market/time")):
        assert response.status_code == 404
        assert response.json()["retCode"] == 10017


async def test_a_get_with_a_json_body_is_refused_as_the_venue_does(
    client: httpx.AsyncClient,
) -> None:
    response = await client.request("GET", "/v5/market/time", json={})
    assert response.status_code == 403
    assert "<H1>403 ERROR</H1>" in response.text


async def test_a_whole_category_comes_in_one_answer(client: httpx.AsyncClient) -> None:
    found = await result(client, "tickers", category="linear")
    symbols = [ticker["symbol"] for ticker in found["list"]]
    assert symbols == ["BTCUSDT", "DOGEUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]
    options = await result(client, "tickers", category="option", baseCoin="BTC", expDate="28DEC35")
    assert len(options["list"]) == 1
    assert (await ask(client, "tickers", category="option"))["retCode"] == 10001


def many_symbols() -> Market:
    """A generated market with linear symbols enough for several pages."""
    market = generated_market()
    pattern = market.instruments[Category.LINEAR, "BTCUSDT"]
    instruments = dict(market.instruments)
    for number in range(40):
        symbol = f"COIN{number:02}USDT"
        spec = partial(
            InstrumentSpec,
            category=Category.LINEAR,
            symbol=symbol,
            base_coin=f"COIN{number:02}",
            quote_coin="USDT",
            tick=Decimal("0.1"),
            quantity_step=Decimal(1),
            quantity_min=Decimal(1),
        )
        instruments[Category.LINEAR, symbol] = Instrument(
            category=Category.LINEAR,
            symbol=symbol,
            history=pattern.history,
            source="a test",
            spec=spec,
        )
    return Market(instruments=instruments, start_ms=market.start_ms, first_ms=0, last_ms=None)


async def test_the_instruments_cursor_leads_through_every_linear_symbol_once() -> None:
    async with (
        replay_exchange(many_symbols()) as exchange,
        httpx.AsyncClient(base_url=exchange.base_url, timeout=60) as client,
    ):
        found: list[str] = []
        cursor, pages = "", 0
        while cursor or not pages:
            # The cursor is percent-encoded already, so it goes into the URL as it came.
            url = f"/v5/market/instruments-info?category=linear&limit=10&cursor={cursor}"
            page = (await client.get(url)).json()["result"]
            found += [item["symbol"] for item in page["list"]]
            cursor, pages = page["nextPageCursor"], pages + 1
        assert pages == 5
        assert len(found) == 45
        assert found == sorted(set(found))
        first = await result(client, "instruments-info", category="linear", limit=10)
        assert first["nextPageCursor"] == "first%3DBTCUSDT%26last%3DCOIN08USDT"
        twice = await ask(
            client, "instruments-info", category="linear", cursor=first["nextPageCursor"]
        )
        assert twice["retCode"] == 10001  # httpx encoded it once more
        spot = await result(client, "instruments-info", category="spot", limit=1)
        assert len(spot["list"]) == 5
        assert "nextPageCursor" not in spot


async def test_with_a_base_coin_linear_and_inverse_are_mixed(client: httpx.AsyncClient) -> None:
    found = await result(client, "instruments-info", category="linear", baseCoin="BTC")
    assert [item["symbol"] for item in found["list"]] == ["BTCUSD", "BTCUSDT"]


async def test_only_what_trades_is_listed_whatever_status_is_asked_for(
    client: httpx.AsyncClient,
) -> None:
    for status, count in (("Trading", 5), ("PreLaunch", 0)):
        found = await result(client, "instruments-info", category="linear", status=status)
        assert len(found["list"]) == count


async def test_the_rules_of_an_unknown_symbol_are_as_fine_as_its_recording(tmp_path: Path) -> None:
    (tmp_path / "bybit_spot_NEWUSDC_1.csv").write_text(
        "ts,open,high,low,close,volume\n0,1.5,1.625,1.5,1.6,10.25\n"
    )
    option = "bybit_option_BTC-27MAR26-70000-P-USDT_1.csv"
    (tmp_path / option).write_text("ts,open,high,low,close,volume\n0,105,105,100,100,2\n")
    async with (
        replay_exchange(recorded_market(tmp_path)) as exchange,
        httpx.AsyncClient(base_url=exchange.base_url, timeout=60) as client,
    ):
        (spot,) = (await result(client, "instruments-info", category="spot"))["list"]
        (put,) = (await result(client, "instruments-info", category="option"))["list"]
        trades = (await result(client, "recent-trade", category="option", baseCoin="BTC"))["list"]
    assert (spot["baseCoin"], spot["quoteCoin"]) == ("NEW", "USDC")
    assert spot["priceFilter"]["tickSize"] == "0.001"
    assert spot["lotSizeFilter"]["basePrecision"] == "0.01"
    assert (put["optionsType"], put["settleCoin"]) == ("Put", "USDT")
    assert put["deliveryTime"] == "1774598400000"
    assert [(trade["price"], trade["mP"]) for trade in trades] == [("105", "105")]


async def test_the_book_stands_around_the_last_price(client: httpx.AsyncClient) -> None:
    (ticker,) = (await result(client, "tickers", category="linear", symbol="ETHUSDT"))["list"]
    book = await result(client, "orderbook", category="linear", symbol="ETHUSDT", limit=50)
    bids = [Decimal(price) for price, _ in book["b"]]
    asks = [Decimal(price) for price, _ in book["a"]]
    assert len(bids) == len(asks) == 50
    assert all(left > right for left, right in pairwise(bids))
    assert all(left < right for left, right in pairwise(asks))
    assert bids[0] == Decimal(ticker["bid1Price"]) == Decimal(ticker["lastPrice"]) < asks[0]
    assert asks[0] == Decimal(ticker["ask1Price"])
    assert all(Decimal(size) > 0 for _, size in book["b"] + book["a"])
    for category, depth in (("spot", 1), ("linear", 25)):
        book = await result(client, "orderbook", category=category, symbol="ETHUSDT")
        assert len(book["a"]) == depth


async def test_trades_are_newest_first_and_end_at_the_last_price(
    exchange: ReplayExchange, client: httpx.AsyncClient
) -> None:
    exchange.clock.advance(90_000)
    query = {"category": "spot", "symbol": "BTCUSDT"}
    trades = (await result(client, "recent-trade", **query))["list"]
    (ticker,) = (await result(client, "tickers", **query))["list"]
    assert len(trades) == 60
    assert trades[0]["price"] == ticker["lastPrice"]
    times = [int(trade["time"]) for trade in trades]
    assert times == sorted(times, reverse=True)
    assert len({trade["execId"] for trade in trades}) == 60
    assert all(Decimal(trade["size"]) > 0 for trade in trades)
