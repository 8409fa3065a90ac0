"""Audits the whole installation, again and again; a discrepancy stops order entry everywhere.

One process does it for all. What it finds stands in `ledger_alarms`, which every order reads
under its user's lock, so that no process needs to be told.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from app.db.address import DatabaseAddress
from app.db.dao import ledger_alarms
from app.db.database import Database
from app.db.sole_instance import sole_instance
from app.domain.audit import Discrepancy
from app.jobs.supervisor import Done, tell_nobody
from app.services.audit import USERS_PER_SLICE_MAX, audit_everybody

LOCK_KEY: Final = 0x60B1_1EDE
"""An advisory lock key that nothing else of goblin uses."""

INTERVAL_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.05
"""Between two slices, so that orders always find the database idle for a while."""
BUSY_SHARE_MAX: Final = 0.1
"""Of the time of one connection: orders shall not cost more because there are many old ones."""
RETRY_SECONDS: Final = 5.0
"""How soon another process takes over from one that went away."""
LOGGED_MAX: Final = 20

_log = logging.getLogger(__name__)


async def run(
    db: Database,
    address: DatabaseAddress,
    *,
    interval_seconds: float = INTERVAL_SECONDS,
    retry_seconds: float = RETRY_SECONDS,
    done: Done = tell_nobody,
) -> None:
    """Reconcile now and every minute, while this is the one process that does."""
    async with sole_instance(address, key=LOCK_KEY, retry_seconds=retry_seconds) as check_sole:
        while True:
            await reconcile(db, check_sole=check_sole)
            done()
            await asyncio.sleep(interval_seconds)
            await check_sole()


async def reconcile(
    db: Database,
    *,
    check_sole: Callable[[], Awaitable[None]] | None = None,
    users_per_slice_max: int = USERS_PER_SLICE_MAX,
    pause_seconds: float = PAUSE_SECONDS,
) -> list[Discrepancy]:
    """Audit everybody: raise the alarm at the first discrepancy, clear it when there is none.

    Only a full run clears; one that fails half-way leaves the alarm as it was.
    """
    found: list[Discrepancy] = []
    slices = audit_everybody(
        db,
        users_per_slice_max=users_per_slice_max,
        pause_seconds=pause_seconds,
        busy_share_max=BUSY_SHARE_MAX,
    )
    async for part in slices:
        if part.discrepancies:
            await _raise_alarm(db, part.discrepancies, logged=len(found))
            found += part.discrepancies
        if check_sole is not None:
            await check_sole()
    if found:
        _log.critical(
            "the ledger disagrees: order entry is stopped until a full run finds nothing",
            extra={"discrepancies": len(found)},
        )
        return found
    async with db.connection() as conn:
        if await ledger_alarms.clear_alarm(conn):
            _log.warning("the ledger agrees again: order entry goes on")
    return found


async def _raise_alarm(db: Database, found: Sequence[Discrepancy], *, logged: int) -> None:
    async with db.connection() as conn:
        await ledger_alarms.insert_alarm(conn, discrepancy=found[0].text)
    for discrepancy in found[: max(0, LOGGED_MAX - logged)]:
        _log.critical(
            "ledger discrepancy",
            extra={"user_id": discrepancy.user_id, "discrepancy": discrepancy.text},
        )
