"""One connection to Bybit's public WebSocket, for as long as it lasts, and then the next.

What makes it trustworthy: a connection on which nothing comes is given up, a book with a gap
or a frame that cannot be read is asked for again, and nothing heard before a snapshot counts.
"""

import asyncio
import itertools
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, NoReturn, Protocol
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from app.clients.bybit_frames import BadFrame, News, Reply, parse_frame, topic_name
from app.clients.bybit_topics import OutOfStep, Subscription
from app.clients.venue_http import LOOPBACK, USER_AGENT
from app.domain.instruments import Category
from app.domain.live import Channel, LiveValue, Topic

MESSAGE_BYTES_MAX: Final = 2**20
MESSAGES_QUEUED_MAX: Final = 64
"""Beyond this the venue is not read from until we have caught up."""

ARGS_PER_REQUEST_MAX: Final = {Category.SPOT: 10}
ARGS_PER_REQUEST_ELSEWHERE: Final = 100
REFUSED_SECONDS: Final = 300.0
"""How long a topic that the venue refuses is not asked for again."""

REFUSING_STATUSES: Final = frozenset({401, 403, 418, 429, 451})
WITH_SNAPSHOT: Final = frozenset({Channel.TICKER, Channel.TOP, Channel.BOOK})
LOST: Final = (OSError, WebSocketException, EOFError, ImportError)
"""Why a connection ends; the last is a SOCKS proxy without its library."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTimes:
    """How patient a connection is, in seconds."""

    ping: float = 20.0
    silence: float = 30.0
    """Without any frame for this long it is dead. A ping is answered, so it is longer."""
    opening: float = 10.0
    sending: float = 10.0
    look: float = 1.0
    """How often subscriptions are looked after when nothing changes."""
    start: float = 5.0
    """How long a subscription may take to say its first word before it is made again."""
    steady: float = 1.0
    """A topic that breaks sooner than this after it was asked for has to wait for `start`."""
    reconnect_min: float = 0.25
    reconnect_max: float = 5.0
    forbidden: float = 60.0
    """After a refused handshake: the venue counts attempts, and bans."""


@dataclass(slots=True, kw_only=True)
class StreamCounts:
    """What has happened so far."""

    frames: int = 0
    connections: int = 0
    losses: int = 0
    resubscriptions: int = 0
    frames_ignored: int = 0


class Hear(Protocol):
    """Whoever is told. It must return at once and not raise."""

    def __call__(self, topic: Topic, value: LiveValue, *, received_at: float) -> None:
        """`received_at` is monotonic."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every connection is handed: clock, patience, chance, and whom to tell."""

    hear: Hear
    hear_raw: Callable[[Category, str | bytes], None] | None = None
    times: StreamTimes = field(default_factory=StreamTimes)
    counts: StreamCounts = field(default_factory=StreamCounts)
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    jitter: Callable[[], float]
    """A number in [0, 1)."""


class Lost(EOFError):
    """The connection is of no use any more."""


class _Connect(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc  # a venue does not send us elsewhere


def open_socket(
    url: str, *, opening_seconds: float
) -> AbstractAsyncContextManager[ClientConnection]:
    """A connection without the library's own pings, redirects and unbounded buffers."""
    return _Connect(
        url,
        compression=None,
        proxy=None if urlsplit(url).hostname in LOOPBACK else True,
        user_agent_header=USER_AGENT,
        open_timeout=opening_seconds,
        ping_interval=None,
        close_timeout=1,
        max_size=MESSAGE_BYTES_MAX,
        max_queue=MESSAGES_QUEUED_MAX,
    )


class BybitSocket:
    """Keeps one connection of a category up, and the topics on it subscribed."""

    def __init__(self, url: str, category: Category, around: Surroundings) -> None:
        self._url = url
        self._category = category
        self._around = around
        self._times = around.times
        self._wanted: frozenset[Topic] = frozenset()
        self._has_changed = asyncio.Event()
        self._is_well = True
        self._failures = 0
        # of the connection that there is now
        self._subscribed: dict[Topic, Subscription] = {}
        self._asked: dict[str, Sequence[Topic]] = {}  # and not answered yet
        self._refused_at: dict[Topic, float] = {}
        self._numbers = itertools.count(1)

    def want(self, topics: Collection[Topic]) -> None:
        """Follow these from now on, and nothing else."""
        self._wanted = frozenset(topics)
        self._has_changed.set()

    async def run(self) -> NoReturn:
        """Connect, and connect again, until cancelled. What is lost is only logged."""
        while True:
            pause_min = 0.0
            try:
                async with open_socket(
                    self._url, opening_seconds=self._times.opening
                ) as connection:
                    self._around.counts.connections += 1
                    await self._converse(connection)
            except LOST as error:
                if isinstance(error, InvalidStatus):
                    status = error.response.status_code
                    pause_min = self._times.forbidden if status in REFUSING_STATUSES else 0.0
                self._lose(error)
            longest = min(
                self._times.reconnect_max, self._times.reconnect_min * 2 ** min(self._failures, 10)
            )
            self._failures += 1
            # Never in step with the others whom the venue has just cut off.
            await self._around.sleep(pause_min + longest * (0.5 + self._around.jitter() / 2))

    def _lose(self, error: BaseException) -> None:
        self._around.counts.losses += 1
        if self._is_well:
            self._is_well = False
            reason = type(error).__name__
            if isinstance(error, InvalidStatus):
                reason += f" {error.response.status_code}"
            _log.warning(
                "the venue's stream is away; prices are asked for until it is back",
                extra={"category": self._category.value, "reason": f"{reason}: {error}"[:200]},
            )

    async def _converse(self, connection: ClientConnection) -> None:
        self._subscribed.clear()
        self._asked.clear()
        self._refused_at.clear()
        tasks = [
            asyncio.create_task(self._listen(connection)),
            asyncio.create_task(self._look_after(connection)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _listen(self, connection: ClientConnection) -> NoReturn:
        around, counts = self._around, self._around.counts
        while True:
            try:
                async with asyncio.timeout(self._times.silence):
                    raw = await connection.recv()
            except TimeoutError:
                raise Lost(f"no frame for {self._times.silence:g} s") from None
            received_at = around.monotonic()
            counts.frames += 1
            if around.hear_raw is not None:
                around.hear_raw(self._category, raw)
            try:
                frame = parse_frame(raw, self._category)
            except BadFrame as error:
                await self._hear_bad(error, connection)
                continue
            if isinstance(frame, Reply):
                await self._hear_reply(frame, connection)
            else:
                await self._hear_news(frame, connection, received_at=received_at)

    async def _hear_news(
        self, news: News, connection: ClientConnection, *, received_at: float
    ) -> None:
        subscription = self._subscribed.get(news.topic)
        if subscription is None:  # the last of what is wanted no more
            self._around.counts.frames_ignored += 1
            return
        try:
            value = subscription.hear(news)
        except OutOfStep:
            await self._subscribe_again([news.topic], connection)
            return
        if value is not None:
            self._around.hear(news.topic, value, received_at=received_at)
        if self._failures or not self._is_well:
            self._failures = 0
            if not self._is_well:
                _log.info("the venue's stream is back", extra={"category": self._category.value})
            self._is_well = True

    async def _hear_bad(self, error: BadFrame, connection: ClientConnection) -> None:
        self._around.counts.frames_ignored += 1
        if error.topic in self._subscribed and error.topic is not None:
            await self._subscribe_again([error.topic], connection)
        elif error.is_unreadable:
            # It may have been a change of anything; only a new connection is sure to be right.
            raise Lost(str(error))

    async def _hear_reply(self, reply: Reply, connection: ClientConnection) -> None:
        if reply.op in ("ping", "pong", "unsubscribe"):
            return
        request_id = reply.request_id or self._request_named_in(reply.text)
        topics = self._asked.pop(request_id, ())
        if reply.is_success or not topics:
            return
        named = [topic for topic in topics if topic_name(topic) in _words(reply.text)]
        if not named and len(topics) == 1:
            named = list(topics)
        if "already subscribed" not in reply.text:
            now = self._around.monotonic()
            for topic in named:
                self._refused_at[topic] = now
                self._subscribed.pop(topic, None)
                _log.warning(
                    "the venue refuses a topic",
                    extra={"topic": topic_name(topic), "category": self._category.value},
                )
        # The others of the request may not have been subscribed either: each by itself, so
        # that no other refusal can hide among them.
        for topic in topics:
            if topic not in named:
                await self._ask("subscribe", [topic], connection)

    def _request_named_in(self, text: str) -> str:
        """The refusal of a spot symbol does not say which request it answers."""
        words = _words(text)
        for request_id, topics in self._asked.items():
            if any(topic_name(topic) in words for topic in topics):
                return request_id
        return ""

    async def _look_after(self, connection: ClientConnection) -> NoReturn:
        """Ping, subscribe and unsubscribe as wanted, and ask again for what does not come."""
        around = self._around
        pinged_at = around.monotonic()
        while True:
            self._has_changed.clear()
            await self._follow_wishes(connection)
            await self._subscribe_again(self._late(), connection)
            if around.monotonic() - pinged_at >= self._times.ping:
                pinged_at = around.monotonic()
                await self._send(connection, {"op": "ping", "req_id": f"p{next(self._numbers)}"})
            changing = asyncio.create_task(self._has_changed.wait())
            looking = asyncio.ensure_future(around.sleep(self._times.look))
            try:
                await asyncio.wait({changing, looking}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                changing.cancel()
                looking.cancel()

    def _late(self) -> list[Topic]:
        """What should have begun by now: it has a snapshot to begin with, or got no answer."""
        latest = self._around.monotonic() - self._times.start
        unanswered = {topic for topics in self._asked.values() for topic in topics}
        late = [
            topic
            for topic, subscription in self._subscribed.items()
            if not subscription.has_begun
            and (topic.channel in WITH_SNAPSHOT or topic in unanswered)
            and subscription.since <= latest
        ]
        for request_id, topics in list(self._asked.items()):
            if all(
                topic not in self._subscribed or self._subscribed[topic].has_begun
                for topic in topics
            ):
                del self._asked[request_id]  # news is an answer too
        return late

    async def _follow_wishes(self, connection: ClientConnection) -> None:
        now = self._around.monotonic()
        for topic, refused_at in list(self._refused_at.items()):
            if now - refused_at >= REFUSED_SECONDS or topic not in self._wanted:
                del self._refused_at[topic]
        gone = sorted(self._subscribed.keys() - self._wanted)
        new = sorted(self._wanted - self._subscribed.keys() - self._refused_at.keys())
        for topic in gone:
            del self._subscribed[topic]
        await self._ask("unsubscribe", gone, connection)
        for topic in new:
            self._subscribed[topic] = Subscription(topic, since=now)
        await self._ask("subscribe", new, connection)

    async def _subscribe_again(
        self, topics: Collection[Topic], connection: ClientConnection
    ) -> None:
        """Each at most once in a while: `_look_after` comes back to what did not help."""
        now, again = self._around.monotonic(), []
        for topic in topics:
            broken = self._subscribed[topic]
            pause = self._times.steady if broken.has_begun else self._times.start
            is_due = now - broken.since >= pause
            since = now if is_due else broken.since
            self._subscribed[topic] = Subscription(topic, since=since)
            if is_due:
                again.append(topic)
        self._around.counts.resubscriptions += len(again)
        await self._ask("unsubscribe", again, connection)
        await self._ask("subscribe", again, connection)

    async def _ask(self, op: str, topics: Iterable[Topic], connection: ClientConnection) -> None:
        rest = list(topics)
        size = ARGS_PER_REQUEST_MAX.get(self._category, ARGS_PER_REQUEST_ELSEWHERE)
        for start in range(0, len(rest), size):
            part = rest[start : start + size]
            request_id = f"{op[0]}{next(self._numbers)}"
            if op == "subscribe":
                self._asked[request_id] = part
            names = [topic_name(topic) for topic in part]
            await self._send(connection, {"req_id": request_id, "op": op, "args": names})

    async def _send(self, connection: ClientConnection, request: dict[str, object]) -> None:
        try:
            async with asyncio.timeout(self._times.sending):
                await connection.send(json.dumps(request))
        except TimeoutError:
            raise Lost("a request could not be sent") from None


def _words(text: str) -> set[str]:
    """The topics' names in a refusal: `error:handler not found,topic:tickers.X` and the like."""
    for mark in ":,[]":
        text = text.replace(mark, " ")
    return set(text.split())
