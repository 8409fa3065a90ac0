"""A market out of recorded files: candles, trades, best prices and frames.

At the start only names and the first and last time of candle files are read, candles follow
when they are first asked for; ticks are looked through at once (ticks.py).
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from app.domain.instruments import Category
from app.replay.candles import LENGTHS_MS
from app.replay.files import find_recordings
from app.replay.history import FrameTrack, RecordedHistory, Track, finest_first
from app.replay.market import Instrument, Market

ALSO: Final = frozenset({Category.SPOT})
LENDERS: Final = {Category.SPOT: Category.LINEAR, Category.LINEAR: Category.SPOT}
"""Who can stand in for whom: the same coins, quantities and units."""


def recorded_market(path: Path, *, also: Collection[Category] = ALSO) -> Market:
    """The market of a file, or of all files that can be replayed in a folder (files.py).

    A category in `also` lists, besides its own recordings, the symbols of the category with
    the same units (spot and linear) at times when it has no recording itself: so a linear
    file alone can be traded as spot.

    Raises UnreadableRecording when there is nothing to replay or a file cannot be read.
    """
    found = find_recordings(path)
    tracks = found.tracks
    by_symbol: dict[tuple[Category, str], list[Track]] = defaultdict(list)
    for track in tracks:
        by_symbol[track.category, track.symbol].append(track)
    instruments: dict[tuple[Category, str], Instrument] = {}
    for category in Category:
        lender = LENDERS.get(category) if category in also else None
        for symbol in sorted({track.symbol for track in tracks}):
            own = finest_first(by_symbol.get((category, symbol), []))
            lent = finest_first(by_symbol.get((lender, symbol), [])) if lender else []
            if own or lent:
                quotes = [
                    quote
                    for quote in found.quotes
                    if quote.symbol == symbol and quote.category in (category, lender)
                ]
                history = RecordedHistory([*own, *lent], quotes)
                instruments[category, symbol] = Instrument(
                    category=category,
                    symbol=symbol,
                    history=history,
                    source=_source(own, lent),
                    spec=partial(history.spec, category, symbol),
                    frames=next((t.frames for t in own if isinstance(t, FrameTrack)), None),
                    ticks=history if history.has_ticks else None,
                )
    return Market(
        instruments=instruments,
        start_ms=_busiest_start_ms(tracks),
        first_ms=min(track.first_ms for track in tracks),
        last_ms=max(track.end_ms for track in tracks) - 1,
        left_out=found.left_out,
    )


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
