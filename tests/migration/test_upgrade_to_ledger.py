"""A database from before the ledger gets its opening entries and goes on as if nothing was."""

import shutil
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg
from app.core.config import PROJECT
from app.db.address import DatabaseAddress
from app.db.dao import users
from app.db.dao.users import Credentials
from app.db.migrate import migrate
from app.domain.users import UserId
from app.replay import replay
from app.services.audit import audit_everybody
from app.services.sessions import open_session
from tests.conftest import Installation, Person, run_installation, settings_for
from tests.integration.api.test_conventions import assert_is_error

MIGRATIONS = PROJECT / "db" / "migration"
OLD_ROWS = """
    INSERT INTO users (id, email, password, name, balance, created_at) VALUES
        (3, 'old@example.com', '!', 'Old', 1234.00000000000000000005, '2024-01-01'),
        (5, 'poor@example.com', '!', 'Poor', 0, '2024-01-02'),
        (9, 'rich@example.com', '!', 'Rich', 9999999999.99999999999999999999, '2024-01-03');
    INSERT INTO transact
        (user_id, symbol, quantity, buy_price, sell_price, status, created_at, updated_at)
    VALUES
        (3, 'BTCUSDT', 0.33333333333333333333, 50, NULL, 1, '2024-02-01', '2024-02-01'),
        (3, 'ETHUSDT', 2, 10, NULL, 1, '2024-02-02', '2024-02-02'),
        (3, 'BTCUSDT', 7, 40, 45, 2, '2024-01-05', '2024-01-06'),
        (5, 'BTCUSDT', 9999999999.99999999999999999999, 1, 2, 2, '2024-01-05', '2024-01-06');
"""


async def upgraded(postgres: DatabaseAddress, tmp_path: Path) -> DatabaseAddress:
    """A database that was migrated to V2, filled, and then brought up to date."""
    address = postgres.with_database("upgraded_to_ledger")
    admin = await asyncpg.connect(**postgres.with_database("postgres").connect_arguments())
    await admin.execute("DROP DATABASE IF EXISTS upgraded_to_ledger WITH (FORCE)")
    await admin.execute("CREATE DATABASE upgraded_to_ledger")
    await admin.close()
    before = tmp_path / "before"
    before.mkdir()
    for file in MIGRATIONS.glob("V[12]__*.sql"):
        shutil.copy(file, before)
    assert len(await migrate(address, before)) == 2
    conn = await asyncpg.connect(**address.connect_arguments())
    await conn.execute(OLD_ROWS)
    await conn.close()
    assert len(await migrate(address, MIGRATIONS)) >= 2
    return address


async def log_in(running: Installation, user_id: int) -> Person:
    async with running.resources.db.transaction() as conn:
        user = (await users.lock_users(conn, user_ids=[UserId(user_id)]))[UserId(user_id)].user
        login = Credentials(user=user, password_hash="!")
        issued = await open_session(conn, login, key=running.resources.token_key)
    return Person(user=user, client=running.client(Authorization=f"Bearer {issued.access_token}"))


async def test_an_older_database_is_upgraded_with_opening_entries_and_trades_on(
    postgres: DatabaseAddress, tmp_path: Path
) -> None:
    began_at = datetime.now(UTC)
    address = await upgraded(postgres, tmp_path)
    candles = tmp_path / "bybit_spot_BTCUSDT_1m.csv"
    candles.write_text("ts,open,high,low,close,volume\n1735689600000,60,60,60,60,1\n")
    async with (
        replay(candles, start="1735689600000", speed=0) as market,
        run_installation(settings_for(address, market.base_url)) as running,
    ):
        db = running.resources.db
        parts = [part async for part in audit_everybody(db)]
        assert [(p.users.users, p.entries, list(p.discrepancies)) for p in parts] == [(3, 8, [])]

        old = await log_in(running, 3)
        entries = (await old.client.get("/ledger/entries")).json()["data"]["entries"]
        assert {entry["cause"] for entry in entries} == {"opening"}
        accounts = (await old.client.get("/ledger/accounts")).json()["data"]["accounts"]
        assert {(a["kind"], a["asset"]): a["balance"] for a in accounts} == {
            ("cash", "USD"): "1234.00000000000000000005",
            ("funding", "USD"): "-1234.00000000000000000005",
            ("holding", "BTCUSDT"): "0.33333333333333333333",
            ("venue", "BTCUSDT"): "-0.33333333333333333333",
            ("holding", "ETHUSDT"): "2.00000000000000000000",
            ("venue", "ETHUSDT"): "-2.00000000000000000000",
        }

        for path in ("/users/me", "/order", "/ledger/accounts"):
            for instant in (datetime(2024, 6, 1, tzinfo=UTC), began_at - timedelta(seconds=1)):
                early = await old.client.get(path, params={"as_of": instant.isoformat()})
                assert_is_error(early, 422, "as_of_too_early")
            now = await old.client.get(path)
            same = await old.client.get(path, params={"as_of": datetime.now(UTC).isoformat()})
            assert (same.status_code, same.json()) == (200, now.json())

        closed = await old.client.delete("/order/BTCUSDT")
        assert closed.status_code == 200, closed.text
        assert closed.json()["data"]["sellAggregate"] == "19.99999999999999999980"
        assert await old.balance() == Decimal("1253.99999999999999999985")
        again = await old.client.post("/order", json={"symbol": "BTCUSDT", "quantity": "1"})
        assert again.status_code == 201, again.text
        assert (await old.client.delete("/order/BTCUSDT")).status_code == 200
        await old.client.post("/users/me/reset", json={"balance": "1"})

        poor = await log_in(running, 5)
        assert (await poor.client.get("/ledger/entries")).json()["data"]["entries"] == []
        deposited = await poor.client.post("/users/me/deposit", json={"amount": "60"})
        assert deposited.status_code == 200
        for person in (old, poor):
            audit = (await person.client.get("/ledger/audit")).json()["data"]
            assert audit["agrees"] is True, audit["discrepancies"]
            await person.client.aclose()
        parts = [part async for part in audit_everybody(db)]
        assert not [text for part in parts for text in part.discrepancies]
