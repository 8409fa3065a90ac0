"""Tells the other processes whose events to look for, and wakes readers they tell of.

It happens after the orders' own transactions: a NOTIFY inside them would halve how many can
be placed in a second.
"""

import asyncio
from functools import partial
from typing import Final

from app.db.address import DatabaseAddress
from app.db.notifications import open_channel
from app.domain.users import UserId
from app.jobs.supervisor import Done, tell_nobody
from app.services.event_feed import EventFeed

CHANNEL: Final = "goblin_events"
PAUSE_SECONDS: Final = 0.05
USERS_PER_TEXT_MAX: Final = 100
CHECK_SECONDS: Final = 10.0
ID_DIGITS_MAX: Final = 19


async def run(address: DatabaseAddress, feed: EventFeed, *, done: Done = tell_nobody) -> None:
    """Tell at most every 50 ms. Raises DatabaseUnavailable when the connection is lost."""
    async with open_channel(address, CHANNEL, hear=partial(hear, feed)) as channel:
        while True:
            users = await feed.take_untold(seconds_max=CHECK_SECONDS)
            if users:
                await channel.tell(spell(users))
            else:
                await channel.check()
            done()
            await asyncio.sleep(PAUSE_SECONDS)


def spell(users: list[UserId]) -> list[str]:
    """The users as texts that each fit into one notification."""
    return [
        ",".join(str(user_id) for user_id in users[start : start + USERS_PER_TEXT_MAX])
        for start in range(0, len(users), USERS_PER_TEXT_MAX)
    ]


def hear(feed: EventFeed, text: str) -> None:
    """Wake the readers of these users; anybody can send, so what is no number is ignored."""
    for part in text.split(","):
        if part.isascii() and part.isdigit() and len(part) <= ID_DIGITS_MAX:
            feed.wake_here(UserId(int(part)))
