"""GET /market/ticker, /market/orderbook and /market/trades."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
import pytest_asyncio
from app.db.address import DatabaseAddress
from app.domain.instruments import Category
from app.replay import ReplayExchange, replay_exchange
from tests.conftest import (
    CloneDatabase,
    Installation,
    cloning,
    run_installation,
    settings_for,
)

SAFETY_SECONDS = 30


@pytest_asyncio.fixture(scope="module")
async def running_exchange() -> AsyncIterator[ReplayExchange]:
    async with replay_exchange() as exchange:
        exchange.clock.set_speed(20)
        yield exchange


@pytest_asyncio.fixture(scope="module")
async def streaming(
    template: DatabaseAddress, running_exchange: ReplayExchange
) -> AsyncIterator[Installation]:
    """On a database of its own: what others have ordered or watch would be streamed, too."""
    async with cloning(template) as clone:
        settings = settings_for(await clone(), running_exchange.base_url, market_streams="on")
        async with run_installation(settings) as installation:
            yield installation


@pytest_asyncio.fixture
async def client(streaming: Installation) -> AsyncIterator[httpx.AsyncClient]:
    async with streaming.client() as client:
        yield client


async def streamed(client: httpx.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    """The first answer that comes off the stream."""
    async with asyncio.timeout(SAFETY_SECONDS):
        while True:
            answer = await client.get(path, params=query)
            if answer.status_code == 200:
                data: dict[str, Any] = answer.json()["data"]
                if data["source"] == "Bybit:stream":
                    return data
                assert data["source"] == "Bybit"
            else:
                assert answer.json()["meta"]["code"] == "not_streamed_yet", answer.text
                assert answer.status_code == 503
            await asyncio.sleep(0.05)


async def test_the_first_ticker_is_asked_for_and_the_next_ones_are_streamed(
    client: httpx.AsyncClient,
) -> None:
    first = (await client.get("/market/ticker", params={"symbol": "dogeusdt"})).json()["data"]
    assert (first["source"], first["symbol"], first["category"]) == ("Bybit", "DOGEUSDT", "spot")
    assert "high_24h" not in first
    later = await streamed(client, "/market/ticker", symbol="DOGEUSDT")
    assert Decimal(later["low_24h"]) <= Decimal(later["price"]) <= Decimal(later["high_24h"])
    assert 0 <= later["age_ms"] < 10_000
    assert "bid" not in later, "the venue's spot tickers have none"


async def test_a_contracts_ticker_has_bid_ask_mark_and_funding(client: httpx.AsyncClient) -> None:
    ticker = await streamed(client, "/market/ticker", symbol="BTCUSDT", category="linear")
    assert Decimal(ticker["bid"]) < Decimal(ticker["ask"])
    assert ticker["funding_rate"] == "0.0001"
    assert Decimal(ticker["mark_price"]) > 0


async def test_the_book_is_as_deep_as_asked_for_and_never_crosses(
    client: httpx.AsyncClient, running_exchange: ReplayExchange
) -> None:
    book = await streamed(client, "/market/orderbook", symbol="BTCUSDT", depth=50)
    assert (len(book["bids"]), len(book["asks"])) == (50, 50)
    bids = [Decimal(price) for price, _ in book["bids"]]
    asks = [Decimal(price) for price, _ in book["asks"]]
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
    instrument = running_exchange.market.find(Category.SPOT, "BTCUSDT")
    assert instrument is not None
    assert instrument.price(book["venue_time_ms"]) == bids[0]
    shallow = await streamed(client, "/market/orderbook", symbol="BTCUSDT", depth=1)
    assert len(shallow["bids"]) == 1


async def test_trades_come_newest_first_and_no_more_than_asked_for(
    client: httpx.AsyncClient,
) -> None:
    async with asyncio.timeout(SAFETY_SECONDS):
        known = 0
        while known <= 3:
            answer = await streamed(client, "/market/trades", symbol="ETHUSDT", limit=5)
            known = len(answer["trades"])
            await asyncio.sleep(0.05)
    answer = await streamed(client, "/market/trades", symbol="ETHUSDT", limit=3)
    times = [trade["venue_time_ms"] for trade in answer["trades"]]
    assert len(times) == 3
    assert times == sorted(times, reverse=True)
    assert answer["venue_time_ms"] == times[0]
    assert {trade["side"] for trade in answer["trades"]} <= {"buy", "sell"}


@pytest.mark.parametrize("path", ["/market/ticker", "/market/orderbook", "/market/trades"])
async def test_an_unknown_symbol_is_404_and_bad_input_422(
    client: httpx.AsyncClient, running_exchange: ReplayExchange, path: str
) -> None:
    answer = await client.get(path, params={"symbol": "NOSUCHUSDT"})
    assert (answer.status_code, answer.json()["meta"]["code"]) == (404, "unknown_symbol")
    for query in ({}, {"symbol": "x"}, {"symbol": "BTCUSDT", "category": "moon"}):
        assert (await client.get(path, params=query)).status_code == 422
    if path != "/market/ticker":
        name = "depth" if path == "/market/orderbook" else "limit"
        for number in ("0", "201", "1.5", "many"):
            answer = await client.get(path, params={"symbol": "BTCUSDT", name: number})
            assert answer.status_code == 422
    topics = "/v5/public/spot"
    assert not running_exchange.requests.count(f"{topics} publicTrade.NOSUCHUSDT")


async def test_options_are_asked_for_and_not_streamed(client: httpx.AsyncClient) -> None:
    answer = await client.get(
        "/market/orderbook", params={"symbol": "BTCUSDT", "category": "option"}
    )
    assert (answer.status_code, answer.json()["meta"]["code"]) == (404, "category_not_streamed")


async def test_with_the_streams_off_the_ticker_is_asked_for_and_the_rest_says_why_not(
    anonymous: httpx.AsyncClient,
) -> None:
    ticker = await anonymous.get("/market/ticker", params={"symbol": "BTCUSDT"})
    assert ticker.json()["data"]["source"] == "Bybit"
    for path in ("/market/orderbook", "/market/trades"):
        answer = await anonymous.get(path, params={"symbol": "BTCUSDT"})
        assert (answer.status_code, answer.json()["meta"]["code"]) == (404, "streams_off")
        assert "MARKET_STREAMS" in answer.json()["message"]


async def test_a_book_that_the_venue_never_sends_is_503_with_words_and_not_a_hang(
    clone: CloneDatabase,
) -> None:
    async with replay_exchange() as exchange:
        exchange.faults.add("stream_no_snapshot")
        settings = settings_for(await clone(), exchange.base_url, market_streams="on")
        async with run_installation(settings) as installation, installation.client() as client:
            answer = await client.get("/market/orderbook", params={"symbol": "BTCUSDT"})
            assert (answer.status_code, answer.json()["meta"]["code"]) == (503, "not_streamed_yet")
            assert "BTCUSDT" in answer.json()["message"]
            assert answer.headers["retry-after"] == "1"
