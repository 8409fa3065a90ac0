"""The stream client against the replay exchange over a real socket: each trap by its name."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import pytest_asyncio
from app.clients.bybit_socket import StreamTimes
from app.clients.bybit_stream import BybitStream, stream_url_of
from app.domain.books import Book
from app.domain.instruments import Category, Symbol
from app.domain.live import Channel, LiveCandle, LiveValue, PublicTrade, Ticker, Topic
from app.replay import ReplayExchange, replay_exchange
from app.replay.candles import Interval

SPOT, LINEAR = Category.SPOT, Category.LINEAR
BTC, ETH = Symbol("BTCUSDT"), Symbol("ETHUSDT")
TICKER = Topic(LINEAR, BTC, Channel.TICKER)
BOOK = Topic(LINEAR, BTC, Channel.BOOK)
TOP = Topic(LINEAR, BTC, Channel.TOP)
TRADES = Topic(LINEAR, BTC, Channel.TRADES)
CANDLE = Topic(LINEAR, BTC, Channel.CANDLE, "1")

QUICK = StreamTimes(
    ping=0.1,
    silence=5,
    opening=2,
    sending=2,
    look=0.05,
    start=0.3,
    steady=0.0,
    reconnect_min=0.02,
    reconnect_max=0.1,
    forbidden=0.1,
)
IMPATIENT = replace(QUICK, silence=0.5)


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
        async with asyncio.timeout(10):
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


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[ReplayExchange]:
    async with replay_exchange() as running:
        yield running


@pytest.fixture
def world(exchange: ReplayExchange) -> World:
    return World(exchange)


async def test_every_channel_arrives(world: World) -> None:
    topics = (TICKER, BOOK, TOP, TRADES, CANDLE)
    async with following(world, *topics):
        await world.until(lambda: all(world.heard.count(topic) > 2 for topic in topics))
        await world.is_right_again()


async def test_only_what_is_wanted_is_subscribed_and_without_wishes_there_is_no_connection(
    world: World,
) -> None:
    requests = world.exchange.requests
    async with following(world):
        await asyncio.sleep(0.1)
        assert requests.count() == 0
        world.stream.want({TICKER})
        await world.until_told(TICKER)
        assert requests.count(symbol=BTC) == 1
        eth = Topic(LINEAR, ETH, Channel.TICKER)
        world.stream.want({eth})
        await world.until_told(eth)
        world.heard.clear()
        await world.until_told(eth, 3)
        assert world.heard.count(TICKER) == 0
        assert requests.count("/v5/public/linear") == 1
        world.stream.want(set())
        await world.until(lambda: world.stream.socket_count == 0)


async def test_spot_requests_have_at_most_ten_args(world: World) -> None:
    """The exchange refuses eleven, as the venue does."""
    intervals = ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W")
    topics = [Topic(SPOT, BTC, Channel.CANDLE, interval) for interval in intervals]
    async with following(world, *topics):
        await world.until(lambda: all(world.heard.count(topic) for topic in topics))


async def test_more_characters_than_a_connection_may_have_take_several_connections(
    world: World,
) -> None:
    symbols = [key[1] for key in world.exchange.market.instruments if key[0] is SPOT]
    topics = [
        Topic(SPOT, Symbol(symbol), channel)
        for symbol in symbols
        for channel in (Channel.TICKER, Channel.TRADES, Channel.BOOK)
    ]
    async with following(world, *topics):
        await world.until(lambda: all(world.heard.count(topic) for topic in topics))
        assert world.stream.socket_count == 2


async def test_news_before_the_acknowledgement_count(world: World) -> None:
    world.exchange.faults.add("stream_late_ack", times=1)
    async with following(world, TICKER):
        await world.is_right_again()
    assert world.stream.counts.resubscriptions == 0


async def test_an_acknowledgement_that_never_comes_is_not_waited_for(world: World) -> None:
    world.exchange.faults.add("stream_no_ack")
    async with following(world, TICKER, BOOK, CANDLE):
        await world.until_told(CANDLE)
        await world.is_right_again()


async def test_a_ticker_delta_without_a_last_price_keeps_the_price(world: World) -> None:
    async with following(world, TICKER):
        await world.until_told(TICKER, 2)
        before = world.heard.ticker()
        world.exchange.faults.add("stream_price_absent", times=2)
        await world.until_told(TICKER, 2)
        after = world.heard.values[TICKER][-1]
        assert isinstance(after, Ticker)
        assert after.venue_time_ms > before.venue_time_ms
        await world.is_right_again()


async def test_a_gap_in_u_is_answered_by_a_new_snapshot(world: World) -> None:
    async with following(world, BOOK, TICKER):
        await world.until_told(BOOK, 3)
        world.exchange.faults.add("stream_gap", times=1)
        await world.until(lambda: world.stream.counts.resubscriptions == 1)
        await world.is_right_again()
    assert world.stream.counts.losses == 0


async def test_a_delta_told_twice_changes_nothing(world: World) -> None:
    async with following(world, BOOK, TICKER):
        await world.until_told(BOOK, 2)
        world.exchange.faults.add("stream_duplicate", times=3, path="orderbook.50.BTCUSDT")
        await world.until_told(BOOK, 5)
        await world.is_right_again()
    assert world.stream.counts.resubscriptions == 0
    numbers = [value.update_id for value in world.heard.values[BOOK] if isinstance(value, Book)]
    assert numbers == sorted(set(numbers))


async def test_deltas_out_of_order_are_a_gap(world: World) -> None:
    async with following(world, BOOK, TICKER):
        await world.until_told(BOOK, 2)
        world.exchange.faults.add("stream_reorder", times=1, path="orderbook.50.BTCUSDT")
        await world.until(lambda: world.stream.counts.resubscriptions >= 1)
        await world.is_right_again()


async def test_a_snapshot_with_u_1_in_midstream_begins_the_book_anew(world: World) -> None:
    async with following(world, BOOK, TICKER):
        await world.until_told(BOOK, 3)
        world.exchange.faults.add("stream_restart", times=1)
        await world.until(lambda: world.heard.book().update_id < 1000)
        await world.until_told(BOOK, 3)
        await world.is_right_again()
    assert world.stream.counts.resubscriptions == 0


async def test_the_best_bid_again_with_the_same_u_is_no_gap(world: World) -> None:
    world.exchange.faults.add("stream_duplicate", path="orderbook.1.BTCUSDT")
    async with following(world, TOP):
        await world.until_told(TOP, 6)
    assert world.stream.counts.resubscriptions == 0


async def test_deltas_without_a_snapshot_are_not_believed(world: World) -> None:
    world.exchange.faults.add("stream_no_snapshot", times=2)
    async with following(world, BOOK, TICKER):
        await world.is_right_again()
    assert world.stream.counts.resubscriptions >= 1
    for value in world.heard.values[BOOK]:
        assert isinstance(value, Book)
        assert len(value.bids) == 50


async def test_a_crossed_book_is_asked_for_again(world: World) -> None:
    async with following(world, BOOK, TICKER):
        await world.until_told(BOOK, 2)
        world.exchange.faults.add("stream_crossed", times=1)
        await world.until(lambda: world.stream.counts.resubscriptions == 1)
        await world.is_right_again()
    for value in world.heard.values[BOOK]:
        assert isinstance(value, Book)
        assert value.bids[0][0] < value.asks[0][0]


@pytest.mark.parametrize("price", ["NaN", "", "-1", "0", "1e400", "104,5"])
async def test_a_price_that_is_none_is_never_told(world: World, price: str) -> None:
    async with following(world, TICKER):
        await world.until_told(TICKER, 2)
        world.exchange.faults.add("stream_price", times=1, value=price)
        await world.until_told(TICKER, 3)
        await world.is_right_again()
    for value in world.heard.values[TICKER]:
        assert isinstance(value, Ticker)
        assert 1_000 < value.last_price < 1_000_000


@pytest.mark.parametrize("kind", ["stream_malformed", "stream_garbage", "stream_big"])
async def test_a_frame_that_cannot_be_read_costs_the_connection_and_no_truth(
    world: World, kind: str
) -> None:
    async with following(world, TICKER, BOOK):
        await world.until_told(TICKER, 2)
        world.exchange.faults.add(kind, times=1)
        await world.until(lambda: world.stream.counts.losses == 1)
        await world.is_right_again()


async def test_news_about_an_unknown_topic_is_passed_over(world: World) -> None:
    world.exchange.faults.add("stream_unknown_topic", times=5)
    async with following(world, TICKER):
        await world.until_told(TICKER, 5)
    assert (world.stream.counts.losses, world.stream.counts.resubscriptions) == (0, 0)
    assert world.stream.counts.frames_ignored >= 5


async def test_trades_told_twice_or_late_are_heard_once(world: World) -> None:
    async with following(world, TRADES):
        await world.until_told(TRADES, 2)
        world.exchange.faults.add("stream_duplicate", times=2)
        world.exchange.faults.add("stream_reorder", times=1)
        await world.until_told(TRADES, 6)
    ids = [trade.id for trade in world.heard.trades()]
    assert len(ids) == len(set(ids)) >= 8


async def test_a_flood_is_survived_in_bounded_memory(world: World) -> None:
    async with following(world, TICKER, BOOK):
        await world.until_told(BOOK, 2)
        world.exchange.faults.add("stream_flood", times=1, value="3000")
        await world.until(lambda: world.stream.counts.frames > 3000)
        await world.is_right_again()


@pytest.mark.parametrize("code", ["1000", "1001", "1011", "1013"])
async def test_a_closed_connection_is_opened_again(world: World, code: str) -> None:
    async with following(world, TICKER, BOOK):
        await world.until_told(TICKER, 2)
        world.exchange.faults.add("stream_close", times=1, value=code)
        await world.until(lambda: world.stream.counts.losses == 1)
        await world.is_right_again()


async def test_a_cut_connection_is_opened_again(world: World) -> None:
    async with following(world, TICKER, BOOK):
        await world.until_told(TICKER, 2)
        world.exchange.faults.add("stream_cut", times=3)
        await world.until(lambda: world.stream.counts.losses == 3)
        await world.is_right_again()


@pytest.mark.parametrize("kind", ["stream_silence", "stream_half_open"])
async def test_a_connection_on_which_nothing_comes_is_given_up(
    exchange: ReplayExchange, kind: str
) -> None:
    world = World(exchange, IMPATIENT)
    async with following(world, TICKER, BOOK):
        await world.until_told(TICKER, 2)
        world.exchange.faults.add(kind, times=1)
        await world.until(lambda: world.stream.counts.losses >= 1)
        await world.is_right_again()


@pytest.mark.parametrize("kind", [None, "stream_option_pong"])
async def test_a_quiet_market_is_no_silence_because_pings_are_answered(
    exchange: ReplayExchange, kind: str | None
) -> None:
    world = World(exchange, replace(QUICK, silence=0.8))
    if kind is not None:
        exchange.faults.add(kind)
    async with following(world, TICKER):
        await world.until_told(TICKER)
        await asyncio.sleep(1.2)  # the exchange's clock stands still
        assert world.stream.counts.losses == 0


async def test_a_venue_that_never_answers_a_ping_and_says_nothing_is_given_up(
    exchange: ReplayExchange,
) -> None:
    world = World(exchange, IMPATIENT)
    world.exchange.faults.add("stream_no_pong")
    async with following(world, TICKER):
        await world.until_told(TICKER)
        await world.until(lambda: world.stream.counts.losses > 0, step_ms=0)
        world.exchange.faults.clear()
        await world.is_right_again()


async def test_a_refused_symbol_takes_no_other_with_it(world: World) -> None:
    for category in (SPOT, LINEAR):
        bad = Topic(category, Symbol("NOSUCHUSDT"), Channel.TICKER)
        good = [
            Topic(category, symbol, channel)
            for symbol in (BTC, ETH)
            for channel in (Channel.TICKER, Channel.BOOK)
        ]
        async with following(world, bad, *good):
            await world.until(lambda good=good: all(world.heard.count(one) for one in good))  # type: ignore[misc]
            await asyncio.sleep(0.3)
        asked = world.exchange.requests.count(
            f"/v5/public/{category} tickers.NOSUCHUSDT", symbol="NOSUCHUSDT"
        )
        assert asked <= 3
    assert world.stream.counts.losses == 0


async def test_a_topic_subscribed_already_goes_on(world: World) -> None:
    """After an answer that was lost the client asks again; the venue says that it knows."""
    world.exchange.faults.add("stream_no_ack", times=1)
    world.exchange.faults.add("stream_no_snapshot", times=1)
    async with following(world, CANDLE, TICKER):
        await world.is_right_again()
        await world.until_told(CANDLE)


async def test_a_refused_handshake_is_tried_again_after_a_longer_pause(world: World) -> None:
    world.exchange.faults.add("stream_refuse_connection", times=2, value="403")
    async with following(world, TICKER):
        await world.is_right_again()
    assert world.stream.counts.losses == 2
    assert sum(pause >= QUICK.forbidden for pause in world.pauses) == 2


async def test_pauses_grow_with_jitter_and_never_pass_the_maximum(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="app.clients"):
        world.exchange.faults.add("stream_refuse_connection", times=6, value="503")
        async with following(world, TICKER):
            await world.is_right_again()
    pauses = [pause for pause in world.pauses if pause < QUICK.forbidden][:6]
    assert pauses[:3] == pytest.approx([0.015, 0.03, 0.06])
    assert max(pauses) == pytest.approx(QUICK.reconnect_max * 0.75)
    told = [
        record.getMessage() for record in caplog.records if record.name.startswith("app.clients")
    ]
    assert told == [
        "the venue's stream is away; prices are asked for until it is back",
        "the venue's stream is back",
    ]


def test_with_the_default_times_a_connection_comes_back_within_five_seconds() -> None:
    times = StreamTimes()
    assert times.reconnect_max <= 5
    assert times.ping == 20
    assert times.silence > times.ping


async def test_an_unreachable_venue_is_mentioned_once_and_hangs_nobody(
    world: World, caplog: pytest.LogCaptureFixture, unused_tcp_port: int
) -> None:
    stream = BybitStream(
        f"ws://127.0.0.1:{unused_tcp_port}", hear=world.heard, times=QUICK, sleep=asyncio.sleep
    )
    stream.want({TICKER, Topic(LINEAR, ETH, Channel.TICKER)})
    with caplog.at_level(logging.DEBUG, logger="app.clients"):
        running = asyncio.create_task(stream.run())
        await world.until(lambda: stream.counts.losses >= 5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("base_url", "stream_url"),
    [
        ("https://api.bybit.com", "wss://stream.bybit.com"),
        ("https://api-testnet.bybit.com", "wss://stream-testnet.bybit.com"),
        ("https://api-demo.bybit.com", "wss://stream.bybit.com"),
        ("http://127.0.0.1:8123", "ws://127.0.0.1:8123"),
        ("http://localhost:8123", "ws://localhost:8123"),
        ("https://bybit.example.com", None),
    ],
)
def test_the_stream_has_the_prices_of_the_rest_address_or_there_is_none(
    base_url: str, stream_url: str | None
) -> None:
    assert stream_url_of(base_url) == stream_url


async def test_an_hour_with_random_cuts_ends_with_exactly_the_candles_of_the_venue(
    world: World,
) -> None:
    """What a cut hides is fetched by a backfill; what the stream says is never wrong."""
    start_ms = world.exchange.clock.now_ms()
    async with following(world, CANDLE, TICKER):
        await world.until_told(CANDLE)
        for number in range(12):
            if number % 3 == 1:
                world.exchange.faults.add("stream_cut", times=1)
            await world.until_told(CANDLE, 4)
        await world.until(
            lambda: world.exchange.clock.now_ms() - start_ms > 3_600_000, step_ms=60_000
        )
        await world.until_told(CANDLE)
    instrument = world.exchange.market.find(LINEAR, BTC)
    assert instrument is not None
    closed = world.heard.closed()
    assert len(closed) > 40
    for open_ms, candle in closed.items():
        (true,) = instrument.history.window(
            Interval("1"),
            first_ms=open_ms,
            last_ms=open_ms,
            limit=1,
            newest=True,
        )
        assert (candle.open, candle.high, candle.low, candle.close) == (
            true.open,
            true.high,
            true.low,
            true.close,
        )
        assert candle.volume == true.volume
