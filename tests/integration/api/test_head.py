"""HEAD is GET without its body, on every route that has GET."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from tests.conftest import Installation, Person
from tests.integration.api.raw import connected
from tests.integration.api.streaming import Served, eventually, serving, token_of

OF_THE_MOMENT = {"date", "x-request-id", "x-process-time"}


@pytest_asyncio.fixture(scope="module")
async def served(installation: Installation) -> AsyncIterator[Served]:
    async with serving(installation) as running:
        yield running


def lasting(response: httpx.Response) -> dict[str, str]:
    """What two answers to one question have in common."""
    return {
        name: value
        for name, value in response.headers.items()
        if name not in OF_THE_MOMENT and not name.startswith("ratelimit")
    }


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/users/me", 200),
        ("/order/", 200),
        ("/order?limit=0", 422),
        ("/order/9", 404),
        ("/market/price?symbol=BTCUSDT", 200),
        ("/market/candles?symbol=BTCUSDT&interval=1h&limit=2", 200),
        ("/account/statistics", 200),
        ("/docs", 200),
        ("/openapi.json", 200),
        ("/docs-assets/swagger-ui.css", 200),
        ("/nowhere", 404),
        ("/auth/login", 405),
    ],
)
async def test_head_has_the_status_and_headers_of_get_and_no_body(
    served: Served, ada: Person, path: str, status: int
) -> None:
    async with served.client(ada) as client:
        asked, got = await client.head(path), await client.get(path)
    assert asked.status_code == got.status_code == status
    assert lasting(asked) == lasting(got)
    assert asked.content == b""
    assert int(got.headers["content-length"]) == len(got.content) > 0


async def test_head_asks_for_a_token_where_get_does(anonymous: httpx.AsyncClient) -> None:
    response = await anonymous.head("/order")
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/events/stream", "/export/ledger"])
async def test_head_of_a_stream_ends_where_the_stream_begins_and_the_connection_lives_on(
    served: Served, installation: Installation, ada: Person, path: str
) -> None:
    def request(method: str, target: str) -> bytes:
        bearer = f"Authorization: Bearer {token_of(ada)}"
        return f"{method} {target} HTTP/1.1\r\nHost: goblin\r\n{bearer}\r\n\r\n".encode()

    async with served.client(ada) as client, client.stream("GET", path) as response:
        content_type = response.headers["content-type"]
    async with connected(served.url) as connection:
        connection.send(request("HEAD", path) + request("GET", "/"))
        head = await connection.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert f"content-type: {content_type}\r\n".encode() in head
        assert b"Welcome to goblin API" in (await connection.one_answer()).raw
    await eventually(lambda: not (served.feed.count or installation.resources.exports.count))


async def test_head_is_counted_under_its_route(anonymous: httpx.AsyncClient) -> None:
    await anonymous.head("/market/price?symbol=BTCUSDT")
    metrics = (await anonymous.get("/metrics")).text
    assert 'method="HEAD",route="/market/price",status="200"' in metrics.replace(", ", ",")
