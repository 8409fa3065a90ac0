"""Forgets sessions that are over, with their refresh tokens."""

import asyncio
from typing import Final

from app.db.dao.sessions import delete_old_sessions
from app.db.database import Database
from app.jobs.supervisor import Done, tell_nobody

BATCH: Final = 1000
INTERVAL_SECONDS: Final = 3600.0
PAUSE_SECONDS: Final = 0.1


async def run(db: Database, *, done: Done = tell_nobody) -> None:
    """Purge now and every hour."""
    while True:
        await purge(db)
        done()
        await asyncio.sleep(INTERVAL_SECONDS)


async def purge(db: Database) -> int:
    """Delete in small batches what can be renewed no more; return how many sessions."""
    total = 0
    while True:
        async with db.connection() as conn:
            deleted = await delete_old_sessions(conn, limit=BATCH)
        total += deleted
        if deleted < BATCH:
            return total
        await asyncio.sleep(PAUSE_SECONDS)
