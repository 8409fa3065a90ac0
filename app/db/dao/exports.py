"""Whole tables to be copied, oldest first; times are half-open and None is no filter."""

from datetime import datetime

from app.db.copying import Copied, Copier
from app.domain.candles import SeriesId
from app.domain.exports import ExportedRows


async def copy_orders(conn: Copier, *, rows: ExportedRows) -> Copied:
    """The orders of one epoch, by when they were opened."""
    return await conn.copy(
        """
        SELECT id, epoch, client_order_id, symbol, status, quantity, buy_price, sell_price,
            created_at, updated_at
        FROM transact
        WHERE user_id = $1
            AND epoch = $2
            AND ($3::text IS NULL OR symbol = $3)
            AND ($4::timestamptz IS NULL OR created_at >= $4)
            AND ($5::timestamptz IS NULL OR created_at < $5)
            AND ($6::int IS NULL OR status = $6)
        ORDER BY id
        """,
        *rows.of_epoch,
        rows.status,
    )


async def copy_fills(conn: Copier, *, rows: ExportedRows) -> Copied:
    """How the orders of one epoch were filled, by when they were."""
    return await conn.copy(
        """
        SELECT fill.order_id, bought.epoch, bought.symbol, fill.side, bought.quantity, fill.price,
            fill.source, fill.venue_time_ms, fill.price_age_ms, fill.request_id, fill.filled_at
        FROM transact AS bought
        JOIN fills AS fill ON fill.order_id = bought.id
        WHERE bought.user_id = $1
            AND bought.epoch = $2
            AND ($3::text IS NULL OR bought.symbol = $3)
            AND ($4::timestamptz IS NULL OR fill.filled_at >= $4)
            AND ($5::timestamptz IS NULL OR fill.filled_at < $5)
        ORDER BY fill.order_id, fill.side
        """,
        *rows.of_epoch,
    )


async def copy_ledger(conn: Copier, *, rows: ExportedRows) -> Copied:
    """The ledger entries of one epoch; `symbol` is their asset."""
    return await conn.copy(
        """
        SELECT entry.id, entry.transfer_id, transfer.cause, account.kind, account.asset,
            account.epoch, entry.version, entry.amount, entry.balance_before,
            entry.balance_after, transfer.order_id, transfer.reverses_transfer_id,
            transfer.request_id, entry.event_at, entry.created_at
        FROM ledger_entries AS entry
        JOIN ledger_accounts AS account ON account.id = entry.account_id
        JOIN ledger_transfers AS transfer ON transfer.id = entry.transfer_id
        WHERE entry.user_id = $1
            AND account.epoch = $2
            AND ($3::text IS NULL OR account.asset = $3)
            AND ($4::timestamptz IS NULL OR entry.event_at >= $4)
            AND ($5::timestamptz IS NULL OR entry.event_at < $5)
            AND ($6::text IS NULL OR account.kind = $6)
            AND ($7::bigint IS NULL OR transfer.order_id = $7)
        ORDER BY entry.id
        """,
        *rows.of_epoch,
        rows.kind,
        rows.order_id,
    )


async def copy_accounts(conn: Copier, *, rows: ExportedRows) -> Copied:
    """The ledger accounts of one epoch, by when they were opened; `symbol` is their asset."""
    return await conn.copy(
        """
        SELECT id, epoch, kind, asset, balance, version, opened_at
        FROM ledger_accounts
        WHERE user_id = $1
            AND epoch = $2
            AND ($3::text IS NULL OR asset = $3)
            AND ($4::timestamptz IS NULL OR opened_at >= $4)
            AND ($5::timestamptz IS NULL OR opened_at < $5)
        ORDER BY id
        """,
        *rows.of_epoch,
    )


async def copy_log(conn: Copier, *, rows: ExportedRows) -> Copied:
    """The trading log; `symbol` is part of one, literal and in upper case."""
    return await conn.copy(
        """
        SELECT id, symbol, data, action, created_at, updated_at
        FROM log
        WHERE user_id = $1
            AND ($2::text IS NULL OR position($2 IN symbol) > 0)
            AND ($3::timestamptz IS NULL OR created_at >= $3)
            AND ($4::timestamptz IS NULL OR created_at < $4)
        ORDER BY id
        """,
        rows.user_id,
        rows.symbol,
        rows.begin,
        rows.end,
    )


async def copy_events(conn: Copier, *, rows: ExportedRows) -> Copied:
    """What happened, of every epoch, by number."""
    return await conn.copy(
        """
        SELECT number, type, epoch, data, request_id, event_at
        FROM events
        WHERE user_id = $1
            AND ($2::timestamptz IS NULL OR event_at >= $2)
            AND ($3::timestamptz IS NULL OR event_at < $3)
        ORDER BY number
        """,
        rows.user_id,
        rows.begin,
        rows.end,
    )


async def copy_watchlist(conn: Copier, *, rows: ExportedRows) -> Copied:
    """What is watched."""
    return await conn.copy(
        """
        SELECT id, symbol, created_at
        FROM watchlists
        WHERE user_id = $1 AND ($2::text IS NULL OR symbol = $2)
        ORDER BY id
        """,
        rows.user_id,
        rows.symbol,
    )


async def copy_strategies(conn: Copier, *, rows: ExportedRows) -> Copied:
    """The strategies, deleted ones as well unless they are not wanted."""
    return await conn.copy(
        """
        SELECT id, name, slug, created_at, updated_at, deleted_at
        FROM strategies
        WHERE user_id = $1 AND ($2 OR deleted_at IS NULL)
        ORDER BY id
        """,
        rows.user_id,
        rows.include_deleted,
    )


async def copy_trade_strategies(conn: Copier, *, rows: ExportedRows) -> Copied:
    """The assignments, deleted ones as well unless they are not wanted."""
    return await conn.copy(
        """
        SELECT id, symbol, strategy_id, timestamp, created_at, updated_at, deleted_at
        FROM trade_strategies
        WHERE user_id = $1
            AND ($2::text IS NULL OR symbol = $2)
            AND ($3 OR deleted_at IS NULL)
        ORDER BY id
        """,
        rows.user_id,
        rows.symbol,
        rows.include_deleted,
    )


async def copy_candles(
    conn: Copier, *, series_id: SeriesId, begin: datetime | None, end: datetime | None
) -> Copied:
    """The stored candles of one series, by when they open."""
    return await conn.copy(
        """
        SELECT open_time, open, high, low, close, volume, turnover
        FROM candles
        WHERE series_id = $1
            AND open_time >= coalesce($2::timestamptz, '-infinity') -- as the index is asked
            AND open_time < coalesce($3::timestamptz, 'infinity')
        ORDER BY open_time
        """,
        series_id,
        begin,
        end,
    )
