"""Writes down when API keys were used, so that no request has to."""

import asyncio
from typing import Final

from app.db.database import Database
from app.db.errors import DatabaseUnavailable
from app.jobs.supervisor import Done, tell_nobody
from app.services.authentication import ApiKeyUses

INTERVAL_SECONDS: Final = 1.0


async def run(db: Database, uses: ApiKeyUses, *, done: Done = tell_nobody) -> None:
    """Write every second what there is to write: a key at most once a minute."""
    while True:
        await asyncio.sleep(INTERVAL_SECONDS)
        try:
            await uses.write_down(db)
        except DatabaseUnavailable:
            continue
        done()
