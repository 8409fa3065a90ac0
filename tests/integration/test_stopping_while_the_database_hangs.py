"""A server that neither answers nor hangs up, as behind a broken network, stops nobody's end."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import asyncpg
import pytest
from app.db.address import DatabaseAddress
from app.db.database import Database, open_pool
from app.db.errors import DatabaseUnavailable
from app.jobs import tell_events
from app.jobs.supervisor import supervised
from app.services.event_feed import EventFeed
from tests.conftest import CloneDatabase


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_transaction_that_cannot_be_undone_is_cancelled_all_the_same(
    clone: CloneDatabase,
) -> None:
    """A job that was told of a database that is away instead would go on, and never end."""
    async with open_pool(await clone(), size=1, command_seconds_max=0.5) as pool:
        backend: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            while True:
                with suppress(DatabaseUnavailable):  # a busy machine takes longer to begin with
                    async with Database(pool).transaction() as conn:
                        backend.set_result(await conn.fetchval("SELECT pg_backend_pid()"))
                        await asyncio.Event().wait()
                assert not backend.done(), "it goes on instead of ending"

        task = asyncio.create_task(work())
        with frozen(await backend):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_a_job_that_listens_ends_too(clone: CloneDatabase) -> None:
    address = await clone()
    job = partial(tell_events.run, address, EventFeed())
    with ExitStack() as until_the_end:
        async with asyncio.timeout(100), supervised({"tell_events": job}):
            until_the_end.enter_context(frozen(await listener(address)))


async def listener(address: DatabaseAddress) -> int:
    """The backend of whoever listens, once there is one."""
    conn = await asyncpg.connect(**address.connect_arguments())
    try:
        while True:
            pid: int | None = await conn.fetchval(
                "SELECT pid FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'goblin events' "
                "AND query <> '' AND state = 'idle'"  # LISTEN is the first that it says
            )
            if pid is not None:
                return pid
            await asyncio.sleep(0.05)
    finally:
        await conn.close()
