"""Whether the database answers at all."""

from app.db.connection import Connection


async def is_answering(conn: Connection) -> bool:
    """Ask for the smallest possible answer."""
    answer: int = await conn.fetchval("SELECT 1")
    return answer == 1
