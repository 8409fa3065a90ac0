"""The market's streams: one process follows the venue and tells the others.

Which one it is, a lease says. Its term fences everything that is told: PostgreSQL sends no
notification of a term that is over, and who listens passes over a term lower than another it
has heard of.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NoReturn

from app.db.address import DatabaseAddress
from app.db.connection import Connection
from app.db.dao import followed_symbols, leases
from app.db.database import Database
from app.db.errors import DatabaseBusy, DatabaseUnavailable
from app.db.lease import Lease, LeaseLost, hold_lease
from app.db.notifications import open_channel
from app.domain.instruments import Category, is_tradeable
from app.domain.live import Channel, LiveCandle, Topic
from app.services.board import Board
from app.services.demand import Demand
from app.services.live_candles import LiveCandles
from app.services.ports import MarketSource, MarketStream, OpenStream
from app.services.relay import (
    VALUES_PER_TEXT_MAX,
    Listener,
    Speller,
    read_wishes,
    spell_wishes,
)

LEASE: Final = "market streams"
CHANNEL: Final = "goblin_market"
STORED_SYMBOLS_MAX: Final = 500

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayTimes:
    """Seconds. With these another process streams within ten seconds of the last one's end."""

    lease: float = 4.0
    renew: float = 1.0
    retry: float = 0.5
    batch: float = 0.05
    tell_wishes: float = 5.0
    """How often a process says what it wants, besides when that changes."""
    keep_wishes: float = 15.0
    """How long it is believed to."""
    wishes_pause: float = 0.1
    store: float = 0.5
    """How long closed candles are gathered, to be stored together."""
    fill_retry: float = 5.0
    look_up: float = 15.0
    """How often watchlists and open orders are looked up."""


@dataclass(slots=True, kw_only=True)
class Streaming:
    """What the two jobs of one process share. `holder` names the process."""

    address: DatabaseAddress
    db: Database
    board: Board
    demand: Demand
    open_stream: OpenStream
    source: MarketSource
    """Whom to ask for candles that the stream could not tell."""
    monotonic: Callable[[], float]
    holder: str
    listener: Listener
    times: RelayTimes = field(default_factory=RelayTimes)
    term: int | None = None
    """The term in which this process streams, None while it does not."""
    others: Demand = field(init=False)
    """What the other processes want."""
    unknown: set[Topic] = field(default_factory=set)
    """What some of them want and know nothing about yet."""
    followed_since: Mapping[Topic, float] = field(default_factory=dict)
    """When the stream of this term was told to follow what it follows."""

    def __post_init__(self) -> None:
        self.others = Demand(monotonic=self.monotonic)


async def ingest(streaming: Streaming) -> NoReturn:
    """Follow the venue whenever this process holds the lease. Raises DatabaseUnavailable."""
    times = streaming.times
    while True:
        try:
            async with hold_lease(
                streaming.address,
                name=LEASE,
                holder=streaming.holder,
                seconds=times.lease,
                retry_seconds=times.retry,
            ) as lease:
                _log.info("this process streams the market", extra={"term": lease.term})
                streaming.term = streaming.listener.term = lease.term
                await _ingest(streaming, lease)
        except LeaseLost:
            _log.warning("another process streams the market now")
        finally:
            streaming.term = None


async def _ingest(streaming: Streaming, lease: Lease) -> None:
    stream = streaming.open_stream(streaming.board.hear)
    streaming.followed_since = {}
    candles = LiveCandles(
        streaming.db,
        streaming.source,
        fence=partial(_require_term, term=lease.term),
        retry_seconds=streaming.times.fill_retry,
    )
    await _together(
        stream.run(),
        _renew(lease, seconds=streaming.times.renew),
        _steer(streaming, stream),
        _look_up(streaming),
        _tell(streaming, lease),
        _store_candles(streaming, candles),
        candles.fill_holes(),
    )


async def _require_term(conn: Connection, *, term: int) -> None:
    """Raise LeaseLost unless the term goes on, as it then does until the transaction ends."""
    if not await leases.lock_lease(conn, name=LEASE, term=term):
        raise LeaseLost(LEASE, term)


async def _store_candles(streaming: Streaming, candles: LiveCandles) -> NoReturn:
    """Store every closed candle that somebody follows, here or elsewhere."""
    with streaming.board.follow() as following:
        while True:
            wanted = {
                topic
                for topic in streaming.demand.wanted() | streaming.others.wanted()
                if topic.channel is Channel.CANDLE
            }
            following.drop(following.topics - wanted)
            following.add(wanted)
            told = await following.take(
                seconds_max=streaming.times.wishes_pause,
                gather_seconds=streaming.times.store,
                enough=max(1, len(wanted)),
            )
            await candles.store(
                {
                    topic: tuple(row for row in heard.news if isinstance(row, LiveCandle))
                    for topic, heard in told.items()
                    if isinstance(heard.news, tuple)
                }
            )


async def _renew(lease: Lease, *, seconds: float) -> NoReturn:
    while True:
        await asyncio.sleep(seconds)
        await lease.renew()


async def _steer(streaming: Streaming, stream: MarketStream) -> NoReturn:
    """Keep the stream following what is wanted, here and elsewhere."""
    demands = (streaming.demand, streaming.others)
    while True:
        wanted = streaming.demand.wanted() | streaming.others.wanted()
        stream.want(wanted)
        now, since = streaming.monotonic(), streaming.followed_since
        streaming.followed_since = {topic: since.get(topic, now) for topic in wanted}
        waiting = [
            asyncio.create_task(demand.wait_for_change(seconds_max=1.0)) for demand in demands
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        await asyncio.sleep(streaming.times.batch)


async def _look_up(streaming: Streaming) -> NoReturn:
    """What watchlists and open orders name is wanted, whoever's they are.

    What cannot be looked up now is wanted as it was, for a while.
    """
    while True:
        with suppress(DatabaseUnavailable, DatabaseBusy):
            async with streaming.db.connection() as conn:
                symbols = await followed_symbols.get_followed_symbols(
                    conn, limit=STORED_SYMBOLS_MAX
                )
            topics = [
                Topic(Category.SPOT, symbol, Channel.TICKER)
                for symbol in symbols
                if is_tradeable(symbol)
            ]
            streaming.demand.state("stored", topics, seconds=4 * streaming.times.look_up)
        await asyncio.sleep(streaming.times.look_up)


async def _tell(streaming: Streaming, lease: Lease) -> NoReturn:
    """Tell the other processes what they want to know, while there are any."""
    speller = Speller(holder=streaming.holder, term=lease.term, monotonic=streaming.monotonic)
    with streaming.board.follow() as following:
        while True:
            wanted, anew = streaming.others.wanted(), set(streaming.unknown)
            streaming.unknown.clear()
            # Followed anew, a topic is told as it is known: that is how a process that came
            # late, or lost its connection, reads again. Others are owed what is not told yet.
            owed = following.take_now(anew)
            following.drop([*(following.topics - wanted), *anew])
            following.add(wanted)
            told = await following.take(
                seconds_max=streaming.times.wishes_pause,
                gather_seconds=streaming.times.batch,
                enough=VALUES_PER_TEXT_MAX,
            )
            # What the board has kept from before may be hours old; others know of younger.
            since = streaming.followed_since
            for part in (owed, told):
                texts = speller.spell(
                    {
                        topic: heard
                        for topic, heard in part.items()
                        if heard.received_at >= since.get(topic, math.inf)
                    }
                )
                if texts:
                    await lease.tell(CHANNEL, texts)


async def follow(streaming: Streaming) -> NoReturn:
    """Hear what other processes tell and want, and tell what is wanted here.

    Raises DatabaseUnavailable when the connection is lost; started again, it says that it
    knows nothing and is told everything.
    """
    times = streaming.times
    known: frozenset[Topic] = frozenset()
    hear = partial(_hear, streaming)
    async with open_channel(streaming.address, CHANNEL, hear=hear) as channel:
        # Others may have said that they know nothing while nobody listened here.
        streaming.unknown |= streaming.others.wanted()
        # A database that was restored, or another server, may count from an earlier term.
        streaming.listener.term = streaming.term or 0
        while True:
            if streaming.term is None:
                wanted = streaming.demand.wanted()
                texts = spell_wishes(streaming.holder, wanted, unknown=wanted - known)
                known = wanted
                if texts:
                    await channel.tell(texts)
            else:
                known = frozenset()  # once another streams, we begin anew
            await channel.check()
            await streaming.demand.wait_for_change(seconds_max=times.tell_wishes)
            await asyncio.sleep(times.wishes_pause)


def _hear(streaming: Streaming, text: str) -> None:
    try:
        wishes = read_wishes(text)
    except ValueError:
        streaming.listener.hear(text)
        return
    if streaming.term is not None and wishes.holder != streaming.holder:
        seconds = streaming.times.keep_wishes
        streaming.others.add(wishes.holder, wishes.topics, seconds=seconds)
        if wishes.are_unknown:
            streaming.unknown.update(wishes.topics)


async def _together(*works: Coroutine[Any, Any, Any]) -> None:
    """Until the first of them ends, which is by an error; the others are cancelled."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
