"""Candles and instruments from every venue, exact and closed, or an error."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from app.clients.binance import AsterClient, BinanceClient
from app.clients.bybit import INSTRUMENTS_PER_PAGE, BybitClient
from app.clients.venue_http import venue_http_client
from app.domain.candles import Candle, Interval, Span, advance
from app.domain.errors import UpstreamInvalid, UpstreamUnavailable
from app.domain.instruments import Category, CategoryNotListed, Symbol, UnknownSymbol, Venue
from app.replay import ReplayExchange, replay
from app.services.ports import MarketSource
from tests.integration.clients.recorded import DATA, recorded
from tests.unproven import unproven

BTCUSDT = Symbol("BTCUSDT")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def span(begin: str, end: str) -> Span:
    return Span(begin_at=at(begin), end_at=at(end))


@asynccontextmanager
async def bybit(exchange: ReplayExchange) -> AsyncIterator[BybitClient]:
    async with venue_http_client(exchange.base_url) as http:
        yield BybitClient(http, timeout_seconds=60)


def answering(
    kind: type[BinanceClient | BybitClient], *answers: httpx.Response
) -> tuple[Any, list[httpx.Request]]:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return answers[min(len(requests), len(answers)) - 1]

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="https://venue.test")
    client = kind(http, timeout_seconds=5, now_ms=lambda: 1_800_000_000_000)
    source: MarketSource = client
    return source, requests


async def test_the_newest_first_window_of_the_venue_is_read_without_overlap_hole_or_open_candle(
    shared_data: Path,
) -> None:
    file = shared_data / "candles" / "bybit_linear_BTCUSDT_1.parquet"
    async with (
        replay(file, start="2025-06-02T00:00:30Z", speed=0) as running,
        bybit(running) as client,
    ):
        now = await client.fetch_time()
        assert now == at("2025-06-02T00:00:30")
        whole = Span(begin_at=now - timedelta(minutes=900, seconds=30), end_at=at("2025-06-03"))
        found = await client.fetch_candles(
            BTCUSDT,
            Category.LINEAR,
            Interval.MINUTE,
            Span(begin_at=whole.begin_at, end_at=advance(whole.begin_at, Interval.MINUTE, 1000)),
        )
        assert [c.open_time for c in found] == [
            whole.begin_at + timedelta(minutes=n) for n in range(900)
        ], "the candle of 00:00 is still open"
        assert await client.fetch_first_open(BTCUSDT, Category.LINEAR, Interval.MINUTE) == at(
            "2025-05-30T16:39"
        )
        parts = [
            await client.fetch_candles(
                BTCUSDT,
                Category.LINEAR,
                Interval.MINUTE,
                span(f"2025-06-01T{a}", f"2025-06-01T{b}"),
            )
            for a, b in (("00:00", "00:01"), ("00:01", "00:03"))
        ]
        assert [len(part) for part in parts] == [1, 2], "both ends of a span are exact"


async def test_bybit_knows_nothing_of_options_past_and_of_symbols_it_does_not_list(
    exchange: ReplayExchange,
) -> None:
    async with bybit(exchange) as client:
        window = span("2025-01-01", "2025-01-02")
        with pytest.raises(UnknownSymbol):
            await client.fetch_candles(Symbol("NOSUCH"), Category.SPOT, Interval.HOUR, window)
        with pytest.raises(UnknownSymbol):
            await client.fetch_candles(Symbol("BTC/USDT"), Category.SPOT, Interval.HOUR, window)
        with pytest.raises(CategoryNotListed) as raised:
            await client.fetch_candles(BTCUSDT, Category.OPTION, Interval.HOUR, window)
        assert str(raised.value) == (
            "Bybit has no option prices here; "
            "ask for category=spot or category=linear or category=inverse"
        )


@pytest.mark.parametrize("fault", ["truncated", "html", "garbage", "huge"])
async def test_half_an_answer_is_no_candles(exchange: ReplayExchange, fault: str) -> None:
    async with bybit(exchange) as client:
        exchange.faults.add(fault, times=1, path="/v5/market/kline")
        with pytest.raises(UpstreamInvalid):
            await client.fetch_candles(
                BTCUSDT, Category.SPOT, Interval.HOUR, span("2024-12-01", "2024-12-02")
            )


async def test_a_limit_is_obeyed_while_candles_are_downloaded(exchange: ReplayExchange) -> None:
    async with bybit(exchange) as client:
        exchange.faults.add("code_10006", times=1, path="/v5/market/kline", seconds=60)
        asked = exchange.requests.count("/v5/market/kline")
        for _ in range(3):
            with pytest.raises(UpstreamUnavailable):
                await client.fetch_candles(
                    BTCUSDT, Category.SPOT, Interval.HOUR, span("2024-12-01", "2024-12-02")
                )
        assert exchange.requests.count("/v5/market/kline") == asked + 1


def kline(*rows: list[Any], **changes: Any) -> httpx.Response:
    result = {"category": "spot", "symbol": "BTCUSDT", "list": list(rows), **changes}
    return httpx.Response(200, json={"retCode": 0, "result": result, "time": 1_748_736_150_000})


GOOD = ["1748736060000", "2", "3", "1", "2", "5", "10"]


async def test_the_recorded_answer_of_the_venue_is_read_to_the_last_digit() -> None:
    content = recorded("bybit/rest_recorded/kline_mainnet_snippets.json")[0]["response"]
    assert len(content["result"]["list"]) == 2
    client, requests = answering(BybitClient, httpx.Response(200, json=content))
    window = Span(
        begin_at=datetime.fromtimestamp(1_683_472_800, UTC),
        end_at=datetime.fromtimestamp(1_683_472_920, UTC),
    )
    found = await client.fetch_candles(BTCUSDT, Category.SPOT, Interval.MINUTE, window)
    assert [candle.turnover for candle in found] == [
        Decimal("151241.07920518"),
        Decimal("216697.2440694"),
    ]
    assert dict(requests[0].url.params) == {
        "category": "spot", "symbol": "BTCUSDT", "interval": "1", "limit": "1000",
        "start": "1683472800000", "end": "1683472860000",
    }  # fmt: skip


@pytest.mark.parametrize(
    "answer",
    [
        kline(GOOD, category="linear"),
        kline(GOOD, symbol="ETHUSDT"),
        kline(list=None),
        kline(["1748736060000", "2"]),
        kline([1748736060000, *GOOD[1:]]),
        kline(["1748736060001", *GOOD[1:]]),
        kline(["9" * 15, *GOOD[1:]]),
        kline([GOOD[0], "2", "1", "1", "2", "5", "10"]),
        kline(GOOD, [GOOD[0], "2", "3", "1", "2.5", "5", "10"]),
        httpx.Response(200, json={"retCode": 0, "result": {}, "time": 1}),
        httpx.Response(404, json={}),
    ],
)
async def test_what_is_not_exactly_candles_of_this_symbol_is_refused(
    answer: httpx.Response,
) -> None:
    client, _ = answering(BybitClient, answer)
    with pytest.raises(UpstreamInvalid):
        await client.fetch_candles(
            BTCUSDT, Category.SPOT, Interval.MINUTE, span("2025-06-01T00:00", "2025-06-01T01:00")
        )


async def test_repeated_rows_count_once_and_rows_beyond_the_span_not_at_all() -> None:
    before = ["1748735940000", *GOOD[1:]]
    opened = ["1748736120000", *GOOD[1:]]
    client, _ = answering(BybitClient, kline(opened, GOOD, GOOD, before))
    found = await client.fetch_candles(
        BTCUSDT, Category.SPOT, Interval.MINUTE, span("2025-06-01T00:00", "2025-06-01T01:00")
    )
    assert [candle.open_time for candle in found] == [at("2025-06-01T00:01")]


async def test_instruments_are_walked_to_the_end_of_the_cursor() -> None:
    items = recorded("bybit/rest_recorded/testnet_instruments-info-linear.json")["response"][
        "result"
    ]["list"]
    half = len(items) // 2

    def page(part: list[Any], cursor: str) -> httpx.Response:
        result = {"category": "linear", "list": part, "nextPageCursor": cursor}
        return httpx.Response(200, json={"retCode": 0, "result": result, "time": 1})

    client, requests = answering(
        BybitClient, page(items[:half], "first%3DA%26last%3DB"), page(items[half:], "")
    )
    found = await client.fetch_instruments(Category.LINEAR)
    assert [i.symbol for i in found] == [item["symbol"] for item in items]
    assert len(requests) == 2
    assert b"cursor=first%3DA%26last%3DB" in requests[1].url.query, "encoded once, not twice"
    assert requests[0].url.params["limit"] == str(INSTRUMENTS_PER_PAGE)
    nft = found[0]
    assert (nft.venue, nft.base, nft.quote, nft.tick_size) == (
        Venue.BYBIT, "10000NFT", "USDT", Decimal("0.000005"),
    )  # fmt: skip


async def test_spot_has_its_own_names_for_the_same_rules(exchange: ReplayExchange) -> None:
    async with bybit(exchange) as client:
        found = {i.symbol: i for i in await client.fetch_instruments(Category.SPOT)}
        bitcoin = found[BTCUSDT]
        assert (bitcoin.tick_size, bitcoin.lot_step) == (Decimal("0.1"), Decimal("0.000001"))
        assert (bitcoin.quantity_min, bitcoin.amount_min) == (Decimal("0.000011"), Decimal(5))
        assert bitcoin.quantity_max == 50
        assert await client.fetch_instruments(Category.INVERSE)
        assert await client.fetch_instruments(Category.OPTION)


async def test_an_instrument_that_makes_no_sense_hides_no_other() -> None:
    items = recorded("bybit/rest_recorded/testnet_instruments-info-spot.json")["response"][
        "result"
    ]["list"]
    broken = [{**items[0], "priceFilter": {"tickSize": ""}}, {"symbol": "X"}, None, *items]
    result = {"category": "spot", "list": broken}
    client, _ = answering(
        BybitClient, httpx.Response(200, json={"retCode": 0, "result": result, "time": 1})
    )
    assert len(await client.fetch_instruments(Category.SPOT)) == len(items)


async def test_a_cursor_without_an_end_and_another_category_are_refused() -> None:
    def page(category: str) -> httpx.Response:
        result = {"category": category, "list": [{}], "nextPageCursor": "again"}
        return httpx.Response(200, json={"retCode": 0, "result": result, "time": 1})

    for answered in ("linear", "spot"):
        client, _ = answering(BybitClient, page(answered))
        with pytest.raises(UpstreamInvalid):
            await client.fetch_instruments(Category.LINEAR)
    client, _ = answering(BybitClient, httpx.Response(200, json={"retCode": 10001, "time": 1}))
    with pytest.raises(UpstreamInvalid):
        await client.fetch_instruments(Category.SPOT)
    client, _ = answering(BybitClient, httpx.Response(200, json={"retCode": 0}))
    with pytest.raises(UpstreamInvalid):
        await client.fetch_time()


async def test_the_first_candle_is_none_where_there_is_none_and_an_error_where_it_is_garbage() -> (
    None
):
    for kind, empty, garbage in (
        (BybitClient, kline(), kline(["x"])),
        (BinanceClient, httpx.Response(200, json=[]), httpx.Response(200, json=[["x"]])),
    ):
        client, _ = answering(kind, empty)
        assert await client.fetch_first_open(BTCUSDT, Category.SPOT, Interval.DAY) is None
        client, _ = answering(kind, garbage)
        with pytest.raises(UpstreamInvalid):
            await client.fetch_first_open(BTCUSDT, Category.SPOT, Interval.DAY)


async def test_binances_recorded_hours_are_read_to_the_last_digit() -> None:
    rows = recorded("binance/rest_recorded/api_v3_klines_6.json")["response"]
    client, requests = answering(BinanceClient, httpx.Response(200, json=rows))
    begin_at = datetime.fromtimestamp(rows[0][0] // 1000, UTC)
    window = Span(begin_at=begin_at, end_at=datetime.fromtimestamp(rows[-1][0] // 1000, UTC))
    found: list[Candle] = await client.fetch_candles(BTCUSDT, Category.SPOT, Interval.HOUR, window)
    assert len(found) == len(rows) - 1, "the last one lies beyond the span"
    for candle, row in zip(found, rows, strict=False):
        shown = (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.turnover)
        assert shown == tuple(Decimal(row[n]) for n in (1, 2, 3, 4, 5, 7))
    assert requests[0].url.path == "/api/v3/klines"
    assert requests[0].url.params["interval"] == "1h"
    assert requests[0].url.params["endTime"] == str(rows[-2][0])


async def test_binance_gives_no_open_candle_either() -> None:
    rows = recorded("binance/rest_recorded/api_v3_klines_6.json")["response"][:3]
    begin_at = datetime.fromtimestamp(rows[0][0] // 1000, UTC)
    window = Span(begin_at=begin_at, end_at=begin_at + timedelta(hours=9))
    closed_at = begin_at + timedelta(hours=2)
    headers = {"Date": f"{closed_at:%a, %d %b %Y %H:%M:%S} GMT"}
    client, _ = answering(BinanceClient, httpx.Response(200, json=rows, headers=headers))
    assert len(await client.fetch_candles(BTCUSDT, Category.SPOT, Interval.HOUR, window)) == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(400, json={"code": -1121, "msg": "Invalid symbol."}), UnknownSymbol),
        (httpx.Response(400, json={"code": -1120, "msg": "Invalid interval."}), UpstreamInvalid),
        (httpx.Response(429, json={}), UpstreamUnavailable),
        (httpx.Response(200, json={"list": []}), UpstreamInvalid),
        (httpx.Response(200, json=[[1]]), UpstreamInvalid),
    ],
)
async def test_binances_refusals_are_told_apart(
    answer: httpx.Response, error: type[Exception]
) -> None:
    client, _ = answering(BinanceClient, answer)
    with pytest.raises(error):
        await client.fetch_candles(
            BTCUSDT, Category.SPOT, Interval.HOUR, span("2025-06-01", "2025-06-02")
        )


async def test_binances_and_asters_instruments_have_their_rules() -> None:
    content = recorded("binance/rest_recorded/api_v3_exchangeInfo_0.json")["response"]
    client, requests = answering(BinanceClient, httpx.Response(200, json=content))
    found = {i.symbol: i for i in await client.fetch_instruments(Category.SPOT)}
    assert len(found) == len(content["symbols"])
    ether = found[Symbol("ETHBTC")]
    assert (ether.base, ether.quote, ether.lot_step) == ("ETH", "BTC", Decimal("0.0001"))
    assert (ether.quantity_max, ether.amount_min) == (Decimal("1378.22417541"), Decimal("0.0001"))
    assert requests[0].url.path == "/api/v3/exchangeInfo"
    for broken in ({}, {"symbols": None}):
        client, _ = answering(BinanceClient, httpx.Response(200, json=broken))
        with pytest.raises(UpstreamInvalid):
            await client.fetch_instruments(Category.SPOT)
    client, _ = answering(
        BinanceClient,
        httpx.Response(200, json={"symbols": [{"symbol": "A"}, content["symbols"][0]]}),
    )
    assert len(await client.fetch_instruments(Category.SPOT)) == 1


def aster_sample(name: str) -> Any:
    file = DATA / "aster" / "jkorf_samples" / f"Endpoints_FuturesV3_ExchangeData_{name}.txt"
    if not DATA.is_dir():
        unproven(f"no recorded market data in {DATA}")
    return json.loads(file.read_text().split("\n", 3)[3])


async def test_aster_speaks_as_binance_does_and_trades_linear_contracts_only() -> None:
    client, requests = answering(AsterClient, httpx.Response(200, json=aster_sample("GetPrice")))
    quote = await client.fetch_quote(BTCUSDT, Category.LINEAR)
    assert (quote.venue, quote.price_text) == ("AsterDEX", "6000.01")
    assert requests[0].url.path == "/fapi/v3/ticker/price"
    with pytest.raises(CategoryNotListed, match="ask for category=linear"):
        await client.fetch_quote(BTCUSDT, Category.SPOT)

    client, requests = answering(
        AsterClient, httpx.Response(200, json=aster_sample("GetExchangeInfo"))
    )
    (doge,) = await client.fetch_instruments(Category.LINEAR)
    assert (doge.venue, doge.symbol, doge.tick_size) == (
        Venue.ASTER, "DOGEUSDT", Decimal("0.0001"),
    )  # fmt: skip
    assert requests[0].url.path == "/fapi/v3/exchangeInfo"

    (row,) = aster_sample("GetKlines")
    client, _ = answering(AsterClient, httpx.Response(200, json=[row]))
    oldest = await client.fetch_first_open(BTCUSDT, Category.LINEAR, Interval.HOURS_4)
    assert oldest == at("2017-07-03")
    (candle,) = await client.fetch_candles(
        BTCUSDT,
        Category.LINEAR,
        Interval.HOURS_4,
        Span(begin_at=at("2017-07-03"), end_at=at("2017-07-04")),
    )
    assert (candle.high, candle.turnover) == (Decimal("0.8"), Decimal("2434.19055334"))

    client, _ = answering(AsterClient, httpx.Response(200, json={"serverTime": 1748736000123}))
    assert await client.fetch_time() == at("2025-06-01T00:00:00.123")
    client, _ = answering(AsterClient, httpx.Response(200, json={"serverTime": "now"}))
    with pytest.raises(UpstreamInvalid):
        await client.fetch_time()


WRONG_USE: list[Callable[[BinanceClient], Any]] = [
    lambda client: client.fetch_instruments(Category.LINEAR),
    lambda client: client.fetch_first_open(BTCUSDT, Category.INVERSE, Interval.DAY),
]


@pytest.mark.parametrize("use", WRONG_USE)
async def test_binance_is_asked_for_spot_only(use: Callable[[BinanceClient], Any]) -> None:
    client, requests = answering(BinanceClient, httpx.Response(200, json=[]))
    with pytest.raises(CategoryNotListed):
        await use(client)
    assert requests == []
