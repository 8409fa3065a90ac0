"""How an account did: its statistics over a time, read in one snapshot."""

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Final

from app.db.connection import Connection
from app.db.dao import candles, statistics
from app.db.database import Database
from app.domain.candles import Interval
from app.domain.instruments import Category, Symbol, Venue
from app.domain.statistics import (
    AccountStatistics,
    History,
    TimeRangeEmpty,
    account_statistics,
    plan_marks,
)
from app.domain.statistics.history import check_count
from app.domain.statistics.marks import Close
from app.domain.users import User, epoch_of

CATEGORY: Final = Category.SPOT
"""Where orders get their prices, and so their marks."""

CLOSES_AT_ONCE: Final = 5000
"""The driver decodes the rows of a statement in one go, and others wait for that."""


async def get_account_statistics(
    db: Database,
    *,
    user: User,
    epoch: int | None,
    symbol: Symbol | None,
    begin_at: datetime | None,
    end_at: datetime | None,
    venue: Venue,
    interval: Interval | None,
) -> AccountStatistics:
    """The statistics of one epoch, the current one by default, in [begin_at, end_at).

    Open orders are marked at the closes of stored candles of the venue; without an interval at
    those of a day, or of longer ones if these are too many. Raises EpochMissing, TimeRangeEmpty,
    and TooManyMovements and TooManyMarks before any is read.
    """
    chosen = epoch_of(epoch, current=user.epoch)
    async with db.snapshot() as conn:
        span = await statistics.get_cash_span(
            conn, user_id=user.id, epoch=chosen, begin_at=begin_at, end_at=end_at
        )
        assert span is not None, "every epoch begins with an account of cash"
        if span.begin_at >= span.end_at:
            raise TimeRangeEmpty
        check_count(span.end_version - span.begin_version)
        history = History(
            begin_at=span.begin_at,
            end_at=span.end_at,
            cash_at_begin=span.cash_at_begin,
            open_at_begin=await statistics.get_open_orders_before(
                conn, user_id=user.id, epoch=chosen, at=span.begin_at
            ),
            movements=await statistics.get_movements(
                conn,
                account_id=span.account_id,
                begin_version=span.begin_version,
                end_version=span.end_version,
            ),
        )
        history = await _marked(conn, history, venue=venue, interval=interval, symbol=symbol)
    # Thousands of movements take a good part of a second, which others need not wait for.
    return await asyncio.to_thread(account_statistics, history, symbol=symbol)


async def _marked(
    conn: Connection,
    history: History,
    *,
    venue: Venue,
    interval: Interval | None,
    symbol: Symbol | None,
) -> History:
    """The history with what is known of the prices of what was traded. Raises TooManyMarks."""
    opened_at = history.first_opened_at(symbol)
    series = await candles.get_closing_series(
        conn, venue=venue, category=CATEGORY, symbols=list(opened_at)
    )
    plan = plan_marks(opened_at, history.end_at, series, interval=interval)
    wanted = await asyncio.to_thread(lambda: list(plan.wanted()))
    closes: list[Close] = []
    for first in range(0, len(wanted), CLOSES_AT_ONCE):
        some = wanted[first : first + CLOSES_AT_ONCE]
        closes += await candles.get_closes(conn, wanted=some)
    marks = await asyncio.to_thread(plan.marks, closes)
    return replace(history, interval=plan.interval, marks=marks)
