"""The table `watchlists`."""

from app.db.connection import Connection, Row
from app.domain.instruments import Symbol
from app.domain.users import UserId
from app.domain.watchlists import WatchlistEntry, WatchlistId


def _entry(row: Row) -> WatchlistEntry:
    return WatchlistEntry(
        id=WatchlistId(row["id"]),
        user_id=UserId(row["user_id"]),
        symbol=Symbol(row["symbol"]),
        created_at=row["created_at"],
    )


async def create_watchlist(conn: Connection, *, user_id: UserId, symbol: Symbol) -> WatchlistEntry:
    """The new entry of a symbol that is not listed yet, for a user who is locked."""
    row = await conn.fetchrow(
        """
        INSERT INTO watchlists (user_id, symbol)
        VALUES ($1, $2)
        RETURNING id, user_id, symbol, created_at
        """,
        user_id,
        symbol,
    )
    return _entry(row)


async def get_watchlist(
    conn: Connection, *, user_id: UserId, symbol: Symbol
) -> WatchlistEntry | None:
    """The user's entry for one symbol."""
    row = await conn.fetchrow(
        """
        SELECT id, user_id, symbol, created_at
        FROM watchlists
        WHERE user_id = $1 AND symbol = $2
        """,
        user_id,
        symbol,
    )
    return None if row is None else _entry(row)


async def get_watchlists(conn: Connection, *, user_id: UserId) -> list[WatchlistEntry]:
    """The user's entries, newest first."""
    rows = await conn.fetch(
        """
        SELECT id, user_id, symbol, created_at
        FROM watchlists
        WHERE user_id = $1
        ORDER BY created_at DESC, id DESC
        """,
        user_id,
    )
    return [_entry(row) for row in rows]


async def delete_watchlist(conn: Connection, *, user_id: UserId, symbol: Symbol) -> bool:
    """Whether there was an entry to delete."""
    tag = await conn.execute(
        "DELETE FROM watchlists WHERE user_id = $1 AND symbol = $2", user_id, symbol
    )
    return tag != "DELETE 0"
