"""What the pool promises, and what each failure of the database becomes."""

import asyncio

import asyncpg
import pytest
from app.db.database import ACQUIRE_SECONDS_MAX, open_database
from app.db.errors import (
    DatabaseBusy,
    DatabaseUnavailable,
    RowLocked,
    ValueNotStorable,
    translate,
)
from app.domain.errors import GoblinError
from tests.conftest import CloneDatabase


def state(code: str) -> asyncpg.PostgresError:
    return asyncpg.PostgresError.new({"C": code, "M": "a message with a secret"})


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (state("08003"), DatabaseUnavailable),
        (state("08006"), DatabaseUnavailable),
        (state("57P01"), DatabaseUnavailable),
        (state("57P03"), DatabaseUnavailable),
        (state("57014"), DatabaseUnavailable),
        (state("53300"), DatabaseUnavailable),
        (state("53100"), DatabaseUnavailable),
        (state("58030"), DatabaseUnavailable),
        (state("25006"), DatabaseUnavailable),
        (state("25P03"), DatabaseUnavailable),
        (state("25P04"), DatabaseUnavailable),
        (state("40003"), DatabaseUnavailable),
        (state("XX000"), DatabaseUnavailable),
        (state("F0000"), DatabaseUnavailable),
        (state("28P01"), DatabaseUnavailable),
        (state("3D000"), DatabaseUnavailable),
        (state("55000"), DatabaseUnavailable),
        (state("40001"), DatabaseBusy),
        (state("40P01"), DatabaseBusy),
        (state("55P03"), RowLocked),
        (state("22003"), ValueNotStorable),
        (state("22021"), ValueNotStorable),
        (state("22P05"), ValueNotStorable),
        (state("54001"), ValueNotStorable),
        (asyncpg.DataError("client side"), ValueNotStorable),
        (asyncpg.InterfaceError("gone"), DatabaseUnavailable),
        (asyncpg.InternalClientError("gone"), DatabaseUnavailable),
        (ConnectionResetError(), DatabaseUnavailable),
        (ConnectionError("unexpected connection_lost() call"), DatabaseUnavailable),
        (asyncpg.InvalidCachedStatementError("a column came"), DatabaseUnavailable),
        (TimeoutError(), DatabaseUnavailable),
        (OSError(), DatabaseUnavailable),
        (state("42601"), None),
        (state("23505"), None),
        (ValueError(), None),
    ],
)
def test_each_failure_becomes_what_a_caller_can_act_on(
    error: BaseException, expected: type[GoblinError] | None
) -> None:
    explained = translate(error)
    assert type(explained) is (expected or type(None))
    assert explained is None or "secret" not in explained.message


async def test_a_transaction_commits_at_the_end_and_rolls_back_on_an_error(
    clone: CloneDatabase,
) -> None:
    async with open_database(await clone(), pool_size=2) as db:
        async with db.transaction() as conn:
            await conn.execute("CREATE TABLE kept (n int)")
        with pytest.raises(RuntimeError, match="on purpose"):
            async with db.transaction() as conn:
                await conn.execute("CREATE TABLE lost (n int)")
                raise RuntimeError("on purpose")
        async with db.connection() as conn:
            assert await conn.fetchval("SELECT to_regclass('kept') IS NOT NULL") is True
            assert await conn.fetchval("SELECT to_regclass('lost') IS NULL") is True


async def test_a_snapshot_sees_one_instant_and_changes_nothing(clone: CloneDatabase) -> None:
    async with open_database(await clone(), pool_size=2) as db:
        async with db.snapshot() as frozen:
            before = await frozen.fetchval("SELECT count(*) FROM users")
            async with db.connection() as conn:
                await conn.execute(
                    "INSERT INTO users (email, password, name) VALUES ('a', 'b', 'c')"
                )
            assert await frozen.fetchval("SELECT count(*) FROM users") == before
        with pytest.raises(DatabaseUnavailable):
            async with db.snapshot() as frozen:
                await frozen.execute("DELETE FROM users")


async def test_an_exhausted_pool_answers_unavailable_instead_of_waiting_for_ever(
    clone: CloneDatabase,
) -> None:
    async with open_database(await clone(), pool_size=2) as db:
        async with db.connection(), db.connection():
            with pytest.raises(DatabaseUnavailable):
                async with asyncio.timeout(ACQUIRE_SECONDS_MAX + 20), db.connection():
                    raise AssertionError("there was a third connection")
        async with db.connection() as conn:
            assert await conn.fetchval("SELECT 1") == 1


async def test_a_killed_connection_costs_one_request_and_the_pool_heals(
    clone: CloneDatabase,
) -> None:
    async with open_database(await clone(), pool_size=2) as db:
        with pytest.raises(DatabaseUnavailable):
            async with db.connection() as victim, db.connection() as killer:
                pid = await victim.fetchval("SELECT pg_backend_pid()")
                await killer.execute("SELECT pg_terminate_backend($1)", pid)
                await victim.fetchval("SELECT pg_sleep(5)")
        for _ in range(4):
            async with db.connection() as conn:
                assert await conn.fetchval("SELECT 1") == 1


async def test_the_session_speaks_utc_and_waits_for_no_lock_for_ever(
    clone: CloneDatabase,
) -> None:
    async with open_database(await clone(), pool_size=2) as db, db.connection() as conn:
        assert await conn.fetchval("SHOW timezone") == "UTC"
        assert await conn.fetchval("SHOW lock_timeout") == "2s"
