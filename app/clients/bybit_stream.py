"""Bybit v5 public streams of one venue, as many connections as it takes.

    stream = BybitStream("wss://stream.bybit.com", hear=board.hear)
    stream.want({Topic(Category.SPOT, Symbol("BTCUSDT"), Channel.TICKER)})
    await stream.run()

Without wishes there is no connection.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from typing import Final, NoReturn
from urllib.parse import urlsplit

from app.clients.bybit_frames import topic_name
from app.clients.bybit_socket import (
    BybitSocket,
    Hear,
    StreamCounts,
    StreamTimes,
    Surroundings,
)
from app.clients.venue_http import LOOPBACK
from app.domain.instruments import Category
from app.domain.live import Topic

CATEGORIES: Final = (Category.SPOT, Category.LINEAR, Category.INVERSE)
"""Those with a socket of the shape that we read; options have another."""

CHARACTERS_PER_SOCKET_MAX: Final = 20_000
"""The venue allows 21,000 characters of topics for each connection."""

SOCKETS_MAX: Final = 20


STREAM_HOSTS: Final = {
    "api.bybit.com": "stream.bybit.com",
    "api.bytick.com": "stream.bybit.com",
    "api-demo.bybit.com": "stream.bybit.com",  # demo has no public stream of its own
    "api-testnet.bybit.com": "stream-testnet.bybit.com",
}


def stream_url_of(base_url: str) -> str | None:
    """The stream with the same prices as a REST address, None when that is not known.

    A replay exchange has both on one port.
    """
    address = urlsplit(base_url)
    host = address.hostname or ""
    if host in LOOPBACK:
        return f"ws://{address.netloc}"
    return f"wss://{STREAM_HOSTS[host]}" if host in STREAM_HOSTS else None


class BybitStream:
    """Follows what is wanted and tells `hear` each value with the instant of its arrival.

    What is wanted beyond SOCKETS_MAX full connections of a category is not followed: prices
    are asked for then.
    """

    def __init__(
        self,
        base_url: str,
        *,
        hear: Hear,
        hear_raw: Callable[[Category, str | bytes], None] | None = None,
        times: StreamTimes | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        characters_per_socket_max: int = CHARACTERS_PER_SOCKET_MAX,
    ) -> None:
        self._base_url = base_url
        self._characters_max = characters_per_socket_max
        self.counts = StreamCounts()
        self._around = Surroundings(
            hear=hear,
            hear_raw=hear_raw,
            times=times or StreamTimes(),
            counts=self.counts,
            monotonic=time.monotonic,
            sleep=sleep,
            jitter=jitter,
        )
        self._wanted: frozenset[Topic] = frozenset()
        self._has_changed = asyncio.Event()
        self._running: dict[tuple[Category, int], tuple[BybitSocket, asyncio.Task[NoReturn]]] = {}
        self._places: dict[Topic, int] = {}

    @property
    def socket_count(self) -> int:
        """How many connections are kept up now."""
        return len(self._running)

    def want(self, topics: Collection[Topic]) -> None:
        """Follow these from now on, and nothing else."""
        wanted = frozenset(topic for topic in topics if topic.category in CATEGORIES)
        if wanted != self._wanted:
            self._wanted = wanted
            self._has_changed.set()

    async def run(self) -> NoReturn:
        """Follow until cancelled; then every connection is closed. Raises only for bugs."""
        self._has_changed.set()
        try:
            while True:
                changing = asyncio.create_task(self._has_changed.wait())
                tasks = {changing, *(task for _, task in self._running.values())}
                try:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changing.cancel()
                for _, task in self._running.values():
                    if task.done():
                        task.result()  # it never ends but by a bug
                self._has_changed.clear()
                await self._follow_wishes()
        finally:
            await self._stop(list(self._running))

    async def _follow_wishes(self) -> None:
        shares = self._shares()
        await self._stop([key for key in self._running if key not in shares])
        for key, topics in shares.items():
            if key not in self._running:
                category = key[0]
                url = f"{self._base_url}/v5/public/{category}"
                socket = BybitSocket(url, category, self._around)
                name = f"stream {category} {key[1]}"
                self._running[key] = (socket, asyncio.create_task(socket.run(), name=name))
            self._running[key][0].want(topics)

    def _shares(self) -> dict[tuple[Category, int], set[Topic]]:
        """Which connection follows what. A topic keeps its place for as long as it is wanted."""
        for topic in [topic for topic in self._places if topic not in self._wanted]:
            del self._places[topic]
        shares: dict[tuple[Category, int], set[Topic]] = defaultdict(set)
        characters: dict[tuple[Category, int], int] = defaultdict(int)
        new = self._wanted - self._places.keys()
        for topic in [*self._places, *sorted(new)]:
            length = len(topic_name(topic))
            place = self._places.get(topic)
            if place is None:
                place = next(
                    (
                        number
                        for number in range(SOCKETS_MAX)
                        if characters[topic.category, number] + length <= self._characters_max
                    ),
                    None,
                )
                if place is None:
                    continue
                self._places[topic] = place
            shares[topic.category, place].add(topic)
            characters[topic.category, place] += length
        return shares

    async def _stop(self, keys: Collection[tuple[Category, int]]) -> None:
        tasks = [self._running.pop(key)[1] for key in keys]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
