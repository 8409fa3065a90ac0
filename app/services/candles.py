"""Reading candles: stored ones, made of stored minutes, or fetched while somebody waits.

An answer is never silently short. What the venue never had is a gap, and what could not be
had now is missing; both are named.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from app.db.dao import candles
from app.db.dao.candles import Series
from app.db.database import Database
from app.domain.candles import (
    Candle,
    Interval,
    Span,
    advance,
    check_past,
    check_range,
    count_opens,
    first_open_from,
    merged_spans,
    open_of,
    resample,
    stretches,
    uncovered,
)
from app.domain.errors import UpstreamUnavailable
from app.domain.instruments import Category, Symbol, Venue
from app.services.candle_store import fill, known_spans, open_series
from app.services.instruments import Listings
from app.services.ports import MarketSource

FETCHED_MAX: Final = 5000
"""Candles that are fetched while a reader waits; more of them is work for a backfill."""

READERS_MAX: Final = 50
"""How many may wait for one venue at the same time."""

MINUTES_MAX: Final = 100_000
"""Minutes that one answer may be made of; candles of more are fetched as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleQuery:
    """A page of at most `limit` open times in [begin_at, end_at), from `cursor` on.

    Without an end it is now by the venue's clock; without a beginning it is the cursor, and
    without that the page is the last of what has closed.
    """

    venue: Venue
    category: Category
    symbol: Symbol
    interval: Interval
    begin_at: datetime | None = None
    end_at: datetime | None = None
    cursor: datetime | None = None
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CandlePage:
    """Closed candles of `span`, ascending, and what is known about those that are not there."""

    query: CandleQuery
    span: Span
    candles: Sequence[Candle]
    gaps: Sequence[Span]
    missing: Sequence[Span]
    next_cursor: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleReader:
    """The candles of all venues."""

    db: Database
    sources: Mapping[Venue, MarketSource]
    listings: Listings
    readers_max: int = READERS_MAX
    _turns: dict[Venue, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _waiting: Counter[Venue] = field(default_factory=Counter)

    def chosen(self, venue: Venue | None, category: Category | None) -> tuple[Venue, Category]:
        """Where nothing is named: the venue that prices come from, and a venue's first category."""
        venue = venue or self.listings.price_venue
        return venue, category or self.sources[venue].categories[0]

    async def read(self, query: CandleQuery) -> CandlePage:
        """A page of closed candles.

        Raises CandleRangeRefused before anything is fetched, CategoryNotListed and
        UnknownSymbol, and as MarketSource does when the venue has to be asked.
        """
        if query.begin_at is None and query.cursor is not None:
            query = replace(query, begin_at=query.cursor)
        if query.begin_at is not None and query.end_at is not None:
            check_range(query.begin_at, query.end_at)
        await self.listings.require(query.venue, query.category, query.symbol)
        source = self.sources[query.venue]
        series = await open_series(
            self.db,
            source,
            venue=query.venue,
            category=query.category,
            symbol=query.symbol,
            interval=query.interval,
        )
        now = None if query.end_at is not None else await source.fetch_time()
        window = _window(query, series, now)
        page = _page(query, window)
        made: list[Candle] = []
        made_spans: list[Span] = []
        missing, gaps = await self._look(series, page)
        if missing and query.begin_at is None and query.end_at is not None:
            now = await source.fetch_time()
            if (closed := open_of(now, query.interval)) < window.end_at:
                return await self.read(replace(query, end_at=closed))
        if missing and query.interval is not Interval.MINUTE:
            made, made_spans = await self._from_minutes(query, missing)
            missing = [left for hole in missing for left in uncovered(hole, made_spans)]
        if missing:  # what has not been yet is no more missing than it can be fetched
            closed = open_of(now or await source.fetch_time(), query.interval)
            end_at = max(window.begin_at, min(window.end_at, closed))
            window = Span(begin_at=window.begin_at, end_at=end_at)
            page = _page(query, window)
            missing = _clipped(missing, page)
        if missing and sum(count_opens(hole, query.interval) for hole in missing) <= FETCHED_MAX:
            await self._fetch(query.venue, series, missing)
            missing, gaps = await self._look(series, page)
            missing = [left for hole in missing for left in uncovered(hole, made_spans)]
        async with self.db.connection() as conn:
            stored = await candles.get_candles(
                conn, series_id=series.id, span=page, limit=query.limit
            )
        by_time = {candle.open_time: candle for candle in (*made, *stored)}
        return CandlePage(
            query=query,
            span=page,
            candles=[by_time[open_time] for open_time in sorted(by_time)],
            gaps=_clipped([*gaps, *_holes(made, made_spans, query.interval)], page),
            missing=_clipped(missing, page),
            next_cursor=page.end_at if page.end_at < window.end_at else None,
        )

    async def _fetch(self, venue: Venue, series: Series, missing: Sequence[Span]) -> None:
        """One reader at a time: the next finds what this one has stored, and the venue its peace.

        Raises UpstreamUnavailable when too many wait already.
        """
        source = self.sources[venue]
        if self._waiting[venue] >= self.readers_max:
            raise UpstreamUnavailable(source.venue)
        self._waiting[venue] += 1
        try:
            async with self._turns[venue]:
                for hole in missing:
                    async for _ in fill(self.db, source, series, hole, patience_seconds=()):
                        pass
        finally:
            self._waiting[venue] -= 1

    async def _look(self, series: Series, span: Span) -> tuple[list[Span], list[Span]]:
        async with self.db.connection() as conn:
            stored, gaps = await known_spans(conn, series, span)
        return uncovered(span, [*stored, *gaps]), gaps

    async def _from_minutes(
        self, query: CandleQuery, missing: Sequence[Span]
    ) -> tuple[list[Candle], list[Span]]:
        """Candles of stored minutes, and the spans that those minutes know all about."""
        async with self.db.connection() as conn:
            minutes = await candles.get_series(
                conn,
                venue=query.venue,
                category=query.category,
                symbol=query.symbol,
                interval=Interval.MINUTE,
            )
        count = sum(count_opens(hole, Interval.MINUTE) for hole in missing)
        if minutes is None or minutes.first_open_time is None or count > MINUTES_MAX:
            return [], []
        made: list[Candle] = []
        known: list[Span] = []
        for hole in missing:
            lacking, _ = await self._look(minutes, hole)
            unusable = [
                Span(
                    begin_at=open_of(span.begin_at, query.interval),
                    end_at=first_open_from(span.end_at, query.interval),
                )
                for span in lacking
                if span.end_at > minutes.first_open_time
            ]
            for span in uncovered(hole, unusable):
                async with self.db.connection() as conn:
                    parts = await candles.get_candles(
                        conn, series_id=minutes.id, span=span, limit=MINUTES_MAX
                    )
                made += resample(parts, query.interval)
                known.append(span)
        return made, known


def _holes(made: Sequence[Candle], known: Sequence[Span], interval: Interval) -> list[Span]:
    """Where all minutes are known and none was traded."""
    spans = stretches((candle.open_time for candle in made), interval)
    return [hole for span in known for hole in uncovered(span, spans)]


def _window(query: CandleQuery, series: Series, now: datetime | None) -> Span:
    """The open times that were asked for, as far as the venue has candles and they are closed."""
    interval = query.interval
    if query.end_at is not None:
        end_at = first_open_from(query.end_at, interval)
    else:
        assert now is not None, "the venue was asked for it"
        end_at = open_of(now, interval)
        if query.begin_at is not None:
            check_past(query.begin_at, now, name="from")
            check_range(query.begin_at, now)
    if query.begin_at is not None:
        begin_at = first_open_from(query.begin_at, interval)
    else:
        begin_at = advance(end_at, interval, -query.limit)
    first = end_at if series.first_open_time is None else series.first_open_time
    begin_at = max(begin_at, first_open_from(first, interval))
    return Span(begin_at=min(begin_at, end_at), end_at=end_at)


def _page(query: CandleQuery, window: Span) -> Span:
    begin_at = window.begin_at
    if query.cursor is not None:
        begin_at = max(begin_at, first_open_from(query.cursor, query.interval))
    begin_at = min(begin_at, window.end_at)
    return Span(
        begin_at=begin_at, end_at=min(window.end_at, advance(begin_at, query.interval, query.limit))
    )


def _clipped(spans: Iterable[Span], page: Span) -> list[Span]:
    return merged_spans(
        replace(
            span,
            begin_at=max(span.begin_at, page.begin_at),
            end_at=max(page.begin_at, min(span.end_at, page.end_at)),
        )
        for span in spans
    )
