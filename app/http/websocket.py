"""WebSockets that hold no more of a client's than it may send, which uvicorn's own do."""

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class GuardedSocket(WebSocketsSansIOProtocol):
    """One WebSocket: not read for as long as its client does not read.

    Each ping is answered at once and none is told to the application, so that whoever sends
    them and never reads would fill the memory with answers.
    """

    def data_received(self, data: bytes) -> None:
        """Parse; a message of more pieces than it may have bytes has no end."""
        super().data_received(data)
        if len(self.frames) > self.config.ws_max_size:
            self.transport.abort()

    def pause_writing(self) -> None:
        """The client takes less than it is sent: have it wait as well."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()

    async def receive(self) -> ASGIReceiveEvent:
        """What the application is told next."""
        message = await super().receive()
        if not self.writable.is_set() and not self.transport.is_closing():
            self.transport.pause_reading()
        return message
