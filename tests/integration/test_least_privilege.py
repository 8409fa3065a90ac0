"""Serving with a role that can neither change the schema nor history."""

from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest
import pytest_asyncio
from app.core.config import PROJECT
from app.db.address import DatabaseAddress
from app.db.migrate import validate
from app.jobs.purge_idempotency_keys import purge
from app.jobs.reconciler import reconcile
from app.replay import ReplayExchange
from tests.conftest import CloneDatabase, Installation, new_person, run_installation, settings_for

GRANTS = (PROJECT / "db" / "least_privilege.sql").read_text()
DENIED = (
    "CREATE TABLE mine (x int)",
    "CREATE TEMPORARY TABLE mine (x int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE mine",
    "DROP TABLE watchlists",
    "TRUNCATE watchlists",
    "ALTER TABLE users ADD COLUMN mine int",
    "ALTER TABLE ledger_entries DISABLE TRIGGER ledger_entries_append_only",
    "DROP TRIGGER ledger_entries_append_only ON ledger_entries",
    "DROP FUNCTION refuse_to_change_history() CASCADE",
    "SET session_replication_role = replica",
    "UPDATE schema_version SET checksum = 0",
    "DELETE FROM schema_version",
    "DELETE FROM users",
    "DELETE FROM transact",
    "UPDATE ledger_transfers SET amount = amount",
    "DELETE FROM ledger_transfers",
    "UPDATE ledger_entries SET amount = amount",
    "DELETE FROM ledger_entries",
    "UPDATE events SET data = data",
    "DELETE FROM events",
    "UPDATE fills SET price = price",
    "DELETE FROM fills",
)


@pytest_asyncio.fixture
async def confined(clone: CloneDatabase) -> AsyncIterator[DatabaseAddress]:
    """A database that its owner has migrated, for a role that only serves."""
    address = await clone()
    owner = await asyncpg.connect(**address.connect_arguments())
    await owner.execute("CREATE ROLE goblin_app LOGIN")
    await owner.execute(GRANTS)
    await owner.execute(GRANTS)  # as after the next migration
    yield replace(address, user="goblin_app")
    await owner.execute("DROP OWNED BY goblin_app")
    await owner.execute("DROP ROLE goblin_app")
    await owner.close()


@pytest_asyncio.fixture
async def running(
    confined: DatabaseAddress, exchange: ReplayExchange
) -> AsyncIterator[Installation]:
    async with run_installation(settings_for(confined, exchange.base_url)) as installation:
        yield installation


async def test_goblin_starts_and_serves_with_a_role_that_owns_nothing(
    running: Installation,
) -> None:
    async with running.client() as anyone:
        account = {"email": "ada@example.com", "password": "correct horse", "name": "Ada"}
        assert (await anyone.post("/auth/register", json=account)).status_code == 201
        assert (await anyone.post("/auth/login", json=account)).status_code == 200
        assert (await anyone.get("/health/ready")).status_code == 200
    person = await new_person(running, balance="1000")
    log = {"symbol": "BTCUSDT", "action": "hold", "data": {}}
    async with person.client as client:
        for number, (method, path, body, status) in enumerate(
            (
                ("POST", "/users/me/deposit", {"amount": "5"}, 200),
                ("POST", "/users/me/withdraw", {"amount": "5"}, 200),
                ("POST", "/order", {"symbol": "BTCUSDT", "quantity": "0.001"}, 201),
                ("DELETE", "/order/BTCUSDT", None, 200),
                ("POST", "/watchlist", {"symbol": "BTCUSDT"}, 201),
                ("DELETE", "/watchlist/BTCUSDT", None, 200),
                ("POST", "/log", log, 201),
                ("POST", "/users/me/reset", {"balance": "7"}, 200),
                ("GET", "/ledger/audit", None, 200),
                ("GET", "/events", None, 200),
            )
        ):
            headers = {"Idempotency-Key": f"key-{number}"}
            answer = await client.request(method, path, json=body, headers=headers)
            assert answer.status_code == status, (method, path, answer.text)
    assert await reconcile(running.resources.db) == []
    assert await purge(running.resources.db) == 0


async def test_the_serving_role_is_denied_whatever_changes_the_schema_or_history(
    confined: DatabaseAddress,
) -> None:
    conn = await asyncpg.connect(**confined.connect_arguments())
    for attempt in DENIED:
        with pytest.raises(asyncpg.InsufficientPrivilegeError) as refused:
            await conn.execute(attempt)
        assert refused.value.sqlstate == "42501", attempt
        assert "append-only" not in str(refused.value), "not even the trigger was asked"
    await conn.close()


async def test_the_serving_role_can_tell_that_nothing_is_left_to_migrate(
    confined: DatabaseAddress,
) -> None:
    await validate(confined, PROJECT / "db" / "migration")
