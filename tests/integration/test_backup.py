"""A dump by PostgreSQL's own tools is a backup: what is restored from it is the same."""

import asyncio
import subprocess
from pathlib import Path

import asyncpg
from app.core.config import PROJECT
from app.db.address import DatabaseAddress
from app.db.embedded.places import wheel_binaries
from app.db.migrate import validate
from app.jobs.reconciler import reconcile
from app.replay import ReplayExchange
from tests.conftest import CloneDatabase, new_person, run_installation, settings_for
from tests.integration.books import insert_small_books

ROWS = """
    SELECT 'entry ' || e FROM ledger_entries AS e
    UNION ALL SELECT 'transfer ' || t FROM ledger_transfers AS t
    UNION ALL SELECT 'account ' || a FROM ledger_accounts AS a
    UNION ALL SELECT 'order ' || o FROM transact AS o
    UNION ALL SELECT 'fill ' || f FROM fills AS f
    UNION ALL SELECT 'event ' || v FROM events AS v
    UNION ALL SELECT 'user ' || u FROM users AS u
    ORDER BY 1
"""


async def run(tool: str, address: DatabaseAddress, *arguments: str) -> None:
    command = [
        str(wheel_binaries() / tool),
        f"--host={address.host}",
        f"--port={address.port}",
        f"--username={address.user}",
        *arguments,
    ]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, timeout=150)


async def rows_of(address: DatabaseAddress) -> list[str]:
    conn = await asyncpg.connect(**address.connect_arguments())
    rows = [row[0] for row in await conn.fetch(ROWS)]
    await conn.close()
    return rows


async def test_what_is_restored_from_a_dump_agrees_to_the_last_digit_and_trades_on(
    clone: CloneDatabase, exchange: ReplayExchange, tmp_path: Path
) -> None:
    address = await clone()
    conn = await asyncpg.connect(**address.connect_arguments())
    for _ in range(3):
        async with conn.transaction():
            await insert_small_books(conn)
    await conn.close()

    dump = tmp_path / "goblin.dump"
    await run("pg_dump", address, "--format=custom", f"--file={dump}", address.database)
    restored = await clone()
    admin = await asyncpg.connect(**address.with_database("postgres").connect_arguments())
    await admin.execute(f"DROP DATABASE {restored.database}")
    await admin.execute(f"CREATE DATABASE {restored.database}")
    await admin.close()
    await run("pg_restore", restored, "--exit-on-error", f"--dbname={restored.database}", str(dump))

    kept = await rows_of(address)
    assert len(kept) > 50
    assert await rows_of(restored) == kept
    await validate(restored, PROJECT / "db" / "migration")
    async with run_installation(settings_for(restored, exchange.base_url)) as running:
        assert await reconcile(running.resources.db) == []
        person = await new_person(running, balance="1000")
        order = {"symbol": "BTCUSDT", "quantity": "0.001"}
        async with person.client as client:
            assert (await client.post("/order", json=order)).status_code == 201
            assert (await client.delete("/order/BTCUSDT")).status_code == 200
        assert await reconcile(running.resources.db) == []
