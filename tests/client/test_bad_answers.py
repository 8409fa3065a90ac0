"""Answers that are no good, or not from goblin: what is waited for, repeated, or given up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import goblin
import pytest
from bench.victims import kept_port
from tests.client.conftest import AT_ONCE
from tests.serving import everybody_is_let_in

KEY = "gob_a-key-that-nobody-may-see"


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives these answers, the last one for ever, and what it was asked."""
    left, requests = list(answers), []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        _, _, length = requests[-1].lower().partition(b"content-length: ")
        await reader.readexactly(int(length.split(b"\r")[0] or 0))  # or a reset takes the answer
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests
    finally:
        await everybody_is_let_in()
        server.close()


def http(status: str, body: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", body]).encode()


def refusal(code: str) -> str:
    return f'{{"status":"error","message":"m","detail":"m","meta":{{"code":"{code}"}}}}'


ONE_EVENT = http(
    "200 OK",
    'data: {"number": 1, "type": "deposited", "epoch": 1, "data": {}, "request_id": "x", '
    '"event_at": "2026-01-31T12:00:00Z"}\n\n',
    "Content-Type: text/event-stream; charset=utf-8",
)
SYMBOLS = http("200 OK", '{"status":"success","data":["BTCUSDT"]}')


@pytest.mark.parametrize(
    "temporary",
    [
        http("503 Service Unavailable", refusal("database_unavailable"), "Retry-After: 0"),
        http("429 Too Many Requests", refusal("rate_limited")),
        http("409 Conflict", refusal("request_in_progress")),
        http("503 Service Unavailable", "<html>a proxy", "Content-Type: text/html"),
        http("502 Bad Gateway", "<html>a proxy whose goblin starts anew"),
        http("504 Gateway Timeout", "<html>a proxy"),
        http("429 Too Many Requests", "<html>a proxy"),
        http("200 OK", "no gzip at all", "Content-Encoding: gzip"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"",
    ],
)
async def test_what_passes_is_waited_for(temporary: bytes) -> None:
    async with (
        answering(temporary, temporary, SYMBOLS) as (url, requests),
        goblin.AsyncClient(url, retries=AT_ONCE) as client,
    ):
        assert await client.log_symbols() == ("BTCUSDT",)
    assert len(requests) == 3


async def test_what_does_not_pass_is_not_repeated() -> None:
    for lasting in (
        http("409 Conflict", refusal("client_order_id_used")),
        http("500 Internal Server Error", refusal("internal_error")),
        http("502 Bad Gateway", refusal("upstream_invalid")),
        http("503 Service Unavailable", refusal("price_unavailable"), "Retry-After: 6"),
    ):
        async with (
            answering(lasting) as (url, requests),
            goblin.AsyncClient(url, retries=AT_ONCE) as client,
        ):
            with pytest.raises(goblin.GoblinError):
                await client.log_symbols()
        assert len(requests) == 1, "5 seconds are the most that it waits here"


async def test_a_stream_goes_on_when_the_proxy_in_front_of_goblin_has_found_it_again() -> None:
    gone = http("502 Bad Gateway", "<html>a proxy whose goblin starts anew")
    async with (
        answering(gone, gone, ONE_EVENT) as (url, requests),
        goblin.AsyncClient(url, retries=AT_ONCE) as client,
        aclosing(client.events()) as events,
    ):
        assert (await anext(events)).number == 1
    assert len(requests) == 3


async def test_a_stream_that_is_refused_for_now_says_so_while_it_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    full = http("429 Too Many Requests", refusal("too_many_streams"), "Retry-After: 0")
    async with (
        answering(full, ONE_EVENT) as (url, _),
        goblin.AsyncClient(url, retries=AT_ONCE) as client,
        aclosing(client.events()) as events,
    ):
        assert (await anext(events)).number == 1
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "goblin"]
    assert "too_many_streams" in warning


async def test_a_stream_goes_on_when_its_login_could_not_be_renewed_for_a_moment() -> None:
    token = '{"access_token": "a", "refresh_token": "b", "expires_in": 9, "scope": "read"}'
    expired = http("401 Unauthorized", refusal("token_expired"))
    away = http("503 Service Unavailable", refusal("database_unavailable"), "Retry-After: 0")
    renewed = http("200 OK", f'{{"status": "success", "data": {token}}}')
    async with (
        answering(expired, away, expired, renewed, ONE_EVENT) as (url, requests),
        goblin.AsyncClient(url, api_key="old", retries=AT_ONCE) as client,
        aclosing(client.events()) as events,
    ):
        client._refresh = "gor_once"  # noqa: SLF001 - as after a login
        assert (await anext(events)).number == 1
    assert len(requests) == 5


async def test_a_stream_goes_on_when_the_server_went_away_before_its_login_was_renewed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    expired = http("401 Unauthorized", refusal("token_expired"))

    async def refuse_and_leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        server.close()
        writer.write(expired)
        writer.close()
        await writer.wait_closed()

    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ONE_EVENT)
        writer.close()
        await writer.wait_closed()

    with kept_port() as port:
        server = await asyncio.start_server(refuse_and_leave, "127.0.0.1", port)
        client = goblin.AsyncClient(f"http://127.0.0.1:{port}", api_key="old", retries=AT_ONCE)
        async with client, aclosing(client.events()) as events:
            client._refresh = "gor_once"  # noqa: SLF001 - as after a login
            following = asyncio.ensure_future(anext(events))
            while not (following.done() or "nothing answers" in caplog.text):  # noqa: ASYNC110 - a log
                await asyncio.sleep(0.001)
            server = await asyncio.start_server(tell, "127.0.0.1", port)
            try:
                assert (await following).number == 1
            finally:
                await everybody_is_let_in()
                server.close()


async def test_what_may_have_been_done_behind_a_proxy_is_not_repeated_without_a_key() -> None:
    lost = http("504 Gateway Timeout", "<html>a proxy")
    async with answering(lost) as (url, requests), goblin.AsyncClient(url) as client:
        with pytest.raises(goblin.Unavailable):
            await client.create_api_key("bot")
    assert len(requests) == 1


async def test_a_change_that_has_no_idempotency_key_is_not_repeated_after_a_broken_answer() -> None:
    async with answering(b"") as (url, requests), goblin.AsyncClient(url) as client:
        with pytest.raises(goblin.ConnectionLost, match="it may have been done, or not: look"):
            await client.create_api_key("bot")
        client._refresh = "gor_once"  # noqa: SLF001 - as after a login
        with pytest.raises(goblin.ConnectionLost, match="log in again"):
            await client.refresh()
    assert len(requests) == 2


async def test_every_repetition_of_a_change_has_the_same_key_and_every_change_its_own() -> None:
    gone = http("503 Service Unavailable", refusal("x"), "Retry-After: 0")
    async with answering(gone) as (url, requests), goblin.AsyncClient(url, retries=AT_ONCE) as it:
        with pytest.raises(goblin.Unavailable):
            await it.deposit("1")
        with pytest.raises(goblin.Unavailable) as failed:
            await it.deposit("1")
    keys = [
        line.split(b": ")[1].decode()
        for request in requests
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"idempotency-key")
    ]
    each = 1 + AT_ONCE.count
    assert len(keys) == 2 * each
    assert len(set(keys[:each])) == len(set(keys[each:])) == 1
    assert keys[0] != keys[-1] == failed.value.idempotency_key


async def test_something_else_on_the_port_is_called_so() -> None:
    for other in (http("200 OK", "<html>"), http("404 Not Found", "<html>"), http("200 OK", "[]")):
        async with answering(other) as (url, _), goblin.AsyncClient(url) as client:
            with pytest.raises(goblin.BadAnswer, match="does another program listen there"):
                await client.me()
            with pytest.raises(goblin.BadAnswer, match="does another program listen there"):
                await anext(client.events())


async def test_a_key_is_not_carried_to_where_an_answer_leads_which_is_said() -> None:
    async with answering(SYMBOLS) as (elsewhere, requests):
        moved = http("308 Permanent Redirect", "", f"Location: {elsewhere}/log/symbols")
        async with answering(moved) as (url, _), goblin.AsyncClient(url, api_key=KEY) as client:
            with pytest.raises(goblin.BadAnswer, match=f"it leads to {elsewhere}/log/symbols"):
                await client.log_symbols()
    assert requests == []
