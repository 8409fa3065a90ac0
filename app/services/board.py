"""The latest of every topic that somebody follows, with the instant at which it arrived.

Whoever streams writes here (`hear`), whoever wants to know reads (`get`) or follows. Nothing
here waits for anybody: a slow reader is told less often, never later and later.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

from app.domain.books import Book
from app.domain.instruments import Category, Symbol
from app.domain.live import Channel, LiveCandle, LiveValue, PublicTrade, Ticker, Topic, Trades

TOPICS_MAX: Final = 10_000
TRADES_KEPT: Final = 200
ROWS_UNTAKEN_MAX: Final = 1000
"""Trades or closed candles of one topic that wait for a slow reader; the oldest go first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What is known about a topic. Of trades: the last ones, ascending; of candles: one.

    `received_at` is on this process's monotonic clock, in seconds.
    """

    value: LiveValue
    received_at: float


News: TypeAlias = Ticker | Book | tuple[PublicTrade, ...] | tuple[LiveCandle, ...]
"""What is new about a topic: a state as it is now, or every trade, or every closed candle and
then the forming one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """News, and when the newest of it arrived."""

    news: News
    received_at: float


class Board:
    """One for each process. `venue` is whose prices they are, `is_fed` whether any come."""

    def __init__(
        self,
        *,
        venue: str,
        monotonic: Callable[[], float],
        topics_max: int = TOPICS_MAX,
        is_fed: bool = True,
    ) -> None:
        self.venue = venue
        self.is_fed = is_fed
        self._monotonic = monotonic
        self._topics_max = topics_max
        self._posted: dict[Topic, Posted] = {}  # the longest silent first
        self._followings: dict[Topic, set[Following]] = {}

    @property
    def topics(self) -> Collection[Topic]:
        """What something is known about."""
        return self._posted.keys()

    def hear(self, topic: Topic, value: LiveValue, *, received_at: float) -> None:
        """Post a value. A row that is older than what is known, or told again: passed over."""
        before = self._posted.pop(topic, None)
        news: News
        if isinstance(value, tuple):
            known = before.value if before is not None else ()
            assert isinstance(known, tuple), "a topic keeps its kind"
            value, news = _merged(known, value)
            if not news:  # told again, as to a process that came late
                if before is not None:
                    self._posted[topic] = before
                return
        elif isinstance(value, LiveCandle):
            if before is not None and _is_older(value, before.value):
                self._posted[topic] = before
                return
            news = (value,)
        else:
            news = value
        self._posted[topic] = Posted(value=value, received_at=received_at)
        if len(self._posted) > self._topics_max:
            del self._posted[next(iter(self._posted))]
        for following in self._followings.get(topic, ()):
            following.tell(topic, news, received_at=received_at)

    def get(self, topic: Topic) -> Posted | None:
        """What is known about a topic, however old."""
        return self._posted.get(topic)

    def age_seconds(self, posted: Posted) -> float:
        """How long ago it arrived."""
        return max(0.0, self._monotonic() - posted.received_at)

    def fresh_ticker(
        self, category: Category, symbol: Symbol, *, age_seconds_max: float
    ) -> tuple[Ticker, float] | None:
        """The ticker and its age, if it is younger than the maximum."""
        posted = self._posted.get(Topic(category, symbol, Channel.TICKER))
        if posted is None or not isinstance(posted.value, Ticker):
            return None
        age_seconds = self.age_seconds(posted)
        return (posted.value, age_seconds) if age_seconds < age_seconds_max else None

    @contextmanager
    def follow(self, topics: Collection[Topic] = ()) -> Iterator["Following"]:
        """Be told what is new about these for as long as the block runs; what is known first."""
        following = Following(self)
        try:
            following.add(topics)
            yield following
        finally:
            following.drop(list(following.topics))

    def attach(self, topic: Topic, following: "Following") -> None:
        """For Following: tell it about a topic from now on, and what is known at once."""
        self._followings.setdefault(topic, set()).add(following)
        posted = self._posted.get(topic)
        if posted is not None:
            value = posted.value
            news = (value,) if isinstance(value, LiveCandle) else value
            following.tell(topic, news, received_at=posted.received_at)

    def detach(self, topic: Topic, following: "Following") -> None:
        """For Following: tell it no more."""
        followers = self._followings.get(topic)
        if followers is not None:
            followers.discard(following)
            if not followers:
                del self._followings[topic]


class Following:
    """One reader's view: what is new since they last took it. Built by `Board.follow`.

    States are conflated: a reader who comes late gets the last one. Trades and closed candles
    wait, up to ROWS_UNTAKEN_MAX of each topic; `dropped` counts what did not fit.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._topics: set[Topic] = set()
        self._untaken: dict[Topic, Told] = {}
        self._is_told = asyncio.Event()
        self._is_enough = asyncio.Event()
        self._enough = 1
        self.dropped = 0

    @property
    def topics(self) -> AbstractSet[Topic]:
        """What is followed."""
        return self._topics

    def add(self, topics: Collection[Topic]) -> None:
        """Follow these too."""
        for topic in topics:
            if topic not in self._topics:
                self._topics.add(topic)
                self._board.attach(topic, self)

    def drop(self, topics: Collection[Topic]) -> None:
        """Follow these no more."""
        for topic in topics:
            self._topics.discard(topic)
            self._untaken.pop(topic, None)
            self._board.detach(topic, self)

    def tell(self, topic: Topic, news: News, *, received_at: float) -> None:
        """For Board: something is new."""
        if isinstance(news, tuple):
            waiting = self._untaken.get(topic)
            if waiting is not None and isinstance(waiting.news, tuple):
                news = self._joined(waiting.news, news)
        self._untaken[topic] = Told(news=news, received_at=received_at)
        self._is_told.set()
        if len(self._untaken) >= self._enough:
            self._is_enough.set()

    async def take(
        self, *, seconds_max: float, gather_seconds: float = 0.0, enough: int = 1
    ) -> Mapping[Topic, Told]:
        """What is new, by topic; waits for it as `wait` does. Empty when there is nothing."""
        await self.wait(seconds_max=seconds_max, gather_seconds=gather_seconds, enough=enough)
        return self.take_now()

    async def wait(
        self, *, seconds_max: float, gather_seconds: float = 0.0, enough: int = 1
    ) -> None:
        """Until something is new, at most `seconds_max`.

        After the first news others are waited for: `gather_seconds`, or until there is
        something about `enough` topics.
        """
        await _wait(self._is_told, seconds_max)
        if not self._untaken:
            self._is_told.clear()
            return
        self._enough = enough
        if gather_seconds > 0 and len(self._untaken) < enough:
            self._is_enough.clear()
            await _wait(self._is_enough, gather_seconds)

    def take_now(self, topics: Collection[Topic] | None = None) -> Mapping[Topic, Told]:
        """What is new and not taken yet, about these topics or all."""
        if topics is None:
            taken, self._untaken = self._untaken, {}
        else:
            taken = {t: self._untaken.pop(t) for t in topics if t in self._untaken}
        if not self._untaken:
            self._is_told.clear()
        return taken

    def _joined(
        self,
        waiting: tuple[PublicTrade, ...] | tuple[LiveCandle, ...],
        news: tuple[PublicTrade, ...] | tuple[LiveCandle, ...],
    ) -> tuple[PublicTrade, ...] | tuple[LiveCandle, ...]:
        last = waiting[-1] if waiting else None
        if isinstance(last, LiveCandle) and not last.is_closed:
            waiting = waiting[:-1]  # it has gone on
        joined = cast("Trades", waiting + news)  # or candles: one topic, one kind
        self.dropped += max(0, len(joined) - ROWS_UNTAKEN_MAX)
        return joined[-ROWS_UNTAKEN_MAX:]


async def _wait(event: asyncio.Event, seconds_max: float) -> None:
    """Until it is set, which it is when the time is over: unlike a timeout this cancels nothing."""
    alarm = asyncio.get_running_loop().call_later(seconds_max, event.set)
    try:
        await event.wait()
    finally:
        alarm.cancel()


def _merged(known: Trades, heard: Trades) -> tuple[Trades, Trades]:
    """The last trades in the venue's order, and those of `heard` that were not known."""
    ids = {trade.id for trade in known}
    news = tuple(trade for trade in heard if trade.id not in ids)
    both = sorted((*known, *news), key=lambda trade: trade.venue_time_ms)
    return tuple(both[-TRADES_KEPT:]), news


def _is_older(candle: LiveCandle, known: LiveValue) -> bool:
    """A candle that is over, a state of it from before it closed, or the same told again."""
    assert isinstance(known, LiveCandle), "a topic keeps its kind"
    if candle.open_ms != known.open_ms:
        return candle.open_ms < known.open_ms
    return candle == known or (known.is_closed and not candle.is_closed)
