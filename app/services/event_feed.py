"""Who waits for a user's next event, and waking them.

Events are read from their table by number; what is passed here is only the hint that there
may be a new one. A hint that is lost costs a reader one poll interval, never an event.
"""

import asyncio
from typing import Final

from app.domain.users import UserId

POLL_SECONDS: Final = 1.0
"""How long a reader sleeps at most between two looks at the table."""


class EventFeed:
    """Wakes the readers of this process."""

    def __init__(self) -> None:
        self._waiting: dict[UserId, set[asyncio.Event]] = {}

    def wake(self, user_id: UserId) -> None:
        """Say that the user may have a new event."""
        for waiting in self._waiting.get(user_id, ()):
            waiting.set()

    async def wait(self, user_id: UserId, *, seconds_max: float) -> None:
        """Sleep until woken, or for `seconds_max` or POLL_SECONDS, whichever is less."""
        hint = asyncio.Event()
        readers = self._waiting.setdefault(user_id, set())
        readers.add(hint)
        try:
            async with asyncio.timeout(min(seconds_max, POLL_SECONDS)):
                await hint.wait()
        except TimeoutError:
            pass
        finally:
            readers.discard(hint)
            if not readers:
                self._waiting.pop(user_id, None)
