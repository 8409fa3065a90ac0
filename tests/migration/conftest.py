"""A PostgreSQL of these tests' own, with a port: Java cannot speak through a Unix socket."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
import pytest_asyncio
from app.db.address import DatabaseAddress
from app.db.embedded import TcpAccess, embedded_postgres, remove_data
from bench.victims import kept_port
from tests.migration.flyway import Flyway, FlywayMissingError, fetch
from tests.unproven import unproven

PASSWORD = "p@ss: w/rd%20&'\"$x ü"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def flyway() -> Flyway:
    try:
        return fetch()
    except FlywayMissingError as error:
        unproven(f"no Flyway to compare with: {error}")


@pytest_asyncio.fixture(scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DatabaseAddress]:
    data = tmp_path_factory.mktemp("migration") / "data"
    with kept_port() as port:
        async with embedded_postgres(data, tcp=TcpAccess(port=port, password=PASSWORD)):
            yield DatabaseAddress(
                host="127.0.0.1", port=port, database="postgres", user="postgres", password=PASSWORD
            )
    await remove_data(data)


MakeDatabase = Callable[[], Awaitable[DatabaseAddress]]


@pytest_asyncio.fixture
async def make_database(server: DatabaseAddress) -> AsyncIterator[MakeDatabase]:
    """Makes empty databases, dropped after the test."""
    admin = await asyncpg.connect(**server.connect_arguments())
    made: list[str] = []

    async def make() -> DatabaseAddress:
        name = f"scratch_{next(_numbers)}"
        await admin.execute(f"CREATE DATABASE {name}")
        made.append(name)
        return server.with_database(name)

    yield make
    for name in made:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest_asyncio.fixture
async def database(make_database: MakeDatabase) -> DatabaseAddress:
    return await make_database()
