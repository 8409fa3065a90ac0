"""Quotes off the stream, and what is known of a market that was followed before."""

import asyncio
from decimal import Decimal

import pytest
from app.domain.instruments import UnknownSymbol
from app.domain.live import Channel, PublicTrade, Ticker, TickerMerge, Topic
from app.services.board import Board
from app.services.demand import Demand
from app.services.live_market import OLD_SECONDS, LiveMarket
from app.services.market_data import MarketData
from tests.unit.test_market_data import BTCUSDT, ETHUSDT, SPOT, World, settle


def streamed_world(
    age_seconds_max: float = 1.0, *, remembered_max: int = 1000
) -> tuple[World, Board, Demand]:
    world = World(age_seconds_max)
    board = Board(venue="Fake", monotonic=world.clock)
    demand = Demand(monotonic=world.clock)
    world.market = MarketData(
        world.venue,
        price_age_seconds_max=age_seconds_max,
        monotonic=world.clock,
        board=board,
        demand=demand,
        symbols_remembered_max=remembered_max,
    )
    return world, board, demand


TICKER = Topic(SPOT, BTCUSDT, Channel.TICKER)
TRADES = Topic(SPOT, BTCUSDT, Channel.TRADES)


def streamed(price: str) -> Ticker:
    merge = TickerMerge()
    ticker = merge.apply({"lastPrice": price}, is_snapshot=True, venue_time_ms=77)
    assert ticker is not None
    return ticker


async def test_a_fresh_price_of_the_stream_costs_no_call_and_says_where_it_came_from() -> None:
    world, board, _ = streamed_world()
    board.hear(TICKER, streamed("5.50"), received_at=world.clock())
    world.clock.seconds += 0.5
    priced = await (await world.ask())
    assert world.venue.asked == []
    assert (priced.quote.price_text, priced.quote.upstream_time_ms) == ("5.50", 77)
    assert (priced.age_seconds, priced.source) == (0.5, "Fake:stream")


async def test_an_old_price_of_the_stream_is_not_used_and_the_venue_is_asked() -> None:
    world, board, _ = streamed_world()
    board.hear(TICKER, streamed("5.50"), received_at=world.clock())
    world.clock.seconds += 1
    asked = await world.ask()
    await world.venue.answer(0, "6")
    priced = await asked
    assert (priced.quote.price, priced.source) == (Decimal(6), "Fake")


async def test_a_maximum_of_zero_asks_the_venue_whatever_was_streamed() -> None:
    world, board, _ = streamed_world(0)
    board.hear(TICKER, streamed("5.50"), received_at=world.clock())
    asked = await world.ask()
    await world.venue.answer(0, "6")
    assert (await asked).source == "Fake"


async def test_what_was_quoted_is_wanted_from_the_stream_and_what_does_not_exist_is_not() -> None:
    world, _, demand = streamed_world()
    asked = await world.ask()
    await world.venue.answer(0, "6")
    await asked
    failing = await world.ask(ETHUSDT)
    await world.venue.fail(1, UnknownSymbol(ETHUSDT, SPOT))
    with pytest.raises(UnknownSymbol):
        await failing
    assert demand.wanted() == {TICKER}


async def test_all_who_are_given_one_price_of_the_stream_are_given_the_same_quote() -> None:
    world, board, _ = streamed_world()
    board.hear(TICKER, streamed("5.50"), received_at=world.clock())
    first, second = await (await world.ask()), await (await world.ask())
    assert first.quote is second.quote
    board.hear(TICKER, streamed("5.60"), received_at=world.clock())
    assert (await (await world.ask())).quote.price == Decimal("5.60")


async def test_of_streamed_quotes_too_no_more_are_remembered_than_allowed() -> None:
    world, board, _ = streamed_world(remembered_max=1)
    for symbol in (BTCUSDT, ETHUSDT):
        topic = Topic(SPOT, symbol, Channel.TICKER)
        board.hear(topic, streamed("5"), received_at=world.clock())
    first = await (await world.ask())
    other = await (await world.ask(ETHUSDT))
    assert (await (await world.ask(ETHUSDT))).quote is other.quote
    again = await (await world.ask())
    assert again == first
    assert again.quote is not first.quote, "it was forgotten and is made anew"


async def test_the_stream_is_quoted_also_where_nobody_notes_what_is_wanted() -> None:
    world, board, _ = streamed_world()
    market = MarketData(world.venue, price_age_seconds_max=1, monotonic=world.clock, board=board)
    board.hear(TICKER, streamed("5.50"), received_at=world.clock())
    assert (await market.quote(BTCUSDT, SPOT)).source == "Fake:stream"


async def test_trades_of_a_market_that_was_left_alone_are_waited_for_and_not_shown_old() -> None:
    world, board, demand = streamed_world()
    live = LiveMarket(board=board, demand=demand, market=world.market)
    board.hear(TRADES, (trade(1),), received_at=world.clock())
    world.clock.seconds += OLD_SECONDS + 1
    asked = asyncio.create_task(live.latest(BTCUSDT, SPOT, Channel.TRADES))
    await settle()
    assert not asked.done()
    assert demand.wanted() == {TRADES}
    board.hear(TRADES, (trade(2),), received_at=world.clock())
    answer = await asked
    assert (answer.value, answer.age_seconds) == ((trade(1), trade(2)), 0)
    assert world.venue.asked == [], "the market is known to exist"


def trade(number: int) -> PublicTrade:
    return PublicTrade(
        id=str(number), price=Decimal(5), size=Decimal(1), is_buy=True, venue_time_ms=number
    )
