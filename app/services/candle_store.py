"""Writing candles: one way in for downloads and live streams, and the download itself.

What is missing is asked for, what arrives is committed page by page, and a hole between two
candles that the venue has nothing for is recorded, so that nobody asks again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from app.db.connection import Connection
from app.db.dao import candles
from app.db.dao.candles import Inserted, Series
from app.db.database import Database
from app.domain.candles import (
    RANGE_MAX,
    STEPS,
    Candle,
    Interval,
    Span,
    count_opens,
    first_open_from,
    merged_spans,
    pages,
    stretches,
    uncovered,
)
from app.domain.errors import UpstreamUnavailable
from app.domain.instruments import Category, Symbol, Venue
from app.services.ports import MarketSource

SCANNED_MAX: Final = 50_000
"""Candles looked through by one statement: a month of minutes."""

PATIENCE_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""How a long download waits for a venue that cannot be asked, before it gives up."""

SHORTEST: Final = STEPS[Interval.MINUTE]

_log = logging.getLogger(__name__)


Answer = TypeVar("Answer")
Fence: TypeAlias = Callable[[Connection], Awaitable[None]]
"""Asked in every transaction before it writes; raises when the writer may not write any more."""


async def anybody(conn: Connection) -> None:
    """No fence: downloads and readers store the same rows, whoever comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a download is: candles of the range looked after, in all, and new ones stored."""

    done: int
    total: int
    stored: int
    differing: int
    outages: int


async def open_series(
    db: Database,
    source: MarketSource,
    *,
    venue: Venue,
    category: Category,
    symbol: Symbol,
    interval: Interval,
) -> Series:
    """The series of an instrument, which is known to exist; its oldest candle is asked for once."""
    async with db.connection() as conn:
        series = await candles.get_series(
            conn, venue=venue, category=category, symbol=symbol, interval=interval
        )
    if series is not None and series.first_open_time is not None:
        return series
    first = await source.fetch_first_open(symbol, category, interval)
    async with db.connection() as conn:
        return await candles.upsert_series(
            conn,
            venue=venue,
            category=category,
            symbol=symbol,
            interval=interval,
            first_open_time=first,
        )


async def store(
    db: Database, series: Series, closed: Sequence[Candle], *, fence: Fence = anybody
) -> Inserted:
    """Store closed candles of one series."""
    return await store_many(db, [(series, candle) for candle in closed], fence=fence)


async def store_many(
    db: Database, closed: Sequence[tuple[Series, Candle]], *, fence: Fence = anybody
) -> Inserted:
    """Store closed candles of any series: the one way in for downloads and live streams.

    A candle that is stored already stays as it is. One that arrives with other numbers is
    logged and not believed: a closed candle does not change, and what was computed from the
    first must not change behind anybody's back.
    """
    if not closed:
        return Inserted(count=0, differing=())
    span = Span(
        begin_at=min(candle.open_time for _, candle in closed),
        end_at=max(candle.open_time for _, candle in closed) + SHORTEST,
    )
    async with db.transaction() as conn:
        # A month that is there could be dropped for its age before anything is inserted in it.
        await candles.keep_partitions(conn)
        await fence(conn)
        await candles.ensure_partitions(conn, span=span)
        inserted = await candles.insert_candles(
            conn,
            series_ids=[series.id for series, _ in closed],
            candles=[candle for _, candle in closed],
        )
    known = {series.id: series for series, _ in closed}
    for series_id, open_time in inserted.differing:
        series = known[series_id]
        _log.error(
            "a closed candle came with other numbers; the first ones stay",
            extra={
                "venue": series.venue,
                "category": series.category,
                "symbol": series.symbol,
                "interval": series.interval,
                "open_time": open_time.isoformat(),
            },
        )
    return inserted


async def known_spans(
    conn: Connection, series: Series, span: Span
) -> tuple[list[Span], list[Span]]:
    """What the stored candles of a span cover, and the venue's own holes in it."""
    step = STEPS.get(series.interval)
    if step is None:
        months = await candles.get_candles(conn, series_id=series.id, span=span, limit=SCANNED_MAX)
        stored = stretches((month.open_time for month in months), series.interval)
    else:
        stored = await candles.get_stretches(conn, series_id=series.id, span=span, step=step)
    return stored, await candles.get_gaps(conn, series_id=series.id, span=span)


async def fill(
    db: Database,
    source: MarketSource,
    series: Series,
    span: Span,
    *,
    patience_seconds: Sequence[float] = PATIENCE_SECONDS,
    fence: Fence = anybody,
) -> AsyncIterator[Progress]:
    """Fetch and store what is missing of a span of closed candles; tell how far it is.

    Whatever was stored before an interruption is not fetched again. Raises as MarketSource.
    """
    if series.first_open_time is None:  # the venue has no candle of it at all
        return
    begin_at = first_open_from(max(span.begin_at, series.first_open_time), series.interval)
    whole = Span(begin_at=begin_at, end_at=max(begin_at, span.end_at))
    total = count_opens(whole, series.interval)
    stored = differing = outages = 0
    hole: Span | None = None
    for part in pages(whole, series.interval, candles_max=SCANNED_MAX):
        for missing in await _missing(db, series, part):
            for page in pages(missing, series.interval, candles_max=source.candles_per_request):
                found = await _fetch(source, series, page, patience_seconds)
                inserted = await store(db, series, found, fence=fence)
                stored += inserted.count
                differing += len(inserted.differing)
                done = count_opens(
                    Span(begin_at=whole.begin_at, end_at=page.end_at), series.interval
                )
                yield Progress(
                    done=done, total=total, stored=stored, differing=differing, outages=outages
                )
                await asyncio.sleep(source.request_seconds_min)
        # A hole is the venue's own once a later candle is there; at the end it may be to come.
        found_holes = await _missing(db, series, part)
        joined = merged_spans([*([] if hole is None else [hole]), *found_holes])
        hole = joined.pop() if joined and joined[-1].end_at == part.end_at else None
        outages += len(joined)
        await _record(db, series, joined, fence)
    if hole is not None and await _is_followed(db, series, hole):
        outages += 1
        await _record(db, series, [hole], fence)
    yield Progress(done=total, total=total, stored=stored, differing=differing, outages=outages)


async def _missing(db: Database, series: Series, span: Span) -> list[Span]:
    async with db.connection() as conn:
        stored, gaps = await known_spans(conn, series, span)
    return uncovered(span, [*stored, *gaps])


async def _record(db: Database, series: Series, gaps: Sequence[Span], fence: Fence) -> None:
    if gaps:
        async with db.transaction() as conn:
            await fence(conn)
            await candles.insert_gaps(conn, series_id=series.id, gaps=gaps)


async def _is_followed(db: Database, series: Series, hole: Span) -> bool:
    after = Span(begin_at=hole.end_at, end_at=hole.end_at + RANGE_MAX)
    async with db.connection() as conn:
        return bool(await candles.get_candles(conn, series_id=series.id, span=after, limit=1))


async def _fetch(
    source: MarketSource, series: Series, page: Span, patience_seconds: Sequence[float]
) -> list[Candle]:
    return await patiently(
        lambda: source.fetch_candles(series.symbol, series.category, series.interval, page),
        patience_seconds,
    )


async def patiently(
    ask: Callable[[], Awaitable[Answer]], patience_seconds: Sequence[float] = PATIENCE_SECONDS
) -> Answer:
    """Ask again for a while where the venue cannot be asked. Raises what `ask` raises."""
    for seconds in patience_seconds:
        try:
            return await ask()
        except UpstreamUnavailable:
            await asyncio.sleep(seconds)
    return await ask()
