"""Whether a PostgreSQL of the user's own can be used, before anything is asked of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

import asyncpg

from app.db.address import DatabaseAddress
from app.db.errors import DRIVER_ERRORS, DatabaseUnavailable
from app.db.sole_instance import Held, sole_instance

CONNECT_SECONDS_MAX: Final = 10.0
VERSION_MIN: Final = 15
MAINTENANCE_DATABASE: Final = "postgres"
REPLAY_LOCK_KEY: Final = 0x60B1_4E91
"""An advisory lock key that nothing else of goblin uses."""
LEAVE_SECONDS_MAX: Final = 3.0
"""How long the connection of a replay that was killed may be noticed to be gone."""
CHECK_SECONDS: Final = 1.0
"""How long after a restart of the database another replay could come first."""


class DatabaseNotUsable(Exception):
    """The text names the database, what is wrong, and the setting or command that mends it."""

    def __init__(self, address: DatabaseAddress, problem: str, *, remedy: str) -> None:
        super().__init__(
            f"PostgreSQL at {address.host} port {address.port}: {problem}\nRemedy: {remedy}"
        )


async def check_usable(address: DatabaseAddress) -> None:
    """Raise DatabaseNotUsable unless goblin can log in and write there.

    A database that does not exist is not created: a mistyped DB_NAME would begin an empty
    installation beside the real one, and nobody would see why everything is gone.
    """
    async with _reached(address) as connection:
        version = connection.get_server_version().major
        is_standby = await connection.fetchval("SELECT pg_is_in_recovery()")
    if version < VERSION_MIN:
        raise DatabaseNotUsable(
            address,
            f"it is version {version}, goblin needs {VERSION_MIN} or later",
            remedy="upgrade it, or leave DB_HOST out and goblin runs its own",
        )
    if is_standby:
        raise DatabaseNotUsable(
            address, "it is a read-only standby", remedy="let DB_HOST name the primary"
        )


async def create_missing(address: DatabaseAddress) -> None:
    """Create the database of replays where it is not there yet: nobody can mean another by it.

    Raises DatabaseNotUsable when the role may not.
    """
    try:
        connection = await asyncpg.connect(
            **address.connect_arguments(), timeout=CONNECT_SECONDS_MAX, statement_cache_size=0
        )
    except asyncpg.InvalidCatalogNameError:
        await _create(address)
    except DRIVER_ERRORS as error:
        raise not_usable(address, error) from error
    else:
        await connection.close()


async def _create(address: DatabaseAddress) -> None:
    quoted = '"' + address.database.replace('"', '""') + '"'
    try:
        connection = await asyncpg.connect(
            **address.with_database(MAINTENANCE_DATABASE).connect_arguments(),
            timeout=CONNECT_SECONDS_MAX,
            statement_cache_size=0,
        )
        try:
            await connection.execute(f"CREATE DATABASE {quoted}")
        finally:
            await connection.close()
    except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        return  # another process was faster
    except DRIVER_ERRORS as error:
        raise DatabaseNotUsable(
            address,
            f"a replay has a database of its own, {address.database}, which {address.user} "
            f"cannot create ({error})",
            remedy=f"createdb -h {address.host} -p {address.port} -U postgres "
            f"-O {address.user} {address.database}",
        ) from error


@asynccontextmanager
async def sole_replay(
    address: DatabaseAddress,
    *,
    patience_seconds: float = LEAVE_SECONDS_MAX,
    check_seconds: float = CHECK_SECONDS,
) -> AsyncIterator[None]:
    """Be the one replay on a database for as long as the block runs, also if it is restarted.

    Raises DatabaseNotUsable while there is another.
    """
    try:
        async with sole_instance(
            address, key=REPLAY_LOCK_KEY, retry_seconds=0.1, patience_seconds=patience_seconds
        ) as check:
            holding = asyncio.create_task(_hold_on(address, check, check_seconds))
            try:
                yield
            finally:
                holding.cancel()
                await asyncio.wait({holding})
    except Held:
        raise DatabaseNotUsable(
            address,
            f"another replay uses the database {address.database}",
            remedy="stop that one, or give this one a database of its own: DB_NAME=second",
        ) from None


async def _hold_on(
    address: DatabaseAddress, check: Callable[[], Awaitable[None]], check_seconds: float
) -> None:
    """Take the lock again whenever it is lost: it goes with the connection that holds it."""
    async with AsyncExitStack() as stack:
        while True:
            await asyncio.sleep(check_seconds)
            try:
                await check()
            except DatabaseUnavailable:
                again = sole_instance(address, key=REPLAY_LOCK_KEY, retry_seconds=check_seconds)
                with suppress(DatabaseUnavailable):  # it is not back yet
                    check = await stack.enter_async_context(again)


async def check_room(
    address: DatabaseAddress, *, processes: int, pool_size: int, others: int
) -> None:
    """Raise DatabaseNotUsable unless so many processes can all fill their pools.

    `others` are the connections that each opens besides.
    """
    async with _reached(address) as connection:
        room = int(await connection.fetchval("SELECT current_setting('max_connections')"))
    wanted = processes * (pool_size + others)
    if wanted > room:
        raise DatabaseNotUsable(
            address,
            f"{processes} workers with DB_POOL_SIZE={pool_size} open up to {wanted} connections, "
            f"and it allows {room} (max_connections)",
            remedy=f"fewer --workers, or DB_POOL_SIZE={max(2, room // processes - others)}",
        )


@asynccontextmanager
async def _reached(address: DatabaseAddress) -> AsyncIterator[asyncpg.Connection]:
    """A connection to ask something.

    Raises DatabaseNotUsable, also for what is asked: a pooler lets goblin in and then has no
    server.
    """
    try:
        connection = await asyncpg.connect(
            **address.connect_arguments(),
            timeout=CONNECT_SECONDS_MAX,
            command_timeout=CONNECT_SECONDS_MAX,
            statement_cache_size=0,
        )
        try:
            yield connection
        finally:
            connection.terminate()
    except DRIVER_ERRORS as error:
        raise not_usable(address, error) from error


def not_usable(address: DatabaseAddress, error: BaseException) -> DatabaseNotUsable:
    """What to say of a driver's error."""
    match error:
        case asyncpg.InvalidCatalogNameError():
            problem = f'there is no database "{address.database}"'
            remedy = (
                f"createdb -h {address.host} -p {address.port} -U {address.user} "
                f"{address.database}, or set DB_NAME to the one you meant"
            )
        case asyncpg.InvalidAuthorizationSpecificationError():  # a wrong password is one
            problem = str(error)
            remedy = "correct DB_USER and DB_PASSWORD, or what the server's pg_hba.conf allows"
        case OSError():  # a timeout is one
            reason = str(error) or f"no answer within {CONNECT_SECONDS_MAX:.0f} seconds"
            problem = f"it cannot be reached ({reason})"
            remedy = "start it, or correct DB_HOST and DB_PORT; without DB_HOST goblin runs its own"
        case _:
            problem = f"it does not let goblin in ({error})"
            remedy = "mend what it says, and start again"
    return DatabaseNotUsable(address, problem, remedy=remedy)
