"""A market out of recorded candle files.

File names: <venue>_<category>_<SYMBOL>_<interval>[_suffix].parquet or .csv, or .frames (frames.py)
Columns:    ts (open time, ms UTC), open, high, low, close, volume, optionally turnover

At the start only names and the first and last time of each file are read; candles follow when
they are first asked for. The finest file that covers an instant makes the price. An interval
is served from its own file and, where that has no candle, from the finer ones.
"""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Final

from app.domain.instruments import Category
from app.domain.money import EXACT
from app.replay.candle_files import first_and_last_ms, read_candles
from app.replay.candles import (
    LENGTHS_MS,
    Candle,
    Interval,
    divides,
    end_of,
    merged,
    open_of,
    parse_interval,
)
from app.replay.errors import UnreadableRecording
from app.replay.frames import SUFFIX, FrameFile
from app.replay.instruments import InstrumentSpec, known_spec, spec_like
from app.replay.market import Instrument, Market

FILE_NAME: Final = re.compile(
    r"(?P<venue>[a-z0-9]+)_(?P<category>[a-z]+)_(?P<symbol>[A-Z0-9-]+)"
    r"_(?P<interval>[0-9]*[mhdwDWM]?)(?:_(?P<suffix>.+))?\.(?:parquet|csv)"
)
FRAMES_NAME: Final = re.compile(
    r"(?P<venue>[a-z0-9]+)_(?P<category>[a-z]+)_(?P<symbol>[A-Z0-9-]+)\.frames"
)
CONVENTION: Final = (
    "<venue>_<category>_<SYMBOL>_<interval>[_suffix].parquet or .csv, "
    "or <venue>_<category>_<SYMBOL>.frames"
)
CATEGORIES: Final = {
    **{str(category): category for category in Category},
    "usdm": Category.LINEAR,  # Binance's words
    "coinm": Category.INVERSE,
}
NOT_LAST_PRICES: Final = ("mark", "index", "premium", "funding")
SAMPLE: Final = 500  # candles that the decimals of an unknown symbol are taken from
PREFERRED_VENUE: Final = "bybit"
ALSO: Final = frozenset({Category.SPOT})
LENDERS: Final = {Category.SPOT: Category.LINEAR, Category.LINEAR: Category.SPOT}
"""Who can stand in for whom: the same coins, quantities and units."""


@dataclass(frozen=True, kw_only=True)
class Track:
    """One file. `first_ms` is its first open time, `end_ms` the end of its last candle."""

    path: Path
    venue: str
    category: Category
    symbol: str
    interval: Interval
    first_ms: int
    end_ms: int

    @cached_property
    def candles(self) -> list[Candle]:
        """Every candle, ascending; read once."""
        return read_candles(self.path, self.interval, inverse=self.category is Category.INVERSE)

    @cached_property
    def opens_ms(self) -> list[int]:
        """The open time of every candle."""
        return [candle.open_ms for candle in self.candles]

    def covers(self, instant_ms: int) -> bool:
        """Whether the recording ran at the instant, gaps inside it included."""
        return self.first_ms <= instant_ms < self.end_ms

    def between(self, from_ms: int, to_ms: int) -> list[Candle]:
        """The candles that open in [from_ms, to_ms)."""
        return self.candles[bisect_left(self.opens_ms, from_ms) : bisect_left(self.opens_ms, to_ms)]


@dataclass(frozen=True, kw_only=True)
class FrameTrack(Track):
    """A file of frames, whose minutes are those of its klines."""

    frames: FrameFile

    @cached_property
    def candles(self) -> list[Candle]:
        """Every minute, ascending."""
        return self.frames.candles


class RecordedHistory:
    """Candles of one instrument from its files, in order of preference: finest first."""

    def __init__(self, tracks: Sequence[Track]) -> None:
        self.tracks = tracks
        self._rows: dict[Interval, tuple[list[int], list[Candle]]] = {}

    def at(self, instant_ms: int) -> Candle | None:
        """The finest candle that began last by the instant; None while it is not recorded."""
        track = self._track_at(instant_ms)
        if track is None:
            return None
        return track.candles[bisect_right(track.opens_ms, instant_ms) - 1]

    def tiles(self, from_ms: int, to_ms: int) -> Sequence[Candle]:
        """Complete candles in [from_ms, to_ms), of the finest file at each point."""
        found: list[list[Candle]] = []
        while from_ms < to_ms:
            track = self._track_at(to_ms - 1)
            part = track.between(from_ms, to_ms) if track is not None else []
            while part and part[-1].end_ms > to_ms:
                part.pop()
            if not part:
                break
            found.append(part)
            to_ms = part[0].open_ms
        return [candle for part in reversed(found) for candle in part]

    def window(
        self, interval: Interval, *, first_ms: int, last_ms: int, limit: int, newest: bool
    ) -> Sequence[Candle]:
        """Complete candles that open in [first_ms, last_ms], ascending."""
        opens_ms, candles = self._candles(interval)
        begin, end = bisect_left(opens_ms, first_ms), bisect_right(opens_ms, last_ms)
        if newest:
            begin = max(begin, end - limit)
        return candles[begin : min(end, begin + limit)]

    def spec(self, category: Category, symbol: str) -> InstrumentSpec:
        """Tick and lot rules: known ones, else as fine as the first numbers of the finest file."""
        known = known_spec(category, symbol)
        if known is not None:
            return known
        sample = self.tracks[0].candles[:SAMPLE]
        prices = [price for row in sample for price in (row.open, row.high, row.low, row.close)]
        return spec_like(
            category,
            symbol,
            price_decimals=_decimals(prices),
            volume_decimals=_decimals(row.volume for row in sample),
        )

    def _track_at(self, instant_ms: int) -> Track | None:
        return next((track for track in self.tracks if track.covers(instant_ms)), None)

    def _candles(self, interval: Interval) -> tuple[list[int], list[Candle]]:
        """All candles of an interval, each from the most complete source that there is.

        Among equals the own category goes before the one that lends, and the interval's own
        file before finer ones.
        """
        if interval not in self._rows:
            best: dict[int, tuple[tuple[int, bool, bool], Candle]] = {}
            for track in self.tracks:
                if not divides(track.interval, interval):
                    continue
                is_own = track.category is self.tracks[0].category
                is_exact = track.interval == interval
                for covered_ms, candle in _resampled(track, interval):
                    merit = (covered_ms, is_own, is_exact)
                    if candle.open_ms not in best or merit > best[candle.open_ms][0]:
                        best[candle.open_ms] = (merit, candle)
            opens_ms = sorted(best)
            self._rows[interval] = (opens_ms, [best[open_ms][1] for open_ms in opens_ms])
        return self._rows[interval]


def recorded_market(path: Path, *, also: Collection[Category] = ALSO) -> Market:
    """The market of a candle file, or of all candle files in a folder.

    A category in `also` lists, besides its own recordings, the symbols of the category with
    the same units (spot and linear) at times when it has no recording itself: so a linear
    file alone can be traded as spot. Where Bybit and another venue recorded one symbol, the
    other venue's files are left out, as are files that hold no last prices.

    Raises UnreadableRecording when there is nothing to replay or a file cannot be read.
    """
    tracks, left_out = _tracks(path)
    by_symbol: dict[tuple[Category, str], list[Track]] = defaultdict(list)
    for track in tracks:
        by_symbol[track.category, track.symbol].append(track)
    instruments: dict[tuple[Category, str], Instrument] = {}
    for category in Category:
        lender = LENDERS.get(category) if category in also else None
        for symbol in sorted({track.symbol for track in tracks}):
            own = _finest_first(by_symbol.get((category, symbol), []))
            lent = _finest_first(by_symbol.get((lender, symbol), [])) if lender else []
            if own or lent:
                history = RecordedHistory([*own, *lent])
                instruments[category, symbol] = Instrument(
                    category=category,
                    symbol=symbol,
                    history=history,
                    source=_source(own, lent),
                    spec=partial(history.spec, category, symbol),
                    frames=next((t.frames for t in own if isinstance(t, FrameTrack)), None),
                )
    return Market(
        instruments=instruments,
        start_ms=_busiest_start_ms(tracks),
        first_ms=min(track.first_ms for track in tracks),
        last_ms=max(track.end_ms for track in tracks) - 1,
        left_out=left_out,
    )


def _tracks(path: Path) -> tuple[list[Track], list[str]]:
    if path.is_file():
        return [_frame_track(path) if path.suffix == SUFFIX else _track(path)], []
    if not path.is_dir():
        raise UnreadableRecording(path, "there is no such file or folder")
    tracks: list[Track] = []
    left_out: list[str] = []
    for file in sorted(path.iterdir()):
        if file.suffix == SUFFIX:
            tracks.append(_frame_track(file))
            continue
        if file.suffix not in (".parquet", ".csv"):
            continue
        match = FILE_NAME.fullmatch(file.name)
        if match is None or (reason := _why_not(match)) is not None:
            left_out.append(f"{file.name}: {reason if match else 'its name is not ' + CONVENTION}")
            continue
        tracks.append(_track(file))
    preferred = {track.symbol for track in tracks if track.venue == PREFERRED_VENUE}
    for track in [*tracks]:
        if track.venue != PREFERRED_VENUE and track.symbol in preferred:
            tracks.remove(track)
            left_out.append(f"{track.path.name}: {PREFERRED_VENUE} recorded {track.symbol} too")
    if not tracks:
        below = [f"{folder}" for folder in sorted(path.iterdir()) if _holds_any(folder)]
        hint = f"; there are some in {', '.join(below)}" if below else ""
        raise UnreadableRecording(
            path, f"it holds no candle file{hint}; their names are {CONVENTION}"
        )
    return tracks, left_out


def _holds_any(folder: Path) -> bool:
    """Whether it would be the better one to name."""
    return folder.is_dir() and any(
        FILE_NAME.fullmatch(file.name) or FRAMES_NAME.fullmatch(file.name)
        for file in folder.iterdir()
    )


def _why_not(match: re.Match[str]) -> str | None:
    if match["category"] not in CATEGORIES:
        return f"category {match['category']} is none of {', '.join(CATEGORIES)}"
    if any(word in (match["suffix"] or "") for word in NOT_LAST_PRICES):
        return f"{match['suffix']} candles are not last prices"
    if parse_interval(match["interval"]) is None:
        return f"interval {match['interval']} is none of {', '.join(LENGTHS_MS)}"
    return None


def _track(file: Path) -> Track:
    match = FILE_NAME.fullmatch(file.name)
    reason = f"its name is not {CONVENTION}" if match is None else _why_not(match)
    if match is None or reason is not None:
        raise UnreadableRecording(file, reason or "")
    interval = parse_interval(match["interval"])
    assert interval is not None, "checked with the name"
    first_ms, last_ms = first_and_last_ms(file)
    return Track(
        path=file,
        venue=match["venue"],
        category=CATEGORIES[match["category"]],
        symbol=match["symbol"],
        interval=interval,
        first_ms=first_ms,
        end_ms=end_of(last_ms, interval),
    )


def _frame_track(file: Path) -> FrameTrack:
    match = FRAMES_NAME.fullmatch(file.name)
    if match is None or match["category"] not in CATEGORIES:
        raise UnreadableRecording(file, f"its name is not {CONVENTION}")
    category = CATEGORIES[match["category"]]
    frames = FrameFile(file, category)
    if not frames.candles:
        raise UnreadableRecording(file, "it has no kline.1 frame, so there is no price in it")
    return FrameTrack(
        path=file,
        venue=match["venue"],
        category=category,
        symbol=match["symbol"],
        interval=Interval("1"),
        first_ms=frames.candles[0].open_ms,
        end_ms=frames.candles[-1].end_ms,
        frames=frames,
    )


def _resampled(track: Track, interval: Interval) -> Iterable[tuple[int, Candle]]:
    """Candles of a coarser interval, each with how many of its milliseconds are recorded."""
    if track.interval == interval:
        yield from ((candle.length_ms, candle) for candle in track.candles)
        return
    for open_ms, group in groupby(
        track.candles, key=lambda candle: open_of(candle.open_ms, interval)
    ):
        parts = list(group)
        yield (
            sum(part.length_ms for part in parts),
            merged(parts, open_ms=open_ms, end_ms=end_of(open_ms, interval)),
        )


def _decimals(numbers: Iterable[Decimal]) -> int:
    return max(0, *(-int(number.normalize(EXACT).as_tuple().exponent) for number in numbers))


def _finest_first(tracks: Iterable[Track]) -> list[Track]:
    return sorted(tracks, key=lambda track: (LENGTHS_MS[track.interval], track.first_ms))


def _source(own: Sequence[Track], lent: Sequence[Track]) -> str:
    parts = [", ".join(track.path.name for track in own)] if own else []
    if lent:
        names = ", ".join(track.path.name for track in lent)
        parts.append(f"where that has nothing, as {lent[0].category}: {names}" if own else names)
    return "; ".join(parts)


def _busiest_start_ms(tracks: Sequence[Track]) -> int:
    """The first instant at which the most symbols have candles of the finest interval."""
    finest = min(LENGTHS_MS[track.interval] for track in tracks)
    running = [track for track in tracks if LENGTHS_MS[track.interval] == finest]
    starts_ms = sorted({track.first_ms for track in running})
    return max(starts_ms, key=lambda start: sum(track.covers(start) for track in running))
