"""The stream client, an exchange whose clock we move, and all that was heard."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from app.clients.bybit_socket import StreamTimes
from app.clients.bybit_stream import BybitStream
from app.domain.books import Book
from app.domain.instruments import Category, Symbol
from app.domain.live import Channel, LiveCandle, LiveValue, PublicTrade, Ticker, Topic
from app.replay import ReplayExchange

SPOT, LINEAR = Category.SPOT, Category.LINEAR
BTC, ETH = Symbol("BTCUSDT"), Symbol("ETHUSDT")
TICKER = Topic(LINEAR, BTC, Channel.TICKER)
BOOK = Topic(LINEAR, BTC, Channel.BOOK)
TOP = Topic(LINEAR, BTC, Channel.TOP)
TRADES = Topic(LINEAR, BTC, Channel.TRADES)
CANDLE = Topic(LINEAR, BTC, Channel.CANDLE, "1")

QUICK = StreamTimes(
    ping=0.1,
    silence=20,
    opening=20,
    sending=20,
    look=0.05,
    start=0.3,
    steady=0.0,
    reconnect_min=0.02,
    reconnect_max=0.1,
    forbidden=0.1,
)
IMPATIENT = replace(QUICK, silence=0.5)
PATIENT = replace(QUICK, start=60)
"""Asks again for what is wrong, never for what is slow: for tests that count how often it asked."""


class Heard:
    """Everything that the client told, by topic."""

    def __init__(self) -> None:
        self.values: dict[Topic, list[LiveValue]] = defaultdict(list)

    def __call__(self, topic: Topic, value: LiveValue, *, received_at: float) -> None:
        assert received_at > 0
        self.values[topic].append(value)

    def count(self, topic: Topic) -> int:
        return len(self.values[topic])

    def clear(self) -> None:
        self.values.clear()

    def ticker(self) -> Ticker:
        value = self.values[TICKER][-1]
        assert isinstance(value, Ticker)
        return value

    def book(self) -> Book:
        value = self.values[BOOK][-1]
        assert isinstance(value, Book)
        return value

    def trades(self, topic: Topic = TRADES) -> list[PublicTrade]:
        return [
            trade for value in self.values[topic] if isinstance(value, tuple) for trade in value
        ]

    def closed(self, topic: Topic = CANDLE) -> dict[int, LiveCandle]:
        return {
            value.open_ms: value
            for value in self.values[topic]
            if isinstance(value, LiveCandle) and value.is_closed
        }


class World:
    """An exchange whose clock we move, a client, and what it heard."""

    def __init__(self, exchange: ReplayExchange, times: StreamTimes = QUICK) -> None:
        self.exchange = exchange
        self.heard = Heard()
        self.pauses: list[float] = []
        self.stream = BybitStream(
            exchange.stream_url,
            hear=self.heard,
            times=times,
            sleep=self._sleep,
            jitter=lambda: 0.5,
            characters_per_socket_max=200,
        )

    async def _sleep(self, seconds: float) -> None:
        if seconds != QUICK.look:
            self.pauses.append(seconds)
        await asyncio.sleep(seconds)

    async def until(self, is_so: Callable[[], bool], *, step_ms: int = 1000) -> None:
        """Let the exchange's clock go on until it is so."""
        async with asyncio.timeout(30):
            while not is_so():
                self.exchange.clock.advance(step_ms)
                await asyncio.sleep(0.02)

    async def until_told(self, topic: Topic, times: int = 1) -> None:
        wanted = self.heard.count(topic) + times
        await self.until(lambda: self.heard.count(topic) >= wanted)

    def is_true(self, topic: Topic, *, since_ms: int) -> bool:
        """Whether the last value of a topic is from since then, and what the venue said then."""
        if not self.heard.count(topic):
            return False
        value = self.heard.values[topic][-1]
        assert isinstance(value, Ticker | Book)
        instrument = self.exchange.market.find(topic.category, topic.symbol)
        assert instrument is not None
        price = value.last_price if isinstance(value, Ticker) else value.bids[0][0]
        return value.venue_time_ms > since_ms and price == instrument.price(value.venue_time_ms)

    async def is_right_again(self) -> None:
        """The client's ticker and book say what the exchange says, after whatever happened."""
        since_ms = self.exchange.clock.now_ms()
        await self.until(lambda: self.is_true(TICKER, since_ms=since_ms))
        if BOOK in self.heard.values:
            await self.until(lambda: self.is_true(BOOK, since_ms=since_ms))
            assert len(self.heard.book().bids) == 50


@asynccontextmanager
async def following(world: World, *topics: Topic) -> AsyncIterator[None]:
    world.stream.want(topics)
    running = asyncio.create_task(world.stream.run())
    try:
        yield
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
