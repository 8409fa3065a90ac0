"""The parsers on recorded frames, and on everything that is not quite one."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from app.clients.bybit_frames import (
    BadFrame,
    News,
    Reply,
    TickerFields,
    parse_frame,
    parse_topic,
    topic_name,
)
from app.domain.books import Book, BookChange, OrderBook
from app.domain.instruments import Category, Symbol
from app.domain.live import Channel, LiveCandle, PublicTrade, Ticker, TickerMerge, Topic

BTC = Symbol("BTCUSDT")
SPOT, LINEAR = Category.SPOT, Category.LINEAR


def lines(folder: Path, name: str) -> list[str]:
    path = folder / "bybit" / "ws_recorded" / name
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return raw.decode().splitlines()


def frames(folder: Path, name: str, category: Category) -> Iterator[News | Reply]:
    for line in lines(folder, name):
        yield parse_frame(line, category)


def news(frame: News | Reply) -> News:
    assert isinstance(frame, News)
    return frame


def test_the_top_of_the_book_equals_orderbook_1_at_every_common_sequence(
    shared_data: Path,
) -> None:
    book, deep, top = OrderBook(), dict[int, Book](), dict[int, Book]()
    small = OrderBook()
    for frame in frames(shared_data, "session_spot_testnet_2026-09-13.jsonl", SPOT):
        if not isinstance(frame, News) or not isinstance(frame.content, BookChange):
            continue
        if frame.topic.channel is Channel.BOOK:
            book.apply(frame.content)
            deep[frame.content.sequence] = book.now(depth=1)
        else:
            small.apply(frame.content)
            top[frame.content.sequence] = small.now(depth=1)
    common = deep.keys() & top.keys()
    assert len(common) == 12
    for sequence in common:
        assert (deep[sequence].bids, deep[sequence].asks) == (
            top[sequence].bids,
            top[sequence].asks,
        )


def test_every_frame_of_a_recorded_session_is_understood(shared_data: Path) -> None:
    kinds = Counter(
        type(frame).__name__ if isinstance(frame, Reply) else frame.topic.channel
        for frame in frames(shared_data, "session_spot_testnet_2026-09-13.jsonl", SPOT)
    )
    assert kinds["Reply"] >= 3
    assert min(kinds[Channel.BOOK], kinds[Channel.TOP], kinds[Channel.TRADES]) >= 1
    assert sum(kinds.values()) == 43


def test_a_deep_recorded_book_has_no_gap_and_never_crosses(shared_data: Path) -> None:
    """Depth 500 is gone from the venue, its messages are what depth 50 sends too."""
    book, applied = OrderBook(), 0
    for line in lines(shared_data, "orderbook500_linear_XRPUSDT_2024-12-01.jsonl.gz"):
        frame = news(parse_frame(line.replace("orderbook.500.", "orderbook.50."), LINEAR))
        assert isinstance(frame.content, BookChange)
        assert book.apply(frame.content)
        applied += 1
    assert applied == 50
    now = book.now(depth=500)
    assert now.bids[0][0] < now.asks[0][0]
    assert len(now.bids) > 400


def test_a_recorded_ticker_is_the_snapshot_with_every_later_field_laid_over_it(
    shared_data: Path,
) -> None:
    merge, ticker, laid_over = TickerMerge(), None, dict[str, str]()
    without_price = 0
    for line in lines(shared_data, "tickers_linear_mainnet_BTCUSDT_2026-09-30.jsonl"):
        frame = news(parse_frame(line, LINEAR))
        assert isinstance(frame.content, TickerFields)
        ticker = merge.apply(
            frame.content.texts,
            is_snapshot=frame.content.is_snapshot,
            venue_time_ms=frame.content.venue_time_ms,
        )
        laid_over |= json.loads(line)["data"]
        without_price += "lastPrice" not in json.loads(line)["data"]
        assert ticker is not None
        assert ticker.price_text == laid_over["lastPrice"]
        assert ticker.bid == Decimal(laid_over["bid1Price"])
        assert ticker.ask_size == Decimal(laid_over["ask1Size"])
        assert ticker.turnover_24h == Decimal(laid_over["turnover24h"])
        assert ticker.funding_rate == Decimal(laid_over["fundingRate"])
    assert without_price > 5


def test_the_recorded_mixed_frames_are_understood_or_named(shared_data: Path) -> None:
    refused = []
    for line in lines(shared_data, "mixed_linear_inverse_tardis_2023-04-05.jsonl"):
        try:
            parse_frame(line, Category.INVERSE if "BTCUSD" in line else LINEAR)
        except BadFrame as error:
            refused.append(str(error))
    assert all("iquidation" in reason for reason in refused), refused
    assert len(refused) == 3


def test_recorded_klines_and_acknowledgements_are_read_exactly(shared_data: Path) -> None:
    kline, *_ = lines(shared_data, "kline_and_trades_mainnet_linear_BTCUSDT.jsonl")
    content = news(parse_frame(kline, LINEAR)).content
    assert isinstance(content, tuple)
    candle = content[0]
    assert isinstance(candle, LiveCandle)
    assert (candle.close, candle.turnover) == (Decimal("84017.8"), Decimal("614833.7084"))
    assert not candle.is_closed
    verdicts = []
    for line in lines(shared_data, "control_frames.jsonl"):
        reply = parse_frame(json.dumps(json.loads(line)["frame"]), LINEAR)
        assert isinstance(reply, Reply)
        verdicts.append(reply.is_success)
    assert verdicts == [True, True, False, False, True, False, True, False, True]


def test_a_spot_ticker_has_no_bid_and_no_ask() -> None:
    frame = news(parse_frame(json.dumps(TICKER), SPOT))
    assert isinstance(frame.content, TickerFields)
    ticker = TickerMerge().apply(frame.content.texts, is_snapshot=True, venue_time_ms=1)
    assert isinstance(ticker, Ticker)
    assert (ticker.bid, ticker.ask, ticker.last_price) == (None, None, Decimal("21109.77"))


def test_a_ticker_delta_before_the_snapshot_says_nothing() -> None:
    merge = TickerMerge()
    assert merge.apply({"lastPrice": "5"}, is_snapshot=False, venue_time_ms=1) is None
    assert merge.apply({"lastPrice": "6"}, is_snapshot=True, venue_time_ms=2) is not None


def test_there_is_no_ticker_before_a_last_price_and_what_was_said_before_is_kept() -> None:
    merge = TickerMerge()
    assert merge.apply({"bid1Price": "5"}, is_snapshot=True, venue_time_ms=1) is None
    assert merge.apply({"lastPrice": ""}, is_snapshot=False, venue_time_ms=2) is None
    ticker = merge.apply({"lastPrice": "6"}, is_snapshot=False, venue_time_ms=3)
    assert ticker is not None
    assert (ticker.last_price, ticker.bid) == (Decimal(6), Decimal(5))


def test_an_empty_string_is_no_number_and_not_zero() -> None:
    merge = TickerMerge()
    ticker = merge.apply(
        {"lastPrice": "6", "fundingRate": "", "bid1Price": "5"}, is_snapshot=True, venue_time_ms=2
    )
    assert ticker is not None
    assert (ticker.funding_rate, ticker.bid) == (None, Decimal(5))
    ticker = merge.apply({"bid1Price": ""}, is_snapshot=False, venue_time_ms=3)
    assert ticker is not None
    assert ticker.bid is None


TICKER: dict[str, Any] = {
    "topic": "tickers.BTCUSDT",
    "type": "snapshot",
    "ts": 1715742949283,
    "data": {"symbol": "BTCUSDT", "lastPrice": "21109.77", "price24hPcnt": "0.0196"},
}
TRADE: dict[str, Any] = {
    "topic": "publicTrade.BTCUSDT",
    "type": "snapshot",
    "ts": 1789299660724,
    "data": [
        {"i": "21", "T": 1789299660688, "p": "77140.5", "v": "0.00389", "S": "Sell", "s": "BTCUSDT"}
    ],
}
BOOK: dict[str, Any] = {
    "topic": "orderbook.50.BTCUSDT",
    "type": "delta",
    "ts": 1789299660724,
    "data": {"s": "BTCUSDT", "b": [["5", "1"]], "a": [["6", "0"]], "u": 7, "seq": 8},
}
KLINE: dict[str, Any] = {
    "topic": "kline.1.BTCUSDT",
    "type": "snapshot",
    "ts": 1790409768441,
    "data": [
        {
            "start": 1790409720000,
            "end": 1790409779999,
            "interval": "1",
            "open": "5",
            "close": "6",
            "high": "7",
            "low": "4",
            "volume": "0",
            "turnover": "0",
            "confirm": True,
        }
    ],
}


def test_a_trade_keeps_its_side_its_id_and_every_digit() -> None:
    assert news(parse_frame(json.dumps(TRADE), SPOT)).content == (
        PublicTrade(
            id="21",
            price=Decimal("77140.5"),
            size=Decimal("0.00389"),
            is_buy=False,
            venue_time_ms=1789299660688,
        ),
    )


def changed(document: dict[str, Any], **inside: Any) -> str:
    copy = json.loads(json.dumps(document))
    target = copy["data"][0] if isinstance(copy["data"], list) else copy["data"]
    for name, value in inside.items():
        if value is None:
            del target[name]
        else:
            target[name] = value
    return json.dumps(copy)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        b"\xff\xfe\x00",
        "{}",
        '{"op":5,"success":true}',
        '{"topic":5,"data":{}}',
        '{"topic":"tickers.BTCUSDT"}',
        '{"topic":"orderbook.500.BTCUSDT","type":"delta","ts":1,"data":{}}',
        '{"topic":"kline.7.BTCUSDT","type":"snapshot","ts":1,"data":[]}',
        json.dumps({**TICKER, "type": "surprise"}),
        json.dumps({**TICKER, "ts": "1715742949283"}),
        json.dumps({**TICKER, "ts": 10**20}),
        json.dumps({**TICKER, "data": "text"}),
        changed(TICKER, symbol="ETHUSDT"),
        changed(TICKER, lastPrice="NaN"),
        changed(TICKER, lastPrice="-1"),
        changed(TICKER, lastPrice=5),
        changed(TICKER, price24hPcnt="1e5"),
        changed(TRADE, p="0"),
        changed(TRADE, v="Infinity"),
        changed(TRADE, S="buy"),
        changed(TRADE, s="ETHUSDT"),
        changed(TRADE, i=""),
        changed(TRADE, T=None),
        changed(BOOK, u=True),
        changed(BOOK, u=-1),
        changed(BOOK, seq=None),
        changed(BOOK, b=[["5"]]),
        changed(BOOK, b=[["5", "-1"]]),
        changed(BOOK, b=[[5, 1]]),
        changed(BOOK, s="ETHUSDT"),
        changed(KLINE, confirm="true"),
        changed(KLINE, high="5.5"),
        changed(KLINE, interval="5"),
        changed(KLINE, close=None),
    ],
    ids=lambda raw: str(raw)[:60],
)
def test_what_the_venue_does_not_promise_is_refused_and_not_guessed(raw: str | bytes) -> None:
    with pytest.raises(BadFrame):
        parse_frame(raw, SPOT)


@pytest.mark.parametrize("document", [TICKER, TRADE, BOOK, KLINE], ids=lambda d: str(d["topic"]))
def test_the_frames_that_the_refused_ones_are_made_of_are_good(document: dict[str, Any]) -> None:
    assert news(parse_frame(json.dumps(document), SPOT)).topic.symbol == BTC


@pytest.mark.parametrize(
    "topic",
    [
        Topic(SPOT, BTC, Channel.TICKER),
        Topic(LINEAR, BTC, Channel.TRADES),
        Topic(LINEAR, BTC, Channel.CANDLE, "D"),
        Topic(LINEAR, BTC, Channel.TOP),
        Topic(LINEAR, BTC, Channel.BOOK),
    ],
)
def test_a_topic_has_one_name(topic: Topic) -> None:
    assert parse_topic(topic_name(topic), topic.category) == topic


def test_the_pong_of_options_carries_no_verdict_and_is_a_pong_all_the_same() -> None:
    reply = parse_frame('{"args":["1672916271846"],"op":"pong"}', Category.OPTION)
    assert reply == Reply(op="pong", is_success=True, text="", request_id="")
