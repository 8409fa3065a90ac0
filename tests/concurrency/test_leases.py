"""A lease: held by one, fenced by its term, and taken over when its holder is gone."""

import asyncio
import os
import signal
import sys
import time
from contextlib import AsyncExitStack, suppress
from functools import partial

import asyncpg
import pytest
from app.core.config import PROJECT
from app.db.dao import leases
from app.db.lease import LeaseLost, hold_lease
from app.jobs.stream_market import RelayTimes
from app.replay import ReplayExchange
from tests.concurrency.test_market_streams import until
from tests.conftest import CloneDatabase, settings_for


async def test_a_lease_is_held_by_one_and_its_term_never_comes_again(
    clone: CloneDatabase,
) -> None:
    address = await clone()
    hold = partial(hold_lease, address, name="test", seconds=60.0, retry_seconds=0.02)
    conn = await asyncpg.connect(**address.connect_arguments())
    async with hold(holder="a") as first:
        assert await leases.take_lease(conn, name="test", holder="b", seconds=60) is None
        assert await leases.lock_lease(conn, name="test", term=first.term)
        await first.renew()
    # Left in order, it is free at once.
    async with hold(holder="b") as second:
        assert second.term == first.term + 1
        assert not await leases.lock_lease(conn, name="test", term=first.term)
        assert not await leases.renew_lease(conn, name="test", term=first.term, seconds=60)
        told = await leases.notify_in_term(
            conn, channel="test", texts=["x"], name="test", term=first.term
        )
        assert told == 0
        await conn.execute("UPDATE leases SET expires_at = now() - interval '1 hour'")
        assert not await leases.lock_lease(conn, name="test", term=second.term), (
            "over, if not taken"
        )
        with pytest.raises(LeaseLost):
            await second.tell("test", ["x"])
        with pytest.raises(LeaseLost):
            await second.renew()
    await conn.close()


async def test_the_next_term_waits_for_what_the_last_one_is_writing(
    clone: CloneDatabase,
) -> None:
    address = await clone()
    writer, other, watcher = [
        await asyncpg.connect(**address.connect_arguments()) for _ in range(3)
    ]
    term = 0
    async with AsyncExitStack() as locking:
        while True:
            taken = await leases.take_lease(writer, name="test", holder="a", seconds=1)
            assert taken == term + 1
            term = taken
            async with AsyncExitStack() as beginning:
                await beginning.enter_async_context(writer.transaction())
                if await leases.lock_lease(writer, name="test", term=term):
                    locking.push_async_exit(beginning.pop_all())
                    break  # before the second was over
        # The lease runs out, the transaction does not.
        await until(writer, "SELECT expires_at <= clock_timestamp() FROM leases")
        taking = asyncio.create_task(leases.take_lease(other, name="test", holder="b", seconds=60))
        await until(
            watcher,
            "SELECT count(*) = 1 FROM pg_stat_activity "
            "WHERE wait_event_type = 'Lock' AND datname = current_database()",
        )
        assert not taking.done()
    assert await taking == term + 1
    for conn in (writer, other, watcher):
        await conn.close()


PROGRAM = """
import asyncio
from app.core.config import load_settings
from app.resources import open_resources

async def main():
    async with open_resources(load_settings(env_file=None)):
        await asyncio.Event().wait()

asyncio.run(main())
"""


TAKEN_OVER_SECONDS_MAX = 10
LOADED_MACHINE_SECONDS = 15
"""What a machine that does other things as well may add to a promise."""


async def test_another_process_takes_over_within_ten_seconds_of_a_kill(
    clone: CloneDatabase, exchange: ReplayExchange
) -> None:
    address = await clone()
    settings = settings_for(address, exchange.base_url, market_streams="on")
    env = {
        **os.environ,
        **{
            name.upper(): str(value)
            for name, value in settings.model_dump(exclude_none=True).items()
            if name not in ("db_password", "jwt_secret_key")
        },
        "DB_PASSWORD": address.password or "unused",
        "JWT_SECRET_KEY": "a secret of the tests, long enough for HS256",
    }
    conn = await asyncpg.connect(**address.connect_arguments())
    children: list[asyncio.subprocess.Process] = []

    async def start() -> None:
        children.append(
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", PROGRAM, cwd=PROJECT, env=env
            )
        )

    try:
        await start()
        await until(conn, "SELECT count(*) = 1 FROM leases")
        holder_of = {await conn.fetchval("SELECT holder FROM leases"): children[0]}
        await start()
        await until(
            conn,
            "SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'goblin lease market streams'",
        )
        # A process that the machine has stopped for long loses the lease to the other, or for a
        # moment to nobody.
        holder = await conn.fetchval("SELECT holder FROM leases")
        killed_at = time.monotonic()
        holder_of.get(holder, children[1]).send_signal(signal.SIGKILL)
        free_in_seconds = await conn.fetchval(
            "SELECT extract(epoch FROM expires_at - clock_timestamp())::float FROM leases"
        )
        await until(
            conn,
            f"SELECT holder <> '{holder}' AND expires_at > clock_timestamp() FROM leases",  # noqa: S608 - of digits
        )
        assert free_in_seconds + RelayTimes().retry < TAKEN_OVER_SECONDS_MAX
        assert time.monotonic() - killed_at < TAKEN_OVER_SECONDS_MAX + LOADED_MACHINE_SECONDS
    finally:
        for child in children:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()
        await conn.close()
