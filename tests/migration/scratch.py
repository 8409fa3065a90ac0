"""Folders of migrations, and what they did to a database."""

import shutil
from pathlib import Path
from typing import Any

import asyncpg
from app.db.address import DatabaseAddress

PROJECT = Path(__file__).parents[2]
MIGRATIONS = PROJECT / "db" / "migration"


def write(folder: Path, **texts: str | bytes) -> Path:
    """Write files named by their keys, `.sql` appended; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        content = text.encode() if isinstance(text, str) else text
        (folder / f"{name}.sql").write_bytes(content)
    return folder


def first_migration(folder: Path) -> Path:
    """Only V1 of goblin's own migrations: what an earlier goblin brought."""
    folder.mkdir()
    shutil.copy(MIGRATIONS / "V1__initial_schema.sql", folder)
    return folder


async def fetch(address: DatabaseAddress, query: str, *arguments: object) -> list[dict[str, Any]]:
    conn = await asyncpg.connect(**address.connect_arguments(), timeout=30)
    try:
        return [dict(row) for row in await conn.fetch(query, *arguments)]
    finally:
        await conn.close()


async def execute(address: DatabaseAddress, sql: str) -> None:
    conn = await asyncpg.connect(**address.connect_arguments(), timeout=30)
    try:
        await conn.execute(sql)
    finally:
        await conn.close()


async def relations(address: DatabaseAddress) -> set[str]:
    """The tables, views and sequences that exist, the history's own aside."""
    rows = await fetch(
        address,
        """
        SELECT relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'S')
          AND relname <> 'schema_version'
        """,
    )
    return {row["relname"] for row in rows}


async def history(address: DatabaseAddress) -> list[tuple[Any, ...]]:
    """The rows of the history without what differs from one run to the next."""
    rows = await fetch(
        address,
        """
        SELECT installed_rank, version, description, type, script, checksum, installed_by, success
        FROM schema_version ORDER BY installed_rank
        """,
    )
    return [tuple(row.values()) for row in rows]


async def history_structure(address: DatabaseAddress) -> list[list[dict[str, Any]]]:
    """Columns, indexes, constraints and owner of the history table, as the catalogue has them."""
    queries = (
        """
        SELECT ordinal_position, column_name, data_type, character_maximum_length, is_nullable,
               column_default, numeric_precision, datetime_precision, collation_name
        FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = 'schema_version' ORDER BY 1
        """,
        """
        SELECT indexname, indexdef, tablespace FROM pg_indexes
        WHERE schemaname = 'public' AND tablename = 'schema_version' ORDER BY 1
        """,
        """
        SELECT conname, contype, convalidated, pg_get_constraintdef(oid) AS definition
        FROM pg_constraint WHERE conrelid = 'public.schema_version'::regclass ORDER BY 1
        """,
        """
        SELECT relkind, relpersistence, reloptions, relacl, relowner::regrole::text AS owner
        FROM pg_class WHERE oid = 'public.schema_version'::regclass
        """,
    )
    return [await fetch(address, query) for query in queries]
