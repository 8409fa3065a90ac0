"""What the venues' lists of candles and instruments have in common."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from app.domain.candles import Candle, Interval, Span, advance, open_of, parse_candle
from app.domain.instruments import Instrument
from app.domain.quotes import parse_price

TIME_MS_LIMIT: Final = 253_402_300_800_000
"""The year 10000: what no datetime holds."""

log = logging.getLogger(__name__)


def instant_of(time_ms: object) -> datetime | None:
    """Milliseconds since 1970 UTC as an instant; None for anything else."""
    if type(time_ms) is not int or not 0 <= time_ms < TIME_MS_LIMIT:
        return None
    return datetime.fromtimestamp(time_ms // 1000, UTC).replace(microsecond=time_ms % 1000 * 1000)


def time_ms(instant: datetime) -> int:
    """Milliseconds since 1970 UTC."""
    return int(instant.timestamp()) * 1000 + instant.microsecond // 1000


def closed_candles(
    rows: Sequence[tuple[int, Sequence[object]]],
    *,
    interval: Interval,
    span: Span,
    venue_time: datetime,
) -> list[Candle] | None:
    """Ascending candles of (open time in ms, six texts), or None if a row cannot be one.

    What does not open in the span is left out, and so is what had not ended by the venue's
    own clock: a candle that is still forming comes without any mark of it.
    """
    found: dict[datetime, Candle] = {}
    for open_ms, texts in rows:
        open_time = instant_of(open_ms)
        if open_time is None or open_of(open_time, interval) != open_time:
            return None
        candle = parse_candle(open_time, texts)
        if candle is None or found.get(open_time, candle) != candle:
            return None
        if span.begin_at <= open_time < span.end_at and advance(open_time, interval) <= venue_time:
            found[open_time] = candle
    return [found[open_time] for open_time in sorted(found)]


def readable_instruments(
    items: Sequence[Any], parse: Callable[[Any], Instrument | None]
) -> list[Instrument]:
    """The items that make sense; the others are logged, so that one does not hide the rest."""
    found = []
    for item in items:
        try:
            instrument = parse(item)
        except (AttributeError, KeyError, TypeError):
            instrument = None
        if instrument is None:
            log.warning("an instrument was left out", extra={"upstream_text": repr(item)[:300]})
        else:
            found.append(instrument)
    return found


def first_number(*texts: object) -> Decimal | None:
    """The first of the venue's texts that spells a number above zero."""
    return next((number for number in map(parse_price, texts) if number is not None), None)
