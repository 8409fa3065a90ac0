"""Answers that leave as a whole: what uvicorn writes in pieces, put together again."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

HEAD_START: Final = b"HTTP/1.1 "


class WholeAnswers:
    """What uvicorn writes its answers to: the transport, which gets a head and its body at once.

    Two writes would cost two system calls, and wake a client for a head alone. A head whose
    body is not there yet, as that of a stream, goes out as soon as the loop comes round.
    """

    __slots__ = ("_close", "_head", "_loop", "_transport")

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        *,
        close: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._close = close
        self._head = b""

    def write(self, data: bytes) -> None:
        """Write, or wait for what comes next."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        elif data.startswith(HEAD_START):
            self._head = data
            self._loop.call_soon(self.flush)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Write what waits, unless the client has gone; uvloop's transport would raise."""
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)

    def close(self) -> None:
        """Have the connection closed once everything is written."""
        self.flush()
        self._close()

    def get_extra_info(self, name: str) -> Any:
        """What the transport knows of its socket, as who is at its other end."""
        return self._transport.get_extra_info(name)

    def __getattr__(self, name: str) -> Any:
        """Whatever else is asked of a transport."""
        return getattr(self._transport, name)
