"""Whether the database answers, and whether it could take an order."""

from app.db.connection import Connection
from app.domain.health import DatabaseState


async def get_database_state(conn: Connection, *, version: str) -> DatabaseState:
    """The state of this database for a process whose newest migration is `version`."""
    row = await conn.fetchrow(
        """
        SELECT NOT pg_is_in_recovery()
                   AND current_setting('transaction_read_only') = 'off' AS is_writable,
               EXISTS (SELECT FROM schema_version WHERE version = $1 AND success) AS is_migrated
        """,
        version,
    )
    assert row is not None, "a SELECT without FROM has one row"
    return DatabaseState(is_writable=row["is_writable"], is_migrated=row["is_migrated"])
