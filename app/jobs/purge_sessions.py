"""Forgets sessions that are over, with their refresh tokens."""

import asyncio
from typing import Final

from app.db.dao.sessions import delete_old_sessions
from app.db.database import Database
from app.jobs.batches import delete_in_batches
from app.jobs.supervisor import Done, tell_nobody

INTERVAL_SECONDS: Final = 3600.0


async def run(db: Database, *, done: Done = tell_nobody) -> None:
    """Purge now and every hour."""
    while True:
        await purge(db)
        done()
        await asyncio.sleep(INTERVAL_SECONDS)


async def purge(db: Database) -> int:
    """Delete what can be renewed no more; return how many sessions."""
    return await delete_in_batches(db, delete_old_sessions)
