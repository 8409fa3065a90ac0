"""A worker whose database is away just when it starts for the first time."""

import asyncio
import os
import re
from collections.abc import Iterator

import asyncpg
import pytest
from app.replay import ReplayExchange
from app.serving import UsageError
from app.workers import FIRST_STARTS_MAX, Workers
from bench.victims import kept_port
from tests.conftest import CloneDatabase
from tests.environment import database_variables
from tests.integration.api.streaming import eventually


@pytest.fixture
def port() -> Iterator[int]:
    with kept_port() as kept:
        yield kept


async def test_a_worker_starts_again_when_its_database_comes_back_and_not_for_ever(
    clone: CloneDatabase, exchange: ReplayExchange, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    address = await clone()
    admin = await asyncpg.connect(**address.with_database("postgres").connect_arguments())
    environment = {
        "PATH": os.environ["PATH"], "PORT": str(port), "BYBIT_BASE_URL": exchange.base_url,
        **database_variables(address),
    }  # fmt: skip
    name, hidden = address.database, f"{address.database}_hidden"
    await admin.execute(f"ALTER DATABASE {name} RENAME TO {hidden}")
    try:
        with pytest.raises(UsageError, match=re.escape("worker 1 could not start (exit code 1)")):
            async with Workers(1, arguments=[], environment=environment).running(
                stop_seconds_max=30
            ):
                raise AssertionError("there is no such database")
        assert caplog.messages.count("a worker ended: another takes its place") == (
            FIRST_STARTS_MAX - 1
        )
        caplog.clear()
        workers = Workers(1, arguments=[], environment=environment)
        starting = asyncio.create_task(_start_and_stop(workers))
        await eventually(lambda: "a worker ended: another takes its place" in caplog.messages)
    finally:
        await admin.execute(f"ALTER DATABASE {hidden} RENAME TO {name}")
        await admin.close()
    await starting


async def _start_and_stop(workers: Workers) -> None:
    async with workers.running(stop_seconds_max=30):
        pass
