"""Connections that fail when they are told to, with the errors of a real server."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import asyncpg
from app.core.config import PROJECT
from app.db.database import ACQUIRE_SECONDS_MAX, Database
from app.db.migrate import newest_version
from app.resources import Resources
from app.services.authentication import Authenticator
from app.services.desk import QUEUE_SECONDS_MAX, Desk
from app.services.readiness import Readiness

T = TypeVar("T")


def with_pool(
    resources: Resources, pool: asyncpg.Pool, *, patience_seconds: float | None = None
) -> Resources:
    """The same resources, where requests take their connections from this pool.

    They wait for one, and at the desk, as long as goblin has them wait, or for `patience_seconds`.
    """
    db = Database(pool, acquire_seconds_max=patience_seconds or ACQUIRE_SECONDS_MAX)
    authenticator = Authenticator(db, key=resources.token_key, uses=resources.api_key_uses)
    readiness = Readiness(
        db,
        schema_version=newest_version(PROJECT / "db" / "migration"),
        venue=lambda: resources.market.venue_state,
        monotonic=time.monotonic,
    )
    return replace(
        resources,
        readiness=readiness,
        db=db,
        desk=Desk(db, batch_max=64, queue_seconds_max=patience_seconds or QUEUE_SECONDS_MAX),
        authenticator=authenticator,
    )


@dataclass(frozen=True)
class Fault:
    """How a statement fails. With a `state` the server itself raises it."""

    name: str
    error: Callable[[], BaseException] | None = None
    state: str | None = None
    is_carried_out: bool = False
    """The statement is executed, and only then fails."""
    cuts_connection: bool = False
    status: int = 503
    """What a caller is answered, where the request is not simply done again."""


CUT = Fault("connection reset", error=ConnectionResetError, cuts_connection=True)
LOST_ANSWER = Fault(
    "answer lost", error=ConnectionResetError, is_carried_out=True, cuts_connection=True
)
FAULTS = (
    CUT,
    LOST_ANSWER,
    Fault("serialization failure", state="40001", status=409),
    Fault("deadlock", state="40P01", status=409),
    Fault("cancelled", state="57014"),
    Fault("terminated", state="57P01", cuts_connection=True),
    Fault("disk full", state="53100"),
    Fault("too many connections", state="53300"),
    Fault("interface error", error=lambda: asyncpg.InterfaceError("made to fail")),
    Fault("timeout", error=TimeoutError),
)
RARER_FAULTS = (
    Fault("connection does not exist", state="08003", cuts_connection=True),
    Fault(
        "connection lost",
        error=lambda: ConnectionError("unexpected connection_lost() call"),
        cuts_connection=True,
    ),
    Fault("unreachable", error=lambda: OSError(113, "no route to host"), cuts_connection=True),
    Fault("internal client error", error=lambda: asyncpg.InternalClientError("made to fail")),
    Fault("starting", state="57P03"),
    Fault("crashing", state="57P02", cuts_connection=True),
    Fault("out of memory", state="53200"),
    Fault("damaged", state="XX001"),
    Fault("read-only", state="25006"),
    Fault("row locked", state="55P03", status=409),
    Fault("number out of range", state="22003", status=422),
    Fault("text not storable", state="22021", status=422),
    Fault("argument not storable", error=lambda: asyncpg.DataError("made to fail"), status=422),
)


class Faults:
    """Which statement fails, and how. Shared by all connections of a pool."""

    def __init__(self) -> None:
        self.seen = 0
        self.has_struck = False
        self._fault: Fault | None = None
        self._at: int | None = None
        self._at_query: str | None = None
        self._times = 0
        self._overtaken_at: str | None = None

    def arm(
        self,
        fault: Fault,
        *,
        at: int | None = None,
        at_query: str | None = None,
        times: int = 1,
        overtaken_at: str | None = None,
    ) -> None:
        """Let the `at`-th statement from now on fail, or the first `times` like `at_query`.

        Where the first like `overtaken_at` was in vain, the count begins after it.
        """
        self._overtaken_at = overtaken_at
        self.seen, self.has_struck, self._times = 0, False, times
        self._fault, self._at, self._at_query = fault, at, at_query

    def disarm(self) -> None:
        self._fault = None

    async def around(
        self, conn: asyncpg.Connection, query: str, run: Callable[[], Awaitable[T]]
    ) -> T:
        if self._overtaken_at is not None:
            if self._overtaken_at not in query:
                return await run()
            self._overtaken_at = None
            nothing: T = await asyncpg.Connection.fetchrow(conn, "SELECT WHERE false")
            return nothing
        self.seen += 1
        fault = self._fault
        if fault is None or not self._is_due(query):
            return await run()
        self._times -= 1
        if self._times == 0:
            self._fault = None
        self.has_struck = True
        if fault.is_carried_out:
            await run()
        try:
            if fault.state is not None:
                # The server's own error: it also puts an open transaction into its failed state.
                await asyncpg.Connection.execute(
                    conn, f"DO $$BEGIN RAISE SQLSTATE '{fault.state}'; END$$"
                )
            assert fault.error is not None
            raise fault.error()
        finally:
            if fault.cuts_connection:
                conn.terminate()
                await asyncio.sleep(0)

    def _is_due(self, query: str) -> bool:
        if self._at_query is not None:
            return self._at_query in query
        return self.seen == self._at


def faulty_connections(faults: Faults) -> type[asyncpg.Connection]:
    """What to make a pool of; everything but the faults is real."""

    # asyncpg comes without types: to mypy its class is Any, which strictly is no base class.
    class FaultyConnection(asyncpg.Connection):  # type: ignore[misc]
        async def execute(self, query: str, *args: Any, **options: Any) -> Any:
            run = super().execute
            return await faults.around(self, query, lambda: run(query, *args, **options))

        async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
            run = super().fetch
            return await faults.around(self, query, lambda: run(query, *args, **options))

        async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
            run = super().fetchrow
            return await faults.around(self, query, lambda: run(query, *args, **options))

        async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
            run = super().fetchval
            return await faults.around(self, query, lambda: run(query, *args, **options))

    return FaultyConnection
