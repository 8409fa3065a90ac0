"""Recorded frames: what a venue's WebSocket said about one symbol, byte for byte.

File names: <venue>_<category>_<SYMBOL>.frames
Lines:      <milliseconds since 1970 UTC at which the venue said it> <the frame as it came>

`python -m app record` writes them. The candles of the symbol are those of its kline.1 frames.
"""

import json
import re
from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from app.clients.bybit_frames import BadFrame, News, parse_frame
from app.domain.instruments import Category
from app.domain.live import LiveCandle
from app.replay.candles import MINUTE_MS, Candle
from app.replay.errors import UnreadableRecording
from app.replay.feeds import Told
from app.replay.tables import NO_TIME, TIME_LIMIT_MS
from app.replay.wire import encoded

SUFFIX: Final = ".frames"
MINUTES: Final = "kline.1."
_TOPIC: Final = re.compile(rb'"topic"\s*:\s*"([^"]+)"')
_SNAPSHOT: Final = re.compile(rb'"type"\s*:\s*"snapshot"')


@dataclass(slots=True)
class _Lines:
    """Where the frames of one topic are, ascending in time."""

    at_ms: "array[int]"
    numbers: "array[int]"
    offsets: "array[int]"
    lengths: "array[int]"
    snapshots: "array[int]"
    """Positions in these arrays that are whole states."""

    @classmethod
    def empty(cls) -> "_Lines":
        return cls(array("q"), array("q"), array("q"), array("q"), array("q"))


class FrameFile:
    """One file. Frames stay on the disk; where they are is kept in memory."""

    def __init__(self, path: Path, category: Category) -> None:
        self.path = path
        self._category = category
        self._lines: dict[str, _Lines] = defaultdict(_Lines.empty)
        self._index()

    @property
    def topics(self) -> Sequence[str]:
        """What was recorded."""
        return sorted(self._lines)

    @cached_property
    def candles(self) -> list[Candle]:
        """The minutes, each as it was told last: the last one of a recording may be half."""
        found: dict[int, LiveCandle] = {}
        for name, lines in self._lines.items():
            if name.startswith(MINUTES):
                for raw in self._read(lines, range(len(lines.at_ms))):
                    found |= self._candles(raw)
        return [
            Candle(
                open_ms=open_ms,
                end_ms=open_ms + MINUTE_MS,
                open=candle.open,
                high=candle.high,
                low=candle.low,
                close=candle.close,
                volume=candle.volume,
                turnover=candle.turnover,
            )
            for open_ms, candle in sorted(found.items())
        ]

    def between(self, name: str, from_ms: int, to_ms: int) -> list[Told]:
        """The frames of a topic that came in (from_ms, to_ms]."""
        lines = self._lines[name]
        found = range(bisect_right(lines.at_ms, from_ms), bisect_right(lines.at_ms, to_ms))
        return [
            Told(topic=name, raw=raw, order=(lines.at_ms[position], lines.numbers[position]))
            for position, raw in zip(found, self._read(lines, found), strict=True)
        ]

    def state(self, name: str, now_ms: int) -> bytes | None:
        """The last snapshot with the deltas after it, as one snapshot; None before the first."""
        lines = self._lines[name]
        last = bisect_right(lines.at_ms, now_ms) - 1
        at = bisect_right(lines.snapshots, last) - 1
        if at < 0:
            return None
        frames = self._read(lines, range(lines.snapshots[at], last + 1))
        if len(frames) == 1:
            return frames[0]
        return encoded(_summed([json.loads(raw) for raw in frames]))

    def _candles(self, raw: bytes) -> dict[int, LiveCandle]:
        try:
            frame = parse_frame(raw, self._category)
        except BadFrame as error:
            raise UnreadableRecording(self.path, str(error)) from None
        assert isinstance(frame, News), "it has a topic"
        rows = frame.content
        assert isinstance(rows, tuple), "klines come in rows"
        return {row.open_ms: row for row in rows if isinstance(row, LiveCandle)}

    def _read(self, lines: _Lines, positions: range) -> list[bytes]:
        if not positions:
            return []
        found = []
        with self.path.open("rb") as file:
            for position in positions:
                file.seek(lines.offsets[position])
                found.append(file.read(lines.lengths[position]))
        return found

    def _index(self) -> None:
        offset = last_ms = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break  # the recorder was killed in the middle of a line
                head, _, raw = line[:-1].partition(b" ")
                topic = _TOPIC.search(raw)
                if not head.isdigit() or topic is None:
                    raise UnreadableRecording(self.path, f"line {number} is not a time and a frame")
                at_ms = int(head)
                if at_ms < last_ms:
                    raise UnreadableRecording(self.path, f"line {number} is from before the last")
                if at_ms >= TIME_LIMIT_MS:
                    raise UnreadableRecording(self.path, f"line {number}: {NO_TIME}")
                last_ms = at_ms
                lines = self._lines[topic[1].decode()]
                if _SNAPSHOT.search(raw):
                    lines.snapshots.append(len(lines.at_ms))
                lines.at_ms.append(at_ms)
                lines.numbers.append(number)
                lines.offsets.append(offset + len(head) + 1)
                lines.lengths.append(len(raw))
                offset += len(line)


class RecordedFeed:
    """One topic of a file, told to one subscriber."""

    def __init__(self, name: str, file: FrameFile) -> None:
        self._name = name
        self._file = file

    def opening(self, now_ms: int) -> list[Told]:
        """The state, for a topic that has one; a trade is told when it happens."""
        if self._name.startswith("publicTrade."):
            return []
        raw = self._file.state(self._name, now_ms)
        return [] if raw is None else [Told(topic=self._name, raw=raw)]

    def news(self, from_ms: int, now_ms: int) -> list[Told]:
        """Exactly what came."""
        return self._file.between(self._name, from_ms, now_ms)


def _summed(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first, last = documents[0], documents[-1]
    if not first["topic"].startswith("orderbook."):
        data = {name: value for one in documents for name, value in one["data"].items()}
        return {**last, "type": "snapshot", "data": data}
    sides: dict[str, dict[Decimal, list[str]]] = {"b": {}, "a": {}}
    for document in documents:
        for side, levels in sides.items():
            for price, size in document["data"][side]:
                if Decimal(size):
                    levels[Decimal(price)] = [price, size]
                else:
                    levels.pop(Decimal(price), None)
    data = {
        **last["data"],
        "b": [sides["b"][price] for price in sorted(sides["b"], reverse=True)],
        "a": [sides["a"][price] for price in sorted(sides["a"])],
    }
    return {**last, "type": "snapshot", "data": data}
