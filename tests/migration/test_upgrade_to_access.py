"""Who is the administrator of a database from before there were any."""

import itertools
import os
import shutil
from pathlib import Path

import asyncpg
import pytest
from app.core.config import PROJECT
from app.db.address import DatabaseAddress
from app.db.migrate import migrate

MIGRATIONS = PROJECT / "db" / "migration"
_numbers = itertools.count(1)


async def roles_after_upgrade(
    postgres: DatabaseAddress, tmp_path: Path, emails: list[str]
) -> tuple[list[str], bool]:
    """The administrators, and whether the place of the first user is taken."""
    name = f"upgraded_to_access_{os.getpid()}_{next(_numbers)}"
    address = postgres.with_database(name)
    admin = await asyncpg.connect(**postgres.with_database("postgres").connect_arguments())
    await admin.execute(f"CREATE DATABASE {name}")
    before = tmp_path / "before"
    before.mkdir()
    for file in MIGRATIONS.glob("V[1-4]__*.sql"):
        shutil.copy(file, before)
    await migrate(address, before)
    conn = await asyncpg.connect(**address.connect_arguments())
    for email in emails:
        await conn.execute(
            "INSERT INTO users (email, password, name) VALUES ($1, '!', 'Old')", email
        )
    await migrate(address, MIGRATIONS)
    rows = await conn.fetch("SELECT email FROM users WHERE role = 'administrator'")
    is_taken = await conn.fetchval("SELECT first_user_at IS NOT NULL FROM installation")
    await conn.close()
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()
    return [row["email"] for row in rows], is_taken


@pytest.mark.parametrize(
    ("emails", "administrators"),
    [
        ([], []),
        (["ada@example.com", "bob@example.com"], ["ada@example.com"]),
        (["nobody@goblin.invalid", "ada@example.com"], ["ada@example.com"]),
        (["demo-0a1b2c3d@example.com", "demo-mine@example.com"], ["demo-mine@example.com"]),
        (["nobody@goblin.invalid", "demo-0a1b2c3d@example.com"], []),
    ],
)
async def test_the_oldest_user_who_can_log_in_becomes_the_administrator(
    postgres: DatabaseAddress, tmp_path: Path, emails: list[str], administrators: list[str]
) -> None:
    found = await roles_after_upgrade(postgres, tmp_path, emails)
    assert found == (administrators, bool(administrators))
