"""A real PostgreSQL in real trouble under the whole application: 503, and then whole again."""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import asyncpg
import httpx
import pytest
import pytest_asyncio
from app.core.config import PROJECT
from app.db.database import ACQUIRE_SECONDS_MAX, open_pool
from app.db.embedded import embedded_postgres, remove_data
from app.db.migrate import migrate
from app.replay import ReplayExchange
from bench.books import discrepancies
from tests.concurrency.faults import with_pool
from tests.conftest import Person, run_installation, settings_for
from tests.integration.api.test_conventions import assert_is_error
from tests.integration.trouble import (
    COMMAND_SECONDS,
    POOL_SIZE,
    Troubled,
    cut_every_connection,
    cut_every_connection_of_goblin,
    grow,
    impatient,
    is_full,
    server_setting,
    small_disk,
    stopped,
    their_ends_are_seen,
)

CONNECTIONS_MAX: Final = 30
KILLS: Final = 5
LOADED_MACHINE_SECONDS: Final = 15.0
"""What a machine that does other things as well may add to a promise."""


@pytest_asyncio.fixture(scope="module")
async def troubled(
    tmp_path_factory: pytest.TempPathFactory, exchange: ReplayExchange
) -> AsyncIterator[Troubled]:
    data = tmp_path_factory.mktemp("troubled") / "data"
    settings = {"max_connections": str(CONNECTIONS_MAX)}
    async with embedded_postgres(data, settings=settings) as address:
        await migrate(address, PROJECT / "db" / "migration")
        async with (
            run_installation(settings_for(address, exchange.base_url, db_pool_size=2)) as running,
            open_pool(address, size=POOL_SIZE) as pool,
        ):
            resources = with_pool(running.resources, pool)
            running.app.state.resources = resources
            yield Troubled(
                running=replace(running, resources=resources),
                address=address,
                data=data,
                pool=pool,
            )
    await remove_data(data)


async def deposit(person: Person, *, key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await person.client.post("/users/me/deposit", json={"amount": "1"}, headers=headers)


def assert_is_unavailable(answer: httpx.Response) -> None:
    assert_is_error(answer, 503, "database_unavailable")
    assert int(answer.headers["retry-after"]) >= 1


async def seconds_until_whole(person: Person) -> float:
    """Until a change is made again; every refusal on the way there is a 503."""
    began_at = time.monotonic()
    while (answer := await deposit(person)).status_code != 200:
        assert_is_unavailable(answer)
        await asyncio.sleep(0.01)
    return time.monotonic() - began_at


async def assert_every_connection_works(troubled: Troubled, person: Person) -> None:
    """Without a single failure, one after the other and as many at once as the pool has."""
    for _ in range(2 * POOL_SIZE):
        assert (await deposit(person)).status_code == 200
    async with AsyncExitStack() as stack:
        for _ in range(POOL_SIZE):
            conn = await stack.enter_async_context(troubled.running.resources.db.connection())
            assert await conn.fetchval("SELECT 1") == 1
    async with troubled.admin() as admin:
        assert await discrepancies(admin) == []


async def test_killing_every_connection_under_load_loses_and_doubles_nothing(
    troubled: Troubled,
) -> None:
    people = [await troubled.person() for _ in range(6)]
    seen: set[int] = set()
    is_over = asyncio.Event()

    async def insist(person: Person, number: int) -> int:
        count = 0
        while not is_over.is_set():
            while True:
                answer = await deposit(person, key=f"{number}-{count}")
                seen.add(answer.status_code)
                if answer.status_code == 200:
                    break
                assert_is_unavailable(answer)
                await asyncio.sleep(0.02)
            count += 1
        return count

    async with troubled.admin() as admin:
        work = asyncio.gather(*(insist(person, n) for n, person in enumerate(people)))
        cut: list[int] = []
        for _ in range(KILLS):
            await asyncio.sleep(0.1)
            cut += await cut_every_connection(admin)
        while 503 not in seen:  # until there was something to survive
            await asyncio.sleep(0.1)
            cut += await cut_every_connection(admin)
        is_over.set()
        counts = await work
    await their_ends_are_seen(cut)
    assert seen == {200, 503}
    for person, count in zip(people, counts, strict=True):
        assert await person.balance() == 1000 + count
    await assert_every_connection_works(troubled, people[0])


async def test_a_database_that_hangs_is_answered_within_the_timeouts_and_whole_right_after(
    troubled: Troubled, record_property: Callable[[str, object], None]
) -> None:
    async with impatient(troubled) as hurried:
        await answers_while_it_hangs(hurried, record_property)


async def answers_while_it_hangs(
    troubled: Troubled, record_property: Callable[[str, object], None]
) -> None:
    person = await troubled.person()
    assert (await deposit(person)).status_code == 200
    async with asyncio.timeout(120):
        with stopped(troubled.postmaster()):
            began_at = time.monotonic()
            answers = await asyncio.gather(
                *(deposit(person) for _ in range(2 * POOL_SIZE)),
                *(person.client.get("/order") for _ in range(2 * POOL_SIZE)),
            )
            hung_seconds = time.monotonic() - began_at
        back_seconds = await seconds_until_whole(person)
    record_property("hung_seconds", f"{hung_seconds:.3f}")
    record_property("back_seconds", f"{back_seconds:.3f}")
    for answer in answers:
        assert_is_unavailable(answer)
    assert hung_seconds < ACQUIRE_SECONDS_MAX + 2 * COMMAND_SECONDS + LOADED_MACHINE_SECONDS
    assert back_seconds < 1 + LOADED_MACHINE_SECONDS
    await asyncio.sleep(1)
    await assert_every_connection_works(troubled, person)


async def test_a_database_that_is_killed_comes_back_and_the_service_with_it(
    troubled: Troubled, record_property: Callable[[str, object], None]
) -> None:
    person = await troubled.person()
    os.kill(troubled.postmaster(), signal.SIGKILL)
    async with asyncio.timeout(120):
        while True:  # the database itself
            try:
                async with troubled.admin() as admin:
                    await admin.execute("SELECT 1")
                break
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                assert_is_unavailable_or_done(await deposit(person))
                await asyncio.sleep(0.01)
        back_seconds = await seconds_until_whole(person)
    record_property("back_seconds", f"{back_seconds:.3f}")
    assert back_seconds < 1 + LOADED_MACHINE_SECONDS
    await asyncio.sleep(1)
    await assert_every_connection_works(troubled, person)


def assert_is_unavailable_or_done(answer: httpx.Response) -> None:
    if answer.status_code != 200:
        assert_is_unavailable(answer)


async def test_a_server_that_takes_no_more_connections_is_503_until_it_does(
    troubled: Troubled,
) -> None:
    person = await troubled.person()
    async with AsyncExitStack() as fillers:
        admin = await fillers.enter_async_context(troubled.admin())
        seen: set[int] = set()
        while 503 not in seen:  # until the test, and no job of goblin's, got the last connection
            await cut_every_connection_of_goblin(admin)
            with pytest.raises(asyncpg.TooManyConnectionsError):
                while True:
                    await fillers.enter_async_context(troubled.admin())
            for answer in await asyncio.gather(*(deposit(person) for _ in range(POOL_SIZE))):
                assert_is_unavailable_or_done(answer)
                seen.add(answer.status_code)
    await seconds_until_whole(person)
    await assert_every_connection_works(troubled, person)


async def test_two_hundred_requests_on_a_full_pool_are_503_within_its_timeout(
    troubled: Troubled, record_property: Callable[[str, object], None]
) -> None:
    person = await troubled.person()
    async with AsyncExitStack() as stack:
        for _ in range(POOL_SIZE):
            await stack.enter_async_context(troubled.running.resources.db.connection())
        began_at = time.monotonic()
        answers = await asyncio.gather(*(deposit(person) for _ in range(200)))
        elapsed_seconds = time.monotonic() - began_at
    record_property("elapsed_seconds", f"{elapsed_seconds:.3f}")
    for answer in answers:
        assert_is_unavailable(answer)
    assert elapsed_seconds < ACQUIRE_SECONDS_MAX + LOADED_MACHINE_SECONDS
    await assert_every_connection_works(troubled, person)


async def test_a_statement_that_the_server_cancels_is_503_and_changes_nothing(
    troubled: Troubled,
) -> None:
    person = await troubled.person()
    async with server_setting(troubled, "statement_timeout", "100ms"), troubled.admin() as admin:
        async with admin.transaction():
            await admin.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", person.user.id)
            assert_is_unavailable(await deposit(person))
        await seconds_until_whole(person)  # a busy machine needs the 100 ms for an honest one, too
    await troubled.pool.expire_connections()
    assert await person.balance() == 1001
    await assert_every_connection_works(troubled, person)


async def test_connections_to_a_standby_are_dropped_and_the_next_ones_write(
    troubled: Troubled,
) -> None:
    """After a fail-over a pool can be full of connections to what has become read-only."""
    person = await troubled.person()
    async with server_setting(troubled, "default_transaction_read_only", "on"):
        for _ in range(2 * POOL_SIZE):
            assert (await person.client.get("/order")).status_code == 200, "reads go on"
        assert_is_unavailable(await deposit(person))
        async with AsyncExitStack() as stack:
            for _ in range(POOL_SIZE):
                conn = await stack.enter_async_context(troubled.running.resources.db.connection())
                assert await conn.fetchval("SHOW transaction_read_only") == "on"
    assert_is_unavailable(await deposit(person))
    await assert_every_connection_works(troubled, person)


async def test_a_full_disk_is_503_keeps_every_confirmed_row_and_stops_nothing_else(
    troubled: Troubled,
) -> None:
    """The log's table lies on a small disk of its own, so that only it is full."""
    person = await troubled.person()
    with small_disk(troubled.account()) as folder:
        async with log_on(troubled, folder) as admin:
            confirmed = unsure = 0
            while (answer := await write_log(person)).status_code == 201 or not is_full(folder):
                confirmed += answer.status_code == 201
                unsure += answer.status_code != 201  # there was room, but a machine stood still
            assert_is_unavailable(answer)
            assert confirmed > 5, "there was room at first"
            assert (await deposit(person)).status_code == 200
            assert (await person.client.get("/log")).status_code == 200
            grow(folder)
            assert (await write_log(person)).status_code == 201
            stored = await admin.fetchval(
                "SELECT count(*) FROM log WHERE user_id = $1", person.user.id
            )
            assert confirmed + 1 <= stored <= confirmed + 1 + unsure
    await assert_every_connection_works(troubled, person)


@asynccontextmanager
async def log_on(troubled: Troubled, folder: Path) -> AsyncIterator[asyncpg.Connection]:
    async with troubled.admin() as admin:
        await admin.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
        await admin.execute("ALTER TABLE log SET TABLESPACE small")
        try:
            yield admin
        finally:
            grow(folder)
            await admin.execute("ALTER TABLE log SET TABLESPACE pg_default")
            await admin.execute("DROP TABLESPACE small")
            await admin.execute("CHECKPOINT")  # a later crash must not look for it


async def write_log(person: Person) -> httpx.Response:
    data = {"noise": secrets.token_hex(200_000)}
    body = {"symbol": "BTCUSDT", "action": "hold", "data": data}
    return await person.client.post("/log", json=body)
