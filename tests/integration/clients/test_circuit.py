"""A venue that fails again and again is left alone: the client over its circuit."""

import asyncio
import logging
from collections.abc import Callable

import httpx
import pytest
from app.clients.binance import BinanceClient
from app.clients.bybit import BybitClient
from app.domain.circuits import FAILURES_MAX, CircuitState, PriceUnavailable
from app.domain.errors import UpstreamInvalid, UpstreamUnavailable
from app.domain.instruments import Category, CategoryNotListed, Symbol, UnknownSymbol
from tests.integration.clients.scripted import ANSWER, Bybit, Clock, client, ok, priced

BTCUSDT = Symbol("BTCUSDT")
UNKNOWN = {"retCode": 10001, "retMsg": "params error", "result": {}, "time": 1}


def refuse(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


def never_answer(_: httpx.Request) -> httpx.Response:
    raise TimeoutError


async def fail(source: BybitClient | BinanceClient, times: int) -> None:
    for _ in range(times):
        with pytest.raises((UpstreamUnavailable, UpstreamInvalid)) as raised:
            await source.fetch_quote(BTCUSDT, Category.SPOT)
        assert not isinstance(raised.value, PriceUnavailable)


@pytest.mark.parametrize(
    "handler",
    [
        refuse,
        never_answer,
        lambda _: httpx.Response(500),
        lambda _: httpx.Response(302, headers={"Location": "http://169.254.169.254/"}),
        lambda _: httpx.Response(200, content=b"<html>"),
        lambda _: httpx.Response(200, content=b"{"),
        lambda _: httpx.Response(200, json=ANSWER | {"retCode": 10016}),
        lambda _: httpx.Response(200, json=priced("NaN")),
        lambda _: httpx.Response(200, json=priced("1", symbol="ETHUSDT")),
    ],
)
async def test_five_failures_of_whatever_kind_stop_the_calls_for_thirty_seconds(
    handler: Callable[[httpx.Request], httpx.Response],
) -> None:
    clock, asked = Clock(), 0

    def counted(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return handler(request)

    source = client(counted, clock)
    await fail(source, FAILURES_MAX)
    for _ in range(20):
        with pytest.raises(PriceUnavailable) as raised:
            await source.fetch_quote(BTCUSDT, Category.SPOT)
        assert raised.value.retry_after_seconds == 30
    assert asked == 5
    clock.seconds += 30
    await fail(source, 1)
    assert asked == 6, "the probe was sent, and failed"
    with pytest.raises(PriceUnavailable):
        await source.fetch_quote(BTCUSDT, Category.SPOT)
    assert asked == 6


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(429), httpx.Response(418), httpx.Response(403)],
    ids=lambda answer: str(answer.status_code),
)
async def test_refusals_count_too_once_their_own_pauses_are_over(answer: httpx.Response) -> None:
    clock, bybit = Clock(), Bybit(answer)
    source = client(bybit, clock)
    for number in range(FAILURES_MAX):
        assert source.state.failures == number
        clock.seconds += 600
        await fail(source, 1)
    assert source.state.state is CircuitState.OPEN
    assert source.state.retry_after_seconds >= 30


async def test_an_unknown_symbol_is_an_answer_and_ends_a_row_of_failures() -> None:
    bad, unknown = httpx.Response(500), httpx.Response(200, json=UNKNOWN)
    bybit = Bybit(bad, bad, bad, bad, unknown, bad, bad, bad, bad, ok())
    source = client(bybit)
    await fail(source, 4)
    with pytest.raises(UnknownSymbol):
        await source.fetch_quote(BTCUSDT, Category.SPOT)
    assert source.state.failures == 0
    await fail(source, 4)
    await source.fetch_quote(BTCUSDT, Category.SPOT)


async def test_what_is_never_asked_says_nothing_of_the_venue() -> None:
    bybit = Bybit(httpx.Response(500))
    source = client(bybit)
    await fail(source, 4)
    with pytest.raises(UnknownSymbol):
        await source.fetch_quote(Symbol("B/C"), Category.SPOT)
    assert source.state.failures == 4
    binance = BinanceClient(
        httpx.AsyncClient(transport=httpx.MockTransport(bybit), base_url="https://x.test"),
        timeout_seconds=10,
    )
    await fail(binance, 4)
    with pytest.raises(CategoryNotListed):
        await binance.fetch_quote(BTCUSDT, Category.LINEAR)
    assert binance.state.failures == 4


async def test_of_a_hundred_who_ask_after_thirty_seconds_one_is_sent_to_look() -> None:
    clock, may_answer, asked = Clock(), asyncio.Event(), 0

    async def answer(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        if asked <= FAILURES_MAX:
            return httpx.Response(500)
        await may_answer.wait()
        return ok()

    source = BybitClient(
        httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="https://x.test"),
        timeout_seconds=30,
        monotonic=clock.monotonic,
    )
    await fail(source, FAILURES_MAX)
    clock.seconds += 30
    calls = [asyncio.create_task(source.fetch_quote(BTCUSDT, Category.SPOT)) for _ in range(100)]
    async with asyncio.timeout(20):
        while sum(call.done() for call in calls) < 99 or asked < 6:  # noqa: ASYNC110 - none tells
            await asyncio.sleep(0.001)
    (probe,) = (call for call in calls if not call.done())
    assert {type(call.exception()) for call in calls if call is not probe} == {PriceUnavailable}
    assert asked == 6
    assert source.state.state is CircuitState.PROBING
    may_answer.set()
    await probe
    assert (source.state.state, source.state.failures) == (CircuitState.CLOSED, 0)
    await source.fetch_quote(BTCUSDT, Category.SPOT)


async def test_a_caller_who_gives_up_the_probe_leaves_it_to_the_next() -> None:
    clock, asked = Clock(), 0

    async def answer(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        if asked <= FAILURES_MAX:
            return httpx.Response(500)
        if asked == FAILURES_MAX + 1:
            await asyncio.Event().wait()
        return ok()

    source = BybitClient(
        httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="https://x.test"),
        timeout_seconds=30,
        monotonic=clock.monotonic,
    )
    await fail(source, FAILURES_MAX)
    clock.seconds += 30
    probe = asyncio.create_task(source.fetch_quote(BTCUSDT, Category.SPOT))
    while asked == FAILURES_MAX:  # noqa: ASYNC110 - the transport tells nobody
        await asyncio.sleep(0.001)
    probe.cancel()
    await asyncio.wait([probe])
    await source.fetch_quote(BTCUSDT, Category.SPOT)
    assert source.state.state is CircuitState.CLOSED


async def test_calls_on_their_way_when_it_opens_still_bring_their_price_home() -> None:
    clock, may_answer, asked = Clock(), asyncio.Event(), 0

    async def answer(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        if asked == 1:
            await may_answer.wait()
            return ok()
        return httpx.Response(500)

    source = BybitClient(
        httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="https://x.test"),
        timeout_seconds=30,
        monotonic=clock.monotonic,
    )
    early = asyncio.create_task(source.fetch_quote(BTCUSDT, Category.SPOT))
    while asked == 0:  # noqa: ASYNC110 - the transport tells nobody
        await asyncio.sleep(0.001)
    await fail(source, FAILURES_MAX)
    may_answer.set()
    assert str((await early).price) == "29208.01"
    assert source.state.state is CircuitState.OPEN, "it was asked before the venue failed"


async def test_opening_and_closing_are_told_in_the_log_once_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    source = client(Bybit(*[httpx.Response(500)] * FAILURES_MAX, ok()), clock)
    with caplog.at_level(logging.INFO, logger="app.clients"):
        await fail(source, FAILURES_MAX)
        clock.seconds += 30
        await source.fetch_quote(BTCUSDT, Category.SPOT)
    told = [vars(r)["state"] for r in caplog.records if r.message == "venue circuit"]
    assert told == ["open", "probing", "closed"]


async def test_the_state_says_since_when_and_how_often_it_failed() -> None:
    clock = Clock()
    source = client(Bybit(httpx.Response(500)), clock)
    clock.seconds += 12
    before = source.state
    assert (before.venue, before.state, before.age_seconds) == ("Bybit", CircuitState.CLOSED, 12)
    assert before.retry_after_seconds == 0
    await fail(source, FAILURES_MAX)
    clock.seconds += 9
    after = source.state
    assert (after.state, after.age_seconds, after.failures) == (CircuitState.OPEN, 9, 5)
    assert after.retry_after_seconds == 21
