"""Requests that are no HTTP, too much of it, or could be read as two different ones."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.conftest import Installation, Person
from tests.integration.api.raw import CHUNKED, GOOD, ask, connected
from tests.integration.api.streaming import Served, serving, token_of


@pytest_asyncio.fixture(scope="module")
async def served(installation: Installation) -> AsyncIterator[Served]:
    async with serving(installation) as running:
        yield running


BAD = {
    "both lengths": GOOD.replace(
        b"\r\n\r\n", b"\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "two lengths": GOOD.replace(
        b"\r\n\r\n", b"\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"
    ),
    "two equal lengths": GOOD.replace(
        b"\r\n\r\n", b"\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"
    ),
    "a negative length": GOOD.replace(b"\r\n\r\n", b"\r\nContent-Length: -5\r\n\r\n"),
    "a length that is no number": GOOD.replace(b"\r\n\r\n", b"\r\nContent-Length: 5x\r\n\r\n"),
    "lines that end in LF": GOOD.replace(b"\r\n", b"\n"),
    "a NUL in a header": GOOD.replace(b"goblin", b"gob\0lin"),
    "a space before the colon": GOOD.replace(b"Host:", b"Host :"),
    "a folded header": GOOD.replace(b"\r\n\r\n", b"\r\nX: a\r\n b\r\n\r\n"),
    "an unknown coding": GOOD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunke\r\n\r\n"),
    "a chunk of no number": CHUNKED + b"xyz\r\n",
    "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": GOOD.replace(b"\r\n\r\n", b"\r\nHost: other\r\n\r\n"),
    "no version": b"GET / HTTP/9.9\r\nHost: goblin\r\n\r\n",
    "a URL with a space": GOOD.replace(b"/ ", b"/a b ", 1),
    "a URL that is not ASCII": GOOD.replace(b"/ ", b"/\xff ", 1),
    "an upgrade with a body": GOOD.replace(
        b"\r\n\r\n",
        b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_two_servers_could_read_differently_is_refused(
    served: Served, name: str
) -> None:
    answer = await ask(served.url, BAD[name])
    answer.assert_is_refusal(400, "malformed_request")


@pytest.mark.parametrize("piece_bytes", [16_384, 100_000])
@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (GOOD.replace(b"/ ", b"/" + b"a" * 70_000 + b" ", 1), 414, "url_too_long"),
        (GOOD.replace(b"/ ", b"/?" + b"a" * 8_191 + b" ", 1), 414, "url_too_long"),
        (GOOD.replace(b"goblin", b"g" * 70_000), 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: " + b"g" * 70_000, 431, "headers_too_large"),
        (GOOD.replace(b"\r\n\r\n", b"\r\nA: b" * 100 + b"\r\n\r\n"), 431, "headers_too_large"),
        (CHUNKED + b"0\r\n" + b"A: b\r\n" * 100, 431, "headers_too_large"),
        (CHUNKED + b"0\r\nA: " + b"b" * 70_000, 431, "headers_too_large"),
        (CHUNKED + b"1;" + b"a" * 70_000, 431, "headers_too_large"),
    ],
)
async def test_a_flood_of_headers_is_refused_without_being_gathered(
    served: Served, request_bytes: bytes, status: int, code: str, piece_bytes: int
) -> None:
    async with connected(served.url) as connection:
        for start in range(0, len(request_bytes), piece_bytes):
            connection.send(request_bytes[start : start + piece_bytes])
            await asyncio.sleep(0.01)  # as pieces of a stream, not in one read
        answer = await connection.until_closed()
    answer.assert_is_refusal(status, code)


@pytest.mark.parametrize(
    "request_bytes",
    [
        GOOD.replace(b"/ ", b"/?" + b"a" * 8_190 + b" ", 1),
        GOOD.replace(b"\r\n\r\n", b"\r\nA: b" * 99 + b"\r\n\r\n"),
        GOOD.replace(b"\r\n\r\n", b"\r\nA: " + b"b" * 32_000 + b"\r\n\r\n"),
        b"GET / HTTP/1.0\r\n\r\n",
    ],
)
async def test_what_is_just_within_the_limits_is_served(
    served: Served, request_bytes: bytes
) -> None:
    async with connected(served.url) as connection:
        connection.send(request_bytes)
        assert (await connection.one_answer()).status == 200


@pytest.mark.parametrize(
    "trailer",
    [
        "Authorization: Bearer {token}",
        "X-API-Key: gk_a",
        "Host: other",
        "Idempotency-Key: (",
        "A: b",
    ],
)
async def test_what_stands_behind_a_body_is_no_header(
    served: Served, ada: Person, trailer: str
) -> None:
    """A proxy in front looks at the headers alone (RFC 9110, section 6.5.1)."""
    body = b'{"symbol": "BTCUSDT"}'
    chunked = b"%x\r\n%b\r\n0\r\n%b\r\n\r\n" % (
        len(body),
        body,
        trailer.format(token=token_of(ada)).encode(),
    )
    head = CHUNKED.replace(b"/auth/login", b"/watchlist")
    assert (await ask(served.url, _closing(head) + chunked)).status == 401
    credential = f"Authorization: Bearer {token_of(ada)}\r\n\r\n".encode()
    assert (await ask(served.url, _closing(head)[:-2] + credential + chunked)).status == 201


def _closing(head: bytes) -> bytes:
    return head[:-2] + b"Connection: close\r\n\r\n"


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PROPFIND", "CONNECT", "BREW", "get"])
async def test_a_method_that_goblin_does_not_have_is_405_with_those_that_it_has(
    served: Served, method: str
) -> None:
    target = "goblin:80" if method == "CONNECT" else "/"
    request = f"{method} {target} HTTP/1.1\r\nHost: goblin\r\nConnection: close\r\n\r\n"
    answer = await ask(served.url, request.encode())
    assert answer.status == 405, answer.raw
    assert "allow: " in answer.head
    assert "GET" in answer.raw.decode()
    assert answer.json()["meta"]["code"] == "method_not_allowed"
