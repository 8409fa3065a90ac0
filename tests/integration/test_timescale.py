"""The optional hypertable, proven only where the extension is installed."""

from datetime import UTC, datetime
from decimal import Decimal

import asyncpg
import pytest
from app.core.config import PROJECT
from app.db.dao import candles
from app.domain.candles import Candle, Interval, Span
from app.domain.instruments import Category, Symbol, Venue
from tests.conftest import CloneDatabase


async def test_candles_move_into_a_hypertable_and_are_read_and_written_as_before(
    clone: CloneDatabase,
) -> None:
    conn = await asyncpg.connect(**(await clone()).connect_arguments())
    try:
        if not await conn.fetchval(
            "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')"
        ):
            pytest.skip("SKIPPED, NOT PROVEN: this PostgreSQL has no TimescaleDB")
        series = await candles.upsert_series(
            conn, venue=Venue.BYBIT, category=Category.SPOT, symbol=Symbol("BTCUSDT"),
            interval=Interval.DAY, first_open_time=None,
        )  # fmt: skip
        one = Decimal(1)
        days = [
            Candle(open_time=datetime(2025, month, 1, tzinfo=UTC), open=one, high=one, low=one,
                   close=one, volume=one, turnover=one)
            for month in (1, 2)
        ]  # fmt: skip
        whole = Span(begin_at=days[0].open_time, end_at=datetime(2025, 3, 1, tzinfo=UTC))
        await candles.ensure_partitions(conn, span=whole)
        await candles.insert_candles(conn, series_ids=[series.id], candles=days[:1])
        await conn.execute((PROJECT / "db" / "timescale" / "candles_hypertable.sql").read_text())
        await candles.ensure_partitions(conn, span=whole)
        inserted = await candles.insert_candles(conn, series_ids=[series.id] * 2, candles=days)
        assert inserted.count == 1
        read = await candles.get_candles(conn, series_id=series.id, span=whole, limit=9)
        assert read == days
        assert len(await candles.drop_partitions(conn, before=days[1].open_time)) == 1
    finally:
        await conn.close()
