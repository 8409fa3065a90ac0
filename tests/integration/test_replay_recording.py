"""What is in the candle file comes out of the socket."""

from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from app.demo import DemoError, walk
from app.domain.instruments import Category
from app.replay import (
    ReplayClock,
    recorded_market,
    replay_exchange,
)
from pyarrow import parquet
from tests.integration.asking import ask, result

MINUTE_MS = 60_000


async def test_the_recorded_file_is_served_back_value_for_value(shared_data: Path) -> None:
    file = shared_data / "candles" / "bybit_linear_BTCUSDT_1.parquet"
    table = parquet.read_table(file).to_pydict()
    names = ("open", "high", "low", "close", "volume")
    expected = [
        (ts, *(Decimal(repr(table[name][row])) for name in names))
        for row, ts in enumerate(table["ts"])
    ]
    market = recorded_market(file)
    assert market.last_ms is not None
    clock = ReplayClock(market.last_ms, speed=0)
    found: list[tuple[int | Decimal, ...]] = []
    async with (
        replay_exchange(market, clock=clock) as exchange,
        httpx.AsyncClient(base_url=exchange.base_url, timeout=60) as client,
    ):
        query: dict[str, str | int] = {"symbol": "BTCUSDT", "interval": "1", "limit": 1000}
        end = market.last_ms
        while page := (await result(client, "kline", **query, end=end))["list"]:
            found += [(int(row[0]), *(Decimal(text) for text in row[1:6])) for row in page]
            end = int(page[-1][0]) - 1
    assert len(found) == 27_801
    assert found[::-1] == expected


async def test_stepped_to_the_last_millisecond_of_a_candle_the_price_is_its_close(
    shared_data: Path,
) -> None:
    market = recorded_market(shared_data / "candles" / "bybit_linear_BTCUSDT_1.parquet")
    async with (
        replay_exchange(market) as exchange,
        httpx.AsyncClient(base_url=exchange.base_url, timeout=60) as client,
    ):
        for _ in range(20):
            exchange.clock.advance(59_999)
            query: dict[str, str] = {"category": "spot", "symbol": "BTCUSDT"}
            (ticker,) = (await result(client, "tickers", **query))["list"]
            (row,) = (await result(client, "kline", **query, interval=1, limit=1))["list"]
            candle = market.instruments[Category.LINEAR, "BTCUSDT"].history.at(
                exchange.clock.now_ms()
            )
            assert candle is not None
            assert Decimal(ticker["lastPrice"]) == Decimal(row[4]) == candle.close
            exchange.clock.advance(1)
            (ticker,) = (await result(client, "tickers", **query))["list"]
            assert Decimal(ticker["lastPrice"]) == candle.close  # Bybit: next open is the close


async def test_the_last_day_agrees_with_the_file_and_percentages_are_fractions(
    shared_data: Path,
) -> None:
    market = recorded_market(shared_data / "candles" / "bybit_linear_BTCUSDT_1.parquet")
    now_ms = 1_749_513_600_000 - 1  # the end of 2025-06-09
    clock = ReplayClock(now_ms, speed=0)
    async with (
        replay_exchange(market, clock=clock) as exchange,
        httpx.AsyncClient(base_url=exchange.base_url, timeout=60) as client,
    ):
        query: dict[str, str] = {"category": "linear", "symbol": "BTCUSDT"}
        (ticker,) = (await result(client, "tickers", **query))["list"]
        (day,) = (await result(client, "kline", **query, interval="D", limit=1))["list"]
    _, first, high, low, last, volume, _ = (Decimal(text) for text in day)
    assert Decimal(ticker["lastPrice"]) == last
    assert (Decimal(ticker["highPrice24h"]), Decimal(ticker["lowPrice24h"])) == (high, low)
    assert Decimal(ticker["volume24h"]) == volume
    assert abs(Decimal(ticker["prevPrice24h"]) - first) < 50
    change = last / Decimal(ticker["prevPrice24h"]) - 1
    assert abs(Decimal(ticker["price24hPcnt"]) - change) < Decimal("0.000001")


async def test_at_the_end_of_the_recording_the_last_price_goes_on_being_answered(
    tmp_path: Path,
) -> None:
    file = tmp_path / "bybit_spot_BTCUSDT_1.csv"
    file.write_text("ts,open,high,low,close,volume\n0,1,4,1,3,1\n60000,3,9,3,7.5,1\n")
    async with (
        replay_exchange(recorded_market(file)) as exchange,
        httpx.AsyncClient(base_url=exchange.base_url, timeout=60) as client,
    ):
        exchange.clock.advance(10 * MINUTE_MS)
        envelope = await ask(client, "tickers", category="spot", symbol="BTCUSDT")
        assert envelope["time"] == 2 * MINUTE_MS - 1
        assert envelope["result"]["list"][0]["lastPrice"] == "7.5"
        state = (await client.get("/control/clock")).json()
        assert state["at_end"] is True


async def test_a_file_that_turns_out_to_be_broken_is_named_and_harms_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "bybit_spot_BTCUSDT_1.csv"
    file.write_text("ts,open,high,low,close,volume\n0,1,1,1,1,1\n60000,x,1,1,1,1\n")
    (tmp_path / "bybit_inverse_ETHUSD_1.csv").write_text(
        "ts,open,high,low,close,volume\n0,1,1,1,1,1\n60000,1,1,1,1,1\n"
    )
    async with (
        replay_exchange(recorded_market(tmp_path)) as exchange,
        httpx.AsyncClient(base_url=exchange.base_url, timeout=60) as client,
    ):
        response = await client.get("/v5/market/tickers?category=spot&symbol=BTCUSDT")
        overview = await client.get("/control")
        with pytest.raises(DemoError, match=r"cannot replay .*_1\.csv: row 2: .*x is not a number"):
            await walk("http://127.0.0.1:9", replay_url=exchange.base_url, price_age_seconds=0)
    assert response.status_code == 500
    assert "bybit_spot_BTCUSDT_1.csv: row 2" in caplog.text
    states = {state["symbol"]: state for state in overview.json()["instruments"]}
    assert "bybit_spot_BTCUSDT_1.csv: row 2: " in states["BTCUSDT"]["broken"]
    assert states["BTCUSDT"]["listed"] is False
    assert states["ETHUSD"]["listed"] is True
    assert states["ETHUSD"]["broken"] is None
    assert "Traceback" not in caplog.text
