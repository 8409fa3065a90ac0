"""Being the only one: among all processes on a database, at most one holds a role.

A PostgreSQL advisory lock on a connection of its own, which ends with the process or the
connection, whatever kills them. It needs a direct connection: a pooler in transaction mode
would share the lock.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from app.db.address import DatabaseAddress
from app.db.errors import DRIVER_ERRORS, DatabaseUnavailable

CONNECT_SECONDS_MAX: Final = 5.0
COMMAND_SECONDS_MAX: Final = 5.0


class Held(Exception):
    """Another process holds the role, and does not let go of it."""


@asynccontextmanager
async def sole_instance(
    address: DatabaseAddress,
    *,
    key: int,
    retry_seconds: float,
    patience_seconds: float = math.inf,
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Wait until no other process holds `key`, and hold it for as long as the block runs.

    Raises Held after `patience_seconds` of waiting.

    The value checks that the lock is still held, which it no longer is when the connection
    broke: it raises DatabaseUnavailable then. Asking again and again rather than waiting
    inside PostgreSQL keeps no transaction open that would hold up vacuum.
    """
    try:
        conn = await asyncpg.connect(
            **address.connect_arguments(),
            timeout=CONNECT_SECONDS_MAX,
            command_timeout=COMMAND_SECONDS_MAX,
            server_settings={"application_name": f"goblin sole instance {key}"},
        )
    except DRIVER_ERRORS as error:
        raise DatabaseUnavailable from error

    async def check() -> None:
        try:
            await conn.execute("SELECT 1")
        except DRIVER_ERRORS as error:
            raise DatabaseUnavailable from error

    until = asyncio.get_running_loop().time() + patience_seconds
    try:
        while not await _try_lock(conn, key):
            if asyncio.get_running_loop().time() > until:
                raise Held
            await asyncio.sleep(retry_seconds)
        yield check
    finally:
        # Closing would wait for an answer; ending the connection is what releases the lock.
        conn.terminate()


async def _try_lock(conn: asyncpg.Connection, key: int) -> bool:
    try:
        is_held: bool = await conn.fetchval("SELECT pg_try_advisory_lock($1)", key)
    except DRIVER_ERRORS as error:
        raise DatabaseUnavailable from error
    return is_held
