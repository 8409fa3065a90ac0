"""Clients that send or read too slowly, and too many of them, over raw sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from app.http.connection import ConnectionLimits
from app.serving import SOCKET_MESSAGE_BYTES_MAX
from tests.conftest import Installation, Person
from tests.integration.api.raw import (
    CHUNKED,
    GOOD,
    LAST,
    LOGIN,
    UPGRADE,
    Answer,
    Connection,
    ask,
    connected,
)
from tests.integration.api.sockets import SAFETY_SECONDS
from tests.integration.api.streaming import Served, serving, sse_lines, token_of

HURRIED = ConnectionLimits(request_seconds=1.0, unread_seconds=0.6)
LONGER = 1.5 * HURRIED.request_seconds


@pytest_asyncio.fixture(scope="module")
async def served(installation: Installation) -> AsyncIterator[Served]:
    async with serving(installation) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def hurried(installation: Installation) -> AsyncIterator[Served]:
    """The same in a hurry."""
    async with serving(installation, connections=HURRIED) as running:
        yield running


UNFINISHED = [
    (b"", b"", None),
    (b"", b"\r\n", None),
    (b"G", b"", 408),
    (b"GET /", b"a", 408),
    (b"GET / HTTP/1.1\r\nHost: goblin\r\n", b"X-A: b\r\n", 408),
    (LOGIN, b"", 408),
    (LOGIN.replace(b"50", b"5000"), b"{", 408),
    (CHUNKED, b"1\r\n{\r\n", 408),
    (CHUNKED + b"0\r\n", b"X-A: b\r\n", 408),
]
LATE_AGAIN = [(b"\r\n", None), (b"GET / HTTP/1.1\r\nX: " + b"a" * 500, 408)]


async def after_dripping(connection: Connection, then: bytes) -> Answer:
    dripping = asyncio.create_task(connection.trickle(then, pause_seconds=0.02))
    answer = await connection.until_closed()
    dripping.cancel()
    return answer


@pytest_asyncio.fixture(scope="module")
async def unfinished(hurried: Served) -> list[Answer]:
    """All at once: each takes as long as a request may take."""

    async def begin(sent: bytes, then: bytes) -> Answer:
        async with connected(hurried.url) as connection:
            connection.send(sent)
            return await after_dripping(connection, then)

    return await asyncio.gather(*(begin(sent, then) for sent, then, _ in UNFINISHED))


@pytest.mark.parametrize("number", range(len(UNFINISHED)))
async def test_a_client_that_never_finishes_its_request_is_told_and_closed(
    unfinished: list[Answer], number: int
) -> None:
    answer, (_, _, status) = unfinished[number], UNFINISHED[number]
    assert answer.status == status
    if status is not None:
        answer.assert_is_refusal(408, "request_timeout")


async def test_a_request_that_is_answered_before_its_body_is_there_gets_one_answer(
    hurried: Served,
) -> None:
    text = LOGIN.replace(b"application/json", b"text/plain")
    heads = (text, text.replace(b"Content-Length: 50", b"Transfer-Encoding: chunked"))
    for answer in await asyncio.gather(*(ask(hurried.url, head) for head in heads)):
        assert answer.status == 415
        assert answer.raw.count(b"HTTP/1.1") == 1, "a second answer is the next request's"


async def test_a_client_that_has_asked_before_may_not_dawdle_either(hurried: Served) -> None:
    async def begin_again(then: bytes) -> Answer:
        async with connected(hurried.url) as connection:
            connection.send(GOOD)
            assert (await connection.one_answer()).status == 200
            return await after_dripping(connection, then)

    answers = await asyncio.gather(*(begin_again(then) for then, _ in LATE_AGAIN))
    assert [answer.status for answer in answers] == [status for _, status in LATE_AGAIN]


async def test_a_body_that_trickles_on_after_its_answer_is_not_waited_for(hurried: Served) -> None:
    async with connected(hurried.url) as connection:
        connection.send(LOGIN.replace(b"50", b"5000000"))
        answer = await after_dripping(connection, b"{")
        for _ in range(3):  # it takes a client a while to notice
            connection.send(b"{")
            await asyncio.sleep(0.02)
        assert not connection.writer.is_closing(), "a reset could take the answer along"
    assert answer.status == 413


async def test_a_client_that_sends_all_of_a_body_before_it_reads_gets_its_refusal(
    served: Served,
) -> None:
    body = b"{" * 5_000_000
    head = LOGIN.replace(b"50", b"5000000")
    for connection_header in (b"", b"Connection: close\r\n"):
        async with connected(served.url) as connection:
            connection.send(head[:-2] + connection_header + b"\r\n")
            for start in range(0, len(body), 100_000):
                connection.send(body[start : start + 100_000])
                await connection.writer.drain()
            answer = await connection.one_answer()
        assert answer.status == 413


async def test_who_waits_between_two_requests_for_less_than_the_keep_alive_is_answered_both_times(
    hurried: Served,
) -> None:
    async with connected(hurried.url) as connection:
        for seconds in (LONGER, 0):
            connection.send(GOOD)
            assert (await connection.one_answer()).status == 200
            await asyncio.sleep(seconds)


async def test_requests_that_wait_for_something_are_not_cut_by_the_clocks_of_sending(
    hurried: Served, ada: Person
) -> None:
    async with hurried.client(ada) as client:
        poll = await client.get("/events", params={"after": 99, "wait_seconds": LONGER})
        assert poll.status_code == 200
        lines = sse_lines(client)
        assert (await anext(lines)).startswith("retry")
        await asyncio.sleep(LONGER)
        await client.post("/watchlist", json={"symbol": "BTCUSDT"})
        await client.post("/users/me/deposit", json={"amount": "1"})
        async with asyncio.timeout(SAFETY_SECONDS):
            while not (await anext(lines)).startswith("data"):
                pass
        await lines.aclose()
    async with hurried.websocket() as websocket:
        await websocket.send(f'{{"token": "{token_of(ada)}", "after": 0}}')
        assert await websocket.recv()
        await asyncio.sleep(LONGER)
        await (await websocket.ping())


async def test_a_megabyte_may_come_in_many_pieces_as_long_as_it_comes_in_time(
    served: Served, ada: Person
) -> None:
    body = b'{"symbol": "BTCUSDT", "action": "x", "data": {"a": "' + b"a" * 900_000 + b'"}}'
    head = (
        "POST /log HTTP/1.1\r\nHost: goblin\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token_of(ada)}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    async with connected(served.url) as connection:
        connection.send(head.encode())
        for start in range(0, len(body), 20_000):
            connection.send(body[start : start + 20_000])
            await asyncio.sleep(0.01)
        assert (await connection.one_answer()).status == 201


async def test_a_client_that_does_not_read_its_answers_is_cut_off(hurried: Served) -> None:
    async with AsyncExitStack() as stack:
        sock = hurried.lazy_socket()
        reader, writer = await asyncio.open_connection(sock=sock, limit=2**10)
        stack.callback(writer.transport.abort)
        assert isinstance(writer.transport, asyncio.Transport)
        writer.transport.pause_reading()
        request = GOOD.replace(b"/ ", b"/openapi.json ", 1)
        async with asyncio.timeout(20):
            with pytest.raises(ConnectionError):
                while True:
                    writer.write(request)
                    await writer.drain()
                    await asyncio.sleep(0.01)
        del reader


async def until_served(url: str) -> None:
    """Ask until there is room; the server tells nobody when."""
    async with asyncio.timeout(10):
        while (await ask(url, LAST)).status != 200:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)


async def test_connections_beyond_the_limit_are_told_so_and_those_within_are_served(
    installation: Installation,
) -> None:
    few = ConnectionLimits(connections=3)
    async with serving(installation, connections=few) as served, AsyncExitStack() as stack:
        open_ones: list[Connection] = []
        for _ in range(3):
            connection = await stack.enter_async_context(connected(served.url))
            connection.send(GOOD)
            assert (await connection.one_answer()).status == 200
            open_ones.append(connection)
        answer = await ask(served.url, GOOD)
        answer.assert_is_refusal(503, "too_many_connections")
        assert "retry-after: 1" in answer.head
        open_ones[0].send(GOOD)
        assert (await open_ones[0].one_answer()).status == 200
        open_ones[0].writer.close()
        await until_served(served.url)


async def test_a_flood_of_connections_beyond_the_limit_is_dropped_and_soon_forgotten(
    installation: Installation,
) -> None:
    few = ConnectionLimits(connections=1, request_seconds=1)
    async with serving(installation, connections=few) as served:
        async with AsyncExitStack() as stack:
            flood = [await stack.enter_async_context(connected(served.url)) for _ in range(300)]
            answers = await asyncio.gather(*(each.until_closed() for each in flood))
        seen = [answer.status for answer in answers]
        assert set(seen) == {None, 503}
        assert seen.count(503) <= 256, "answered, and not more at a time than are allowed"
        await until_served(served.url)


async def test_a_message_of_ever_more_empty_pieces_is_cut_off_before_anybody_says_who_they_are(
    served: Served,
) -> None:
    beginning, piece = b"\x01\x80\0\0\0\0", b"\x00\x80\0\0\0\0"
    async with connected(served.url) as connection:
        connection.send(UPGRADE)
        assert (await connection.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        connection.send(beginning + SOCKET_MESSAGE_BYTES_MAX * piece)
        assert (await connection.until_closed()).raw == b"", "cut off, and not for being silent"


CLOSED_SECONDS_MAX = 15
"""The bound that is promised; the product's own clock is three seconds shorter."""


async def test_with_its_own_limits_the_server_closes_every_slow_client_within_fifteen_seconds(
    installation: Installation, ada: Person
) -> None:
    kinds = (
        (b"", b""),
        (b"", b"\r\n"),
        (b"GET / HTTP/1.1\r\nX: ", b"a"),
        (LOGIN.replace(b"50", b"5000"), b"{"),
        (CHUNKED, b"1\r\n{\r\n"),
        (GOOD + b"GET /", b"a"),
        (UPGRADE, b""),
    )

    async def dawdle(served: Served, sent: bytes, then: bytes) -> float:
        began = asyncio.get_running_loop().time()
        async with connected(served.url) as connection:
            connection.send(sent)
            dripping = asyncio.create_task(connection.trickle(then, pause_seconds=1))
            await connection.until_closed()
            dripping.cancel()
        return asyncio.get_running_loop().time() - began

    async def trade(served: Served, dawdlers: "asyncio.Future[list[float]]") -> int:
        count = 0
        async with served.client(ada) as client:
            while not dawdlers.done():
                assert (await client.get("/users/me")).status_code == 200
                count += 1
                await asyncio.sleep(0.1)
        return count

    async def stand_still(dawdlers: "asyncio.Future[list[float]]") -> float:
        """How many seconds nothing here ran at all, the server's clock no more than ours."""
        lost, loop = 0.0, asyncio.get_running_loop()
        while not dawdlers.done():
            began = loop.time()
            await asyncio.sleep(0.1)
            late = loop.time() - began - 0.1
            lost += late if late > 0.2 else 0.0
        return lost

    async with serving(installation) as served:
        dawdlers = asyncio.gather(*(dawdle(served, *kind) for kind in kinds for _ in range(10)))
        answered, lost = await asyncio.gather(trade(served, dawdlers), stand_still(dawdlers))
    assert answered > 10, "others are served meanwhile"
    assert max(dawdlers.result()) < CLOSED_SECONDS_MAX + lost
