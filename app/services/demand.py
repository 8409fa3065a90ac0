"""What somebody wants to have streamed: the sum of everybody's wishes, bounded."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Final

from app.domain.live import Channel, Topic

TOPICS_MAX: Final = 2000
"""Most topics that are streamed for one installation; the oldest passing wishes go first."""

PASSING_MAX: Final = {Channel.TICKER: 500}
PASSING_MAX_ELSE: Final = 50
"""Most topics of a channel that are streamed because somebody asked once. Anybody may ask, and a
book is fifty messages a second."""

TOUCH_SECONDS: Final = 60.0
"""How long a topic that was asked about once is streamed for."""


class Demand:
    """The wishes of one process."""

    def __init__(self, *, monotonic: Callable[[], float], topics_max: int = TOPICS_MAX) -> None:
        self._monotonic = monotonic
        self._topics_max = topics_max
        self._held: Counter[Topic] = Counter()
        self._stated: dict[str, dict[Topic, float]] = {}
        self._passing: dict[Channel, dict[Topic, float]] = {  # the oldest first
            channel: {} for channel in Channel
        }
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
        self._state(who, dict.fromkeys(topics, self._monotonic() + seconds))

    def add(self, who: str, topics: Collection[Topic], *, seconds: float) -> None:
        """Besides what `who` stated before, these are wanted for so long."""
        until = self._monotonic() + seconds
        self._state(who, self._stated.get(who, {}) | dict.fromkeys(topics, until))

    def touch(self, topic: Topic, *, seconds: float = TOUCH_SECONDS) -> None:
        """Somebody asked about this now and may ask again."""
        passing = self._passing[topic.channel]
        if passing.pop(topic, None) is None:
            self._has_changed.set()
        passing[topic] = self._monotonic() + seconds
        if len(passing) > PASSING_MAX.get(topic.channel, PASSING_MAX_ELSE):
            del passing[next(iter(passing))]

    def wanted(self) -> frozenset[Topic]:
        """Everything that is wanted now; what is held goes before what was stated or touched."""
        now = self._monotonic()
        for expiring in (*self._stated.values(), *self._passing.values()):
            for topic in [topic for topic, until in expiring.items() if until <= now]:
                del expiring[topic]
        self._stated = {who: stated for who, stated in self._stated.items() if stated}
        wanted = dict.fromkeys(self._held)
        for stated in self._stated.values():
            wanted |= dict.fromkeys(sorted(stated))
        for passing in self._passing.values():
            wanted |= dict.fromkeys(reversed(passing))
        return frozenset(list(wanted)[: self._topics_max])

    async def wait_for_change(self, *, seconds_max: float) -> None:
        """Return when a wish was added or dropped, or after `seconds_max`: wishes expire too."""
        try:
            async with asyncio.timeout(seconds_max):
                await self._has_changed.wait()
        except TimeoutError:
            return
        self._has_changed.clear()

    def _state(self, who: str, stated: dict[Topic, float]) -> None:
        if self._stated.get(who, {}).keys() != stated.keys():
            self._has_changed.set()
        self._stated[who] = stated
