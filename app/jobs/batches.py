"""Deleting much without holding anybody up: a small batch at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from app.db.database import Database

BATCH: Final = 1000
PAUSE_SECONDS: Final = 0.1


async def delete_in_batches(db: Database, delete: Callable[..., Awaitable[int]]) -> int:
    """Delete until a batch is not full any more; return how many rows it were in all.

    `delete(conn, limit=...)` returns how many it has deleted.
    """
    total = 0
    while True:
        async with db.connection() as conn:
            deleted = await delete(conn, limit=BATCH)
        total += deleted
        if deleted < BATCH:
            return total
        await asyncio.sleep(PAUSE_SECONDS)
