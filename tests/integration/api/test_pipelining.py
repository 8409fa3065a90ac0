"""Several requests on one connection: each gets its own answer, in its turn."""

import pytest
from app.http.connection import ConnectionLimits
from tests.conftest import Person
from tests.integration.api.raw import CHUNKED, GOOD, LAST, LOGIN, UPGRADE, ask, connected
from tests.integration.api.streaming import Served, eventually, token_of


@pytest.mark.parametrize(
    "following",
    [b"nonsense\r\n\r\n", CHUNKED + b"no length\r\n", GOOD + CHUNKED + b"-1\r\n", UPGRADE],
)
async def test_what_follows_a_request_is_not_answered_in_its_place(
    served: Served, ada: Person, following: bytes
) -> None:
    poll = (
        "GET /events?after=99&wait_seconds=0.3 HTTP/1.1\r\nHost: goblin\r\n"
        f"Authorization: Bearer {token_of(ada)}\r\n\r\n"
    )
    answer = await ask(served.url, poll.encode() + following)
    assert answer.status == 200
    assert answer.raw.count(b"HTTP/1.1 200 OK\r\n") == 1 + following.count(GOOD)
    assert answer.raw.count(b"HTTP/1.1 ") == 1 + following.count(GOOD)
    assert answer.raw.count(b"connection: close\r\n") == 1


async def test_what_follows_a_body_that_came_after_its_answer_is_refused_like_any_other(
    served: Served,
) -> None:
    async with connected(served.url) as connection:
        connection.send(LOGIN.replace(b"application/json", b"text/plain"))
        assert (await connection.one_answer()).status == 415
        connection.send(b"x" * 50 + GOOD.replace(b"Host", b"Guest"))
        answer = await connection.until_closed()
    answer.assert_is_refusal(400, "malformed_request")


async def test_a_flood_of_requests_on_one_connection_is_answered_in_part_and_closed(
    served: Served, ada: Person
) -> None:
    poll = (
        "GET /events?after=99&wait_seconds=0.2 HTTP/1.1\r\nHost: goblin\r\n"
        f"Authorization: Bearer {token_of(ada)}\r\n\r\n"
    )
    waiting = ConnectionLimits().waiting
    within = await ask(served.url, poll.encode() + (waiting - 1) * GOOD + LAST)
    assert within.raw.count(b"HTTP/1.1 200 OK\r\n") == 1 + waiting
    flood = await ask(served.url, poll.encode() + 1000 * GOOD)
    answers = flood.raw.count(b"HTTP/1.1 200 OK\r\n")
    assert 1 + waiting <= answers < 1000  # more where the flood came in two pieces
    assert flood.raw.count(b"HTTP/1.1 ") == answers
    assert flood.raw.count(b"connection: close\r\n") == 1


async def test_the_stream_of_a_client_that_left_ends_whatever_it_asked_for_behind_it(
    served: Served, ada: Person
) -> None:
    stream = (
        "GET /events/stream HTTP/1.1\r\nHost: goblin\r\n"
        f"Authorization: Bearer {token_of(ada)}\r\n\r\n"
    )
    async with connected(served.url) as connection:
        connection.send(stream.encode() + 2 * GOOD)
        await eventually(lambda: served.feed.count == 1)
    await eventually(lambda: served.feed.count == 0)


@pytest.mark.parametrize("piece_bytes", [7, 10_000])
@pytest.mark.parametrize("connection", ["Upgrade, HTTP2-Settings", "close, Upgrade"])
async def test_a_wish_for_another_protocol_costs_neither_the_body_nor_what_follows(
    served: Served, ada: Person, connection: str, piece_bytes: int
) -> None:
    """curl --http2 sends that, and Java's client with each first request of a connection."""
    body = b'{"symbol": "BTCUSDT"}'
    wish = (
        "POST /watchlist HTTP/1.1\r\nHost: goblin\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token_of(ada)}\r\n"
        f"Connection: {connection}\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
    ).encode()
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)
    statuses = []
    for sent in (wish + length + body, wish + chunked + body + b"\r\n0\r\n\r\n"):
        if "close" in connection:
            request = sent
        else:
            request = sent + wish.replace(b"POST", b"GET") + b"\r\n" + LAST
        async with connected(served.url) as talking:
            for start in range(0, len(request), piece_bytes):
                talking.send(request[start : start + piece_bytes])
                await talking.writer.drain()
            answers = (await talking.until_closed()).raw.split(b"HTTP/1.1 ")[1:]
        statuses.append([int(answer.split(b" ")[0]) for answer in answers])
    if "close" in connection:
        assert statuses == [[201], [200]]
    else:
        assert statuses == [[201, 200, 200], [200, 200, 200]]


async def test_a_request_that_is_refused_for_its_body_has_changed_nothing(
    served: Served, ada: Person
) -> None:
    """Also where nobody is interested in the body: DELETE was carried out by its head alone."""
    head = (
        "DELETE /watchlist/BTCUSDT HTTP/1.1\r\nHost: goblin\r\n"
        f"Authorization: Bearer {token_of(ada)}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    async with served.client(ada) as client:
        assert (await client.post("/watchlist", json={"symbol": "BTCUSDT"})).status_code == 201
        refused = await ask(served.url, head + b"no length\r\n")
        refused.assert_is_refusal(400, "malformed_request")
        assert (await client.delete("/watchlist/BTCUSDT")).status_code == 200
