"""Forgets idempotency keys that nobody can still be retrying with."""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Final

from app.db.dao.idempotency_keys import delete_old_keys
from app.db.database import Database
from app.jobs.batches import delete_in_batches
from app.jobs.supervisor import Done, tell_nobody

AGE_MIN: Final = timedelta(hours=24)
INTERVAL_SECONDS: Final = 600.0


async def run(db: Database, *, done: Done = tell_nobody) -> None:
    """Purge now and every ten minutes."""
    while True:
        await purge(db)
        done()
        await asyncio.sleep(INTERVAL_SECONDS)


async def purge(db: Database) -> int:
    """Delete the keys that are older than a day; return how many."""
    return await delete_in_batches(db, partial(delete_old_keys, age_min=AGE_MIN))
