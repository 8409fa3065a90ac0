"""What connected clients are told about markets: read off the board once, for all of them.

A client that takes its news in time gets the very objects that the others get, so that they are
spelled once. One that does not is told less, never later: states are conflated, trades and
closed candles wait up to a bound and what did not fit is counted.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NoReturn, TypeAlias, cast

from app.domain.errors import Refused, TooManyRequests, Unavailable
from app.domain.live import LiveCandle, Topic, Trades
from app.services.board import Board, News, Posted, Told
from app.services.demand import TOUCH_SECONDS, Demand

TICK_SECONDS: Final = 0.04
"""What arrives within a tick is told together: 25 messages a second are as much as one wants."""

IDLE_SECONDS: Final = 1.0
ROWS_MAX: Final = 200
"""Trades or candles of one topic that one message has at most."""

RETRY_SECONDS: Final = 5
SHARED_SECONDS: Final = 0.02
"""How long a text is given to others who are told the same: its ages are then off by this."""

TEXTS_KEPT: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedLimits:
    """What one process gives. Nobody has to say who they are, so an address is what is bounded."""

    connections: int = 500
    connections_per_address: int = 50
    topics: int = 1000
    """Different ones, of all connections; every one is asked of the venue."""
    topics_per_connection: int = 100
    topics_per_address: int = 500
    """The sum over its connections."""
    send_seconds: float = 10.0
    """How long a client may take nothing before it is cut off."""
    keep_alive_seconds: float = 15.0


class TooManyMarketStreams(TooManyRequests):
    """The address, or everybody together, follows markets over as many connections as there are."""

    code = "too_many_market_streams"

    def __init__(self, streams_max: int, *, whose: str) -> None:
        super().__init__(
            f"{whose} has {streams_max} market streams open already: close one",
            retry_after_seconds=RETRY_SECONDS,
        )
        self.streams_max = streams_max


class TooManyTopics(Refused):
    """A connection or an address subscribed to as much as it may."""

    code = "too_many_topics"

    def __init__(self, topics_max: int, *, whose: str) -> None:
        super().__init__(f"{whose} may subscribe to at most {topics_max} topics: unsubscribe first")
        self.topics_max = topics_max


class TopicsExhausted(Unavailable):
    """This process follows as many different topics for its clients as it may."""

    code = "topics_exhausted"

    def __init__(self) -> None:
        super().__init__("this server follows as many markets as it can: ask again later")


@dataclass(slots=True, kw_only=True, eq=False)
class Update:
    """What is new about a topic. The same object goes to everybody who takes it in time.

    `dropped` rows did not fit since the last update that was taken. `text` is for whoever
    spells it to keep what was spelled.
    """

    topic: Topic
    news: News
    received_at: float
    dropped: int = 0
    text: str | None = None


Spell: TypeAlias = Callable[[tuple[Update, ...], str, float], str]
"""Puts updates into words, given their source and the monotonic instant at which it is."""


class Subscriber:
    """One client: what it follows, and what it has not taken yet. Built by MarketFeed."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.topics: set[Topic] = set()
        self.is_closed = False
        self._untaken: dict[Topic, Update] = {}
        self._is_told = asyncio.Event()

    def tell(self, update: Update) -> None:
        """For MarketFeed: something is new."""
        waiting = self._untaken.get(update.topic)
        self._untaken[update.topic] = update if waiting is None else _joined(waiting, update)
        self._is_told.set()

    def forget(self, topic: Topic) -> None:
        """For MarketFeed: it is followed no more."""
        self._untaken.pop(topic, None)

    async def wait(self, *, seconds_max: float) -> None:
        """Until something is new or the feed is closed."""
        try:
            async with asyncio.timeout(seconds_max):
                await self._is_told.wait()
        except TimeoutError:
            return

    def take(self) -> tuple[Update, ...]:
        """What is new since the last call."""
        taken = tuple(self._untaken.values())
        self._untaken.clear()
        if not self.is_closed:
            self._is_told.clear()
        return taken

    def close(self) -> None:
        """Let it end instead of waiting any longer."""
        self.is_closed = True
        self._is_told.set()


class MarketFeed:
    """The clients of one process that follow markets."""

    def __init__(
        self,
        *,
        board: Board,
        demand: Demand,
        monotonic: Callable[[], float],
        limits: FeedLimits | None = None,
    ) -> None:
        self._monotonic = monotonic
        self._texts = lru_cache(TEXTS_KEPT)(self._spell)
        self.limits = FeedLimits() if limits is None else limits
        self._board = board
        self._demand = demand
        self._subscribers: dict[Subscriber, None] = {}
        self._connections: Counter[str] = Counter()
        self._subscriptions: Counter[str] = Counter()
        self._followers: dict[Topic, dict[Subscriber, None]] = {}
        self._held: dict[Topic, ExitStack] = {}
        self._is_closed = False
        self._stack = ExitStack()
        self._following = self._stack.enter_context(board.follow())

    @property
    def count(self) -> int:
        """How many clients there are."""
        return len(self._subscribers)

    @property
    def source(self) -> str:
        """Where all of it comes from: `Bybit:stream`."""
        return f"{self._board.venue}:stream"

    def is_followed(self, topic: Topic) -> bool:
        """Whether some client follows it, so that it is known to exist."""
        return topic in self._followers

    @contextmanager
    def subscriber(self, address: str) -> Iterator[Subscriber]:
        """A client for as long as the block runs. Raises TooManyMarketStreams."""
        if self._connections[address] >= self.limits.connections_per_address:
            raise TooManyMarketStreams(self.limits.connections_per_address, whose="this address")
        if self.count >= self.limits.connections:
            raise TooManyMarketStreams(self.limits.connections, whose="this server")
        subscriber = Subscriber(address)
        if self._is_closed:
            subscriber.close()
        self._subscribers[subscriber] = None
        self._connections[address] += 1
        try:
            yield subscriber
        finally:
            self.unsubscribe(subscriber, list(subscriber.topics))
            del self._subscribers[subscriber]
            self._connections[address] -= 1
            self._connections += Counter()  # forgets who has gone
            self._subscriptions += Counter()

    def subscribe(self, subscriber: Subscriber, topics: Collection[Topic]) -> None:
        """Tell it what is known about these at once, and what is new from now on; all or none.

        Raises TooManyTopics or TopicsExhausted.
        """
        added = [topic for topic in dict.fromkeys(topics) if topic not in subscriber.topics]
        limits = self.limits
        if len(subscriber.topics) + len(added) > limits.topics_per_connection:
            raise TooManyTopics(limits.topics_per_connection, whose="a connection")
        if self._subscriptions[subscriber.address] + len(added) > limits.topics_per_address:
            raise TooManyTopics(limits.topics_per_address, whose="an address")
        unheard = [topic for topic in added if topic not in self._followers]
        if len(self._followers) + len(unheard) > limits.topics:
            raise TopicsExhausted
        self._dispatch()  # what the others wait for, this one is told as known
        for topic in added:
            posted = self._board.get(topic)
            if posted is not None and (topic not in unheard or self._is_young(posted)):
                value = posted.value
                news = (value,) if isinstance(value, LiveCandle) else value
                subscriber.tell(Update(topic=topic, news=news, received_at=posted.received_at))
            subscriber.topics.add(topic)
            self._followers.setdefault(topic, {})[subscriber] = None
        self._subscriptions[subscriber.address] += len(added)
        for topic in unheard:
            self._held[topic] = ExitStack()
            self._held[topic].enter_context(self._demand.hold([topic]))
        self._following.add(unheard)
        self._following.take_now(unheard)  # it was told already

    def unsubscribe(self, subscriber: Subscriber, topics: Collection[Topic]) -> None:
        """Tell it no more of these; what nobody follows is no longer asked of the venue."""
        for topic in topics:
            if topic not in subscriber.topics:
                continue
            subscriber.topics.remove(topic)
            subscriber.forget(topic)
            self._subscriptions[subscriber.address] -= 1
            followers = self._followers[topic]
            del followers[subscriber]
            if not followers:
                del self._followers[topic]
                self._following.drop([topic])
                self._held.pop(topic).close()

    def text_of(self, updates: tuple[Update, ...], spell: Spell) -> str:
        """The updates in words, made once for all who are told the same at the same time."""
        return self._texts(updates, spell, int(self._monotonic() / SHARED_SECONDS))

    async def run(self) -> NoReturn:
        """Hand out what is new, tick by tick."""
        while True:
            await self._following.wait(
                seconds_max=IDLE_SECONDS, gather_seconds=TICK_SECONDS, enough=sys.maxsize
            )
            self._dispatch()

    def close(self) -> None:
        """End every client, also those to come: the process is about to stop."""
        self._is_closed = True
        for subscriber in self._subscribers:
            subscriber.close()

    def _spell(self, updates: tuple[Update, ...], spell: Spell, instant: int) -> str:
        del instant  # a key of the cache
        return spell(updates, self.source, self._monotonic())

    def _is_young(self, posted: Posted) -> bool:
        """Not from before everybody left it alone a while ago."""
        return self._board.age_seconds(posted) < TOUCH_SECONDS

    def _dispatch(self) -> None:
        for topic, told in self._following.take_now().items():
            update = _bounded(topic, told)
            for subscriber in self._followers.get(topic, ()):
                subscriber.tell(update)


def _bounded(topic: Topic, told: Told) -> Update:
    news, dropped = _newest(told.news)
    return Update(topic=topic, news=news, received_at=told.received_at, dropped=dropped)


def _joined(waiting: Update, update: Update) -> Update:
    """Both as one: the later state, or the rows of both."""
    if not isinstance(waiting.news, tuple) or not isinstance(update.news, tuple):
        return update
    rows: Sequence[object] = waiting.news
    if rows and isinstance(rows[-1], LiveCandle) and not rows[-1].is_closed:
        rows = rows[:-1]  # it has gone on
    news, dropped = _newest(cast("Trades", (*rows, *update.news)))  # or candles
    return Update(
        topic=update.topic,
        news=news,
        received_at=update.received_at,
        dropped=waiting.dropped + update.dropped + dropped,
    )


def _newest(news: News) -> tuple[News, int]:
    if not isinstance(news, tuple):
        return news, 0
    return news[-ROWS_MAX:], max(0, len(news) - ROWS_MAX)
