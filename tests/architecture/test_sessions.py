"""Connections go back to the pool as they are, so no statement may leave a trace in a session."""

import asyncio
import re
from typing import Any

import asyncpg
import pytest
from app.db.address import DatabaseAddress
from app.db.database import Database, open_database, open_pool
from app.db.errors import ValueNotStorable
from tests.architecture.test_sql import ALL

LASTING = re.compile(
    r"^\s*(SET(?!\s+LOCAL)|LISTEN|DECLARE|PREPARE|CREATE\s+TEMP)\b"
    r"|pg_(try_)?advisory_lock|set_config\("
)


def test_no_dao_statement_changes_the_session_it_runs_in() -> None:
    for module, function, query in ALL:
        assert LASTING.search(query) is None, f"{module.name} {function}"
    assert LASTING.search("\n    SET lock_timeout = 1"), "what the test looks for is found"


async def test_a_transaction_that_was_left_open_is_over_for_the_next_borrower(
    postgres: DatabaseAddress,
) -> None:
    async with open_database(postgres, pool_size=1) as db:
        async with db.connection() as conn:
            await conn.execute("BEGIN")
            await conn.execute("CREATE TABLE left_open (id INT)")
        async with db.connection() as conn:
            assert await conn.fetchval("SELECT to_regclass('left_open')") is None


# asyncpg comes without types: to mypy its class is Any, which strictly is no base class.
class Leaving(asyncpg.Connection):  # type: ignore[misc]
    """A connection whose borrower is cancelled when a statement is prepared and not executed."""

    async def _get_statement(self, *args: Any, **named: Any) -> Any:
        statement = await super()._get_statement(*args, **named)
        if "left" in statement.query:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        return statement


async def test_a_borrower_that_leaves_between_two_messages_leaves_no_transaction_behind(
    postgres: DatabaseAddress,
) -> None:
    async with open_pool(postgres, size=1, connection_class=Leaving) as pool:
        db = Database(pool)

        async def leave() -> None:
            async with db.connection() as conn:
                await conn.fetchval("SELECT $1::int AS left", 1)

        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(leave())
        async with db.snapshot() as conn:  # PostgreSQL refuses to begin it inside another
            assert await conn.fetchval("SELECT 1") == 1


async def test_a_value_that_fits_no_parameter_leaves_no_transaction_behind(
    postgres: DatabaseAddress,
) -> None:
    async with open_database(postgres, pool_size=1) as db:
        with pytest.raises(ValueNotStorable):
            async with db.connection() as conn:
                await conn.fetchval("SELECT $1::int", 10**30)
        async with db.snapshot() as conn:
            assert await conn.fetchval("SELECT 1") == 1
