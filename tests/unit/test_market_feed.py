"""What clients of a market feed are told, and how much they can make it keep."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from app.domain.instruments import Category, Symbol
from app.domain.live import Channel, LiveCandle, PublicTrade, Ticker, Topic
from app.domain.topics import CHANNELS, UnknownTopic, name_topic, parse_topic
from app.schemas.market_stream import spell_updates
from app.services.board import Board
from app.services.demand import Demand
from app.services.market_feed import (
    ROWS_MAX,
    FeedLimits,
    MarketFeed,
    Subscriber,
    TooManyMarketStreams,
    TooManyTopics,
    TopicsExhausted,
    Update,
)

SAFETY_SECONDS = 10
BTC = Symbol("BTCUSDT")
TICKER = Topic(Category.LINEAR, BTC, Channel.TICKER)
TRADES = Topic(Category.LINEAR, BTC, Channel.TRADES)
CANDLE = Topic(Category.LINEAR, BTC, Channel.CANDLE, "1")


def ticker(price: int) -> Ticker:
    nothing: dict[str, Any] = dict.fromkeys(
        ("bid", "bid_size", "ask", "ask_size", "high_24h", "low_24h", "volume_24h", "turnover_24h",
         "change_24h", "mark_price", "index_price", "funding_rate", "open_interest")
    )  # fmt: skip
    return Ticker(
        last_price=Decimal(price), price_text=str(price), venue_time_ms=1000 + price, **nothing
    )


def trades(*numbers: int) -> tuple[PublicTrade, ...]:
    return tuple(
        PublicTrade(id=str(n), price=Decimal(n), size=Decimal("0.10"), is_buy=True, venue_time_ms=n)
        for n in numbers
    )


def candle(minute: int, *, is_closed: bool) -> LiveCandle:
    one = Decimal(1)
    return LiveCandle(
        interval="1", open_ms=minute * 60_000, end_ms=minute * 60_000 + 59_999, open=one, high=one,
        low=one, close=one, volume=one, turnover=one, is_closed=is_closed,
        venue_time_ms=minute * 60_000 + 30_000,
    )  # fmt: skip


class World:
    """A board, what is wanted, and a feed that hands out."""

    def __init__(self, limits: FeedLimits | None = None) -> None:
        self.now = 100.0
        self.board = Board(venue="Bybit", monotonic=lambda: self.now)
        self.demand = Demand(monotonic=lambda: self.now)
        self.feed = MarketFeed(
            board=self.board, demand=self.demand, monotonic=lambda: self.now, limits=limits
        )

    def hear(self, topic: Topic, value: Any) -> None:
        self.board.hear(topic, value, received_at=self.now)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    running = asyncio.create_task(world.feed.run())
    yield world
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def told(subscriber: Subscriber) -> dict[Topic, Update]:
    async with asyncio.timeout(SAFETY_SECONDS):
        await subscriber.wait(seconds_max=SAFETY_SECONDS)
    return {update.topic: update for update in subscriber.take()}


async def passed_on(world: World) -> None:
    """Longer than a tick, and until the feed has handed out all that it heard."""
    await asyncio.sleep(0.1)
    async with asyncio.timeout(SAFETY_SECONDS):
        while world.feed._following._untaken:  # noqa: SLF001, ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


async def test_what_is_known_is_told_at_once_and_then_what_is_new(world: World) -> None:
    world.hear(TICKER, ticker(1))
    with world.feed.subscriber("here") as subscriber:
        world.feed.subscribe(subscriber, [TICKER, TRADES])
        assert [update.news for update in subscriber.take()] == [ticker(1)]
        world.hear(TICKER, ticker(2))
        world.hear(TRADES, trades(7))
        news = await told(subscriber)
        assert {topic: update.news for topic, update in news.items()} == {
            TICKER: ticker(2),
            TRADES: trades(7),
        }


async def test_everybody_in_time_is_told_the_same_object_and_its_words_are_made_once(
    world: World,
) -> None:
    spelled = []

    def spell(updates: tuple[Update, ...], source: str, now: float) -> str:
        spelled.append(updates)
        return spell_updates(updates, source, now)

    with world.feed.subscriber("a") as one, world.feed.subscriber("b") as other:
        for subscriber in (one, other):
            world.feed.subscribe(subscriber, [TICKER])
        world.hear(TICKER, ticker(5))
        await passed_on(world)
        texts = {world.feed.text_of(each.take(), spell) for each in (one, other)}
    assert len(texts) == len(spelled) == 1
    (told,) = json.loads(texts.pop())
    assert told == {
        "age_ms": 0,
        "topic": "linear/BTCUSDT/ticker",
        "source": "Bybit:stream",
        "venue_time_ms": 1005,
        "price": "5",
    }


async def test_a_slow_client_gets_the_last_state_and_not_every_one(world: World) -> None:
    with world.feed.subscriber("here") as slow:
        world.feed.subscribe(slow, [TICKER])
        for price in range(1, 5):
            world.hear(TICKER, ticker(price))
            await passed_on(world)
        (update,) = slow.take()
        assert (update.news, update.dropped) == (ticker(4), 0)


async def test_the_age_counts_until_the_client_takes_it(world: World) -> None:
    with world.feed.subscriber("here") as slow:
        world.feed.subscribe(slow, [TICKER])
        world.hear(TICKER, ticker(1))
        await passed_on(world)
        world.now += 3
        (told,) = json.loads(world.feed.text_of(slow.take(), spell_updates))
        assert told["age_ms"] == 3000


async def test_trades_wait_for_a_slow_client_up_to_a_bound_and_it_is_told_how_many_did_not_fit(
    world: World,
) -> None:
    with world.feed.subscriber("here") as slow:
        world.feed.subscribe(slow, [TRADES])
        for batch in range(3):
            world.hear(TRADES, trades(*range(batch * 150, batch * 150 + 150)))
            await passed_on(world)
        (told,) = json.loads(world.feed.text_of(slow.take(), spell_updates))
    assert [trade["id"] for trade in told["trades"]] == [str(n) for n in range(250, 450)]
    assert len(told["trades"]) == ROWS_MAX
    assert told["dropped"] == 250


async def test_a_closed_candle_is_not_lost_behind_the_one_that_forms(world: World) -> None:
    with world.feed.subscriber("here") as slow:
        world.feed.subscribe(slow, [CANDLE])
        for state in (
            candle(1, is_closed=False),
            candle(1, is_closed=True),
            candle(2, is_closed=False),
            candle(2, is_closed=True),
            candle(3, is_closed=False),
        ):
            world.hear(CANDLE, state)
            await passed_on(world)
        (told,) = json.loads(world.feed.text_of(slow.take(), spell_updates))
    assert told["interval"] == "1m"
    assert [(c["open_time_ms"] // 60_000, c["is_closed"]) for c in told["candles"]] == [
        (1, True),
        (2, True),
        (3, False),
    ]


async def test_whoever_joins_gets_each_trade_once_and_so_do_those_who_were_there(
    world: World,
) -> None:
    with world.feed.subscriber("a") as early, world.feed.subscriber("b") as late:
        world.feed.subscribe(early, [TRADES])
        world.hear(TRADES, trades(1, 2))
        world.feed.subscribe(late, [TRADES])  # within the tick
        await passed_on(world)
        world.hear(TRADES, trades(3))
        await passed_on(world)
        assert [u.news for u in early.take()] == [trades(1, 2, 3)]
        assert [u.news for u in late.take()] == [trades(1, 2, 3)]


async def test_a_topic_is_wanted_for_as_long_as_somebody_follows_it(world: World) -> None:
    with world.feed.subscriber("a") as one:
        world.feed.subscribe(one, [TICKER, TRADES])
        with world.feed.subscriber("b") as other:
            world.feed.subscribe(other, [TICKER])
            world.feed.unsubscribe(one, [TICKER, CANDLE])
            assert world.demand.wanted() == {TICKER, TRADES}
        assert world.demand.wanted() == {TRADES}
        world.hear(TICKER, ticker(1))
        await passed_on(world)
        assert one.take() == ()
    assert world.demand.wanted() == set()
    assert world.feed.count == 0


async def test_what_was_known_long_ago_and_is_followed_no_more_is_not_told(world: World) -> None:
    world.hear(TICKER, ticker(1))
    world.now += 3600
    with world.feed.subscriber("a") as subscriber:
        world.feed.subscribe(subscriber, [TICKER])
        await passed_on(world)
        assert subscriber.take() == ()


async def test_connections_and_subscriptions_are_bounded_and_nothing_is_half_done() -> None:
    limits = FeedLimits(
        connections=3, connections_per_address=2, topics=4, topics_per_connection=3,
        topics_per_address=5,
    )  # fmt: skip
    world = World(limits)
    feed = world.feed
    topics = [Topic(Category.SPOT, Symbol(f"S{n}"), Channel.TICKER) for n in range(9)]
    with feed.subscriber("a") as one, feed.subscriber("a") as two:
        with pytest.raises(TooManyMarketStreams, match="this address has 2"):
            feed.subscriber("a").__enter__()
        with feed.subscriber("b") as three:
            with pytest.raises(TooManyMarketStreams, match="this server has 3"):
                feed.subscriber("c").__enter__()
            feed.subscribe(one, [*topics[:3], *topics[:3]])
            with pytest.raises(TooManyTopics, match=r"a connection .* 3"):
                feed.subscribe(one, topics[3:4])
            with pytest.raises(TopicsExhausted):
                feed.subscribe(three, topics[3:5])
            assert three.topics == set()
            with pytest.raises(TooManyTopics, match=r"an address .* 5"):
                feed.subscribe(two, topics[:3])
            feed.unsubscribe(one, topics[:1])
            feed.subscribe(two, topics[:3])
            feed.subscribe(three, topics[3:4])
    assert world.demand.wanted() == set()
    with feed.subscriber("a") as again:
        feed.subscribe(again, topics[:3])


async def test_a_feed_that_ends_ends_every_client_and_those_to_come(world: World) -> None:
    with world.feed.subscriber("a") as subscriber:
        world.feed.close()
        await asyncio.wait_for(subscriber.wait(seconds_max=SAFETY_SECONDS), SAFETY_SECONDS)
        assert subscriber.is_closed
    with world.feed.subscriber("a") as subscriber:
        assert subscriber.is_closed


@pytest.mark.parametrize(
    "name", [*sorted({*CHANNELS} - {"candles"}), "candles/1h", "candles/1M", "candles/1m"]
)
def test_a_topic_has_a_name_that_is_read_as_the_topic(name: str) -> None:
    text = f"inverse/BTCUSD/{name}"
    assert name_topic(parse_topic(text)) == text
    assert parse_topic(text.replace("BTCUSD", "btcusd")) == parse_topic(text)


def test_bybits_spelling_of_an_interval_is_understood() -> None:
    assert name_topic(parse_topic("spot/BTCUSDT/candles/60")) == "spot/BTCUSDT/candles/1h"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "spot, linear or inverse"),
        ("ticker", "spot, linear or inverse"),
        ("option/BTC/ticker", "spot, linear or inverse"),
        ("spot//ticker", "a symbol"),
        ("spot/BTC USDT/ticker", "a symbol"),
        ("spot/BTCUSDT", "one of ticker, trades, candles, top, book"),
        ("spot/BTCUSDT/moon", "one of ticker"),
        ("spot/BTCUSDT/ticker/1m", "an interval after candles only"),
        ("spot/BTCUSDT/candles", "an interval at the end, one of 1m"),
        ("spot/BTCUSDT/candles/7m", "an interval at the end"),
        ("x" * 200, "at most 80 characters"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_what_could(text: str, expected: str) -> None:
    with pytest.raises(UnknownTopic) as refused:
        parse_topic(text)
    assert expected in refused.value.message
    assert len(refused.value.message) < 300
