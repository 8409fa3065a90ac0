"""Streaming events at the consumer's own pace: as Server-Sent Events, and over a WebSocket.

Events are read from their table when the consumer has taken the ones before, so nothing
piles up here; a consumer that takes nothing for some seconds is cut off and can resume.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from fastapi import WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.domain.access import Caller
from app.domain.errors import GoblinError
from app.domain.events import NumberedEvent
from app.http.dependencies import authenticate
from app.http.errors import status_of
from app.http.slow_readers import TooSlow, in_time
from app.resources import Resources
from app.services.event_reader import follow

Spell = Callable[[NumberedEvent], str]
"""One event as JSON on one line."""

RETRY_MILLISECONDS: Final = 1000
CLOSE_RESTARTING: Final = 1012
CLOSE_BAD_MESSAGE: Final = 4400
CLOSE_REASON_CHARACTERS_MAX: Final = 100

STREAM_HEADERS: Final = {
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",  # a proxy that gathers would hold events back
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """Whose events are streamed after which number, and what allows it."""

    resources: Resources
    caller: Caller
    after: int
    secret: str | None = field(repr=False)

    @property
    def send_seconds_max(self) -> float:
        """How long a consumer may take for one message."""
        return self.resources.events.limits.send_seconds

    @asynccontextmanager
    async def batches(self) -> AsyncIterator[AsyncGenerator[Sequence[NumberedEvent], None]]:
        """What `follow` gives. Raises TooManyStreams or StreamsExhausted at the beginning."""
        feed = self.resources.events
        with feed.reader(
            self.caller.user.id, after=self.after, credential=self.caller.credential
        ) as reader:
            events = follow(
                self.resources.db,
                reader,
                recheck=partial(authenticate, self.resources, self.secret),
                limits=feed.limits,
            )
            async with aclosing(events):
                yield events

    def log_cut(self) -> None:
        """Write down that the consumer was too slow."""
        _log.warning(
            "a slow consumer of events was cut off", extra={"user_id": self.caller.user.id}
        )


class EventStream(StreamingResponse):
    """Server-Sent Events; an error before the first byte is answered like any other."""

    media_type = "text/event-stream"

    def __init__(self, following: Following, spell: Spell) -> None:
        super().__init__((), headers=STREAM_HEADERS)
        self._following = following
        self._spell = spell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the server stops, the token does not count any more, or nobody reads."""
        send_in_time = in_time(send, seconds_max=self._following.send_seconds_max)
        async with (
            self._following.batches() as batches,
            aclosing(_blocks(batches, self._spell)) as self.body_iterator,
        ):
            try:
                await super().__call__(scope, receive, send_in_time)
            except TooSlow:  # the unfinished answer makes the server close the connection
                self._following.log_cut()


async def _blocks(
    batches: AsyncGenerator[Sequence[NumberedEvent], None], spell: Spell
) -> AsyncGenerator[str, None]:
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    try:
        async for batch in batches:
            for event in batch:
                yield f"id: {event.number}\nevent: {event.type}\ndata: {spell(event)}\n\n"
            if not batch:
                yield ": keep-alive\n\n"
    except GoblinError as error:  # the client asks again and is told with a status
        yield f": {error.message}\n\n"


async def send_events(websocket: WebSocket, following: Following, spell: Spell) -> None:
    """Each event as one text message, until either side leaves. Raises GoblinError."""
    async with following.batches() as batches:
        sending = asyncio.create_task(_send_all(websocket, batches, following, spell))
        listening = asyncio.create_task(websocket.receive())
        try:
            await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, listening):
                task.cancel()
            await asyncio.gather(sending, listening, return_exceptions=True)
    try:
        if not sending.cancelled():
            sending.result()
            await close_socket(websocket, CLOSE_RESTARTING, "the server stops: connect again")
        elif listening.result()["type"] == "websocket.receive":
            await close_socket(websocket, CLOSE_BAD_MESSAGE, "one message is all that is expected")
    except TooSlow:
        following.log_cut()
    except WebSocketDisconnect:
        pass


async def _send_all(
    websocket: WebSocket,
    batches: AsyncGenerator[Sequence[NumberedEvent], None],
    following: Following,
    spell: Spell,
) -> None:
    send = in_time(websocket.send, seconds_max=following.send_seconds_max)
    async for batch in batches:
        for event in batch:
            await send({"type": "websocket.send", "text": spell(event)})


async def close_socket(websocket: WebSocket, code: int, reason: str) -> None:
    """Say goodbye, if anybody is still there to hear it."""
    with suppress(WebSocketDisconnect, TimeoutError):
        async with asyncio.timeout(1):
            await websocket.close(code, reason[:CLOSE_REASON_CHARACTERS_MAX])


async def close_for(websocket: WebSocket, error: GoblinError) -> None:
    """Close with 4000 + the status that HTTP would answer: 4401 for a wrong token."""
    await close_socket(websocket, 4000 + status_of(type(error)), error.message)
