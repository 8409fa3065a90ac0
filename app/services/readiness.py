"""Whether an order could be placed now, through whatever process asks."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.db.dao import health, ledger_alarms
from app.db.database import Database
from app.db.errors import DatabaseBusy, DatabaseUnavailable
from app.domain.audit import LedgerStopped
from app.domain.circuits import PriceUnavailable, VenueState
from app.domain.health import DatabaseReadOnly, DatabaseState, Part, SchemaNotCurrent

CHECK_SECONDS_MAX: Final = 2.0
"""Longest wait for the database; who asks about its health wants an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    database: DatabaseState
    is_ledger_stopped: bool
    answered_at: float


class Readiness:
    """Asks the parts. Everybody who asks at the same time shares one question to the database.

    A database that hangs therefore holds one connection of the pool for this, not one for
    every look at its health.
    """

    def __init__(
        self,
        db: Database,
        *,
        schema_version: str,
        venue: Callable[[], VenueState],
        monotonic: Callable[[], float],
        seconds_max: float = CHECK_SECONDS_MAX,
    ) -> None:
        self._db = db
        self._schema_version = schema_version
        self._venue = venue
        self._monotonic = monotonic
        self._seconds_max = seconds_max
        self._asking: asyncio.Task[_Answer] | None = None

    async def parts(self) -> dict[str, Part]:
        """What an order needs, by name.

        Raises DatabaseUnavailable when the database did not answer within CHECK_SECONDS_MAX.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="health")
            self._asking.add_done_callback(_see)
        asking = self._asking
        await asyncio.wait([asking], timeout=self._seconds_max)
        if not asking.done() or asking.cancelled():
            raise DatabaseUnavailable
        answer = asking.result()
        age_seconds = self._monotonic() - answer.answered_at
        is_writable, is_migrated = answer.database.is_writable, answer.database.is_migrated
        # An open circuit whose wait is over is no obstacle: only an order can close it.
        venue = self._venue()
        is_asked = venue.retry_after_seconds == 0
        return {
            "database": Part(
                state="connected" if is_writable else "read-only",
                age_seconds=age_seconds,
                obstacle=None if is_writable else DatabaseReadOnly(),
            ),
            "migrations": Part(
                state="current" if is_migrated else "missing",
                age_seconds=age_seconds,
                obstacle=None if is_migrated else SchemaNotCurrent(),
            ),
            "ledger": Part(
                state="stopped" if answer.is_ledger_stopped else "agrees",
                age_seconds=age_seconds,
                obstacle=LedgerStopped() if answer.is_ledger_stopped else None,
            ),
            "price_source": Part(
                state=venue.state,
                age_seconds=venue.age_seconds,
                obstacle=None
                if is_asked
                else PriceUnavailable(venue.venue, venue.retry_after_seconds),
            ),
        }

    async def aclose(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking], timeout=self._seconds_max)

    async def _ask(self) -> _Answer:
        try:
            async with self._db.connection() as conn:
                database = await health.get_database_state(conn, version=self._schema_version)
                alarm = await ledger_alarms.get_standing_alarm(conn)
        except DatabaseBusy:  # somebody holds a lock that every order would wait for as well
            raise DatabaseUnavailable from None
        return _Answer(
            database=database,
            is_ledger_stopped=alarm is not None,
            answered_at=self._monotonic(),
        )


def _see(asking: asyncio.Task[_Answer]) -> None:
    if not asking.cancelled():
        asking.exception()  # seen, even if all who waited have left
