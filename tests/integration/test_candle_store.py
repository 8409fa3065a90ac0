"""Downloads that are exact, go on where they stopped, and say what the venue never had."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest
from app.clients.bybit import BybitClient
from app.clients.venue_http import venue_http_client
from app.db.connection import Connection
from app.db.dao import candles
from app.db.dao.candles import Series
from app.db.database import Database, open_database
from app.db.errors import RowLocked
from app.db.lease import LeaseLost
from app.domain.candles import Candle, Interval, Span, advance, open_of
from app.domain.errors import UpstreamUnavailable
from app.domain.instruments import Category, Symbol, Venue
from app.replay import ReplayExchange, replay
from app.services.candle_store import Progress, fill, known_spans, open_series, store, store_many
from pyarrow import parquet
from tests.conftest import CloneDatabase

KLINE = "/v5/market/kline"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def span(begin: str, end: str) -> Span:
    return Span(begin_at=at(begin), end_at=at(end))


def candle(open_time: str, price: str = "2") -> Candle:
    return Candle(
        open_time=at(open_time),
        open=Decimal(price),
        high=Decimal(price),
        low=Decimal(1),
        close=Decimal(price),
        volume=Decimal("0.50"),
        turnover=Decimal(3),
    )


@dataclass(frozen=True)
class Ground:
    """A database of one's own and a venue to fill it from."""

    db: Database
    exchange: ReplayExchange
    client: BybitClient

    async def series(
        self, symbol: str, interval: Interval, category: Category = Category.LINEAR
    ) -> Series:
        return await open_series(
            self.db,
            self.client,
            venue=Venue.BYBIT,
            category=category,
            symbol=Symbol(symbol),
            interval=interval,
        )

    async def fill(
        self, series: Series, whole: Span, patience: Sequence[float] = ()
    ) -> list[Progress]:
        steps = fill(self.db, self.client, series, whole, patience_seconds=patience)
        return [progress async for progress in steps]

    async def stored(self, series: Series, whole: Span) -> list[Candle]:
        async with self.db.connection() as conn:
            return await candles.get_candles(conn, series_id=series.id, span=whole, limit=1_000_000)

    async def gaps(self, series: Series) -> list[Span]:
        async with self.db.connection() as conn:
            whole = span("1970-01-01", "2100-01-01")
            return await candles.get_gaps(conn, series_id=series.id, span=whole)


@asynccontextmanager
async def ground(clone: CloneDatabase, file: Path | None, start: str) -> AsyncIterator[Ground]:
    async with (
        replay(file, start=start, speed=0) as exchange,
        venue_http_client(exchange.base_url) as http,
        open_database(await clone(), pool_size=4) as db,
    ):
        yield Ground(db, exchange, BybitClient(http, timeout_seconds=60))


async def lose_the_lease(_: Connection) -> None:
    raise LeaseLost("test", 1)


async def test_a_download_is_the_recorded_file_without_overlap_hole_or_open_candle(
    clone: CloneDatabase, shared_data: Path
) -> None:
    file = shared_data / "candles" / "bybit_linear_BTCUSDT_1.parquet"
    async with ground(clone, file, "2025-06-02T12:30:30Z") as its:
        series = await its.series("BTCUSDT", Interval.MINUTE)
        assert series.first_open_time == at("2025-05-30T16:39")
        now = await its.client.fetch_time()
        whole = Span(begin_at=at("2025-05-01"), end_at=open_of(now, Interval.MINUTE))
        told = await its.fill(series, whole)
        table = parquet.read_table(file).slice(0, told[-1].total)
        opens = [datetime.fromtimestamp(ts // 1000, UTC) for ts in table.column("ts").to_pylist()]
        assert opens[-1] == at("2025-06-02T12:29"), "12:30 is open still"
        stored = await its.stored(series, span("2025-01-01", "2026-01-01"))
        assert [kept.open_time for kept in stored] == opens
        for name in ("open", "high", "low", "close", "volume"):
            column = [Decimal(repr(number)) for number in table.column(name).to_pylist()]
            assert [getattr(kept, name) for kept in stored] == column
        assert told[-1].stored == told[-1].done == len(opens)
        assert [progress.done for progress in told] == sorted(progress.done for progress in told)
        assert await its.gaps(series) == []

        asked = its.exchange.requests.count(KLINE)
        assert (await its.fill(series, whole))[-1].stored == 0
        assert its.exchange.requests.count(KLINE) == asked, "nothing is fetched twice"

        its.exchange.clock.advance(60_000)
        later = Span(begin_at=whole.begin_at, end_at=advance(whole.end_at, Interval.MINUTE))
        assert (await its.fill(series, later))[-1].stored == 1


async def test_an_interrupted_download_goes_on_from_what_is_stored(
    clone: CloneDatabase,
) -> None:
    async with ground(clone, None, "2025-01-08T00:00Z") as its:
        series = await its.series("ETHUSDT", Interval.MINUTE)
        whole = span("2025-01-01", "2025-01-08")
        steps = fill(its.db, its.client, series, whole, patience_seconds=())
        last = [await anext(steps) for _ in range(3)][-1]
        its.exchange.faults.add("status_500", path=KLINE)
        with pytest.raises(UpstreamUnavailable):
            await anext(steps)
        assert len(await its.stored(series, whole)) == last.stored == 3000

        its.exchange.faults.clear()
        its.exchange.faults.add("status_503", path=KLINE, times=2)
        asked = its.exchange.requests.count(KLINE)
        told = await its.fill(series, whole, patience=(0.0, 0.0))
        assert told[-1].stored == 7 * 1440 - 3000
        assert its.exchange.requests.count(KLINE) - asked == 8 + 2, "a venue's bad moment passes"
        assert len(await its.stored(series, whole)) == 7 * 1440


async def test_real_outages_are_recorded_and_not_asked_for_again(
    clone: CloneDatabase, shared_data: Path
) -> None:
    file = shared_data / "candles" / "binance_spot_BTCUSDT_1h_2017_2022.parquet"
    async with ground(clone, file, "2018-03-01T00:00Z") as its:
        series = await its.series("BTCUSDT", Interval.HOUR, Category.SPOT)
        outage = span("2018-02-08T01:00", "2018-02-09T10:00")
        within = span("2018-02-08T20:00", "2018-02-09T00:00")
        assert (await its.fill(series, within))[-1].outages == 0
        assert await its.gaps(series) == [], "no later candle says that the venue went on"

        told = await its.fill(series, span("2018-01-01", "2018-02-20"))
        gaps = await its.gaps(series)
        assert outage in gaps
        assert told[-1].outages == len(gaps)
        stored = await its.stored(series, span("2018-01-01", "2018-02-20"))
        assert len(stored) + sum((g.end_at - g.begin_at) // timedelta(hours=1) for g in gaps) == (
            50 * 24
        )
        asked = its.exchange.requests.count(KLINE)
        await its.fill(series, span("2018-01-01", "2018-02-20"))
        assert its.exchange.requests.count(KLINE) == asked

        async with its.db.transaction() as conn:
            assert isinstance(conn, asyncpg.pool.PoolConnectionProxy)
            await conn.execute("TRUNCATE candle_gaps")
        with pytest.raises(LeaseLost):
            async for _ in fill(its.db, its.client, series, within, fence=lose_the_lease):
                pass
        assert await its.gaps(series) == [], "only who holds the lease says what is an outage"
        assert (await its.fill(series, within))[-1].outages == 1, "later candles are there now"
        assert await its.gaps(series) == [within]


async def test_an_outage_is_one_outage_however_the_download_is_cut(
    clone: CloneDatabase, tmp_path: Path
) -> None:
    minutes = [0, 1, 2, 59_998, 60_001, 60_002]
    rows = "".join(f"{n * 60_000},2,2,1,2,1\n" for n in minutes)
    file = tmp_path / "bybit_linear_GAPUSDT_1.csv"
    file.write_text("ts,open,high,low,close,volume\n" + rows)
    async with ground(clone, file, "1970-02-11T16:02:30Z") as its:
        series = await its.series("GAPUSDT", Interval.MINUTE)
        told = await its.fill(series, span("1970-01-01", "1970-02-11T16:02"))
        minute = timedelta(minutes=1)
        begin_at = at("1970-01-01")
        assert await its.gaps(series) == [
            Span(begin_at=begin_at + 3 * minute, end_at=begin_at + 59_998 * minute),
            Span(begin_at=begin_at + 59_999 * minute, end_at=begin_at + 60_001 * minute),
        ]
        assert told[-1].stored == 5, "the sixth is forming"


async def test_a_month_is_as_long_as_it_is(clone: CloneDatabase) -> None:
    async with ground(clone, None, "2025-03-15T00:00Z") as its:
        series = await its.series("BTCUSDT", Interval.MONTH)
        whole = span("2024-11-01", "2025-03-01")
        await its.fill(series, whole)
        stored = await its.stored(series, whole)
        assert [kept.open_time.month for kept in stored] == [11, 12, 1, 2]
        async with its.db.connection() as conn:
            assert (await known_spans(conn, series, whole))[0] == [whole]


async def test_a_venue_without_any_candle_of_it_fills_nothing(clone: CloneDatabase) -> None:
    async with ground(clone, None, "2025-03-15T00:00Z") as its:
        series = replace(await its.series("BTCUSDT", Interval.DAY), first_open_time=None)
        assert await its.fill(series, span("2025-01-01", "2025-02-01")) == []


async def test_a_closed_candle_never_changes_and_another_story_is_logged(
    clone: CloneDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    async with ground(clone, None, "2025-03-15T00:00Z") as its:
        series = await its.series("BTCUSDT", Interval.MINUTE)
        first = [candle("2025-01-31T23:59"), candle("2025-02-01T00:00")]
        assert (await store(its.db, series, first)).count == 2
        assert (await store(its.db, series, [])).count == 0
        other = [candle("2025-01-31T23:59", "3"), candle("2025-02-01T00:00"),
                 candle("2025-02-01T00:01")]  # fmt: skip
        inserted = await store(its.db, series, other)
        assert (inserted.count, inserted.differing) == (1, [(series.id, at("2025-01-31T23:59"))])
        assert "other numbers" in caplog.text
        stored = await its.stored(series, span("2025-01-01", "2025-03-01"))
        assert stored == [*first, candle("2025-02-01T00:01")]
        assert format(stored[0].volume, "f") == "0.50", "every digit is kept"


async def test_the_live_stream_and_the_download_meet_without_overlap_or_hole(
    clone: CloneDatabase,
) -> None:
    async with ground(clone, None, "2025-03-15T00:00Z") as its:
        series = await its.series("BTCUSDT", Interval.MINUTE)
        whole = span("2025-02-28T22:00", "2025-03-01T02:00")
        live = await its.client.fetch_candles(
            series.symbol,
            series.category,
            series.interval,
            span("2025-02-28T23:00", "2025-03-01T02:00"),
        )

        async def stream() -> None:
            for n in range(0, len(live), 10):
                await store(its.db, series, live[n : n + 10])

        await asyncio.gather(its.fill(series, whole), stream(), stream())
        stored = await its.stored(series, whole)
        assert len(stored) == 240
        assert stored[60:] == live


async def test_a_minute_of_many_series_is_stored_at_once(clone: CloneDatabase) -> None:
    async with ground(clone, None, "2025-03-15T00:00Z") as its:
        bitcoin = await its.series("BTCUSDT", Interval.MINUTE)
        ether = await its.series("ETHUSDT", Interval.MINUTE)
        minute = [(ether, candle("2025-01-01", "4")), (bitcoin, candle("2025-01-01"))]
        assert (await store_many(its.db, minute)).count == 2
        assert (await store_many(its.db, minute)).count == 0
        whole = span("2025-01-01", "2025-01-02")
        assert await its.stored(ether, whole) == [candle("2025-01-01", "4")]
        assert await its.stored(bitcoin, whole) == [candle("2025-01-01")]


async def test_months_that_are_too_old_are_dropped_whole(clone: CloneDatabase) -> None:
    async with ground(clone, None, "2025-03-15T00:00Z") as its:
        series = await its.series("BTCUSDT", Interval.MINUTE)
        for day in ("2024-12-31", "2025-01-31", "2025-02-28"):
            await store(its.db, series, [candle(f"{day}T23:59")])
        async with its.db.connection() as conn:
            dropped = await candles.drop_partitions(conn, before=at("2025-02-27T12:00"))
        assert dropped == ["candles_2024_12", "candles_2025_01"]
        stored = await its.stored(series, span("2024-01-01", "2026-01-01"))
        assert [kept.open_time for kept in stored] == [at("2025-02-28T23:59")]


async def test_a_role_that_may_not_create_tables_can_begin_a_month(clone: CloneDatabase) -> None:
    address = await clone()
    admin = await asyncpg.connect(**address.connect_arguments())
    role = f"candle_writer_{os.getpid()}"
    await admin.execute(f"""
        CREATE ROLE {role};
        GRANT SELECT, INSERT, UPDATE ON candles, candle_series, candle_gaps TO {role};
    """)
    try:
        await admin.execute(f"SET ROLE {role}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await admin.execute("CREATE TABLE candles_by_hand (id int)")
        series = await candles.upsert_series(
            admin, venue=Venue.BYBIT, category=Category.SPOT, symbol=Symbol("BTCUSDT"),
            interval=Interval.MINUTE, first_open_time=None,
        )  # fmt: skip
        month = span("2031-12-31T23:00", "2032-01-01T01:00")
        await candles.ensure_partitions(admin, span=month)
        await candles.insert_candles(
            admin,
            series_ids=[series.id] * 2,
            candles=[candle("2031-12-31T23:59"), candle("2032-01-01")],
        )
        assert len(await candles.get_candles(admin, series_id=series.id, span=month, limit=10)) == 2
    finally:
        await admin.execute("RESET ROLE")
        await admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await admin.close()


async def test_no_month_is_dropped_while_somebody_is_about_to_store_candles_in_it(
    clone: CloneDatabase,
) -> None:
    async with ground(clone, None, "2025-06-02T12:00:30Z") as its:
        series = await its.series("BTCUSDT", Interval.MINUTE)
        await store(its.db, series, [candle("2025-06-01T00:00")])

        async def drop() -> list[str]:
            async with its.db.transaction() as conn:
                await conn.execute("SET LOCAL lock_timeout = '50ms'")
                return await candles.drop_partitions(conn, before=at("2025-07-01"))

        async def meanwhile(_: Connection) -> None:
            with pytest.raises(RowLocked):
                await drop()

        stored = await store(its.db, series, [candle("2025-06-01T00:01")], fence=meanwhile)
        assert stored.count == 1
        assert await drop() == ["candles_2025_06"]
