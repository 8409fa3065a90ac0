"""The table `log`."""

from app.db.connection import Connection, Row
from app.domain.instruments import Symbol
from app.domain.logs import LogEntry, LogId
from app.domain.users import UserId


def _entry(row: Row) -> LogEntry:
    return LogEntry(
        id=LogId(row["id"]),
        user_id=UserId(row["user_id"]),
        symbol=Symbol(row["symbol"]),
        data_json=row["data"],
        action=row["action"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


async def create_log(
    conn: Connection, *, user_id: UserId, symbol: Symbol, data_json: str, action: str
) -> LogEntry:
    """The new entry."""
    row = await conn.fetchrow(
        """
        INSERT INTO log (user_id, symbol, data, action)
        VALUES ($1, $2, $3::jsonb, $4)
        RETURNING id, user_id, symbol, data, action, created_at, updated_at
        """,
        user_id,
        symbol,
        data_json,
        action,
    )
    return _entry(row)


async def get_logs(
    conn: Connection, *, user_id: UserId, symbol_part: str | None, limit: int, offset: int
) -> list[LogEntry]:
    """A page of the user's entries, newest first. `symbol_part` is literal, in upper case."""
    rows = await conn.fetch(
        """
        SELECT id, user_id, symbol, data, action, created_at, updated_at
        FROM log
        WHERE user_id = $1 AND ($2::text IS NULL OR position($2 IN symbol) > 0)
        ORDER BY created_at DESC, id DESC
        LIMIT $3 OFFSET $4
        """,
        user_id,
        symbol_part,
        limit,
        offset,
    )
    return [_entry(row) for row in rows]


async def count_logs(conn: Connection, *, user_id: UserId, symbol_part: str | None) -> int:
    """How many entries the filter matches, whatever the page."""
    count: int = await conn.fetchval(
        """
        SELECT count(*)
        FROM log
        WHERE user_id = $1 AND ($2::text IS NULL OR position($2 IN symbol) > 0)
        """,
        user_id,
        symbol_part,
    )
    return count


async def get_unique_log_symbols(conn: Connection, *, user_id: UserId) -> list[Symbol]:
    """Every symbol the user ever logged, sorted; one index probe for each symbol."""
    rows = await conn.fetch(
        """
        WITH RECURSIVE probe AS (
            (SELECT symbol FROM log WHERE user_id = $1 ORDER BY symbol LIMIT 1)
            UNION ALL
            SELECT (
                SELECT log.symbol
                FROM log
                WHERE user_id = $1 AND log.symbol > probe.symbol
                ORDER BY log.symbol
                LIMIT 1
            )
            FROM probe
            WHERE probe.symbol IS NOT NULL
        )
        SELECT symbol FROM probe WHERE symbol IS NOT NULL
        """,
        user_id,
    )
    return sorted(Symbol(row["symbol"]) for row in rows)
