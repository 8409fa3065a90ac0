import asyncio
from decimal import Decimal

import pytest
from app.domain.books import Book
from app.domain.instruments import Category, Symbol
from app.domain.live import Channel, LiveCandle, PublicTrade, Ticker, Topic
from app.services.board import ROWS_UNTAKEN_MAX, TRADES_KEPT, Board
from app.services.demand import Demand

SPOT = Category.SPOT
BTC, ETH = Symbol("BTCUSDT"), Symbol("ETHUSDT")
TICKER = Topic(SPOT, BTC, Channel.TICKER)
TRADES = Topic(SPOT, BTC, Channel.TRADES)
CANDLE = Topic(SPOT, BTC, Channel.CANDLE, "1")
BOOK = Topic(SPOT, BTC, Channel.BOOK)


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    return Board(venue="Bybit", monotonic=clock, topics_max=50)


def ticker(price: str, venue_time_ms: int = 1) -> Ticker:
    return Ticker(
        last_price=Decimal(price),
        price_text=price,
        bid=None,
        bid_size=None,
        ask=None,
        ask_size=None,
        high_24h=None,
        low_24h=None,
        volume_24h=None,
        turnover_24h=None,
        change_24h=None,
        mark_price=None,
        index_price=None,
        funding_rate=None,
        open_interest=None,
        venue_time_ms=venue_time_ms,
    )


def trade(number: int, at_ms: int | None = None) -> PublicTrade:
    return PublicTrade(
        id=str(number),
        price=Decimal(5),
        size=Decimal(1),
        is_buy=True,
        venue_time_ms=number if at_ms is None else at_ms,
    )


def candle(open_ms: int, close: str, *, closed: bool = False) -> LiveCandle:
    return LiveCandle(
        interval="1",
        open_ms=open_ms,
        end_ms=open_ms + 59_999,
        open=Decimal(5),
        high=Decimal(9),
        low=Decimal(1),
        close=Decimal(close),
        volume=Decimal(1),
        turnover=Decimal(5),
        is_closed=closed,
        venue_time_ms=open_ms,
    )


def test_a_value_ages_from_its_arrival_and_is_fresh_below_the_maximum_only(
    board: Board, clock: Clock
) -> None:
    board.hear(TICKER, ticker("5"), received_at=clock())
    clock.seconds += 0.75
    assert board.fresh_ticker(SPOT, BTC, age_seconds_max=1) == (ticker("5"), 0.75)
    clock.seconds += 0.25
    assert board.fresh_ticker(SPOT, BTC, age_seconds_max=1) is None
    posted = board.get(TICKER)
    assert posted is not None
    assert board.age_seconds(posted) == 1
    assert board.fresh_ticker(SPOT, ETH, age_seconds_max=1) is None
    assert board.fresh_ticker(Category.LINEAR, BTC, age_seconds_max=1) is None


def test_with_a_maximum_of_zero_nothing_is_fresh(board: Board, clock: Clock) -> None:
    board.hear(TICKER, ticker("5"), received_at=clock())
    assert board.fresh_ticker(SPOT, BTC, age_seconds_max=0) is None


def test_a_full_board_forgets_what_has_been_silent_longest(board: Board) -> None:
    topics = [Topic(SPOT, Symbol(f"S{number}"), Channel.TICKER) for number in range(50)]
    for topic in topics:
        board.hear(topic, ticker("5"), received_at=1)
    board.hear(topics[0], ticker("6"), received_at=2)
    board.hear(TICKER, ticker("7"), received_at=3)
    assert len(board.topics) == 50
    assert board.get(topics[0]) is not None
    assert board.get(topics[1]) is None


def test_trades_are_kept_in_the_venues_order_once_each_and_not_without_end(board: Board) -> None:
    board.hear(TRADES, (trade(1), trade(3)), received_at=1)
    board.hear(TRADES, (trade(3), trade(2)), received_at=2)
    posted = board.get(TRADES)
    assert posted is not None
    assert posted.value == (trade(1), trade(2), trade(3))
    board.hear(TRADES, tuple(trade(number) for number in range(10, 500)), received_at=3)
    posted = board.get(TRADES)
    assert posted is not None
    assert isinstance(posted.value, tuple)
    assert (len(posted.value), posted.value[-1]) == (TRADES_KEPT, trade(499))


async def test_trades_that_are_told_again_are_no_news(board: Board) -> None:
    trades = (trade(1), trade(2))
    board.hear(TRADES, trades, received_at=1)
    with board.follow([TRADES, TICKER]) as reader:
        assert (await reader.take(seconds_max=5))[TRADES].news == trades
        board.hear(TRADES, trades, received_at=2)
        board.hear(TICKER, ticker("5"), received_at=3)
        assert list(await reader.take(seconds_max=5)) == [TICKER]
    posted = board.get(TRADES)
    assert posted is not None
    assert posted.received_at == 1, "that is when the last of them arrived"


async def test_a_candle_that_is_told_again_is_no_news(board: Board) -> None:
    closed = candle(60_000, "6", closed=True)
    with board.follow([CANDLE]) as reader:
        board.hear(CANDLE, closed, received_at=1)
        board.hear(CANDLE, closed, received_at=2)
        assert reader.take_now()[CANDLE].news == (closed,)
        board.hear(CANDLE, closed, received_at=3)
        assert reader.take_now() == {}
    posted = board.get(CANDLE)
    assert posted is not None
    assert posted.received_at == 1


def test_no_trades_at_all_are_nothing_that_is_known(board: Board) -> None:
    board.hear(TRADES, (), received_at=1)
    assert TRADES not in board.topics


def test_a_candle_never_goes_back(board: Board) -> None:
    board.hear(CANDLE, candle(60_000, "6", closed=True), received_at=1)
    board.hear(CANDLE, candle(60_000, "5"), received_at=2)
    board.hear(CANDLE, candle(0, "4", closed=True), received_at=3)
    posted = board.get(CANDLE)
    assert posted is not None
    assert posted.value == candle(60_000, "6", closed=True)


async def test_a_slow_reader_gets_the_last_state_every_trade_and_every_closed_candle(
    board: Board,
) -> None:
    with board.follow([TICKER, TRADES, CANDLE]) as reader:
        for number in range(1, 4):
            board.hear(TICKER, ticker(str(number)), received_at=number)
            board.hear(TRADES, (trade(number),), received_at=number)
        board.hear(CANDLE, candle(0, "2"), received_at=4)
        board.hear(CANDLE, candle(0, "3"), received_at=5)
        board.hear(CANDLE, candle(0, "4", closed=True), received_at=6)
        board.hear(CANDLE, candle(60_000, "5"), received_at=7)
        board.hear(CANDLE, candle(60_000, "6"), received_at=8)
        taken = await reader.take(seconds_max=1)
        assert (taken[TICKER].news, taken[TICKER].received_at) == (ticker("3"), 3)
        assert taken[TRADES].news == (trade(1), trade(2), trade(3))
        assert taken[CANDLE].news == (candle(0, "4", closed=True), candle(60_000, "6"))
        assert await reader.take(seconds_max=0.01) == {}
        board.hear(TICKER, ticker("9"), received_at=9)
        assert (await reader.take(seconds_max=1)).keys() == {TICKER}


async def test_a_reader_who_never_comes_costs_bounded_memory(board: Board) -> None:
    with board.follow([TRADES]) as reader:
        for start in range(0, 5000, 100):
            heard = tuple(trade(number) for number in range(start, start + 100))
            board.hear(TRADES, heard, received_at=1)
        taken = await reader.take(seconds_max=1)
        news = taken[TRADES].news
        assert isinstance(news, tuple)
        assert len(news) == ROWS_UNTAKEN_MAX
        assert news[-1] == trade(4999)
        assert reader.dropped == 4000


async def test_a_reader_is_told_what_is_known_first_and_nothing_after_they_left(
    board: Board,
) -> None:
    board.hear(TICKER, ticker("5"), received_at=1)
    board.hear(
        BOOK, Book(bids=(), asks=(), update_id=1, sequence=1, venue_time_ms=1), received_at=1
    )
    with board.follow([TICKER]) as reader:
        assert (await reader.take(seconds_max=1)).keys() == {TICKER}
        reader.add([BOOK])
        assert (await reader.take(seconds_max=1)).keys() == {BOOK}
        reader.drop([TICKER])
        board.hear(TICKER, ticker("6"), received_at=2)
        assert await reader.take(seconds_max=0.01) == {}
    board.hear(
        BOOK, Book(bids=(), asks=(), update_id=2, sequence=1, venue_time_ms=1), received_at=2
    )
    assert await reader.take(seconds_max=0.01) == {}


async def test_whoever_leaves_a_topic_takes_it_from_nobody_else(board: Board) -> None:
    with board.follow([TICKER]) as one, board.follow([TICKER]) as other:
        one.drop([TICKER, BOOK])
        board.hear(TICKER, ticker("5"), received_at=1)
        assert one.take_now() == {}
        assert other.take_now().keys() == {TICKER}


async def test_taking_one_topic_leaves_the_others_to_be_taken(board: Board) -> None:
    with board.follow([TICKER, TRADES]) as reader:
        board.hear(TICKER, ticker("5"), received_at=1)
        board.hear(TRADES, (trade(1),), received_at=1)
        assert reader.take_now([TICKER]).keys() == {TICKER}
        assert (await reader.take(seconds_max=1)).keys() == {TRADES}


async def test_who_waited_in_vain_waits_again_and_is_told_then(board: Board) -> None:
    with board.follow([TICKER]) as reader:
        assert await reader.take(seconds_max=0.01) == {}
        taking = asyncio.create_task(reader.take(seconds_max=5))
        await asyncio.sleep(0.02)
        assert not taking.done()
        board.hear(TICKER, ticker("5"), received_at=1)
        async with asyncio.timeout(5):
            assert (await taking).keys() == {TICKER}


async def test_a_batch_ends_when_it_is_full_or_when_its_time_is_over(board: Board) -> None:
    topics = [Topic(SPOT, Symbol(f"S{number}"), Channel.TICKER) for number in range(3)]
    with board.follow(topics) as reader:
        taking = asyncio.create_task(reader.take(seconds_max=5, gather_seconds=30, enough=3))
        for topic in topics:
            await asyncio.sleep(0)
            assert not taking.done()
            board.hear(topic, ticker("5"), received_at=1)
        async with asyncio.timeout(5):
            assert len(await taking) == 3
        board.hear(topics[0], ticker("6"), received_at=2)
        assert len(await reader.take(seconds_max=5, gather_seconds=0.01, enough=3)) == 1


def test_what_is_wanted_is_the_sum_of_wishes_and_each_ends_in_its_own_way(clock: Clock) -> None:
    demand = Demand(monotonic=clock)
    with demand.hold([TICKER, BOOK]), demand.hold([TICKER]):
        demand.touch(TRADES, seconds=10)
        demand.state("orders", [CANDLE], seconds=20)
        assert demand.wanted() == {TICKER, BOOK, TRADES, CANDLE}
    assert demand.wanted() == {TRADES, CANDLE}
    clock.seconds += 10
    assert demand.wanted() == {CANDLE}
    demand.state("orders", [BOOK], seconds=20)
    assert demand.wanted() == {BOOK}
    demand.add("orders", [TICKER], seconds=20)
    assert demand.wanted() == {BOOK, TICKER}
    clock.seconds += 20
    assert demand.wanted() == frozenset()


def test_a_wish_that_is_not_stated_again_ends_though_others_of_the_same_process_go_on(
    clock: Clock,
) -> None:
    demand = Demand(monotonic=clock)
    demand.add("another process", [BOOK, TICKER], seconds=15)
    for _ in range(3):
        clock.seconds += 5
        demand.add("another process", [TICKER], seconds=15)
    assert demand.wanted() == {TICKER}


def test_wishes_are_bounded_and_passing_ones_give_way_first(clock: Clock) -> None:
    demand = Demand(monotonic=clock, topics_max=3)
    symbols = [Topic(SPOT, Symbol(f"S{number}"), Channel.TICKER) for number in range(10)]
    for topic in symbols:
        demand.touch(topic)
    assert demand.wanted() == set(symbols[-3:])
    with demand.hold([TICKER, BOOK]):
        assert demand.wanted() == {TICKER, BOOK, symbols[-1]}


def test_anybody_may_ask_about_every_book_and_not_all_of_them_are_streamed(clock: Clock) -> None:
    demand = Demand(monotonic=clock)
    for number in range(700):
        for channel in (Channel.TICKER, Channel.BOOK):
            demand.touch(Topic(SPOT, Symbol(f"S{number}"), channel))
    wanted = demand.wanted()
    assert sum(topic.channel is Channel.BOOK for topic in wanted) == 50
    assert sum(topic.channel is Channel.TICKER for topic in wanted) == 500
    assert Topic(SPOT, Symbol("S699"), Channel.BOOK) in wanted


async def test_a_change_of_wishes_is_noticed_and_a_repetition_is_none(clock: Clock) -> None:
    demand = Demand(monotonic=clock)
    demand.touch(TICKER)
    async with asyncio.timeout(5):
        await demand.wait_for_change(seconds_max=60)
    demand.touch(TICKER)
    demand.state("orders", [CANDLE], seconds=5)
    await demand.wait_for_change(seconds_max=60)
    demand.state("orders", [CANDLE], seconds=5)
    waiting = asyncio.create_task(demand.wait_for_change(seconds_max=60))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    demand.state("orders", [BOOK], seconds=5)
    async with asyncio.timeout(5):
        await waiting
