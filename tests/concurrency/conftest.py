"""Two API processes' worth of resources on one cloned database."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import asyncpg
import httpx
import pytest_asyncio
from app.db.address import DatabaseAddress
from app.db.database import open_pool
from app.replay import ReplayExchange
from bench.books import discrepancies
from tests.concurrency.faults import with_pool
from tests.conftest import (
    Installation,
    Person,
    fill_pool,
    new_person,
    run_installation,
    settings_for,
)

POOL_SIZE = 10
PATIENCE_SECONDS = 40
"""Longest wait for a connection, for a row and at the desk, where a request that has to wait is to
be answered all the same: one second for all that is promised, and a machine may be away longer."""

_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module")
async def address(template: DatabaseAddress) -> AsyncIterator[DatabaseAddress]:
    """A database of the module's own."""
    admin = await asyncpg.connect(**template.with_database("postgres").connect_arguments())
    name = f"concurrency_{os.getpid()}_{next(_numbers)}"
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template.database}")
    # Nothing is killed here, and there are thousands of commits; test_kill_loop has it on.
    await admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    yield template.with_database(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@asynccontextmanager
async def patiently(
    running: Installation,
    *,
    size: int,
    connection_class: type[asyncpg.Connection] = asyncpg.Connection,
) -> AsyncIterator[asyncpg.Pool]:
    """Its requests wait for their turn however long that takes, on connections of these."""
    async with open_pool(
        running.address,
        size=size,
        connection_class=connection_class,
        command_seconds_max=PATIENCE_SECONDS,
        lock_seconds_max=PATIENCE_SECONDS,
    ) as pool:
        before = running.app.state.resources
        running.app.state.resources = with_pool(before, pool, patience_seconds=PATIENCE_SECONDS)
        yield pool
        running.app.state.resources = before


@dataclass(frozen=True)
class Pair:
    """Two processes: nothing is shared between them but the database and the venue."""

    first: Installation
    second: Installation

    async def person(self, *, balance: str = "0") -> tuple[Person, Person]:
        """Somebody logged in at both."""
        here = await new_person(self.first, balance=balance)
        token = here.client.headers["Authorization"]
        return here, Person(user=here.user, client=self.second.client(Authorization=token))


@pytest_asyncio.fixture(scope="module")
async def pair(address: DatabaseAddress, exchange: ReplayExchange) -> AsyncIterator[Pair]:
    settings = settings_for(
        address,
        exchange.base_url,
        db_pool_size=POOL_SIZE,
        bybit_timeout_seconds=PATIENCE_SECONDS,
    )
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(run_installation(settings))
        second = await stack.enter_async_context(run_installation(settings))
        for running in (first, second):
            await stack.enter_async_context(patiently(running, size=POOL_SIZE))
            await fill_pool(replace(running, resources=running.app.state.resources))
        yield Pair(first=first, second=second)


@pytest_asyncio.fixture
async def hasty(pair: Pair) -> AsyncIterator[Pair]:
    """The same two, which wait for a row no longer than goblin does."""
    both = (pair.first, pair.second)
    patient = [running.app.state.resources for running in both]
    for running in both:
        running.app.state.resources = running.resources
    for person in await pair.person():  # whose statements are known from here on, as they were
        await person.client.post("/users/me/deposit", json={"amount": "1"})
    yield pair
    for running, resources in zip(both, patient, strict=True):
        running.app.state.resources = resources


@pytest_asyncio.fixture(scope="module")
async def watcher(
    pair: Pair,  # noqa: ARG001 - it closes later
    address: DatabaseAddress,
) -> AsyncIterator[asyncpg.Connection]:
    """A connection beside the application; at the end of the module the books are in order."""
    conn = await asyncpg.connect(**address.connect_arguments())
    yield conn
    assert await discrepancies(conn) == []
    assert await conn.fetch(UNFINISHED) == [], "somebody left a transaction open"
    await conn.close()


@pytest_asyncio.fixture
async def books(watcher: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """The same connection; the books are in order after this very test."""
    yield watcher
    assert await discrepancies(watcher) == []


UNFINISHED = """
    SELECT pid, state, query FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND backend_type = 'client backend' AND state LIKE 'idle in transaction%'
"""


async def at_once(
    calls: Sequence[Callable[[], Awaitable[httpx.Response]]],
) -> list[httpx.Response]:
    """All answers to calls that begin at the same moment."""
    start = asyncio.Event()

    async def call(wanted: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        await start.wait()
        return await wanted()

    tasks = [asyncio.create_task(call(wanted)) for wanted in calls]
    await asyncio.sleep(0)
    start.set()
    return await asyncio.gather(*tasks)
