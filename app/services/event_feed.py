"""Who follows a user's events, and waking them.

Events are read from their table by number; what is passed here is only the hint that there
may be a new one. A hint that is lost costs a reader one look of the poll, never an event.
"""

import asyncio
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from app.domain.access import Credential
from app.domain.errors import TooManyRequests, Unavailable
from app.domain.users import UserId

TOO_MANY_RETRY_SECONDS: Final = 5
UNTOLD_MAX: Final = 10_000
"""Most users that are remembered to be told about; the others are found by polling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """What one process gives to those who follow."""

    per_user: int = 20
    per_process: int = 500
    keep_alive_seconds: float = 15.0
    """A stream is never silent for longer."""
    send_seconds: float = 10.0
    """How long a consumer may take for one message before it is cut off."""
    opening_seconds: float = 10.0
    """How long a WebSocket may take to say who asks."""
    recheck_seconds: float = 60.0
    """How often a stream asks whether its token is still good."""


class TooManyStreams(TooManyRequests):
    """The user follows as often as is allowed, with streams and long polls together."""

    code = "too_many_streams"

    def __init__(self, streams_max: int) -> None:
        super().__init__(
            f"this account has {streams_max} streams open already: close one",
            retry_after_seconds=TOO_MANY_RETRY_SECONDS,
        )
        self.streams_max = streams_max


class StreamsExhausted(Unavailable):
    """This process has as many streams as it can serve."""

    code = "streams_exhausted"

    def __init__(self) -> None:
        super().__init__("this server has no stream left: ask again later, or poll GET /events")


class EventReader:
    """One who follows a user's events, and how far they have read."""

    def __init__(
        self, user_id: UserId, *, after: int, credential: Credential | None = None
    ) -> None:
        self.user_id = user_id
        self.credential = credential
        self.number = after
        self.is_closed = False
        self.is_doubted = False
        """Whether the credential has to be checked before anything else is read."""
        self._is_hinted = False
        self._waiting: asyncio.Future[None] | None = None

    def hint(self) -> None:
        """Say that there may be something new."""
        self._is_hinted = True
        self._go_on()

    def doubt(self) -> None:
        """Say that the credential may not count any more."""
        self.is_doubted = True
        self.hint()

    def forget_hint(self) -> None:
        """To be called before a look at the table, so that a hint during it is not lost."""
        self._is_hinted = self.is_closed

    async def wait(self, *, seconds_max: float) -> bool:
        """Whether a hint came within the time."""
        if not self._is_hinted:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            timer = loop.call_later(seconds_max, self._go_on)
            try:
                await self._waiting
            finally:
                timer.cancel()
        return self._is_hinted

    def close(self) -> None:
        """Let the reader end instead of waiting any longer."""
        self.is_closed = True
        self.hint()

    def _go_on(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class EventFeed:
    """The readers of this process, and whom the other processes have to be told about."""

    def __init__(self, limits: StreamLimits | None = None) -> None:
        self.limits = StreamLimits() if limits is None else limits
        self._readers: dict[UserId, set[EventReader]] = {}
        self.count = 0
        self._untold: set[UserId] = set()
        self._has_untold = asyncio.Event()
        self._untold_since = 0.0
        self._is_closed = False

    def wake(self, user_id: UserId) -> None:
        """Say that the user may have a new event, here and soon everywhere."""
        self.wake_here(user_id)
        if len(self._untold) < UNTOLD_MAX:
            if not self._untold:
                self._untold_since = time.monotonic()
            self._untold.add(user_id)
            self._has_untold.set()

    def wake_here(self, user_id: UserId) -> None:
        """Say so in this process only."""
        for reader in self._readers.get(user_id, ()):
            reader.hint()

    async def take_untold(self, *, seconds_max: float) -> list[UserId]:
        """Who was woken since the last call; nobody if that takes longer than `seconds_max`."""
        try:
            async with asyncio.timeout(seconds_max):
                await self._has_untold.wait()
        except TimeoutError:
            return []
        untold = list(self._untold)
        self._untold.clear()
        self._has_untold.clear()
        return untold

    @property
    def untold(self) -> tuple[int, float]:
        """How many users the other processes are to be told of, and since how many seconds."""
        if not self._untold:
            return 0, 0.0
        return len(self._untold), time.monotonic() - self._untold_since

    def followed(self) -> dict[UserId, int]:
        """Every user with a reader, and the number that the last of their readers is at."""
        return {
            user_id: min(reader.number for reader in readers)
            for user_id, readers in self._readers.items()
        }

    def credentials(self) -> set[Credential]:
        """What the readers of this process proved with who they are."""
        return {
            reader.credential
            for readers in self._readers.values()
            for reader in readers
            if reader.credential is not None
        }

    def doubt(self, credentials: Collection[Credential]) -> None:
        """Have every reader with one of these check it."""
        for readers in self._readers.values():
            for reader in readers:
                if reader.credential in credentials:
                    reader.doubt()

    @contextmanager
    def reader(
        self, user_id: UserId, *, after: int, credential: Credential | None = None
    ) -> Iterator[EventReader]:
        """Follow for as long as the block runs. Raises TooManyStreams or StreamsExhausted."""
        if len(self._readers.get(user_id, ())) >= self.limits.per_user:
            raise TooManyStreams(self.limits.per_user)
        if self.count >= self.limits.per_process:
            raise StreamsExhausted
        reader = EventReader(user_id, after=after, credential=credential)
        if self._is_closed:
            reader.close()
        readers = self._readers.setdefault(user_id, set())
        readers.add(reader)
        self.count += 1
        try:
            yield reader
        finally:
            self.count -= 1
            readers.discard(reader)
            if not readers:
                del self._readers[user_id]

    def close(self) -> None:
        """End every reader, also those to come: the process is about to stop."""
        self._is_closed = True
        for readers in self._readers.values():
            for reader in readers:
                reader.close()
