"""The client against real sockets that hang, drip, break off, flood and explode."""

import asyncio
import gc
import gzip
import json
import socket
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from app.clients.bybit import BybitClient
from app.clients.venue_http import CONNECTIONS_MAX, RESPONSE_BYTES_MAX, venue_http_client
from app.domain.errors import UpstreamInvalid, UpstreamUnavailable
from app.domain.instruments import Category, Symbol
from tests.integration.clients.sockets import http_answer, listening, read_request

BTCUSDT = Symbol("BTCUSDT")
ANSWER = {
    "retCode": 0,
    "retMsg": "OK",
    "result": {"category": "spot", "list": [{"symbol": "BTCUSDT", "lastPrice": "29208.01"}]},
    "retExtInfo": {},
    "time": 1_692_163_162_284,
}


async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def trickle_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def trickle_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def drop(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await read_request(reader)


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.transport.abort()


async def truncate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(http_answer(json.dumps(ANSWER).encode())[:-1])
    await writer.drain()


async def speak_no_http(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 ftp.example.org ready\r\n")
    await writer.drain()


@pytest.mark.parametrize(
    "behaviour", [hang, trickle_head, trickle_body, drop, reset, truncate, speak_no_http]
)
async def test_a_server_that_does_not_answer_properly_in_time_is_unavailable(
    behaviour: Callable[..., Any],
) -> None:
    async with listening(behaviour) as url, venue_http_client(url) as http:
        with pytest.raises(UpstreamUnavailable):
            await BybitClient(http, timeout_seconds=0.3).fetch_quote(BTCUSDT, Category.SPOT)


async def test_nobody_listening_is_unavailable() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        async with venue_http_client(url) as http:
            with pytest.raises(UpstreamUnavailable):
                await BybitClient(http, timeout_seconds=60).fetch_quote(BTCUSDT, Category.SPOT)


async def test_a_server_without_tls_is_unavailable_over_https() -> None:
    async with (
        listening(speak_no_http) as url,
        venue_http_client(url.replace("http:", "https:")) as http,
    ):
        with pytest.raises(UpstreamUnavailable):
            await BybitClient(http, timeout_seconds=60).fetch_quote(BTCUSDT, Category.SPOT)


async def test_a_tls_handshake_that_never_ends_leaves_no_socket_behind() -> None:
    async with (
        listening(hang) as url,
        venue_http_client(url.replace("http:", "https:")) as http,
    ):
        with pytest.raises(UpstreamUnavailable):
            await BybitClient(http, timeout_seconds=0.3).fetch_quote(BTCUSDT, Category.SPOT)
        gc.collect()  # a forgotten socket warns when it is collected, and warnings are errors


async def test_nor_does_one_whose_caller_leaves() -> None:
    shaking_hands = asyncio.Event()

    async def hear(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        shaking_hands.set()
        await reader.read()

    async with (
        listening(hear) as url,
        venue_http_client(url.replace("http:", "https:")) as http,
    ):
        client = BybitClient(http, timeout_seconds=30)
        asking = asyncio.create_task(client.fetch_quote(BTCUSDT, Category.SPOT))
        await shaking_hands.wait()
        asking.cancel()
        await asyncio.wait([asking])
        del asking
        gc.collect()


async def test_calls_that_timed_out_give_their_connections_back() -> None:
    well = asyncio.Event()

    async def sick_then_well(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await well.wait()
            writer.write(http_answer(json.dumps(ANSWER).encode()))
            await writer.drain()

    async with listening(sick_then_well) as url, venue_http_client(url) as http:
        hasty = BybitClient(http, timeout_seconds=0.2)
        answers = await asyncio.gather(
            *(hasty.fetch_quote(BTCUSDT, Category.SPOT) for _ in range(2 * CONNECTIONS_MAX)),
            return_exceptions=True,
        )
        assert {type(answer) for answer in answers} == {UpstreamUnavailable}
        well.set()
        patient = BybitClient(http, timeout_seconds=60)
        for _ in range(CONNECTIONS_MAX + 1):
            await patient.fetch_quote(BTCUSDT, Category.SPOT)


async def test_one_connection_serves_one_call_after_the_other() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_request(reader)
            writer.write(http_answer(json.dumps(ANSWER).encode()))
            await writer.drain()

    async with listening(serve) as url, venue_http_client(url) as http:
        source = BybitClient(http, timeout_seconds=60)
        for _ in range(5):
            await source.fetch_quote(BTCUSDT, Category.SPOT)
    assert connections == 1


@pytest.mark.parametrize(
    "encoding", [b"", b"Content-Encoding: gzip\r\n", b"Content-Encoding: gzip, gzip\r\n"]
)
async def test_a_body_of_100_megabytes_is_not_read_to_its_end(encoding: bytes) -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + encoding + b"Content-Length: 100000000\r\n\r\n")
        while sent < 100_000_000:
            writer.write(b" " * 100_000)
            await writer.drain()
            sent += 100_000

    async with listening(pour) as url, venue_http_client(url) as http:
        with pytest.raises(UpstreamInvalid):
            await BybitClient(http, timeout_seconds=60).fetch_quote(BTCUSDT, Category.SPOT)
    assert sent < 50_000_000


async def test_a_gzip_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(200_000_000), compresslevel=9)
    assert len(bomb) < RESPONSE_BYTES_MAX
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"

    async def explode(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(http_answer(bomb, head=head))
        await writer.drain()
        await reader.read()

    async with listening(explode) as url, venue_http_client(url) as http:
        source = BybitClient(http, timeout_seconds=60)
        tracemalloc.start()
        try:
            with pytest.raises(UpstreamInvalid):
                await source.fetch_quote(BTCUSDT, Category.SPOT)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 20_000_000


async def test_a_venues_cookies_do_not_pile_up() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        head = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\n"
        writer.write(http_answer(json.dumps(ANSWER).encode(), head=head))
        await writer.drain()
        await reader.read()

    async with listening(serve) as url, venue_http_client(url) as http:
        await BybitClient(http, timeout_seconds=60).fetch_quote(BTCUSDT, Category.SPOT)
        assert len(http.cookies) == 0


async def test_a_proxy_of_the_environment_never_stands_before_this_machine_itself() -> None:
    for url in ("http://127.0.0.1:8100", "http://localhost:8100", "http://[::1]:8100"):
        async with venue_http_client(url) as http:
            assert not http.trust_env
    async with venue_http_client("https://api.bybit.com") as http:
        assert http.trust_env
