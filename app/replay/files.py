"""Which files of a folder can be replayed, and as what: their columns say.

File names: <venue>_<category>_<SYMBOL>_<interval>[_suffix].parquet or .csv   candles
            <venue>_<category>_<SYMBOL>[_suffix].parquet or .csv   trades, best prices (ticks.py)
            <venue>_<category>_<SYMBOL>.frames   what a WebSocket said (frames.py)
            <venue>_<category>_<SYMBOL>[_suffix].jsonl   order books (deep_books.py)
Candles:    ts (open time, ms UTC), open, high, low, close, volume, optionally turnover
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeAlias

from app.domain.instruments import Category
from app.replay import deep_books
from app.replay.candle_files import NEEDED, first_and_last_ms
from app.replay.candles import LENGTHS_MS, MINUTE_MS, Interval, end_of, parse_interval
from app.replay.deep_books import BookFile
from app.replay.errors import UnreadableRecording
from app.replay.frames import SUFFIX, FrameFile
from app.replay.history import BestPriceTrack, BookTrack, FrameTrack, TickTrack, Track
from app.replay.tables import column_names
from app.replay.ticks import BEST_PRICES, BestPriceFile, TradeFile, trade_columns

SUFFIXES: Final = (".parquet", ".csv", SUFFIX, deep_books.SUFFIX)
PACKED: Final = (".gz", ".zip", ".zst", ".xz", ".bz2")
NAME: Final = re.compile(
    r"(?P<venue>[a-z0-9]+)_(?P<category>[a-z]+)_(?P<symbol>[A-Z0-9-]+)"
    r"(?:_(?P<interval>[0-9]*[mhdwDWM]?)(?:_(?P<suffix>.+))?|_.+)?\.(?:parquet|csv|frames|jsonl)"
)
CONVENTION: Final = (
    "<venue>_<category>_<SYMBOL>_<interval>[_suffix].parquet or .csv for candles, "
    "<venue>_<category>_<SYMBOL>[_suffix].parquet or .csv for trades and best prices, "
    "<venue>_<category>_<SYMBOL>[_suffix].jsonl for order books, "
    "or <venue>_<category>_<SYMBOL>.frames"
)
COLUMNS: Final = (
    f"candles have the columns {', '.join(NEEDED)}; trades ts, price, size, taker_side; "
    f"best prices {', '.join(BEST_PRICES)}"
)
CATEGORIES: Final = {
    **{str(category): category for category in Category},
    "usdm": Category.LINEAR,  # Binance's words
    "coinm": Category.INVERSE,
}
NOT_LAST_PRICES: Final = ("mark", "index", "premium", "funding")
PREFERRED_VENUE: Final = "bybit"
REASONS_SHOWN: Final = 5

Quotes: TypeAlias = BestPriceTrack | BookTrack
Recorded: TypeAlias = Track | Quotes


@dataclass(frozen=True, slots=True, kw_only=True)
class Recordings:
    """What there is to replay, and what was left out and why."""

    tracks: Sequence[Track]
    quotes: Sequence[Quotes] = ()
    left_out: Sequence[str] = field(default=())


class LeftOut(Exception):
    """A file of a folder that is not replayed, and why; alone it is an error."""


def find_recordings(path: Path) -> Recordings:
    """A file, or those of a folder, or where that has none those of the folders in it.

    Where Bybit and another venue recorded one symbol, the other venue's candles are left out,
    and its ticks where Bybit has ticks; so are files that hold no last prices.

    Raises UnreadableRecording when there is nothing to replay or a file cannot be read.
    """
    if path.is_file():
        return Recordings(tracks=[_alone(path)])
    if not path.is_dir():
        raise UnreadableRecording(path, "there is no such file or folder")
    tracks: list[Track] = []
    quotes: list[Quotes] = []
    left_out: dict[Path, str] = {}
    for file in _files(path):
        try:
            found = _open(file)
        except LeftOut as error:
            left_out[file] = str(error)
        else:
            if isinstance(found, Quotes):
                quotes.append(found)
            else:
                tracks.append(found)
    left_out |= dict(_second_choices(tracks))
    tracks = [track for track in tracks if track.path not in left_out]
    left_out |= dict(_priceless(quotes, tracks))
    reasons = [f"{file.relative_to(path)}: {reason}" for file, reason in left_out.items()]
    if not tracks:
        shown = "".join(f"\n  {reason}" for reason in reasons[:REASONS_SHOWN])
        problem = "it holds nothing to replay, nor do the folders in it"
        raise UnreadableRecording(path, f"{problem}; names are {CONVENTION}{shown}")
    return Recordings(
        tracks=_joined(tracks),
        quotes=[quote for quote in quotes if quote.path not in left_out],
        left_out=reasons,
    )


def _alone(path: Path) -> Track:
    """The only file of a market."""
    try:
        found = _open(path)
    except LeftOut as error:
        raise UnreadableRecording(path, str(error)) from None
    if isinstance(found, Quotes):
        raise UnreadableRecording(
            path,
            "best prices and books alone make no market: give a folder that has trades or "
            f"candles of {found.symbol} too",
        )
    return found


def _files(path: Path) -> list[Path]:
    """The folder's own files, or where none has a name those one level down."""
    own, below = (
        [file for file in sorted(path.glob(pattern)) if file.suffix in SUFFIXES]
        for pattern in ("*", "*/*")
    )
    return own if any(NAME.fullmatch(file.name) for file in own) else [*own, *below]


def _open(file: Path) -> Recorded:
    """Raises LeftOut, and UnreadableRecording where it is broken."""
    match = NAME.fullmatch(file.name)
    if match is None:
        is_packed = file.suffix in PACKED
        raise LeftOut(
            f"it is packed: unpack it first, to {file.stem}"
            if is_packed
            else f"its name is not {CONVENTION}"
        )
    if match["category"] not in CATEGORIES:
        raise LeftOut(f"category {match['category']} is none of {', '.join(CATEGORIES)}")
    category = CATEGORIES[match["category"]]
    if file.suffix == SUFFIX:
        return _frame_track(file, match, category)
    if file.suffix == deep_books.SUFFIX:
        return BookTrack(
            path=file,
            venue=match["venue"],
            category=category,
            symbol=match["symbol"],
            books=BookFile(file, match["symbol"]),
        )
    if any(word in (match["suffix"] or "") for word in NOT_LAST_PRICES):
        raise LeftOut(f"{match['suffix']} candles are not last prices")
    names = column_names(file)
    trades = trade_columns(names)
    if trades is not None:
        tape = TradeFile(file, trades, inverse=category is Category.INVERSE)
        return TickTrack(
            path=file,
            venue=match["venue"],
            category=category,
            symbol=match["symbol"],
            interval=Interval("1"),
            first_ms=tape.first_ms,
            end_ms=tape.last_ms + 1,
            trades=tape,
        )
    if set(BEST_PRICES) <= set(names):
        return BestPriceTrack(
            path=file,
            venue=match["venue"],
            category=category,
            symbol=match["symbol"],
            prices=BestPriceFile(file),
        )
    interval = None if match["interval"] is None else parse_interval(match["interval"])
    if interval is None:
        raise LeftOut(_no_interval(match["interval"], names))
    if names and not {"open", "high", "low", "close"} & set(names):
        raise LeftOut(COLUMNS)
    first_ms, last_ms = first_and_last_ms(file)
    return Track(
        path=file,
        venue=match["venue"],
        category=category,
        symbol=match["symbol"],
        interval=interval,
        first_ms=first_ms,
        end_ms=end_of(last_ms, interval),
    )


def _no_interval(named: str | None, names: Sequence[str]) -> str:
    """Why a file is left out whose name tells no length of candles."""
    if not names and named is None:
        return "it is empty"
    if names and "open" not in names:
        return COLUMNS
    return f"interval {named} is none of {', '.join(LENGTHS_MS)}"


def _frame_track(file: Path, match: re.Match[str], category: Category) -> FrameTrack:
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


def _second_choices(tracks: Sequence[Track]) -> Iterator[tuple[Path, str]]:
    """Files of other venues than Bybit whose symbol Bybit recorded as finely."""
    preferred = [track for track in tracks if track.venue == PREFERRED_VENUE]
    symbols = {track.symbol for track in preferred}
    ticking = {track.symbol for track in preferred if isinstance(track, TickTrack | FrameTrack)}
    for track in tracks:
        if track.venue == PREFERRED_VENUE:
            continue
        is_tape = isinstance(track, TickTrack)
        if track.symbol in (ticking if is_tape else symbols):
            what = f"ticks of {track.symbol}" if is_tape else track.symbol
            yield track.path, f"{PREFERRED_VENUE} recorded {what} too"


def _priceless(quotes: Sequence[Quotes], tracks: Sequence[Track]) -> Iterator[tuple[Path, str]]:
    """Best prices and books without a price of the same venue."""
    priced = {(track.venue, track.category, track.symbol) for track in tracks}
    for quote in quotes:
        if (quote.venue, quote.category, quote.symbol) not in priced:
            yield quote.path, f"no trades or candles of {quote.venue}'s {quote.symbol} are replayed"


def _joined(tracks: Sequence[Track]) -> list[Track]:
    """A tape that goes on in another file within a minute is one tape."""
    ends_ms: dict[Path, int] = {}
    tapes = sorted(
        (track for track in tracks if isinstance(track, TickTrack)),
        key=lambda tape: (tape.venue, tape.category, tape.symbol, tape.first_ms),
    )
    for tape, following in pairwise(tapes):
        is_same = (tape.venue, tape.category, tape.symbol) == (
            following.venue,
            following.category,
            following.symbol,
        )
        if is_same and tape.end_ms < following.first_ms < tape.end_ms + MINUTE_MS:
            ends_ms[tape.path] = following.first_ms
    return [replace(track, end_ms=ends_ms.get(track.path, track.end_ms)) for track in tracks]
