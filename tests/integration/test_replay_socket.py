"""The replay exchange's WebSocket as a subscriber sees it."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from app.replay import ReplayExchange, replay_exchange
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

MINUTE_MS = 60_000


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[ReplayExchange]:
    async with replay_exchange() as running:
        yield running


class Subscriber:
    """A raw connection; answers and news are told apart."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._answers: deque[dict[str, Any]] = deque()
        self._news: deque[dict[str, Any]] = deque()

    async def ask(self, **request: Any) -> dict[str, Any]:
        await self._connection.send(json.dumps(request))
        return await self.answer()

    async def say(self, raw: str) -> None:
        await self._connection.send(raw)

    async def subscribe(self, *names: str) -> dict[str, Any]:
        return await self.ask(op="subscribe", args=names, req_id="s")

    async def answer(self) -> dict[str, Any]:
        while not self._answers:
            await self._receive()
        return self._answers.popleft()

    async def news(self, topic: str | None = None) -> dict[str, Any]:
        while True:
            while self._news:
                document = self._news.popleft()
                if topic in (None, document["topic"]):
                    return document
            await self._receive()

    async def is_silent(self, seconds: float = 0.15) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._receive()
        except TimeoutError:
            return not self._news
        return False

    async def _receive(self) -> None:
        async with asyncio.timeout(60):
            document = json.loads(await self._connection.recv())
        (self._news if "topic" in document else self._answers).append(document)


@pytest_asyncio.fixture
async def spot(exchange: ReplayExchange) -> AsyncIterator[Subscriber]:
    async with connect(
        f"{exchange.stream_url}/v5/public/spot", proxy=None, open_timeout=60
    ) as connection:
        yield Subscriber(connection)


@pytest_asyncio.fixture
async def linear(exchange: ReplayExchange) -> AsyncIterator[Subscriber]:
    async with connect(
        f"{exchange.stream_url}/v5/public/linear", proxy=None, open_timeout=60
    ) as connection:
        yield Subscriber(connection)


def shape(value: Any) -> Any:
    """Keys and types, so that a recorded message and ours can be compared."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


async def test_answers_have_the_shapes_that_were_recorded(
    spot: Subscriber, linear: Subscriber, shared_data: Path
) -> None:
    recorded = {}
    path = shared_data / "bybit" / "ws_recorded" / "control_frames.jsonl"
    for line in path.read_text().splitlines():
        row = json.loads(line)
        recorded[row["_src"]] = row["frame"]
    ack = await linear.ask(op="subscribe", args=["tickers.BTCUSDT"])
    assert {**ack, "conn_id": ""} == {
        **recorded["mainnet linear 2026-08-18 ack"],
        "conn_id": "",
    }
    pong = await linear.ask(op="ping")
    assert {**pong, "conn_id": ""} == {
        **recorded["mainnet linear 2026-08-18 pong"],
        "conn_id": "",
    }
    refused = await linear.ask(op="subscribe", args=["liquidation.BTCUSDT"], req_id="old")
    assert {**refused, "conn_id": ""} == {
        **recorded["mainnet linear 2026-08-18 unknown topic, client sent req_id old"],
        "conn_id": "",
    }
    ack = await spot.ask(op="subscribe", args=["tickers.BTCUSDT"], req_id="sub1")
    assert {**ack, "conn_id": ""} == {**recorded["testnet spot 2026-09-13 ack"], "conn_id": ""}
    refused = await spot.ask(op="subscribe", args=["orderbook.50.NOSUCHSYM"], req_id="sub2")
    assert {**refused, "conn_id": ""} == {
        **recorded["testnet spot 2026-09-13 unknown symbol"],
        "conn_id": "",
    }


async def test_a_spot_request_takes_ten_arguments_and_not_eleven(spot: Subscriber) -> None:
    intervals = ["1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D"]
    names = [f"kline.{interval}.BTCUSDT" for interval in intervals]
    assert (await spot.subscribe(*names))["ret_msg"] == "args size >10"
    assert (await spot.subscribe(*names[:10]))["success"]


async def test_a_second_subscription_is_refused_and_the_first_goes_on(
    linear: Subscriber, exchange: ReplayExchange
) -> None:
    await linear.subscribe("tickers.BTCUSDT")
    again = await linear.subscribe("tickers.BTCUSDT")
    assert again["ret_msg"] == "error:already subscribed,topic:tickers.BTCUSDT"
    assert (await linear.news())["type"] == "snapshot"
    exchange.clock.advance(10_000)
    assert (await linear.news())["type"] == "delta"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("hello", "Failed to decode incoming data:"),
        ("[]", "Failed to decode incoming data:"),
        ('{"op":"dance"}', "error:invalid op"),
        ('{"op":"subscribe","args":"tickers.BTCUSDT"}', "Params Error"),
        ('{"op":"subscribe","args":["tickers.btcusdt"]}', "error:handler not found"),
        ('{"op":"subscribe","args":["orderbook.500.BTCUSDT"]}', "error:handler not found"),
        ('{"op":"subscribe","args":["kline.7.BTCUSDT"]}', "error:handler not found"),
    ],
)
async def test_a_wrong_request_is_refused_and_the_socket_stays_open(
    linear: Subscriber, raw: str, text: str
) -> None:
    await linear.say(raw)
    answer = await linear.answer()
    assert (answer["success"], answer["ret_msg"].startswith(text)) == (False, True)
    assert (await linear.ask(op="ping"))["ret_msg"] == "pong"


@pytest.mark.parametrize("path", ["/v5/public/option", "/v5/private", "/", "/v5/public/spot/"])
async def test_other_paths_are_not_served(exchange: ReplayExchange, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(exchange.stream_url + path, proxy=None, open_timeout=60)
    assert refused.value.response.status_code == 404


async def test_messages_have_the_shapes_that_were_recorded(
    spot: Subscriber, linear: Subscriber, exchange: ReplayExchange, shared_data: Path
) -> None:
    folder = shared_data / "bybit" / "ws_recorded"
    recorded: dict[tuple[str, str], Any] = {}
    for name in (
        "session_spot_testnet_2026-09-13.jsonl",
        "tickers_linear_mainnet_BTCUSDT_2026-09-30.jsonl",
        "kline_and_trades_mainnet_linear_BTCUSDT.jsonl",
    ):
        for line in (folder / name).read_text().splitlines():
            document = json.loads(line)
            if "topic" in document:
                recorded.setdefault((document["topic"], document["type"]), document)
    await spot.subscribe("orderbook.50.BTCUSDT", "orderbook.1.BTCUSDT", "publicTrade.BTCUSDT")
    await linear.subscribe("tickers.BTCUSDT", "kline.1.BTCUSDT")
    exchange.clock.advance(5_000)
    compared = set()
    for subscriber, count in ((spot, 4), (linear, 3)):
        for _ in range(count):
            mine = await subscriber.news()
            kind = (mine["topic"], mine["type"])
            theirs = recorded[kind]
            if kind == ("tickers.BTCUSDT", "delta"):
                assert set(mine["data"]) <= set(recorded["tickers.BTCUSDT", "snapshot"]["data"])
            elif kind == ("tickers.BTCUSDT", "snapshot"):
                theirs["data"].pop("tickDirection")  # nobody can know it from candles
                assert shape(mine) == shape(theirs)
            else:
                assert shape(mine) == shape(theirs), kind
            compared.add(kind)
    assert len(compared) >= 6


async def test_both_books_agree_at_every_common_sequence(
    linear: Subscriber, exchange: ReplayExchange
) -> None:
    await linear.subscribe("orderbook.50.BTCUSDT", "orderbook.1.BTCUSDT")
    bids: dict[Decimal, str] = {}
    asks: dict[Decimal, str] = {}
    compared = last_u = 0
    for _ in range(10):
        deep = await linear.news("orderbook.50.BTCUSDT")
        top = await linear.news("orderbook.1.BTCUSDT")
        if deep["type"] == "snapshot":
            bids, asks = {}, {}
        else:
            assert deep["data"]["u"] == last_u + 1
        last_u = deep["data"]["u"]
        for side, rows in ((bids, deep["data"]["b"]), (asks, deep["data"]["a"])):
            side |= {Decimal(price): size for price, size in rows}
            for price in [price for price, size in side.items() if Decimal(size) == 0]:
                del side[price]
        assert deep["data"]["seq"] == top["data"]["seq"]
        assert Decimal(top["data"]["b"][0][0]) == max(bids)
        assert Decimal(top["data"]["a"][0][0]) == min(asks)
        assert Decimal(top["data"]["a"][0][1]) == Decimal(asks[min(asks)])
        assert (len(bids), len(asks)) == (50, 50)
        compared += 1
        exchange.clock.advance(1_000)
    assert compared == 10


async def test_no_candle_and_no_trade_is_left_out_however_far_the_clock_leaps(
    spot: Subscriber, exchange: ReplayExchange
) -> None:
    await spot.subscribe("kline.1.BTCUSDT", "publicTrade.BTCUSDT")
    start_ms = exchange.clock.now_ms()
    closed: dict[int, dict[str, Any]] = {}
    traded: list[int] = []
    for step_ms in (30_000, 3 * MINUTE_MS, 40 * MINUTE_MS, 1_000, 59_000):
        exchange.clock.advance(step_ms)
        now_ms = exchange.clock.now_ms()
        while not traded or traded[-1] < now_ms:
            document = await spot.news()
            if document["topic"].startswith("kline"):
                closed |= {row["start"]: row for row in document["data"] if row["confirm"]}
            else:
                traded += [row["T"] for row in document["data"]]
    assert traded == list(range(start_ms + 1000, exchange.clock.now_ms() + 1, 1000))
    async with httpx.AsyncClient(base_url=exchange.base_url, timeout=60) as http:
        query = {"category": "spot", "symbol": "BTCUSDT", "interval": "1", "limit": "1000"}
        answer = await http.get("/v5/market/kline", params={**query, "start": str(start_ms)})
    rows = {int(row[0]): row for row in answer.json()["result"]["list"]}
    now_ms = exchange.clock.now_ms()
    assert closed.keys() == {open_ms for open_ms in rows if open_ms + MINUTE_MS <= now_ms}
    for open_ms, candle in closed.items():
        names = ("open", "high", "low", "close", "volume", "turnover")
        assert [candle[name] for name in names] == rows[open_ms][1:]


async def test_the_streams_last_price_is_the_rest_sides_last_price(
    spot: Subscriber, exchange: ReplayExchange
) -> None:
    await spot.subscribe("tickers.ETHUSDT")
    async with httpx.AsyncClient(base_url=exchange.base_url, timeout=60) as http:
        for _ in range(5):
            streamed = (await spot.news())["data"]["lastPrice"]
            answer = await http.get(
                "/v5/market/tickers", params={"category": "spot", "symbol": "ETHUSDT"}
            )
            assert answer.json()["result"]["list"][0]["lastPrice"] == streamed
            exchange.clock.advance(7_000)


async def test_a_spot_ticker_has_no_bid_and_is_always_whole(
    spot: Subscriber, exchange: ReplayExchange
) -> None:
    await spot.subscribe("tickers.BTCUSDT")
    for _ in range(3):
        document = await spot.news()
        assert document["type"] == "snapshot"
        assert "bid1Price" not in document["data"]
        assert "lastPrice" in document["data"]
        exchange.clock.advance(1_000)


async def test_the_best_bid_and_ask_can_be_said_again_with_the_same_number(
    linear: Subscriber, exchange: ReplayExchange
) -> None:
    exchange.faults.add("stream_duplicate", times=1, path="orderbook.1.BTCUSDT")
    await linear.subscribe("orderbook.1.BTCUSDT")
    first, second = await linear.news(), await linear.news()
    assert first == second
    assert first["type"] == "snapshot"


async def test_unsubscribed_topics_are_told_no_more(
    linear: Subscriber, exchange: ReplayExchange
) -> None:
    await linear.subscribe("tickers.BTCUSDT", "tickers.ETHUSDT")
    await linear.news("tickers.ETHUSDT")
    answer = await linear.ask(op="unsubscribe", args=["tickers.BTCUSDT"])
    assert (answer["success"], answer["op"]) == (True, "unsubscribe")
    exchange.clock.advance(60_000)
    assert (await linear.news())["topic"] == "tickers.ETHUSDT"
    assert await linear.is_silent()


async def test_a_clock_set_back_begins_every_topic_anew(
    linear: Subscriber, exchange: ReplayExchange
) -> None:
    await linear.subscribe("orderbook.50.BTCUSDT")
    await linear.news()
    exchange.clock.advance(60_000)
    assert (await linear.news())["type"] == "delta"
    exchange.clock.set(exchange.clock.now_ms() - 50_000)
    assert (await linear.news())["type"] == "snapshot"


async def test_several_symbols_run_on_one_clock(
    linear: Subscriber, exchange: ReplayExchange
) -> None:
    names = ["tickers.BTCUSDT", "tickers.ETHUSDT", "tickers.SOLUSDT"]
    await linear.subscribe(*names)
    for _ in names:
        await linear.news()
    exchange.clock.advance(12_345)
    assert {(await linear.news())["ts"] for _ in names} == {exchange.clock.now_ms()}


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1013])
async def test_a_connection_closes_with_the_code_that_was_ordered(
    linear: Subscriber, exchange: ReplayExchange, code: int
) -> None:
    exchange.faults.add("stream_close", value=str(code), times=1)
    await linear.subscribe("tickers.BTCUSDT")
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            await linear.news()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code


async def test_a_cut_connection_has_no_closing_frame(
    linear: Subscriber, exchange: ReplayExchange
) -> None:
    exchange.faults.add("stream_cut", times=1, symbol="BTCUSDT")
    await linear.subscribe("tickers.BTCUSDT")
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            await linear.news()
    assert closed.value.rcvd is None


async def test_a_wrong_fault_is_refused_with_the_kinds_that_exist(
    exchange: ReplayExchange,
) -> None:
    async with httpx.AsyncClient(base_url=exchange.base_url, timeout=60) as http:
        answer = await http.post("/control/faults", json={"kind": "stream_dance"})
        assert (answer.status_code, "stream_cut" in answer.json()["error"]) == (400, True)
        answer = await http.post("/control/faults", json={"kind": "stream_close", "value": "x"})
        assert answer.status_code == 400
        assert "whole number" in answer.json()["error"]
