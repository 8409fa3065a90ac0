"""Telling clients about markets at their own pace: as Server-Sent Events, and over a WebSocket.

Nothing piles up for a client that does not take it: the feed keeps the latest for each topic. One
that takes nothing for some seconds is cut off.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from fastapi import WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.domain.live import Topic
from app.http.event_stream import (
    CLOSE_BAD_MESSAGE,
    CLOSE_RESTARTING,
    RETRY_MILLISECONDS,
    STREAM_HEADERS,
    close_socket,
)
from app.http.slow_readers import TooSlow, in_time
from app.services.market_feed import MarketFeed, Spell, Subscriber

Reply = Callable[[Subscriber, str], Awaitable[str]]
"""Does what a client's message says, and answers it."""

UPDATE: Final = '{"type":"update","data":'

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """One client: who it is to the feed, and how updates are put into words."""

    feed: MarketFeed
    address: str
    spell: Spell

    def text_of(self, subscriber: Subscriber) -> str:
        """What it has not taken yet, as a JSON list; empty when there is nothing."""
        updates = subscriber.take()
        return self.feed.text_of(updates, self.spell) if updates else ""

    def log_cut(self) -> None:
        """Write down that the client was too slow."""
        _log.warning("a slow follower of markets was cut off", extra={"address": self.address})


class MarketStream(StreamingResponse):
    """Server-Sent Events; an error before the first byte is answered like any other."""

    media_type = "text/event-stream"

    def __init__(self, telling: Telling, topics: tuple[Topic, ...]) -> None:
        super().__init__((), headers=STREAM_HEADERS)
        self._telling = telling
        self._topics = topics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the server stops or nobody reads. Raises as MarketFeed does."""
        feed = self._telling.feed
        send_in_time = in_time(send, seconds_max=feed.limits.send_seconds)
        with feed.subscriber(self._telling.address) as subscriber:
            feed.subscribe(subscriber, self._topics)
            async with aclosing(_blocks(self._telling, subscriber)) as self.body_iterator:
                try:
                    await super().__call__(scope, receive, send_in_time)
                except TooSlow:  # the unfinished answer makes the server close it
                    self._telling.log_cut()


async def _blocks(telling: Telling, subscriber: Subscriber) -> AsyncGenerator[str, None]:
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    while True:
        await subscriber.wait(seconds_max=telling.feed.limits.keep_alive_seconds)
        if subscriber.is_closed:
            return
        text = telling.text_of(subscriber)
        yield f"event: update\ndata: {text}\n\n" if text else ": keep-alive\n\n"


async def serve_market_socket(websocket: WebSocket, telling: Telling, reply: Reply) -> None:
    """Answer what the client says and tell it what is new, until either side leaves.

    Raises TooManyMarketStreams.
    """
    with telling.feed.subscriber(telling.address) as subscriber:
        sending = asyncio.Lock()  # so that an answer comes before the news that it brings
        tasks = {
            asyncio.create_task(_tell(websocket, telling, subscriber, sending)),
            asyncio.create_task(_listen(websocket, telling, subscriber, sending, reply)),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    try:
        for task in done:
            task.result()
        if subscriber.is_closed:
            await close_socket(websocket, CLOSE_RESTARTING, "the server stops: connect again")
    except TooSlow:
        telling.log_cut()
    except WebSocketDisconnect:
        pass
    except ValueError as error:
        await close_socket(websocket, CLOSE_BAD_MESSAGE, str(error))


async def _tell(
    websocket: WebSocket, telling: Telling, subscriber: Subscriber, sending: asyncio.Lock
) -> None:
    limits = telling.feed.limits
    while not subscriber.is_closed:
        await subscriber.wait(seconds_max=limits.keep_alive_seconds)
        async with sending:
            text = telling.text_of(subscriber)
            if text:
                await _send(websocket, f"{UPDATE}{text}}}", seconds_max=limits.send_seconds)


async def _listen(
    websocket: WebSocket,
    telling: Telling,
    subscriber: Subscriber,
    sending: asyncio.Lock,
    reply: Reply,
) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        if text is None:
            raise ValueError("messages are JSON texts")
        async with sending:
            answer = await reply(subscriber, text)
            await _send(websocket, answer, seconds_max=telling.feed.limits.send_seconds)


async def _send(websocket: WebSocket, text: str, *, seconds_max: float) -> None:
    send = in_time(websocket.send, seconds_max=seconds_max)
    await send({"type": "websocket.send", "text": text})
