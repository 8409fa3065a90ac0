"""The exchange's WebSocket: /v5/public/spot, linear and inverse, on the port of its REST side.

A session tells news as the clock of the exchange goes on, whether it runs or is stepped. It
behaves as the venue does; what it does wrong, it was told to (stream_faults).
"""

import asyncio
import itertools
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import chain
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from app.domain.instruments import Category
from app.replay.control import Control
from app.replay.errors import UnreadableRecording
from app.replay.feeds import FEEDS, Feed, Told, parse_name
from app.replay.frames import RecordedFeed
from app.replay.stream_faults import Break, Spoiler
from app.replay.wire import encoded

LOGGER: Final = logging.getLogger(__name__)
UVICORN_LOGGER: Final = logging.getLogger(f"{__name__}.uvicorn")
UVICORN_LOGGER.setLevel(logging.CRITICAL)  # a line for every connection, an error for a refusal
CUT: Final = "goblin.cut_connection"
DEAF: Final = "goblin.stop_reading"
PATHS: Final = {
    f"/v5/public/{category}": category
    for category in (Category.SPOT, Category.LINEAR, Category.INVERSE)
}
LOOK_SECONDS: Final = 0.02
"""How often a session looks at the exchange's clock, in real time."""
ARGS_MAX: Final = {Category.SPOT: 10}
ARGS_CHARACTERS_MAX: Final = 21_000

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_numbers = itertools.count(1)


class CuttableSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose application can cut the connection, or stop listening to it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.logger = UVICORN_LOGGER

    def handle_connect(self, event: Request) -> None:
        """Hand the application the connection's end, before it runs."""
        super().handle_connect(event)
        if hasattr(self, "scope"):  # the handshake was one
            self.scope["extensions"] |= {
                CUT: {"cut": self.transport.abort},
                DEAF: {"stop": self.transport.pause_reading},
            }


class Leave(Exception):
    """The session is over."""


async def serve_socket(control: Control, scope: Message, receive: Receive, send: Send) -> None:
    """Serve one connection until either side leaves."""
    await receive()  # the connect
    path = scope["path"]
    control.requests.record(path, None)
    spoiler = Spoiler(control.faults, path=path)
    status = 404 if path not in PATHS else spoiler.handshake_status()
    if status is not None:
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})
        return
    await send({"type": "websocket.accept"})
    session = Session(control, spoiler, scope, send)
    listening = asyncio.create_task(session.listen(receive))
    telling = asyncio.create_task(session.tell())
    _, left = await asyncio.wait({listening, telling}, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    for outcome in await asyncio.gather(listening, telling, return_exceptions=True):
        if isinstance(outcome, Exception) and not isinstance(outcome, Leave | OSError):
            raise outcome


class Session:
    """One subscriber: what they follow, and how far they have been told."""

    def __init__(self, control: Control, spoiler: Spoiler, scope: Message, send: Send) -> None:
        self._control = control
        self._spoiler = spoiler
        self._extensions = scope["extensions"]
        self._send = send
        self._path = scope["path"]
        self._category = PATHS[self._path]
        self._id = f"replay{next(_numbers):06}-goblin"
        self._feeds: dict[str, Feed] = {}
        self._opening: list[Told] = []
        self._told_ms = control.clock.now_ms()

    async def listen(self, receive: Receive) -> None:
        """Answer requests until the client leaves."""
        while (message := await receive())["type"] != "websocket.disconnect":
            answer = self._answer(message.get("text") or message.get("bytes") or "")
            for document in self._spoiler.answers(answer):
                await self._say(encoded(document))

    async def tell(self) -> None:
        """Tell what is new, as the clock of the exchange says."""
        while True:
            for told in self._news():
                for raw in self._spoiler.spoil(told):
                    await self._say(raw)
            match self._spoiler.end(self._symbols()):
                case None:
                    pass
                case int(code):
                    await self._send({"type": "websocket.close", "code": code})
                    raise Leave
                case Break.CUT:
                    self._extensions[CUT]["cut"]()
                    raise Leave
                case Break.DEAF:
                    self._extensions[DEAF]["stop"]()
            await asyncio.sleep(LOOK_SECONDS)

    def _symbols(self) -> set[str]:
        return {name.rpartition(".")[2] for name in self._feeds}

    def _news(self) -> Iterable[Told]:
        now_ms = self._control.clock.now_ms()
        opening, self._opening = self._opening, []
        made: list[Iterable[Told]] = []
        recorded: list[Told] = []
        if now_ms < self._told_ms:  # the clock was set back: everything begins anew
            opening = [item for feed in self._feeds.values() for item in feed.opening(now_ms)]
        elif now_ms > self._told_ms:
            for name, feed in self._feeds.items():
                if self._spoiler.restarts(name):
                    opening += feed.opening(now_ms)
                elif isinstance(feed, RecordedFeed):  # they have an order among each other
                    recorded += feed.news(self._told_ms, now_ms)
                else:
                    made.append(feed.news(self._told_ms, now_ms))
        self._told_ms = now_ms
        return chain(opening, *made, sorted(recorded, key=lambda one: one.order))

    async def _say(self, raw: bytes) -> None:
        if self._spoiler.is_mute:
            return
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            await self._send({"type": "websocket.send", "bytes": raw})
        else:
            await self._send({"type": "websocket.send", "text": text})

    def _answer(self, raw: str | bytes) -> Message:
        """What the venue answers to a request."""
        try:
            request = json.loads(raw)
            if not isinstance(request, dict):
                raise TypeError("not an object")  # noqa: TRY301 - answered like the rest
        except (ValueError, TypeError, RecursionError) as error:
            return self._verdict("", {}, refusal=f"Failed to decode incoming data:{error}")
        op, names = request.get("op"), request.get("args", [])
        if op == "ping":
            return self._verdict("ping", request, text="pong")
        if op not in ("subscribe", "unsubscribe"):
            return self._verdict(str(op), request, refusal="error:invalid op")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return self._verdict(op, request, refusal="Params Error")
        refusal = self._subscribe(names) if op == "subscribe" else self._unsubscribe(names)
        text = op if self._category is Category.SPOT else ""
        return self._verdict(op, request, text=text, refusal=refusal)

    def _verdict(
        self, op: str, request: Message, *, text: str = "", refusal: str | None = None
    ) -> Message:
        answer = {
            "success": refusal is None,
            "ret_msg": text if refusal is None else refusal,
            "conn_id": self._id,
            "req_id": request.get("req_id", ""),
            "op": op,
        }
        if refusal is not None and refusal.startswith("Invalid symbol"):
            del answer["req_id"]  # as recorded
        return answer

    def _subscribe(self, names: Sequence[str]) -> str | None:
        """Subscribe to all of them, or say why to none of them."""
        args_max = ARGS_MAX.get(self._category, ARGS_CHARACTERS_MAX)
        if len(names) > args_max:
            return f"args size >{args_max}"
        if sum(map(len, [*self._feeds, *names])) > ARGS_CHARACTERS_MAX:
            return "error:args too long"
        found: dict[str, Feed] = {}
        now_ms = self._control.clock.now_ms()
        for name in names:
            symbol = name.rpartition(".")[2]
            self._control.requests.record(f"{self._path} {name}", symbol)
            if name in self._feeds:
                return f"error:already subscribed,topic:{name}"
            feed = self._feed(name, now_ms)
            if feed is None or self._spoiler.refuses(name):
                if self._category is Category.SPOT:
                    return f"Invalid symbol :[{name}]"
                return f"error:handler not found,topic:{name}"
            found[name] = feed
        self._feeds |= found
        for feed in found.values():
            self._opening += feed.opening(self._told_ms)
        return None

    def _unsubscribe(self, names: Sequence[str]) -> str | None:
        for name in names:
            self._feeds.pop(name, None)
        return None

    def _feed(self, name: str, now_ms: int) -> Feed | None:
        parsed = parse_name(name)
        if parsed is None:
            return None
        kind, symbol = parsed
        try:
            instrument = self._control.market.find_listed(self._category, symbol, now_ms)
        except UnreadableRecording as error:  # its rows are read when they are first asked for
            LOGGER.error("%s", error)  # noqa: TRY400  the text says all
            return None
        if instrument is None:
            return None
        if instrument.frames is not None and name in instrument.frames.topics:
            return RecordedFeed(name, instrument.frames)
        return FEEDS[kind](name, instrument)
