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

LATE_MS_MAX: Final = 60_000
"""How much older than the end of its file a recording's first frame may be."""

_SAID_MS: Final = re.compile(r'"ts"\s*:\s*([0-9]{1,15})[,}]')
_SYMBOL: Final = re.compile(r'"topic"\s*:\s*"[^"]*?\.([A-Z0-9-]+)"')


class Recorder:
    """Appends every frame about a symbol to the symbol's file. `counts` says how many.

    `is_too_early`: the files go on to a later time than the venue's clock shows. Nothing is
    written then, because a recording goes forwards only.
    """

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
        self.is_too_early = False
        self.paths = {symbol: folder / f"bybit_{category}_{symbol}{SUFFIX}" for symbol in symbols}
        self.counts = dict.fromkeys(self.paths, 0)
        self._heard: dict[Symbol, list[str]] = {symbol: [] for symbol in self.paths}
        self._files = ExitStack()
        folder.mkdir(parents=True, exist_ok=True)
        for path in self.paths.values():
            _cut_half_a_line(path)
        self._last_ms = max(map(_end_ms, self.paths.values()), default=0)
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
        said_ms = int(said[1]) if said else self._now_ms()
        if not any(self.counts.values()):
            self.is_too_early = said_ms < self._last_ms - LATE_MS_MAX
        if self.is_too_early:
            return
        self._last_ms = max(self._last_ms, said_ms)
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
    """Record until the event is set; `progress` is told the number of frames every second.

    Ends at once when the recorder `is_too_early`.
    """

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
            if recorder.is_too_early:
                break
            progress(sum(recorder.counts.values()))
    finally:
        running.cancel()
        stopping.cancel()
        await asyncio.gather(running, stopping, return_exceptions=True)
        recorder.close()


def _cut_half_a_line(path: Path) -> None:
    """What is left of a recorder that was killed while it wrote."""
    start, tail = _tail(path)
    if tail and not tail.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(start + tail.rfind(b"\n") + 1)


def _end_ms(path: Path) -> int:
    """When the last frame of a file was said; 0 where there is none."""
    _, tail = _tail(path)
    head, _, _ = tail.rstrip(b"\n").rpartition(b"\n")[2].partition(b" ")
    return int(head) if head.isdigit() else 0


def _tail(path: Path) -> tuple[int, bytes]:
    """The end of a file, which has a whole line if it has any, and where that begins."""
    if not path.exists():
        return 0, b""
    with path.open("rb") as file:
        start = max(0, file.seek(0, 2) - LINE_BYTES_MAX)
        file.seek(start)
        return start, file.read()
