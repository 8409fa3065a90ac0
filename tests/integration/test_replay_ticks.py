"""Recorded ticks come out of the socket and the REST side as they stand in the files."""

import asyncio
import gzip
import json
import shutil
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from app.replay import ReplayExchange, replay
from pyarrow import parquet
from tests.conftest import SHARED_DATA
from tests.integration.test_replay_socket import Subscriber
from websockets.asyncio.client import connect

TAPE = "trades/binance_usdm_BTCUSDT_20240808.parquet"
BEST = "orderbook/binance_usdm_BTCUSDT_20240808_bbo.parquet"
START_MS = 1_723_161_260_000
STEP_MS = 3_000
STEPS = 10


@pytest_asyncio.fixture(scope="module")
async def recorded_exchange(shared_data: Path) -> AsyncIterator[ReplayExchange]:
    async with replay(shared_data, start="2024-08-08T23:54:20Z", speed=0) as running:
        yield running


@pytest.fixture
def exchange(recorded_exchange: ReplayExchange) -> ReplayExchange:
    """All recorded data, shortly after both the tape and the best prices have begun."""
    recorded_exchange.clock.set(START_MS)
    return recorded_exchange


def rows_of(file: str, from_ms: int, to_ms: int) -> list[dict[str, Any]]:
    """The rows of (from_ms, to_ms], read without any of the exchange's code."""
    table = parquet.read_table(SHARED_DATA / file)
    return [row for row in table.to_pylist() if from_ms < row["ts"] <= to_ms]


def exact(number: float) -> Decimal:
    return Decimal(repr(number))


async def until(subscriber: Subscriber, topic: str, last_ms: int) -> list[dict[str, Any]]:
    """The news of a topic up to those of an instant."""
    found = [await subscriber.news(topic)]
    while found[-1]["ts"] < last_ms:
        found.append(await subscriber.news(topic))
    return found


async def test_every_recorded_trade_is_told_once_in_order_and_digit_for_digit(
    exchange: ReplayExchange,
) -> None:
    start_ms = exchange.clock.now_ms()
    end_ms = start_ms + STEPS * STEP_MS
    recorded = rows_of(TAPE, start_ms, end_ms)
    assert len(recorded) > 1000
    async with connect(
        f"{exchange.stream_url}/v5/public/linear", proxy=None, open_timeout=60
    ) as connection:
        subscriber = Subscriber(connection)
        await subscriber.subscribe("publicTrade.BTCUSDT")
        told: list[dict[str, Any]] = []
        for _ in range(STEPS):
            exchange.clock.advance(STEP_MS)
            await asyncio.sleep(0.02)  # so that they come in several looks
        while len(told) < len(recorded):
            told += (await subscriber.news())["data"]
        assert await subscriber.is_silent()
    assert [
        (trade["T"], trade["i"], Decimal(trade["p"]), Decimal(trade["v"]), trade["S"])
        for trade in told
    ] == [
        (
            row["ts"], str(row["trade_id"]), exact(row["price"]), exact(row["size"]),
            row["taker_side"],
        )
        for row in recorded
    ]  # fmt: skip


async def test_every_recorded_best_price_is_told_and_tops_the_deeper_book_at_equal_sequence(
    exchange: ReplayExchange,
) -> None:
    start_ms = exchange.clock.now_ms()
    recorded = {row["ts"]: row for row in rows_of(BEST, start_ms, start_ms + 4 * STEP_MS)}
    assert len(recorded) > 300
    one, deep = "orderbook.1.BTCUSDT", "orderbook.50.BTCUSDT"
    tops: list[dict[str, Any]] = []
    bids: dict[Decimal, Decimal] = {}
    asks: dict[Decimal, Decimal] = {}
    compared = last_ms = 0
    async with connect(
        f"{exchange.stream_url}/v5/public/linear", proxy=None, open_timeout=60
    ) as connection:
        subscriber = Subscriber(connection)
        await subscriber.subscribe(one, deep)
        opening = await subscriber.news(one)
        for number in range(4):
            last_ms = max(at for at in recorded if at <= start_ms + (number + 1) * STEP_MS)
            exchange.clock.set(last_ms)
            tops += await until(subscriber, one, last_ms)
            for book in await until(subscriber, deep, last_ms):
                for side, levels in ((bids, book["data"]["b"]), (asks, book["data"]["a"])):
                    side |= {Decimal(price): Decimal(size) for price, size in levels}
                    for price in [price for price, size in side.items() if not size]:
                        del side[price]
            (bid,), (ask,) = tops[-1]["data"]["b"], tops[-1]["data"]["a"]
            assert (max(bids), bids[max(bids)]) == tuple(map(Decimal, bid))
            assert (min(asks), asks[min(asks)]) == tuple(map(Decimal, ask))
            assert (len(bids), len(asks)) == (50, 50)
            compared += 1
    assert compared == 4
    assert [top["type"] for top in tops] == ["snapshot"] * len(tops)
    updates = [top["data"]["u"] for top in [opening, *tops]]
    assert updates == list(range(updates[0], updates[0] + len(updates)))
    assert [
        (top["ts"], *map(Decimal, (*top["data"]["b"][0], *top["data"]["a"][0]))) for top in tops
    ] == [
        (at_ms, *map(exact, (row["bid"], row["bid_size"], row["ask"], row["ask_size"])))
        for at_ms, row in recorded.items()
        if at_ms <= last_ms
    ]


async def test_prices_candles_and_trades_of_the_rest_side_are_the_tapes_and_are_marked(
    exchange: ReplayExchange,
) -> None:
    exchange.clock.advance(90_123)
    now_ms = exchange.clock.now_ms()
    before = rows_of(TAPE, 0, now_ms)
    query = {"category": "linear", "symbol": "BTCUSDT"}
    async with httpx.AsyncClient(base_url=exchange.base_url, timeout=60) as client:

        async def ask(path: str, **more: str) -> Any:
            answer = await client.get(f"/v5/market/{path}", params={**query, **more})
            return answer.json()["result"]

        (ticker,) = (await ask("tickers"))["list"]
        klines = (await ask("kline", interval="1", limit="2"))["list"]
        trades = (await ask("recent-trade", limit="50"))["list"]
        book = await ask("orderbook", limit="5")
        instruments = (await client.get("/control")).json()["instruments"]
    assert Decimal(ticker["lastPrice"]) == exact(before[-1]["price"])
    best = rows_of(BEST, 0, now_ms)[-1]
    assert [Decimal(ticker[side]) for side in ("bid1Price", "ask1Size")] == [
        exact(best["bid"]), exact(best["ask_size"]),
    ]  # fmt: skip
    assert list(map(Decimal, book["b"][0])) == [exact(best["bid"]), exact(best["bid_size"])]
    assert [(trade["execId"], Decimal(trade["size"])) for trade in trades] == [
        (str(row["trade_id"]), exact(row["size"])) for row in reversed(before[-50:])
    ]
    for open_ms, *numbers, volume, turnover in klines:
        inside = [row for row in before if 0 <= row["ts"] - int(open_ms) < 60_000]
        prices = [exact(row["price"]) for row in inside]
        assert list(map(Decimal, numbers)) == [prices[0], max(prices), min(prices), prices[-1]]
        assert Decimal(volume) == sum(exact(row["size"]) for row in inside)
        paid = sum(exact(row["size"]) * exact(row["price"]) for row in inside)
        assert Decimal(turnover) == paid
    (marked,) = [row["ticks"] for row in instruments
                 if (row["category"], row["symbol"]) == ("linear", "BTCUSDT")]  # fmt: skip
    assert [(tick["topic"], tick["file"]) for tick in marked] == [
        ("publicTrade.BTCUSDT", Path(TAPE).name), ("orderbook.1.BTCUSDT", Path(BEST).name),
    ]  # fmt: skip
    assert marked[0]["from"] == "2024-08-08T23:54:16.322Z"


async def test_bybits_own_recorded_book_is_told_level_for_level_at_every_update(
    shared_data: Path, tmp_path: Path
) -> None:
    packed = (
        shared_data / "bybit" / "ws_recorded" / "orderbook500_linear_XRPUSDT_2024-12-01.jsonl.gz"
    )
    lines = gzip.decompress(packed.read_bytes()).splitlines()
    (tmp_path / "bybit_linear_XRPUSDT_20241201.jsonl").write_bytes(b"\n".join(lines))
    daily = "bybit_linear_XRPUSDT_D.parquet"
    shutil.copy(shared_data / "candles" / daily, tmp_path / daily)
    frames = [json.loads(line) for line in lines]
    assert len(frames) == 50
    recorded: tuple[dict[Decimal, Decimal], ...] = ({}, {})
    told: tuple[dict[Decimal, Decimal], ...] = ({}, {})

    def take(sides: tuple[dict[Decimal, Decimal], ...], data: dict[str, Any]) -> None:
        for side, levels in zip(sides, (data["b"], data["a"]), strict=True):
            side |= {Decimal(price): Decimal(size) for price, size in levels}
            for price in [price for price, size in side.items() if not size]:
                del side[price]

    one, deep = "orderbook.1.XRPUSDT", "orderbook.50.XRPUSDT"
    compared = 0
    async with replay(tmp_path, start=str(frames[0]["ts"] - 1000), speed=0) as exchange:
        async with connect(
            f"{exchange.stream_url}/v5/public/linear", proxy=None, open_timeout=60
        ) as connection:
            subscriber = Subscriber(connection)
            await subscriber.subscribe(one, deep)
            top = (await subscriber.news(one))["data"]
            take(told, (await subscriber.news(deep))["data"])
            for frame in frames:
                take(recorded, frame["data"])
                if frame["ts"] - exchange.clock.now_ms() < 100:
                    continue  # they come every 100 ms at most
                exchange.clock.set(frame["ts"])
                while (news := await subscriber.news())["topic"] == one:  # if it changed at all
                    top = news["data"]
                take(told, news["data"])
                bids, asks = (sorted(side) for side in recorded)
                assert sorted(told[0]) == bids[-50:]
                assert sorted(told[1]) == asks[:50]
                assert all(recorded[0][price] == size for price, size in told[0].items())
                assert all(recorded[1][price] == size for price, size in told[1].items())
                assert list(map(Decimal, top["b"][0])) == [bids[-1], recorded[0][bids[-1]]]
                assert list(map(Decimal, top["a"][0])) == [asks[0], recorded[1][asks[0]]]
                compared += 1
        exchange.clock.set(frames[-1]["ts"])
        async with httpx.AsyncClient(base_url=exchange.base_url, timeout=60) as client:
            answer = await client.get(
                "/v5/market/orderbook?category=linear&symbol=XRPUSDT&limit=1000"
            )
    assert compared > 20
    result = answer.json()["result"]
    for side, levels in zip(recorded, (result["b"], result["a"]), strict=True):
        assert {Decimal(price): Decimal(size) for price, size in levels} == side
