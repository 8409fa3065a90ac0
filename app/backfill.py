"""python -m app backfill: download candles, with a bar for people and lines for logs."""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TextIO
from urllib.parse import urlsplit

from app.clients.venue_http import LOOPBACK
from app.core.config import PROJECT, Settings
from app.db.database import open_database
from app.db.migrate import migrate
from app.domain.candles import (
    SPELLINGS,
    CandleRangeRefused,
    Interval,
    Span,
    check_past,
    check_range,
    first_open_from,
    open_of,
    parse_interval,
)
from app.domain.errors import NotFound, Refused
from app.domain.instants import of_a_market
from app.domain.instruments import Category, Symbol, Venue, is_tradeable, normalize_symbol
from app.resources import open_address, open_venues
from app.services.candle_store import Progress, fill, open_series, patiently
from app.services.instruments import Listings

BAR_CHARACTERS: Final = 30
LINE_SECONDS: Final = 5.0
"""How often a log is told how far it is."""

WRONG_USE: Final = 2


class Display:
    """How far the download is: one line drawn over and over, or a new one now and then."""

    def __init__(self, title: str, out: TextIO, *, line_seconds: float = LINE_SECONDS) -> None:
        self._title = title
        self._out = out
        self._line_seconds = line_seconds
        self._is_terminal = out.isatty()
        self._told_at = time.monotonic()

    def show(self, progress: Progress) -> None:
        """Tell, if it is time to."""
        share = progress.done / progress.total if progress.total else 1.0
        figures = f"{share:4.0%}  {progress.done:,} of {progress.total:,}, {progress.stored:,} new"
        if self._is_terminal:
            bar = ("#" * round(share * BAR_CHARACTERS)).ljust(BAR_CHARACTERS, ".")
            print(f"\r{self._title} [{bar}] {figures}", end="", file=self._out, flush=True)
        elif time.monotonic() - self._told_at >= self._line_seconds:
            self._told_at = time.monotonic()
            print(f"{self._title} {figures}", file=self._out, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._is_terminal:
            print(file=self._out)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    parser.add_argument("symbol", metavar="SYMBOL", type=_symbol)
    parser.add_argument("interval", metavar="INTERVAL", type=_interval, help=", ".join(Interval))
    parser.add_argument("--from", dest="begin_at", metavar="TIME", type=_instant, required=True)
    parser.add_argument("--to", dest="end_at", metavar="TIME", type=_instant, help="default: now")
    parser.add_argument("--venue", type=_one_of(Venue), default=Venue.BYBIT, help=", ".join(Venue))
    parser.add_argument("--category", type=_one_of(Category), help=", ".join(Category))


async def backfill(settings: Settings, options: argparse.Namespace) -> int:
    """Download what is missing; 0 when the range is as complete as the venue can make it."""
    category = options.category or (
        Category.LINEAR if options.venue is Venue.ASTER else Category.SPOT
    )
    begin_at: datetime = options.begin_at
    is_on_loopback = urlsplit(settings.bybit_base_url).hostname in LOOPBACK
    if settings.is_replay and not (is_on_loopback and options.venue is Venue.BYBIT):
        print(
            "goblin: the candles of a replay come from its replay exchange alone, whose address "
            "`serve --replay` prints: "
            "BYBIT_BASE_URL=http://127.0.0.1:PORT python -m app backfill --replay ...; "
            "nothing was fetched",
            file=sys.stderr,
        )
        return WRONG_USE
    try:
        if options.end_at is not None:
            check_range(begin_at, options.end_at)
        elif not settings.is_replay:  # its clock stands elsewhere, and is asked below
            check_past(begin_at, datetime.now(UTC), name="--from")
            check_range(begin_at, datetime.now(UTC))
        if settings.candle_retention_days and not settings.is_replay:
            _check_kept(begin_at, settings.candle_retention_days)
        return await _download(settings, options, category)
    except (NotFound, Refused) as refusal:
        print(f"goblin: {refusal}; nothing was fetched", file=sys.stderr)
        return WRONG_USE


async def _download(settings: Settings, options: argparse.Namespace, category: Category) -> int:
    symbol: Symbol = options.symbol
    interval: Interval = options.interval
    async with contextlib.AsyncExitStack() as stack:
        venues = await stack.enter_async_context(open_venues(settings))
        source = venues[options.venue]
        address = await stack.enter_async_context(open_address(settings))
        await migrate(address, PROJECT / "db" / "migration")
        db = await stack.enter_async_context(open_database(address, pool_size=2))
        listings = Listings(db=db, sources=venues, price_venue=options.venue, strict_lots=False)
        await patiently(lambda: listings.require(options.venue, category, symbol))
        now = await patiently(source.fetch_time)
        check_past(options.begin_at, now, name="--from")
        end_at = min(options.end_at or now, now)
        check_range(options.begin_at, end_at)
        series = await patiently(
            lambda: open_series(
                db, source, venue=options.venue, category=category, symbol=symbol, interval=interval
            )
        )
        span = Span(
            begin_at=first_open_from(options.begin_at, interval),
            end_at=min(first_open_from(end_at, interval), open_of(now, interval)),
        )
        title = f"{options.venue} {category} {symbol} {interval}"
        if series.first_open_time is None:
            print(f"{title}: {source.venue} has no candles of it")
            return 0
        display = Display(title, sys.stderr)
        last: Progress | None = None
        try:
            async for progress in fill(db, source, series, span):
                last = progress
                display.show(progress)
        finally:
            display.end()
            if last is None or last.done < last.total:
                print("stopped half-way; the same command goes on from here", file=sys.stderr)
    assert last is not None, "a download tells its end"
    print(
        f"{title}: {last.stored:,} candles new, {last.total:,} open times looked after, "
        f"{last.outages:,} outages recorded, {last.differing:,} differed and were left as they were"
    )
    return 0


def _check_kept(begin_at: datetime, days: int) -> None:
    if (datetime.now(UTC) - begin_at).days > days:
        raise CandleRangeRefused(f"CANDLE_RETENTION_DAYS={days} would drop them again")


def _symbol(text: str) -> Symbol:
    symbol = normalize_symbol(text)
    if not is_tradeable(symbol):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no symbol: write letters, digits and hyphens only, for example BTCUSDT"
        )
    return symbol


def _one_of(kind: type[StrEnum]) -> Callable[[str], StrEnum]:
    def parse(text: str) -> StrEnum:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not known: one of {', '.join(kind)}"
            ) from None

    return parse


def _interval(text: str) -> Interval:
    interval = parse_interval(text)
    if interval is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no interval: one of {', '.join(SPELLINGS)}")
    return interval


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no instant: write 2025-01-01 or 2025-01-01T12:00Z"
        ) from None
    try:
        return of_a_market(instant)
    except ValueError as expected:
        raise argparse.ArgumentTypeError(f"{text!r}: {expected}") from None
