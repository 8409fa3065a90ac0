"""What the stream client hears of the replay exchange over a real socket: each trap by its name."""

import asyncio

import pytest
from app.domain.books import Book
from app.domain.instruments import Category, Symbol
from app.domain.live import Channel, Ticker, Topic
from app.replay.candles import Interval
from tests.integration.clients.followed import (
    BOOK,
    BTC,
    CANDLE,
    ETH,
    LINEAR,
    SPOT,
    TICKER,
    TOP,
    TRADES,
    World,
    following,
)


async def test_every_channel_arrives(world: World) -> None:
    topics = (TICKER, BOOK, TOP, TRADES, CANDLE)
    async with following(world, *topics):
        await world.until(lambda: all(world.heard.count(topic) > 2 for topic in topics))
        await world.is_right_again()


async def test_only_what_is_wanted_is_subscribed_and_without_wishes_there_is_no_connection(
    patient: World,
) -> None:
    requests = patient.exchange.requests
    async with following(patient):
        await asyncio.sleep(0.1)
        assert requests.count() == 0
        patient.stream.want({TICKER})
        await patient.until_told(TICKER)
        assert requests.count(symbol=BTC) == 1
        eth = Topic(LINEAR, ETH, Channel.TICKER)
        patient.stream.want({eth})
        await patient.until_told(eth)
        patient.heard.clear()
        await patient.until_told(eth, 3)
        assert patient.heard.count(TICKER) == 0
        assert requests.count("/v5/public/linear") == 1
        patient.stream.want(set())
        await patient.until(lambda: patient.stream.socket_count == 0)


async def test_spot_requests_have_at_most_ten_args(world: World) -> None:
    """The exchange refuses eleven, as the venue does."""
    intervals = ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W")
    topics = [Topic(SPOT, BTC, Channel.CANDLE, interval) for interval in intervals]
    async with following(world, *topics):
        await world.until(lambda: all(world.heard.count(topic) for topic in topics))


async def test_news_before_the_acknowledgement_count(patient: World) -> None:
    patient.exchange.faults.add("stream_late_ack", times=1)
    async with following(patient, TICKER):
        await patient.is_right_again()
    assert patient.stream.counts.resubscriptions == 0


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


async def test_a_gap_in_u_is_answered_by_a_new_snapshot(patient: World) -> None:
    async with following(patient, BOOK, TICKER):
        await patient.until_told(BOOK, 3)
        patient.exchange.faults.add("stream_gap", times=1)
        await patient.until(lambda: patient.stream.counts.resubscriptions == 1)
        await patient.is_right_again()
    assert patient.stream.counts.losses == 0


async def test_a_delta_told_twice_changes_nothing(patient: World) -> None:
    async with following(patient, BOOK, TICKER):
        await patient.until_told(BOOK, 2)
        patient.exchange.faults.add("stream_duplicate", times=3, path="orderbook.50.BTCUSDT")
        await patient.until_told(BOOK, 5)
        await patient.is_right_again()
    assert patient.stream.counts.resubscriptions == 0
    numbers = [value.update_id for value in patient.heard.values[BOOK] if isinstance(value, Book)]
    assert numbers == sorted(set(numbers))


async def test_deltas_out_of_order_are_a_gap(world: World) -> None:
    async with following(world, BOOK, TICKER):
        await world.until_told(BOOK, 2)
        world.exchange.faults.add("stream_reorder", times=1, path="orderbook.50.BTCUSDT")
        await world.until(lambda: world.stream.counts.resubscriptions >= 1)
        await world.is_right_again()


async def test_a_snapshot_with_u_1_in_midstream_begins_the_book_anew(patient: World) -> None:
    async with following(patient, BOOK, TICKER):
        await patient.until_told(BOOK, 3)
        patient.exchange.faults.add("stream_restart", times=1)
        await patient.until(lambda: patient.heard.book().update_id < 1000)
        await patient.until_told(BOOK, 3)
        await patient.is_right_again()
    assert patient.stream.counts.resubscriptions == 0


async def test_the_best_bid_again_with_the_same_u_is_no_gap(patient: World) -> None:
    patient.exchange.faults.add("stream_duplicate", path="orderbook.1.BTCUSDT")
    async with following(patient, TOP):
        await patient.until_told(TOP, 6)
    assert patient.stream.counts.resubscriptions == 0


async def test_deltas_without_a_snapshot_are_not_believed(world: World) -> None:
    world.exchange.faults.add("stream_no_snapshot", times=2)
    async with following(world, BOOK, TICKER):
        await world.is_right_again()
    assert world.stream.counts.resubscriptions >= 1
    for value in world.heard.values[BOOK]:
        assert isinstance(value, Book)
        assert len(value.bids) == 50


async def test_a_crossed_book_is_asked_for_again(patient: World) -> None:
    async with following(patient, BOOK, TICKER):
        await patient.until_told(BOOK, 2)
        patient.exchange.faults.add("stream_crossed", times=1)
        await patient.until(lambda: patient.stream.counts.resubscriptions == 1)
        await patient.is_right_again()
    for value in patient.heard.values[BOOK]:
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


async def test_news_about_an_unknown_topic_is_passed_over(patient: World) -> None:
    patient.exchange.faults.add("stream_unknown_topic", times=5)
    async with following(patient, TICKER):
        await patient.until_told(TICKER, 5)
        await patient.until(lambda: patient.stream.counts.frames_ignored >= 5)
    assert (patient.stream.counts.losses, patient.stream.counts.resubscriptions) == (0, 0)


async def test_trades_told_twice_or_late_are_heard_once(world: World) -> None:
    async with following(world, TRADES):
        await world.until_told(TRADES, 2)
        world.exchange.faults.add("stream_duplicate", times=2)
        world.exchange.faults.add("stream_reorder", times=1)
        await world.until_told(TRADES, 6)
    ids = [trade.id for trade in world.heard.trades()]
    assert len(ids) == len(set(ids)) >= 8


@pytest.mark.parametrize("category", [SPOT, LINEAR])
async def test_a_refused_symbol_takes_no_other_with_it(patient: World, category: Category) -> None:
    bad = Topic(category, Symbol("NOSUCHUSDT"), Channel.TICKER)
    good = [
        Topic(category, symbol, channel)
        for symbol in (BTC, ETH)
        for channel in (Channel.TICKER, Channel.BOOK)
    ]
    async with following(patient, bad, *good):
        await patient.until(lambda: all(patient.heard.count(one) for one in good))
        await asyncio.sleep(0.3)
    asked = patient.exchange.requests.count(
        f"/v5/public/{category} tickers.NOSUCHUSDT", symbol="NOSUCHUSDT"
    )
    assert asked <= 3
    assert patient.stream.counts.losses == 0


async def test_a_topic_subscribed_already_goes_on(world: World) -> None:
    """After an answer that was lost the client asks again; the venue says that it knows."""
    world.exchange.faults.add("stream_no_ack", times=1)
    world.exchange.faults.add("stream_no_snapshot", times=1)
    async with following(world, CANDLE, TICKER):
        await world.is_right_again()
        await world.until_told(CANDLE)


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
        now_ms = world.exchange.clock.now_ms()
        await world.until(lambda: max(world.heard.closed(), default=0) > now_ms - 120_000)
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
