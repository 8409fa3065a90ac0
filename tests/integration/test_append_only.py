"""Nobody changes history, the owner of the tables included."""

import asyncpg
import pytest
from app.db.connection import Connection
from tests.integration.books import insert_small_books

COLUMN_OF = {
    "ledger_transfers": "amount",
    "ledger_entries": "amount",
    "events": "data",
    "fills": "price",
}
ATTEMPTS = (
    "UPDATE {table} SET {column} = {column}",
    "UPDATE {table} SET {column} = {column} WHERE false",
    "DELETE FROM {table}",
    "TRUNCATE {table} CASCADE",
)
BECOME_OWNER = """
    DO $$
    DECLARE owned TEXT;
    BEGIN
        CREATE ROLE application NOLOGIN;
        FOR owned IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
            EXECUTE format('ALTER TABLE %I OWNER TO application', owned);
        END LOOP;
    END $$;
    SET LOCAL ROLE application
"""


@pytest.mark.parametrize("table", COLUMN_OF)
@pytest.mark.parametrize("role", ["application", "superuser"])
async def test_not_even_the_owner_of_the_tables_changes_deletes_or_truncates_history(
    conn: Connection, table: str, role: str
) -> None:
    assert isinstance(conn, asyncpg.Connection)
    await insert_small_books(conn)
    if role == "application":
        await conn.execute(BECOME_OWNER)
    count = f"SELECT count(*) FROM {table}"  # noqa: S608 - one of the names above
    rows = await conn.fetchval(count)
    assert rows > 0
    for attempt in ATTEMPTS:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only") as refused:
            async with conn.transaction():
                await conn.execute(attempt.format(table=table, column=COLUMN_OF[table]))
        assert refused.value.sqlstate == "42501"
        assert refused.value.hint == "Write a reversing transfer instead."
    assert await conn.fetchval(count) == rows


async def test_the_owner_of_the_tables_appends(conn: Connection) -> None:
    await conn.execute(BECOME_OWNER)
    user_id = await insert_small_books(conn)
    written = await conn.fetchval("SELECT count(*) FROM ledger_entries WHERE user_id = $1", user_id)
    assert written == 32
