"""Forgets attempts that no longer count against anybody."""

import asyncio
from typing import Final

from app.db.dao.attempts import delete_old_attempts
from app.db.database import Database
from app.domain.attempts import WINDOW_MAX
from app.jobs.supervisor import Done, tell_nobody

INTERVAL_SECONDS: Final = 600.0


async def run(db: Database, *, done: Done = tell_nobody) -> None:
    """Purge now and every ten minutes."""
    while True:
        async with db.connection() as conn:
            await delete_old_attempts(conn, age_min=WINDOW_MAX)
        done()
        await asyncio.sleep(INTERVAL_SECONDS)
