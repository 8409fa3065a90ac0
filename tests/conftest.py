"""What tests stand on: one real PostgreSQL, the replay exchange on a real socket, the app."""

import importlib
import itertools
import os
import pkgutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import app.db.dao
import app.domain
import app.services
import asyncpg
import httpx
import hypothesis
import pytest
import pytest_asyncio
from app.core.config import PROJECT, Settings
from app.db.address import DatabaseAddress
from app.db.connection import Connection
from app.db.dao import administration
from app.db.dao.users import Credentials
from app.db.embedded import embedded_postgres, remove_data
from app.db.errors import DatabaseUnavailable
from app.db.migrate import migrate
from app.domain.access import Role
from app.domain.users import User
from app.main import create_app
from app.replay import ReplayExchange, replay
from app.resources import Resources, open_resources
from app.services.accounts import open_account
from app.services.audit import audit_installation
from app.services.sessions import open_session
from fastapi import FastAPI
from tests.secrets_in_logs import SecretsInLogs
from tests.unproven import unproven

SHARED_DATA = PROJECT.parent / "shared" / "data"
LONG = {"test_stateful_model", "test_schemathesis", "test_kill_loop", "test_bench"}
COUNTED = {"unit", "integration", "concurrency"}
REPETITIVE = {
    "test_stateful_model", "test_bank", "test_cancelled_clients", "test_statement_faults",
    "test_bench",
}  # fmt: skip
TRACER = pytest.StashKey[Any]()
SECRET = "a secret of the tests, long enough for HS256"
_numbers = itertools.count(1)
# How long examples take to be made says how busy the machine is, not what is wrong. Whoever works
# on goblin tries other examples each time; what gates a change must not depend on luck.
hypothesis.settings.register_profile(
    "goblin",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
hypothesis.settings.load_profile("goblin")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(SecretsInLogs(config))
    if os.environ.get("CI") and not SHARED_DATA.is_dir():
        pytest.exit(f"CI=true needs the recorded market data in {SHARED_DATA}", returncode=1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, or one worker ends with it while the others have nothing."""
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None]:
    """Import under coverage what it counts, and from then on count in `pytest_runtest_call` alone.

    Tracing makes Python half as slow again, and most of what runs here is never counted: the
    collecting, the libraries and the fixtures.
    """
    tracer = sys.gettrace()
    if "coverage" in type(tracer).__module__:  # a debugger's is left alone
        for package in (app.domain, app.db.dao, app.services):
            for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
                importlib.import_module(module.name)
        session.config.stash[TRACER] = tracer
        sys.settrace(None)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Count coverage of tests that are about the code itself, and do each thing once.

    Other threads are always counted, whatever they do for other tests.
    """
    tracer = item.config.stash.get(TRACER, None)
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    if tracer is None or folder not in COUNTED or item.path.stem in REPETITIVE:
        return (yield)
    sys.settrace(tracer)
    try:
        return (yield)
    finally:
        sys.settrace(None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        unproven(f"no recorded market data in {SHARED_DATA}")
    return SHARED_DATA


@pytest_asyncio.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DatabaseAddress]:
    """A real PostgreSQL with the whole schema in its database `goblin`."""
    folder = tmp_path_factory.mktemp("postgres")
    async with embedded_postgres(folder / "data") as address:
        await migrate(address, PROJECT / "db" / "migration")
        yield address
    await remove_data(folder / "data")


CloneDatabase = Callable[[], Awaitable[DatabaseAddress]]


@pytest_asyncio.fixture(scope="session")
async def template(postgres: DatabaseAddress) -> DatabaseAddress:
    """A migrated database that nobody connects to, to clone others from."""
    address = postgres.with_database("goblin_template")
    admin = await asyncpg.connect(**postgres.with_database("postgres").connect_arguments())
    await admin.execute("CREATE DATABASE goblin_template")
    await migrate(address, PROJECT / "db" / "migration")
    await admin.close()
    return address


@asynccontextmanager
async def cloning(template: DatabaseAddress) -> AsyncIterator[CloneDatabase]:
    """Makes empty migrated databases, dropped when the block ends."""
    admin = await asyncpg.connect(**template.with_database("postgres").connect_arguments())
    made: list[str] = []

    async def make() -> DatabaseAddress:
        name = f"clone_{os.getpid()}_{next(_numbers)}"
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template.database}")
        made.append(name)
        return template.with_database(name)

    yield make
    for name in made:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest_asyncio.fixture
async def clone(template: DatabaseAddress) -> AsyncIterator[CloneDatabase]:
    """Makes empty migrated databases, dropped after the test."""
    async with cloning(template) as make:
        yield make


@pytest_asyncio.fixture
async def conn(postgres: DatabaseAddress) -> AsyncIterator[Connection]:
    """A connection in a transaction that is rolled back."""
    connection = await asyncpg.connect(**postgres.connect_arguments())
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


@pytest_asyncio.fixture(scope="session")
async def exchange() -> AsyncIterator[ReplayExchange]:
    """The replay exchange over its generated market; its clock moves only when told."""
    async with replay(None, start=None, speed=0) as running:
        yield running


def settings_for(address: DatabaseAddress, exchange_url: str, **changes: Any) -> Settings:
    """Settings of a test's own installation, whatever the environment says."""
    values: dict[str, Any] = {
        "db_host": address.host,
        "db_port": address.port,
        "db_name": address.database,
        "db_user": address.user,
        "db_password": address.password or "unused",
        "db_pool_size": 10,
        "jwt_secret_key": SECRET,
        "password_rounds": 10,  # the least that is allowed
        "bybit_base_url": exchange_url,
        "binance_api_url": exchange_url,  # which knows nothing of theirs: no test leaves loopback
        "aster_api_url": exchange_url,
        "bybit_timeout_seconds": 10.0,  # a loaded machine is no failure of the venue
        "price_max_age_seconds": 0.0,
        "rate_limit_per_minute": 0,  # a whole suite comes from one address
        "registrations_per_hour": 10_000,
        "market_streams": "off",
        **changes,
    }
    return Settings(_env_file=None, **values)


@dataclass(frozen=True)
class Installation:
    """A running application and what it runs on."""

    app: FastAPI
    resources: Resources
    address: DatabaseAddress

    def client(self, **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://goblin", headers=headers)


@asynccontextmanager
async def run_installation(settings: Settings) -> AsyncIterator[Installation]:
    """The application on these settings, its resources open, without a socket."""
    app = create_app(settings)
    async with open_resources(settings) as resources:
        app.state.resources = resources
        address = DatabaseAddress(
            host=settings.db_host or "",
            port=settings.db_port,
            database=settings.db_name,
            user=settings.db_user,
        )
        yield Installation(app=app, resources=resources, address=address)


async def fill_pool(running: Installation) -> None:
    """Make the connections of its pool, but for two that its jobs may hold.

    A request waits a second for one, and many at once would make many on a busy machine.
    """
    db = running.resources.db
    async with AsyncExitStack() as borrowed:
        while db.pool_use.connections < db.pool_use.connections_max - 2:
            with suppress(DatabaseUnavailable):
                await borrowed.enter_async_context(db.connection())


@pytest_asyncio.fixture(scope="session")
async def installation(
    postgres: DatabaseAddress, exchange: ReplayExchange
) -> AsyncIterator[Installation]:
    """One application for all API tests; they share nothing because every test is another user."""
    async with run_installation(settings_for(postgres, exchange.base_url)) as running:
        yield running
        # Books that disagree stop everybody's orders: who leaves some wants a `clone`.
        audit = await audit_installation(running.resources.db)
        assert audit.discrepancies == [], "tests left books that disagree in the shared database"


@dataclass(frozen=True)
class Person:
    """Somebody with an account and a logged-in client."""

    user: User
    client: httpx.AsyncClient

    async def balance(self) -> Decimal:
        response = await self.client.get("/users/me")
        return Decimal(response.json()["data"]["balance"])


async def new_person(running: Installation, *, balance: str = "0") -> Person:
    """A new account, made without the cost of hashing a password.

    The jobs of an installation that has just begun hold the connections that it has, and another
    one may take longer to make than a request waits.
    """
    with suppress(DatabaseUnavailable):
        return await _new_person(running, balance=balance)
    return await _new_person(running, balance=balance)


async def _new_person(running: Installation, *, balance: str) -> Person:
    async with running.resources.db.transaction() as conn:
        user = await open_account(
            conn,
            email=f"person{next(_numbers)}.{os.getpid()}@example.com",
            password_hash="!",
            name="Somebody",
            starting_balance=Decimal(balance),
            request_id="test",
        )
        issued = await open_session(
            conn, Credentials(user=user, password_hash="!"), key=running.resources.token_key
        )
    authorization = f"Bearer {issued.access_token}"
    return Person(user=user, client=running.client(Authorization=authorization))


async def make_administrator(running: Installation, person: Person) -> None:
    """As registering first would have."""
    async with running.resources.db.connection() as conn:
        await administration.update_role(conn, user_id=person.user.id, role=Role.ADMINISTRATOR)


@pytest_asyncio.fixture
async def anonymous(installation: Installation) -> AsyncIterator[httpx.AsyncClient]:
    async with installation.client() as client:
        yield client


@pytest_asyncio.fixture
async def ada(installation: Installation) -> AsyncIterator[Person]:
    """Somebody with a million."""
    person = await new_person(installation, balance="1000000")
    yield person
    await person.client.aclose()


@pytest_asyncio.fixture
async def bob(installation: Installation) -> AsyncIterator[Person]:
    """Somebody else, with nothing."""
    person = await new_person(installation)
    yield person
    await person.client.aclose()
