"""What the stream says has closed is stored, by the one process that may, and without a hole."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg
from app.clients.bybit import BybitClient
from app.clients.bybit_socket import StreamTimes
from app.clients.venue_http import venue_http_client
from app.db.address import DatabaseAddress
from app.db.connection import Connection
from app.db.database import open_database
from app.domain.candles import Interval, Span
from app.domain.instruments import Category, Symbol, Venue
from app.domain.live import Channel, LiveCandle, Topic
from app.jobs.stream_market import LEASE
from app.replay import replay
from app.services.candle_store import fill, open_series
from app.services.live_candles import LiveCandles
from pyarrow import parquet
from tests.concurrency.test_market_streams import QUICK, eventually, running
from tests.conftest import CloneDatabase

BTC = Symbol("BTCUSDT")
LINEAR = Topic(Category.LINEAR, BTC, Channel.CANDLE, "1")
SPOT = Topic(Category.SPOT, BTC, Channel.CANDLE, "1")
MINUTE = timedelta(minutes=1)
START = datetime(2025, 6, 2, tzinfo=UTC)
HASTE = StreamTimes(reconnect_min=0.05, reconnect_max=0.2)


def live(
    minute: int, *, is_closed: bool = True, high: str = "3", volume: str = "0.50"
) -> LiveCandle:
    open_ms = round(START.timestamp() * 1000) + minute * 60_000
    return LiveCandle(
        interval="1", open_ms=open_ms, end_ms=open_ms + 59_999, open=Decimal(2), high=Decimal(high),
        low=Decimal(1), close=Decimal("2.5"), volume=Decimal(volume), turnover=Decimal(1),
        is_closed=is_closed, venue_time_ms=open_ms + 60_000,
    )  # fmt: skip


async def stored_of(conn: asyncpg.Connection, symbol: str = BTC) -> dict[datetime, asyncpg.Record]:
    rows = await conn.fetch(
        """
        SELECT candles.* FROM candles JOIN candle_series ON series_id = candle_series.id
        WHERE symbol = $1 ORDER BY open_time
        """,
        symbol,
    )
    return {row["open_time"]: row for row in rows}


async def anybody(conn: Connection) -> None:
    """No fence."""


@asynccontextmanager
async def keeping_candles(
    address: DatabaseAddress, *, fence: Callable[[Connection], Awaitable[None]]
) -> AsyncIterator[LiveCandles]:
    """What stores them, beside a venue whose clock stands still."""
    async with (
        replay(None, start="2025-06-02T00:10Z", speed=0) as exchange,
        open_database(address, pool_size=2) as db,
        venue_http_client(exchange.base_url) as http,
    ):
        yield LiveCandles(db, BybitClient(http, timeout_seconds=10), fence=fence)


async def test_an_hour_at_high_speed_with_random_cuts_ends_with_exactly_the_candles_of_the_file(
    clone: CloneDatabase, shared_data: Path
) -> None:
    """A backfill stored the hour before; the stream goes on where it ended."""
    file = shared_data / "candles" / "bybit_linear_BTCUSDT_1.parquet"
    address = await clone()
    conn = await asyncpg.connect(**address.connect_arguments())
    chance = random.Random(5)
    async with replay(file, start="2025-06-02T00:00:30Z", speed=0) as exchange:
        async with (
            open_database(address, pool_size=2) as db,
            venue_http_client(exchange.base_url) as http,
        ):
            source = BybitClient(http, timeout_seconds=10)
            series = await open_series(
                db, source, venue=Venue.BYBIT, category=Category.LINEAR, symbol=BTC,
                interval=Interval.MINUTE,
            )  # fmt: skip
            before = Span(begin_at=START - timedelta(hours=1), end_at=START - 5 * MINUTE)
            async for _ in fill(db, source, series, before):
                pass
        asked = exchange.requests.count("/v5/market/kline")
        end_at = START + timedelta(hours=1)
        async with running(address, exchange, "here", times=HASTE) as streaming:
            with streaming.demand.hold([LINEAR]):
                await eventually(lambda: streaming.board.get(LINEAR) is not None)
                exchange.clock.set_speed(600)
                cuts = 0
                while (
                    exchange.clock.now_ms() < end_at.timestamp() * 1000
                    or cuts < 5
                    or exchange.requests.count("/v5/market/kline") <= asked + 1  # no holes yet
                ):
                    exchange.faults.add("stream_cut", times=1)
                    cuts += 1
                    await asyncio.sleep(chance.uniform(0.2, 0.9))
                exchange.faults.clear()
                exchange.clock.set_speed(60)
                stored = await until_stored(conn, 120, end_at=end_at)
    await conn.close()
    assert_is_the_file(file, stored)


async def until_stored(
    conn: asyncpg.Connection, count: int, *, end_at: datetime
) -> dict[datetime, asyncpg.Record]:
    """So many candles that open before an instant, once they are there."""
    stored: dict[datetime, asyncpg.Record] = {}
    async with asyncio.timeout(20):
        while len(stored) < count:
            await asyncio.sleep(0.05)
            stored = {at: row for at, row in (await stored_of(conn)).items() if at < end_at}
    return stored


def assert_is_the_file(file: Path, stored: dict[datetime, asyncpg.Record]) -> None:
    first, last = min(stored), max(stored)
    table = parquet.read_table(file)
    rows = {
        datetime.fromtimestamp(row["ts"] // 1000, UTC): row
        for row in table.to_pylist()
        if first <= datetime.fromtimestamp(row["ts"] // 1000, UTC) <= last
    }
    assert list(stored) == sorted(rows), "neither overlap nor hole"
    for at, row in rows.items():
        for name in ("open", "high", "low", "close", "volume"):
            assert stored[at][name] == Decimal(repr(row[name])), (at, name)


async def test_only_closed_candles_that_make_sense_are_stored(clone: CloneDatabase) -> None:
    address = await clone()
    conn = await asyncpg.connect(**address.connect_arguments())
    async with (
        replay(None, start="2025-06-02T00:10Z", speed=0) as exchange,
        open_database(address, pool_size=2) as db,
        venue_http_client(exchange.base_url) as http,
    ):
        keeping = LiveCandles(db, BybitClient(http, timeout_seconds=10), fence=anybody)
        nonsense = live(2, high="0.5")
        await keeping.store({SPOT: (live(0), live(1), nonsense, live(3, is_closed=False))})
        assert list(await stored_of(conn)) == [START, START + MINUTE]
        assert not keeping.holes
        assert exchange.requests.count() == 0, "the venue is not asked before there is a hole"
        await keeping.store({SPOT: (live(4),)})
        assert list(keeping.holes) == [SPOT]
        other = replace(SPOT, symbol=Symbol("ETHUSDT"))
        await keeping.store({other: (live(0),)})
        await keeping.store({other: (live(10_000),)})
        end_at = START + 10_000 * MINUTE
        assert keeping.holes[other] == Span(begin_at=end_at - 5000 * MINUTE, end_at=end_at)
    await conn.close()


async def test_a_closed_candle_that_is_told_again_hides_no_hole(clone: CloneDatabase) -> None:
    """As when a topic is followed again: what is known comes first, and then what closes."""
    address = await clone()
    async with keeping_candles(address, fence=anybody) as keeping:
        await keeping.store({SPOT: (live(0), live(1))})
        await keeping.store({SPOT: (live(1), live(3))})
        assert keeping.holes == {SPOT: Span(begin_at=START + 2 * MINUTE, end_at=START + 3 * MINUTE)}
    async with keeping_candles(await clone(), fence=anybody) as keeping:
        await keeping.store({SPOT: (live(0), live(0), live(2))})
        assert list(keeping.holes) == [SPOT]


async def test_a_hole_that_cannot_be_filled_now_is_filled_later(clone: CloneDatabase) -> None:
    address = await clone()
    conn = await asyncpg.connect(**address.connect_arguments())
    async with (
        replay(None, start="2025-06-02T00:10Z", speed=0) as exchange,
        open_database(address, pool_size=2) as db,
        venue_http_client(exchange.base_url) as http,
    ):
        keeping = LiveCandles(
            db, BybitClient(http, timeout_seconds=10), fence=anybody, retry_seconds=0.05
        )
        filling = asyncio.create_task(keeping.fill_holes())
        exchange.faults.add("status_500", times=2)
        await keeping.store({SPOT: (live(0),)})
        await keeping.store({SPOT: (live(6),)})
        await keeping.store({SPOT: (live(7),)})
        await eventually(lambda: not keeping.holes)
        filling.cancel()
        assert list(await stored_of(conn)) == [START + n * MINUTE for n in range(8)]
    await conn.close()


async def test_a_hole_that_grows_while_it_is_filled_is_filled_to_its_new_end(
    clone: CloneDatabase,
) -> None:
    address = await clone()
    conn = await asyncpg.connect(**address.connect_arguments())
    grown: list[dict[Topic, Span]] = []

    async def grow(_: Connection) -> None:
        """Later candles close while the first of the missing ones are being stored."""
        if asyncio.current_task() is filling and not grown:
            grown.append(dict(keeping.holes))
            await keeping.store({SPOT: (live(9),)})

    async with (
        replay(None, start="2025-06-02T00:10Z", speed=0) as exchange,
        open_database(address, pool_size=2) as db,
        venue_http_client(exchange.base_url) as http,
    ):
        source = BybitClient(http, timeout_seconds=10)
        keeping = LiveCandles(db, source, fence=grow, retry_seconds=0.05)
        filling = asyncio.create_task(keeping.fill_holes())
        await keeping.store({SPOT: (live(0),)})
        await keeping.store({SPOT: (live(6),)})
        await eventually(lambda: not keeping.holes)
        filling.cancel()
        assert grown == [{SPOT: Span(begin_at=START + MINUTE, end_at=START + 6 * MINUTE)}]
        assert list(await stored_of(conn)) == [START + n * MINUTE for n in range(10)]
    await conn.close()


async def test_what_closes_while_the_database_goes_away_is_a_hole_and_not_forgotten(
    clone: CloneDatabase,
) -> None:
    address = await clone()
    conn = await asyncpg.connect(**address.connect_arguments())
    is_leaving = False

    async def leave(borrowed: Connection) -> None:
        if is_leaving:
            await borrowed.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    async with keeping_candles(address, fence=leave) as keeping:
        await keeping.store({SPOT: (live(0),)})
        is_leaving = True
        await keeping.store({SPOT: (live(1),)})
        is_leaving = False
        assert list(await stored_of(conn)) == [START]
        await keeping.store({SPOT: (live(2),)})
        assert list(await stored_of(conn)) == [START, START + 2 * MINUTE]
        assert keeping.holes[SPOT].begin_at == START + MINUTE
    await conn.close()


async def test_what_closes_while_others_hold_the_candles_is_a_hole_and_ends_no_stream(
    clone: CloneDatabase,
) -> None:
    address = await clone()
    conn = await asyncpg.connect(**address.connect_arguments())

    async def hurry(borrowed: Connection) -> None:
        await borrowed.execute("SET LOCAL lock_timeout = '20ms'")

    async with keeping_candles(address, fence=hurry) as keeping:
        await keeping.store({SPOT: (live(0),)})
        async with conn.transaction():
            await conn.execute("LOCK TABLE candles IN SHARE MODE")
            await keeping.store({SPOT: (live(1),)})
        await keeping.store({SPOT: (live(2),)})
        assert list(await stored_of(conn)) == [START, START + 2 * MINUTE]
        assert keeping.holes[SPOT].begin_at == START + MINUTE
    await conn.close()


async def test_a_process_that_has_lost_its_lease_unawares_cannot_store_a_candle(
    clone: CloneDatabase,
) -> None:
    """It does not renew, so that nothing but the fence can stop it."""
    address = await clone()
    conn = await asyncpg.connect(**address.connect_arguments())
    unaware = replace(QUICK, lease=1000.0, renew=1000.0)
    async with (
        replay(None, start="2025-06-02T00:10Z", speed=600) as exchange,
        running(address, exchange, "here", relay=unaware) as here,
    ):
        with here.demand.hold([SPOT]):
            await until_stored(conn, 1, end_at=START + timedelta(days=1))
            await conn.execute(
                "UPDATE leases SET term = term + 1, holder = 'there', "
                "expires_at = clock_timestamp() + interval '1 hour' WHERE name = $1",
                LEASE,
            )
            count = len(await stored_of(conn))
            await eventually(lambda: here.term is None)
            assert len(await stored_of(conn)) == count
    await conn.close()
