"""A venue that fails, lies or attacks, seen through the API: quote, buy and close."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

import asyncpg
import httpx
import pytest
import pytest_asyncio
from app.clients.bybit import BybitClient
from app.clients.venue_http import venue_http_client
from app.domain.circuits import FAILURES_MAX, CircuitState
from app.main import create_app
from app.replay import ReplayExchange, replay
from app.services.market_data import MarketData
from tests.concurrency.cases import Rows, rows_of
from tests.conftest import Installation, Person, new_person, settings_for
from tests.integration.api.test_conventions import assert_is_error
from tests.integration.api.unreachable import (
    a_certificate_that_nobody_vouches_for,
    a_tls_handshake_never_ends,
    connecting_never_ends,
    no_tls,
    nobody_listens,
)

TIMEOUT_SECONDS: Final = 1.0
PROMISED_SECONDS: Final = TIMEOUT_SECONDS + 0.5
LOADED_MACHINE_SECONDS: Final = 30.0
"""What a machine that does other things as well may add to the promise."""


@dataclass(frozen=True)
class Desk:
    """An installation whose venue can be exchanged, and what is stored in it."""

    running: Installation
    venue: ReplayExchange
    watcher: asyncpg.Connection

    @asynccontextmanager
    async def priced_by(
        self,
        url: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        timeout_seconds: float = LOADED_MACHINE_SECONDS,
    ) -> AsyncIterator[MarketData]:
        """Prices come from there, through a client that remembers nothing of before."""
        async with venue_http_client(url) as http:
            client = BybitClient(http, timeout_seconds=timeout_seconds, monotonic=monotonic)
            market = MarketData(client, price_age_seconds_max=0, monotonic=monotonic)
            self.running.app.state.resources = replace(self.running.resources, market=market)
            try:
                yield market
            finally:
                await market.aclose()

    async def trader(self) -> Person:
        """Somebody with a million and an open position in ETHUSDT."""
        person = await new_person(self.running, balance="1000000")
        async with self.priced_by(self.venue.base_url):
            opened = await buy(person, "ETHUSDT")
        assert opened.status_code == 201, opened.text
        return person

    async def rows(self, person: Person) -> Rows:
        return await rows_of(self.watcher, person.user.id)


@pytest_asyncio.fixture(scope="module")
async def desk(installation: Installation) -> AsyncIterator[Desk]:
    async with replay(None, start=None, speed=0) as venue:
        app = create_app(settings_for(installation.address, venue.base_url))
        watcher = await asyncpg.connect(**installation.address.connect_arguments())
        yield Desk(running=replace(installation, app=app), venue=venue, watcher=watcher)
        await watcher.close()


@pytest.fixture
def venue(desk: Desk) -> ReplayExchange:
    """The same venue for every test, behaving."""
    desk.venue.faults.clear()
    return desk.venue


async def quote(person: Person, symbol: str = "BTCUSDT") -> httpx.Response:
    return await person.client.get("/market/price", params={"symbol": symbol})


async def buy(person: Person, symbol: str = "BTCUSDT") -> httpx.Response:
    return await person.client.post("/order", json={"symbol": symbol, "quantity": "0.5"})


async def close(person: Person, symbol: str = "ETHUSDT") -> httpx.Response:
    return await person.client.delete(f"/order/{symbol}")


async def quote_buy_and_close(person: Person) -> list[httpx.Response]:
    """All three at once, so that a venue that hangs is waited for once."""
    return list(await asyncio.gather(quote(person), buy(person), close(person)))


@dataclass(frozen=True)
class Case:
    """A misbehaviour of the replay exchange, and what it has to be answered with."""

    kind: str
    status: int
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.kind, *(str(option) for option in self.options.values())])


UNAVAILABLE = [
    Case("delay", 503, {"seconds": 60}),
    Case("hang", 503),
    Case("trickle", 503, {"seconds": 1}),
    *(
        Case(kind, 503)
        for kind in (
            "drop", "drop_midway", "status_403", "status_403_limit", "status_418", "status_429",
            "status_500", "status_502", "status_503", "redirect", "code_10000", "code_10006",
            "code_10016",
        )
    ),
    Case("status_429_retry_after", 503, {"seconds": 7}),
    Case("redirect", 503, {"value": "http://[::1]:1/"}),
    Case("redirect", 503, {"value": "file:///etc/passwd"}),
]  # fmt: skip
INVALID = [
    Case(kind, 502)
    for kind in (
        "html", "garbage", "truncated", "empty", "huge", "gzip_bomb", "wrong_symbol",
        "wrong_category", "price_absent", "price_empty", "price_nan", "price_nan_number",
        "price_infinity", "price_zero", "price_negative", "price_1e30", "price_40_decimals",
        "price_number", "price_array", "price_null",
    )
] + [
    Case("price", 502, {"value": text})
    for text in ("free", "-Infinity", "sNaN", "0.0", "-0", "1e-30", "1_000", "0x10", "١٢", "1,5")
]  # fmt: skip


@pytest.mark.parametrize("case", [*UNAVAILABLE, *INVALID], ids=str)
async def test_no_quote_no_fill_and_no_trace_of_a_price_that_cannot_be_trusted(
    desk: Desk, venue: ReplayExchange, case: Case, record_property: Callable[[str, object], None]
) -> None:
    person = await desk.trader()
    before = await desk.rows(person)
    venue.faults.add(case.kind, **case.options)
    # A wrong answer has to come, however busy the machine; one that does not come is given up.
    seconds = LOADED_MACHINE_SECONDS if case in INVALID else TIMEOUT_SECONDS
    async with desk.priced_by(venue.base_url, timeout_seconds=seconds):
        began_at = time.monotonic()
        answers = await quote_buy_and_close(person)
        elapsed_seconds = time.monotonic() - began_at
    record_property("elapsed_seconds", f"{elapsed_seconds:.3f}")
    assert elapsed_seconds < PROMISED_SECONDS + LOADED_MACHINE_SECONDS
    for answer in answers:
        assert_is_refusal(answer, case.status)
    assert await desk.rows(person) == before
    await assert_trades_at_the_true_price(desk, venue, person)


def assert_is_refusal(answer: httpx.Response, status: int) -> None:
    assert_is_error(answer, status)
    code = answer.json()["meta"]["code"]
    if status == 502:
        assert code == "upstream_invalid"
        assert answer.json()["message"] == "Invalid response from Bybit API"
    else:
        assert code in {"upstream_unavailable", "price_unavailable"}
        assert answer.json()["message"].startswith("Bybit API connection failed")
        assert int(answer.headers["retry-after"]) >= 1


async def assert_trades_at_the_true_price(
    desk: Desk, venue: ReplayExchange, person: Person
) -> None:
    """The same requests, once the venue behaves: what was refused was the price."""
    venue.faults.clear()
    async with desk.priced_by(venue.base_url):
        quoted, bought, closed = await quote_buy_and_close(person)
    assert (quoted.status_code, bought.status_code, closed.status_code) == (200, 201, 200)
    assert Decimal(bought.json()["data"]["buy_price"]) == Decimal(quoted.json()["data"]["price"])


@pytest.mark.parametrize(
    "place",
    [
        nobody_listens,
        connecting_never_ends,
        no_tls,
        a_tls_handshake_never_ends,
        a_certificate_that_nobody_vouches_for,
    ],
)
async def test_a_venue_that_cannot_be_connected_to_costs_the_timeout_and_no_money(
    desk: Desk,
    venue: ReplayExchange,
    place: Callable[[], AbstractAsyncContextManager[str]],
    record_property: Callable[[str, object], None],
) -> None:
    person = await desk.trader()
    before = await desk.rows(person)
    async with place() as url, desk.priced_by(url, timeout_seconds=TIMEOUT_SECONDS):
        began_at = time.monotonic()
        answers = await quote_buy_and_close(person)
        elapsed_seconds = time.monotonic() - began_at
    record_property("elapsed_seconds", f"{elapsed_seconds:.3f}")
    assert elapsed_seconds < PROMISED_SECONDS + LOADED_MACHINE_SECONDS
    for answer in answers:
        assert_is_refusal(answer, 503)
    assert await desk.rows(person) == before
    await assert_trades_at_the_true_price(desk, venue, person)


async def test_a_list_without_the_symbol_means_that_there_is_no_such_symbol(
    desk: Desk, venue: ReplayExchange
) -> None:
    person = await desk.trader()
    before = await desk.rows(person)
    venue.faults.add("empty_list")
    async with desk.priced_by(venue.base_url) as market:
        quoted, bought, closed = await quote_buy_and_close(person)
        assert market.venue_state.failures == 0
    assert_is_error(quoted, 404, "unknown_symbol")
    assert_is_error(bought, 400, "unknown_symbol")
    assert_is_error(closed, 400, "unknown_symbol")
    assert await desk.rows(person) == before


@pytest.mark.parametrize(
    "case",
    [
        Case("content_type", 200),
        Case("time_stale", 200, {"seconds": 60}),
        Case("time_stale", 200, {"seconds": 3600}),
        Case("time_future", 200, {"seconds": 3600}),
        Case("delay", 200, {"seconds": 0.05}),
    ],
    ids=str,
)
async def test_a_true_price_is_used_whatever_is_odd_about_the_letter_it_comes_in(
    desk: Desk, venue: ReplayExchange, case: Case
) -> None:
    """Its time is passed on and kept with the fill, not judged: see docs/adr/0005."""
    person = await desk.trader()
    async with desk.priced_by(venue.base_url):
        true = (await quote(person)).json()["data"]
        venue.faults.add(case.kind, **case.options)
        quoted, bought, closed = await quote_buy_and_close(person)
        order_id = bought.json()["data"]["id"]
        explained = (await person.client.get(f"/order/{order_id}")).json()["data"]["explain"]
    assert (quoted.status_code, bought.status_code, closed.status_code) == (200, 201, 200)
    assert quoted.json()["data"]["price"] == true["price"]
    assert Decimal(bought.json()["data"]["buy_price"]) == Decimal(true["price"])
    offset_ms = {"time_stale": -1000, "time_future": 1000}.get(case.kind, 0)
    shown_ms = true["upstream_time_ms"] + offset_ms * case.options.get("seconds", 0)
    assert quoted.json()["data"]["upstream_time_ms"] == shown_ms
    assert str(int(shown_ms)) in str(explained)


async def test_while_the_circuit_is_open_everybody_is_told_at_once_and_nobody_asks(
    desk: Desk, venue: ReplayExchange
) -> None:
    seconds = 1000.0
    person = await desk.trader()
    before = await desk.rows(person)
    async with desk.priced_by(venue.base_url, monotonic=lambda: seconds) as market:
        venue.faults.add("status_500")
        for _ in range(FAILURES_MAX):
            assert_is_error(await quote(person), 503, "upstream_unavailable")
        assert market.venue_state.state is CircuitState.OPEN
        venue.requests.clear()
        seconds += 12.5
        previewed = person.client.post("/order/preview", json={"symbol": "X", "quantity": "1"})
        for answer in [*await quote_buy_and_close(person), await previewed]:
            assert_is_error(answer, 503, "price_unavailable")
            assert answer.headers["retry-after"] == "18"
            assert answer.json()["message"] == (
                "Bybit API connection failed: it is asked again in 18 seconds"
            )
        assert_is_error(await close(person, "SOLUSDT"), 400, "order_not_found")
        assert venue.requests.count() == 0
        assert await desk.rows(person) == before
        venue.faults.clear()
        seconds += 17.5
        assert (await buy(person)).status_code == 201
        assert (market.venue_state.state, market.venue_state.failures) == (CircuitState.CLOSED, 0)
        assert (await close(person)).status_code == 200


async def test_a_limit_that_names_its_end_is_respected_by_every_route(
    desk: Desk, venue: ReplayExchange
) -> None:
    seconds = 1000.0
    person = await desk.trader()
    async with desk.priced_by(venue.base_url, monotonic=lambda: seconds):
        venue.requests.clear()
        venue.faults.add("status_429_retry_after", seconds=7, times=1)
        assert_is_error(await quote(person), 503, "upstream_unavailable")
        seconds += 6
        for answer in await quote_buy_and_close(person):
            assert_is_error(answer, 503, "price_unavailable")
            assert answer.headers["retry-after"] == "1"
        assert venue.requests.count() == 1
        seconds += 1
        assert (await buy(person)).status_code == 201


# Where a request can be made to go


SPELLINGS = ("../../x", "BTC@EVIL", "%2e%2e", "..", "X#Y", "X?A=B", "X&A=B", "A\\B", "//X", "X:80")


@pytest.mark.parametrize("symbol", SPELLINGS)
async def test_no_spelling_of_a_symbol_becomes_a_part_of_an_address(
    desk: Desk, venue: ReplayExchange, symbol: str
) -> None:
    person = await desk.trader()
    async with desk.priced_by(venue.base_url):
        venue.requests.clear()
        answers = [
            await quote(person, symbol),
            await buy(person, symbol),
            await person.client.request("DELETE", "/order", json={"symbol": symbol}),
            await person.client.post("/order/preview", json={"symbol": symbol, "quantity": "1"}),
        ]
    assert {answer.status_code for answer in answers} <= {400, 404, 422}
    assert venue.requests.rows() == []


async def test_a_redirect_is_never_followed_not_even_to_a_place_that_answers(
    desk: Desk, venue: ReplayExchange
) -> None:
    person = await desk.trader()
    async with replay(None, start=None, speed=0) as elsewhere:
        venue.faults.add("redirect", value=f"{elsewhere.base_url}/v5/market/tickers")
        async with desk.priced_by(venue.base_url):
            for answer in await quote_buy_and_close(person):
                assert_is_refusal(answer, 503)
        assert elsewhere.requests.count() == 0


async def test_nothing_in_a_request_chooses_the_venue_that_is_asked(
    desk: Desk, venue: ReplayExchange
) -> None:
    person = await desk.trader()
    async with replay(None, start=None, speed=0) as elsewhere, desk.priced_by(venue.base_url):
        url = elsewhere.base_url
        place = dict.fromkeys(("base_url", "bybit_base_url", "url", "host", "venue"), url)
        headers = {
            "Host": url.removeprefix("http://"),
            "X-Forwarded-Host": url.removeprefix("http://"),
            "Forwarded": f"host={url}",
        }
        venue.requests.clear()
        quoted = await person.client.get(
            "/market/price", params={"symbol": "BTCUSDT", **place}, headers=headers
        )
        body = {"symbol": "BTCUSDT", "quantity": "1", **place}
        bought = await person.client.post("/order", json=body, headers=headers)
        assert (quoted.status_code, bought.status_code) == (200, 201)
        assert venue.requests.count() == 2
        assert elsewhere.requests.count() == 0
