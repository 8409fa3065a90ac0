"""What users have an eye on, out of the tables `watchlists` and `transact`."""

from app.db.connection import Connection
from app.domain.instruments import Symbol


async def get_followed_symbols(conn: Connection, *, limit: int) -> list[Symbol]:
    """The symbols of every watchlist and every active order, at most `limit`, by name."""
    rows = await conn.fetch(
        """
        SELECT symbol FROM watchlists
        UNION
        SELECT symbol FROM transact WHERE status = 1
        ORDER BY symbol
        LIMIT $1
        """,
        limit,
    )
    return [Symbol(row["symbol"]) for row in rows]
