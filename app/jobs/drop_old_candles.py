"""Drops the months of candles that lie wholly before CANDLE_RETENTION_DAYS.

Any number of processes may do it: what one has dropped is not there for the next.
"""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from app.db.dao import candles
from app.db.database import Database
from app.jobs.supervisor import Done, tell_nobody

INTERVAL_SECONDS: Final = 3600.0

_log = logging.getLogger(__name__)


async def run(db: Database, *, days: int, done: Done = tell_nobody) -> None:
    """Drop now and every hour; with 0 days nothing, ever."""
    while True:
        if days:
            await drop(db, before=datetime.now(UTC) - timedelta(days=days))
        done()
        await asyncio.sleep(INTERVAL_SECONDS)


async def drop(db: Database, *, before: datetime) -> list[str]:
    """Drop what ended by the instant; return the names of the months' tables."""
    async with db.transaction() as conn:
        dropped = await candles.drop_partitions(conn, before=before)
        await candles.delete_old_gaps(conn, before=before)
    if dropped:
        _log.info("old candles dropped", extra={"partitions": dropped})
    return dropped
