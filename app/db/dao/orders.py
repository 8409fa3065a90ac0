"""The table `transact`: paper orders, as they are and, in the functions `..._at`, as they were.

They are written by bookings.insert_booking. An order changes once, when it is closed: before
that instant it was active.
"""

from datetime import datetime

from app.db.connection import ROWS_AT_ONCE, Connection, Row
from app.domain.instruments import Symbol
from app.domain.orders import Order, OrderId, OrderStatus
from app.domain.users import UserId


def _order(row: Row) -> Order:
    return Order(
        id=OrderId(row["id"]),
        user_id=UserId(row["user_id"]),
        epoch=row["epoch"],
        client_order_id=row["client_order_id"],
        symbol=Symbol(row["symbol"]),
        status=OrderStatus(row["status"]),
        quantity=row["quantity"],
        buy_price=row["buy_price"],
        sell_price=row["sell_price"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


async def has_active_order(conn: Connection, *, user_id: UserId, symbol: Symbol) -> bool:
    """Whether there is something to close, in the user's present epoch."""
    found: bool = await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM transact
            JOIN users ON users.id = transact.user_id AND users.epoch = transact.epoch
            WHERE transact.user_id = $1 AND transact.symbol = $2 AND transact.status = 1
        )
        """,
        user_id,
        symbol,
    )
    return found


async def get_order(conn: Connection, *, user_id: UserId, order_id: OrderId) -> Order | None:
    """One of the user's orders, of whatever epoch."""
    row = await conn.fetchrow(
        """
        SELECT id, user_id, epoch, client_order_id, symbol, status, quantity, buy_price,
            sell_price, created_at, updated_at
        FROM transact
        WHERE id = $2 AND user_id = $1
        """,
        user_id,
        order_id,
    )
    return None if row is None else _order(row)


async def get_order_by_client_id(
    conn: Connection, *, user_id: UserId, client_order_id: str
) -> Order | None:
    """The user's order with this client order id, of whatever epoch."""
    row = await conn.fetchrow(
        """
        SELECT id, user_id, epoch, client_order_id, symbol, status, quantity, buy_price,
            sell_price, created_at, updated_at
        FROM transact
        WHERE user_id = $1 AND client_order_id = $2
        """,
        user_id,
        client_order_id,
    )
    return None if row is None else _order(row)


async def get_orders(
    conn: Connection,
    *,
    user_id: UserId,
    epoch: int,
    status: OrderStatus | None,
    symbol: Symbol | None,
    limit: int,
    offset: int,
) -> list[Order]:
    """A page of the user's orders of one epoch: active ones first, then newest first."""
    rows = conn.cursor(
        """
        SELECT id, user_id, epoch, client_order_id, symbol, status, quantity, buy_price,
            sell_price, created_at, updated_at
        FROM transact
        WHERE user_id = $1
            AND epoch = $2
            AND ($3::int IS NULL OR status = $3)
            AND ($4::text IS NULL OR symbol = $4)
        ORDER BY status, created_at DESC, id DESC
        LIMIT $5 OFFSET $6
        """,
        user_id,
        epoch,
        status,
        symbol,
        limit,
        offset,
        prefetch=ROWS_AT_ONCE,
    )
    return [_order(row) async for row in rows]


async def count_orders(
    conn: Connection,
    *,
    user_id: UserId,
    epoch: int,
    status: OrderStatus | None,
    symbol: Symbol | None,
) -> int:
    """How many orders the filters match, whatever the page."""
    count: int = await conn.fetchval(
        """
        SELECT count(*)
        FROM transact
        WHERE user_id = $1
            AND epoch = $2
            AND ($3::int IS NULL OR status = $3)
            AND ($4::text IS NULL OR symbol = $4)
        """,
        user_id,
        epoch,
        status,
        symbol,
    )
    return count


async def get_unique_order_symbols(
    conn: Connection, *, user_id: UserId, epoch: int
) -> list[Symbol]:
    """Every symbol ordered in one epoch, sorted; one index probe for each symbol."""
    rows = await conn.fetch(
        """
        WITH RECURSIVE probe AS (
            (
                SELECT symbol FROM transact
                WHERE user_id = $1 AND epoch = $2
                ORDER BY symbol LIMIT 1
            )
            UNION ALL
            SELECT (
                SELECT transact.symbol
                FROM transact
                WHERE user_id = $1 AND epoch = $2 AND transact.symbol > probe.symbol
                ORDER BY transact.symbol
                LIMIT 1
            )
            FROM probe
            WHERE probe.symbol IS NOT NULL
        )
        SELECT symbol FROM probe WHERE symbol IS NOT NULL
        """,
        user_id,
        epoch,
    )
    return sorted(Symbol(row["symbol"]) for row in rows)


async def get_orders_at(
    conn: Connection,
    *,
    user_id: UserId,
    epoch: int,
    at: datetime,
    status: OrderStatus | None,
    symbol: Symbol | None,
    limit: int,
    offset: int,
) -> list[Order]:
    """The page of orders that was answered at an instant."""
    rows = conn.cursor(
        """
        SELECT id, user_id, epoch, client_order_id, symbol, quantity, buy_price, created_at,
            CASE WHEN is_closed THEN 2 ELSE 1 END AS status,
            CASE WHEN is_closed THEN sell_price END AS sell_price,
            CASE WHEN is_closed THEN updated_at ELSE created_at END AS updated_at
        FROM (
            SELECT id, user_id, epoch, client_order_id, symbol, quantity, buy_price, created_at,
                sell_price, updated_at, status = 2 AND updated_at <= $3 AS is_closed
            FROM transact
            WHERE user_id = $1 AND epoch = $2 AND created_at <= $3
        ) AS known
        WHERE ($4::int IS NULL OR is_closed = ($4 = 2)) AND ($5::text IS NULL OR symbol = $5)
        ORDER BY is_closed, created_at DESC, id DESC
        LIMIT $6 OFFSET $7
        """,
        user_id,
        epoch,
        at,
        status,
        symbol,
        limit,
        offset,
        prefetch=ROWS_AT_ONCE,
    )
    return [_order(row) async for row in rows]


async def count_orders_at(
    conn: Connection,
    *,
    user_id: UserId,
    epoch: int,
    at: datetime,
    status: OrderStatus | None,
    symbol: Symbol | None,
) -> int:
    """How many orders the filters matched at an instant."""
    count: int = await conn.fetchval(
        """
        SELECT count(*)
        FROM transact
        WHERE user_id = $1 AND epoch = $2 AND created_at <= $3
            AND ($4::int IS NULL OR (status = 2 AND updated_at <= $3) = ($4 = 2))
            AND ($5::text IS NULL OR symbol = $5)
        """,
        user_id,
        epoch,
        at,
        status,
        symbol,
    )
    return count


async def get_unique_order_symbols_at(
    conn: Connection, *, user_id: UserId, epoch: int, at: datetime
) -> list[Symbol]:
    """Every symbol ordered in one epoch until an instant, sorted."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT symbol
        FROM transact
        WHERE user_id = $1 AND epoch = $2 AND created_at <= $3
        """,
        user_id,
        epoch,
        at,
    )
    return sorted(Symbol(row["symbol"]) for row in rows)
