"""The table `ledger_alarms`. `users.lock_users` reads it too, so that orders see an alarm."""

from app.db.connection import Connection
from app.domain.audit import LedgerAlarm


async def get_standing_alarm(conn: Connection) -> LedgerAlarm | None:
    """The alarm that stops order entry now."""
    row = await conn.fetchrow(
        "SELECT raised_at, discrepancy FROM ledger_alarms WHERE cleared_at IS NULL"
    )
    if row is None:
        return None
    return LedgerAlarm(raised_at=row["raised_at"], discrepancy=row["discrepancy"])


async def insert_alarm(conn: Connection, *, discrepancy: str) -> bool:
    """Raise an alarm unless one stands; return whether it is a new one."""
    raised: bool | None = await conn.fetchval(
        """
        INSERT INTO ledger_alarms (discrepancy)
        VALUES ($1)
        ON CONFLICT ((cleared_at IS NULL)) WHERE cleared_at IS NULL DO NOTHING
        RETURNING true
        """,
        discrepancy,
    )
    return raised is not None


async def clear_alarm(conn: Connection) -> bool:
    """Let order entry go on; return whether an alarm stood."""
    cleared: bool | None = await conn.fetchval(
        "UPDATE ledger_alarms SET cleared_at = now() WHERE cleared_at IS NULL RETURNING true"
    )
    return cleared is not None
