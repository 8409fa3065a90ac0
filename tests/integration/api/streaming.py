"""The application on a real socket, and clients that read its event streams."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from app.core.config import Settings
from app.http.connection import ConnectionLimits
from app.main import create_app
from app.services.event_feed import EventFeed, StreamLimits
from app.serving import DEFAULT_LIMITS
from tests.conftest import Installation, Person
from tests.integration.api.sockets import SAFETY_SECONDS, served_as_goblin_serves
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed


@dataclass(frozen=True)
class Served:
    """An application that listens, with a feed of its own."""

    url: str
    feed: EventFeed

    def client(self, person: Person) -> httpx.AsyncClient:
        headers = {"Authorization": person.client.headers["Authorization"]}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=SAFETY_SECONDS)

    def websocket(self, sock: socket.socket | None = None) -> connect:
        url = self.url.replace("http", "ws") + "/ws/events"
        return connect(url, proxy=None, open_timeout=SAFETY_SECONDS, sock=sock)

    def lazy_socket(self) -> socket.socket:
        """A connection whose own buffer is small; a kernel may take 30 MB by default."""
        url = httpx.URL(self.url)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        sock.connect((url.host, url.port))
        return sock


@asynccontextmanager
async def serving(
    running: Installation,
    limits: StreamLimits | None = None,
    *,
    connections: ConnectionLimits = DEFAULT_LIMITS,
) -> AsyncIterator[Served]:
    """Serve the installation's database in this process until the block ends."""
    feed = EventFeed(limits)
    app = create_app(Settings(_env_file=None))
    app.state.resources = replace(running.resources, events=feed)
    async with served_as_goblin_serves(
        app, end_streams=feed.close, connections=connections
    ) as address:
        yield Served(url=address.url, feed=feed)


def token_of(person: Person) -> str:
    return person.client.headers["Authorization"].removeprefix("Bearer ")


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(SAFETY_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for announces nothing
            await asyncio.sleep(0.02)


async def open_events(websocket: ClientConnection, person: Person, *, after: int = 0) -> None:
    await websocket.send(json.dumps({"token": token_of(person), "after": after}))


async def sse_lines(
    client: httpx.AsyncClient, *, last: int | None = None, after: int | None = None
) -> AsyncGenerator[str, None]:
    """Every line of the stream, empty ones left out."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    params = {} if after is None else {"after": after}
    async with client.stream("GET", "/events/stream", headers=headers, params=params) as response:
        response.raise_for_status()  # who reads on elsewhere may be refused for the moment
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line:
                yield line


async def sse(
    client: httpx.AsyncClient, *, last: int | None = None, after: int | None = None
) -> AsyncGenerator[dict[str, Any], None]:
    """Every event of the stream; its id and type are those that the data says."""
    named: dict[str, str] = {}
    async with aclosing(sse_lines(client, last=last, after=after)) as lines:
        async for line in lines:
            name, _, value = line.partition(": ")
            named[name] = value
            if name == "data":
                event = json.loads(value)
                assert named["id"] == str(event["number"])
                assert named["event"] == event["type"]
                yield event


async def take(events: AsyncGenerator[dict[str, Any], None], count: int) -> list[dict[str, Any]]:
    """The next `count` events."""
    async with asyncio.timeout(SAFETY_SECONDS):
        return [await anext(events) for _ in range(count)]


async def deposit(client: httpx.AsyncClient, amount: str = "1") -> None:
    response = await client.post("/users/me/deposit", json={"amount": amount})
    assert response.status_code == 200, response.text


async def closing_code(served: Served, message: str | bytes | None) -> int | None:
    """The code that a socket is closed with after this first message, or after none."""
    async with served.websocket() as websocket, asyncio.timeout(SAFETY_SECONDS):
        if message is not None:
            await websocket.send(message)
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        return websocket.close_code
