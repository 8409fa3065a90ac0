"""A WebSocket is not read while its client does not read, and no message is without end."""

import asyncio
from typing import cast

from app.http.websocket import GuardedSocket
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: goblin\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
MASK = b"\0\0\0\0"
PING, TEXT = b"\x89\x80" + MASK, b"\x81\x81" + MASK + b"x"
BEGINNING, PIECE = b"\x01\x80" + MASK, b"\x00\x80" + MASK
MESSAGE_BYTES_MAX = 100


class Wire:
    """A transport whose client reads nothing, and which calls back as asyncio's do."""

    def __init__(self) -> None:
        self.is_read = True
        self.is_cut = False

    def write(self, data: bytes) -> None:
        pass

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def close(self) -> None:
        self.is_cut = True

    abort = close

    def is_closing(self) -> bool:
        return self.is_cut

    def get_extra_info(self, name: str) -> None:
        assert name in ("socket", "sockname", "peername", "sslcontext")


async def opened(wire: Wire) -> tuple[GuardedSocket, asyncio.Event]:
    """A socket whose application reads one message, once the event is set."""
    may_read = asyncio.Event()

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await may_read.wait()
        await receive()
        may_read.clear()
        await may_read.wait()

    config = Config(app, log_config=None, ws_max_size=MESSAGE_BYTES_MAX, ws_ping_interval=None)
    opening = GuardedSocket(config, ServerState(), {})
    opening.connection_made(cast("asyncio.Transport", wire))
    opening.data_received(HANDSHAKE)
    while not opening.handshake_complete:  # noqa: ASYNC110 - a few turns of the loop
        await asyncio.sleep(0)
    return opening, may_read


async def closed(opened: GuardedSocket, may_read: asyncio.Event) -> None:
    opened.connection_lost(None)
    while opened.tasks:
        may_read.set()
        await asyncio.sleep(0)


async def test_a_client_that_does_not_read_its_pongs_is_not_read_until_it_does() -> None:
    wire = Wire()
    socket, may_read = await opened(wire)
    socket.data_received(PING)
    assert wire.is_read
    socket.pause_writing()
    assert not wire.is_read
    socket.resume_writing()
    assert wire.is_read

    socket.data_received(TEXT)
    assert not wire.is_read, "until the application has taken the message"
    socket.pause_writing()
    socket.resume_writing()
    assert not wire.is_read
    socket.pause_writing()
    may_read.set()
    while may_read.is_set():  # noqa: ASYNC110 - a few turns of the loop
        await asyncio.sleep(0)
    assert not wire.is_read, "nor because the application has"
    socket.resume_writing()
    assert wire.is_read
    await closed(socket, may_read)


async def test_a_message_of_more_pieces_than_bytes_is_cut_off() -> None:
    wire = Wire()
    socket, may_read = await opened(wire)
    socket.data_received(BEGINNING + (MESSAGE_BYTES_MAX - 1) * PIECE)
    assert not wire.is_cut
    socket.data_received(PIECE)
    assert wire.is_cut
    await closed(socket, may_read)
