"""Short messages between the processes that share a database (LISTEN and NOTIFY).

They are hints: not kept, not repeated, and lost behind a pooler that hands one connection to
several clients. Nothing may depend on their arrival.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from app.db.address import DatabaseAddress
from app.db.errors import DRIVER_ERRORS, DatabaseUnavailable

CONNECT_SECONDS_MAX: Final = 5.0
COMMAND_SECONDS_MAX: Final = 5.0


class Channel:
    """A connection of its own that listens and tells. Built by `open_channel`."""

    def __init__(self, connection: asyncpg.Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    async def tell(self, texts: Sequence[str]) -> None:
        """Send each text (under 8,000 bytes) to the other processes, in one transaction."""
        await self._connection.execute(
            "SELECT pg_notify($1, text) FROM unnest($2::text[]) AS text", self._name, texts
        )

    async def check(self) -> None:
        """Notice a connection that died without a word."""
        await self._connection.execute("SELECT 1")


@asynccontextmanager
async def open_channel(
    address: DatabaseAddress, name: str, *, hear: Callable[[str], None]
) -> AsyncIterator[Channel]:
    """Listen for as long as the block runs; `hear` is given what other processes tell.

    Raises DatabaseUnavailable, also when the connection is lost inside the block.
    """

    def heard(_: asyncpg.Connection, pid: int, _channel: str, text: str) -> None:
        if pid != own_pid:
            hear(text)

    try:
        connection = await asyncpg.connect(
            **address.connect_arguments(),
            timeout=CONNECT_SECONDS_MAX,
            command_timeout=COMMAND_SECONDS_MAX,
            server_settings={"application_name": "goblin events"},
        )
        try:
            own_pid = connection.get_server_pid()
            await connection.add_listener(name, heard)
            yield Channel(connection, name)
        finally:
            connection.terminate()  # closing would wait for an answer
    except DRIVER_ERRORS as error:
        raise DatabaseUnavailable from error
