"""The table `trade_strategies`: strategies assigned to symbols."""

from app.db.connection import Connection, Row
from app.domain.instruments import Symbol
from app.domain.strategies import Assignment, AssignmentId, StrategyId
from app.domain.users import UserId


def _assignment(row: Row) -> Assignment:
    return Assignment(
        id=AssignmentId(row["id"]),
        user_id=UserId(row["user_id"]),
        symbol=Symbol(row["symbol"]),
        strategy_id=StrategyId(row["strategy_id"]),
        interval=row["timestamp"],
        deleted_at=row["deleted_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


async def create_trade_strategy(
    conn: Connection, *, user_id: UserId, symbol: Symbol, strategy_id: StrategyId, interval: str
) -> Assignment:
    """The new assignment."""
    row = await conn.fetchrow(
        """
        INSERT INTO trade_strategies (user_id, symbol, strategy_id, timestamp)
        VALUES ($1, $2, $3, $4)
        RETURNING id, user_id, symbol, strategy_id, timestamp, deleted_at, created_at, updated_at
        """,
        user_id,
        symbol,
        strategy_id,
        interval,
    )
    return _assignment(row)


async def get_trade_strategies(
    conn: Connection, *, user_id: UserId, include_deleted: bool
) -> list[Assignment]:
    """The user's assignments, newest first."""
    rows = await conn.fetch(
        """
        SELECT id, user_id, symbol, strategy_id, timestamp, deleted_at, created_at, updated_at
        FROM trade_strategies
        WHERE user_id = $1 AND ($2 OR deleted_at IS NULL)
        ORDER BY created_at DESC, id DESC
        """,
        user_id,
        include_deleted,
    )
    return [_assignment(row) for row in rows]


async def get_trade_strategy_by_id(
    conn: Connection, *, user_id: UserId, assignment_id: AssignmentId
) -> Assignment | None:
    """One of the user's assignments, deleted or not."""
    row = await conn.fetchrow(
        """
        SELECT id, user_id, symbol, strategy_id, timestamp, deleted_at, created_at, updated_at
        FROM trade_strategies
        WHERE id = $2 AND user_id = $1
        """,
        user_id,
        assignment_id,
    )
    return None if row is None else _assignment(row)


async def update_trade_strategy(
    conn: Connection,
    *,
    user_id: UserId,
    assignment_id: AssignmentId,
    symbol: Symbol | None,
    strategy_id: StrategyId | None,
    interval: str | None,
) -> Assignment:
    """The changed assignment, which exists; None values stay as they are."""
    row = await conn.fetchrow(
        """
        UPDATE trade_strategies
        SET symbol = coalesce($3, symbol),
            strategy_id = coalesce($4, strategy_id),
            timestamp = coalesce($5, timestamp),
            updated_at = now()
        WHERE id = $2 AND user_id = $1
        RETURNING id, user_id, symbol, strategy_id, timestamp, deleted_at, created_at, updated_at
        """,
        user_id,
        assignment_id,
        symbol,
        strategy_id,
        interval,
    )
    return _assignment(row)


async def soft_delete_trade_strategy(
    conn: Connection, *, user_id: UserId, assignment_id: AssignmentId
) -> None:
    """Mark an assignment as deleted; the first deletion's time stays."""
    await conn.execute(
        """
        UPDATE trade_strategies
        SET deleted_at = now(), updated_at = now()
        WHERE id = $2 AND user_id = $1 AND deleted_at IS NULL
        """,
        user_id,
        assignment_id,
    )
