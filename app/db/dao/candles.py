"""The tables `candle_series`, `candles` and `candle_gaps`: closed candles, by month."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.db.connection import Connection, Row
from app.domain.candles import Candle, Interval, SeriesId, Span
from app.domain.instruments import Category, Symbol, Venue
from app.domain.statistics.marks import Close, ClosingSeries


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The candles of one instrument at one interval.

    `first_open_time` is when the venue's oldest candle opens, as far as it was asked.
    """

    id: SeriesId
    venue: Venue
    category: Category
    symbol: Symbol
    interval: Interval
    first_open_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inserted:
    """How many candles were new, and which of the others differ from what is stored."""

    count: int
    differing: Sequence[tuple[SeriesId, datetime]]


def _series(row: Row) -> Series:
    return Series(
        id=SeriesId(row["id"]),
        venue=Venue(row["venue"]),
        category=Category(row["category"]),
        symbol=Symbol(row["symbol"]),
        interval=Interval(row["interval"]),
        first_open_time=row["first_open_time"],
    )


def _candle(row: Row) -> Candle:
    return Candle(
        open_time=row["open_time"],
        open=row["open"],
        high=row["high"],
        low=row["low"],
        close=row["close"],
        volume=row["volume"],
        turnover=row["turnover"],
    )


def _span(row: Row) -> Span:
    return Span(begin_at=row["begin_at"], end_at=row["end_at"])


async def get_series(
    conn: Connection, *, venue: Venue, category: Category, symbol: Symbol, interval: Interval
) -> Series | None:
    """The series, if a candle of it was ever asked for."""
    row = await conn.fetchrow(
        """
        SELECT id, venue, category, symbol, interval, first_open_time
        FROM candle_series
        WHERE venue = $1 AND category = $2 AND symbol = $3 AND interval = $4
        """,
        venue,
        category,
        symbol,
        interval,
    )
    return None if row is None else _series(row)


async def get_closing_series(
    conn: Connection, *, venue: Venue, category: Category, symbols: Sequence[Symbol]
) -> list[ClosingSeries]:
    """Every series of some symbols, at whatever interval."""
    rows = await conn.fetch(
        """
        SELECT id, symbol, interval
        FROM candle_series
        WHERE venue = $1 AND category = $2 AND symbol = ANY($3)
        ORDER BY id
        """,
        venue,
        category,
        symbols,
    )
    return [
        ClosingSeries(
            id=SeriesId(row["id"]),
            symbol=Symbol(row["symbol"]),
            interval=Interval(row["interval"]),
        )
        for row in rows
    ]


async def get_closes(
    conn: Connection, *, wanted: Sequence[tuple[SeriesId, datetime]]
) -> list[Close]:
    """The closes of those candles, named by series and open time, that are stored."""
    rows = await conn.fetch(
        """
        SELECT wanted.series_id, wanted.open_time, candle.close
        FROM unnest($1::int[], $2::timestamptz[]) AS wanted (series_id, open_time)
        CROSS JOIN LATERAL (
            SELECT close
            FROM candles
            WHERE series_id = wanted.series_id AND open_time = wanted.open_time
            LIMIT 1 -- one look into an index for each, never a join with all there is
        ) AS candle
        """,
        [series_id for series_id, _ in wanted],
        [open_time for _, open_time in wanted],
    )
    return [Close(SeriesId(row[0]), row[1], row[2]) for row in rows]


async def upsert_series(
    conn: Connection,
    *,
    venue: Venue,
    category: Category,
    symbol: Symbol,
    interval: Interval,
    first_open_time: datetime | None,
) -> Series:
    """The series, made where it is missing, with the earliest first candle known."""
    row = await conn.fetchrow(
        """
        INSERT INTO candle_series AS known (venue, category, symbol, interval, first_open_time)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT ON CONSTRAINT candle_series_key DO UPDATE
            SET first_open_time = least(known.first_open_time, excluded.first_open_time)
        RETURNING id, venue, category, symbol, interval, first_open_time
        """,
        venue,
        category,
        symbol,
        interval,
        first_open_time,
    )
    return _series(row)


async def keep_partitions(conn: Connection) -> None:
    """Let nobody drop a month until this transaction ends."""
    await conn.execute("LOCK TABLE ONLY candles IN ROW EXCLUSIVE MODE")


async def ensure_partitions(conn: Connection, *, span: Span) -> None:
    """Make the months of the span, where they are missing, for candles to be inserted into."""
    await conn.execute("SELECT ensure_candle_partitions($1, $2)", span.begin_at, span.end_at)


async def drop_partitions(conn: Connection, *, before: datetime) -> list[str]:
    """Drop the months that end by the instant; return their tables' names."""
    rows = await conn.fetch("SELECT drop_candle_partitions($1) AS name", before)
    return [row["name"] for row in rows]


async def insert_candles(
    conn: Connection, *, series_ids: Sequence[SeriesId], candles: Sequence[Candle]
) -> Inserted:
    """Write closed candles, each of the series beside it; no candle twice.

    What is stored already stays; where it differs, that is told.
    """
    rows = await conn.fetch(
        """
        WITH sent AS (
            SELECT series_id, open_time, open, high, low, close, volume, turnover
            FROM unnest(
                $1::int[], $2::timestamptz[], $3::numeric[], $4::numeric[], $5::numeric[],
                $6::numeric[], $7::numeric[], $8::numeric[]
            ) AS s (series_id, open_time, open, high, low, close, volume, turnover)
        ), inserted AS (
            INSERT INTO candles
                (series_id, open_time, open, high, low, close, volume, turnover)
            SELECT series_id, open_time, open, high, low, close, volume, turnover
            FROM sent
            ORDER BY series_id, open_time  -- two writers wait for each other in one order
            ON CONFLICT (series_id, open_time) DO NOTHING
            RETURNING 1
        )
        SELECT NULL AS series_id, NULL AS differs_at, count(*) AS count FROM inserted
        UNION ALL
        SELECT sent.series_id, sent.open_time, 0
        FROM sent
        JOIN candles known USING (series_id, open_time)
        WHERE (known.open, known.high, known.low, known.close, known.volume, known.turnover)
            <> (sent.open, sent.high, sent.low, sent.close, sent.volume, sent.turnover)
        """,
        series_ids,
        [candle.open_time for candle in candles],
        [candle.open for candle in candles],
        [candle.high for candle in candles],
        [candle.low for candle in candles],
        [candle.close for candle in candles],
        [candle.volume for candle in candles],
        [candle.turnover for candle in candles],
    )
    return Inserted(
        count=sum(row["count"] for row in rows),
        differing=sorted(
            (SeriesId(row["series_id"]), row["differs_at"])
            for row in rows
            if row["differs_at"] is not None
        ),
    )


async def get_candles(
    conn: Connection, *, series_id: SeriesId, span: Span, limit: int
) -> list[Candle]:
    """The stored candles that open in the span, ascending."""
    rows = await conn.fetch(
        """
        SELECT open_time, open, high, low, close, volume, turnover
        FROM candles
        WHERE series_id = $1 AND open_time >= $2 AND open_time < $3
        ORDER BY open_time
        LIMIT $4
        """,
        series_id,
        span.begin_at,
        span.end_at,
        limit,
    )
    return [_candle(row) for row in rows]


async def get_stretches(
    conn: Connection, *, series_id: SeriesId, span: Span, step: timedelta
) -> list[Span]:
    """What the stored candles of the span cover without a hole, for a step of fixed length."""
    rows = await conn.fetch(
        """
        SELECT min(open_time) AS begin_at, max(open_time) + $4::interval AS end_at
        FROM (
            SELECT open_time, count(*) FILTER (WHERE begins) OVER (ORDER BY open_time) AS stretch
            FROM (
                SELECT
                    open_time,
                    open_time - lag(open_time) OVER (ORDER BY open_time) <> $4::interval AS begins
                FROM candles
                WHERE series_id = $1 AND open_time >= $2 AND open_time < $3
            ) AS seen
        ) AS counted
        GROUP BY stretch
        ORDER BY begin_at
        """,
        series_id,
        span.begin_at,
        span.end_at,
        step,
    )
    return [_span(row) for row in rows]


async def get_gaps(conn: Connection, *, series_id: SeriesId, span: Span) -> list[Span]:
    """The holes that are known to be the venue's own and touch the span."""
    rows = await conn.fetch(
        """
        SELECT begin_at, end_at
        FROM candle_gaps
        WHERE series_id = $1 AND begin_at < $3 AND end_at > $2
        ORDER BY begin_at
        """,
        series_id,
        span.begin_at,
        span.end_at,
    )
    return [_span(row) for row in rows]


async def insert_gaps(conn: Connection, *, series_id: SeriesId, gaps: Sequence[Span]) -> None:
    """Record holes that a venue had nothing for."""
    await conn.execute(
        """
        INSERT INTO candle_gaps AS known (series_id, begin_at, end_at)
        SELECT $1, begin_at, end_at FROM unnest($2::timestamptz[], $3::timestamptz[])
            AS found (begin_at, end_at)
        ON CONFLICT (series_id, begin_at) DO UPDATE
            SET end_at = greatest(known.end_at, excluded.end_at)
        """,
        series_id,
        [gap.begin_at for gap in gaps],
        [gap.end_at for gap in gaps],
    )


async def delete_old_gaps(conn: Connection, *, before: datetime) -> None:
    """Forget the holes in what is no longer kept."""
    await conn.execute("DELETE FROM candle_gaps WHERE end_at <= $1", before)


async def truncate_candles(conn: Connection) -> None:
    """Forget every candle, and what was asked about them. Ids are not used again."""
    await conn.execute("TRUNCATE candles, candle_gaps, candle_series")
