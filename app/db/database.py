"""The pool, and the few ways to borrow a connection from it.

Every failure leaves here as one of goblin's errors or as a bug; no caller sees asyncpg's.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import asyncpg

from app.db.address import DatabaseAddress
from app.db.connection import Connection
from app.db.copying import Copier
from app.db.dataframes import query_to_dataframe, records_to_dataframe, stream_query
from app.db.errors import (
    DRIVER_ERRORS,
    DatabaseBusy,
    DatabaseUnavailable,
    RowLocked,
    translate,
)
from app.db.reach import not_usable

__all__ = [
    "Database",
    "open_database",
    "query_to_dataframe",
    "records_to_dataframe",
    "stream_query",
]

ACQUIRE_SECONDS_MAX: Final = 1.0
"""Longest wait for a free connection; asyncpg alone would wait for ever. A request waits up to
twice, for its user and for its change, and then for a row: below 5 seconds together."""

CONNECT_SECONDS_MAX: Final = 5.0
COMMAND_SECONDS_MAX: Final = 15.0
LOCK_SECONDS_MAX: Final = 2
"""Longest wait for a row that another transaction holds."""

UNDO_SECONDS_MAX: Final = 1.0
"""Longest wait for a connection to be as it was, before it is dropped."""

RETRIES_MAX: Final = 3

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUse:
    """How many connections there are, at most and idle, and who waits for one."""

    connections: int
    idle: int
    connections_max: int
    waiting: int


def _tell_nobody(_: float) -> None:
    """For those who do not measure."""


class Database:
    """Borrowed connections. Built by `open_database`."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        acquired: Callable[[float], None] = _tell_nobody,
        acquire_seconds_max: float = ACQUIRE_SECONDS_MAX,
    ) -> None:
        self._pool = pool
        self._acquired = acquired
        self._acquire_seconds_max = acquire_seconds_max
        self._waiting = 0

    @property
    def pool_use(self) -> PoolUse:
        """What the pool holds at this moment."""
        return PoolUse(
            connections=self._pool.get_size(),
            idle=self._pool.get_idle_size(),
            connections_max=self._pool.get_max_size(),
            waiting=self._waiting,
        )

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for single statements, each its own transaction."""
        async with self._borrowed() as raw:
            yield raw

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A READ COMMITTED transaction: committed when the block ends, else rolled back."""
        async with self._borrowed() as raw, raw.transaction():
            yield raw

    async def run_in_transaction(
        self, work: Callable[[Connection], Awaitable[T]], *, retries_max: int = RETRIES_MAX
    ) -> T:
        """Do `work` in a transaction; again if a deadlock or serialization failure undid it.

        `work` may run `retries_max` times more. Raises DatabaseBusy when that was not enough.
        """
        retries_left = retries_max
        while True:
            try:
                async with self.transaction() as conn:
                    return await work(conn)
            except RowLocked:  # it has waited long enough
                raise
            except DatabaseBusy:
                if retries_left == 0:
                    raise
                retries_left -= 1
                _log.info("a transaction is done again", extra={"retries_left": retries_left})

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """A read-only transaction whose statements all see the same instant."""
        async with (
            self._borrowed() as raw,
            raw.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield raw

    @asynccontextmanager
    async def copier(self) -> AsyncIterator[Copier]:
        """A connection for one result of any length, which it is closed for if that is cut."""
        async with self._borrowed() as raw:
            yield Copier(raw)

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        connection = await self._acquire()
        try:
            yield connection
        except asyncio.CancelledError:
            await self._end_what_was_prepared(connection)
            raise
        except DRIVER_ERRORS as error:
            if isinstance(error, asyncpg.DataError | asyncpg.InterfaceError):
                await self._end_what_was_prepared(connection)
            if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                # What was the primary is a standby now; new connections find the new one.
                await self._pool.expire_connections()
            raise self._explained(error) from error
        finally:
            await self._release(connection)

    async def _acquire(self) -> asyncpg.pool.PoolConnectionProxy:
        began_at = time.perf_counter()
        self._waiting += 1
        try:
            return await self._pool.acquire(timeout=self._acquire_seconds_max)
        except DRIVER_ERRORS as error:
            raise self._explained(error) from error
        finally:
            self._waiting -= 1
            self._acquired(time.perf_counter() - began_at)

    async def _end_what_was_prepared(self, connection: asyncpg.pool.PoolConnectionProxy) -> None:
        """Have PostgreSQL see the end of a statement that was prepared and never executed.

        asyncpg tells it only together with the execution. Whoever leaves between the two, or has
        a value that fits no parameter, would leave a transaction open that nobody knows of.
        """
        try:
            async with asyncio.timeout(UNDO_SECONDS_MAX):
                await connection.execute("SELECT 1")
        except DRIVER_ERRORS:  # TimeoutError included
            with suppress(asyncpg.InterfaceError):  # it was closed, and given back by itself
                connection.terminate()

    async def _release(self, connection: asyncpg.pool.PoolConnectionProxy) -> None:
        try:
            await self._pool.release(connection)
        except DRIVER_ERRORS:  # the server went away; the pool makes a new one
            _log.debug("a dead connection was dropped")

    def _explained(self, error: BaseException) -> BaseException:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # it was the undoing that failed
            return asyncio.CancelledError()
        explained = translate(error)
        if isinstance(explained, DatabaseUnavailable):
            _log.warning("database unavailable", extra={"reason": type(error).__name__})
        return error if explained is None else explained


@asynccontextmanager
async def open_database(
    address: DatabaseAddress,
    *,
    pool_size: int,
    acquired: Callable[[float], None] = _tell_nobody,
) -> AsyncIterator[Database]:
    """A pool on the database for as long as the block runs.

    `acquired` is told how many seconds each wait for a connection took. Raises
    DatabaseNotUsable.
    """
    async with open_pool(address, size=pool_size) as pool:
        yield Database(pool, acquired=acquired)


@asynccontextmanager
async def open_pool(
    address: DatabaseAddress,
    *,
    size: int,
    connection_class: type[asyncpg.Connection] = asyncpg.Connection,
    command_seconds_max: float = COMMAND_SECONDS_MAX,
    lock_seconds_max: int = LOCK_SECONDS_MAX,
) -> AsyncIterator[asyncpg.Pool]:
    """What a Database is made of; the last three are for tests: connections that fail, patience.

    Raises DatabaseNotUsable.
    """
    try:
        pool = await asyncpg.create_pool(
            **address.connect_arguments(),
            connection_class=connection_class,
            min_size=min(2, size),
            max_size=size,
            timeout=CONNECT_SECONDS_MAX,
            command_timeout=command_seconds_max,
            max_inactive_connection_lifetime=300.0,
            reset=_keep_session,
            server_settings={
                "application_name": "goblin",
                "timezone": "UTC",
                "lock_timeout": f"{lock_seconds_max}s",
                # A connection keeps the plans that it made when its tables were nearly empty. To
                # read all of such a table is quickest then, and slower with every order after.
                "enable_seqscan": "off",
                "jit": "off",  # before PostgreSQL 18 what cannot be helped would count as costly
            },
        )
    except DRIVER_ERRORS as error:
        raise not_usable(address, error) from error
    try:
        yield pool
    finally:
        try:
            await asyncio.wait_for(pool.close(), timeout=5.0)
        except DRIVER_ERRORS:  # TimeoutError included
            pool.terminate()


async def _keep_session(_: asyncpg.Connection) -> None:
    """Give a connection back without a round trip.

    By default asyncpg has PostgreSQL forget all session state first; there is none, because
    no statement changes a session (tests/architecture/test_sessions.py). A transaction that
    is still open is rolled back by asyncpg all the same.
    """
