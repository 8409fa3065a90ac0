"""The table `strategies`."""

from app.db.connection import Connection, Row
from app.domain.strategies import Strategy, StrategyId
from app.domain.users import UserId


def _strategy(row: Row) -> Strategy:
    return Strategy(
        id=StrategyId(row["id"]),
        user_id=UserId(row["user_id"]),
        name=row["name"],
        slug=row["slug"],
        deleted_at=row["deleted_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


async def create_strategy(conn: Connection, *, user_id: UserId, name: str, slug: str) -> Strategy:
    """The new strategy."""
    row = await conn.fetchrow(
        """
        INSERT INTO strategies (user_id, name, slug)
        VALUES ($1, $2, $3)
        RETURNING id, user_id, name, slug, deleted_at, created_at, updated_at
        """,
        user_id,
        name,
        slug,
    )
    return _strategy(row)


async def get_all_strategies(
    conn: Connection, *, user_id: UserId, include_deleted: bool
) -> list[Strategy]:
    """The user's strategies, newest first."""
    rows = await conn.fetch(
        """
        SELECT id, user_id, name, slug, deleted_at, created_at, updated_at
        FROM strategies
        WHERE user_id = $1 AND ($2 OR deleted_at IS NULL)
        ORDER BY created_at DESC, id DESC
        """,
        user_id,
        include_deleted,
    )
    return [_strategy(row) for row in rows]


async def get_strategy_by_id(
    conn: Connection, *, user_id: UserId, strategy_id: StrategyId
) -> Strategy | None:
    """One of the user's strategies, deleted or not."""
    row = await conn.fetchrow(
        """
        SELECT id, user_id, name, slug, deleted_at, created_at, updated_at
        FROM strategies
        WHERE id = $2 AND user_id = $1
        """,
        user_id,
        strategy_id,
    )
    return None if row is None else _strategy(row)


async def update_strategy(
    conn: Connection,
    *,
    user_id: UserId,
    strategy_id: StrategyId,
    name: str | None,
    slug: str | None,
) -> Strategy | None:
    """The changed strategy; None values stay as they are, and so does updated_at then."""
    row = await conn.fetchrow(
        """
        UPDATE strategies
        SET name = coalesce($3, name),
            slug = coalesce($4, slug),
            updated_at = CASE
                WHEN $3::text IS NULL AND $4::text IS NULL THEN updated_at ELSE now()
            END
        WHERE id = $2 AND user_id = $1
        RETURNING id, user_id, name, slug, deleted_at, created_at, updated_at
        """,
        user_id,
        strategy_id,
        name,
        slug,
    )
    return None if row is None else _strategy(row)


async def soft_delete_strategy(
    conn: Connection, *, user_id: UserId, strategy_id: StrategyId
) -> None:
    """Mark a strategy as deleted; the first deletion's time stays."""
    await conn.execute(
        """
        UPDATE strategies
        SET deleted_at = now(), updated_at = now()
        WHERE id = $2 AND user_id = $1 AND deleted_at IS NULL
        """,
        user_id,
        strategy_id,
    )
