"""How long a venue that says stop is left alone."""

import asyncio
import itertools
from decimal import Decimal

import httpx
import pytest
from app.clients.bybit import BybitClient
from app.clients.venue_http import Pauses
from app.domain.errors import UpstreamInvalid, UpstreamUnavailable
from app.domain.instruments import Category, Symbol
from tests.integration.clients.scripted import BTCUSDT, TIME_MS, Bybit, Clock, client, ok

GEO_BLOCK = (
    b"<!DOCTYPE HTML><HTML><BODY>The Amazon CloudFront distribution is configured"
    b" to block access from your country.</BODY></HTML>"
)


def limited(**headers: str) -> httpx.Response:
    content = {"retCode": 10006, "retMsg": "Too many visits!", "result": {}, "time": TIME_MS}
    return httpx.Response(
        200, json=content, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        pytest.param(limited(), 2, id="10006"),
        pytest.param(
            limited(X_Bapi_Limit_Reset_Timestamp=str(TIME_MS + 1_000_000 + 700)),
            0.7,
            id="10006-with-reset",
        ),
        pytest.param(
            limited(X_Bapi_Limit_Reset_Timestamp=str(TIME_MS)), 2, id="10006-reset-in-the-past"
        ),
        pytest.param(
            limited(X_Bapi_Limit_Reset_Timestamp="99999999999999"), 2, id="10006-reset-in-5138"
        ),
        pytest.param(limited(X_Bapi_Limit_Reset_Timestamp="soon"), 2, id="10006-reset-garbage"),
        pytest.param(httpx.Response(429), 2, id="429"),
        pytest.param(httpx.Response(429, headers={"Retry-After": "7"}), 7, id="429-retry-after"),
        pytest.param(
            httpx.Response(429, headers={"Retry-After": "259200"}), 600, id="429-three-days"
        ),
        pytest.param(
            httpx.Response(429, headers={"Retry-After": "-1"}), 2, id="429-retry-after-garbage"
        ),
        pytest.param(httpx.Response(403, content=GEO_BLOCK), 10, id="403-geo-block"),
        pytest.param(
            httpx.Response(403, content=b"403, Access too frequent"), 600, id="403-banned"
        ),
        pytest.param(httpx.Response(418), 600, id="418"),
    ],
)
async def test_a_venue_that_says_stop_is_left_alone_so_long_and_then_asked_again(
    answer: httpx.Response, seconds: float
) -> None:
    clock, bybit = Clock(), Bybit(answer, ok())
    source = client(bybit, clock)
    for _ in range(3):
        with pytest.raises(UpstreamUnavailable):
            await source.fetch_quote(BTCUSDT, Category.SPOT)
    assert len(bybit.requests) == 1
    clock.seconds += seconds - 0.01
    with pytest.raises(UpstreamUnavailable):
        await source.fetch_quote(Symbol("ETHUSDT"), Category.LINEAR)
    assert len(bybit.requests) == 1
    clock.seconds += 0.02
    assert (await source.fetch_quote(BTCUSDT, Category.SPOT)).price == Decimal("29208.01")


async def test_other_failures_pause_nothing() -> None:
    bybit = Bybit(
        httpx.Response(500),
        httpx.Response(200, json={"retCode": 10016, "retMsg": "Server error."}),
        httpx.Response(200, content=b"garbage"),
        ok(),
    )
    source = client(bybit)
    for expected in (UpstreamUnavailable, UpstreamUnavailable, UpstreamInvalid):
        with pytest.raises(expected):
            await source.fetch_quote(BTCUSDT, Category.SPOT)
    await source.fetch_quote(BTCUSDT, Category.SPOT)
    assert len(bybit.requests) == 4


async def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    """Two calls are on their way; one is banned, then the other is merely limited."""
    clock, both_asked, requests = Clock(), asyncio.Event(), itertools.count()

    async def answer(_: httpx.Request) -> httpx.Response:
        if next(requests) == 0:
            await both_asked.wait()
            return limited()
        both_asked.set()
        return httpx.Response(418)

    source = BybitClient(
        httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="https://x.test"),
        timeout_seconds=10,
        pauses=Pauses(banned_seconds=60),
        monotonic=clock.monotonic,
    )
    calls = [source.fetch_quote(BTCUSDT, Category.SPOT) for _ in range(2)]
    await asyncio.gather(*calls, return_exceptions=True)
    clock.seconds += 59
    with pytest.raises(UpstreamUnavailable):
        await source.fetch_quote(BTCUSDT, Category.SPOT)
    assert next(requests) == 2
