"""WS /ws/market and GET /market/stream: markets as they happen."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import count
from typing import Any

import httpx
import pytest
import pytest_asyncio
from app.core.config import Settings
from app.db.address import DatabaseAddress
from app.domain.live import PublicTrade, Topic
from app.domain.topics import parse_topic
from app.main import create_app
from app.replay import ReplayExchange, replay_exchange
from app.services.board import Board
from app.services.market_feed import FeedLimits, MarketFeed
from app.serving import Server
from tests.conftest import Installation, run_installation, settings_for
from tests.integration.api.sockets import SAFETY_SECONDS, served_as_goblin_serves
from tests.integration.api.streaming import Served as EventsServed
from tests.integration.api.streaming import eventually
from tests.integration.api.streaming import serving as serving_events
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

TICKER, BOOK, TRADES = "linear/BTCUSDT/ticker", "spot/ETHUSDT/book", "spot/ETHUSDT/trades"
CANDLES = "spot/BTCUSDT/candles/1m"


@pytest_asyncio.fixture(scope="module")
async def running_exchange() -> AsyncIterator[ReplayExchange]:
    async with replay_exchange() as exchange:
        exchange.clock.set_speed(60)
        yield exchange


@pytest_asyncio.fixture(scope="module")
async def streaming(
    postgres: DatabaseAddress, running_exchange: ReplayExchange
) -> AsyncIterator[Installation]:
    settings = settings_for(postgres, running_exchange.base_url, market_streams="on")
    async with run_installation(settings) as installation:
        yield installation


@dataclass(frozen=True)
class Served:
    """An application that listens, with a market feed of its own."""

    url: str
    feed: MarketFeed
    server: Server
    installation: Installation

    def websocket(self, **options: Any) -> connect:
        url = self.url.replace("http", "ws") + "/ws/market"
        return connect(url, proxy=None, open_timeout=SAFETY_SECONDS, **options)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=SAFETY_SECONDS)

    def wanted(self) -> set[str]:
        """What is wanted; the watchlists and orders of other tests want tickers of spot."""
        return {
            f"{topic.category}/{topic.symbol}/{topic.channel}"
            for topic in self.installation.resources.demand.wanted()
        }


@asynccontextmanager
async def serving(running: Installation, limits: FeedLimits | None = None) -> AsyncIterator[Served]:
    resources = running.resources
    feed = MarketFeed(
        board=resources.board,
        demand=resources.demand,
        monotonic=asyncio.get_running_loop().time,
        limits=limits,
    )
    app = create_app(Settings(_env_file=None))
    app.state.resources = replace(resources, market_feed=feed)
    telling = asyncio.create_task(feed.run())
    try:
        async with served_as_goblin_serves(app, end_streams=feed.close) as address:
            yield Served(address.url, feed, address.server, running)
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


@pytest_asyncio.fixture
async def served(streaming: Installation) -> AsyncIterator[Served]:
    async with serving(streaming) as served:
        yield served


async def say(websocket: ClientConnection, op: str, *topics: str, **more: Any) -> dict[str, Any]:
    """Send an operation; the answer, whatever updates come before it."""
    said = {"op": op, **({"topics": topics} if topics else {}), **more}
    await websocket.send(json.dumps(said))
    async with asyncio.timeout(SAFETY_SECONDS):
        while (answer := await heard(websocket))["type"] == "update":
            pass
    return answer


async def heard(websocket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(SAFETY_SECONDS):
        message: dict[str, Any] = json.loads(await websocket.recv())
    return message


async def told(websocket: ClientConnection, topic: str) -> dict[str, Any]:
    """The next update of a topic."""
    async with asyncio.timeout(SAFETY_SECONDS):
        while True:
            message = await heard(websocket)
            assert message["type"] == "update", message
            for update in message["data"]:
                assert update["source"] == "Bybit:stream"
                assert update["age_ms"] >= 0
                if update["topic"] == topic:
                    found: dict[str, Any] = update
                    return found


async def sse(client: httpx.AsyncClient, *topics: str) -> AsyncGenerator[dict[str, Any], None]:
    """Every update of a stream."""
    query = {"topics": ",".join(topics)}
    async with client.stream("GET", "/market/stream", params=query) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "no-store" in response.headers["cache-control"]
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "data":
                for update in json.loads(value):
                    yield update


async def test_a_client_is_answered_and_told_every_channel(served: Served) -> None:
    async with served.websocket() as websocket:
        names = [TICKER, BOOK, TRADES, CANDLES, "inverse/BTCUSD/top"]
        answer = await say(websocket, "subscribe", *names, id=7)
        assert answer == {"type": "subscribed", "id": 7, "topics": names}
        ticker = await told(websocket, TICKER)
        assert Decimal(ticker["bid"]) < Decimal(ticker["ask"])
        assert ticker["venue_time_ms"] > 0
        book = await told(websocket, BOOK)
        assert len(book["bids"]) == 50
        top = await told(websocket, "inverse/BTCUSD/top")
        assert Decimal(top["bids"][0][0]) < Decimal(top["asks"][0][0])
        assert len(top["bids"]) == 1
        while (trades := await told(websocket, TRADES))["dropped"]:
            pass  # all of this stood still for more of them than a message holds
        assert trades["trades"][0]["side"] in ("buy", "sell")
        closed = 0
        while not closed:
            candles = await told(websocket, CANDLES)
            assert candles["interval"] == "1m"
            closed = sum(candle["is_closed"] for candle in candles["candles"])
        assert (await say(websocket, "ping"))["type"] == "pong"


async def test_topics_that_are_named_one_by_one_are_all_followed(served: Served) -> None:
    wanted = {TICKER, BOOK, TRADES}
    query = {"topics": [TICKER, f"{BOOK},{TRADES}"]}
    heard_of = set[str]()
    async with (
        asyncio.timeout(SAFETY_SECONDS),
        served.client() as client,
        client.stream("GET", "/market/stream", params=query) as response,
    ):
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "data":
                heard_of |= {update["topic"] for update in json.loads(value)}
            if heard_of >= wanted:
                break
    assert heard_of == wanted


async def test_who_comes_later_is_told_what_is_known_even_when_nothing_is_new(
    served: Served, running_exchange: ReplayExchange
) -> None:
    async with served.websocket() as first:
        await say(first, "subscribe", TICKER)
        await told(first, TICKER)
        running_exchange.clock.set_speed(0)
        try:
            await asyncio.sleep(0.2)
            async with served.websocket() as second:
                await say(second, "subscribe", TICKER)
                assert Decimal((await told(second, TICKER))["price"]) > 0
        finally:
            running_exchange.clock.set_speed(60)


async def test_what_is_left_is_told_no_more_and_wanted_no_more(served: Served) -> None:
    topics = ("linear/SOLUSDT/ticker", "linear/XRPUSDT/ticker")
    async with served.websocket() as websocket:
        await say(websocket, "subscribe", *topics)
        assert set(topics) <= served.wanted()
        answer = await say(websocket, "unsubscribe", topics[0])
        assert answer == {"type": "unsubscribed", "topics": [topics[0]]}
        assert topics[0] not in served.wanted()
        for _ in range(3):
            assert [u["topic"] for u in (await heard(websocket))["data"]] == [topics[1]]
    await eventually(lambda: topics[1] not in served.wanted())
    assert served.feed.count == 0


@pytest.mark.parametrize(
    ("topic", "code", "words"),
    [
        ("spot/NOSUCHUSDT/ticker", "unknown_symbol", "NOSUCHUSDT"),
        ("spot/BTCUSDT/moon", "unknown_topic", "one of ticker, trades"),
        ("spot/BTCUSDT/candles/7m", "unknown_topic", "1m, 3m, 5m"),
        ("option/BTCUSDT/ticker", "unknown_topic", "spot, linear or inverse"),
    ],
)
async def test_what_cannot_be_followed_is_refused_with_all_that_came_with_it(
    served: Served, running_exchange: ReplayExchange, topic: str, code: str, words: str
) -> None:
    followable = "linear/XRPUSDT/book"
    async with served.websocket() as websocket:
        answer = await say(websocket, "subscribe", followable, topic, id="x")
        assert (answer["type"], answer["code"], answer["id"]) == ("error", code, "x")
        assert words in answer["message"]
        assert answer["topics"] == [followable, topic]
        assert followable not in served.wanted()
    async with served.client() as client:
        refused = await client.get("/market/stream", params={"topics": topic})
        assert refused.status_code == (404 if code == "unknown_symbol" else 400)
        assert refused.json()["meta"]["code"] == code
        assert words in refused.json()["message"]
    assert not running_exchange.requests.count("/v5/public/spot tickers.NOSUCHUSDT")


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "[]",
        "{}",
        '{"op": "buy"}',
        '{"op": "subscribe"}',
        '{"op": "subscribe", "topics": []}',
        '{"op": "subscribe", "topics": "spot/BTCUSDT/ticker"}',
        '{"op": "subscribe", "topics": [1]}',
        '{"op": "ping", "token": "secret"}',
        "[" * 5000,
    ],
)
async def test_a_message_that_is_none_is_answered_with_what_one_looks_like(
    served: Served, text: str
) -> None:
    async with served.websocket() as websocket:
        await websocket.send(text)
        answer = await heard(websocket)
        assert (answer["type"], answer["code"]) == ("error", "validation_error")
        assert '{"op": "subscribe"' in answer["message"]
        assert (await say(websocket, "ping", id=1)) == {"type": "pong", "id": 1}


async def test_a_binary_message_closes_the_socket_with_words(served: Served) -> None:
    async with served.websocket() as websocket:
        await websocket.send(b"\x00")
        await asyncio.wait_for(websocket.wait_closed(), SAFETY_SECONDS)
    assert (websocket.close_code, websocket.close_reason) == (4400, "messages are JSON texts")


async def test_server_sent_events_tell_the_same(served: Served) -> None:
    async with served.client() as client, aclosing(sse(client, TICKER, CANDLES)) as updates:
        found: dict[str, Any] = {}
        async with asyncio.timeout(SAFETY_SECONDS):
            async for update in updates:
                found[update["topic"]] = update
                if len(found) == 2:
                    break
    assert Decimal(found[TICKER]["price"]) > 0
    assert found[CANDLES]["candles"]
    await eventually(lambda: served.feed.count == 0)


async def test_a_quiet_stream_says_that_it_is_there(streaming: Installation) -> None:
    async with serving(streaming, FeedLimits(keep_alive_seconds=0.05)) as served:
        query = {"topics": "linear/BTCUSDT/candles/1M"}
        async with (
            served.client() as client,
            client.stream("GET", "/market/stream", params=query) as response,
        ):
            async with asyncio.timeout(SAFETY_SECONDS):
                async for line in response.aiter_lines():
                    if line == ": keep-alive":
                        break


async def test_an_address_is_bounded_in_connections_and_topics(streaming: Installation) -> None:
    limits = FeedLimits(connections_per_address=1, topics_per_connection=2)
    async with serving(streaming, limits) as served, served.websocket() as websocket:
        answer = await say(websocket, "subscribe", TICKER, BOOK, TRADES)
        assert (answer["type"], answer["code"]) == ("error", "too_many_topics")
        assert "at most 2" in answer["message"]
        assert (await say(websocket, "subscribe", TICKER))["type"] == "subscribed"
        async with served.websocket() as second:
            await asyncio.wait_for(second.wait_closed(), SAFETY_SECONDS)
        assert second.close_code == 4429
        assert "1 market streams open" in str(second.close_reason)
        async with served.client() as client:
            refused = await client.get("/market/stream", params={"topics": TICKER})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")


async def flood(board: Board, topics: list[Topic]) -> None:
    """As many trades as one message has room for, again and again: buffers are megabytes."""
    for number in count(step=200):
        trades = tuple(
            PublicTrade(
                id=f"f{number + n}", price=Decimal(1), size=Decimal(1), is_buy=True,
                venue_time_ms=number + n,
            )
            for n in range(200)
        )  # fmt: skip
        for topic in topics:
            board.hear(topic, trades, received_at=time.monotonic())
        await asyncio.sleep(0.03)


async def test_clients_that_do_not_read_are_cut_off_and_let_go_of_what_they_followed(
    streaming: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    cut = "a slow follower of markets was cut off"
    names = [
        f"{category}/{symbol}USDT/trades"
        for category in ("spot", "linear")
        for symbol in ("BTC", "ETH", "SOL", "XRP")
    ]
    flooding = asyncio.create_task(flood(streaming.resources.board, [*map(parse_topic, names)]))
    async with serving(streaming, FeedLimits(send_seconds=0.3)) as served:
        lazy = EventsServed(url=served.url, feed=streaming.resources.events).lazy_socket
        with closing(lazy()) as sock:
            query = f"GET /market/stream?topics={','.join(names)} HTTP/1.1\r\nHost: x\r\n\r\n"
            sock.sendall(query.encode())
            async with served.websocket(sock=lazy(), max_queue=1) as websocket:
                await websocket.send(json.dumps({"op": "subscribe", "topics": names}))
                await eventually(lambda: caplog.messages.count(cut) == 2)
                await eventually(lambda: served.feed.count == 0)
                with suppress(ConnectionClosed):
                    async with asyncio.timeout(SAFETY_SECONDS):
                        while True:
                            await websocket.recv()
    flooding.cancel()
    assert not set(names) & served.wanted()


async def test_a_stop_ends_the_streams_in_order(served: Served) -> None:
    async with (
        served.client() as client,
        aclosing(sse(client, TICKER)) as updates,
        served.websocket() as websocket,
    ):
        await say(websocket, "subscribe", TICKER)
        async with asyncio.timeout(SAFETY_SECONDS):
            await anext(updates)
            served.server.should_exit = True
            async for _ in updates:  # to its regular end
                pass
            with pytest.raises(ConnectionClosed):
                while True:  # what came before the end is in its way
                    await websocket.recv()
        assert websocket.close_code == 1012


async def test_a_foreign_page_cannot_open_the_socket(served: Served) -> None:
    with pytest.raises(Exception, match="403"):
        async with served.websocket(origin="https://evil.example"):
            pass


async def test_with_the_streams_off_both_say_why(installation: Installation) -> None:
    async with serving_events(installation) as served:
        async with httpx.AsyncClient(base_url=served.url, timeout=SAFETY_SECONDS) as client:
            answer = await client.get("/market/stream", params={"topics": TICKER})
        assert (answer.status_code, answer.json()["meta"]["code"]) == (404, "streams_off")
        url = served.url.replace("http", "ws") + "/ws/market"
        async with connect(url, proxy=None) as websocket:
            await asyncio.wait_for(websocket.wait_closed(), SAFETY_SECONDS)
        assert websocket.close_code == 4404
        assert "MARKET_STREAMS" in str(websocket.close_reason)
