"""A client that sends bytes as they are, well-formed or not."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.integration.api.sockets import SAFETY_SECONDS

GOOD = b"GET / HTTP/1.1\r\nHost: goblin\r\n\r\n"
LAST = GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
LOGIN = (
    b"POST /auth/login HTTP/1.1\r\nHost: goblin\r\nContent-Type: application/json\r\n"
    b"Content-Length: 50\r\n\r\n"
)
CHUNKED = LOGIN.replace(b"Content-Length: 50", b"Transfer-Encoding: chunked")
UPGRADE = (
    b"GET /ws/events HTTP/1.1\r\nHost: goblin\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@dataclass(frozen=True)
class Answer:
    """What came back on a connection until the server closed it, or one answer of it."""

    raw: bytes

    @property
    def status(self) -> int | None:
        """None when the connection was closed without a word."""
        return int(self.raw.split(b" ", 2)[1]) if self.raw else None

    @property
    def head(self) -> str:
        return self.raw.partition(b"\r\n\r\n")[0].decode().lower()

    def json(self) -> dict[str, Any]:
        found = json.loads(self.raw.partition(b"\r\n\r\n")[2])
        assert isinstance(found, dict)
        return found

    def assert_is_refusal(self, status: int, code: str) -> None:
        """The envelope, as any other error has it."""
        body = self.json()
        assert self.status == status, body
        assert set(body) == {"status", "message", "detail", "meta"}
        assert body["status"] == "error"
        assert body["detail"] == body["message"]
        assert body["meta"]["code"] == code
        assert f"x-request-id: {body['meta']['request_id']}" in self.head
        assert "connection: close" in self.head
        assert "server:" not in self.head


class _KeepingReader(asyncio.StreamReader):
    """A reset ends what was received, as any close does; asyncio's own would throw it away."""

    def set_exception(self, exc: Exception) -> None:
        if isinstance(exc, ConnectionError):
            self.feed_eof()
        else:
            super().set_exception(exc)


@dataclass(frozen=True)
class Connection:
    """One connection of the client's."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def trickle(self, data: bytes, *, pause_seconds: float) -> None:
        """Byte by byte, for ever, until the server has had enough."""
        if not data:
            return
        # Around the writer: when that fails it takes away what is yet to be read.
        with self.writer.get_extra_info("socket").dup() as drip, suppress(ConnectionError):
            while not self.reader.at_eof():
                for byte in data:
                    drip.send(bytes([byte]))
                    await asyncio.sleep(pause_seconds)
                    if self.reader.at_eof():
                        return

    async def until_closed(self) -> Answer:
        """Everything until the server closes."""
        async with asyncio.timeout(SAFETY_SECONDS):
            return Answer(await self.reader.read())

    async def one_answer(self) -> Answer:
        """One answer that has a length; the connection stays open."""
        async with asyncio.timeout(SAFETY_SECONDS):
            head = await self.reader.readuntil(b"\r\n\r\n")
            _, _, after = head.lower().partition(b"content-length: ")
            return Answer(head + await self.reader.readexactly(int(after.split(b"\r", 1)[0])))


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    address, loop = urlsplit(url), asyncio.get_running_loop()
    reader = _KeepingReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    host, port = address.hostname or "", address.port or 0
    transport, _ = await loop.create_connection(lambda: protocol, host, port)
    try:
        yield Connection(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
    finally:
        transport.abort()


async def ask(url: str, data: bytes) -> Answer:
    """What the server says to these bytes before it closes."""
    async with connected(url) as connection:
        connection.send(data)
        return await connection.until_closed()
