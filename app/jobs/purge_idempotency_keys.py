"""Forgets idempotency keys that nobody can still be retrying with."""

import asyncio
from datetime import timedelta
from typing import Final

from app.db.dao.idempotency_keys import delete_old_keys
from app.db.database import Database
from app.jobs.supervisor import Done, tell_nobody

AGE_MIN: Final = timedelta(hours=24)
BATCH: Final = 1000
INTERVAL_SECONDS: Final = 600.0
PAUSE_SECONDS: Final = 0.1


async def run(db: Database, *, done: Done = tell_nobody) -> None:
    """Purge now and every ten minutes."""
    while True:
        await purge(db)
        done()
        await asyncio.sleep(INTERVAL_SECONDS)


async def purge(db: Database) -> int:
    """Delete the keys older than a day in small batches; return how many."""
    total = 0
    while True:
        async with db.connection() as conn:
            deleted = await delete_old_keys(conn, age_min=AGE_MIN, limit=BATCH)
        total += deleted
        if deleted < BATCH:
            return total
        await asyncio.sleep(PAUSE_SECONDS)
