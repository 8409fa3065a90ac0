import json
from decimal import Decimal
from typing import Any

import pytest
from app.domain.books import Book
from app.domain.instruments import Category, Symbol
from app.domain.live import Channel, LiveCandle, LiveValue, PublicTrade, Ticker, Topic
from app.services.board import Board, Told
from app.services.relay import (
    TEXT_BYTES_MAX,
    Listener,
    Speller,
    read_topic,
    read_wishes,
    spell_topic,
    spell_wishes,
)
from hypothesis import given, settings
from hypothesis import strategies as st

DECIMALS = st.decimals(0, 10**10, places=8).filter(lambda number: number > 0)
MAYBE = st.none() | DECIMALS
TIMES = st.integers(1, 10**13)
LEVELS = st.lists(st.tuples(DECIMALS, DECIMALS), max_size=50).map(tuple)
TICKERS = st.builds(
    lambda price, others, at: Ticker(
        last_price=price, price_text=format(price, "f"), venue_time_ms=at, **others
    ),
    DECIMALS,
    st.fixed_dictionaries(
        dict.fromkeys(
            (
                "bid",
                "bid_size",
                "ask",
                "ask_size",
                "high_24h",
                "low_24h",
                "volume_24h",
                "turnover_24h",
                "change_24h",
                "mark_price",
                "index_price",
                "funding_rate",
                "open_interest",
            ),
            MAYBE,
        )
    ),
    TIMES,
)
TRADES = st.lists(
    st.builds(
        PublicTrade,
        id=st.uuids().map(str),
        price=DECIMALS,
        size=DECIMALS,
        is_buy=st.booleans(),
        venue_time_ms=TIMES,
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda trade: trade.id,
).map(lambda trades: tuple(sorted(trades, key=lambda trade: trade.venue_time_ms)))
CANDLES = st.builds(
    LiveCandle,
    interval=st.just("1"),
    open_ms=TIMES,
    end_ms=TIMES,
    open=DECIMALS,
    high=DECIMALS,
    low=DECIMALS,
    close=DECIMALS,
    volume=DECIMALS,
    turnover=DECIMALS,
    is_closed=st.booleans(),
    venue_time_ms=TIMES,
)
BOOKS = st.builds(
    Book, bids=LEVELS, asks=LEVELS, update_id=TIMES, sequence=TIMES, venue_time_ms=TIMES
)
SPOT, BTC = Category.SPOT, Symbol("BTCUSDT")
TICKER = Topic(SPOT, BTC, Channel.TICKER)
BOOK = Topic(SPOT, BTC, Channel.BOOK)
KINDS: list[tuple[Topic, st.SearchStrategy[Any]]] = [
    (TICKER, TICKERS),
    (Topic(SPOT, BTC, Channel.TRADES), TRADES),
    (Topic(SPOT, BTC, Channel.CANDLE, "1"), CANDLES),
    (BOOK, BOOKS),
]


class Clocks:
    """Two processes whose monotonic clocks have nothing to do with each other."""

    def __init__(self) -> None:
        self.wall_ms = 1_700_000_000_000
        self.here, self.there = 100.0, 5.0

    def go_on(self, seconds: float) -> None:
        self.wall_ms += round(seconds * 1000)
        self.here += seconds
        self.there += seconds


class Wire:
    def __init__(self) -> None:
        self.clocks = Clocks()
        self.board = Board(venue="Bybit", monotonic=lambda: self.clocks.there)
        self.listener = Listener(
            self.board,
            holder="there",
            monotonic=lambda: self.clocks.there,
            now_ms=lambda: self.clocks.wall_ms,
        )

    def spell(self, topic: Topic, value: LiveValue, *, term: int = 1, age: float = 0) -> list[str]:
        speller = Speller(
            holder="here",
            term=term,
            monotonic=lambda: self.clocks.here,
            now_ms=lambda: self.clocks.wall_ms,
        )
        news = (value,) if isinstance(value, LiveCandle) else value
        return speller.spell({topic: Told(news=news, received_at=self.clocks.here - age)})

    def hear(self, texts: list[str]) -> None:
        for text in texts:
            assert len(text.encode()) < 8000, "PostgreSQL refuses a longer notification"
            self.listener.hear(text)

    def price(self) -> Decimal | None:
        posted = self.board.get(TICKER)
        return posted.value.last_price if posted and isinstance(posted.value, Ticker) else None


def ticker(price: str) -> Ticker:
    names = (
        "bid bid_size ask ask_size high_24h low_24h volume_24h turnover_24h change_24h mark_price "
        "index_price funding_rate open_interest"
    )
    return Ticker(
        last_price=Decimal(price),
        price_text=price,
        venue_time_ms=1,
        **dict.fromkeys(names.split()),
    )


@pytest.mark.parametrize(("topic", "values"), KINDS, ids=lambda kind: str(kind)[:20])
def test_a_value_arrives_as_it_was_sent(topic: Topic, values: st.SearchStrategy[Any]) -> None:
    @settings(max_examples=25)
    @given(values)
    def prove(value: LiveValue) -> None:
        wire = Wire()
        wire.hear(wire.spell(topic, value))
        posted = wire.board.get(topic)
        assert posted is not None
        assert posted.value == value
        assert wire.listener.refused == 0

    prove()


def test_the_age_of_a_value_goes_with_it_across_clocks_that_do_not_agree() -> None:
    wire = Wire()
    texts = wire.spell(TICKER, ticker("5"), age=0.5)
    wire.clocks.go_on(0.25)  # on its way
    wire.hear(texts)
    posted = wire.board.get(TICKER)
    assert posted is not None
    assert wire.board.age_seconds(posted) == pytest.approx(0.75)


def test_a_value_that_was_held_up_is_old_when_it_arrives() -> None:
    wire = Wire()
    texts = wire.spell(TICKER, ticker("5"))
    wire.clocks.go_on(60)
    wire.hear(texts)
    assert wire.board.fresh_ticker(SPOT, BTC, age_seconds_max=1) is None


def test_a_lost_term_cannot_write_any_more() -> None:
    wire = Wire()
    wire.hear(wire.spell(TICKER, ticker("5"), term=3))
    wire.hear(wire.spell(TICKER, ticker("6"), term=2))
    assert (wire.price(), wire.listener.refused) == (Decimal(5), 1)
    wire.hear(wire.spell(TICKER, ticker("7"), term=4))
    assert wire.price() == Decimal(7)


def test_nobody_hears_themselves() -> None:
    wire = Wire()
    wire.hear([text.replace('"here"', '"there"') for text in wire.spell(TICKER, ticker("5"))])
    assert wire.price() is None


def test_a_book_of_long_numbers_is_told_as_deep_as_it_fits() -> None:
    wire = Wire()
    long = [
        (Decimal(f"123456789012345678.{number:030}"), Decimal("0.123456789012345678901234567890"))
        for number in range(1, 51)
    ]
    book = Book(bids=tuple(long), asks=tuple(long), update_id=1, sequence=1, venue_time_ms=1)
    wire.hear(wire.spell(BOOK, book))
    posted = wire.board.get(BOOK)
    assert posted is not None
    assert isinstance(posted.value, Book)
    assert 10 <= len(posted.value.bids) < 50
    assert posted.value.bids == book.bids[: len(posted.value.bids)]


def test_many_values_take_several_notifications_of_at_most_a_hundred() -> None:
    wire = Wire()
    speller = Speller(holder="here", term=1, monotonic=lambda: wire.clocks.here)
    topics = [Topic(SPOT, Symbol(f"S{number}"), Channel.TICKER) for number in range(500)]
    texts = speller.spell({topic: Told(news=ticker("5"), received_at=99) for topic in topics})
    assert all(len(json.loads(text)["v"]) <= 100 for text in texts)
    assert all(len(text) <= TEXT_BYTES_MAX for text in texts)
    wire.hear(texts)
    assert set(wire.board.topics) == set(topics)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "[]",
        "{}",
        "[" * 7000,
        '{"h":"x","t":"1","v":[]}',
        '{"h":"x","t":1,"v":5}',
        '{"h":"x","t":1,"v":[["spot/BTCUSDT/ticker/",0,1]]}',
        '{"h":"x","t":1,"v":[["spot/BTCUSDT/dance/",0,1,{"":"ticker"}]]}',
        '{"h":"x","t":1,"v":[["spot/BTCUSDT/ticker/",0,1,{"":"ticker","last_price":"x"}]]}',
        '{"h":"x","t":1,"v":[["spot/BTCUSDT/ticker/",0,1,{"":"trade"}]]}',
        (
            '{"h":"x","t":1,"v":[["spot/BTCUSDT/trades/",0,1,{"":"trade","id":"1","price":"5",'
            '"size":"1","is_buy":true,"venue_time_ms":1}]]}'
        ),
        '{"h":"x","t":1,"v":[["spot/BTCUSDT/ticker/",null,1,{"":"ticker"}]]}',
        '{"h":"x","t":1,"v":[["spot/BTCUSDT/ticker/",0,1,"ticker"]]}',
        '{"h":"x","t":1,"v":[[5,0,1,{"":"ticker"}]]}',
    ],
)
def test_whoever_else_sends_something_changes_nothing(text: str) -> None:
    wire = Wire()
    wire.listener.hear(text)
    assert wire.listener.refused == 1
    assert not wire.board.topics
    with pytest.raises(ValueError, match=r".*"):
        read_wishes(text)


def test_wishes_arrive_whole_however_many_there_are() -> None:
    topics = [Topic(SPOT, Symbol(f"SYMBOL{number}USDT"), Channel.BOOK) for number in range(250)]
    texts = spell_wishes("me", topics, unknown=topics[:30])
    assert all(len(text) < TEXT_BYTES_MAX for text in texts)
    wishes = [read_wishes(text) for text in texts]
    assert {topic for wish in wishes for topic in wish.topics} == set(topics)
    unknown = {topic for wish in wishes if wish.are_unknown for topic in wish.topics}
    assert unknown == set(topics[:30])
    assert {wish.holder for wish in wishes} == {"me"}


def test_a_topic_is_spelled_in_one_way() -> None:
    topic = Topic(Category.LINEAR, BTC, Channel.CANDLE, "D")
    assert spell_topic(topic) == "linear/BTCUSDT/candle/D"
    assert read_topic(spell_topic(topic)) == topic
    for wrong in ("", "spot/BTCUSDT/candle/7", "spot/BTCUSDT/ticker/1", "moon/BTCUSDT/ticker/"):
        with pytest.raises(ValueError, match=r".*"):
            read_topic(wrong)
