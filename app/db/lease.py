"""Holding a lease: being the one process that does something, and knowing when it no longer is.

A lease ends by itself when its holder stops renewing it, whatever happened to the holder: killed,
paused, or cut off from the database. Its term is the fence: what is written under a lease names
the term, and the database refuses a term that is over.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg

from app.db.address import DatabaseAddress
from app.db.dao import leases
from app.db.errors import DRIVER_ERRORS, DatabaseUnavailable
from app.db.sole_instance import COMMAND_SECONDS_MAX, CONNECT_SECONDS_MAX


class LeaseLost(Exception):
    """The term is over: another may be doing it by now."""

    def __init__(self, name: str, term: int) -> None:
        super().__init__(f"lease {name!r}, term {term}")
        self.name = name
        self.term = term


class Lease:
    """A term that is ours, on a connection of its own. Built by `hold_lease`."""

    def __init__(
        self, connection: asyncpg.Connection, *, name: str, term: int, seconds: float
    ) -> None:
        self._connection = connection
        self._seconds = seconds
        self._one_at_a_time = asyncio.Lock()
        self.name = name
        self.term = term

    async def renew(self) -> None:
        """Go on. Raises LeaseLost or DatabaseUnavailable."""
        try:
            async with self._one_at_a_time:
                goes_on = await leases.renew_lease(
                    self._connection, name=self.name, term=self.term, seconds=self._seconds
                )
        except DRIVER_ERRORS as error:
            raise DatabaseUnavailable from error
        if not goes_on:
            raise LeaseLost(self.name, self.term)

    async def tell(self, channel: str, texts: Sequence[str]) -> None:
        """NOTIFY, unless the term is over. Raises LeaseLost or DatabaseUnavailable."""
        try:
            async with self._one_at_a_time:
                told = await leases.notify_in_term(
                    self._connection, channel=channel, texts=texts, name=self.name, term=self.term
                )
        except DRIVER_ERRORS as error:
            raise DatabaseUnavailable from error
        if told != len(texts):
            raise LeaseLost(self.name, self.term)

    async def end(self) -> None:
        """Let the next one have it at once."""
        async with self._one_at_a_time:
            await leases.end_lease(self._connection, name=self.name, term=self.term)


@asynccontextmanager
async def hold_lease(
    address: DatabaseAddress, *, name: str, holder: str, seconds: float, retry_seconds: float
) -> AsyncIterator[Lease]:
    """Wait until the lease is free and hold it; whoever holds it renews it in time.

    Raises DatabaseUnavailable.
    """
    try:
        connection = await asyncpg.connect(
            **address.connect_arguments(),
            timeout=CONNECT_SECONDS_MAX,
            command_timeout=COMMAND_SECONDS_MAX,
            server_settings={
                "application_name": f"goblin lease {name}",
                "synchronous_commit": "off",  # nothing that it writes outlives a crash
            },
        )
    except DRIVER_ERRORS as error:
        raise DatabaseUnavailable from error
    lease: Lease | None = None
    try:
        while lease is None:
            try:
                term = await leases.take_lease(
                    connection, name=name, holder=holder, seconds=seconds
                )
            except DRIVER_ERRORS as error:
                raise DatabaseUnavailable from error
            if term is None:
                await asyncio.sleep(retry_seconds)
            else:
                lease = Lease(connection, name=name, term=term, seconds=seconds)
        yield lease
    finally:
        try:
            if lease is not None:
                async with asyncio.timeout(1):
                    await lease.end()
        except DRIVER_ERRORS:
            pass  # it ends by itself
        finally:
            connection.terminate()
