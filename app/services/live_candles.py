"""Storing what the stream says has closed, and fetching what it could not say.

A candle that was missed (a lost connection, a pause, another process that went away) shows when
a later one closes: what lies between is a hole, and is fetched. So the live stream meets what
was stored before it without overlap or hole, and a wrong hole costs one look.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

from app.db.dao import candles
from app.db.dao.candles import Series
from app.db.database import Database
from app.db.errors import DatabaseBusy, DatabaseUnavailable
from app.domain.candles import Candle, Span, advance, parse_candle
from app.domain.errors import GoblinError
from app.domain.instruments import Venue
from app.domain.live import LiveCandle, Topic
from app.domain.topics import interval_of, name_topic
from app.services.candle_store import Fence, fill, known_spans, open_series, store_many
from app.services.ports import MarketSource

FILLED_MAX: Final = 5000
"""Candles that are looked back for; a hole from before is left to reading or to a backfill."""

RETRY_SECONDS: Final = 5.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_log = logging.getLogger(__name__)


class LiveCandles:
    """Keeps the candles of a venue for as long as the fence lets it write."""

    def __init__(
        self,
        db: Database,
        source: MarketSource,
        *,
        fence: Fence,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._db = db
        self._source = source
        self._fence = fence
        self._retry_seconds = retry_seconds
        self._series: dict[Topic, Series] = {}
        self._stored_until: dict[Topic, datetime] = {}
        self._holes: dict[Topic, Span] = {}
        self._has_hole = asyncio.Event()

    @property
    def holes(self) -> Mapping[Topic, Span]:
        """Where candles are known to be missing."""
        return self._holes

    async def store(self, told: Mapping[Topic, tuple[LiveCandle, ...]]) -> None:
        """Store what has closed. Raises what the fence raises.

        While the database is away, or others are in the way, nothing is stored; the next candle
        shows the hole.
        """
        closed = {topic: found for topic, rows in told.items() if (found := _closed(topic, rows))}
        if not closed:
            return
        try:
            pairs = [
                (await self._series_of(topic), candle)
                for topic, found in closed.items()
                for candle in found
            ]
            holes = {topic: await self._hole(topic, found) for topic, found in closed.items()}
            await store_many(self._db, pairs, fence=self._fence)
        except (DatabaseUnavailable, DatabaseBusy):
            _log.warning("closed candles were not stored; they are fetched later")
            return
        for topic, found in closed.items():
            end_at = advance(found[-1].open_time, interval_of(topic))
            self._stored_until[topic] = max(end_at, self._stored_until.get(topic, end_at))
            hole = holes[topic]
            if hole is not None:
                self._add_hole(topic, hole)

    async def fill_holes(self) -> NoReturn:
        """Fetch what is missing, whenever something is. Raises what the fence raises."""
        while True:
            await self._has_hole.wait()
            self._has_hole.clear()
            for topic, hole in list(self._holes.items()):
                try:
                    await self._fill(topic, hole)
                except GoblinError as error:
                    _log.info(
                        "a hole of candles is not filled yet",
                        extra={"topic": name_topic(topic), "reason": str(error)},
                    )
                else:
                    if self._holes[topic] == hole:  # else it has grown meanwhile
                        del self._holes[topic]
            if self._holes:
                await asyncio.sleep(self._retry_seconds)
                self._has_hole.set()

    async def _fill(self, topic: Topic, hole: Span) -> None:
        series = await open_series(
            self._db,
            self._source,
            venue=Venue.BYBIT,
            category=topic.category,
            symbol=topic.symbol,
            interval=interval_of(topic),
        )
        filling = fill(self._db, self._source, series, hole, patience_seconds=(), fence=self._fence)
        async for _ in filling:
            pass

    async def _series_of(self, topic: Topic) -> Series:
        """The series; the venue is not asked for its first candle before there is a hole."""
        known = self._series.get(topic)
        if known is None:
            async with self._db.connection() as conn:
                known = await candles.upsert_series(
                    conn,
                    venue=Venue.BYBIT,
                    category=topic.category,
                    symbol=topic.symbol,
                    interval=interval_of(topic),
                    first_open_time=None,
                )
            self._series[topic] = known
        return known

    async def _hole(self, topic: Topic, found: list[Candle]) -> Span | None:
        """What may be missing before or between these, if anything was stored before them."""
        interval = interval_of(topic)
        first, last = found[0].open_time, found[-1].open_time
        earliest = advance(last, interval, -FILLED_MAX)
        begin_at = self._stored_until.get(topic)
        if begin_at is None:
            async with self._db.connection() as conn:
                span = Span(begin_at=earliest, end_at=first)
                stored, _ = await known_spans(conn, self._series[topic], span)
            begin_at = stored[0].begin_at if stored else first
        begin_at = max(begin_at, earliest)
        # What is known is told again when it is followed again; that fills no place.
        new = {candle.open_time for candle in found if candle.open_time >= begin_at}
        is_whole = last == advance(begin_at, interval, len(new) - 1)
        return None if is_whole or begin_at >= last else Span(begin_at=begin_at, end_at=last)

    def _add_hole(self, topic: Topic, hole: Span) -> None:
        known = self._holes.get(topic, hole)
        self._holes[topic] = Span(
            begin_at=min(known.begin_at, hole.begin_at), end_at=max(known.end_at, hole.end_at)
        )
        self._has_hole.set()


def _closed(topic: Topic, rows: Collection[LiveCandle]) -> list[Candle]:
    """The closed ones that a market can have done, ascending; the others are fetched later."""
    found = []
    for row in rows:
        if row.is_closed:
            numbers = (row.open, row.high, row.low, row.close, row.volume, row.turnover)
            open_time = _EPOCH + timedelta(milliseconds=row.open_ms)
            candle = parse_candle(open_time, [format(number, "f") for number in numbers])
            if candle is None:
                _log.warning("a closed candle makes no sense", extra={"topic": name_topic(topic)})
            else:
                found.append(candle)
    return sorted(found, key=lambda candle: candle.open_time)
