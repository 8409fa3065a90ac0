"""How an account did: its statistics over a time, read in one snapshot."""

import asyncio
from datetime import datetime

from app.db.dao import statistics
from app.db.database import Database
from app.domain.instruments import Symbol
from app.domain.statistics import (
    AccountStatistics,
    EpochMissing,
    History,
    TimeRangeEmpty,
    account_statistics,
)
from app.domain.statistics.history import check_count
from app.domain.users import User


async def get_account_statistics(
    db: Database,
    *,
    user: User,
    epoch: int | None,
    symbol: Symbol | None,
    begin_at: datetime | None,
    end_at: datetime | None,
) -> AccountStatistics:
    """The statistics of one epoch, the current one by default, in [begin_at, end_at).

    Raises EpochMissing, TimeRangeEmpty, and TooManyMovements before any is read.
    """
    chosen = user.epoch if epoch is None else epoch
    async with db.snapshot() as conn:
        span = await statistics.get_cash_span(
            conn, user_id=user.id, epoch=chosen, begin_at=begin_at, end_at=end_at
        )
        if span is None:
            raise EpochMissing(chosen, user.epoch)
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
    # Thousands of movements take a good part of a second, which others need not wait for.
    return await asyncio.to_thread(account_statistics, history, symbol=symbol)
