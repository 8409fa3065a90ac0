"""Finds new events without being told: one question for all readers of this process."""

import asyncio
from typing import Final

from app.db.dao.events import get_last_event_numbers
from app.db.database import Database
from app.db.errors import DatabaseUnavailable
from app.jobs.supervisor import Done, tell_nobody
from app.services.event_feed import EventFeed

INTERVAL_SECONDS: Final = 1.0


async def run(db: Database, feed: EventFeed, *, done: Done = tell_nobody) -> None:
    """Look every second, also while the database comes and goes."""
    while True:
        await asyncio.sleep(INTERVAL_SECONDS)
        try:
            await poll(db, feed)
        except DatabaseUnavailable:
            continue
        done()


async def poll(db: Database, feed: EventFeed) -> None:
    """Wake the readers who have something to read."""
    followed = feed.followed()
    if not followed:
        return
    async with db.connection() as conn:
        numbers = await get_last_event_numbers(conn, user_ids=list(followed))
    for user_id, number in numbers.items():
        if number > followed[user_id]:
            feed.wake_here(user_id)
