"""Reading a user's events: a page of them, or all that come.

A look at the table takes a connection for one moment; none is held while waiting, nor while
a consumer takes its time.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from app.db.dao import events
from app.db.database import Database
from app.domain.events import NumberedEvent
from app.services.event_feed import EventReader, StreamLimits

BATCH: Final = 100
LOOK_SECONDS: Final = 1.0
"""How soon a long poll notices that its caller has left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """The next events after a number, and the number of the last one that exists."""

    events: Sequence[NumberedEvent]
    last_number: int


async def read_page(
    db: Database,
    reader: EventReader,
    *,
    limit: int,
    wait_seconds: float,
    has_left: Callable[[], Awaitable[bool]],
    recheck: Callable[[], Awaitable[object]],
) -> EventPage:
    """What comes after the reader's number; if there is nothing, as soon as there is.

    After `wait_seconds`, or when the caller `has_left`, an empty page. Raises whatever
    `recheck` does when the reader may not go on.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + wait_seconds
    while True:
        if reader.is_doubted:
            reader.is_doubted = False
            await recheck()
        reader.forget_hint()
        page = await _page(db, reader, limit=limit)
        if page.events:
            return page
        while not reader.is_closed:
            left_seconds = until - clock()
            if left_seconds <= 0 or await has_left():
                return page
            if await reader.wait(seconds_max=min(left_seconds, LOOK_SECONDS)):
                break
        else:
            return page


async def follow(
    db: Database,
    reader: EventReader,
    *,
    recheck: Callable[[], Awaitable[object]],
    limits: StreamLimits,
) -> AsyncGenerator[Sequence[NumberedEvent], None]:
    """Batches after the reader's number until it is closed; empty ones to keep a line alive.

    Raises DatabaseUnavailable, and whatever `recheck` raises when the reader may not go on.
    """
    clock = asyncio.get_running_loop().time
    recheck_at = clock() + limits.recheck_seconds
    while not reader.is_closed:
        if reader.is_doubted or clock() >= recheck_at:
            reader.is_doubted = False
            await recheck()
            recheck_at = clock() + limits.recheck_seconds
        reader.forget_hint()
        async with db.connection() as conn:
            batch = await events.get_events(
                conn, user_id=reader.user_id, after=reader.number, limit=BATCH
            )
        if batch:
            reader.number = batch[-1].number
            yield batch
        elif not await reader.wait(seconds_max=limits.keep_alive_seconds):
            yield ()


async def _page(db: Database, reader: EventReader, *, limit: int) -> EventPage:
    async with db.snapshot() as conn:
        numbers = await events.get_last_event_numbers(conn, user_ids=[reader.user_id])
        found = await events.get_events(
            conn, user_id=reader.user_id, after=reader.number, limit=limit
        )
    return EventPage(events=found, last_number=numbers.get(reader.user_id, 0))
