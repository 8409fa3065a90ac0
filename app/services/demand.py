"""What somebody wants to have streamed: the sum of everybody's wishes, bounded."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Final

from app.domain.live import Topic

TOPICS_MAX: Final = 2000
"""Most topics that are streamed for one installation; the oldest passing wishes go first."""

TOUCH_SECONDS: Final = 60.0
"""How long a topic that was asked about once is streamed for."""


class Demand:
    """The wishes of one process."""

    def __init__(self, *, monotonic: Callable[[], float], topics_max: int = TOPICS_MAX) -> None:
        self._monotonic = monotonic
        self._topics_max = topics_max
        self._held: Counter[Topic] = Counter()
        self._stated: dict[str, tuple[frozenset[Topic], float]] = {}
        self._until: dict[Topic, float] = {}  # the oldest first
        self._has_changed = asyncio.Event()

    @contextmanager
    def hold(self, topics: Collection[Topic]) -> Iterator[None]:
        """Want these for as long as the block runs: a connected client, a running strategy."""
        held = list(topics)
        self._held.update(held)
        self._has_changed.set()
        try:
            yield
        finally:
            self._held.subtract(held)
            self._held += Counter()  # forgets what nobody holds any more
            self._has_changed.set()

    def state(self, who: str, topics: Collection[Topic], *, seconds: float) -> None:
        """Instead of whatever `who` stated before, these are wanted for so long."""
        known = self._stated.get(who)
        stated = frozenset(topics)
        self._stated[who] = (stated, self._monotonic() + seconds)
        if known is None or known[0] != stated:
            self._has_changed.set()

    def add(self, who: str, topics: Collection[Topic], *, seconds: float) -> None:
        """Besides what `who` stated before, these are wanted; all of it for so long."""
        known = self._stated.get(who)
        self.state(who, (known[0] if known else frozenset()) | frozenset(topics), seconds=seconds)

    def touch(self, topic: Topic, *, seconds: float = TOUCH_SECONDS) -> None:
        """Somebody asked about this now and may ask again."""
        if self._until.pop(topic, None) is None:
            self._has_changed.set()
        self._until[topic] = self._monotonic() + seconds
        if len(self._until) > self._topics_max:
            del self._until[next(iter(self._until))]

    def wanted(self) -> frozenset[Topic]:
        """Everything that is wanted now; what is held goes before what was stated or touched."""
        now = self._monotonic()
        for who in [who for who, (_, until) in self._stated.items() if until <= now]:
            del self._stated[who]
        for topic in [topic for topic, until in self._until.items() if until <= now]:
            del self._until[topic]
        wanted = dict.fromkeys(self._held)
        for topics, _ in self._stated.values():
            wanted |= dict.fromkeys(sorted(topics))
        wanted |= dict.fromkeys(reversed(self._until))
        return frozenset(list(wanted)[: self._topics_max])

    async def wait_for_change(self, *, seconds_max: float) -> None:
        """Return when a wish was added or dropped, or after `seconds_max`: wishes expire too."""
        try:
            async with asyncio.timeout(seconds_max):
                await self._has_changed.wait()
        except TimeoutError:
            return
        self._has_changed.clear()
