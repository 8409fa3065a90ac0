"""Writing down what a venue's WebSocket says, so that it can be had again."""

import asyncio
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from app.clients.bybit_stream import BybitStream
from app.domain.instruments import Category, Symbol
from app.domain.live import Channel, LiveValue, Topic
from app.replay.frames import SUFFIX

FLUSH_SECONDS: Final = 1.0
LINE_BYTES_MAX: Final = 2 * 2**20
"""No frame is longer: the client gives up on a larger message."""

_SAID_MS: Final = re.compile(r'"ts"\s*:\s*([0-9]{1,15})[,}]')
_SYMBOL: Final = re.compile(r'"topic"\s*:\s*"[^"]*?\.([A-Z0-9-]+)"')


class Recorder:
    """Appends every frame about a symbol to the symbol's file. `counts` says how many."""

    def __init__(
        self,
        symbols: Sequence[Symbol],
        *,
        category: Category,
        folder: Path,
        now_ms: Callable[[], int],
    ) -> None:
        self._category = category
        self._now_ms = now_ms
        self._last_ms = 0
        self.paths = {symbol: folder / f"bybit_{category}_{symbol}{SUFFIX}" for symbol in symbols}
        self.counts = dict.fromkeys(self.paths, 0)
        self._heard: dict[Symbol, list[str]] = {symbol: [] for symbol in self.paths}
        self._files = ExitStack()
        folder.mkdir(parents=True, exist_ok=True)
        for path in self.paths.values():
            _cut_half_a_line(path)
        self._open = {
            symbol: self._files.enter_context(path.open("a", encoding="utf-8", newline=""))
            for symbol, path in self.paths.items()
        }

    @property
    def topics(self) -> set[Topic]:
        """What is recorded: all that the replay exchange would otherwise have to make up."""
        return {
            Topic(self._category, symbol, channel, "1" if channel is Channel.CANDLE else "")
            for symbol in self.paths
            for channel in Channel
        }

    def hear_raw(self, category: Category, raw: str | bytes) -> None:  # noqa: ARG002  one is followed
        """Write a frame down; answers to our own requests are none."""
        if isinstance(raw, bytes):
            return
        found = _SYMBOL.search(raw)
        symbol = Symbol(found[1]) if found else None
        if symbol is None or symbol not in self._open:
            return
        # The venue's clock, by which its candles go: ours may be wrong, and what is recorded may
        # be a replay. A clock that is set back must not make the file unreadable.
        said = _SAID_MS.search(raw)
        self._last_ms = max(self._last_ms, int(said[1]) if said else self._now_ms())
        # A line break can only be white space between the parts of a JSON text.
        self._heard[symbol].append(f"{self._last_ms} {' '.join(raw.splitlines())}\n")
        self.counts[symbol] += 1

    def flush(self) -> None:
        """Hand everything to the operating system. Raises OSError.

        Not while it is heard: who reads the stream would take it for a broken connection.
        """
        for symbol, file in self._open.items():
            file.writelines(self._heard[symbol])
            self._heard[symbol].clear()
            file.flush()

    def close(self) -> None:
        """Write the rest and close the files; one without a frame could not be replayed."""
        with self._files:
            self.flush()
        for path in self.paths.values():
            if path.exists() and path.stat().st_size == 0:
                path.unlink()


async def record(
    recorder: Recorder,
    url: str,
    *,
    until: asyncio.Event,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Record until the event is set; `progress` is told the number of frames every second."""

    def ignore(topic: Topic, value: LiveValue, *, received_at: float) -> None:
        pass

    stream = BybitStream(url, hear=ignore, hear_raw=recorder.hear_raw)
    stream.want(recorder.topics)
    running = asyncio.create_task(stream.run())
    stopping = asyncio.create_task(until.wait())
    try:
        while not stopping.done():
            await asyncio.wait(
                {running, stopping},
                timeout=FLUSH_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if running.done():
                running.result()  # it ends by a bug only
            recorder.flush()
            progress(sum(recorder.counts.values()))
    finally:
        running.cancel()
        stopping.cancel()
        await asyncio.gather(running, stopping, return_exceptions=True)
        recorder.close()


def _cut_half_a_line(path: Path) -> None:
    """What is left of a recorder that was killed while it wrote."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        start = max(0, end - LINE_BYTES_MAX)
        file.seek(start)
        tail = file.read()
        if tail and not tail.endswith(b"\n"):
            file.truncate(start + tail.rfind(b"\n") + 1)
