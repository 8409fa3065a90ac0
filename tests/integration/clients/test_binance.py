from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from app.clients.binance import BinanceClient
from app.domain.errors import NotFound, UpstreamInvalid, UpstreamUnavailable
from app.domain.instruments import Category, CategoryNotListed, Symbol, UnknownSymbol
from app.domain.quotes import Quote
from app.services.ports import PriceSource
from tests.integration.clients.recorded import recorded

BTCUSDT = Symbol("BTCUSDT")
NOW_MS = 1_700_000_000_123
ANSWER = {"symbol": "BTCUSDT", "price": "6622.57000000"}


class Binance:
    """Always gives the same answer; remembers what was asked."""

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answer


def client(binance: Binance) -> BinanceClient:
    return BinanceClient(
        httpx.AsyncClient(
            transport=httpx.MockTransport(binance), base_url="https://api.binance.test"
        ),
        timeout_seconds=10,
        monotonic=lambda: 1000.0,
        now_ms=lambda: NOW_MS,
    )


async def quote_from(answer: httpx.Response) -> Quote:
    return await client(Binance(answer)).fetch_quote(BTCUSDT, Category.SPOT)


async def test_the_recorded_price_is_quoted_to_the_last_digit() -> None:
    content = recorded("binance/rest_recorded/api_v3_ticker_price_0.json")["response"]
    headers = {"Date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    binance = Binance(httpx.Response(200, json=content, headers=headers))
    source: PriceSource = client(binance)
    assert await source.fetch_quote(BTCUSDT, Category.SPOT) == Quote(
        venue="Binance",
        symbol=BTCUSDT,
        category=Category.SPOT,
        price=Decimal("6622.57"),
        price_text="6622.57000000",
        upstream_time_ms=1_792_567_680_000,
    )
    (request,) = binance.requests
    assert request.method == "GET"
    assert str(request.url) == "https://api.binance.test/api/v3/ticker/price?symbol=BTCUSDT"
    assert request.content == b""
    assert source.venue == "Binance"


@pytest.mark.parametrize(
    "headers", [{}, {"Date": "yesterday"}, {"Date": "2026-10-21T07:28:00Z"}, {"Date": ""}]
)
async def test_an_answer_without_a_date_is_dated_by_our_own_clock(headers: dict[str, str]) -> None:
    quote = await quote_from(httpx.Response(200, json=ANSWER, headers=headers))
    assert quote.upstream_time_ms == NOW_MS


async def test_our_own_clock_counts_milliseconds_since_1970() -> None:
    async with httpx.AsyncClient(
        transport=httpx.MockTransport(Binance(httpx.Response(200, json=ANSWER))),
        base_url="https://api.binance.test",
    ) as http:
        before = datetime.now(UTC)
        quote = await BinanceClient(http, timeout_seconds=10).fetch_quote(BTCUSDT, Category.SPOT)
        at = datetime.fromtimestamp(quote.upstream_time_ms / 1000, UTC)
    assert before - timedelta(minutes=1) < at < datetime.now(UTC) + timedelta(minutes=1)


@pytest.mark.parametrize("category", [Category.LINEAR, Category.INVERSE, Category.OPTION])
async def test_other_categories_are_not_asked_for_and_the_error_says_what_to_do(
    category: Category,
) -> None:
    binance = Binance(httpx.Response(200, json=ANSWER))
    with pytest.raises(CategoryNotListed) as raised:
        await client(binance).fetch_quote(BTCUSDT, category)
    assert isinstance(raised.value, NotFound)
    assert str(raised.value) == f"Binance has no {category} prices here; ask for category=spot"
    assert (raised.value.venue, raised.value.category) == ("Binance", category)
    assert binance.requests == []


async def test_a_symbol_that_no_venue_could_list_is_never_sent() -> None:
    binance = Binance(httpx.Response(200, json=ANSWER))
    with pytest.raises(UnknownSymbol):
        await client(binance).fetch_quote(Symbol('["BTCUSDT"]'), Category.SPOT)
    assert binance.requests == []


@pytest.mark.parametrize("code", [-1121, -1100])
async def test_a_symbol_that_the_venue_does_not_list_is_unknown(code: int) -> None:
    with pytest.raises(UnknownSymbol):
        await quote_from(httpx.Response(400, json={"code": code, "msg": "Invalid symbol."}))


@pytest.mark.parametrize(
    ("status", "content"),
    [(status, {}) for status in (302, 403, 418, 429, 451, 500, 503)]
    + [(400, {"code": code, "msg": "no"}) for code in (-1000, -1001, -1003, -1006, -1007, -1008)],
)
async def test_a_venue_that_refuses_or_fails_is_unavailable(status: int, content: object) -> None:
    with pytest.raises(UpstreamUnavailable) as raised:
        await quote_from(httpx.Response(status, json=content))
    assert str(raised.value) == "Binance API connection failed"


async def test_a_rate_limit_stops_further_calls() -> None:
    binance = Binance(httpx.Response(400, json={"code": -1003, "msg": "Too many requests."}))
    source = client(binance)
    for _ in range(3):
        with pytest.raises(UpstreamUnavailable):
            await source.fetch_quote(BTCUSDT, Category.SPOT)
    assert len(binance.requests) == 1


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, [ANSWER]),
        (200, None),
        (200, {}),
        (200, {"code": -1121, "msg": "Invalid symbol."}),
        (200, {"symbol": "BTCUSDT"}),
        (200, {"price": "1"}),
        (200, ANSWER | {"symbol": "ETHUSDT"}),
        (200, ANSWER | {"price": 6622.57}),
        (200, ANSWER | {"price": None}),
        (200, ANSWER | {"price": ""}),
        (200, ANSWER | {"price": "0.00000000"}),
        (200, ANSWER | {"price": "-1"}),
        (200, ANSWER | {"price": "NaN"}),
        (200, ANSWER | {"price": "1e30"}),
        (400, ANSWER),
        (404, ANSWER),
        (400, {"code": "-1121"}),
        (400, {"code": [-1121]}),
        (400, {"code": -1102, "msg": "Mandatory parameter missing."}),
    ],
)
async def test_what_is_not_exactly_a_price_of_this_symbol_is_refused(
    status: int, content: Any
) -> None:
    with pytest.raises(UpstreamInvalid) as raised:
        await quote_from(httpx.Response(status, json=content))
    assert str(raised.value) == "Invalid response from Binance API"
