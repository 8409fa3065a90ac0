"""Whether an order could be placed now, through whatever process asks."""

from app.db.dao import ledger_alarms
from app.db.database import Database
from app.domain.audit import LedgerStopped


async def get_checks(db: Database) -> dict[str, str]:
    """The state of each thing an order needs. Raises the error of the first that is missing."""
    async with db.connection() as conn:
        alarm = await ledger_alarms.get_standing_alarm(conn)
    if alarm is not None:
        raise LedgerStopped
    return {"database": "connected", "ledger": "agrees"}
