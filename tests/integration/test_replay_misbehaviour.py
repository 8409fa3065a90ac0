"""Every misbehaviour of the replay exchange as a client sees it, over a real socket."""

import asyncio
import json
import time
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from app.replay import (
    ReplayExchange,
    replay_exchange,
)
from tests.integration.asking import price


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[ReplayExchange]:
    async with replay_exchange() as running:
        yield running


@pytest_asyncio.fixture
async def client(exchange: ReplayExchange) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=exchange.base_url, timeout=60) as client:
        yield client


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("status_403", (403, "text/html", "block access from your country")),
        ("status_403_limit", (403, "text/html", "403, access too frequent")),
        ("status_418", (418, "application/json", "banned")),
        ("status_429", (429, "application/json", "{}")),
        ("status_500", (500, "application/json", "10016")),
        ("status_502", (502, "text/html", "Bad Gateway")),
        ("status_503", (503, "", "")),
        ("html", (200, "text/html", "<html>")),
        ("empty", (200, "application/json", "")),
        ("content_type", (200, "text/plain", "lastPrice")),
        ("code_10000", (200, "application/json", '"retCode":10000')),
        ("code_10016", (200, "application/json", '"retCode":10016')),
        ("empty_list", (200, "application/json", '"list":[]')),
    ],
)
async def test_answers_go_wrong_on_request(
    exchange: ReplayExchange,
    client: httpx.AsyncClient,
    kind: str,
    seen: tuple[int, str, str],
) -> None:
    status, content_type, text = seen
    exchange.faults.add(kind, times=1)
    response = await price(client)
    assert response.status_code == status
    assert response.headers.get("content-type", "").startswith(content_type)
    assert text in response.text
    assert (await price(client)).status_code == 200


async def test_429_can_say_when_to_come_back(
    exchange: ReplayExchange, client: httpx.AsyncClient
) -> None:
    exchange.faults.add("status_429", times=1)
    assert "retry-after" not in (await price(client)).headers
    exchange.faults.add("status_429_retry_after", times=1, seconds=7)
    assert (await price(client)).headers["retry-after"] == "7"


async def test_10006_says_in_the_clients_own_time_when_the_limit_resets(
    exchange: ReplayExchange, client: httpx.AsyncClient
) -> None:
    exchange.faults.add("code_10006", seconds=60)
    response = await price(client)
    assert response.status_code == 200
    assert response.json()["retCode"] == 10006
    reset_ms = int(response.headers["x-bapi-limit-reset-timestamp"])
    assert 0 < reset_ms - time.time() * 1000 <= 60_000
    assert response.headers["x-bapi-limit-status"] == "0"


@pytest.mark.parametrize("kind", ["garbage", "truncated", "empty", "html"])
async def test_a_body_can_be_no_json(
    exchange: ReplayExchange, client: httpx.AsyncClient, kind: str
) -> None:
    exchange.faults.add(kind)
    response = await price(client)
    with pytest.raises(ValueError, match=r".*"):
        json.loads(response.content)


async def test_a_redirect_points_at_what_must_not_be_fetched(
    exchange: ReplayExchange, client: httpx.AsyncClient
) -> None:
    exchange.faults.add("redirect")
    response = await price(client)
    assert (response.status_code, response.headers["location"]) == (302, "http://169.254.169.254/")


async def test_a_delay_is_waited_for_and_other_requests_are_not_held_up(
    exchange: ReplayExchange, client: httpx.AsyncClient
) -> None:
    loop = asyncio.get_running_loop()
    exchange.faults.add("delay", seconds=60, symbol="BTCUSDT")
    slow = asyncio.create_task(price(client))
    done, _ = await asyncio.wait({slow}, timeout=0.05)
    assert not done
    assert (await price(client, "ETHUSDT")).status_code == 200
    assert not slow.done()
    slow.cancel()
    await asyncio.wait({slow})
    exchange.faults.clear()
    exchange.faults.add("delay", seconds=0.2)
    began_at = loop.time()
    assert (await price(client)).json()["retCode"] == 0
    assert loop.time() - began_at >= 0.2


async def test_a_delay_ends_when_the_faults_are_cleared(
    exchange: ReplayExchange, client: httpx.AsyncClient
) -> None:
    exchange.faults.add("delay", seconds=3600)
    slow = asyncio.create_task(price(client))
    async with asyncio.timeout(50):
        while not exchange.faults.delays:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        exchange.faults.clear()
        assert (await slow).json()["retCode"] == 0
    assert not exchange.faults.delays


async def test_a_hanging_exchange_never_answers_and_still_stops_at_once(
    exchange: ReplayExchange, client: httpx.AsyncClient
) -> None:
    exchange.faults.add("hang")
    with pytest.raises(httpx.ReadTimeout):
        await client.get("/v5/market/time", timeout=httpx.Timeout(20, read=0.2))
    async with (
        replay_exchange() as other,
        httpx.AsyncClient(base_url=other.base_url, timeout=60) as second,
    ):
        other.faults.add("hang")
        held = asyncio.create_task(second.get("/v5/market/time"))
        async with asyncio.timeout(20):
            while not other.requests.count():  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
    with pytest.raises(httpx.TransportError):
        await held


@pytest.mark.parametrize("kind", ["drop", "drop_midway"])
async def test_a_connection_can_be_dropped(
    exchange: ReplayExchange, client: httpx.AsyncClient, kind: str
) -> None:
    exchange.faults.add(kind, times=1)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await price(client)
    assert (await price(client)).status_code == 200


async def test_bytes_can_trickle(exchange: ReplayExchange, client: httpx.AsyncClient) -> None:
    whole = (await client.get("/v5/market/time")).content
    exchange.faults.add("trickle", seconds=0.05)
    pieces: list[bytes] = []
    async with client.stream("GET", "/v5/market/time") as response:
        async for piece in response.aiter_raw():
            pieces.append(piece)
            if len(pieces) == 3:
                break
    # A reader who is late finds some bytes at once.
    assert 3 <= len(b"".join(pieces)) < len(whole) / 2
    assert whole.startswith(b'{"r')
    assert b"".join(pieces).startswith(b'{"r')


async def test_a_body_can_be_huge(exchange: ReplayExchange, client: httpx.AsyncClient) -> None:
    exchange.faults.add("huge")
    received = 0
    async with client.stream("GET", "/v5/market/time") as response:
        assert response.status_code == 200
        async for piece in response.aiter_raw():
            received += len(piece)
    assert received > 100_000_000


async def test_a_small_body_can_unpack_to_a_gigabyte(
    exchange: ReplayExchange, client: httpx.AsyncClient
) -> None:
    exchange.faults.add("gzip_bomb")
    packed = bytearray()
    async with client.stream("GET", "/v5/market/time") as response:
        assert response.headers["content-encoding"] == "gzip"
        async for piece in response.aiter_raw():
            packed += piece
    assert len(packed) < 2_000_000
    unpacker = zlib.decompressobj(wbits=31)
    assert len(unpacker.decompress(bytes(packed), max_length=5_000_000)) == 5_000_000
