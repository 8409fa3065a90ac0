"""scripts/bench candles: bytes of a stored candle, and what reading and writing them costs.

Minutes of 500 symbols, written minute by minute as live streams would, so that the rows of
one series lie as far apart as they ever do; --downloaded lays them together.
Not part of the gate: it takes minutes.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

import asyncpg
import uvloop
from app.core.config import PROJECT
from app.db.dao import candles
from app.db.database import Database, open_database
from app.db.embedded import embedded_postgres, remove_data
from app.db.migrate import migrate
from app.domain.candles import Candle, Interval, SeriesId, Span, resample
from app.domain.instruments import Category, Symbol, Venue
from app.services.candle_store import store

SERIES: Final = 500
BEGIN_AT: Final = datetime(2025, 1, 1, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)
YEAR_ROWS: Final = SERIES * 365 * 1440
REPEATS: Final = 20

_FILL = """
    INSERT INTO candles (open_time, series_id, open, high, low, close, volume, turnover)
    SELECT minute, series, price, price + 12.3, price - 9.7, price + 1.1,
        round((random() * 300)::numeric, 3), round((random() * 30000000)::numeric, 4)
    FROM generate_series($1::timestamptz, $2::timestamptz, '1 minute') AS minute,
        generate_series(1, $3::int) AS series,
        LATERAL (SELECT round((100000 + random() * 9999)::numeric, 1) + series * 0 AS price) AS p
    ORDER BY CASE WHEN $4 THEN series END, minute
"""
_EXPLAIN = """
    EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, SUMMARY)
    SELECT open_time, close FROM candles
    WHERE series_id = 250 AND open_time >= $1 AND open_time < $2
    ORDER BY open_time
"""
_SIZES = """
    SELECT sum(pg_relation_size(inhrelid))::bigint AS heap,
        sum(pg_indexes_size(inhrelid))::bigint AS indexes
    FROM pg_inherits WHERE inhparent = 'candles'::regclass
"""


async def run(*, rows: int, downloaded: bool) -> None:
    folder = Path(tempfile.mkdtemp(prefix="bench-candles-", dir=PROJECT))
    try:
        async with embedded_postgres(folder / "postgres") as address:
            await migrate(address, PROJECT / "db" / "migration")
            conn = await asyncpg.connect(**address.connect_arguments())
            minutes = max(2 * 1440, rows // SERIES)
            await fill(conn, minutes=minutes, downloaded=downloaded)
            sizes = await conn.fetchrow(_SIZES)
            stored = await conn.fetchval("SELECT count(*) FROM candles")
            print_sizes(stored, heap=sizes["heap"], indexes=sizes["indexes"])
            async with open_database(address, pool_size=4) as db:
                await measure(db, minutes=minutes)
            await explain(conn, "B-tree (the primary key)")
            async with conn.transaction():
                await conn.execute("ALTER TABLE candles DROP CONSTRAINT candles_pkey")
                await conn.execute("CREATE INDEX ON candles USING brin (open_time)", timeout=600)
                await explain(conn, "BRIN on the open time, without the primary key")
            await conn.close()
    finally:
        await remove_data(folder / "postgres")
        shutil.rmtree(folder)


async def explain(conn: Any, title: str) -> None:
    day = (BEGIN_AT + timedelta(days=1), BEGIN_AT + timedelta(days=2))
    lines = [row[0] for row in await conn.fetch(_EXPLAIN, *day, timeout=600)]
    print(f"\nA day of minutes by {title}", *lines, sep="\n  ")


async def fill(conn: Any, *, minutes: int, downloaded: bool) -> None:
    await conn.execute(
        "INSERT INTO candle_series (venue, category, symbol, interval, first_open_time) "
        "SELECT 'bybit', 'linear', 'S' || n, '1m', $1 FROM generate_series(1, $2::int) AS n",
        BEGIN_AT,
        SERIES,
    )
    end_at = BEGIN_AT + minutes * MINUTE
    await candles.ensure_partitions(conn, span=Span(begin_at=BEGIN_AT, end_at=end_at))
    begun = time.monotonic()
    for first in range(0, minutes, 2000):
        last = min(first + 2000, minutes) - 1
        await conn.execute(
            _FILL,
            BEGIN_AT + first * MINUTE,
            BEGIN_AT + last * MINUTE,
            SERIES,
            downloaded,
            timeout=600,
        )
    await conn.execute("VACUUM (ANALYZE) candles", timeout=600)
    seconds = time.monotonic() - begun
    print(f"{minutes * SERIES:,} rows generated in {seconds:.0f} s")


def print_sizes(rows: int, *, heap: int, indexes: int) -> None:
    print(f"\nBytes of a row ({rows:,} rows)")
    for name, size in (("table", heap), ("index", indexes), ("both", heap + indexes)):
        year = size / rows * YEAR_ROWS / 1e9
        print(f"  {name:<8}{size / rows:>8.1f}   a year of {SERIES} symbols: {year:6.1f} GB")


async def measure(db: Database, *, minutes: int) -> None:
    async def timed(name: str, work: Callable[[int], Awaitable[object]]) -> None:
        seconds = []
        for number in range(REPEATS):
            begun = time.perf_counter()
            await work(number)
            seconds.append(time.perf_counter() - begun)
        print(f"  {name:<58}{median(seconds) * 1000:>9.1f} ms")

    async def read(series: int, count: int) -> list[Candle]:
        begin_at = BEGIN_AT + timedelta(days=1)
        span = Span(begin_at=begin_at, end_at=begin_at + count * MINUTE)
        async with db.connection() as conn:
            return await candles.get_candles(
                conn, series_id=SeriesId(series), span=span, limit=count
            )

    async def stretches(series: int) -> None:
        span = Span(begin_at=BEGIN_AT, end_at=BEGIN_AT + minutes * MINUTE)
        async with db.connection() as conn:
            await candles.get_stretches(conn, series_id=SeriesId(series), span=span, step=MINUTE)

    async def hours(series: int) -> None:
        resample(await read(series, 1440), Interval.HOUR)

    async def live(number: int) -> None:
        one = (await read(1, 1))[0]
        open_time = BEGIN_AT + (minutes + number) * MINUTE
        moved = Candle(
            open_time=open_time, open=one.open, high=one.high, low=one.low, close=one.close,
            volume=one.volume, turnover=one.turnover,
        )  # fmt: skip
        async with db.connection() as conn:
            await candles.insert_candles(
                conn,
                series_ids=[SeriesId(series) for series in range(1, SERIES + 1)],
                candles=[moved] * SERIES,
            )

    async def page(number: int) -> None:
        async with db.connection() as conn:
            series = await candles.upsert_series(
                conn, venue=Venue.BYBIT, category=Category.SPOT, symbol=Symbol(f"N{number}"),
                interval=Interval.MINUTE, first_open_time=BEGIN_AT,
            )  # fmt: skip
        await store(db, series, await read(number + 1, 1000))

    print(f"\nMedians of {REPEATS}, each of another series")
    await timed("read 1,000 candles", lambda n: read(n * 20 + 1, 1000))
    await timed("read a day of minutes", lambda n: read(n * 20 + 2, 1440))
    await timed("the same, made into hours", lambda n: hours(n * 20 + 3))
    await timed(f"find the holes in {minutes:,} minutes", lambda n: stretches(n * 20 + 4))
    await timed("read and store a page of 1,000 candles of a new series", page)
    await timed(f"store one minute of {SERIES} series", live)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench candles", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument(
        "--downloaded", action="store_true", help="rows of one series together, as backfill writes"
    )
    options = parser.parse_args(arguments)
    uvloop.run(run(rows=options.rows, downloaded=options.downloaded))
    return 0


if __name__ == "__main__":
    sys.exit(main())
