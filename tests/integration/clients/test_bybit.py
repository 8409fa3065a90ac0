"""The client over answers that were recorded, and over every one that is no price."""

import gzip
import json
import logging
from decimal import Decimal

import httpx
import pytest
from app.clients.bybit import BybitClient
from app.clients.venue_http import RESPONSE_BYTES_MAX, venue_http_client
from app.domain.errors import UpstreamInvalid, UpstreamUnavailable
from app.domain.instruments import Category, Symbol, UnknownSymbol
from app.domain.quotes import Quote
from app.services.ports import PriceSource
from tests.integration.clients.recorded import recorded
from tests.integration.clients.scripted import (
    ANSWER,
    BTCUSDT,
    TIME_MS,
    Bybit,
    changed,
    client,
    ok,
    priced,
)


async def quote_from(
    content: object, symbol: str = "BTCUSDT", category: Category = Category.SPOT
) -> Quote:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    bybit = Bybit(httpx.Response(200, content=body))
    return await client(bybit).fetch_quote(Symbol(symbol), category)


# The wire


@pytest.mark.parametrize("category", [Category.SPOT, Category.LINEAR, Category.INVERSE])
async def test_every_recorded_ticker_is_quoted_to_the_last_digit(category: Category) -> None:
    answer = recorded(f"bybit/rest_recorded/tickers_{category}.json")["response"]
    tickers = {ticker["symbol"]: ticker for ticker in answer["result"]["list"]}

    def one(request: httpx.Request) -> httpx.Response:
        assert request.url.params["category"] == category
        result = {"category": category, "list": [tickers[request.url.params["symbol"]]]}
        return httpx.Response(200, json=answer | {"result": result})

    source = client(one)
    assert len(tickers) >= 12
    for symbol, ticker in tickers.items():
        quote = await source.fetch_quote(Symbol(symbol), category)
        assert quote == Quote(
            venue="Bybit",
            symbol=Symbol(symbol),
            category=category,
            price=Decimal(ticker["lastPrice"]),
            price_text=ticker["lastPrice"],
            upstream_time_ms=answer["time"],
        )


async def test_the_examples_of_the_venues_documentation_are_understood() -> None:
    prices = {}
    for example in recorded("bybit/docs_examples/market_tickers.json"):
        symbol = example["json"]["result"]["list"][0]["symbol"]
        quote = await quote_from(example["json"], symbol, Category(example["tab"]))
        prices[example["tab"]] = quote.price_text, quote.upstream_time_ms
    assert prices == {
        "inverse": ("120635.50", 1_760_352_369_814),
        "option": ("435", 1_672_376_592_395),
        "spot": ("20533.13", 1_673_859_087_947),
    }


async def test_an_option_that_never_traded_has_no_price_to_fill_at() -> None:
    answer = recorded("bybit/rest_recorded/testnet_tickers_option.json")["response"]
    untraded = next(t for t in answer["result"]["list"] if t["lastPrice"] == "0")
    content = answer | {"time": TIME_MS, "result": {"category": "option", "list": [untraded]}}
    with pytest.raises(UpstreamInvalid):
        await quote_from(content, untraded["symbol"], Category.OPTION)


async def test_the_question_is_one_plain_get_without_a_body() -> None:
    bybit = Bybit(httpx.Response(200, json=changed(result={"category": "linear", "list": []})))
    async with venue_http_client("https://api.bybit.test") as http:
        headers = http.headers
    source: PriceSource = BybitClient(
        httpx.AsyncClient(
            transport=httpx.MockTransport(bybit),
            base_url="https://api.bybit.test",
            headers=headers,
        ),
        timeout_seconds=10,
    )
    with pytest.raises(UnknownSymbol):
        await source.fetch_quote(Symbol("BTC-26DEC25"), Category.LINEAR)
    (request,) = bybit.requests
    assert request.method == "GET"
    assert str(request.url) == (
        "https://api.bybit.test/v5/market/tickers?category=linear&symbol=BTC-26DEC25"
    )
    assert request.content == b""
    assert "content-type" not in request.headers
    assert request.headers["user-agent"].startswith("goblin/")
    assert request.headers["accept-encoding"] == "identity"
    assert source.venue == "Bybit"


async def test_a_price_with_an_exponent_is_shown_as_a_plain_decimal() -> None:
    quote = await quote_from(priced("7E-7"))
    assert (quote.price, quote.price_text) == (Decimal("0.0000007"), "0.0000007")


async def test_the_success_text_is_not_what_decides() -> None:
    for text in ("OK", "success", "SUCCESS", ""):
        assert (await quote_from(changed(retMsg=text))).price == Decimal("29208.01")


# Unknown symbols


@pytest.mark.parametrize(
    "content",
    [
        {"retCode": 10001, "retMsg": "params error: symbol invalid", "result": {}, "time": 1},
        {"retCode": 10001, "retMsg": "Not supported symbols", "result": {}, "time": 1},
        {"retCode": 10029, "retMsg": "symbol invalid", "result": {}, "time": 1},
        {"retCode": 170121, "retMsg": "Invalid symbol.", "result": {}, "time": 1},
        changed(result={"category": "spot", "list": []}),
    ],
)
async def test_a_symbol_that_the_venue_does_not_list_is_unknown(content: object) -> None:
    with pytest.raises(UnknownSymbol) as raised:
        await quote_from(content)
    assert (raised.value.symbol, raised.value.category) == ("BTCUSDT", Category.SPOT)


@pytest.mark.parametrize(
    "symbol",
    [
        *["../../x", "BTC@EVIL", "%2E%2E", "BTC/USDT", "BTC USDT", "BTC\0", "A&B=C", ""],
        *["btcusdt", "X" * 31, "٣USDT", "-BTC", "BTCUSDT\n"],
    ],
)
async def test_a_symbol_that_no_venue_could_list_is_never_sent(symbol: str) -> None:
    bybit = Bybit(ok())
    with pytest.raises(UnknownSymbol):
        await client(bybit).fetch_quote(Symbol(symbol), Category.SPOT)
    assert bybit.requests == []


# The venue cannot be asked


@pytest.mark.parametrize("status", [302, 307, 403, 408, 418, 429, 451, 500, 502, 503, 504])
async def test_a_refusing_status_is_read_before_the_body(status: int) -> None:
    with pytest.raises(UpstreamUnavailable) as raised:
        await client(Bybit(httpx.Response(status, json=ANSWER))).fetch_quote(BTCUSDT, Category.SPOT)
    assert str(raised.value) == "Bybit API connection failed"


@pytest.mark.parametrize(
    "code", [429, 10000, 10006, 10008, 10009, 10010, 10016, 10018, 10024, 10027]
)
async def test_a_busy_venue_that_says_http_200_is_unavailable(code: int) -> None:
    with pytest.raises(UpstreamUnavailable):
        await quote_from({"retCode": code, "retMsg": "no", "result": {}, "time": TIME_MS})


async def test_a_redirect_is_not_followed() -> None:
    location = "http://169.254.169.254/latest/meta-data/"
    bybit = Bybit(httpx.Response(302, headers={"Location": location}))
    async with venue_http_client("https://api.bybit.test") as http:
        assert not http.follow_redirects
    with pytest.raises(UpstreamUnavailable):
        await client(bybit).fetch_quote(BTCUSDT, Category.SPOT)
    assert len(bybit.requests) == 1


# The answer is no price


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>busy</html>",
        b'{"retCode":0,',
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b'"OK"',
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"retCode":' + b"9" * 5000 + b"}",
        b'{"retCode":' + b"9" * 4000 + b"}",
        b'{"retCode":0,"retCode":NaN}',
        b"x" * (RESPONSE_BYTES_MAX + 1),
        gzip.compress(json.dumps(ANSWER).encode(), mtime=0),
        {},
        changed(retCode=None),
        changed(retCode="0"),
        changed(retCode=False),
        changed(retCode=0.0),
        changed(retCode=10003),
        changed(retCode=-1),
        changed(time=None),
        changed(time="1692163162284"),
        changed(time=True),
        changed(time=0),
        changed(time=-1),
        changed(time=1.5),
        changed(time=10**30),
        changed(result=None),
        changed(result=[]),
        changed(result={}),
        changed(result={"category": "spot"}),
        changed(result={"category": "spot", "list": None}),
        changed(result={"category": "spot", "list": {}}),
        changed(result={"category": "spot", "list": [None]}),
        changed(result={"category": "spot", "list": [[]]}),
        changed(result={"category": "", "list": []}),
        changed(result={"list": ANSWER["result"]["list"]}),
        changed(result={"category": "linear", "list": ANSWER["result"]["list"]}),
        changed(result={"category": "spot", "list": ANSWER["result"]["list"] * 2}),
        changed(result={"category": "spot", "list": [{"lastPrice": "1"}]}),
        changed(result={"category": "spot", "list": [{"symbol": "BTCUSDT"}]}),
        priced("1", symbol="ETHUSDT"),
        priced("1", symbol="btcusdt"),
        priced("1", symbol=None),
        priced("1", symbol=["BTCUSDT"]),
        priced(None),
        priced(29208.01),
        priced(29208),
        priced([]),
        priced({"value": "1"}),
        priced(True),
        priced(""),
        priced(" 1"),
        priced("1 "),
        priced("NaN"),
        priced("sNaN"),
        priced("Infinity"),
        priced("-Infinity"),
        priced("-1"),
        priced("+1"),
        priced("0"),
        priced("0.000"),
        priced("1e30"),
        priced("1e999999999"),
        priced("10000000000"),
        priced("0." + "0" * 20 + "1"),
        priced("0." + "1" * 40),
        priced("1_000"),
        priced("1,5"),
        priced("0x10"),
        priced("٣"),
        priced("9" * 100_000),
    ],
    ids=lambda content: str(content)[:60],
)
async def test_what_is_not_exactly_a_price_of_this_symbol_is_refused(content: object) -> None:
    with pytest.raises(UpstreamInvalid) as raised:
        await quote_from(content)
    assert str(raised.value) == "Invalid response from Bybit API"


@pytest.mark.parametrize("status", [201, 204, 400, 401, 404])
async def test_a_status_that_makes_no_sense_is_no_price_whatever_the_body(status: int) -> None:
    with pytest.raises(UpstreamInvalid):
        await client(Bybit(httpx.Response(status, json=ANSWER))).fetch_quote(BTCUSDT, Category.SPOT)


async def test_the_venues_words_go_to_one_log_line_cut_and_escaped_and_to_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = "forged\nline \x1b[31m\u202e" + "long " * 1000
    with caplog.at_level(logging.DEBUG, logger="app"), pytest.raises(UpstreamInvalid) as raised:
        await quote_from(changed(retCode=99999, retMsg=words))
    assert "forged" not in str(raised.value)
    (record,) = [record for record in caplog.records if record.name.startswith("app.")]
    fields = vars(record)
    assert record.levelno == logging.WARNING
    assert fields["venue"] == "Bybit"
    assert fields["reason"] == "retCode 99999 (HTTP status 200)"
    assert "forged" in fields["upstream_text"]
    assert fields["upstream_text"].isascii()
    assert fields["upstream_text"].isprintable()
    assert len(fields["upstream_text"]) < 1000
