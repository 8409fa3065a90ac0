"""Flyway's history table and Flyway's lock, in PostgreSQL."""

import asyncio
from typing import Final

import asyncpg

from app.db.migrate.errors import MigrationError
from app.db.migrate.files import MigrationFile
from app.db.migrate.state import HistoryRow
from app.db.migrate.version import Version

# flyway.conf says the same to Flyway: table, defaultSchema, baselineVersion.
HISTORY_TABLE: Final = "public.schema_version"
BASELINE_VERSION: Final = "0"
LOCK_KEY: Final = 77430801598678
"""Flyway's advisory lock for this table: "Flyway" in ASCII as a number, plus the Java hash of
the table's name as Flyway writes it, `"public"."schema_version"`."""
LOCK_POLL_SECONDS: Final = 0.1

CREATE_TABLE: Final = """
    CREATE TABLE public.schema_version (
        installed_rank INT NOT NULL,
        version VARCHAR(50),
        description VARCHAR(200) NOT NULL,
        type VARCHAR(20) NOT NULL,
        script VARCHAR(1000) NOT NULL,
        checksum INTEGER,
        installed_by VARCHAR(100) NOT NULL,
        installed_on TIMESTAMP NOT NULL DEFAULT now(),
        execution_time INTEGER NOT NULL,
        success BOOLEAN NOT NULL
    );
    ALTER TABLE public.schema_version
        ADD CONSTRAINT schema_version_pk PRIMARY KEY (installed_rank);
    CREATE INDEX schema_version_s_idx ON public.schema_version (success);
"""
HAS_OBJECTS: Final = """
    SELECT EXISTS (
        SELECT FROM pg_class AS c
        LEFT JOIN pg_depend AS d ON d.objid = c.oid AND d.deptype = 'e'
        WHERE c.relnamespace = 'public'::regnamespace AND d.objid IS NULL
          AND c.relkind IN ('r', 'v', 'S', 't')
        UNION ALL
        SELECT FROM pg_type AS t
        LEFT JOIN pg_depend AS d ON d.objid = t.oid AND d.deptype = 'e'
        WHERE t.typnamespace = 'public'::regnamespace AND d.objid IS NULL
          AND t.typcategory NOT IN ('A', 'C')
        UNION ALL
        SELECT FROM pg_proc AS p
        LEFT JOIN pg_depend AS d ON d.objid = p.oid AND d.deptype = 'e'
        WHERE p.pronamespace = 'public'::regnamespace AND d.objid IS NULL
    )
"""
INSERT_ROW: Final = """
    INSERT INTO public.schema_version (installed_rank, version, description, type, script,
                                       checksum, installed_by, execution_time, success)
    SELECT coalesce(max(installed_rank), 0) + 1, $1, $2, $3, $4, $5, current_user, $6, TRUE
    FROM public.schema_version
"""


async def lock(conn: asyncpg.Connection, *, wait_seconds_max: float) -> None:
    """Take Flyway's lock for as long as the connection lives, so that one process migrates.

    It asks again and again instead of waiting inside PostgreSQL: a waiting statement would
    hold a snapshot and be cut short by a statement_timeout of the role.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + wait_seconds_max
    while not await conn.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
        if loop.time() > give_up_at:
            holder = await conn.fetchval(
                """
                SELECT pid FROM pg_locks
                WHERE locktype = 'advisory' AND granted AND objsubid = 1
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                  AND (classid::bigint << 32) | objid::bigint = $1
                """,
                LOCK_KEY,
            )
            message = (
                f"another process (PostgreSQL backend {holder}) has been migrating for more than"
                f" {wait_seconds_max:g} seconds; wait for it and start again, or end it with:"
                f" SELECT pg_terminate_backend({holder})"
            )
            raise MigrationError(message)
        await asyncio.sleep(LOCK_POLL_SECONDS)


async def create_history(conn: asyncpg.Connection) -> None:
    """Create the history table where there is none.

    A schema that holds objects already gets Flyway's baseline row (baselineOnMigrate), below
    which nothing is left out: the baseline is version 0.
    """
    if await _history_exists(conn):
        return
    try:
        async with conn.transaction():
            has_objects = await conn.fetchval(HAS_OBJECTS)
            await conn.execute(CREATE_TABLE)
            if has_objects:
                mark = "<< Flyway Baseline >>"
                await conn.execute(INSERT_ROW, BASELINE_VERSION, mark, "BASELINE", mark, None, 0)
    except asyncpg.PostgresError as error:
        # Flyway creates the table before it takes the lock, so it may have been faster.
        if not await _history_exists(conn):
            message = (
                f"{HISTORY_TABLE}, the history of migrations, cannot be created: {error};"
                " let the database user own the database, or: GRANT CREATE ON SCHEMA public"
            )
            raise MigrationError(message) from error


async def read_history(conn: asyncpg.Connection) -> list[HistoryRow]:
    """Return the rows in the order they were written; none where there is no table."""
    if not await _history_exists(conn):
        return []
    try:
        records = await conn.fetch(
            """
            SELECT installed_rank, version, description, type, script, checksum,
                   installed_on, success
            FROM public.schema_version
            ORDER BY installed_rank
            """
        )
        return [
            HistoryRow(
                installed_rank=record["installed_rank"],
                version=Version.parse(record["version"]) if record["version"] else None,
                description=record["description"],
                type=record["type"],
                script=record["script"],
                checksum=record["checksum"],
                installed_on=record["installed_on"],
                success=record["success"],
            )
            for record in records
        ]
    except (asyncpg.PostgresError, ValueError) as error:
        message = (
            f"{HISTORY_TABLE} cannot be read as Flyway's history of migrations: {error};"
            " rename the table if it is another program's, or correct its rows"
        )
        raise MigrationError(message) from error


async def insert_row(
    conn: asyncpg.Connection, file: MigrationFile, *, execution_time_ms: int
) -> None:
    """Write down that a file was applied, in the transaction that applied it."""
    await conn.execute(
        INSERT_ROW,
        str(file.version) if file.version is not None else None,
        file.description,
        "SQL",
        file.script,
        file.checksum,
        execution_time_ms,
    )


async def _history_exists(conn: asyncpg.Connection) -> bool:
    return bool(await conn.fetchval("SELECT to_regclass($1) IS NOT NULL", HISTORY_TABLE))
